"""What every room stands on: refusals, records, seeds, tables and figures as text, the terminal."""
