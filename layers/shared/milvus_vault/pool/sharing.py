"""Which of a collection's objects are in the pool: looked up in S3, never believed from an older backup alone."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import NamedTuple

from milvus_vault.archive.layout import BackupLayout, parse_log_key
from milvus_vault.archive.manifest import Manifest, Source, read_object_list
from milvus_vault.archive.pool import PooledKey, PoolLayout, content_of, group_of, parse_pooled_key
from milvus_vault.archive.reader import find_manifest, read_document
from milvus_vault.archive.remains import is_there
from milvus_vault.errors import BackupDamagedError, BackupFormatError
from milvus_vault.model.objects import ArchivedObject, ListedObject
from milvus_vault.pool.condemned import read_condemned
from milvus_vault.ports import ObjectStore
from milvus_vault.spans import list_in_spans

_PAGE = 1000  # ListObjectsV2, S3 API reference
_DIGITS = "0123456789abcdef"
_AFTER = "g"  # sorts after every digit, and after the slash behind them


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
    _manifests: dict[str, Manifest | None] = field(default_factory=dict)

    def folder(self, collection_id: int) -> str:
        """Return the folder of a collection's objects, with a slash at its end."""
        return PoolLayout(self.prefix).folder(group_of(self.source.bucket, self.source.root_path, collection_id))

    def places(self, collection_id: int, objects: Sequence[ListedObject]) -> Iterator[Place]:
        """Yield where each of a collection's objects lies, or is to lie; those that are there as a listing shows them.

        An object is there if it has the size and the ETag of Milvus' own, or the ETag that was recorded when it was
        copied. One that is not as it was recorded, or gone, is copied anew to where other backups look for it, if it
        gets the recorded ETag there: that heals them, too. One whose content is damaged below its ETag stays as it is,
        and this backup gets another copy.

        Raises:
            WorkingFileError: What is about to be deleted cannot be read.
        """
        group, layout = group_of(self.source.bucket, self.source.root_path, collection_id), PoolLayout(self.prefix)
        wanted = {content_of(self.source.bucket, listed): listed for listed in objects}
        if not wanted:
            return
        # In this order, see `users.py`; what is condemned goes before its list does.
        condemned = read_condemned(self.store, self.bucket, layout, group)
        passed_by = frozenset(condemned[0].keys) if condemned else frozenset[str]()
        known = self._known(group, wanted)
        there: dict[str, ListedObject] = {}
        self.listed_counts[collection_id] = 0
        marks = partial(_keys, known.values())
        for found in list_in_spans(self.store, self.bucket, layout.folder(group), marks):
            self.listed_counts[collection_id] += 1
            pooled = parse_pooled_key(found.key)
            if pooled is None or pooled.content not in wanted or pooled.below in passed_by:
                continue
            is_right = not self._is_damaged(found.key, found.modified_at)
            if is_right and _is_copy(found, wanted[pooled.content], known.get(pooled.content)):
                there.setdefault(pooled.content, found)
        for content, listed in wanted.items():
            recorded = known.get(content)
            if (copy := there.get(content)) is not None:
                is_recorded = recorded is not None and (recorded.key, recorded.etag) == (copy.key, copy.etag)
                checksum = recorded.checksum if recorded and is_recorded else ""
                shared = ArchivedObject(copy.key, listed.key, copy.size_bytes, copy.etag, checksum)
                yield Place(listed, copy.key, shared)
                continue
            key = layout.key(PooledKey(group, _segment_of(listed), content, self.attempt))
            if recorded is None or recorded.below in passed_by:
                yield Place(listed, key, None)
            else:
                # Over one of the right ETag nothing is copied, whatever its content.
                is_replaced = recorded.etag == listed.etag and recorded.key not in self.damaged
                yield Place(listed, recorded.key if is_replaced else key, None, is_lost=True)

    def _is_damaged(self, key: str, modified_at: datetime | None) -> bool:
        found_at = self.damaged.get(key)
        return found_at is not None and (modified_at is None or modified_at <= found_at)

    def _known(self, group: str, wanted: Mapping[str, ListedObject]) -> dict[str, _Known]:
        """Return what the newest backup of a collection recorded, by content."""
        for name in self.bases:
            layout, manifest = BackupLayout(self.prefix, name), self._manifest(name)
            entries = manifest.collections if manifest else ()
            entry = next((found for found in entries if found.group == group), None)
            # Asked for each time, after what is condemned was read: else what a backup had that is being deleted may be
            # gone, and a late deletion would hit what is copied there anew.
            if entry is None or not is_there(self.store, self.bucket, layout.marker):
                continue
            try:
                items = read_object_list(read_document(self.store, self.bucket, layout, entry.objects))
                return dict(_recorded(items, layout, wanted))
            except (BackupDamagedError, ValueError):
                continue
        return {}

    def _manifest(self, name: str) -> Manifest | None:
        """Return the manifest of a backup; None where it cannot be read."""
        if name not in self._manifests:
            try:
                self._manifests[name] = find_manifest(self.store, self.bucket, BackupLayout(self.prefix, name))
            except (BackupDamagedError, BackupFormatError):
                self._manifests[name] = None
        return self._manifests[name]


