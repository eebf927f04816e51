"""What keeps an installation going: its backups, and whether what is stored is what was stored."""
