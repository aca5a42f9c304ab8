"""What is imported of a collection, and from where: where its objects lie, or staged in Milvus' own bucket.

Staged for a server of 2.4 or newer, with segments in groups of what one job takes:

    <base>insert_log/<collection>/<partition>/<group>/<segment>/<field>/<log>
    <base>delta_log/<collection>/<partition>/<group>/<segment>/<log>       its own, and those of level 0 (`folding.py`)
    <base>level_zero/<collection>/<partition or -1>/<log>       only where deletes are imported by themselves

Deletes that are imported by themselves and have to be cut are not copied, but written by CutCollections:

    <cut base><partition or -1>/<log>
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from milvus_vault.archive.added_vectors import first_lacking
from milvus_vault.archive.contents import ArchivedCollection, ArchivedPartition, ArchivedSegment
from milvus_vault.archive.layout import DELTA_LOG, INSERT_LOG, LogKey, log_of
from milvus_vault.archive.object_table import ObjectTable
from milvus_vault.archive.segment_logs import level_zero_of
from milvus_vault.model.collections import ALL_PARTITIONS, CollectionSchema, ImportPair, SegmentLevel
from milvus_vault.model.objects import ArchivedObject, CopyItem
from milvus_vault.restore.folding import Folding
from milvus_vault.restore.working_files import Composition, ImportPaths, ImportSource

LEVEL_ZERO = "level_zero"

# What milvus-backup gives one job; a server takes 1,024 segments.
SEGMENTS_A_JOB = 256
BYTES_A_JOB = 16 * 1024**3


@dataclass(frozen=True, slots=True)
class FoldLimits:
    """Up to where deletes of level 0 are copied beside the segments that they concern, and as they are."""

    copies: int
    """Of one collection: where they would be more, the deletes are composed first."""
    segment_bytes: int
    """Of deletes that concern one segment: Milvus holds all of them in memory while it imports the segment."""


@dataclass(slots=True)
class _Logs:
    """What has to be known of a segment's own objects at once."""

    size_bytes: int = 0
    """Of its insert logs."""
    fields: frozenset[int] = frozenset()
    has_deletes: bool = False

    def add(self, item: ArchivedObject, key: LogKey) -> None:
        if key.kind == DELTA_LOG:
            self.has_deletes = True
            return
        self.size_bytes += item.size_bytes
        if key.field_id not in self.fields:
            self.fields |= {key.field_id}


@dataclass(frozen=True, slots=True)
class _Segment:
    """A segment with rows, and what is known of its objects."""

    found: ArchivedSegment
    logs: _Logs
    folded: Sequence[ArchivedObject]

    def before_field(self, schema: CollectionSchema) -> int:
        """Return the number of the vector field that its rows are older than; 0 where they have all."""
        return first_lacking(schema, self.found, self.logs.fields)

    @property
    def has_deletes(self) -> bool:
        return self.logs.has_deletes or bool(self.folded)


class _Group(NamedTuple):
    """Segments of a partition that one job takes."""

    partition: ArchivedPartition
    number: int
    before_field: int
    """Number of the field that their rows are older than; 0: of none."""
    segments: Sequence[_Segment]


