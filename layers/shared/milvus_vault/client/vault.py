"""The client: one method for each thing that the API can do."""

import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from milvus_vault.client.caller import Caller, configured_caller
from milvus_vault.client.transport import Transport
from milvus_vault.client.waiting import wait_for_run
from milvus_vault.errors import ApiUnavailableError, InvalidRequestError
from milvus_vault.model.base import Model
from milvus_vault.model.requests import (
    BackupRequest,
    CopyRequest,
    DrillRequest,
    ExportRequest,
    PruneRequest,
    RestoreRequest,
    VerifyOptions,
    backup_name_problem,
)
from milvus_vault.model.resources import (
    LISTS_OF_A_BACKUP,
    Backup,
    BackupDiff,
    BackupSummary,
    CheckReport,
    CollectionDetails,
    CollectionInfo,
    Estimate,
    EstimateRequest,
    Hold,
    HoldState,
    Page,
    PlannedRestore,
    PoolListing,
    Run,
    RunCollection,
    RunKind,
    RunStatus,
    RunSummary,
    Schedule,
    ScheduleSpec,
    Started,
    Stats,
)
from milvus_vault.model.words import shown, wrong_fields

if TYPE_CHECKING:
    import boto3

MAX_PAGE = 100


class VaultClient:
    """A client of one API. Its methods raise the leaves of `errors.py` that the API names.

    What cannot be a name is refused before anything is asked (`InvalidRequestError`).

    Lists are iterators that ask for the next page when it is needed. What starts long work returns at once with the
    run's ID, for `wait_for_run`; it carries an idempotency key, so that a repetition after a broken connection
    starts nothing twice. Give a key of your own to be able to repeat it yourself.
    """

    def __init__(
        self,
        url: str,
        session: "boto3.Session | Caller | None" = None,
        *,
        on_repetition: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Describe it; nothing is sent. See `connect` for ways to find the address.

        Args:
            url: the stack's output `ApiUrl`.
            session: whose credentials sign; default: what the AWS configuration says.
            on_repetition: called with the reason before a request is sent again; of an API that cannot be reached
                once until it answers.
        """
        self.url = url
        self._caller = (
            configured_caller("", "")
            if session is None
            else session
            if isinstance(session, Caller)
            else Caller(lambda: session)
        )
        self._transport = Transport(url, self._caller, on_repetition=on_repetition)

    @property
    def session(self) -> "boto3.Session":
        """The session whose credentials sign."""
        return self._caller.session

    def create_backup(self, request: BackupRequest | None = None, *, idempotency_key: str = "") -> Started:
        """Start a backup; without a request, of everything."""
        return self._start("POST", "/backups", request or BackupRequest(), idempotency_key)

    def list_backups(self, *, schedule: str = "", page_size: int = MAX_PAGE) -> Iterator[BackupSummary]:
        """Yield the backups, newest first; `schedule`: only those that it made."""
        return self._pages("/backups", Page[BackupSummary], page_size, {"schedule": schedule})

    def backup_pages(self, *, schedule: str = "", token: str = "") -> Iterator[Page[BackupSummary]]:
        """Yield the pages of `list_backups` as they are needed: all, or those behind a page's `next_token`."""
        asked = {"limit": str(MAX_PAGE), "schedule": schedule, "token": token}
        return self._answers("/backups", Page[BackupSummary], {name: value for name, value in asked.items() if value})

    def get_backup(self, name: str, *, unique: bool = False) -> Backup:
        """Return a backup in full; with `unique`, also what no other backup lists, which takes its time.

        Raises:
            BackupNotFoundError: It is not there.
            BackupDamagedError: Its metadata is damaged; with `unique`, that of any backup that shares objects.
            AnswerTimeoutError: With `unique`, there are too many objects to be told of in one answer.
        """
        parts = list(self._answers(f"/backups/{_backup(name)}", Backup, {"unique": "true"} if unique else {}))
        lists = {field: tuple(item for part in parts for item in getattr(part, field)) for field in LISTS_OF_A_BACKUP}
        return parts[0].model_copy(update={**lists, "next_token": None})

    def diff_backups(self, a: str, b: str, *, objects: bool = True) -> BackupDiff:
        """Return what differs between two backups; without `objects`, their object lists are not compared.

        Raises:
            BackupNotFoundError: One of them is not there.
            BackupDamagedError: A document or an object list is missing, or is not what was written.
            AnswerTimeoutError: A collection has too much to be compared in one answer.
        """
        query = {} if objects else {"objects": "false"}
        parts = list(self._answers(f"/backups/{_backup(a)}/diff/{_backup(b)}", BackupDiff, query))
        return parts[-1].model_copy(update={"collections": tuple(one for part in parts for one in part.collections)})

    def get_backup_collection(self, name: str, collection: str) -> CollectionDetails:
        """Return what a backup holds of a collection, `<database>.<name>`.

        Raises:
            BackupNotFoundError: There is no such backup.
            CollectionNotFoundError: It does not hold the collection.
            BackupDamagedError: Its metadata is damaged.
            AnswerTimeoutError: There are too many objects to be counted in one answer.
        """
        return self._ask("GET", f"/backups/{_backup(name)}/collections/{_part(collection)}", CollectionDetails)

    def delete_backup(self, name: str, *, idempotency_key: str = "") -> Started:
        """Start to delete a backup.

        Raises BackupNotFoundError, BackupHeldError, BackupLockedError or BackupInUseError.
        """
        return self._start("DELETE", f"/backups/{_backup(name)}", None, idempotency_key)

    def verify_backup(self, name: str, options: VerifyOptions | None = None, *, idempotency_key: str = "") -> Started:
        """Start to check a backup: by default by a listing of its objects. Raises BackupNotFoundError."""
        return self._start("POST", f"/backups/{_backup(name)}/verify", options, idempotency_key)

    def repair_backup(self, name: str, *, idempotency_key: str = "") -> Started:
        """Start to mend a backup's marker or manifest, and to check it. Raises BackupNotFoundError."""
        return self._start("POST", f"/backups/{_backup(name)}/repair", None, idempotency_key)

    def place_hold(self, name: str, *, reason: str = "", until: datetime | None = None) -> HoldState:
        """Forbid to delete a backup, until the hold is lifted or its time has come.

        Raises BackupNotFoundError, and InvalidRequestError for a reason that is too long or a time without a zone.
        """
        try:
            hold = Hold(reason=reason, until=until)
        except ValidationError as err:
            msg = "; ".join(f"`{field}`: {text}" for field, text in wrong_fields(err))
            raise InvalidRequestError(msg) from err
        return self._ask("PUT", f"/backups/{_backup(name)}/hold", HoldState, body=hold)

    def lift_hold(self, name: str) -> None:
        """Allow again to delete a backup; nothing happens where it has no hold. Raises BackupNotFoundError."""
        self._delete(f"/backups/{_backup(name)}/hold")

    def restore(self, request: RestoreRequest, *, idempotency_key: str = "") -> Started:
        """Start a restore. Raises BackupNotFoundError, CollectionNotFoundError or CollectionExistsError."""
        return self._start("POST", "/restores", request, idempotency_key)

    def plan_restore(self, request: RestoreRequest) -> PlannedRestore:
        """Return what a restore would do. Nothing is started, claimed or written.

        Raises what the restore would be refused with, see `docs/errors.md`, and `AnswerTimeoutError` where finding out
        takes longer than an answer may.
        """
        return self._ask("POST", "/restores/plan", PlannedRestore, body=request, only_reads=True)

    def copy_backup(self, name: str, request: CopyRequest | None = None, *, idempotency_key: str = "") -> Started:
        """Start to copy a backup as it is to another place; without a request, to the stack's own for exports.

        Raises:
            BackupNotFoundError: It is not there.
            BackupDamagedError: Its metadata or contents are damaged.
            BackupNotExportableError: It is one of milvus-backup.
            InvalidRequestError: Nothing may go to that place.
        """
        return self._start("POST", f"/backups/{_backup(name)}/copies", request or CopyRequest(), idempotency_key)

    def export(self, request: ExportRequest, *, idempotency_key: str = "") -> Started:
        """Start to write a backup once more, as a full one in milvus-backup's layout, or its rows as Parquet.

        Raises:
            BackupNotFoundError: It is not there.
            BackupDamagedError: Its metadata is damaged.
            BackupFormatError: A newer release wrote it.
            BackupNotExportableError: It lacks collections, or milvus-backup wrote it; of rows: it has none.
            BackupExistsError: The new name is taken. Whether it is in another place, or by a dataset, the run tells.
            InvalidRequestError: The deployment does not export to that place.
        """
        return self._start("POST", "/exports", request, idempotency_key)

    def drill(self, request: DrillRequest, *, idempotency_key: str = "") -> Started:
        """Start to restore a backup into a scratch database and to compare it. Raises BackupNotFoundError."""
        return self._start("POST", "/drills", request, idempotency_key)

    def list_restores(self, *, page_size: int = MAX_PAGE) -> Iterator[RunSummary]:
        """Yield the restores, newest first."""
        return self._pages("/restores", Page[RunSummary], page_size, {})

    def get_restore(self, run_id: str) -> Run:
        """Return a restore: how far it is, or how it ended. Raises RunNotFoundError."""
        return self._ask("GET", f"/restores/{_part(run_id)}", Run)

    def list_runs(
        self, *, kind: RunKind | None = None, status: RunStatus | None = None, page_size: int = MAX_PAGE
    ) -> Iterator[RunSummary]:
        """Yield the runs, newest first."""
        return self._pages("/runs", Page[RunSummary], page_size, {"kind": kind or "", "status": status or ""})

    def run_pages(
        self, *, kind: RunKind | None = None, status: RunStatus | None = None, token: str = ""
    ) -> Iterator[Page[RunSummary]]:
        """Yield the pages of `list_runs` as they are needed: all, or those behind a page's `next_token`."""
        asked = {"limit": str(MAX_PAGE), "kind": kind or "", "status": status or "", "token": token}
        return self._answers("/runs", Page[RunSummary], {name: value for name, value in asked.items() if value})

    def get_run(self, run_id: str) -> Run:
        """Return a run: how far it is, or how it ended. Raises RunNotFoundError."""
        return self._ask("GET", f"/runs/{_part(run_id)}", Run)

    def list_run_collections(self, run_id: str, *, page_size: int = MAX_PAGE) -> Iterator[RunCollection]:
        """Yield all collections of a run. Raises RunNotFoundError."""
        return self._pages(f"/runs/{_part(run_id)}/collections", Page[RunCollection], page_size, {})

    def stop_run(self, run_id: str) -> None:
        """Stop a run. Raises RunNotFoundError or RunEndedError."""
        self._delete(f"/runs/{_part(run_id)}")

    def wait_for_run(
        self,
        run_id: str,
        *,
        timeout_seconds: float | None = None,
        on_progress: Callable[[Run], None] | None = None,
        poll_seconds: float | None = None,
    ) -> Run:
        """Return a run once it has ended, however it ended.

        Args:
            run_id: from `Started`.
            timeout_seconds: when to give up; default: never.
            on_progress: called with each answer, the last one too.
            poll_seconds: time between questions; default: one second, later up to five.

        Raises:
            WaitTimeoutError: it was still going on; it goes on.
            RunNotFoundError: there is no such run.
        """
        return wait_for_run(
            self.get_run, run_id, timeout_seconds=timeout_seconds, on_progress=on_progress, poll_seconds=poll_seconds
        )

    def prune(self, request: PruneRequest | None = None, *, idempotency_key: str = "") -> Started:
        """Start to delete what no policy keeps; with `dry_run`, only to say what that would be."""
        return self._start("POST", "/prune", request or PruneRequest(), idempotency_key)

    def list_schedules(self, *, page_size: int = MAX_PAGE) -> Iterator[Schedule]:
        """Yield the schedules, by name."""
        return self._pages("/schedules", Page[Schedule], page_size, {})

    def get_schedule(self, name: str) -> Schedule:
        """Return a schedule. Raises ScheduleNotFoundError."""
        return self._ask("GET", f"/schedules/{_part(name)}", Schedule)

    def put_schedule(self, name: str, spec: ScheduleSpec) -> Schedule:
        """Make a schedule, or replace the one of that name. Raises ScheduleManagedError."""
        return self._ask("PUT", f"/schedules/{_part(name)}", Schedule, body=spec)

    def delete_schedule(self, name: str) -> None:
        """Delete a schedule; its backups stay. Raises ScheduleNotFoundError or ScheduleManagedError."""
        self._delete(f"/schedules/{_part(name)}")

    def list_collections(
        self, *, database: str = "", sizes: bool = False, page_size: int = MAX_PAGE
    ) -> Iterator[CollectionInfo]:
        """Yield the collections that could be backed up, by name; with `sizes`, their objects are listed."""
        query = {"database": database, "sizes": "true" if sizes else ""}
        return self._pages("/collections", Page[CollectionInfo], page_size, query)

    def check(self) -> CheckReport:
        """Try everything that a backup and a restore need. Nothing is changed."""
        return self._ask("POST", "/check", CheckReport, only_reads=True)

    def estimate(self, request: BackupRequest | None = None) -> Estimate:
        """Return what a backup would take; of an incremental one also what a full one would. Nothing is copied."""
        body = EstimateRequest(backup=request or BackupRequest())
        return self._ask("POST", "/estimate", Estimate, body=body, only_reads=True)

    def stats(self, *, pool: bool = True, on_progress: Callable[[PoolListing], None] | None = None) -> Stats:
        """Return what the backup prefix holds; without `pool`, nothing of what is stored.

        Args:
            pool: whether the pool is listed, in as many requests as that takes.
            on_progress: called with how far the listing is after each of them but the last.

        Raises `AnswerTimeoutError` where there are too many backups to be read in one answer.
        """
        parts = []
        for part in self._answers("/stats", Stats, {} if pool else {"pool": "false"}):
            parts.append(part)
            if part.listing is not None and on_progress is not None:
                on_progress(part.listing)
        return parts[-1]

    def openapi(self) -> dict[str, Any]:
        """Return the API's description of itself, an OpenAPI document."""
        return self._ask("GET", "/openapi.json", dict[str, Any])

    def download(self, url: str) -> bytes:
        """Return what lies at a `report_url`. Raises ApiUnavailableError, also when its hour is over."""
        return self._transport.download(url)

    def _start(self, method: str, path: str, request: Model | None, idempotency_key: str) -> Started:
        return self._ask(method, path, Started, body=request, idempotency_key=idempotency_key or uuid.uuid4().hex)

    def _ask[Answer: Model | dict[str, Any]](
        self,
        method: str,
        path: str,
        answer: type[Answer],
        *,
        query: Mapping[str, str] | None = None,
        body: Model | None = None,
        idempotency_key: str = "",
        only_reads: bool = False,
    ) -> Answer:
        document: dict[str, Any] | None = None if body is None else body.model_dump(mode="json", exclude_unset=True)
        content = self._transport.request(
            method, path, query=query, body=document, idempotency_key=idempotency_key, only_reads=only_reads
        )
        try:
            # A newer API may tell more than this client knows.
            answered: Answer = TypeAdapter(answer).validate_json(content, extra="ignore")
        except ValidationError as err:
            raise self._something_else(path, ": ".join(next(wrong_fields(err)))) from err
        return answered

    def _delete(self, path: str) -> None:
        """Delete what the API deletes at once, of which it says nothing: who says something is not the API."""
        if self._transport.request("DELETE", path):
            raise self._something_else(path, "there was nothing to say")

    def _something_else(self, path: str, what: str) -> ApiUnavailableError:
        return ApiUnavailableError(
            f"{self.url}{path} does not answer as Milvus Vault's API does: {what}",
            hint="See that the address is the stack's output ApiUrl, and that the client is not too old for it.",
        )

    def _pages[Item: Model](
        self, path: str, page_type: type[Page[Item]], page_size: int, query: Mapping[str, str]
    ) -> Iterator[Item]:
        asked = {"limit": str(min(page_size, MAX_PAGE))} | {name: value for name, value in query.items() if value}
        for page in self._answers(path, page_type, asked):
            yield from page.items

    def _answers[Answer: Backup | BackupDiff | Stats | Page[Any]](
        self, path: str, answer: type[Answer], query: Mapping[str, str]
    ) -> Iterator[Answer]:
        """Yield what is answered in parts; the next one is asked for when it is needed."""
        token: str | None = ""
        while token is not None:
            found = self._ask("GET", path, answer, query={**query, "token": token} if token else query)
            yield found
            token = found.next_token


def _backup(name: str) -> str:
    """Return a backup's name as a part of a path. Raises InvalidRequestError for what no request can name."""
    if problem := backup_name_problem(name):
        raise InvalidRequestError(problem, hint="`GET /backups` lists those that are there.")
    return name


def _part(name: str) -> str:
    """Return a name as a part of a path. Raises InvalidRequestError for what would be another path."""
    if name in {"", ".", ".."} or "/" in name:
        msg = f"'{shown(name)}' is no name: it would be another path of the API"
        raise InvalidRequestError(msg, hint="Names and the IDs of runs have no slash.")
    return name
