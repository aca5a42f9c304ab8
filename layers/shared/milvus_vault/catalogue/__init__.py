"""The backups there are: listed newest first with few requests, described, and held."""

from milvus_vault.catalogue.catalogue import UNREADABLE_BACKUP, Catalogue

__all__ = ["UNREADABLE_BACKUP", "Catalogue"]
