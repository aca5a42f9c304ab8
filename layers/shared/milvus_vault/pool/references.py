"""Which objects of the pool are listed by backups, and which by none.

A folder counts as a backup's if it has our manifest, whether or not it has a marker: one that lost its marker can be
repaired, and one that is being published gets its marker next.

What this takes, for a group, the objects of one collection: a listing of n objects is held in 67 bytes each, 335 MB
for the 5 million that are looked at together, and the lists of backups go past in pieces of 1 MiB. The lists are
sorted, as the listing is, so that each is one walk along it: n steps for a list of n. Lists of the same content are
read once.
"""

import hashlib
import re
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from itertools import chain, islice
from typing import NamedTuple

from pydantic import ValidationError

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.manifest import FORMAT_VERSION, FileDigest, Manifest
from milvus_vault.archive.pool import BELOW_WIDTH, PoolLayout, is_below_group, parse_pooled_key
from milvus_vault.archive.reader import find_manifest
from milvus_vault.archive.remains import is_there
from milvus_vault.errors import (
    BackupDamagedError,
    BackupFormatError,
    BackupNotFoundError,
    ObjectChangedError,
    ObjectNotFoundError,
)
from milvus_vault.model.objects import ListedObject
from milvus_vault.parallel import each
from milvus_vault.ports import ObjectStore

# 5 million keys of 58 bytes with a mark and eight bytes of size are 335 MB. Where a listing is not in order, sorting
# holds them once more, as objects of 99 bytes: 830 MB in all.
LISTED_AT_A_TIME = 5_000_000

# One manifest of 16,000 collections takes 50 MB while it is read.
_READ_AT_A_TIME = 4

_HINT = "Repair or delete this backup; the next prune goes on."


class ReferenceList(NamedTuple):
    """The object list of a collection in a backup."""

    backup_name: str
    key: str
    """Full key."""
    expected: FileDigest


type References = Mapping[str, Sequence[ReferenceList]]
"""By group, the object lists of all backups, those of the same content once."""


def read_references(
    store: ObjectStore, bucket: str, prefix: str, names: Iterable[str], groups: frozenset[str], threads: int
) -> References:
    """Return the object lists of some groups in all backups of these names, as of now.

    Raises what `archive.reader` raises for a backup of which nobody can tell what it lists.
    """
    found: dict[str, dict[str, ReferenceList]] = {group: {} for group in groups}

    def read(name: str) -> Sequence[tuple[str, ReferenceList]]:
        return [(group, listed) for group, listed in read_lists(store, bucket, prefix, name) if group in groups]

    for lists in each(read, sorted(names), threads=threads):
        for group, listed in lists:
            found[group].setdefault(listed.expected.sha256, listed)
    return {group: tuple(lists.values()) for group, lists in found.items()}


def read_lists(store: ObjectStore, bucket: str, prefix: str, name: str) -> Iterator[tuple[str, ReferenceList]]:
    """Yield the object lists of a backup with the groups that they are of; none of one that shares nothing.

    Raises what `archive.reader` raises for a backup of which nobody can tell what it lists.
    """
    layout = BackupLayout(prefix, name)
    manifest = _read_manifest(store, bucket, layout)
    for entry in manifest.collections if manifest and manifest.is_incremental else ():
        if entry.group:
            yield entry.group, ReferenceList(name, layout.root + entry.objects.key, entry.objects)


def listed_by(
    store: ObjectStore,
    bucket: str,
    prefix: str,
    names: Iterable[str],
    keys: Iterable[str],
    has_time: Callable[[], bool],
) -> Mapping[str, Sequence[str]]:
    """Return for some objects of the pool, by their full keys, which of these backups list them, as far as is known.

    Only the lists of their groups are read. A backup that cannot be read, and one whose turn comes when there is no
    time left, is passed by.
    """
    wanted = list(keys)

    def read(name: str) -> Set[str]:
        try:
            return listed_in(store, bucket, prefix, name, wanted) if has_time() else frozenset()
        except (BackupDamagedError, BackupFormatError):
            return frozenset()

    named = sorted(names) if wanted else []
    listing: dict[str, list[str]] = {}
    for name, found in zip(named, each(read, named, threads=_READ_AT_A_TIME), strict=True):
        for key in found:
            listing.setdefault(key, []).append(name)
    return listing


