"""The backups there are: listed newest first with few requests, described, and held."""

from milvus_vault.catalogue.catalogue import Catalogue

__all__ = ["Catalogue"]
