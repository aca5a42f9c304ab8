"""Read a backup, ours or milvus-backup's.

Ours is read from the marker down: the marker names the digest of the manifest, the manifest those of all
other documents, so that no damage goes unnoticed.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial

from pydantic import ValidationError

from milvus_vault.archive.contents import (
    Archive,
    ArchivedCollection,
    ArchivedPartition,
    ArchivedSegment,
    segments_with_deletes,
)
from milvus_vault.archive.layout import OWN_FOLDERS, BackupLayout, join
from milvus_vault.archive.manifest import (
    FORMAT_VERSION,
    CollectionDocument,
    CollectionEntry,
    FileDigest,
    Manifest,
    VaultMark,
    read_object,
)
from milvus_vault.archive.other_etags import read_other_etags
from milvus_vault.archive.reference_reader import read_reference_archive
from milvus_vault.archive.reference_writer import marker_file
from milvus_vault.archive.remains import was_published
from milvus_vault.errors import (
    BackupDamagedError,
    BackupFormatError,
    BackupNotFoundError,
    CollectionNotFoundError,
    ObjectNotFoundError,
    VaultError,
    did_you_mean,
)
from milvus_vault.lines import split_lines
from milvus_vault.model.collections import ALL_PARTITIONS, CollectionLayout, CollectionName, Segment
from milvus_vault.model.objects import ArchivedObject
from milvus_vault.model.rbac import Rbac
from milvus_vault.model.readable import first_of
from milvus_vault.model.versions import parse_version
from milvus_vault.model.words import wrong_fields
from milvus_vault.parallel import SMALL_REQUESTS_AT_A_TIME
from milvus_vault.ports import ObjectStore

__all__ = [
    "REPAIR_HINT",
    "Archive",
    "ArchivedCollection",
    "ArchivedPartition",
    "ArchivedSegment",
    "backup_folders",
    "check_backup_exists",
    "find_collection",
    "find_manifest",
    "is_backup",
    "no_backup",
    "not_held",
    "read_archive",
    "read_collection",
    "read_collection_document",
    "read_document",
    "read_manifest",
    "read_objects",
    "read_rbac",
    "recorded_objects",
    "segments_with_deletes",
    "stored_objects",
]

REPAIR_HINT = "Repair it: `POST /backups/{name}/repair`."

_HINT = "Restore this object from a copy or an older version of it, or use another backup."

ONE_PIECE_BYTES = 2**20
"""Object lists up to this size, of some 3,300 objects, are read by one request instead of two."""


def read_archive(store: ObjectStore, bucket: str, layout: BackupLayout) -> Archive:
    """Return what a backup holds, without the object lists of ours: `read_objects` reads those.

    Raises:
        BackupNotFoundError: There is no commit marker, and none was lost.
        BackupDamagedError: A metadata object is missing, or is not the one that was written.
        BackupFormatError: A newer release wrote the backup, or milvus-backup in another format.
    """
    marker = _read_marker(store, bucket, layout)
    manifest = _manifest_of(store, bucket, layout, marker)
    if manifest is None:
        return read_reference_archive(store, bucket, layout, marker)
    with ThreadPoolExecutor(SMALL_REQUESTS_AT_A_TIME) as pool:
        other_etags = pool.submit(read_other_etags, store, bucket, layout)
        collections = tuple(pool.map(lambda entry: read_collection(store, bucket, layout, entry), manifest.collections))
    return Archive(
        name=layout.name,
        milvus_version=parse_version(manifest.source.milvus_version),
        origin="milvus_vault",
        has_checksums=True,
        meta_only=manifest.meta_only,
        databases=manifest.selected_databases,
        database_descriptions=manifest.database_descriptions,
        collections=tuple(replace(collection, other_etags=other_etags.result()) for collection in collections),
        failures=manifest.failures,
        warnings=_warnings(manifest),
        rbac=read_rbac(store, bucket, layout, manifest.rbac) if manifest.rbac else None,
    )


def read_rbac(store: ObjectStore, bucket: str, layout: BackupLayout, expected: FileDigest) -> Rbac:
    """Return the users and rights that a backup holds.

    Raises:
        BackupDamagedError: The document is missing, or is not the one that was written.
    """
    body = read_document(store, bucket, layout, expected)
    try:
        return Rbac.model_validate_json(body)
    except ValidationError as err:
        # Not pydantic's message, which quotes values: they are secrets.
        raise _unreadable(layout.root + expected.key, "it does not describe users and rights") from err


def _warnings(manifest: Manifest) -> tuple[str, ...]:
    """Return what a restore has to say of the backup; what went on while it was made is not for its report."""
    missing = ", ".join(str(failure.name) for failure in manifest.failures)
    return (f"The backup is partial, it lacks: {missing}",) if missing else ()


def read_manifest(store: ObjectStore, bucket: str, layout: BackupLayout) -> Manifest | None:
    """Return the manifest of a backup of ours, or None for one of milvus-backup.

    Raises:
        BackupNotFoundError: There is no commit marker, and none was lost.
        BackupDamagedError: Marker or manifest is missing, or is not the one that was written.
        BackupFormatError: A newer release wrote the backup.
    """
    return _manifest_of(store, bucket, layout, _read_marker(store, bucket, layout))


def find_manifest(store: ObjectStore, bucket: str, layout: BackupLayout) -> Manifest | None:
    """Return the manifest of a backup of ours, or None where there is no backup of this name."""
    marker = _find_marker(store, bucket, layout)
    return None if marker is None else _manifest_of(store, bucket, layout, marker)


def is_backup(store: ObjectStore, bucket: str, layout: BackupLayout) -> bool:
    """Return whether there is a commit marker, or one was lost."""
    try:
        return _find_marker(store, bucket, layout) is not None
    except BackupDamagedError:
        return True


def check_backup_exists(store: ObjectStore, bucket: str, layout: BackupLayout) -> None:
    """Raise `BackupNotFoundError` where there is no commit marker, and none was lost."""
    if not is_backup(store, bucket, layout):
        raise no_backup(store, bucket, layout)


def no_backup(store: ObjectStore, bucket: str, layout: BackupLayout) -> BackupNotFoundError:
    """Return the error for a backup that is not there, which asks whether one with a name near to its was meant."""
    if any(store.list_objects(bucket, layout.root)):
        msg = f"{layout.root} in bucket {bucket} is an unfinished or failed backup: {layout.marker} is missing"
        return BackupNotFoundError(
            msg, hint="Start the backup again with the same name, or leave it: prunes remove what is left of it."
        )
    near = ""
    # Who may read one backup need not be allowed to list all.
    with suppress(VaultError):
        near = did_you_mean(layout.name, backup_folders(store, bucket, layout.prefix))
    msg = f"there is no backup '{layout.name}' in s3://{bucket}/{layout.prefix}"
    return BackupNotFoundError(msg, hint=near or "`GET /backups` lists those that are there.")


def backup_folders(store: ObjectStore, bucket: str, prefix: str) -> frozenset[str]:
    """Return the names of all folders that may be backups, whatever is in them."""
    folder = join(prefix)
    return frozenset(store.list_folders(bucket, f"{folder}/" if folder else "")) - OWN_FOLDERS


def read_objects(
    store: ObjectStore, bucket: str, layout: BackupLayout, collection: ArchivedCollection
) -> list[ArchivedObject]:
    """Return the objects of a collection. Raises as `stored_objects`, which holds no more than some of them."""
    return list(stored_objects(store, bucket, layout, collection))


def stored_objects(
    store: ObjectStore, bucket: str, layout: BackupLayout, collection: ArchivedCollection
) -> Iterator[ArchivedObject]:
    """Yield the objects of a collection as they are in this place, in the order of their list.

    What was yielded is only as good as its end: a damage may be found there.

    Raises:
        BackupDamagedError: The object list is missing, or is not the one that was written.
    """
    recorded = recorded_objects(store, bucket, layout, collection)
    if collection.object_list is None:
        return recorded
    return (_here(item, layout, collection) for item in recorded)


def recorded_objects(
    store: ObjectStore, bucket: str, layout: BackupLayout, collection: ArchivedCollection
) -> Iterator[ArchivedObject]:
    """Yield the objects of a collection as they were recorded when they were copied, wherever the backup is now.

    A list of any length takes 2 MiB, and what was yielded is only as good as its end: a damage may be found there.

    Raises:
        BackupDamagedError: The object list is missing, or is not the one that was written.
    """
    expected = collection.object_list
    if expected is None:
        return iter(collection.listed_objects)
    return listed_entries(store, bucket, layout, expected)


def listed_entries(
    store: ObjectStore, bucket: str, layout: BackupLayout, expected: FileDigest
) -> Iterator[ArchivedObject]:
    """Yield the entries of an object list, as `recorded_objects` does. Raises as that does."""
    key = layout.root + expected.key
    try:
        yield from map(read_object, split_lines(document_pieces(store, bucket, layout, expected)))
    except ValueError as err:
        raise _unreadable(key, str(err)) from err


class _Content:
    """What was read of a document so far."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._size_bytes = 0

    def add(self, chunk: bytes) -> None:
        """Go on with the content."""
        self._hash.update(chunk)
        self._size_bytes += len(chunk)

    def check(self, key: str, expected: FileDigest) -> None:
        """Raise `BackupDamagedError` where it is not the one that was written."""
        if self._size_bytes != expected.size_bytes:
            msg = f"{key} has {self._size_bytes} bytes instead of {expected.size_bytes}"
            raise BackupDamagedError(msg, hint=_HINT)
        found = self._hash.hexdigest()
        if found != expected.sha256:
            msg = f"{key} has another content than was written: its SHA-256 is {found} instead of {expected.sha256}"
            raise BackupDamagedError(msg, hint=_HINT)


