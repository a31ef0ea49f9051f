"""What stands in bytes on the wire or the disk, and what is decided by it alone. Pure; no database."""
