"""Mend what can be mended of a backup's metadata, and say what is lost.

The marker follows from the manifest, byte by byte. Where the manifest is gone it is made anew from the documents of the
collections, and where these are gone too the backup goes on as one of milvus-backup, from that tool's files beside
them. Objects are not mended: the verification that follows says which are wrong.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from pydantic import ValidationError

from milvus_vault import __version__
from milvus_vault.archive.layout import DELTA_LOG, INSERT_LOG, BackupLayout
from milvus_vault.archive.manifest import (
    FORMAT_VERSION,
    FULL_FORMAT_VERSION,
    CollectionDocument,
    CollectionEntry,
    CollectionFailure,
    FileDigest,
    Manifest,
    Source,
    VaultMark,
    digest,
    entry_of,
    read_object_list,
)
from milvus_vault.archive.pool import PoolLayout
from milvus_vault.archive.reader import check_backup_exists, read_archive, read_document, read_manifest
from milvus_vault.archive.reference_messages import BackupMessage, parse_message, read_message
from milvus_vault.archive.reference_reader import read_full_message
from milvus_vault.archive.reference_translate import translate_database
from milvus_vault.archive.reference_writer import (
    COLLECTION_META,
    FULL_META,
    PARTITION_META,
    SEGMENT_META,
    marker_file,
)
from milvus_vault.archive.remains import marker_etag
from milvus_vault.archive.tombstones import check_not_being_deleted
from milvus_vault.catalogue import Catalogue
from milvus_vault.catalogue.describe import describe, summary_of
from milvus_vault.claims import CLAIM, Claim, ClaimHeldError, Claims, check_owner
from milvus_vault.errors import (
    BackupDamagedError,
    BackupFormatError,
    BackupInProgressError,
    ObjectNotFoundError,
)
from milvus_vault.model.base import Model
from milvus_vault.model.collections import DEFAULT_DATABASE, CollectionName
from milvus_vault.model.locks import ObjectLock
from milvus_vault.model.names import attempt_of, backup_run, named_run, short_hash
from milvus_vault.model.objects import ListedObject
from milvus_vault.model.readable import first_of
from milvus_vault.model.requests import ScheduleTag
from milvus_vault.model.resources import BackupSummary, Hold
from milvus_vault.model.times import utc_day
from milvus_vault.parallel import LISTS_AT_A_TIME_BYTES, do_each, each
from milvus_vault.pool.condemned import read_condemned
from milvus_vault.pool.users import PoolUse
from milvus_vault.ports import Executions
from milvus_vault.workspace import Workspace

REPAIRED = "repaired.json"

_REFERENCE_FILES = (FULL_META, COLLECTION_META, PARTITION_META, SEGMENT_META)
_SHA256 = re.compile(rb'"manifest_sha256":"(.{64})"', re.DOTALL)
# Some flipped bits in the marker's digest; of another manifest nearly all of its 64 digits differ.
_FLIPPED_DIGITS = 4

_NO_REPAIR_HINT = "Bring the objects of its folder meta/ back from a copy, or from older versions of them."


class Repaired(Model):
    """What a repair did."""

    mended: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    """What could not be brought back, or is not proven any more."""


class _Circumstances(NamedTuple):
    """What no document of a collection tells of a backup."""

    started_at: datetime
    finished_at: datetime
    meta_only: bool
    schedule: ScheduleTag | None
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class BackupRepair:
    """The repair of one backup by one execution."""

    run: Workspace
    layout: BackupLayout
    catalogue: Catalogue
    executions: Executions
    execution_arn: str
    now: datetime

    def repair(self) -> Repaired:
        """Mend the metadata, once, and return what was done. Safe to repeat.

        Raises:
            BackupNotFoundError: There is no such backup, or it is being deleted.
            BackupInProgressError: An execution works on the backup.
            RunTakenOverError: This one was stopped, and another one works on the backup since.
            BackupFormatError: A newer release wrote it.
            BackupDamagedError: Nothing is left to mend it from.
        """
        done = self.run.find(REPAIRED, Repaired)
        if done is not None:
            return done
        claims = Claims(
            self.run.store, self.executions, self.run.bucket, execution_arn=self.execution_arn, run=self.run.run
        )
        try:
            before = claims.take(self._backup_run.key(CLAIM))
        except ClaimHeldError as err:
            msg = f"{named_run(err.holder.execution_arn)} is working on backup '{self.layout.name}'"
            raise BackupInProgressError(msg, hint="Wait for it, and repair the backup then if need be.") from err
        try:
            check_not_being_deleted(self.run.store, self.run.bucket, self.run.prefix, self.layout.name)
            check_backup_exists(self.run.store, self.run.bucket, self.layout)
            repaired = self._repair()
            self._tell_the_catalogue()
        finally:
            self._give_claim_back(before)
        self.run.write(REPAIRED, repaired)
        return repaired

    @property
    def _backup_run(self) -> Workspace:
        """Return the working files of the backup's own run, which has the claim of its name."""
        return replace(self.run, run=backup_run(self.layout.name))

    def _check_owner(self) -> None:
        """Return if the claim is still ours: a function goes on when its execution was stopped, beside a successor.

        Raises `RunTakenOverError`.
        """
        check_owner(self._backup_run, attempt_of(self.execution_arn))

    def _give_claim_back(self, before: Claim | None) -> None:
        held = self._backup_run.find(CLAIM, Claim)
        if held is None or held.execution_arn != self.execution_arn:
            return
        # The run's own claim tells a later execution whether there is something to resume.
        if before is not None and before.execution_arn != self.execution_arn:
            self._backup_run.write(CLAIM, before)
        else:
            self._backup_run.delete([CLAIM])

    def _repair(self) -> Repaired:
        marker, body = self._find(self.layout.marker), self._find(self.layout.manifest)
        try:
            read_manifest(self.run.store, self.run.bucket, self.layout)
            is_readable = True
        except (BackupDamagedError, BackupFormatError):
            # A newer format may be a flipped bit of the marker; what the manifest says of it is looked at below.
            is_readable = False
        if is_readable and (body is not None or self._is_archive()):
            return Repaired()
        manifest = _parse_manifest(self.layout, body) if body is not None else None
        if manifest is not None and body is not None and not _contradicts(marker, body):
            return self._seal(marker, manifest, body)
        documents = list(self._documents())
        if documents:
            return self._from_documents(marker, documents)
        return self._as_of_milvus_backup(body)

    def _is_archive(self) -> bool:
        """Return whether a backup of another tool can be read."""
        try:
            read_archive(self.run.store, self.run.bucket, self.layout)
        except BackupDamagedError:
            return False
        return True

    def _tell_the_catalogue(self) -> None:
        backup = describe(self.run.store, self.run.bucket, self.layout)
        self.catalogue.publish(BackupSummary(**{field: getattr(backup, field) for field in BackupSummary.model_fields}))
        self.catalogue.forget_damage(self.layout.name)

    def _seal(self, marker: bytes | None, manifest: Manifest, body: bytes) -> Repaired:
        remembered = self.catalogue.remembered(self.layout.name)
        is_proven = _vouches(marker, body) or (
            remembered is not None and remembered == summary_of(manifest).model_copy(update={"name": self.layout.name})
        )
        self._publish(manifest, body)
        mended = (f"{self.layout.marker} was made anew from {self.layout.manifest}",)
        if is_proven:
            return Repaired(mended=mended)
        return Repaired(mended=mended, lost=(self._hold("neither a marker nor an entry proves the manifest any more"),))

    def _hold(self, why: str) -> str:
        """Hold a backup whose times and expiry nothing proves, so that no policy deletes it on their word."""
        if self.catalogue.hold(self.layout.name) is None:
            reason = f"repaired on {utc_day(self.now)}: {why}"
            self.catalogue.place_hold(self.layout.name, Hold(reason=reason), self.execution_arn)
        return f"{why}: a hold keeps the backup until you have looked at it and lift the hold"

    def _documents(self) -> Iterator[tuple[CollectionDocument | None, CollectionEntry | None, str]]:
        """Return the documents with their entries, or what is wrong with them."""
        folder = self.layout.collection_document(0).rpartition("/")[0] + "/"
        listed = self.run.store.list_objects(self.run.bucket, folder)
        numbers = (found.key.removeprefix(folder).removesuffix(".json") for found in listed)
        wanted = [int(number) for number in numbers if number.isascii() and number.isdigit()]
        return each(self._document_or_why, wanted)

    def _document_or_why(self, number: int) -> tuple[CollectionDocument | None, CollectionEntry | None, str]:
        try:
            return (*self._document(number), "")
        except (ValueError, ObjectNotFoundError):
            key = self.layout.collection_document(number)
            return None, None, f"{key}, or the list of its objects, cannot be read: its collection is lost"

    def _document(self, number: int) -> tuple[CollectionDocument, CollectionEntry]:
        """Return a collection's document and what a manifest says of it. Raises `ValueError`."""
        body = self.run.store.get(self.run.bucket, self.layout.collection_document(number))
        objects = self.run.store.get(self.run.bucket, self.layout.object_list(number))
        document = CollectionDocument.model_validate_json(body)
        if document.description.collection_id != number:
            msg = "it describes another collection"
            raise ValueError(msg)
        return document, entry_of(self.layout, document, body, objects)

    def _from_documents(
        self,
        marker: bytes | None,
        found: Sequence[tuple[CollectionDocument | None, CollectionEntry | None, str]],
    ) -> Repaired:
        entries = tuple(sorted((entry for _, entry, _ in found if entry), key=lambda entry: str(entry.name)))
        said = self._reference_message() or _parse_message(marker) or BackupMessage()
        remembered = self.catalogue.remembered(self.layout.name)
        version = said.milvus_version or (remembered.milvus_version if remembered else "")
        if not entries or not version:
            msg = f"the manifest of backup '{self.layout.name}' cannot be made anew: "
            msg += "no document can be read" if not entries else "nothing says of which version its Milvus was"
            raise BackupDamagedError(msg, hint=_NO_REPAIR_HINT)
        mark = _parse_mark(marker)
        manifest = self._manifest(entries, said, version, self._circumstances(remembered, entries), mark)
        if mark is None and remembered is not None and remembered.lock is not None:
            manifest = manifest.model_copy(update={"lock": remembered.lock, "format_version": FORMAT_VERSION})
        body = manifest.model_dump_json(indent=1).encode()
        self._publish(manifest, body, is_new=True)
        lost = [wrong for *_, wrong in found if wrong]
        lost += [f"{failure.name} has no document that can be read: it is lost" for failure in manifest.failures]
        if remembered is None:
            lost.append("when it was made, for which its files' times stand in, its schedule and its expiry")
        lost.append(self._hold("nothing proves the documents of its collections any more"))
        lost.append("the bucket that it was taken from, the run that made it, and its warnings")
        if mark is None:
            lost.append("of which backup it is an export, if it is one")
        mended = f"{self.layout.manifest} was made anew from {len(entries)} document(s), and the marker from it"
        return Repaired(mended=(mended,), lost=tuple(lost))

    def _circumstances(self, remembered: BackupSummary | None, entries: Iterable[CollectionEntry]) -> _Circumstances:
        """Return what the catalogue remembers of them, or what the files let guess."""
        written = [o.modified_at for o in self._list_metadata() if o.modified_at] or [self.now]
        if remembered is None:
            meta_only = not any(entry.object_count for entry in entries)
            return _Circumstances(min(written), max(written), meta_only, schedule=None, expires_at=None)
        return _Circumstances(
            remembered.created_at,
            remembered.finished_at or max(written),
            remembered.meta_only,
            schedule=ScheduleTag(name=remembered.schedule) if remembered.schedule else None,
            expires_at=remembered.expires_at,
        )

    def _manifest(
        self,
        entries: tuple[CollectionEntry, ...],
        said: BackupMessage,
        version: str,
        around: _Circumstances,
        mark: VaultMark | None,
    ) -> Manifest:
        rbac = self._find(self.layout.rbac)
        described = tuple(translate_database(database) for database in said.database_backups)
        is_incremental = any(entry.group for entry in entries)
        origin, lock = (mark.export_of, mark.lock) if mark else (None, None)
        return Manifest(
            format_version=FORMAT_VERSION if is_incremental or origin or lock else FULL_FORMAT_VERSION,
            mode="incremental" if is_incremental else "full",
            backup_name=self.layout.name,
            backup_id=short_hash(self.layout.name, 32),
            created_by=f"milvus-vault {__version__}, repair",
            execution_arn="",
            started_at=around.started_at,
            finished_at=around.finished_at,
            meta_only=around.meta_only,
            schedule=around.schedule,
            expires_at=around.expires_at,
            source=Source(milvus_version=version, bucket="unknown", root_path=self._root_path(entries)),
            databases=tuple(
                sorted({database.name for database in described} | {entry.name.database for entry in entries})
            ),
            database_descriptions=described,
            collections=entries,
            moment=_shared_moment(entries),
            failures=tuple(_lost_collections(said, entries)),
            warnings=(f"The manifest was made anew on {utc_day(self.now)} from the documents.",),
            rbac=digest(self.layout.rbac.removeprefix(self.layout.root), rbac) if rbac is not None else None,
            object_count=sum(entry.object_count for entry in entries),
            size_bytes=sum(entry.size_bytes for entry in entries),
            export_of=origin,
            lock=lock,
            files=tuple(self._reference_digests()),
        )

    def _root_path(self, entries: Iterable[CollectionEntry]) -> str:
        for entry in entries:
            body = self.run.store.get(self.run.bucket, self.layout.root + entry.objects.key)
            for item in read_object_list(body):
                return re.split(f"/?(?:{INSERT_LOG}|{DELTA_LOG})/", item.source_key)[0]
        return ""

    def _reference_digests(self) -> Iterator[FileDigest]:
        for name in sorted(_REFERENCE_FILES):
            if (body := self._find(self.layout.meta(name))) is not None:
                yield digest(f"meta/{name}", body)

    def _as_of_milvus_backup(self, manifest: bytes | None) -> Repaired:
        try:
            _, members = read_message(
                BackupMessage, self.run.store.chunks(self.run.bucket, self.layout.meta(FULL_META))
            )
        except (ObjectNotFoundError, ValueError) as err:
            msg = (
                f"backup '{self.layout.name}' has neither a manifest, nor documents, nor a {FULL_META} that can be read"
            )
            raise BackupDamagedError(msg, hint=_NO_REPAIR_HINT) from err
        summary = {key: value for key, value in members.items() if key not in {"collection_backups", "rbac_meta"}}
        marker = json.dumps(summary, separators=(",", ":")).encode()
        # Before anything is written: a new marker is of no use where the other files contradict this one.
        read_full_message(self.run.store, self.run.bucket, self.layout, marker)
        lost = []
        if manifest is not None:
            # Beside a manifest no reader takes a backup for one of another tool.
            aside = self.layout.vault("manifest.damaged.json")
            self._check_owner()
            self.run.store.put(self.run.bucket, aside, manifest)
            self.run.store.delete(self.run.bucket, [self.layout.manifest])
            lost.append(f"the manifest; what there was of it is {aside} now")
        if manifest is not None or any(self.run.store.list_objects(self.run.bucket, self.layout.vault(""))):
            lost.append("the moment, and ETags and checksums of objects: only sizes can be compared")
        self._write_marker(marker)
        if self.catalogue.remembered(self.layout.name) is not None:
            lost.append("its schedule and its expiry: no policy deletes it any more")
        return Repaired(mended=(f"{self.layout.marker} was made anew from {FULL_META}",), lost=tuple(lost))

    def _reference_message(self) -> BackupMessage | None:
        """Return what milvus-backup's files say, where they do not contradict each other."""
        try:
            return read_full_message(self.run.store, self.run.bucket, self.layout, marker=None)
        except (BackupDamagedError, BackupFormatError):
            return None

    def _list_metadata(self) -> Iterable[ListedObject]:
        return self.run.store.list_objects(self.run.bucket, self.layout.meta(""))

    def _find(self, key: str) -> bytes | None:
        try:
            return self.run.store.get(self.run.bucket, key)
        except ObjectNotFoundError:
            return None

    def _publish(self, manifest: Manifest, body: bytes, *, is_new: bool = False) -> None:
        """Write the marker, after a manifest that was made anew.

        Raises `BackupDamagedError` where objects in the pool are gone, or about to go: no marker may promise them.
        """
        lock = manifest.lock if manifest.lock and manifest.lock.lasts_at(self.now) else None
        if lock and not is_new and self.run.store.lock_of(self.run.bucket, self.layout.manifest) is None:
            # A copy that came too late to be locked (`locks.lock_to_prove`).
            lock = None
        use = PoolUse(self.run, self.execution_arn)
        if manifest.is_incremental:
            use.begin()
            do_each(
                self._check_pooled,
                manifest.collections,
                weight=lambda entry: entry.objects.size_bytes,
                max_weight=LISTS_AT_A_TIME_BYTES,
            )
        if is_new:
            self._check_owner()
            self.run.store.put(self.run.bucket, self.layout.manifest, body, lock=lock)
        if manifest.is_incremental:
            use.publish()
        self._write_marker(marker_file(manifest, body), lock)
        if manifest.is_incremental:
            use.end()

    def _check_pooled(self, entry: CollectionEntry) -> None:
        if not entry.group:
            return
        store, bucket, pool = self.run.store, self.run.bucket, PoolLayout(self.run.prefix)
        # In this order, see `pool/users.py`.
        found = read_condemned(store, bucket, pool, entry.group)
        folder = pool.folder(entry.group)
        there = {listed.key for listed in store.list_objects(bucket, folder)}
        there -= {folder + key for key in found[0].keys} if found else set()
        listed = read_object_list(read_document(store, bucket, self.layout, entry.objects))
        gone = [key for item in listed if (key := self.layout.here(item.stored_key)) not in there]
        if gone:
            msg = f"backup '{self.layout.name}' lists objects that are gone, or about to be deleted: {first_of(gone)}"
            raise BackupDamagedError(msg, hint="No backup listed them any more. Use another backup.")

    def _write_marker(self, body: bytes, lock: ObjectLock | None = None) -> None:
        """Write the marker where there is none, or in place of the one that was looked at."""
        store, bucket = self.run.store, self.run.bucket
        etag = marker_etag(store, bucket, self.layout)
        self._check_owner()
        if etag is None:
            is_written = store.put_if_absent(bucket, self.layout.marker, body, lock=lock)
        else:
            is_written = store.put_if_unchanged(bucket, self.layout.marker, body, etag, lock=lock)
        if not is_written:
            msg = f"somebody else wrote {self.layout.marker} meanwhile"
            raise BackupInProgressError(msg, hint="Look at the backup, and repair it again if need be.")