def _here(item: ArchivedObject, layout: BackupLayout, collection: ArchivedCollection) -> ArchivedObject:
    """Return an object as it is in this place, to which the backup may have been copied since."""
    key, etag = layout.here(item.stored_key), item.etag
    if collection.other_etags:
        recorded, here = collection.other_etags.get(layout.below(item.stored_key), ("", ""))
        etag = here if recorded == etag else etag
    # Of most nothing has changed, and a new object costs as much as all the rest of this.
    return item if (key, etag) == (item.stored_key, item.etag) else item._replace(stored_key=key, etag=etag)


def read_document(store: ObjectStore, bucket: str, layout: BackupLayout, expected: FileDigest) -> bytes:
    """Return a metadata object that has a digest.

    Raises:
        BackupDamagedError: The object is missing, or its content has another digest.
    """
    key = layout.root + expected.key
    try:
        body = store.get(bucket, key)
    except ObjectNotFoundError as err:
        raise _missing(layout, key) from err
    content = _Content()
    content.add(body)
    content.check(key, expected)
    return body


def document_pieces(store: ObjectStore, bucket: str, layout: BackupLayout, expected: FileDigest) -> Iterator[bytes]:
    """Yield a metadata object that has a digest in pieces. Raises as `read_document`, at the latest at its end."""
    key = layout.root + expected.key
    if expected.size_bytes <= ONE_PIECE_BYTES:
        yield read_document(store, bucket, layout, expected)
        return
    content = _Content()
    try:
        for piece in store.chunks(bucket, key):
            content.add(piece)
            yield piece
    except ObjectNotFoundError as err:
        raise _missing(layout, key) from err
    content.check(key, expected)


