"""Backing up: what to capture of a collection, in which order, and when a backup is one."""