def listed_in(store: ObjectStore, bucket: str, prefix: str, name: str, keys: Iterable[str]) -> Set[str]:
    """Return those of some objects of the pool, by their full keys, that a backup lists.

    Only the lists of their groups are read. Raises as `read_lists` and `listed_keys`.
    """
    wanted: dict[str, dict[bytes, str]] = {}
    for key in keys:
        if pooled := parse_pooled_key(key):
            wanted.setdefault(pooled.group, {})[pooled.below.encode()] = key
    found = set[str]()
    for group, listed in read_lists(store, bucket, prefix, name) if wanted else ():
        if of_group := wanted.get(group):
            for some in listed_keys(store, bucket, PoolLayout(prefix).folder(group), listed):
                found.update(of_group[below] for below in of_group.keys() & set(some))
    return found


def _read_manifest(store: ObjectStore, bucket: str, layout: BackupLayout) -> Manifest | None:
    """Return the manifest in a folder; None where there is none of ours."""
    if is_there(store, bucket, layout.marker):
        try:
            return _of_known_mode(find_manifest(store, bucket, layout), layout)
        except BackupNotFoundError:
            # Its marker has gone since. As long as its manifest is there it counts.
            pass
    try:
        manifest = Manifest.model_validate_json(store.get(bucket, layout.manifest))
    except ObjectNotFoundError:
        return None
    except ValidationError as err:
        msg = f"{layout.manifest} cannot be read, and nobody can tell which shared objects the backup lists"
        raise BackupDamagedError(msg, hint=_HINT) from err
    return _of_known_mode(manifest, layout)


def _of_known_mode(manifest: Manifest | None, layout: BackupLayout) -> Manifest | None:
    if manifest and (manifest.format_version > FORMAT_VERSION or manifest.mode not in {"full", "incremental"}):
        msg = f"{layout.manifest} has format version {manifest.format_version} and mode {manifest.mode!r}"
        raise BackupFormatError(msg, hint="A newer release made this backup: let that one prune.")
    return manifest


class Candidate(NamedTuple):
    """An object of a group of which it is asked whether a list has it."""

    key: str
    """In full, or below the group's folder."""
    size_bytes: int
    owner: int = 0
    """Whose it is, by a number below 65,536 that means something to who asks."""


def unlisted(
    store: ObjectStore,
    bucket: str,
    folder: str,
    lists: Sequence[ReferenceList],
    objects: Iterable[ListedObject],
    check: Callable[[], None] = lambda: None,
    at_a_time: int = LISTED_AT_A_TIME,
) -> Iterator[tuple[str, int]]:
    """Yield key below the folder and size of those objects of a group that none of the lists has, in order.

    `check` is called every some thousand lines, 10 million of which take 33 s, and may raise what ends this.

    Raises `BackupDamagedError` where a list is missing, or is not what was written.
    """
    candidates = (Candidate(listed.key, listed.size_bytes) for listed in objects)
    for left in left_over(store, bucket, folder, lists, candidates, at_a_time, check):
        yield left.key, left.size_bytes


def left_over(
    store: ObjectStore,
    bucket: str,
    folder: str,
    lists: Sequence[ReferenceList],
    candidates: Iterable[Candidate],
    at_a_time: int = LISTED_AT_A_TIME,
    check: Callable[[], None] = lambda: None,
) -> Iterator[Candidate]:
    """Yield those objects of a group that none of the lists has, in order, with their keys below the folder.

    Calls `check` and raises as `unlisted` does.
    """
    candidates = iter(candidates)
    while first := next(candidates, None):
        keys = _Keys(folder)
        # Eight bytes a size and two an owner, where a list has eight for each and an object beside.
        sizes, owners = array("Q"), array("H")
        for candidate in islice(chain([first], candidates), at_a_time):
            if keys.append(candidate.key):
                sizes.append(candidate.size_bytes)
                owners.append(candidate.owner)
        order = keys.sort()
        for each_list in lists:
            keys.begin()
            for piece in listed_keys(store, bucket, folder, each_list):
                check()
                keys.mark(piece)
        for index, key in keys.unmarked():
            at = order[index] if order else index
            yield Candidate(key, sizes[at], owners[at])


