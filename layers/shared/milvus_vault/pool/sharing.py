"""Which of a collection's objects are in the pool: looked up in S3, never believed from an older backup alone."""

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate
from typing import NamedTuple

from milvus_vault.archive.layout import BackupLayout, parse_log_key
from milvus_vault.archive.manifest import FileDigest, Source
from milvus_vault.archive.pool import PooledKey, PoolLayout, content_of, group_of, parse_pooled_key
from milvus_vault.archive.reader import find_manifest, listed_entries
from milvus_vault.archive.remains import is_there, marker_etag
from milvus_vault.errors import BackupDamagedError, BackupFormatError
from milvus_vault.model.objects import ArchivedObject, ListedObject
from milvus_vault.pool.condemned import read_condemned
from milvus_vault.ports import ObjectStore
from milvus_vault.spans import list_in_spans
from milvus_vault.tables import LISTED, evenly, listed_object, listed_row, open_tables, room_on_disk

_PAGE = 1000  # ListObjectsV2, S3 API reference
_DIGITS = "0123456789abcdef"
_AFTER = "g"  # sorts after every digit, and after the slash behind them

# As many bases as a backup has. Of 16,000 collections each takes some 12 MB.
_BASES_KEPT = 3


class Place(NamedTuple):
    """Where the copy of an object of Milvus' lies, or is to lie."""

    listed: ListedObject
    """In Milvus' bucket."""
    key: str
    shared: ArchivedObject | None
    """The object in the pool, where it is there and proven; None: it is to be copied to the key."""
    is_lost: bool = False
    """Whether a backup has recorded it in the pool, where it is gone now, or another one."""


class _Known(NamedTuple):
    """What a backup recorded of an object in the pool when it was copied."""

    key: str
    below: str
    etag: str
    checksum: str


_SCHEMA = f"""
CREATE TABLE wanted (position INTEGER PRIMARY KEY, place TEXT, {LISTED});
CREATE TABLE known (position INTEGER PRIMARY KEY, key TEXT, below TEXT, etag TEXT, checksum TEXT);
CREATE TABLE there (position INTEGER PRIMARY KEY, key TEXT, size_bytes INTEGER, etag TEXT);
"""
_WANTED = "SELECT position, size_bytes, etag FROM wanted WHERE place = ? LIMIT 1"
_KNOWN = "SELECT key, below, etag, checksum FROM known WHERE position = ?"
_PLACES = """
SELECT place, wanted.key, wanted.size_bytes, wanted.etag, modified_at, archive_class, known.key, below, known.etag,
known.checksum, there.key, there.size_bytes, there.etag
FROM wanted LEFT JOIN known USING (position) LEFT JOIN there USING (position) ORDER BY wanted.position
"""


class Places:
    """Where each of a collection's objects lies, or is to lie, told as often as it is asked. On the function's disk."""

    def __init__(self, pool: "Pool", group: str, objects: Iterable[ListedObject]) -> None:
        """Take objects in, in the order in which their places are told."""
        self._pool, self._group, self._layout = pool, group, PoolLayout(pool.prefix)
        self._passed_by = frozenset[str]()
        self._tables = open_tables(_SCHEMA)
        bucket = pool.source.bucket
        rows = (
            (number, _place(_segment_of(listed), content_of(bucket, listed)), *listed_row(listed))
            for number, listed in enumerate(objects)
        )
        with room_on_disk():
            self.count = self._tables.executemany("INSERT INTO wanted VALUES (?, ?, ?, ?, ?, ?, ?)", rows).rowcount
            # In the order of a listing of the group, and of the lists of backups, which lie together in it.
            self._tables.execute("CREATE INDEX by_place ON wanted (place)")

    def look_up(self) -> None:
        """Find out which objects are there. Raises `WorkingFileError` as `Pool.places`."""
        # In this order, see `users.py`; what is condemned goes before its list does.
        condemned = read_condemned(self._pool.store, self._pool.bucket, self._layout, self._group)
        self._passed_by = frozenset(condemned[0].keys) if condemned else frozenset()
        self._recall()
        with room_on_disk():
            self._tables.executemany("INSERT OR IGNORE INTO there VALUES (?, ?, ?, ?)", self._found())

    def _recall(self) -> None:
        """Take in what the newest backup of the collection recorded."""
        for recorded in self._pool.recorded(self._group):
            try:
                with room_on_disk():
                    self._tables.executemany("INSERT OR REPLACE INTO known VALUES (?, ?, ?, ?, ?)", self._of(*recorded))
            except (BackupDamagedError, ValueError):
                # What was read of it before it was found damaged does not count.
                self._tables.execute("DELETE FROM known")
            else:
                return

    def _of(self, layout: BackupLayout, items: Iterable[ArchivedObject]) -> Iterator[tuple[int, str, str, str, str]]:
        for item in items:
            if (pooled := parse_pooled_key(item.stored_key)) and (wanted := self._wanted(pooled)):
                yield wanted[0], layout.here(item.stored_key), pooled.below, item.etag, item.checksum

    def _found(self) -> Iterator[tuple[int, str, int, str]]:
        pool = self._pool
        for found in pool.listed(self._group, lambda: evenly(self._tables, "known")):
            pooled = parse_pooled_key(found.key)
            if pooled is None or pooled.below in self._passed_by or (wanted := self._wanted(pooled)) is None:
                continue
            position, size_bytes, etag = wanted
            recorded = self._tables.execute(_KNOWN, (position,)).fetchone()
            is_right = not pool.is_damaged(found.key, found.modified_at)
            if is_right and _is_copy(found, size_bytes, etag, _Known(*recorded) if recorded else None):
                yield position, found.key, found.size_bytes, found.etag

    def _wanted(self, pooled: PooledKey) -> tuple[int, int, str] | None:
        """Return position, size and ETag of the object of which this may be a copy."""
        place = _place(pooled.segment_id, pooled.content)
        found: tuple[int, int, str] | None = self._tables.execute(_WANTED, (place,)).fetchone()
        return found

    def count_lost(self) -> int:
        """Return how many are lost."""
        return sum(place.is_lost for place in self)

    def __iter__(self) -> Iterator[Place]:
        """Yield them, in the order of the objects."""
        folder, attempt = self._layout.folder(self._group), self._pool.attempt
        for place, *row in self._tables.execute(_PLACES):
            listed = listed_object(*row[:5])
            recorded = _Known(*row[5:9]) if row[5] is not None else None
            if row[9] is not None:
                key, size_bytes, etag = row[9:]
                is_recorded = recorded is not None and (recorded.key, recorded.etag) == (key, etag)
                checksum = recorded.checksum if recorded and is_recorded else ""
                yield Place(listed, key, ArchivedObject(key, listed.key, size_bytes, etag, checksum))
            elif recorded is None or recorded.below in self._passed_by:
                yield Place(listed, f"{folder}{place}-{attempt}", None)
            else:
                # Over one of the right ETag nothing is copied, whatever its content.
                is_replaced = recorded.etag == listed.etag and recorded.key not in self._pool.damaged
                yield Place(listed, recorded.key if is_replaced else f"{folder}{place}-{attempt}", None, is_lost=True)