def _manifest_of(store: ObjectStore, bucket: str, layout: BackupLayout, marker: bytes) -> Manifest | None:
    """Return the manifest that a marker names, or None for one of milvus-backup."""
    members = _read_members(layout.marker, marker)
    if "vault" not in members:
        if any(store.list_objects(bucket, layout.manifest)):
            raise _unreadable(layout.marker, f"it does not refer to {layout.manifest}, which is beside it")
        return None

    mark = _validate(VaultMark, layout.marker, members["vault"])
    manifest_digest = FileDigest(
        key=layout.manifest.removeprefix(layout.root), size_bytes=mark.manifest_size_bytes, sha256=mark.manifest_sha256
    )
    body = read_document(store, bucket, layout, manifest_digest)
    manifest = _validate(Manifest, layout.manifest, _read_members(layout.manifest, body))
    if marker != marker_file(manifest, body):
        raise _unreadable(layout.marker, f"it does not fit {layout.manifest}")
    return manifest


def _read_marker(store: ObjectStore, bucket: str, layout: BackupLayout) -> bytes:
    marker = _find_marker(store, bucket, layout)
    if marker is None:
        raise no_backup(store, bucket, layout)
    return marker


def _find_marker(store: ObjectStore, bucket: str, layout: BackupLayout) -> bytes | None:
    """Return the commit marker, or None where there is none. Raises `BackupDamagedError` where it was lost."""
    try:
        return store.get(bucket, layout.marker)
    except ObjectNotFoundError as err:
        if not was_published(store, bucket, layout):
            return None
        msg = f"backup '{layout.name}' has lost its marker, {layout.marker}, and else has what a complete one has"
        raise BackupDamagedError(msg, hint=REPAIR_HINT) from err