class _Keys:
    """Keys of a group in order, with a mark each, in as little memory as there is a way to."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._keys = bytearray()
        self._marks = bytearray()
        self._at = 0

    def __len__(self) -> int:
        return len(self._keys) // BELOW_WIDTH

    def __getitem__(self, index: int) -> bytes:
        return bytes(self._keys[index * BELOW_WIDTH : (index + 1) * BELOW_WIDTH])

    def append(self, key: str) -> bool:
        """Take a key in; return whether it is one of an object of the group. Anything else was not put there by us."""
        if not is_below_group(below := key.removeprefix(self._folder)):
            return False
        self._keys += below.encode()
        return True

    def sort(self) -> Sequence[int]:
        """Bring the keys in order, and return where each was; nothing where they were in order."""
        count = len(self)
        self._marks = bytearray(count)
        if all(self[index] < self[index + 1] for index in range(count - 1)):
            return ()
        order = sorted(range(count), key=self.__getitem__)
        self._keys = bytearray().join(self[index] for index in order)
        return order

    def begin(self) -> None:
        """Begin a walk."""
        self._at = 0

    def mark(self, keys: Iterable[bytes]) -> None:
        """Mark keys. In order it is a walk; a key that comes out of order is found all the same."""
        at, count, all_keys = self._at, len(self), self._keys
        here = all_keys[at * BELOW_WIDTH : (at + 1) * BELOW_WIDTH]
        for key in keys:
            if at == count or here > key:
                at = bisect_left(self, key)
                here = all_keys[at * BELOW_WIDTH : (at + 1) * BELOW_WIDTH]
            while at < count and here < key:
                at += 1
                here = all_keys[at * BELOW_WIDTH : (at + 1) * BELOW_WIDTH]
            if here == key:
                self._marks[at] = 1
        self._at = at

    def unmarked(self) -> Iterator[tuple[int, str]]:
        """Yield the keys without a mark, with their positions."""
        at = self._marks.find(0)
        while at >= 0:
            yield at, self[at].decode()
            at = self._marks.find(0, at + 1)


def listed_keys(store: ObjectStore, bucket: str, folder: str, listed: ReferenceList) -> Iterator[Sequence[bytes]]:
    """Yield the keys that a list has, below a group's folder, some thousand at a time.

    They count only once all have come: raises `BackupDamagedError` where the list is missing, is not what was written,
    or has an object of another group.
    """
    pattern = re.compile(_first_column(folder))
    for lines in _lines(store, bucket, listed):
        keys: list[bytes] = pattern.findall(lines)
        if len(keys) != lines.count(b"\n") + 1:
            raise _another(listed)
        yield keys


def listed_sizes(
    store: ObjectStore, bucket: str, folder: str, listed: ReferenceList
) -> Iterator[Sequence[tuple[bytes, bytes]]]:
    """Yield keys as `listed_keys` does, each with the object's size in decimal digits. Raises as that does."""
    pattern = re.compile(_first_column(folder) + rb'"(?:[^"\\]|\\.)*",([0-9]+),')
    for lines in _lines(store, bucket, listed):
        found: list[tuple[bytes, bytes]] = pattern.findall(lines)
        if len(found) != lines.count(b"\n") + 1:
            raise _another(listed)
        yield found


def _first_column(folder: str) -> bytes:
    name = PoolLayout("").root + folder.rstrip("/").rpartition("/")[2]
    # It begins with literal text, which is found fast, and is nowhere else in a line.
    return re.escape(f"{name}/".encode()) + rb'([0-9a-f/-]{%d})",' % BELOW_WIDTH


def _lines(store: ObjectStore, bucket: str, listed: ReferenceList) -> Iterator[bytes]:
    """Yield a list in pieces of whole lines, each without the last line's end."""
    found = next((item for item in store.list_objects(bucket, listed.key) if item.key == listed.key), None)
    if found is None:
        msg = f"{listed.key} is missing from backup '{listed.backup_name}'"
        raise BackupDamagedError(msg, hint=_HINT)
    digest, rest = hashlib.sha256(), b""
    try:
        for chunk in store.chunks(bucket, listed.key, found.etag):
            digest.update(chunk)
            lines, newline, rest = (rest + chunk).rpartition(b"\n")
            if newline:
                yield lines
    except (ObjectNotFoundError, ObjectChangedError) as err:
        raise _another(listed) from err
    if rest or digest.hexdigest() != listed.expected.sha256:
        raise _another(listed)


def _another(listed: ReferenceList) -> BackupDamagedError:
    msg = f"{listed.key} of backup '{listed.backup_name}' is not the list that was written"
    return BackupDamagedError(msg, hint=_HINT)