def _place(segment_id: int, content: str) -> str:
    """Return the key of copies of an object below their group's folder, but for who copied it."""
    return PooledKey("", segment_id, content, "").below.removesuffix("-")


class _ObjectLists(NamedTuple):
    """Where the object lists of a backup are."""

    marker_etag: str
    """Of its marker, which has a digest of what says so."""
    by_group: Mapping[str, FileDigest]


class BaseLists:
    """Where the object lists of bases are, by their manifests, which have 10 MB where there are 16,000 collections.

    They are read once in a process, as long as their backups have the same markers: each batch of a backup has the same
    bases.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._kept: dict[tuple[str, str], _ObjectLists] = {}

    def find(self, store: ObjectStore, bucket: str, layout: BackupLayout) -> Mapping[str, FileDigest]:
        """Return those of a backup, by group; none where there is no such backup, or its manifest cannot be read."""
        etag = marker_etag(store, bucket, layout)
        key = bucket, layout.root
        found = self._kept.get(key)
        if found is not None and found.marker_etag == etag:
            return found.by_group
        self._kept.pop(key, None)
        try:
            manifest = find_manifest(store, bucket, layout) if etag else None
        except (BackupDamagedError, BackupFormatError):
            # Nothing is kept of it: it may be repaired.
            return {}
        by_group = {entry.group: entry.objects for entry in manifest.collections if entry.group} if manifest else {}
        if etag and manifest:
            self._kept[key] = _ObjectLists(etag, by_group)
            for oldest in [*self._kept][:-_BASES_KEPT]:
                del self._kept[oldest]
        return by_group


@dataclass(frozen=True, slots=True)
class Pool:
    """The pool, as an attempt sees it that makes a backup."""

    store: ObjectStore
    bucket: str
    prefix: str
    source: Source
    attempt: str
    bases: tuple[str, ...]
    """Names of backups that may have recorded what is in the pool, the newest first."""
    damaged: Mapping[str, datetime] = field(default_factory=dict)
    """By key, when the content of an object was found to be another one than its ETag says. One that was written since
    may be right."""
    listed_counts: dict[int, int] = field(default_factory=dict)
    """By collection whose places were asked for: how many objects its folder had."""
    base_lists: BaseLists = field(default_factory=BaseLists)
    """What is kept of bases from one invocation to the next."""
    _lists: dict[str, Mapping[str, FileDigest]] = field(default_factory=dict)
    _reading: threading.Lock = field(default_factory=threading.Lock)

    def folder(self, collection_id: int) -> str:
        """Return the folder of a collection's objects, with a slash at its end."""
        return PoolLayout(self.prefix).folder(group_of(self.source.bucket, self.source.root_path, collection_id))

    def places(self, collection_id: int, objects: Iterable[ListedObject]) -> Places:
        """Return where each of a collection's objects lies, or is to lie; those that are there as a listing shows them.

        An object is there if it has the size and the ETag of Milvus' own, or the ETag that was recorded when it was
        copied. One that is not as it was recorded, or gone, is copied anew to where other backups look for it, if it
        gets the recorded ETag there: that heals them, too. One whose content is damaged below its ETag stays as it is,
        and this backup gets another copy.

        Raises:
            WorkingFileError: What is about to be deleted cannot be read.
            DiskFullError: There are more objects than the disk has room for.
        """
        places = Places(self, group_of(self.source.bucket, self.source.root_path, collection_id), objects)
        if places.count:
            self.listed_counts[collection_id] = 0
            places.look_up()
        return places

    def listed(self, group: str, marks: Callable[[], Sequence[str]]) -> Iterator[ListedObject]:
        """Yield what lies in the folder of a group, and count it. `marks` are as `list_in_spans` takes them."""
        folder, collection_id = PoolLayout(self.prefix).folder(group), int(group.rpartition("-")[2])
        for found in list_in_spans(self.store, self.bucket, folder, marks):
            self.listed_counts[collection_id] += 1
            yield found

    def is_damaged(self, key: str, modified_at: datetime | None) -> bool:
        """Return whether the content of an object that was written then is known to be another than its ETag says."""
        found_at = self.damaged.get(key)
        return found_at is not None and (modified_at is None or modified_at <= found_at)

    def recorded(self, group: str) -> Iterator[tuple[BackupLayout, Iterator[ArchivedObject]]]:
        """Yield the object lists of the collection of a group, of the newest backup first.

        Reading one raises `BackupDamagedError` or `ValueError` where it is damaged.
        """
        for name in self.bases:
            layout = BackupLayout(self.prefix, name)
            objects = self._lists_of(layout).get(group)
            # Asked for each time, after what is condemned was read: else what a backup had that is being deleted may be
            # gone, and a late deletion would hit what is copied there anew.
            if objects is not None and is_there(self.store, self.bucket, layout.marker):
                yield layout, listed_entries(self.store, self.bucket, layout, objects)

    def _lists_of(self, layout: BackupLayout) -> Mapping[str, FileDigest]:
        """Return where the object lists of a base are; the first of many threads that ask finds it out."""
        with self._reading:
            if layout.name not in self._lists:
                self._lists[layout.name] = self.base_lists.find(self.store, self.bucket, layout)
            return self._lists[layout.name]


