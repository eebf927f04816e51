"""Work that programs ask for: jobs, the notices of their end, answers kept for repeated calls."""
