"""What differs between two backups, by their documents and object lists. No data is read.

Collections are compared side by side, and what a comparison holds is small: two documents, or one of two object lists.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from threading import Lock

from pydantic import Field

from milvus_vault.archive.contents import ArchivedCollection
from milvus_vault.archive.layout import BackupLayout, log_of
from milvus_vault.archive.manifest import CollectionEntry, Manifest, Source
from milvus_vault.archive.reader import read_collection, recorded_objects
from milvus_vault.catalogue.describe import OpenedBackup, of_a_backup, open_backup
from milvus_vault.catalogue.differences import (
    compare_objects,
    compare_partitions,
    compare_settings,
    mirrored,
    sum_of,
)
from milvus_vault.errors import AnswerTimeoutError
from milvus_vault.model.base import Count, Model
from milvus_vault.model.objects import ArchivedObject
from milvus_vault.model.resources import (
    BackupDiff,
    CollectionChange,
    CollectionDiff,
    ComparedBackup,
    ComparedCollection,
    ObjectCount,
    ObjectDiff,
)
from milvus_vault.paging import ANSWER_BYTES, answer_bytes, position_of, token_of
from milvus_vault.parallel import each
from milvus_vault.ports import ObjectStore

# The API's function has 1,024 MiB, of which 150 are Python's and the documents'. Of two object lists the shorter is
# held, in up to 190 bytes an object, and the longer goes by. Of short ones as many as there are threads are held at a
# time, 16 * 20,000 * 190 bytes = 58 MiB, and of longer ones one, at most 1,000,000 * 190 bytes = 181 MiB. Two lists of
# more cannot be read in the 24 s of an answer: 60,000 lines a second are.
SHORT_LIST = 20_000
LONGEST_HELD = 1_000_000

_LOOKED_AT_BETWEEN = 4096
"""Objects between two looks at the clock: some 20 ms."""

_OF_ANOTHER_TOOL = (
    "milvus-backup, which made {names}, records neither bucket nor ETags: objects of the same number and size may be "
    "the same or not. It records no clustering keys, and older releases no aliases, functions, properties and fields "
    "that can be null: what it has none of is not compared."
)


class _OutOfTimeError(Exception):
    """There is no time to compare a collection to its end."""


class _Position(Model):
    """Where a comparison stands, and what it has found so far."""

    compared_count: Count = 0
    differing_count: Count = 0
    unchanged_count: Count = 0
    objects: ObjectDiff = Field(default_factory=ObjectDiff)


@dataclass(frozen=True, slots=True)
class _Member:
    """A collection in one of the backups."""

    summary: ComparedCollection
    entry: CollectionEntry | ArchivedCollection

    @property
    def name(self) -> tuple[str, str]:
        return self.summary.database, self.summary.name


type _Pair = tuple[_Member | None, _Member | None]


@dataclass(frozen=True, slots=True)
class _Side:
    """One of the backups."""

    store: ObjectStore
    bucket: str
    layout: BackupLayout
    opened: OpenedBackup

    @property
    def is_ours(self) -> bool:
        return isinstance(self.opened.metadata, Manifest)

    @property
    def source(self) -> Source | None:
        """Return where the backup was taken from, if that is known."""
        metadata = self.opened.metadata
        return metadata.source if isinstance(metadata, Manifest) else None

    def failure(self, member: _Member | None) -> str:
        """Return the error for which a collection of the other backup is not in this one, if there was one."""
        lacking = {(one.database, one.name): one.error for one in self.opened.description.failures}
        return lacking.get(member.name, "") if member else ""

    def members(self) -> Iterator[_Member]:
        """Yield its collections."""
        # As tuples, the two kinds would be said to hold anything.
        entries: Sequence[CollectionEntry | ArchivedCollection] = self.opened.metadata.collections
        for summary, entry in zip(self.opened.description.collections, entries, strict=True):
            yield _Member(ComparedCollection(**summary.model_dump(), collection_id=entry.collection_id), entry)

    def read(self, member: _Member) -> ArchivedCollection:
        """Return a collection in full."""
        if isinstance(member.entry, ArchivedCollection):
            return member.entry
        return read_collection(self.store, self.bucket, self.layout, member.entry)


class _Comparison:
    """The work on two backups."""

    def __init__(self, a: _Side, b: _Side, *, with_objects: bool, has_time: Callable[[], bool]) -> None:
        self._a, self._b = a, b
        self._with_objects = with_objects
        self._has_time = has_time
        self._long_list = Lock()

    def diff(self, pair: _Pair) -> tuple[CollectionDiff | None, ObjectDiff | None]:
        """Return how a collection differs, or None where it does not, and how its objects do, if these are compared."""
        self._check_time()
        a, b = pair
        if a is None or b is None:
            return self._of_one(a, b)
        left, right = self._a.read(a), self._b.read(b)
        settings = compare_settings(left, right, is_a_whole=self._a.is_ours, is_b_whole=self._b.is_ours)
        partitions = compare_partitions(left, right)
        objects = self._objects((a, left), (b, right)) if self._with_objects else None
        change: CollectionChange
        if a.summary.collection_id != b.summary.collection_id:
            change = "replaced"
        elif a.name != b.name:
            change = "renamed"
        elif settings.differences or any(partitions) or _contents_differ(a.summary, b.summary, objects):
            change = "changed"
        elif settings.unknown or (objects and objects.unknown.object_count):
            change = "unknown"
        else:
            return None, objects
        found = CollectionDiff(
            change=change,
            a=a.summary,
            b=b.summary,
            partitions_added=partitions.added,
            partitions_removed=partitions.removed,
            partitions_replaced=partitions.replaced,
            settings=settings.differences,
            unknown=settings.unknown,
            objects=objects,
        )
        return found, objects

    def _of_one(self, a: _Member | None, b: _Member | None) -> tuple[CollectionDiff, ObjectDiff | None]:
        objects = _nothing_shared(a, b) if self._with_objects else None
        failure = self._b.failure(a) if a else self._a.failure(b)
        found = CollectionDiff(
            change="removed" if a else "added",
            a=a.summary if a else None,
            b=b.summary if b else None,
            failure=failure,
            objects=objects,
        )
        return found, objects

    def _objects(self, a: tuple[_Member, ArchivedCollection], b: tuple[_Member, ArchivedCollection]) -> ObjectDiff:
        """Return how the objects of a collection differ. Those of another collection or bucket are others, unread."""
        sources = (self._a.source, self._b.source)
        counts = (a[0].summary.object_count, b[0].summary.object_count)
        is_elsewhere = None not in sources and len({source.bucket for source in sources if source}) > 1
        if a[1].collection_id != b[1].collection_id or is_elsewhere or not all(counts):
            return _nothing_shared(a[0], b[0])
        if min(counts) > LONGEST_HELD:
            raise _OutOfTimeError
        with self._long_list if min(counts) > SHORT_LIST else nullcontext():
            left, right = self._recorded(self._a, a[1]), self._recorded(self._b, b[1])
            if counts[0] <= counts[1]:
                return compare_objects(left, right, self._source_of)
            return mirrored(compare_objects(right, left, self._source_of))

    def _source_of(self, item: ArchivedObject) -> str:
        """Return what names an object in Milvus' storage: its key, or where the root path is not recorded, its log."""
        return item.source_key if self._a.is_ours and self._b.is_ours else str(log_of(item))

    def _recorded(self, side: _Side, collection: ArchivedCollection) -> Iterator[ArchivedObject]:
        for number, item in enumerate(recorded_objects(side.store, side.bucket, side.layout, collection)):
            if number % _LOOKED_AT_BETWEEN == 0:
                self._check_time()
            yield item

    def _check_time(self) -> None:
        if not self._has_time():
            raise _OutOfTimeError

    def too_long(self) -> AnswerTimeoutError:
        """Return the error for a collection that takes longer than a whole answer may."""
        names = f"'{self._a.layout.name}' and '{self._b.layout.name}'"
        msg = f"comparing backups {names} takes longer than an answer of the API may take"
        hint = "Look at each of them: their documents alone take so long to be read."
        return AnswerTimeoutError(
            msg, hint="With `objects: false` only their documents are compared." if self._with_objects else hint
        )