@dataclass(frozen=True, slots=True)
class CollectionImport:
    """What one collection needs to be imported into a server of 2.4 or newer."""

    objects: ObjectTable
    """All of them, in the order of their list."""
    _collection: ArchivedCollection
    _segments: Mapping[int, _Segment]
    _level_zero: Mapping[int, Sequence[ArchivedObject]]
    """Deletes of level 0, by their partition."""
    _cut: int
    folds: bool
    """Whether deletes of level 0 are imported with the rows that they concern, and not after them."""
    compositions: tuple[Composition, ...]
    """Deletes that have to be composed before they are copied."""

    @classmethod
    def of(
        cls,
        collection: ArchivedCollection,
        objects: Iterable[ArchivedObject],
        limits: FoldLimits,
        cut: int = 0,
        composed: str = "",
    ) -> "CollectionImport":
        """Sort a collection's objects.

        `cut` is the timestamp after which rows and deletes are left out, or 0, and `composed` the full key prefix of
        delta logs that are composed. Raises as `ObjectTable`.
        """
        is_level_zero = level_zero_of(collection.segments)
        logs: dict[int, _Logs] = defaultdict(_Logs)
        level_zero: dict[int, list[ArchivedObject]] = defaultdict(list)
        # Most segments have logs of the same fields.
        same: dict[frozenset[int], frozenset[int]] = {}

        def part_of(item: ArchivedObject) -> str:
            key = log_of(item)
            if is_level_zero(key):
                level_zero[key.partition_id].append(item)
                return ""
            of_segment = logs[key.segment_id]
            of_segment.add(item, key)
            of_segment.fields = same.setdefault(of_segment.fields, of_segment.fields)
            return _part(key.segment_id, key.kind)

        table = ObjectTable(objects, part_of)
        with_rows = [found for found in collection.segments if _has_rows(found, cut)]
        homes = [found.partition_id for found in with_rows]
        sizes = {number: sum(item.size_bytes for item in items) for number, items in level_zero.items()}
        most = max((sizes.get(number, 0) for number in homes), default=0) + sizes.get(ALL_PARTITIONS, 0)
        # Where there is no row, nothing is deleted: no deletes are imported by themselves then.
        folds = not homes or most <= limits.segment_bytes
        folding = Folding.of(level_zero if folds else {}, homes, copies=limits.copies, folder=composed)
        segments = {
            found.segment_id: _Segment(found, logs[found.segment_id], folding.beside(found.partition_id))
            for found in with_rows
        }
        return cls(table, collection, segments, level_zero, cut, folds, folding.compositions)

    def sources_in(self, base: str) -> tuple[ImportSource, ...]:
        """Return what to import from a backup's folder for binlogs: a pair of prefixes for each segment."""
        return tuple(
            self._source(
                group,
                *(self._paths(base, group.partition, str(item.found.group_id), [item]) for item in group.segments),
            )
            for group in self._in_rounds()
        )

    def sources_staged(self, base: str) -> tuple[ImportSource, ...]:
        """Return what to import of what is staged below `base`: a pair of prefixes for each group of segments."""
        return tuple(
            self._source(group, self._paths(base, group.partition, str(group.number), group.segments))
            for group in self._in_rounds()
        )

    def deletes_staged(self, base: str, cut_base: str) -> tuple[ImportSource, ...]:
        """Return what to import after all rows: the deletes that are not folded, those of partitions first.

        One folder for each partition, so that a job has one path, as servers before 2.6.5 want it; more paths would
        have to be of the same partition.
        """
        if self.folds:
            return ()
        names = {found.partition_id: found.name for found in self._collection.partitions} | {ALL_PARTITIONS: ""}
        return tuple(
            ImportSource(
                partition=names[number],
                pairs=(ImportPaths(insert_prefix="", delta_prefix=folder, row_count=0),),
                is_deletes=True,
            )
            for number in sorted(self._level_zero, reverse=True)
            for folder in [f"{cut_base}{number}/" if self._cut else self._level_zero_folder(base, number)]
        )

    def deletes_to_cut(self, cut_base: str) -> tuple[tuple[str, str], ...]:
        """Return the delta logs to cut, each with the key that it gets; none where an import does it."""
        if self.folds or not self._cut:
            return ()
        return tuple(
            (item.stored_key, f"{cut_base}{number}/{log_of(item).log_id}")
            for number, items in self._level_zero.items()
            for item in items
        )

    def staged_items(self, base: str) -> Iterator[CopyItem]:
        """Yield what to copy so that all of this lies below `base`."""
        # In the order of the imports, which begin while the rest is copied.
        for group in self._in_rounds():
            for segment in group.segments:
                place = (group.partition.partition_id, group.number, segment.found.segment_id)
                below = "/".join(map(str, (self._collection.collection_id, *place)))
                number = segment.found.segment_id
                for item in self.objects.of(_part(number, INSERT_LOG)):
                    key = log_of(item)
                    yield _copy(item, f"{base}{INSERT_LOG}/{below}/{key.field_id}/{key.log_id}")
                deletes = self.objects.of(_part(number, DELTA_LOG)) if segment.logs.has_deletes else ()
                for item in (*deletes, *segment.folded):
                    yield _copy(item, f"{base}{DELTA_LOG}/{below}/{log_of(item).log_id}")
        if not self.folds and not self._cut:
            for partition_id, items in self._level_zero.items():
                for item in items:
                    yield _copy(item, f"{self._level_zero_folder(base, partition_id)}{log_of(item).log_id}")

    def _in_rounds(self) -> list[_Group]:
        """Return the groups in the order in which they are imported: rows that are older than a field before others."""
        return sorted(self._groups(), key=lambda group: (not group.before_field, group.before_field))

    def _groups(self) -> Iterator[_Group]:
        """Yield the segments of each job."""
        schema = self._collection.layout.collection_schema
        for partition in self._collection.partitions:
            alike: dict[tuple[int, int], list[_Segment]] = defaultdict(list)
            for found in partition.segments:
                if (segment := self._segments.get(found.segment_id)) is not None:
                    alike[found.storage_version, segment.before_field(schema)].append(segment)
            groups = [(before, group) for (_, before), found in alike.items() for group in _in_jobs(found)]
            for number, (before, group) in enumerate(groups, start=1):
                yield _Group(partition, number, before, group)

    def _source(self, group: _Group, *pairs: ImportPaths) -> ImportSource:
        return ImportSource(
            partition=group.partition.name,
            pairs=pairs,
            storage_version=group.segments[0].found.storage_version,
            before_field=group.before_field,
            end_timestamp=self._cut,
        )

    def _paths(self, base: str, partition: ArchivedPartition, group: str, segments: Sequence[_Segment]) -> ImportPaths:
        below = f"{self._collection.collection_id}/{partition.partition_id}/{group}/"
        has_deletes = any(segment.has_deletes for segment in segments)
        return ImportPaths(
            insert_prefix=f"{base}{INSERT_LOG}/{below}",
            delta_prefix=f"{base}{DELTA_LOG}/{below}" if has_deletes else "",
            row_count=sum(rows_until(segment.found, self._cut) for segment in segments),
            segments=tuple(segment.found.segment_id for segment in segments),
        )

    def _level_zero_folder(self, base: str, partition_id: int) -> str:
        return f"{base}{LEVEL_ZERO}/{self._collection.collection_id}/{partition_id}/"


