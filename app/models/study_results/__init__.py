"""What a study found: its answers, their analysis, and what others read of it."""
