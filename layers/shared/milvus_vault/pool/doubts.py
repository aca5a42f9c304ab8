"""Objects of the pool whose contents deep verifications found damaged, and none has read as they should be since.

A doubt is of the object, and so of every backup that lists it, whichever of them was verified. There is one document a
group, beside the verifications of backups:

    <prefix>/.catalogue/verifications/.pool/<group>.json    `Doubts`, sealed

Who verifies changes it under the condition that it is as it was read: of two that end at the same time none loses what
the other found. A document without doubts stays, since a late removal would hit the next one.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from pydantic import Field

from milvus_vault.archive.layout import CATALOGUE_FOLDER, join
from milvus_vault.archive.pool import PoolLayout, is_group, parse_pooled_key
from milvus_vault.archive.sealing import seal, unseal
from milvus_vault.errors import ObjectNotFoundError
from milvus_vault.model.base import Model
from milvus_vault.model.times import Time, utc_minute
from milvus_vault.parallel import each
from milvus_vault.ports import ObjectStore

_ENDING = ".json"


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

        One listing, and a read for each of the groups that had a doubt. One whose document is not what was written
        counts as having none: nothing is known then.
        """
        listed = [name for name in self._groups() if groups is None or name in groups]
        found: dict[str, Doubt] = {}
        for group, (doubts, _) in zip(listed, each(self._find, listed), strict=True):
            folder = PoolLayout(self.prefix).folder(group)
            found |= {folder + below: doubt for below, doubt in doubts.items()}
        return found

    def change(self, found: Mapping[str, Doubt], settled: Mapping[str, Doubt]) -> None:
        """Write down doubts, and take back those that are still as they were when their objects were read."""
        by_group: dict[str, tuple[dict[str, Doubt], dict[str, Doubt]]] = {}
        for number, doubts in enumerate((found, settled)):
            for key, doubt in doubts.items():
                if pooled := parse_pooled_key(key):
                    by_group.setdefault(pooled.group, ({}, {}))[number][pooled.below] = doubt
        for group, (new, read) in sorted(by_group.items()):
            self._change(group, new, read)

    def forget_all_but(self, groups: Collection[str]) -> None:
        """Remove what is kept of other groups than these. Of one without an object nothing can be in doubt."""
        self.store.delete(self.bucket, [self._key(group) for group in self._groups() if group not in groups])

    def _groups(self) -> Iterator[str]:
        for listed in self.store.list_objects(self.bucket, self._folder):
            if is_group(name := listed.key.removeprefix(self._folder).removesuffix(_ENDING)):
                yield name

    def _key(self, group: str) -> str:
        return f"{self._folder}{group}{_ENDING}"

    def _find(self, group: str) -> tuple[Mapping[str, Doubt], str]:
        """Return the doubts of a group by key below its folder, and the document's ETag; empty where there is none."""
        try:
            body, etag = self.store.get_with_etag(self.bucket, self._key(group))
        except ObjectNotFoundError:
            return {}, ""
        try:
            return Doubts.model_validate_json(unseal(body)).objects, etag
        except ValueError:
            return {}, etag

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
