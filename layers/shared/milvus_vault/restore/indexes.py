"""The indexes of a restored collection."""

from milvus_vault.ports import VectorDatabase
from milvus_vault.restore.documents import Target


def create_missing_indexes(database: VectorDatabase, target: Target, name: str) -> None:
    """Create those indexes of a target that the collection of this name lacks; Milvus builds them by itself."""
    there = {index.name for index in database.list_indexes(target.name.database, name)}
    for index in target.indexes:
        if index.name not in there:
            database.create_index(target.name.database, name, index)
