"""What is sealed of a backup, and whether it could be restored now: nothing else lets a policy delete.

Entries of the catalogue, names of folders, tombstones and verifications only propose. The manifest, whose digest the
marker has, decides: nothing is deleted for what it does not say, or for what cannot be read now.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.manifest import Manifest
from milvus_vault.archive.pool import PoolLayout
from milvus_vault.archive.reader import read_manifest
from milvus_vault.archive.remains import has_lost_its_marker
from milvus_vault.archive.tombstones import is_being_deleted
from milvus_vault.catalogue import UNREADABLE_BACKUP, Catalogue
from milvus_vault.catalogue.describe import summary_of
from milvus_vault.errors import BackupDamagedError, BackupNotFoundError, ObjectNotFoundError, WorkingFileError
from milvus_vault.model.resources import BackupSummary
from milvus_vault.model.times import utc_minute
from milvus_vault.pool.doubts import PoolDoubts
from milvus_vault.ports import ObjectStore

# Clocks differ by seconds; one that is wrong by more would make a backup the newest for good.
_CLOCK_TOLERANCE = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Proof:
    """What was seen of a backup."""

    name: str
    marker_etag: str
    """Which shows whether it was made anew."""
    sealed: BackupSummary | None = None
    """What its manifest says, under which policies decide; None where none is sealed or can be read."""
    flaw: str = ""
    """Why it could not be restored now, as far as that is known, so that it takes no other's place."""
    why_kept: str = ""
    """Where nothing is sealed by which it could be deleted: why it stays."""
    damage: str = ""
    """What nobody may have been told of yet: that it cannot be read, or that its objects are gone."""


@dataclass(frozen=True, slots=True)
class Prover:
    """Looks at backups of one prefix."""

    store: ObjectStore
    bucket: str
    prefix: str
    catalogue: Catalogue
    now: datetime

    def prove(self, name: str) -> Proof | None:
        """Return what is sealed of a backup, as it is now; None where there is no marker, and none was lost.

        Four requests: marker, manifest, whether there is any object, and what a verification found; for an incremental
        one another, whether its groups of the pool have a doubt, and its lists of those that have. Content is what a
        verification looks at.
        """
        layout = BackupLayout(self.prefix, name)
        etag = ""
        try:
            # Before the manifest: if the marker is written anew in between, its ETag is another one later.
            etag = self.store.get_with_etag(self.bucket, layout.marker)[1]
            manifest = read_manifest(self.store, self.bucket, layout)
            sealed = summary_of(manifest) if manifest else None
        except (ObjectNotFoundError, BackupNotFoundError):
            lost = f"it has lost its marker, {layout.marker}"
            if is_being_deleted(self.store, self.bucket, self.prefix, name):
                lost += ", and has a tombstone that does not prove that a prune began to delete it"
            is_lost = has_lost_its_marker(self.store, self.bucket, layout)
            return Proof(name, "", flaw=lost, why_kept=lost, damage=lost) if is_lost else None
        except UNREADABLE_BACKUP as err:
            damage = err.message if isinstance(err, BackupDamagedError) else ""
            return Proof(name, etag, flaw=err.message, why_kept=err.message, damage=damage)
        if manifest is None or sealed is None:
            # Nothing of another tool's is sealed, and nothing in it says when it expires.
            return Proof(name, etag, why_kept="it belongs to no schedule and has no expiry")
        if manifest.backup_name != name:
            why = f"somebody copied it, as a whole or in part, from backup '{manifest.backup_name}'"
            return Proof(name, etag, flaw=why, why_kept=why)
        return self._of_manifest(layout, etag, manifest, sealed)

    def _of_manifest(self, layout: BackupLayout, etag: str, manifest: Manifest, sealed: BackupSummary) -> Proof:
        if self.catalogue.hold(layout.name) is not None:
            sealed = sealed.model_copy(update={"is_held": True})
        # A listing's first page: all objects of all backups would take hours.
        pooled = next((entry.group for entry in manifest.collections if entry.group), "")
        root = PoolLayout(self.prefix).folder(pooled) if pooled else layout.binlogs
        if manifest.object_count and not any(self.store.list_objects(self.bucket, root)):
            lost = f"none of its {manifest.object_count} objects is there"
            return Proof(layout.name, etag, sealed, flaw=lost, damage=lost)
        if flaw := self._flaw(manifest):
            return Proof(layout.name, etag, sealed, flaw=flaw)
        flaw, damage = self._doubted(layout.name, manifest)
        return Proof(layout.name, etag, sealed, flaw=flaw, damage=damage)

    def _flaw(self, manifest: Manifest) -> str:
        if manifest.started_at > self.now + _CLOCK_TOLERANCE:
            return f"it says that it was begun at {utc_minute(manifest.started_at)}, which is to come"
        return self.catalogue.verified_damaged(manifest.backup_name, manifest.finished_at)

    def _doubted(self, name: str, manifest: Manifest) -> tuple[str, str]:
        """Return what there is a doubt of in a backup, and that once more where the catalogue does not tell it.

        Its own lists decide: who found the damage may not have known of a backup that was being made.
        """
        try:
            doubts = PoolDoubts(self.store, self.bucket, self.prefix).listed_in(name, manifest)
        except WorkingFileError as err:
            return err.message, ""
        except UNREADABLE_BACKUP as err:
            return err.message, err.message
        first = next((doubt.of_another for doubt in doubts.values()), "")
        is_told = any(doubt.is_of(name, manifest.finished_at) for doubt in doubts.values())
        return first, "" if is_told else first