def _read_members(key: str, body: bytes) -> dict[str, object]:
    try:
        members = json.loads(body)
    except RecursionError as err:
        raise _unreadable(key, "it nests too deeply") from err
    except ValueError as err:
        raise _unreadable(key, f"it is not JSON: {err}") from err
    if not isinstance(members, dict):
        raise _unreadable(key, "it is not a JSON object")
    return members


def _validate[T: (VaultMark, Manifest)](model: type[T], key: str, members: object) -> T:
    # A newer format may have any fields, so its version is looked at first.
    version = members.get("format_version") if isinstance(members, dict) else None
    if isinstance(version, int) and version > FORMAT_VERSION:
        msg = f"{key} has format version {version}; this release reads up to {FORMAT_VERSION}"
        raise BackupFormatError(msg, hint="Restore it with a newer release of Milvus Vault.")
    try:
        return model.model_validate(members)
    except ValidationError as err:
        raise _unreadable(key, _first_wrong(err)) from err


def _first_wrong(error: ValidationError) -> str:
    return " ".join(next(wrong_fields(error)))


def _missing(layout: BackupLayout, key: str) -> BackupDamagedError:
    return BackupDamagedError(f"{key} is missing from backup '{layout.name}'", hint=_HINT)


def _unreadable(key: str, reason: str) -> BackupDamagedError:
    return BackupDamagedError(f"{key} cannot be read: {reason}", hint=_HINT)


def read_collection_document(
    store: ObjectStore, bucket: str, layout: BackupLayout, entry: CollectionEntry
) -> CollectionDocument:
    """Return what a backup of ours recorded of a collection.

    Raises:
        BackupDamagedError: The document is missing, or is not the one that was written.
    """
    body = read_document(store, bucket, layout, entry.document)
    try:
        return CollectionDocument.model_validate_json(body)
    except ValidationError as err:
        raise _unreadable(layout.root + entry.document.key, _first_wrong(err)) from err


