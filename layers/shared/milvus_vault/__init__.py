"""Milvus Vault: serverless backup and restore of Milvus collections on AWS."""

__version__ = "0.1.0"