def ranges(folder: str, new: Iterable[str], others: Iterable[str]) -> tuple[str, ...]:
    """Return prefixes that list all new objects of a group with the fewest requests; none where nothing is new.

    Who verifies need not list the whole group again: new segments have new numbers, which lie together at the end. None
    of the prefixes begins with another one.

    Args:
        folder: The group's, with a slash at its end.
        new: Full keys of what is new there.
        others: Full keys of what else is known to be there. More than that may cost requests, and hides nothing.
    """
    fresh = sorted(new)
    found = sorted((*fresh, *others))
    return tuple(_fewest(folder, found, fresh)[1])


def _fewest(prefix: str, found: Sequence[str], fresh: Sequence[str]) -> tuple[int, Sequence[str]]:
    """Return how many requests list the fresh keys below a prefix, and the prefixes that do."""
    count, new = (_between(keys, prefix, prefix + _AFTER) for keys in (found, fresh))
    if not new:
        return 0, ()
    pages = -(-count // _PAGE)
    # Where nothing else lies, nothing is saved; and a segment is not divided.
    if pages == 1 or count == new or fresh[bisect_left(fresh, prefix)].startswith("/", len(prefix)):
        return pages, (prefix,)
    parts = [_fewest(prefix + digit, found, fresh) for digit in _DIGITS]
    fewest = sum(requests for requests, _ in parts)
    return (fewest, [each for _, prefixes in parts for each in prefixes]) if fewest < pages else (pages, (prefix,))


def _keys(known: Iterable[_Known]) -> list[str]:
    return sorted(item.key for item in known)


def _between(keys: Sequence[str], first: str, last: str) -> int:
    return bisect_left(keys, last) - bisect_left(keys, first)


def _recorded(
    items: Iterable[ArchivedObject], layout: BackupLayout, wanted: Mapping[str, ListedObject]
) -> Iterator[tuple[str, _Known]]:
    for item in items:
        pooled = parse_pooled_key(item.stored_key)
        if pooled is not None and pooled.content in wanted:
            yield pooled.content, _Known(layout.here(item.stored_key), pooled.below, item.etag, item.checksum)


def _is_copy(found: ListedObject, source: ListedObject, recorded: _Known | None) -> bool:
    """Return whether an object in the pool is the copy of Milvus' own, and can be read."""
    if found.size_bytes != source.size_bytes or found.archive_class:
        return False
    # Copied in parts or under KMS, it has another ETag than its source.
    is_recorded = recorded is not None and (recorded.key, recorded.etag) == (found.key, found.etag)
    return found.etag == source.etag or is_recorded


def _segment_of(listed: ListedObject) -> int:
    key = parse_log_key(listed.key)
    if key is None:
        msg = f"not a log of Milvus: {listed.key}"
        raise ValueError(msg)
    return key.segment_id
