"""Restoring some partitions of a collection only."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from milvus_vault.archive.contents import ArchivedCollection
from milvus_vault.archive.layout import log_of
from milvus_vault.errors import InvalidRequestError
from milvus_vault.model.collections import ALL_PARTITIONS, CollectionName
from milvus_vault.model.objects import ArchivedObject

_LISTED = 5


def check_partitions(wanted: Mapping[str, Sequence[str]], chosen: Sequence[CollectionName]) -> None:
    """Raise `InvalidRequestError` where partitions are named of a collection that is not restored."""
    there = {str(name) for name in chosen}
    for name in wanted:
        if name not in there:
            msg = f"`partitions` names {name}, which is not among the collections to restore"
            raise InvalidRequestError(msg, hint=f"To be restored are: {', '.join(sorted(there)[:_LISTED])}.")


def with_partitions(collection: ArchivedCollection, wanted: Sequence[str] | None) -> ArchivedCollection:
    """Return a collection with some of its partitions; with all where None are named.

    Raises `InvalidRequestError` where it has none of a name, or where a key spreads rows over all of them.
    """
    if wanted is None:
        return collection
    if collection.layout.has_partition_key:
        msg = f"`partitions` names {collection.name}, whose partition key spreads rows over all partitions"
        raise InvalidRequestError(msg, hint="Restore the whole collection.")
    names = [partition.name for partition in collection.partitions]
    if unknown := sorted(set(wanted) - set(names)):
        msg = f"{collection.name} has no partition {', '.join(unknown)} in the backup"
        raise InvalidRequestError(msg, hint=f"It has: {', '.join(names[:_LISTED])}.")
    return replace(
        collection,
        partitions=tuple(partition for partition in collection.partitions if partition.name in wanted),
        layout=collection.layout.model_copy(update={"partitions": tuple(name for name in names if name in wanted)}),
        # How many of the rows that were counted are in these, nobody knows.
        live_row_count=None,
    )


def objects_in(collection: ArchivedCollection, objects: Iterable[ArchivedObject]) -> Iterator[ArchivedObject]:
    """Yield the objects that lie in a collection's partitions, or concern all of them."""
    numbers = partition_ids(collection)
    return (item for item in objects if log_of(item).partition_id in numbers)


def partition_ids(collection: ArchivedCollection) -> frozenset[int]:
    """Return the IDs of a collection's partitions, and the one that stands for all."""
    return frozenset(partition.partition_id for partition in collection.partitions) | {ALL_PARTITIONS}
