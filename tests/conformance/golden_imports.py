"""Brings a golden archive into a server, by its calls only, as a script of a few lines would."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.json_format import ParseDict
from pymilvus.grpc_gen import schema_pb2

from tests.conformance.asking import Milvus, SetUpError
from tests.support.golden_rows import full_meta, objects_of, oracle
from tests.support.milvus_server.objects import MemoryObjects

_PATIENCE_SECONDS = 60
_ALL_PARTITIONS = -1

type Files = list[list[str]]


@dataclass(frozen=True)
class Archive:
    """A golden archive, and what its collections must hold."""

    name: str
    version: str
    """Of the oracle."""

    @property
    def collections(self) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
        """Yield full name, metadata and oracle of each collection."""
        expected = oracle(self.version)
        for backup in full_meta(self.name)["collection_backups"]:
            name = f"{backup.get('db_name') or 'default'}.{backup['collection_name']}"
            yield name, backup, expected[name]


class GoldenImport:
    """Creates the archive's collections and imports its objects, which are staged in the server's bucket."""

    def __init__(self, milvus: Milvus, archive: Archive, *, folds: bool) -> None:
        """Take an archive; `folds`: lay deletes of level 0 beside the segments instead of importing them."""
        self._milvus, self._archive, self._folds = milvus, archive, folds
        self._prefix = f"staged-{archive.name}-{'folded' if folds else 'plain'}"
        self._objects: MemoryObjects = objects_of(archive.name)

    def run(self) -> dict[str, int]:
        """Return how many rows were imported, by collection."""
        collections = list(self._archive.collections)
        for name, backup, expected in collections:
            self._create(name, expected)
            if self._folds:
                self._fold(backup)
        for key in self._objects.keys(""):
            content = self._objects.get(key)
            self._milvus.s3.put_object(Bucket=self._milvus.bucket, Key=f"{self._prefix}/{key}", Body=content)
        # All jobs are there before the first is waited for; deletes come when all rows are in.
        inserts = {name: self._start(name, list(self._inserts(backup))) for name, backup, _ in collections}
        imported = {name: sum(self._rows(job) for job in jobs) for name, jobs in inserts.items()}
        if not self._folds:
            deletes = [self._start(name, list(self._deletes(backup))) for name, backup, _ in collections]
            for job in (job for jobs in deletes for job in jobs):
                self._rows(job)
        return imported

    def _create(self, full_name: str, expected: dict[str, Any]) -> None:
        database, _, name = full_name.partition(".")
        if database not in self._milvus.must("ListDatabases").db_names:
            self._milvus.must("CreateDatabase", db_name=database)
        schema = ParseDict(expected["schema"], schema_pb2.CollectionSchema(), ignore_unknown_fields=True)
        has_key = any(field.is_partition_key for field in schema.fields)
        self._milvus.must(
            "CreateCollection",
            db_name=database,
            collection_name=name,
            schema=schema.SerializeToString(),
            shards_num=expected["shards"],
            consistency_level=expected["consistency"],
            properties=[{"key": key, "value": value} for key, value in expected["properties"].items()],
            num_partitions=len(expected["partitions"]) if has_key else 0,
        )
        for partition in () if has_key else expected["partitions"]:
            if partition != "_default":
                names = {"db_name": database, "collection_name": name, "partition_name": partition}
                self._milvus.must("CreatePartition", **names)

    def _inserts(self, backup: dict[str, Any]) -> Iterator[tuple[str, Files, dict[str, str]]]:
        """Yield partition, files and options of each job for rows."""
        for partition in backup["partition_backups"]:
            path = f"{backup['collection_id']}/{partition['partition_id']}"
            segments = [found for found in partition.get("segment_backups", []) if not found.get("is_l0")]
            pairs = [
                [f"{self._prefix}/{kind}/{path}/{segment['group_id']}/" for kind in ("insert_log", "delta_log")]
                for segment in segments
            ]
            if pairs:
                packed = {"storage_version": "2"} if segments[0].get("storage_version") else {}
                yield partition["partition_name"], pairs, {"backup": "true"} | packed

    def _deletes(self, backup: dict[str, Any]) -> Iterator[tuple[str, Files, dict[str, str]]]:
        """Yield partition, files and options of each job for deletes: one folder each, those of partitions first."""
        names = {found["partition_id"]: found["partition_name"] for found in backup["partition_backups"]}
        for partition, name in [*names.items(), (_ALL_PARTITIONS, "")]:
            for segment in _level_zero(backup):
                if segment["partition_id"] == partition:
                    group = f"/{segment['group_id']}" if segment.get("group_id") else ""
                    path = f"{self._prefix}/delta_log/{backup['collection_id']}/{partition}{group}"
                    yield name, [[f"{path}/{segment['segment_id']}/"]], {"l0_import": "true"}

    def _fold(self, backup: dict[str, Any]) -> None:
        """Copy each delta log of level 0 to every segment that it may concern."""
        for level_zero in _level_zero(backup):
            for key in self._objects.keys(f"delta_log/{backup['collection_id']}/{level_zero['partition_id']}/"):
                if f"/{level_zero['segment_id']}/" not in key:
                    continue
                for partition in backup["partition_backups"]:
                    if level_zero["partition_id"] in {_ALL_PARTITIONS, partition["partition_id"]}:
                        self._copy(key, backup, partition)

    def _copy(self, key: str, backup: dict[str, Any], partition: dict[str, Any]) -> None:
        log = key.rpartition("/")[2]
        for segment in partition.get("segment_backups", []):
            if not segment.get("is_l0"):
                path = f"{backup['collection_id']}/{partition['partition_id']}/{segment['group_id']}"
                self._objects.put(f"delta_log/{path}/{segment['segment_id']}/{log}", self._objects.get(key))

    def _start(self, full_name: str, jobs: list[tuple[str, Files, dict[str, str]]]) -> list[str]:
        database, _, name = full_name.partition(".")
        started = []
        for partition, files, options in jobs:
            body = {"dbName": database, "collectionName": name, "files": files, "options": options}
            answer = self._milvus.post("/v2/vectordb/jobs/import/create", body | {"partitionName": partition})
            if answer["code"]:
                raise SetUpError(answer["message"])
            started.append(answer["data"]["jobId"])
        return started

    def _rows(self, job: str) -> int:
        end = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < end:
            data = self._milvus.post("/v2/vectordb/jobs/import/get_progress", {"jobId": job})["data"]
            if data["state"] == "Completed":
                return int(data["importedRows"])
            if data["state"] == "Failed":
                raise SetUpError(data["reason"])
            time.sleep(self._milvus.poll_seconds)
        msg = f"import job {job} has not ended"
        raise SetUpError(msg)


def _level_zero(backup: dict[str, Any]) -> list[dict[str, Any]]:
    of_partitions: list[dict[str, Any]] = [
        segment
        for partition in backup["partition_backups"]
        for segment in partition.get("segment_backups", [])
        if segment.get("is_l0")
    ]
    return [*of_partitions, *backup.get("l0_segments", [])]
