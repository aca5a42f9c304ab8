"""Where each part of a backup lies. All keys are full keys in the backup bucket.

    <prefix>/<backup name>/meta/*.json               milvus-backup's metadata; backup_meta.json is the marker
    <prefix>/<backup name>/meta/vault/...            ours
    <prefix>/<backup name>/binlogs/insert_log/<collection>/<partition>/<segment>/<segment>/<field>/<log>
    <prefix>/<backup name>/binlogs/delta_log/<collection>/<partition>/<segment>/<segment>/<log>
    <prefix>/.runs/<run>/...                         working files of runs
    <prefix>/.catalogue/...                          entries, holds, tombstones and verifications of backups
    <prefix>/.pool/...                               objects of incremental backups, see `archive/pool.py`
    <prefix>/.datasets/<name>/...                    rows as files of Parquet, see `datasets/`

Only binlogs may lie below `binlogs/`: Milvus parses each path element there as a number.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from milvus_vault.archive.pool import POOL_FOLDER, PoolLayout, parse_pooled_key
from milvus_vault.errors import BackupDamagedError
from milvus_vault.model import objects as kinds
from milvus_vault.model.collections import ALL_PARTITIONS
from milvus_vault.model.objects import ArchivedObject
from milvus_vault.model.versions import PACKED_VERSION

RUNS_FOLDER = ".runs"
CATALOGUE_FOLDER = ".catalogue"
DATASETS_FOLDER = ".datasets"

OWN_FOLDERS = frozenset({RUNS_FOLDER, CATALOGUE_FOLDER, DATASETS_FOLDER, POOL_FOLDER})
"""The folders beside backups that are none."""

INSERT_LOG = kinds.INSERT_LOG
DELTA_LOG = kinds.DELTA_LOG

_NUMBER = "(-?[0-9]+)"
# Collection, partition and segment, then field and log of an insert log, or the log of one of deletes.
_LOG_KEY = re.compile(rf"(?:.*/)?(insert_log|delta_log)/{_NUMBER}/{_NUMBER}/{_NUMBER}/{_NUMBER}(?:/{_NUMBER})?", re.S)

_TIMESTAMP_FIELD = 1
_TIMESTAMP_GROUP = 0  # together with the key and the row ID


class LogKey(NamedTuple):
    """What the key of a log in Milvus' own bucket says. No dataclass: a backup makes four of each object."""

    kind: str
    """`INSERT_LOG` or `DELTA_LOG`."""
    collection_id: int
    partition_id: int
    segment_id: int
    field_id: int
    """The field, or the column group in storage version 2; 0 for a delta log."""
    log_id: int

    def __str__(self) -> str:
        """Return the key below Milvus' root path."""
        ids = [self.collection_id, self.partition_id, self.segment_id]
        ids += [self.field_id, self.log_id] if self.kind == INSERT_LOG else [self.log_id]
        return "/".join([self.kind, *map(str, ids)])


def parse_log_key(key: str) -> LogKey | None:
    """Return what the key of an insert or delta log in Milvus' bucket says; None for any other key."""
    found = _LOG_KEY.fullmatch(key)
    if found is None:
        return None
    kind, collection, partition, segment, number, of_field = found.groups()
    if kind == INSERT_LOG and of_field:
        return LogKey(INSERT_LOG, int(collection), int(partition), int(segment), int(number), int(of_field))
    if kind == DELTA_LOG and not of_field:
        return LogKey(DELTA_LOG, int(collection), int(partition), int(segment), 0, int(number))
    return None


def log_of(item: ArchivedObject) -> LogKey:
    """Return which log an object of a backup is.

    Raises `BackupDamagedError` where its recorded key does not say: a log that is left out may be one of deletes.
    """
    key = parse_log_key(item.source_key)
    if key is None:
        msg = f"the key that is recorded for {item.stored_key} is not one of a log of Milvus: {item.source_key}"
        raise BackupDamagedError(msg, hint="Restore the other collections, or from another backup.")
    return key


def holds_timestamps(key: LogKey, storage_version: int) -> bool:
    """Return whether a log holds the timestamps of a segment's rows, alone or with other columns."""
    field = _TIMESTAMP_GROUP if storage_version >= PACKED_VERSION else _TIMESTAMP_FIELD
    return key.kind == INSERT_LOG and key.field_id == field


def join(*parts: str) -> str:
    """Join key parts with single slashes, leaving out empty ones."""
    return "/".join(stripped for part in parts if (stripped := part.strip("/")))