def read_collection(
    store: ObjectStore, bucket: str, layout: BackupLayout, entry: CollectionEntry
) -> ArchivedCollection:
    """Return a collection of a backup of ours, without what was noted of other ETags.

    Raises:
        BackupDamagedError: Its document is missing, or is not the one that was written.
    """
    document = read_collection_document(store, bucket, layout, entry)
    description = document.description
    by_partition: dict[int, list[ArchivedSegment]] = {p.partition_id: [] for p in description.partitions}
    by_partition[ALL_PARTITIONS] = []
    for segment in document.segments:
        if segment.partition_id not in by_partition:
            reason = f"segment {segment.segment_id} is in an unknown partition {segment.partition_id}"
            raise _unreadable(layout.root + entry.document.key, reason)
        by_partition[segment.partition_id].append(_segment(segment))
    return ArchivedCollection(
        name=description.name,
        collection_id=description.collection_id,
        layout=CollectionLayout(
            collection_schema=description.collection_schema,
            schema_proto=description.schema_proto,
            shards=description.shards,
            consistency_level=description.consistency_level,
            properties=description.properties,
            partitions=tuple(partition.name for partition in description.partitions),
        ),
        indexes=description.indexes,
        aliases=description.aliases,
        load_state=description.load_state,
        replicas=description.replicas,
        resource_groups=description.resource_groups,
        partitions=tuple(
            ArchivedPartition(
                partition_id=partition.partition_id,
                name=partition.name,
                is_loaded=partition.is_loaded,
                segments=tuple(by_partition[partition.partition_id]),
            )
            for partition in description.partitions
        ),
        l0_segments=tuple(by_partition[ALL_PARTITIONS]),
        live_row_count=document.live_row_count,
        object_list=entry.objects,
        moment=document.moment,
        moment_doubt=document.moment_doubt,
    )


def _segment(segment: Segment) -> ArchivedSegment:
    return ArchivedSegment(
        segment_id=segment.segment_id,
        partition_id=segment.partition_id,
        group_id=0 if segment.partition_id == ALL_PARTITIONS else segment.segment_id,
        row_count=segment.row_count,
        level=segment.level,
        storage_version=segment.storage_version,
        later_row_count=segment.later_row_count,
    )


def find_collection(store: ObjectStore, bucket: str, layout: BackupLayout, name: CollectionName) -> ArchivedCollection:
    """Return one collection of a backup with rows. Of one of ours, no document of another collection is read.

    Raises as `collections_by_name`, and what that returns.
    """
    return collections_by_name(store, bucket, layout)(name)


def collections_by_name(
    store: ObjectStore, bucket: str, layout: BackupLayout
) -> Callable[[CollectionName], ArchivedCollection]:
    """Return what gives collections of a backup with rows, one by one, and reads the manifest once for all of them.

    Raises the following, and what it returns the same for the collection that is asked for:
        CollectionNotFoundError: The backup does not hold it, or has metadata alone.
        BackupNotFoundError: There is no commit marker, and none was lost.
        BackupDamagedError: A metadata object is missing, or is not the one that was written.
        BackupFormatError: A newer release wrote the backup, or milvus-backup in another format.
    """
    marker = _read_marker(store, bucket, layout)
    manifest = _manifest_of(store, bucket, layout, marker)
    found = read_reference_archive(store, bucket, layout, marker) if manifest is None else manifest
    if found.meta_only:
        msg = f"backup '{layout.name}' has metadata alone, and rows of no collection"
        raise CollectionNotFoundError(msg, hint="Name a backup that was made with rows.")
    by_name = {one.name: one for one in found.collections}
    other_etags = cache(partial(read_other_etags, store, bucket, layout))

    def find(name: CollectionName) -> ArchivedCollection:
        collection = by_name.get(name)
        if isinstance(collection, ArchivedCollection):
            return collection
        if collection is not None:
            return replace(read_collection(store, bucket, layout, collection), other_etags=other_etags())
        failed = next((failure.error for failure in found.failures if failure.name == name), "")
        raise not_held(layout.name, str(name), [str(one.name) for one in found.collections], failed)

    return find


def not_held(backup: str, name: str, there: Sequence[str], failed: str) -> CollectionNotFoundError:
    """Return the error for a collection that a backup does not hold.

    Args:
        backup: Name of the backup.
        name: `<database>.<name>`, as the others.
        there: Those that it holds.
        failed: By which error the collection's backup failed; empty for one that did not.
    """
    database, _, own = name.partition(".")
    beside = [other for where, _, other in (one.partition(".") for one in there) if where == database]
    near = did_you_mean(own, beside, within=f"{database}.")
    hint = f"Its backup failed: {failed}." if failed else near or f"It holds {first_of(there) or 'none'}."
    return CollectionNotFoundError(f"backup '{backup}' does not hold collection {name}", hint=hint)
