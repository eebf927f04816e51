"""Data sets: prepared from folders, read as manifests, divided by patient, looked at in views."""
