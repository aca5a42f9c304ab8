"""Vector fields that were added when there were rows already, so that older segments have no logs of them.

Milvus 2.6 serves such segments. But it imports a segment of storage version 2 only with logs of each vector field that
the collection has by then ("no binlog for field", milvus-io/milvus#53361). So they are imported before the field is
added. A compaction in the source writes them anew, with the field.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from milvus_vault.archive.contents import ArchivedSegment
from milvus_vault.archive.layout import INSERT_LOG, LogKey
from milvus_vault.model.collections import FIRST_FIELD, CollectionName, CollectionSchema, Segment
from milvus_vault.model.versions import PACKED_VERSION

_VECTORS = range(100, 106)  # schema.DataType, from BinaryVector to Int8Vector

COMPACT_HINT = (
    "Compact the collection in the source until none is left, and make the backup anew. From this backup restore the"
    " other collections, or this one's metadata alone."
)
IN_ROUNDS_HINT = (
    "A restore imports them first and adds the field(s) afterwards, but not with `skip_create`; milvus-backup cannot."
    " A compaction writes them anew, with the field(s)."
)


@dataclass(frozen=True, slots=True)
class OlderSegments:
    """The segments of a collection that are older than vector fields of it."""

    fields: tuple[str, ...]
    segment_ids: tuple[int, ...]
    row_count: int
    first_field: int
    """The lowest number of these fields."""
    are_whole: bool
    """Whether they have nothing of any field that is numbered after the first one that they lack, as rows have that are
    older than it. Others lost logs."""

    def of(self, name: CollectionName) -> str:
        """Return what there is to say of them."""
        fields, count = ", ".join(self.fields), len(self.segment_ids)
        those = f"{count} segment(s) of {name} with {self.row_count} row(s), as {self.segment_ids[0]}"
        return f"{those}, are older than its vector field(s) {fields}, and Milvus 2.6 imports none without"


def older_segments(
    schema: CollectionSchema, segments: Iterable[Segment | ArchivedSegment], logs: Iterable[LogKey]
) -> OlderSegments | None:
    """Return the segments that lack logs of a vector field which may be null; None where there are none.

    Each vector has a column group of its own, of its field's number. Where groups are counted from 0 instead, they do
    not tell.
    """
    vectors = _nullable_vectors(schema)
    if not vectors:
        return None
    groups: defaultdict[int, set[int]] = defaultdict(set)
    for key in logs:
        if key.kind == INSERT_LOG:
            groups[key.segment_id].add(key.field_id)
    lacking: set[int] = set()
    found: list[Segment | ArchivedSegment] = []
    are_whole = True
    for segment in segments:
        there = groups[segment.segment_id]
        if first := first_lacking(schema, segment, there):
            lacking |= vectors.keys() - there
            are_whole = are_whole and max(there) < first
            found.append(segment)
    if not found:
        return None
    return OlderSegments(
        fields=tuple(vectors[number] for number in sorted(lacking)),
        segment_ids=tuple(segment.segment_id for segment in found),
        row_count=sum(segment.row_count for segment in found),
        first_field=min(lacking),
        are_whole=are_whole,
    )


def first_lacking(schema: CollectionSchema, segment: Segment | ArchivedSegment, there: Collection[int]) -> int:
    """Return the lowest number of a vector field that a segment with these column groups is older than; 0: of none."""
    if segment.storage_version < PACKED_VERSION or not any(number >= FIRST_FIELD for number in there):
        return 0
    return min((number for number in _nullable_vectors(schema) if number not in there), default=0)


def _nullable_vectors(schema: CollectionSchema) -> dict[int, str]:
    return {field.field_id: field.name for field in schema.fields if field.nullable and field.data_type in _VECTORS}
