"""Objects that several backups share: who uses them, which are there, and which go."""
