"""What deleting backups would free of the pool: the objects that they list, and no other backup does.

By the lists alone, as a sweep will go by them. A list that another backup has as it is frees nothing, and is not read:
so it is with each collection in which nothing changed from one night to the next.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from heapq import merge
from itertools import batched, groupby
from operator import itemgetter
from threading import Lock
from typing import NamedTuple

from milvus_vault.archive.pool import PoolLayout
from milvus_vault.errors import BackupDamagedError
from milvus_vault.model.resources import ObjectCount
from milvus_vault.parallel import each
from milvus_vault.pool.references import (
    Candidate,
    ReferenceList,
    References,
    left_over,
    listed_sizes,
    read_lists,
    read_references,
)
from milvus_vault.ports import ObjectStore

MOST_BACKUPS = 100
"""That many at most are asked about together: the lists of a collection are read side by side, in 4 MiB each."""

# Of 1,000 groups and 30 backups, 30,000 lists are named in 0.6 KiB each: 18 MiB. The manifests of the other backups are
# read once for these together.
_GROUPS_AT_A_TIME = 1000

# One of 16,000 collections takes 50 MB while it is read.
_MANIFESTS_AT_A_TIME = 4

# Of a collection whose lists have no more together, which are 20,000 lines, 16 are held at a time in 8 MiB each; of the
# others one, a million of its objects in 77 MB.
_SHORT_LISTS_BYTES = 4 * 2**20
_HELD_AT_A_TIME = 1_000_000

_SEVERAL = 0


class UniqueObjects(NamedTuple):
    """What of a group's objects some backups list, and no other one."""

    group: str
    together: ObjectCount
    by_backup: Mapping[str, ObjectCount]
    """Of each that has any: what not even the others of these backups list."""
    problem: BackupDamagedError | None = None
    """Why nobody knows, and nothing of the group is counted, nor would be deleted."""
    groups_left: int = 0
    """How many come behind it."""


def unique_objects(
    store: ObjectStore,
    bucket: str,
    prefix: str,
    names: Collection[str],
    others: Collection[str],
    *,
    after: str = "",
    check: Callable[[], None] = lambda: None,
) -> Generator[UniqueObjects]:
    """Yield what the pool would lose with these backups, group by group in order.

    Args:
        store: Where the backups are.
        bucket: The backup bucket.
        prefix: The backup prefix.
        names: The backups, at most `MOST_BACKUPS`.
        others: Whoever else may list objects; one that is among `names` counts as one of these.
        after: The group behind which it begins.
        check: Called all along, by several threads; what it raises ends this.

    Raises what `archive.reader` raises for a backup of which nobody can tell what it lists.
    """
    chosen = sorted(names)
    work = _Work(store, bucket, PoolLayout(prefix), chosen, check)
    own: dict[str, dict[str, _OwnList]] = defaultdict(dict)
    for index, name in enumerate(chosen, start=_SEVERAL + 1):
        check()
        for group, listed in read_lists(store, bucket, prefix, name):
            if group > after:
                known = own[group].get(listed.expected.sha256)
                own[group][listed.expected.sha256] = _OwnList(listed, _SEVERAL if known else index)
    rest = sorted(set(others) - set(chosen))
    left = len(own)
    for some in batched(sorted(own), _GROUPS_AT_A_TIME, strict=False):
        check()
        references = read_references(store, bucket, prefix, rest, frozenset(some), _MANIFESTS_AT_A_TIME)
        for found in each(partial(work.of_group, own, references), some):
            left -= 1
            yield found._replace(groups_left=left)


class _OwnList(NamedTuple):
    """A list of the backups that are asked about."""

    listed: ReferenceList
    owner: int
    """Number of the backup, from 1 on; 0 where several have it."""


@dataclass(frozen=True, slots=True)
class _Work:
    store: ObjectStore
    bucket: str
    layout: PoolLayout
    names: Sequence[str]
    check: Callable[[], None]
    _long_lists: Lock = field(default_factory=Lock)

    def of_group(self, own: Mapping[str, Mapping[str, _OwnList]], references: References, group: str) -> UniqueObjects:
        """Return what would be left over of a group."""
        self.check()
        others = references[group]
        elsewhere = {listed.expected.sha256 for listed in others}
        lists = [one for sha256, one in own[group].items() if sha256 not in elsewhere]
        is_long = sum(one.listed.expected.size_bytes for one in lists) > _SHORT_LISTS_BYTES
        counts = [[0, 0] for _ in (None, *self.names)]
        try:
            with self._long_lists if is_long else nullcontext():
                for left in left_over(
                    self.store,
                    self.bucket,
                    folder := self.layout.folder(group),
                    others,
                    self._candidates(folder, lists),
                    _HELD_AT_A_TIME,
                    self.check,
                ):
                    counts[left.owner][0] += 1
                    counts[left.owner][1] += left.size_bytes
        except BackupDamagedError as err:
            return UniqueObjects(group, ObjectCount(), {}, err)
        together = _count(sum(number for number, _ in counts), sum(size for _, size in counts))
        of_one = zip(self.names, counts[1:], strict=True)
        return UniqueObjects(group, together, {name: _count(*count) for name, count in of_one if count[0]})

    def _candidates(self, folder: str, lists: Sequence[_OwnList]) -> Iterator[Candidate]:
        """Yield the objects of the lists, which are in order, each once."""
        entries = merge(*(self._entries(folder, one) for one in lists))
        for key, same in groupby(entries, key=itemgetter(0)):
            (_, size_bytes, owner), *more = same
            yield Candidate(key.decode(), size_bytes, _SEVERAL if more else owner)

    def _entries(self, folder: str, one: _OwnList) -> Iterator[tuple[bytes, int, int]]:
        for piece in listed_sizes(self.store, self.bucket, folder, one.listed):
            self.check()
            for key, size in piece:
                yield key, int(size), one.owner


def _count(object_count: int, size_bytes: int) -> ObjectCount:
    return ObjectCount(object_count=object_count, size_bytes=size_bytes)
