"""Milvus' import of binlogs by gRPC: one pair of prefixes a job. The only way on 2.2 and 2.3, and there on all."""

from collections.abc import Mapping
from typing import override

from pymilvus.grpc_gen import milvus_pb2

from milvus_vault.adapters import milvus_errors
from milvus_vault.adapters.milvus_calls import MilvusCall
from milvus_vault.adapters.milvus_errors import check, one_line, understood
from milvus_vault.errors import MilvusRequestError
from milvus_vault.model.collections import ImportJobState, ImportStatus, ImportTask
from milvus_vault.model.hybrid import LOGICAL_BITS
from milvus_vault.model.versions import PACKED_VERSION, ServerVersion, ends_imports_in_hybrid, has_import_jobs
from milvus_vault.ports import Importer

# A server may hold 65,536 pending import jobs; the newest come first in the list.
LISTED_IMPORT_JOBS = 65_536

_FAILED = {1, 7}  # common.ImportState: Failed, FailedAndCleaned
_COMPLETED = 6


def import_options(task: ImportTask, server: ServerVersion) -> Mapping[str, str]:
    """Return the options that every way of importing takes."""
    # With `backup` beside it, an import of deletes would ask for a partition.
    options = {"l0_import" if task.is_deletes else "backup": "true"}
    if has_import_jobs(server):
        # What is restored was there before. A server that does not know the option (before 2.4.9) looks past it.
        options["skip_disk_quota_check"] = "true"
    if task.storage_version >= PACKED_VERSION:
        options["storage_version"] = str(task.storage_version)
    if task.end_timestamp:
        # Up: a millisecond there is its first moment, and what came in it before the point in time is wanted.
        milliseconds = -(-task.end_timestamp >> LOGICAL_BITS)
        options["end_ts"] = str(task.end_timestamp if ends_imports_in_hybrid(server) else milliseconds)
    return options


def subject_of(database: str, name: str, task: ImportTask) -> str:
    """Return how messages name what is imported."""
    return f"{database}.{name} partition {task.partition or '(all)'}"


class GrpcImporter(Importer):
    """The port `Importer` by gRPC."""

    def __init__(self, call: MilvusCall, server: ServerVersion) -> None:
        self._call = call
        self._server = server

    @property
    @override
    def pairs_a_job(self) -> int:
        """Return how many pairs of prefixes one job takes: more are refused by every version."""
        return 1

    @override
    def start_import(self, database: str, name: str, task: ImportTask) -> str | None:
        request = milvus_pb2.ImportRequest(
            db_name=database,
            collection_name=name,
            partition_name=task.partition,
            files=self._files(task),
            options=[{"key": key, "value": value} for key, value in import_options(task, self._server).items()],
        )
        subject = subject_of(database, name, task)
        answer = self._call("Import", request, database)
        if milvus_errors.takes_no_more_jobs(answer.status):
            return None
        check(answer.status, "Import", subject)
        if len(answer.tasks) != 1:
            msg = f"Import of {subject} started {len(answer.tasks)} jobs instead of one"
            raise MilvusRequestError(msg)
        return str(answer.tasks[0])

    @override
    def import_state(self, job_id: str) -> ImportJobState:
        answer = self._call("GetImportState", milvus_pb2.GetImportStateRequest(task=int(job_id)))
        if milvus_errors.is_job_gone(answer.status):
            return ImportJobState(ImportStatus.FORGOTTEN, 0, 0, answer.status.reason)
        check(answer.status, "GetImportState", f"import job {job_id}")
        infos = {item.key: item.value for item in answer.infos}
        status = ImportStatus.RUNNING
        if answer.state == _COMPLETED:
            status = ImportStatus.COMPLETED
        elif answer.state in _FAILED:
            status = ImportStatus.FAILED
        with understood("GetImportState", f"import job {job_id}"):
            return ImportJobState(
                status=status,
                row_count=answer.row_count,
                percent=int(infos.get("progress_percent") or 0),
                reason=one_line(infos.get("failed_reason", "")),
            )

    @override
    def find_import(self, database: str, name: str, task: ImportTask) -> str | None:
        """Return the ID of the newest import job of just these files that has not failed, if there is one.

        Raises `MilvusRequestError` where there is a job that does not tell its files, as from 2.4 on.
        """
        request = milvus_pb2.ListImportTasksRequest(db_name=database, collection_name=name, limit=LISTED_IMPORT_JOBS)
        answer = self._call("ListImportTasks", request, database)
        check(answer.status, "ListImportTasks", f"{database}.{name}")
        wanted = {"partition": task.partition, "files": ",".join(self._files(task))}
        found = []
        for job in answer.tasks:
            infos = {item.key: item.value for item in job.infos}
            if job.state not in _FAILED and "files" not in infos:
                msg = f"import job {job.id} of {database}.{name} is not this execution's, and tells no files"
                raise MilvusRequestError(msg, hint="Drop and create the collection, and start the restore again.")
            if job.state not in _FAILED and wanted.items() <= infos.items():
                found.append(job.id)
        return str(max(found)) if found else None

    def _files(self, task: ImportTask) -> list[str]:
        (pair,) = task.pairs
        if task.is_deletes:
            return [pair.delta_prefix]
        if has_import_jobs(self._server) and not pair.delta_prefix:
            # These list the whole bucket for an empty prefix.
            return [pair.insert_prefix]
        # With one prefix alone, 2.3 says "unsupported file type".
        return [pair.insert_prefix, pair.delta_prefix]
