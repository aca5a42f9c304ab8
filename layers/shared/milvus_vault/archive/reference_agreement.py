"""Whether milvus-backup's files say the same of a backup.

Each of its releases wrote them from one tree: `full_meta.json` has all of it, and the others have a level each. A file
that is damaged and can still be read is found by the others.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields

from pydantic import BaseModel

from milvus_vault.archive.reference_messages import (
    BackupMessage,
    CollectionMessage,
    CollectionsMessage,
    Level,
    PartitionMessage,
    PartitionsMessage,
    SegmentMessage,
    SegmentsMessage,
)
from milvus_vault.model.collections import DEFAULT_DATABASE

type _Item = CollectionMessage | PartitionMessage | SegmentMessage

# What some releases left out of the file of a level: where it has nothing of the kind, it says nothing of it.
_LEFT_OUT: dict[type, frozenset[str]] = {
    BackupMessage: frozenset({"collection_backups", "rbac_meta", "database_backups"}),
    CollectionMessage: frozenset({"partition_backups", "l0_segments", "properties", "replicas", "aliases"}),
    PartitionMessage: frozenset({"segment_backups"}),
}
# The times of a backup are read from its marker alone, where somebody may have had to correct them.
_ELSEWHERE = frozenset({"start_time", "end_time"})


def disagreement(full: BackupMessage, level: Level) -> str:
    """Return where the file of a level says something else than `full_meta.json`: of what, and in which member.

    Empty where they agree. The order of collections, partitions and segments says nothing; what is absent is zero.
    """
    collections = full.collection_backups
    names = {collection.collection_id: _name(collection) for collection in collections}
    match level:
        case BackupMessage():
            where = _difference(full, level)
            return f"the backup: {where}" if where is not None else ""
        case CollectionsMessage():
            return _first(names, collections, level.infos)
        case PartitionsMessage():
            return _first(names, list(_partitions(collections)), level.infos)
        case SegmentsMessage():
            segments = [segment for partition in _partitions(collections) for segment in partition.segment_backups]
            return _first(names, segments, level.infos)


def named_twice(backup: BackupMessage) -> str:
    """Return what is in a backup more than once, in words; empty where all is there once. Its rows would be, too."""
    return next(_named_twice(backup.collection_backups), "")


def _named_twice(collections: Sequence[CollectionMessage]) -> Iterator[str]:
    names = {collection.collection_id: _name(collection) for collection in collections}
    for name, count in Counter(map(_name, collections)).items():
        if count > 1:
            yield f"collection {name}"
    for collection in collections:
        if names[collection.collection_id] != _name(collection):
            yield f"the ID of collection {_name(collection)}"
        partitions = collection.partition_backups
        segments = [segment for partition in partitions for segment in partition.segment_backups]
        segments += collection.l0_segments
        of_names = Counter(partition.partition_name for partition in partitions)
        yield from (f"partition {name} of {_name(collection)}" for name, count in of_names.items() if count > 1)
        for items in (partitions, segments):
            seen = set[int]()
            for item in items:
                *_, number = _identity(item)
                if number in seen:
                    yield _title(names, item)
                seen.add(number)


def _name(collection: CollectionMessage) -> str:
    return f"{collection.db_name or DEFAULT_DATABASE}.{collection.collection_name}"


def _partitions(collections: Iterable[CollectionMessage]) -> Iterator[PartitionMessage]:
    for collection in collections:
        yield from collection.partition_backups


def _first(names: dict[int, str], full: Sequence[_Item], level: Sequence[_Item]) -> str:
    said = {_identity(item): item for item in level}
    for item in full:
        there = said.pop(_identity(item), None)
        where = _difference(item, there) if there is not None else "only full_meta.json has it"
        if where is not None:
            return f"{_title(names, item)}: {where}"
    if said:
        return f"{_title(names, next(iter(said.values())))}: full_meta.json does not have it"
    return ""


def _identity(item: _Item) -> tuple[int, ...]:
    match item:
        case CollectionMessage():
            return (item.collection_id,)
        case PartitionMessage():
            return (item.collection_id, item.partition_id)
        case SegmentMessage():
            return (item.collection_id, item.partition_id, item.segment_id)


def _title(names: dict[int, str], item: _Item) -> str:
    collection = f"collection {names.get(item.collection_id, item.collection_id)}"
    match item:
        case CollectionMessage():
            return f"collection {_name(item)}"
        case PartitionMessage():
            return f"{collection}, partition {item.partition_name}"
        case SegmentMessage():
            return f"{collection}, segment {item.segment_id}"


def _difference(full: object, level: object) -> str | None:
    """Return the first member in which two messages differ, empty where they do as a whole; None where they agree.

    Not its values, which may be hashes of passwords.
    """
    if full == level:
        return None
    inner: Iterable[tuple[str, object, object]]
    if isinstance(full, list) and isinstance(level, list) and len(full) == len(level):
        inner = ((str(number), *both) for number, both in enumerate(zip(full, level, strict=True)))
    elif isinstance(full, BaseModel | SegmentMessage) and isinstance(level, type(full)):
        inner = _members(full, level)
    else:
        return ""
    for name, one, other in inner:
        where = _difference(one, other)
        if where is not None:
            return f"{name}.{where}" if where else name
    return None


def _members(full: BaseModel | SegmentMessage, level: object) -> Iterator[tuple[str, object, object]]:
    left_out = _LEFT_OUT.get(type(full), frozenset())
    if isinstance(full, BaseModel):
        names = {name: field.alias or name for name, field in type(full).model_fields.items()}
    else:
        names = {field.name: field.name for field in fields(full)}
    for name, written in names.items():
        said: object = getattr(level, name)
        if name not in _ELSEWHERE and (said or name not in left_out):
            yield written, getattr(full, name), said