def _parse_manifest(layout: BackupLayout, body: bytes) -> Manifest | None:
    """Return a manifest, or None where it cannot be read. Raises `BackupFormatError` for that of a newer release."""
    members = _members(body)
    version = members.get("format_version") if members else None
    if isinstance(version, int) and version > FORMAT_VERSION:
        msg = f"{layout.manifest} has format version {version}; this release reads up to {FORMAT_VERSION}"
        raise BackupFormatError(msg, hint="Repair it with a newer release of Milvus Vault.")
    try:
        return Manifest.model_validate_json(body)
    except ValidationError:
        return None


def _members(body: bytes) -> dict[str, object] | None:
    try:
        members = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return members if isinstance(members, dict) else None


def _parse_message(body: bytes | None) -> BackupMessage | None:
    try:
        return parse_message(BackupMessage, body) if body is not None else None
    except ValueError:
        return None


def _parse_mark(marker: bytes | None) -> VaultMark | None:
    """Return what a marker says of our documents, whether or not it is true of them; None where it cannot be read."""
    members = _members(marker) if marker is not None else None
    try:
        return VaultMark.model_validate(members.get("vault")) if members else None
    except ValidationError:
        return None


def _vouches(marker: bytes | None, manifest: bytes) -> bool:
    """Return whether a marker, even a damaged one, has this manifest's digest, except for some flipped bits."""
    found = _SHA256.search(marker or b"")
    if found is None:
        return False
    said: bytes = found[1]
    wanted = digest("", manifest).sha256.encode()
    return sum(one != other for one, other in zip(said, wanted, strict=True)) <= _FLIPPED_DIGITS


def _contradicts(marker: bytes | None, manifest: bytes) -> bool:
    """Return whether a marker has the digest of another manifest, so that this one is not what was written."""
    return _SHA256.search(marker or b"") is not None and not _vouches(marker, manifest)


def _lost_collections(said: BackupMessage, entries: Iterable[CollectionEntry]) -> Iterator[CollectionFailure]:
    there = {entry.collection_id for entry in entries}
    for collection in said.collection_backups:
        if collection.collection_id not in there:
            name = CollectionName(database=collection.db_name or DEFAULT_DATABASE, name=collection.collection_name)
            yield CollectionFailure(name=name, error="BackupDamagedError", message="its documents were lost")


def _shared_moment(entries: Iterable[CollectionEntry]) -> int:
    counted = Counter(entry.moment for entry in entries)
    moment, count = counted.most_common(1)[0]
    return moment if count == counted.total() else 0
