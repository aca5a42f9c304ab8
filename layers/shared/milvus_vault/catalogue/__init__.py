"""The backups there are: listed newest first with few requests, described, compared, and held."""

from milvus_vault.catalogue.catalogue import UNREADABLE_BACKUP, Catalogue
from milvus_vault.catalogue.compare import compare_backups
from milvus_vault.catalogue.details import describe_collection

__all__ = ["UNREADABLE_BACKUP", "Catalogue", "compare_backups", "describe_collection"]
