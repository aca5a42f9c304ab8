"""Restore drills: a backup is restored into a scratch database, compared with its binlogs, and dropped again."""
