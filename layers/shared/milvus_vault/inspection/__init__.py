"""Looking before leaping: what could be backed up, what it would take, and whether everything is there for it."""
