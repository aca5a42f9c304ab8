"""Objects of the pool whose contents deep verifications found damaged, and none has read as they should be since.

A doubt is of the object, and so of every backup that lists it, whichever of them was verified. There is one document a
group, beside the verifications of backups:

    <prefix>/.catalogue/verifications/.pool/<group>.json    `Doubts`, sealed

Who verifies changes it under the condition that it is as it was read: of two that end at the same time none loses what
the other found. A document without doubts stays, since a late removal would hit the next one. One that cannot be
read is an error: to take it for none would share damaged objects again, and the next change would end all that it says.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from pydantic import Field

from milvus_vault.archive.layout import CATALOGUE_FOLDER, join
from milvus_vault.archive.manifest import Manifest
from milvus_vault.archive.pool import PoolLayout, is_group, parse_pooled_key
from milvus_vault.archive.sealing import seal
from milvus_vault.model.base import Model
from milvus_vault.model.times import Time, utc_minute
from milvus_vault.parallel import each
from milvus_vault.pool.notes import find_note
from milvus_vault.pool.references import listed_in
from milvus_vault.ports import ObjectStore

_ENDING = ".json"

_HINT = (
    "Bring it back from an older version; or remove it, and verify deeply (`level`) the incremental backups that "
    "have the collection: what is damaged is found again."
)


class Doubt(Model):
    """What a deep verification found wrong with the content of an object of the pool."""

    problem: str
    """With all that names the object."""
    found_at: Time
    found_by: str
    """The backup that was verified."""
    listed_by: tuple[str, ...]
    """The backups that list the object, that one first, as far as there was time to read their lists."""
    digest: str = ""
    """SHA-256 that an earlier verification had written down of the content, where there was one: what reads the object
    for another backup compares it as well, and takes no damaged content for its baseline."""

    def is_of(self, backup_name: str, finished_at: datetime | None) -> bool:
        """Return whether the backup that was finished then is known to list the object.

        One that is younger than the doubt is another one of the name.
        """
        return backup_name in self.listed_by and (finished_at is None or self.found_at >= finished_at)

    @property
    def of_another(self) -> str:
        """Return what to say of a backup that lists the object and was not verified itself."""
        return (
            f"{self.problem} (found by the deep verification of backup '{self.found_by}', {utc_minute(self.found_at)})"
        )


class Doubts(Model):
    """The document of a group."""

    objects: dict[str, Doubt] = Field(default_factory=dict)
    """By key below the group's folder."""


@dataclass(frozen=True, slots=True)
class PoolDoubts:
    """The doubts of the pool below a backup prefix. All keys are full keys."""

    store: ObjectStore
    bucket: str
    prefix: str

    @property
    def _folder(self) -> str:
        return join(self.prefix, CATALOGUE_FOLDER, "verifications", ".pool") + "/"

    def read(self, groups: Collection[str] | None = None) -> Mapping[str, Doubt]:
        """Return the doubts of these groups by key, or of all.

        One listing, and a read for each of the groups that had a doubt. Raises `WorkingFileError` where a document of
        these is not what was written: nobody can tell then which of the group's objects are damaged.
        """
        listed = [name for name, _ in self._groups() if groups is None or name in groups]
        found: dict[str, Doubt] = {}
        for group, (doubts, _) in zip(listed, each(self._find, listed), strict=True):
            folder = PoolLayout(self.prefix).folder(group)
            found |= {folder + below: doubt for below, doubt in doubts.items()}
        return found

    def listed_in(self, backup_name: str, manifest: Manifest) -> Mapping[str, Doubt]:
        """Return by key the doubts of the objects that the backup of this manifest lists.

        Its lists say so, which are read only of groups that have a doubt. Raises `WorkingFileError` as `read` does, and
        `BackupDamagedError` where a list is not what was written.
        """
        groups = frozenset(entry.group for entry in manifest.collections if manifest.is_incremental and entry.group)
        doubts = self.read(groups) if groups else {}
        listed = listed_in(self.store, self.bucket, self.prefix, backup_name, doubts)
        return {key: doubts[key] for key in sorted(listed)}

    def change(self, found: Mapping[str, Doubt], settled: Mapping[str, Doubt]) -> None:
        """Write down doubts, and take back those that are still as they were when their objects were read.

        Raises `WorkingFileError` for a document that cannot be read, which stays as it is.
        """
        by_group: dict[str, tuple[dict[str, Doubt], dict[str, Doubt]]] = {}
        for number, doubts in enumerate((found, settled)):
            for key, doubt in doubts.items():
                if pooled := parse_pooled_key(key):
                    by_group.setdefault(pooled.group, ({}, {}))[number][pooled.below] = doubt
        for group, (new, read) in sorted(by_group.items()):
            self._change(group, new, read)

    def forget_all_but(self, groups: Collection[str], is_old: Callable[[datetime | None], bool]) -> None:
        """Remove what is kept of other groups than these. Of one without an object nothing can be in doubt.

        What was written when `is_old` does not hold stays: its group may be younger than the list of these.
        """
        old = [group for group, written_at in self._groups() if group not in groups and is_old(written_at)]
        self.store.delete(self.bucket, [self._key(group) for group in old])

    def _groups(self) -> Iterator[tuple[str, datetime | None]]:
        """Yield the groups that have a document, and when it was written, by S3's clock."""
        for listed in self.store.list_objects(self.bucket, self._folder):
            if is_group(name := listed.key.removeprefix(self._folder).removesuffix(_ENDING)):
                yield name, listed.modified_at

    def _key(self, group: str) -> str:
        return f"{self._folder}{group}{_ENDING}"

    def _find(self, group: str) -> tuple[Mapping[str, Doubt], str]:
        """Return the doubts of a group by key below its folder, and the document's ETag; empty where there is none."""
        says = "which objects of the pool are damaged"
        found = find_note(self.store, self.bucket, self._key(group), Doubts, says=says, hint=_HINT)
        return (found[0].objects, found[1]) if found else ({}, "")

    def _change(self, group: str, new: Mapping[str, Doubt], read: Mapping[str, Doubt]) -> None:
        is_written = False
        while not is_written:
            known, etag = self._find(group)
            left = {below: doubt for below, doubt in known.items() if doubt != read.get(below)}
            doubts = {**left, **new}
            if doubts == known:
                return
            key, body = self._key(group), seal(Doubts(objects=doubts))
            if etag:
                is_written = self.store.put_if_unchanged(self.bucket, key, body, etag)
            else:
                is_written = self.store.put_if_absent(self.bucket, key, body)