def ranges(folder: str, new: Iterable[str], others: Iterable[str]) -> tuple[str, ...]:
    """Return prefixes that list all new objects of a group with the fewest requests; none where nothing is new.

    Who verifies need not list the whole group again: new segments have new numbers, which lie together at the end. None
    of the prefixes begins with another one.

    Args:
        folder: The group's, with a slash at its end.
        new: Full keys of what is new there.
        others: Full keys of what else is known to be there. More than that may cost requests, and hides nothing.
    """
    fresh, there = (Counter(key.rpartition("/")[0] for key in keys) for keys in (new, others))
    there.update(fresh)
    return tuple(_fewest(folder, _Segments(there), _Segments(fresh))[1])


class _Segments:
    """Folders of segments in order, and how many objects there are below any prefix of theirs."""

    def __init__(self, counts: Mapping[str, int]) -> None:
        self._names = sorted(counts)
        self._before = list(accumulate((counts[name] for name in self._names), initial=0))

    def below(self, prefix: str) -> int:
        """Return how many objects lie below a prefix."""
        first, last = (bisect_left(self._names, end) for end in (prefix, prefix + _AFTER))
        return self._before[last] - self._before[first]

    def has(self, name: str) -> bool:
        """Return whether it is a segment."""
        at = bisect_left(self._names, name)
        return self._names[at : at + 1] == [name]


def _fewest(prefix: str, found: _Segments, fresh: _Segments) -> tuple[int, Sequence[str]]:
    """Return how many requests list the fresh objects below a prefix, and the prefixes that do."""
    count, new = found.below(prefix), fresh.below(prefix)
    if not new:
        return 0, ()
    pages = -(-count // _PAGE)
    # Where nothing else lies, nothing is saved; and a segment is not divided.
    if pages == 1 or count == new or fresh.has(prefix):
        return pages, (prefix,)
    parts = [_fewest(prefix + digit, found, fresh) for digit in _DIGITS]
    fewest = sum(requests for requests, _ in parts)
    return (fewest, [each for _, prefixes in parts for each in prefixes]) if fewest < pages else (pages, (prefix,))


def _is_copy(found: ListedObject, size_bytes: int, etag: str, recorded: _Known | None) -> bool:
    """Return whether an object in the pool is the copy of one of Milvus' own, and can be read."""
    if found.size_bytes != size_bytes or found.archive_class:
        return False
    # Copied in parts or under KMS, it has another ETag than its source.
    is_recorded = recorded is not None and (recorded.key, recorded.etag) == (found.key, found.etag)
    return found.etag == etag or is_recorded


def _segment_of(listed: ListedObject) -> int:
    key = parse_log_key(listed.key)
    if key is None:
        msg = f"not a log of Milvus: {listed.key}"
        raise ValueError(msg)
    return key.segment_id
