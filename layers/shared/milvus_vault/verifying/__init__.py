"""Check a backup without restoring it."""