def compare_backups(
    store: ObjectStore,
    bucket: str,
    a: BackupLayout,
    b: BackupLayout,
    *,
    with_objects: bool,
    token: str | None = None,
    has_time: Callable[[], bool],
) -> BackupDiff:
    """Return what differs between two backups.

    Where there are more collections than there is time or place for, the answer has a token, with which the next call
    goes on behind them.

    A collection that is in both takes two requests, and with its objects four, or six where they are many. Of such
    requests 16 are under way at a time, each of 30 ms or so: 130 collections a second. Beside that a second goes for
    60,000 lines of object lists.

    Args:
        store: Where the backups are.
        bucket: The backup bucket.
        a: The one.
        b: The other.
        with_objects: Whether their object lists are compared, too.
        token: `next_token` of the answer before.
        has_time: Whether the answer may take longer still.

    Raises:
        BackupNotFoundError: There is no commit marker.
        BackupDamagedError: A document or an object list is missing, or is not what was written.
        BackupFormatError: One of them is in a format that cannot be read.
        InvalidRequestError: The token is none.
        AnswerTimeoutError: There is no time for a single collection.
    """
    begin = position_of(token, _Position)
    left, right = (_Side(store, bucket, layout, open_backup(store, bucket, layout)) for layout in (a, b))
    work = _Comparison(left, right, with_objects=with_objects, has_time=has_time)
    pairs = _pairs(list(left.members()), list(right.members()))
    differing, counted, unchanged, room = list[CollectionDiff](), [begin.objects], 0, ANSWER_BYTES
    # Their numbers may add up to what nothing can have.
    with of_a_backup(f"{a.name} or {b.name}"), closing(each(work.diff, pairs[begin.compared_count :])) as compared:
        try:
            for diff, objects in compared:
                if diff is None:
                    unchanged += 1
                else:
                    room -= answer_bytes(diff)
                    if room < 0 and differing:
                        break
                    differing.append(diff)
                if objects is not None:
                    counted.append(objects)
        except _OutOfTimeError as err:
            if not (differing or unchanged):
                raise work.too_long() from err
        end = _Position(
            compared_count=begin.compared_count + len(differing) + unchanged,
            differing_count=begin.differing_count + len(differing),
            unchanged_count=begin.unchanged_count + unchanged,
            objects=sum_of(counted),
        )
    others = dict.fromkeys(side.layout.name for side in (left, right) if not side.is_ours)
    databases = [side.opened.description.databases for side in (left, right)]
    return BackupDiff(
        a=_compared(left),
        b=_compared(right),
        same_source=_is_same_place(left.source, right.source),
        databases_added=tuple(sorted(set(databases[1]) - set(databases[0]))),
        databases_removed=tuple(sorted(set(databases[0]) - set(databases[1]))),
        collections=tuple(differing),
        differing_count=end.differing_count,
        unchanged_count=end.unchanged_count,
        objects=end.objects if with_objects else None,
        next_token=token_of(end) if end.compared_count < len(pairs) else None,
        notes=(_OF_ANOTHER_TOOL.format(names=" and ".join(others)),) if others else (),
    )


