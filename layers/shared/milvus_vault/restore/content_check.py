"""The content check: look at the objects of a restore's collections one by one, before anything is staged.

It works as a verification does, by the same batches and by CheckObjects, but of these collections alone, and the
catalogue does not take it for one. What it reads for the first time is a baseline all the same.
"""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace

from milvus_vault.archive.check import check_objects, raise_if_damaged
from milvus_vault.archive.contents import ArchivedCollection, list_bytes
from milvus_vault.archive.layout import BackupLayout, log_of
from milvus_vault.archive.object_table import ObjectTable
from milvus_vault.archive.reader import read_manifest, stored_objects
from milvus_vault.errors import BackupDamagedError, ObjectArchivedError
from milvus_vault.model.base import Count, Model
from milvus_vault.model.collections import CollectionName
from milvus_vault.model.objects import ARCHIVED_HINT
from milvus_vault.model.readable import count, first_of, size
from milvus_vault.model.requests import VerifyLevel, VerifyOptions
from milvus_vault.model.resources import Verification
from milvus_vault.parallel import LISTS_AT_A_TIME_BYTES, SMALL_REQUESTS_AT_A_TIME, each
from milvus_vault.pool.doubts import Doubt
from milvus_vault.restore.partitions import objects_in, partition_ids
from milvus_vault.verifying.planning import (
    MAX_READ_BYTES,
    are_missing,
    conclude,
    damage_by_collection,
    forget_damage,
    newest_of,
    plan_checks,
    write_collection,
)
from milvus_vault.verifying.working_files import BATCHES
from milvus_vault.workspace import Workspace

_PLANNED = "check/planned.json"

DAMAGED_HINT = (
    "Bring the objects back from a copy or an older version of them, or leave the collection out: `skip_damaged`"
    " restores the others."
)


def level_of(
    asked: VerifyLevel | None, *, has_checksums: bool, last: Verification | None, is_doubted: bool
) -> VerifyLevel:
    """Return how the objects of a collection are to be checked before it is restored.

    Args:
        asked: What the request says, which goes before all else.
        has_checksums: Whether the backup is ours, so that a listing shows whether an object was written anew.
        last: The last verification of the backup, if there is one.
        is_doubted: Whether a deep verification found an object of the collection that is restored damaged, and none has
            read it as it should be since.
    """
    if asked is not None:
        return asked
    if not has_checksums or is_doubted:
        return "deep"
    # What it found of checksums is not kept by key, and not seen by a listing.
    if last is not None and last.level == "checksum" and last.status == "damaged":
        return "checksum"
    return "quick"


class _Planned(Model):
    """What a content check looks at."""

    batch_count: Count
    too_large: Count
    """Objects that are too large to be read."""


@dataclass(frozen=True, slots=True)
class ContentsFound:
    """What a content check found."""

    damaged: Mapping[int, BackupDamagedError]
    """By the collection's index in the archive."""
    read_count: int = 0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ContentCheck:
    """The content check of one restore."""

    run: Workspace
    """Its working files. Their name says what is looked at, so that a run that is started again finds them, and never
    takes what was found of other objects for its own."""
    layout: BackupLayout
    level: VerifyLevel
    collections: Mapping[int, ArchivedCollection]
    """What is restored of each, by its index in the archive."""
    doubts: Mapping[str, Doubt] = field(default_factory=dict)
    """Of the pool, by key."""

    @classmethod
    def of(
        cls,
        run: Workspace,
        layout: BackupLayout,
        level: VerifyLevel,
        collections: Mapping[int, ArchivedCollection],
        doubts: Mapping[str, Doubt],
        identity: str,
    ) -> "ContentCheck":
        """Return the check of objects whose keys and ETags have this hash."""
        return cls(replace(run, run=f"{run.run}/check-{level}-{identity}"), layout, level, collections, doubts)

    def check(self, check_count: int) -> ContentsFound | None:
        """Return what was found, or None while batches are to be given to CheckObjects. Safe to repeat.

        What an earlier execution of the run found is not looked at again, but where it found damage.

        Args:
            check_count: How often this execution gave the batches to CheckObjects.

        Raises:
            ObjectArchivedError: Objects cannot be read before they are restored from S3 Glacier.
            CheckIncompleteError: CheckObjects ended again and again before it had looked at all objects.
        """
        planned = self.run.find(_PLANNED, _Planned) if check_count else None
        if planned is None:
            # Where another release gave batches, they were not these.
            check_count = 0
            planned = self._plan()
            forget_damage(self.run, planned.batch_count)
        if are_missing(self.run, self.layout, planned.batch_count, check_count):
            return None
        total = conclude(self.run, self.layout, planned.batch_count)
        if total.archived:
            msg = f"{count(len(total.archived))} object(s) cannot be read: {first_of(total.archived)}"
            raise ObjectArchivedError(msg, hint=ARCHIVED_HINT)
        damage = damage_by_collection(self.run, planned.batch_count)
        unread = f"{planned.too_large} object(s) of more than {size(MAX_READ_BYTES)} were not read"
        return ContentsFound(
            damaged={index: damaged_contents(self.collections[index].name, found) for index, found in damage.items()},
            read_count=total.read_count,
            warnings=(unread,) if planned.too_large else (),
        )

    @property
    def batches_key(self) -> str:
        """Return the key of the list of batches that Step Functions reads."""
        return self.run.key(BATCHES)

    def _plan(self) -> _Planned:
        store, bucket, is_deep = self.run.store, self.run.bucket, self.level == "deep"
        newest = newest_of(read_manifest(store, bucket, self.layout))

        def write(index: int) -> int:
            collection = self.collections[index]
            with closing(ObjectTable(stored_objects(store, bucket, self.layout, collection))) as objects:
                raise_if_damaged(collection, check_objects(store, bucket, self.layout, collection, objects))
                wanted = partition_ids(collection)
                write_collection(
                    self.run,
                    self.layout,
                    self.level,
                    index,
                    collection,
                    (found for found in objects.noted() if log_of(found[0]).partition_id in wanted),
                    newest=newest,
                    doubts=self.doubts,
                )
                large = (item.size_bytes > MAX_READ_BYTES for item in objects_in(collection, objects))
                return sum(large) if is_deep else 0

        too_large = sum(
            each(
                write,
                self.collections,
                threads=SMALL_REQUESTS_AT_A_TIME,
                weight=lambda index: list_bytes(self.collections[index]),
                max_weight=LISTS_AT_A_TIME_BYTES,
            )
        )
        checks = plan_checks(self.run, self.layout, VerifyOptions(level=self.level), begin=0, always=())
        planned = _Planned(batch_count=len(checks.batches), too_large=too_large)
        self.run.write(_PLANNED, planned)
        return planned


def damaged_contents(name: CollectionName, found: list[str]) -> BackupDamagedError:
    """Return the error of a collection whose objects have other contents than they should."""
    msg = f"objects of collection {name} are damaged: {count(len(found))} by their content: "
    return BackupDamagedError(msg + first_of(found, separator="; "), hint=DAMAGED_HINT)
