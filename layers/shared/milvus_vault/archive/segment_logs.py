"""What a segment must consist of, by its schema: one rule for the snapshot, the verification and the restore.

In storage version 0 each field has logs of its own, the row ID and the timestamp among them, and each field has as
many as the others. From version 2 on a log holds a group of columns, and the group 0 has the row ID, the timestamp
and the primary key; which other groups there are, the server decides, and only its files say.
"""

from collections.abc import Callable, Iterable, Mapping

from milvus_vault.archive.contents import ArchivedSegment
from milvus_vault.archive.layout import DELTA_LOG, LogKey
from milvus_vault.model.collections import (
    ALL_PARTITIONS,
    ROW_ID,
    TIMESTAMP,
    CollectionSchema,
    FieldSchema,
    Segment,
    SegmentLevel,
)
from milvus_vault.model.versions import PACKED_VERSION

_FIRST_GROUP = 0


def lacking(
    schema: CollectionSchema,
    segment: Segment | ArchivedSegment,
    insert_logs: Mapping[int, int],
    delta_logs: int,
    *,
    can_be_older: bool = True,
) -> str:
    """Return what a segment lacks of what its schema asks for, in words; empty where it is whole.

    `insert_logs` are the numbers of logs by field or column group. Nullable fields may have none where they were added
    when the segment was there already: then it has none either of any field that came after them. `can_be_older` is
    whether the source adds fields at all.
    """
    if segment.level is SegmentLevel.L0:
        return "" if delta_logs else "it has no delta logs"
    if not insert_logs:
        return f"it has {segment.row_count} row(s) and no insert logs" if segment.row_count else ""
    if segment.storage_version >= PACKED_VERSION:
        required = {_FIRST_GROUP: "column group 0"}
    else:
        required = {ROW_ID: "the row IDs", TIMESTAMP: "the timestamps", **_own_logs(schema)}
        newest = max(insert_logs) if can_be_older else max(required | _nullable(schema))
        required |= {number: name for number, name in _nullable(schema).items() if number <= newest}
    without = [name for number, name in required.items() if not insert_logs.get(number)]
    if without:
        return f"it has no insert logs of {', '.join(without)}"
    most, least = max(insert_logs, key=insert_logs.__getitem__), min(insert_logs, key=insert_logs.__getitem__)
    if insert_logs[most] == insert_logs[least]:
        return ""
    return f"it has {insert_logs[most]} logs of field {most} and {insert_logs[least]} of field {least}"


def level_zero_of(segments: Iterable[ArchivedSegment]) -> Callable[[LogKey], bool]:
    """Return what tells of a log of these segments whether it has deletes of level 0, which concern other segments.

    That is so of the delta logs of a segment of level 0, and of all partitions: a segment of these is no other.
    """
    numbers = {segment.segment_id for segment in segments if segment.level is SegmentLevel.L0}
    return lambda key: key.kind == DELTA_LOG and (key.segment_id in numbers or key.partition_id == ALL_PARTITIONS)


def is_packed(schema: CollectionSchema, groups: Mapping[int, int]) -> bool:
    """Return whether a segment's insert logs hold groups of columns, by the numbers that stand in their keys.

    If each field has its own logs, so has the primary key; if not, it is in the first group. The numbers of groups do
    not tell: they are those of fields, or count from 0.
    """
    return not any(groups.get(field.field_id) for field in schema.fields if field.is_primary_key)


def _own_logs(schema: CollectionSchema) -> dict[int, str]:
    return {field.field_id: f"field {field.name}" for field in _fields(schema) if not field.nullable}


def _nullable(schema: CollectionSchema) -> dict[int, str]:
    return {field.field_id: f"field {field.name}" for field in _fields(schema) if field.nullable}


def _fields(schema: CollectionSchema) -> list[FieldSchema]:
    return [*schema.fields, *(field for struct in schema.struct_array_fields for field in struct.fields)]