def _is_same_place(a: Source | None, b: Source | None) -> bool | None:
    """Return whether two backups were taken from one place, whatever version was there; None where that is unknown."""
    if a is None or b is None:
        return None
    return (a.bucket, a.root_path.strip("/")) == (b.bucket, b.root_path.strip("/"))


def _pairs(a: Sequence[_Member], b: Sequence[_Member]) -> list[_Pair]:
    """Return each collection with what it is in the other backup, by name: what has its ID, or else its name."""
    by_id = {other.summary.collection_id: other for other in b}
    same = [(one, by_id.pop(one.summary.collection_id, None)) for one in a]
    found = {id(other) for _, other in same}
    by_name = {other.name: other for other in b if id(other) not in found}
    pairs: list[_Pair] = [(one, other or by_name.pop(one.name, None)) for one, other in same]
    found = {id(other) for _, other in pairs}
    pairs += [(None, other) for other in b if id(other) not in found]
    return sorted(pairs, key=_name_of)


def _name_of(pair: _Pair) -> tuple[str, str]:
    return next(member.name for member in pair if member)


def _compared(side: _Side) -> ComparedBackup:
    return ComparedBackup(**{name: getattr(side.opened.description, name) for name in ComparedBackup.model_fields})


def _nothing_shared(a: _Member | None, b: _Member | None) -> ObjectDiff:
    return ObjectDiff(only_in_a=_count(a), only_in_b=_count(b))


def _count(member: _Member | None) -> ObjectCount:
    if member is None:
        return ObjectCount()
    return ObjectCount(object_count=member.summary.object_count, size_bytes=member.summary.size_bytes)


def _contents_differ(a: ComparedCollection, b: ComparedCollection, objects: ObjectDiff | None) -> bool:
    """Return whether rows or objects are known to differ."""
    if a.row_count != b.row_count:
        return True
    if None not in (a.live_row_count, b.live_row_count) and a.live_row_count != b.live_row_count:
        return True
    if objects is None:
        return (a.object_count, a.size_bytes) != (b.object_count, b.size_bytes)
    return bool(objects.only_in_a.object_count or objects.only_in_b.object_count)