def can_lie(collection: ArchivedCollection, logs: Iterable[LogKey]) -> bool:
    """Return whether a collection with these logs can be imported from the backup's folders, as they are.

    That is so where each segment has one of its own, and no deletes of level 0 have to go beside it.
    """
    groups = [found.group_id for found in collection.segments if _has_rows(found, 0)]
    return all(groups) and len(groups) == len(set(groups)) and not any(map(level_zero_of(collection.segments), logs))


def _part(segment_id: int, kind: str) -> str:
    """Return which part of a collection the logs of a kind of a segment are."""
    return f"{segment_id}/{kind}"


def _has_rows(segment: ArchivedSegment, cut: int) -> bool:
    return segment.level is not SegmentLevel.L0 and bool(rows_until(segment, cut))


def rows_until(segment: ArchivedSegment, cut: int) -> int:
    """Return a segment's rows up to the moment that it was backed up with, or all where nothing is cut."""
    return segment.row_count - segment.later_row_count if cut else segment.row_count


def _in_jobs(segments: Iterable[_Segment]) -> Iterator[list[_Segment]]:
    """Cut segments into what one job takes."""
    group: list[_Segment] = []
    size_bytes = 0
    for segment in segments:
        if group and (len(group) == SEGMENTS_A_JOB or size_bytes + segment.logs.size_bytes > BYTES_A_JOB):
            yield group
            group, size_bytes = [], 0
        group.append(segment)
        size_bytes += segment.logs.size_bytes
    if group:
        yield group


def _copy(item: ArchivedObject, key: str) -> CopyItem:
    return CopyItem(item.stored_key, key, item.size_bytes, item.etag)


def import_pair(paths: ImportPaths) -> ImportPair:
    """Return the prefixes as an import takes them."""
    return ImportPair(paths.insert_prefix, paths.delta_prefix)
