"""What every table stands on: rows that stay, numbers in order, blobs, the audit trail."""
