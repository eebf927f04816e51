"""Trained networks as files: read and written, served, and drawn from."""
