"""Milvus' import of binlogs by REST, which servers from 2.4 on answer at the port of gRPC: many pairs a job."""

import json
from http import HTTPStatus
from typing import Any, override

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from milvus_vault.adapters import milvus_errors
from milvus_vault.adapters.endpoints import Endpoint
from milvus_vault.adapters.http_calls import HttpCalls
from milvus_vault.adapters.milvus_access import NOBODY, MilvusAccess
from milvus_vault.adapters.milvus_errors import Answer, check, one_line
from milvus_vault.adapters.milvus_imports import import_options, subject_of
from milvus_vault.errors import (
    MilvusAuthenticationError,
    MilvusPermissionError,
    MilvusRequestError,
    MilvusUnavailableError,
)
from milvus_vault.model.collections import ImportJobState, ImportStatus, ImportTask
from milvus_vault.model.versions import ServerVersion
from milvus_vault.ports import Importer

CALL_SECONDS = 60.0
PROBE_SECONDS = 5.0

# milvus-backup's limit; servers take 1,024 segments a job.
PAIRS_A_JOB = 256

_BUSY = {429, 500, 502, 503, 504}
_STATES = {"Completed": ImportStatus.COMPLETED, "Failed": ImportStatus.FAILED}


class _Answer(BaseModel):
    """Every answer, whatever it is about."""

    code: int
    message: str = ""
    data: Any = None


class _Camel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class _Started(_Camel):
    job_id: str


class _File(_Camel):
    file_name: str = ""


class _Job(_Camel):
    job_id: str
    state: str
    progress: int = 0
    imported_rows: int = 0
    reason: str = ""
    details: list[_File] = Field(default_factory=list)


class _Jobs(_Camel):
    records: list[_Job] = Field(default_factory=list)


class RestImporter(Importer):
    """The port `Importer` by REST."""

    def __init__(
        self,
        endpoint: Endpoint,
        server: ServerVersion,
        access: MilvusAccess = NOBODY,
        *,
        states: Importer | None = None,
    ) -> None:
        """Name the server; `states` is asked how a job goes where REST tells that to an admin alone."""
        self._http = HttpCalls(endpoint, access)
        self._server = server
        self._states = states

    def answers(self) -> bool:
        """Return whether there is somebody at this address who knows these calls and lets this user follow jobs.

        That takes rights of its own here (ListImport, GetImportProgress), which some servers give administrators
        alone; by gRPC it takes none.
        """
        try:
            self._send("jobs/import/list", {"dbName": "default"}, seconds=PROBE_SECONDS)
            self._send("jobs/import/get_progress", {"jobId": "0"}, seconds=PROBE_SECONDS)
        except MilvusAuthenticationError:
            return True
        except (MilvusPermissionError, MilvusUnavailableError, MilvusRequestError):
            return False
        return True

    @property
    @override
    def pairs_a_job(self) -> int:
        return PAIRS_A_JOB

    @override
    def start_import(self, database: str, name: str, task: ImportTask) -> str | None:
        body = {
            "dbName": database,
            "collectionName": name,
            "files": [[prefix for prefix in (pair.insert_prefix, pair.delta_prefix) if prefix] for pair in task.pairs],
            "options": dict(import_options(task, self._server)),
        }
        if task.partition:
            body["partitionName"] = task.partition
        answer = self._send("jobs/import/create", body)
        if milvus_errors.takes_no_more_jobs(_status(answer)):
            return None
        check(_status(answer), "Import", subject_of(database, name, task))
        return self._read(_Started, answer).job_id

    @override
    def import_state(self, job_id: str) -> ImportJobState:
        try:
            answer = self._send("jobs/import/get_progress", {"jobId": job_id})
        except MilvusPermissionError:
            if self._states is None:
                raise
            return self._states.import_state(job_id)
        if answer.code in milvus_errors.JOB_NOT_FOUND and "cannot find" in answer.message:
            return ImportJobState(ImportStatus.FORGOTTEN, 0, 0, answer.message)
        check(_status(answer), "Import", f"import job {job_id}")
        job = self._read(_Job, answer)
        status = _STATES.get(job.state, ImportStatus.RUNNING)
        return ImportJobState(status, job.imported_rows, job.progress, one_line(job.reason))

    @override
    def find_import(self, database: str, name: str, task: ImportTask) -> str | None:
        """Return the ID of the newest job for just these prefixes that has not failed, if there is one.

        Raises `MilvusUnavailableError` while there is a job of which the server does not yet tell what it imports.
        """
        answer = self._send("jobs/import/list", {"dbName": database, "collectionName": name})
        check(_status(answer), "Import", f"the jobs of {database}.{name}")
        prefixes = {prefix for pair in task.pairs for prefix in (pair.insert_prefix, pair.delta_prefix) if prefix}
        found = []
        for job in self._read(_Jobs, answer).records:
            described = self._describe(job.job_id)
            if described is None or described.state == "Failed":
                continue
            if not described.details:
                msg = f"import job {job.job_id} of {database}.{name} does not yet tell what it imports"
                raise MilvusUnavailableError(msg, hint="It does when it has begun; the task is tried again.")
            # Told are the folders of segments, below the prefixes of the request.
            if any(prefix in item.file_name for item in described.details for prefix in prefixes):
                found.append(int(job.job_id))
        return str(max(found)) if found else None

    def _describe(self, job_id: str) -> _Job | None:
        """Return a job, or None where it was forgotten meanwhile."""
        answer = self._send("jobs/import/get_progress", {"jobId": job_id})
        if answer.code in milvus_errors.JOB_NOT_FOUND:
            return None
        check(_status(answer), "Import", f"import job {job_id}")
        return self._read(_Job, answer)

    def _read[T: BaseModel](self, model: type[T], answer: _Answer) -> T:
        try:
            return model.model_validate(answer.data)
        except ValidationError as err:
            msg = f"{self._http.endpoint.uri} answers an import call with something else: {err.errors()[0]['msg']}"
            raise MilvusRequestError(msg, hint="Check that MilvusRestUri is Milvus' own.") from err

    def _send(self, route: str, body: dict[str, Any], *, seconds: float = CALL_SECONDS) -> _Answer:
        path = f"/v2/vectordb/{route}"
        answer = self._http.send("POST", path, json.dumps(body).encode(), seconds=seconds)
        url = f"{self._http.endpoint.uri}{path}"
        if answer.status != HTTPStatus.OK:
            raise self._refusal(answer.status, url)
        try:
            return _Answer.model_validate_json(answer.content)
        except ValidationError as err:
            msg = f"{url} answers with something that is not Milvus'"
            raise MilvusRequestError(msg, hint="Check that MilvusRestUri is Milvus' own.") from err

    def _refusal(self, status: int, url: str) -> Exception:
        if status == HTTPStatus.UNAUTHORIZED:
            msg = f"Milvus at {self._http.endpoint.uri} refuses the credentials"
            return MilvusAuthenticationError(msg, hint=milvus_errors.CREDENTIALS_HINT)
        if status == HTTPStatus.FORBIDDEN:
            msg = f"{url} is not allowed to this Milvus user"
            return MilvusPermissionError(msg, hint=milvus_errors.PERMISSION_HINT)
        if status in _BUSY:
            return MilvusUnavailableError(f"{url} answers {status}", hint=milvus_errors.UNREACHABLE_HINT)
        return MilvusRequestError(f"{url} answers {status}")


def _status(answer: _Answer) -> Answer:
    return Answer(code=answer.code, reason=answer.message)
