"""Restoring: what becomes of which collection, and the steps from an empty target to one that is whole."""
