"""Copies of backups under other names, whole or damaged, without another run of the machines."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.manifest import Manifest, digest, read_object_list
from milvus_vault.archive.pool import PoolLayout
from milvus_vault.archive.reference_writer import marker_file
from milvus_vault.model.objects import ArchivedObject
from tests.support.vault_runs import Stack, listing

type Json = dict[str, Any]

GOLDEN = Path(__file__).parents[1] / "data" / "golden"


class StoredBackup:
    """A backup in a stack's backup bucket, object by object."""

    def __init__(self, stack: Stack, name: str) -> None:
        """Point at a backup, which need not be there yet."""
        self._stack = stack
        self._s3 = stack.ministack.client("s3")
        self.name = name
        self.bucket = stack.outputs["BackupBucketName"]
        self.layout = BackupLayout(stack.outputs["BackupPrefix"], name)

    def keys(self, below: str = "") -> list[str]:
        """Return all keys below a part of the backup's folder, sorted."""
        return sorted(listing(self._stack, self.bucket, self.layout.root + below))

    def read(self, key: str) -> bytes:
        """Return an object's content."""
        return self._s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def write(self, key: str, body: bytes) -> None:
        """Write an object."""
        self._s3.put_object(Bucket=self.bucket, Key=key, Body=body)

    def delete(self, key: str) -> None:
        """Delete an object."""
        self._s3.delete_object(Bucket=self.bucket, Key=key)

    def flip_a_byte(self, key: str) -> None:
        """Change one byte in the middle of an object, which keeps its size."""
        body = bytearray(self.read(key))
        body[len(body) // 2] ^= 1
        self.write(key, bytes(body))

    def truncate(self, key: str) -> None:
        """Cut an object in half."""
        body = self.read(key)
        self.write(key, body[: len(body) // 2])

    @property
    def manifest(self) -> Manifest:
        """Return its manifest."""
        return Manifest.model_validate_json(self.read(self.layout.manifest))

    def listed(self, collection: str = "") -> list[ArchivedObject]:
        """Return the objects of all its collections or of one, `db.name`, as its lists have them."""
        entries = [entry for entry in self.manifest.collections if collection in {"", str(entry.name)}]
        lists = [self.read(self.layout.root + entry.objects.key) for entry in entries]
        return [item for body in lists for item in read_object_list(body)]

    @property
    def objects_folder(self) -> str:
        """Return the folder below which its objects lie, with a slash at its end."""
        return PoolLayout(self.layout.prefix).root if self.manifest.is_incremental else self.layout.binlogs

    def not_as_listed(self) -> list[str]:
        """Return the keys of the objects that are gone, or others than its lists have."""
        there = {key: etag.strip('"') for key, etag in listing(self._stack, self.bucket, self.objects_folder).items()}
        return [item.stored_key for item in self.listed() if there.get(item.stored_key) != item.etag]

    def insert_log(self, collection: str) -> str:
        """Return the key of one insert log of a collection `db.name`."""
        number = self.collection_id(collection)
        return self.keys(f"binlogs/insert_log/{number}/")[0]

    def collection_id(self, collection: str) -> int:
        """Return the ID that a collection `db.name` had where it was backed up."""
        return next(entry.collection_id for entry in self.manifest.collections if str(entry.name) == collection)

    def copy(self, name: str, change: Callable[[Json], None] | None = None) -> "StoredBackup":
        """Return a copy under another name, as if it had been made under it.

        `change` may edit the manifest and, under its key `documents`, the collections' documents; what seals
        them is made anew.
        """
        copy = StoredBackup(self._stack, name)
        for key in self.keys():
            new = copy.layout.root + key.removeprefix(self.layout.root)
            self._s3.copy_object(Bucket=self.bucket, Key=new, CopySource={"Bucket": self.bucket, "Key": key})
        copy._seal(self.layout.root, change)
        return copy

    def _seal(self, old_root: str, change: Callable[[Json], None] | None) -> None:
        """Make the object lists name this backup's objects, and the digests fit again."""
        manifest: Json = json.loads(self.read(self.layout.manifest))
        entries = manifest["collections"]
        documents = [json.loads(self.read(self.layout.root + entry["document"]["key"])) for entry in entries]
        changed = manifest | {"backup_name": self.name, "documents": documents}
        if change:
            change(changed)
        for entry, document in zip(entries, changed.pop("documents"), strict=True):
            objects = self.read(self.layout.root + entry["objects"]["key"]).replace(
                f'["{old_root}'.encode(), f'["{self.layout.root}'.encode()
            )
            for part, body in (("document", json.dumps(document).encode()), ("objects", objects)):
                self.write(self.layout.root + entry[part]["key"], body)
                entry[part] = digest(entry[part]["key"], body).model_dump()
        body = json.dumps(changed).encode()
        self.write(self.layout.manifest, body)
        self.write(self.layout.marker, marker_file(Manifest.model_validate(changed), body))


def upload_golden(stack: Stack, folder: str, name: str = "") -> StoredBackup:
    """Put an archive that milvus-backup made into the backup bucket, and return it."""
    backup = StoredBackup(stack, name or folder)
    for path in sorted((GOLDEN / folder).rglob("*")):
        if path.is_file():
            backup.write(backup.layout.root + path.relative_to(GOLDEN / folder).as_posix(), path.read_bytes())
    return backup
