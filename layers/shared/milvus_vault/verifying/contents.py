"""Compare the content of objects that have another ETag than was recorded, for a repair of a backup that was copied."""

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import batched

from milvus_vault.archive.check import check_objects
from milvus_vault.archive.contents import ArchivedCollection, list_bytes
from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.object_table import ObjectTable
from milvus_vault.archive.other_etags import OtherEtags, has_recorded_content, read_other_etags, write_other_etags
from milvus_vault.archive.reader import check_backup_exists, read_archive, read_manifest, stored_objects
from milvus_vault.archive.tombstones import check_not_being_deleted
from milvus_vault.errors import BackupDamagedError, ObjectChangedError, ObjectNotFoundError
from milvus_vault.model.base import Model
from milvus_vault.model.objects import ArchivedObject
from milvus_vault.parallel import LISTS_AT_A_TIME_BYTES, REQUESTS_AT_A_TIME, SMALL_REQUESTS_AT_A_TIME, each
from milvus_vault.workspace import Workspace

COMPARED = "compared.json"

# Sixteen objects of 1 GiB, as large as logs become, take 160 s at 100 MiB/s; between two such lots the time that is
# left is looked at.
STOP_SECONDS = 300

# Collections that are compared again at most where a call dies.
_NOTED_AT_A_TIME = 100


class Comparison(Model):
    """What is compared so far: the first of the collections, and of the next one the objects that are damaged."""

    is_done: bool = False
    next_collection: int = 0
    proven_count: int = 0
    """Objects whose content is the one that was recorded."""
    damaged: tuple[str, ...] = ()


@dataclass(frozen=True)
class ContentComparison:
    """The comparison of one backup by one execution."""

    run: Workspace
    layout: BackupLayout
    seconds_left: Callable[[], float]

    def compare(self) -> Comparison:
        """Compare as much as there is time for, going on where the call before ended, and note what is right.

        What is damaged is left to the verification, which names it. Raises `BackupNotFoundError` where the backup is
        being deleted.
        """
        store, bucket = self.run.store, self.run.bucket
        progress = self.run.find(COMPARED, Comparison) or Comparison()
        if progress.is_done:
            return progress
        try:
            is_ours = read_manifest(store, bucket, self.layout) is not None
            collections = read_archive(store, bucket, self.layout).collections if is_ours else ()
        except BackupDamagedError:
            collections = ()
        rest = collections[progress.next_collection :]
        with closing(
            each(
                self._others,
                rest,
                threads=SMALL_REQUESTS_AT_A_TIME,
                weight=list_bytes,
                max_weight=LISTS_AT_A_TIME_BYTES,
            )
        ) as others:
            for number, other in enumerate(others, start=1):
                progress, is_through = self._compare(other, progress)
                if not is_through:
                    self.run.write(COMPARED, progress)
                    return progress
                progress = progress.model_copy(update={"next_collection": progress.next_collection + 1, "damaged": ()})
                if number % _NOTED_AT_A_TIME == 0:
                    self.run.write(COMPARED, progress)
                    if self.seconds_left() < STOP_SECONDS:
                        return progress
        progress = progress.model_copy(update={"is_done": True})
        self.run.write(COMPARED, progress)
        return progress

    def _others(self, collection: ArchivedCollection) -> Mapping[str, tuple[ArchivedObject, str]]:
        """Return the objects of a collection whose ETags are others than was recorded or noted, by key, with these."""
        store, bucket, below = self.run.store, self.run.bucket, self.layout.below
        try:
            # With the ETags of the place where it was made: those that were noted after an earlier copy prove nothing.
            objects = ObjectTable(stored_objects(store, bucket, self.layout, replace(collection, other_etags={})))
        except BackupDamagedError:
            return {}
        with closing(objects):
            etags = check_objects(store, bucket, self.layout, collection, objects).changed
            return {
                item.stored_key: (item, here)
                for item in objects
                if (here := etags.get(item.stored_key)) is not None
                and collection.other_etags.get(below(item.stored_key)) != (item.etag, here)
            }

    def _compare(
        self, others: Mapping[str, tuple[ArchivedObject, str]], progress: Comparison
    ) -> tuple[Comparison, bool]:
        """Return how far it has come, and whether the collection of these objects is done."""
        store, bucket, below = self.run.store, self.run.bucket, self.layout.below
        todo = [found for key, found in others.items() if key not in progress.damaged]
        proven: dict[str, tuple[str, str]] = {}
        damaged = list(progress.damaged)
        is_through = True
        for some in batched(todo, REQUESTS_AT_A_TIME, strict=False):
            if self.seconds_left() < STOP_SECONDS:
                is_through = False
                break
            is_right = each(lambda found: self._is_right(*found), some)
            for (item, here), right in zip(some, is_right, strict=True):
                if right:
                    proven[below(item.stored_key)] = (item.etag, here)
                else:
                    damaged.append(item.stored_key)
        if proven:
            check_not_being_deleted(store, bucket, self.run.prefix, self.layout.name)
            check_backup_exists(store, bucket, self.layout)
            self._noted.note(proven.items())
            write_other_etags(store, bucket, self.layout, self._noted)
        update = {"proven_count": progress.proven_count + len(proven), "damaged": tuple(damaged)}
        return progress.model_copy(update=update), is_through

    @cached_property
    def _noted(self) -> OtherEtags:
        """What is noted of the backup: of millions of objects it is read once."""
        noted = OtherEtags()
        noted.note(read_other_etags(self.run.store, self.run.bucket, self.layout).items())
        return noted

    def _is_right(self, item: ArchivedObject, etag: str) -> bool:
        try:
            return has_recorded_content(self.run.store, self.run.bucket, item, etag)
        except (ObjectNotFoundError, ObjectChangedError):
            return False