def milvus_location(bucket: str, root_path: str) -> str:
    """Return the address by which backups name the Milvus that they are of."""
    return f"s3://{bucket}/{root_path}"


@dataclass(frozen=True)
class BackupLayout:
    """The keys of one backup."""

    prefix: str
    """The backup prefix of the deployment; may be empty."""
    name: str

    # Kept, since a backup may have millions of keys that are told by them.
    @cached_property
    def root(self) -> str:
        """Return the backup's folder, with a slash at its end."""
        return join(self.prefix, self.name) + "/"

    @cached_property
    def binlogs(self) -> str:
        """Return the folder of the copied objects, with a slash at its end."""
        return f"{self.root}binlogs/"

    def here(self, stored_key: str) -> str:
        """Return the key that a copied object has in this place, for the one that it had where the backup was made."""
        pooled = parse_pooled_key(stored_key)
        return PoolLayout(self.prefix).key(pooled) if pooled else self.binlogs + self.below(stored_key)

    @staticmethod
    def below(stored_key: str) -> str:
        """Return what the key of a copied object is in every place that the backup may be copied to."""
        pooled = parse_pooled_key(stored_key)
        return f"{POOL_FOLDER}/{pooled}" if pooled else stored_key.rpartition("/binlogs/")[2]

    def folders_of(self, collection_id: int, objects: Iterable[ArchivedObject]) -> list[str]:
        """Return the folders that hold a collection's objects, each with a slash at its end.

        Of a full backup they hold nothing else; those of an incremental one it shares with others.
        """
        pooled = {found.group for item in objects if (found := parse_pooled_key(item.stored_key))}
        folders = [PoolLayout(self.prefix).folder(group) for group in sorted(pooled)]
        return folders or [*self.collection_folders(collection_id)]

    @property
    def marker(self) -> str:
        """Return the key of the commit marker: the backup exists if and only if this object does."""
        return self.meta("backup_meta.json")

    @property
    def manifest(self) -> str:
        """Return the key of our manifest."""
        return self.vault("manifest.json")

    @property
    def report(self) -> str:
        """Return the key of the report to read, an HTML page. Not every backup has one."""
        return self.vault("report.html")

    @property
    def other_etags(self) -> str:
        """Return the key of the ETags under which contents were proven anew, which few backups have."""
        return self.vault("other_etags.json")

    @property
    def rbac(self) -> str:
        """Return the key of the users and rights of the server, which few backups have."""
        return self.vault("rbac.json")

    def meta(self, file_name: str) -> str:
        """Return the key of one of milvus-backup's metadata files."""
        return f"{self.root}meta/{file_name}"

    def vault(self, file_name: str) -> str:
        """Return the key of one of our own metadata files."""
        return f"{self.root}meta/vault/{file_name}"

    def collection_document(self, collection_id: int) -> str:
        """Return the key of a collection's description."""
        return self.vault(f"collections/{collection_id}.json")

    def object_list(self, collection_id: int) -> str:
        """Return the key of a collection's object list."""
        return self.vault(f"objects/{collection_id}.jsonl")

    def collection_folders(self, collection_id: int) -> tuple[str, str]:
        """Return the two folders of a collection in a full backup, each with a slash at its end."""
        return (f"{self.binlogs}{INSERT_LOG}/{collection_id}/", f"{self.binlogs}{DELTA_LOG}/{collection_id}/")

    def log(self, key: LogKey) -> str:
        """Return the key of a log in a full backup: in a group of its segment, as its own number."""
        ids = (key.collection_id, key.partition_id, key.segment_id, key.segment_id)
        if key.kind == DELTA_LOG:
            return self.delta_log(*ids, key.log_id)
        return self.insert_log(*ids, key.field_id, key.log_id)

    def insert_log(self, collection: int, partition: int, group: int, segment: int, field: int, log: int) -> str:
        """Return the key of an insert log. Group 0 means a backup without group folders."""
        grouped = f"{group}/{segment}" if group else f"{segment}"
        return f"{self.binlogs}{INSERT_LOG}/{collection}/{partition}/{grouped}/{field}/{log}"

    def delta_log(self, collection: int, partition: int, group: int, segment: int, log: int) -> str:
        """Return the key of a delta log. Those of all partitions (L0) have no group folder."""
        grouped = f"{group}/{segment}" if group and partition != ALL_PARTITIONS else f"{segment}"
        return f"{self.binlogs}{DELTA_LOG}/{collection}/{partition}/{grouped}/{log}"
