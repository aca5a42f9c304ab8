"""An API in this process that speaks the routes of the real one, for tests of the client and the command line."""

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from milvus_vault.model.base import Model
from milvus_vault.model.requests import (
    BackupRequest,
    CopyRequest,
    DrillRequest,
    ExportRequest,
    PruneRequest,
    RestoreRequest,
)
from milvus_vault.model.resources import (
    BackedUpCollection,
    Backup,
    BackupDiff,
    BackupSummary,
    CheckItem,
    CheckReport,
    CollectionDetails,
    CollectionInfo,
    Estimate,
    EstimateRequest,
    Hold,
    HoldState,
    IncrementalEstimate,
    ModeStats,
    ObjectCount,
    PhaseProgress,
    PlannedCollection,
    PlannedRestore,
    PoolListing,
    Problem,
    Progress,
    Run,
    RunCollection,
    RunKind,
    RunSummary,
    Schedule,
    ScheduleSpec,
    ScheduleStats,
    Started,
    Stats,
    UnitCount,
)

BEGAN = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass
class Asked:
    """A request that has arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class Answer:
    """What is answered instead of what the route would."""

    status: int
    content: bytes = b""
    closes: bool = False
    """Break the connection without an answer."""
    headers: dict[str, str] = field(default_factory=dict)


def problem(error: str, detail: str, status: int = 409, hint: str = "") -> Answer:
    """Return an answer with a problem document."""
    document = Problem(type="about:blank", title=error, status=status, detail=detail, error=error, hint=hint)
    return Answer(status, document.model_dump_json().encode())


def backup(name: str, number: int = 0, **fields: Any) -> Backup:
    """Return a backup; with a higher number, an older one."""
    given = {
        "name": name,
        "status": "complete",
        "created_at": BEGAN - timedelta(hours=number),
        "finished_at": BEGAN - timedelta(hours=number) + timedelta(seconds=90),
        "size_bytes": 42_000_000,
        "object_count": 612,
        "collection_count": 1,
        "row_count": 50_000,
        "milvus_version": "2.3.5",
        "location": f"s3://backups/milvus-vault/{name}/",
        "source": "s3://milvus/files",
        "run": f"backup-{name}",
        "collections": [
            BackedUpCollection(
                database="default",
                name="articles",
                row_count=50_000,
                live_row_count=49_857,
                segment_count=6,
                object_count=612,
                size_bytes=42_000_000,
            )
        ],
    }
    return Backup.model_validate(given | fields)


def run(run_id: str, status: str = "succeeded", **fields: Any) -> Run:
    """Return a run as it is at one time."""
    is_running = status == "running"
    given = {
        "id": run_id,
        "kind": run_id.partition("-")[0],
        "status": status,
        "started_at": BEGAN,
        "ended_at": None if is_running else BEGAN + timedelta(seconds=12),
        "execution_arn": f"arn:aws:states:us-east-1:000000000000:execution:machine:{run_id}",
        "phase": "copying" if is_running else "",
        "request": {},
    }
    return Run.model_validate(given | fields)


def stages(run_id: str, **last: Any) -> list[Run]:
    """Return a run as it is at several times, until it has ended."""
    counts = (UnitCount(unit="byte", done=20_000_000, total=42_000_000), UnitCount(unit="object", done=300, total=612))
    copying = PhaseProgress(
        name="copying", counts=counts, per_second=4_000_000.0, eta_seconds=5.5, eta_from="this run"
    )  # fmt: skip
    halfway = Progress(
        phases=(copying,), collections_running=1,
        collections_done=1, collections_total=2, objects_done=300, objects_total=612, bytes_done=20_000_000,
        bytes_total=42_000_000, bytes_per_second=4_000_000.0, eta_seconds=5.5,
    )  # fmt: skip
    whole = halfway.model_copy(
        update={
            "phases": (),
            "collections_done": 2,
            "collections_running": 0,
            "objects_done": 612,
            "bytes_done": 42_000_000,
            "eta_seconds": None,
        }
    )
    copied = RunCollection(database="default", name="articles", status="running", objects_done=300, objects_total=612)
    return [
        run(run_id, "running", phase="preparing"),
        run(run_id, "running", phase="copying", progress=halfway, collections=[copied]),
        run(run_id, **({"progress": whole} | last)),
    ]


@dataclass
class FakeApi:
    """The API. `answers` come before everything else, each once; `runs` go on by a stage each time they are asked."""

    backups: dict[str, Backup] = field(default_factory=dict)
    runs: dict[str, list[Run]] = field(default_factory=dict)
    schedules: dict[str, Schedule] = field(default_factory=dict)
    details: dict[str, CollectionDetails] = field(default_factory=dict)
    """Of collections of any backup, by their full names."""
    diffs: list[BackupDiff] = field(default_factory=list)
    """Of any two backups."""
    collections: list[CollectionInfo] = field(default_factory=list)
    checks: list[CheckItem] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    starts: dict[str, Started] = field(default_factory=dict)
    listings: list[PoolListing] = field(default_factory=list)
    """How far the pool is listed by answers that are not the last, each once."""
    document: dict[str, Any] = field(default_factory=dict)
    """How it describes itself."""
    copied_objects: int = 12
    """What the estimate of an incremental backup says that it would copy, of 612."""
    plan: dict[str, Any] = field(default_factory=dict)
    """What the plans of restores say, where it is something else than `planned` says."""
    outcomes: dict[str, dict[str, Any]] = field(default_factory=dict)
    """How runs end, by their kind."""

    def __enter__(self) -> Self:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                raw = self.rfile.read(length)
                parts = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                asked = Asked(
                    self.command, parts.path, query, dict(self.headers.items()), json.loads(raw) if raw else None
                )
                answer = api._answer(asked)
                if answer.closes:
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                self.send_header("Content-Length", str(len(answer.content)))
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.content)

            do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - names of the base class

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/live"

    def _answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        if self.answers:
            return self.answers.pop(0)
        for method, pattern, handle in _ROUTES:
            found = re.fullmatch(f"/live{pattern}", asked.path)
            if method == asked.method and found:
                answer = handle(self, asked, *map(unquote, found.groups()))
                if isinstance(answer, Answer):
                    return answer
                return Answer(200, b"" if answer is None else answer.model_dump_json().encode())
        return problem("RouteNotFoundError", f"there is no {asked.method} {asked.path}", 404)

    def _start(self, asked: Asked, kind: RunKind, backup_name: str | None = None) -> Started:
        key = asked.headers.get("Idempotency-Key", "")
        assert key
        if key not in self.starts:
            run_id = f"{kind}-{len(self.starts) + 1}"
            self.starts[key] = Started(id=run_id, kind=kind, execution_arn="arn:aws:states:x", backup_name=backup_name)
            named = {} if backup_name is None else {"backup_name": backup_name}
            self.runs[run_id] = stages(run_id, **(named | self.outcomes.get(kind, {})))
        return self.starts[key]


def _page(asked: Asked, items: list[Any], summary: type[Model] | None = None) -> Answer:
    """Return a page of a list, with no more of each item than its summary has."""
    begin, limit = int(asked.query.get("token", "0")), int(asked.query.get("limit", "20"))
    assert 1 <= limit <= 100
    rest = begin + limit < len(items)
    fields = None if summary is None else set(summary.model_fields)
    shown = [item.model_dump(mode="json", include=fields) for item in items[begin : begin + limit]]
    return Answer(200, json.dumps({"items": shown, "next_token": str(begin + limit) if rest else None}).encode())


def _list_backups(api: FakeApi, asked: Asked) -> Answer:
    schedule = asked.query.get("schedule")
    kept = [item for item in api.backups.values() if schedule in {None, item.schedule}]
    return _page(asked, kept, BackupSummary)


def _get_backup(api: FakeApi, _: Asked, name: str) -> Backup | Answer:
    return api.backups.get(name) or _no_backup(name)


def _get_collection(api: FakeApi, _: Asked, name: str, collection: str) -> CollectionDetails | Answer:
    missing = problem("CollectionNotFoundError", f"backup '{name}' does not hold collection {collection}", 404)
    return api.details.get(collection) or missing


def _diff(api: FakeApi, _: Asked, name: str, other: str) -> BackupDiff | Answer:
    return api.diffs[0] if {name, other} <= api.backups.keys() else _no_backup(other)


def _no_backup(name: str) -> Answer:
    return problem("BackupNotFoundError", f"there is no backup '{name}'", 404, "List them.")


def _delete_backup(api: FakeApi, asked: Asked, name: str) -> Started | Answer:
    if name not in api.backups:
        return _no_backup(name)
    if api.backups[name].is_held:
        return problem("BackupHeldError", f"backup '{name}' has a hold", 409, "Lift it.")
    return api._start(asked, "prune", name)


def _verify(api: FakeApi, asked: Asked, name: str) -> Started | Answer:
    return api._start(asked, "verify", name) if name in api.backups else _no_backup(name)


def _create(api: FakeApi, asked: Asked) -> Started:
    request = BackupRequest.model_validate(asked.body)
    return api._start(asked, "backup", request.backup_name or "backup_20260301")


def _restore(api: FakeApi, asked: Asked) -> Started | Answer:
    request = RestoreRequest.model_validate(asked.body)
    if request.backup_name not in api.backups:
        return _no_backup(request.backup_name)
    return api._start(asked, "restore", request.backup_name)


def _export(api: FakeApi, asked: Asked) -> Started | Answer:
    request = ExportRequest.model_validate(asked.body)
    if request.backup_name not in api.backups:
        return _no_backup(request.backup_name)
    if request.format != "parquet" and request.to is None and request.export_name in api.backups:
        return problem("BackupExistsError", f"backup '{request.export_name}' exists already", 409)
    return api._start(asked, "export", request.backup_name)


def _copy(api: FakeApi, asked: Asked, name: str) -> Started | Answer:
    CopyRequest.model_validate(asked.body)
    return api._start(asked, "export", name) if name in api.backups else _no_backup(name)


def _drill(api: FakeApi, asked: Asked) -> Started | Answer:
    request = DrillRequest.model_validate(asked.body)
    if request.backup_name is not None and request.backup_name not in api.backups:
        return _no_backup(request.backup_name)
    return api._start(asked, "drill", request.backup_name)


def _place_hold(api: FakeApi, asked: Asked, name: str) -> HoldState | Answer:
    if name not in api.backups:
        return _no_backup(name)
    until = Hold.model_validate(asked.body).until
    if until is not None and until <= datetime.now(UTC):
        return problem("InvalidRequestError", f"a hold of backup '{name}' until {until} has ended", 400)
    state = HoldState(**Hold.model_validate(asked.body).model_dump(), since=BEGAN, by="arn:aws:iam::0:user/me")
    api.backups[name] = api.backups[name].model_copy(update={"hold": state, "is_held": True})
    return state


def _lift_hold(api: FakeApi, _: Asked, name: str) -> Answer:
    api.backups[name] = api.backups[name].model_copy(update={"hold": None, "is_held": False})
    return Answer(204)


def _list_runs(api: FakeApi, asked: Asked) -> Answer:
    kept = [
        stage
        for stage in (stages[0] for stages in reversed(api.runs.values()))
        if asked.query.get("kind") in {None, stage.kind} and asked.query.get("status") in {None, stage.status}
    ]
    return _page(asked, kept, RunSummary)


def _get_run(api: FakeApi, _: Asked, run_id: str) -> Run | Answer:
    if run_id not in api.runs:
        return problem("RunNotFoundError", f"there is no run '{run_id}'", 404)
    stages = api.runs[run_id]
    return stages.pop(0) if len(stages) > 1 else stages[0]


def _run_collections(api: FakeApi, asked: Asked, run_id: str) -> Answer:
    return _page(asked, list(api.runs[run_id][-1].collections))


def _stop_run(api: FakeApi, _: Asked, run_id: str) -> Answer:
    if run_id not in api.runs:
        return problem("RunNotFoundError", f"there is no run '{run_id}'", 404)
    if api.runs[run_id][0].status != "running":
        return problem("RunEndedError", f"run {run_id} has ended")
    api.runs[run_id] = [run(run_id, "stopped", error="RunStoppedError", message="somebody stopped it")]
    return Answer(204)


def _prune(api: FakeApi, asked: Asked) -> Started:
    PruneRequest.model_validate(asked.body)
    return api._start(asked, "prune")


def _put_schedule(api: FakeApi, asked: Asked, name: str) -> Schedule:
    spec = ScheduleSpec.model_validate(asked.body)
    api.schedules[name] = Schedule(
        **dict(spec), name=name, kind="drill" if spec.drill else "backup", next_run_at=BEGAN + timedelta(days=1)
    )
    return api.schedules[name]


def _get_schedule(api: FakeApi, _: Asked, name: str) -> Schedule | Answer:
    return api.schedules.get(name) or problem("ScheduleNotFoundError", f"there is no schedule '{name}'", 404)


def _delete_schedule(api: FakeApi, asked: Asked, name: str) -> Answer:
    found = _get_schedule(api, asked, name)
    if isinstance(found, Answer):
        return found
    del api.schedules[name]
    return Answer(204)


def _check(api: FakeApi, _: Asked) -> CheckReport:
    is_ok = all(item.verdict != "failed" for item in api.checks)
    return CheckReport(is_ok=is_ok, milvus_version="2.3.5", checks=tuple(api.checks))


def planned(name: str, **fields: Any) -> PlannedRestore:
    """Return what a restore of a backup would do."""
    collection = PlannedCollection(
        source="default.articles", target="default.articles_restored", partition_count=1, row_count=50_000,
        live_row_count=49_857, object_count=612, size_bytes=42_000_000, import_jobs=6, index_count=1, is_loaded=True,
        aliases=("current",),
    )  # fmt: skip
    given = {
        "backup_name": name, "backup_version": "2.3.5", "server_version": "2.5.27", "new_databases": ["shop"],
        "collection_count": 1, "partition_count": 1, "row_count": 50_000, "object_count": 612,
        "size_bytes": 42_000_000, "import_jobs": 6, "copy_requests": 612, "list_requests": 5, "get_requests": 5,
        "request_cost_usd": 0.0031, "expected_seconds": 27.5,
        "expected_by": "restore-9d1c7a52 of 2026-02-28 12:00 UTC, which imported 48,000 rows in 26 s",
        "warnings": ["default.articles may lack rows, or have halves of upserts"],
        "left_to_run": ["Logs of 1 collection are read before anything is imported."],
        "collections": [collection],
    }  # fmt: skip
    return PlannedRestore.model_validate(given | fields)


def _plan_restore(api: FakeApi, asked: Asked) -> PlannedRestore | Answer:
    request = RestoreRequest.model_validate_json(json.dumps(asked.body))
    if request.backup_name not in api.backups:
        return _no_backup(request.backup_name)
    return planned(request.backup_name, **api.plan)


def _estimate(api: FakeApi, asked: Asked) -> Estimate:
    request = EstimateRequest.model_validate(asked.body)
    incremental = IncrementalEstimate(
        copied_object_count=api.copied_objects, copied_size_bytes=800_000, copy_requests=12,
        list_requests=9, get_requests=38,
        request_cost_usd=0.0001, storage_cost_usd_per_month=0.0, expected_seconds=2.3,
    )  # fmt: skip
    return Estimate(
        collection_count=2, object_count=612, size_bytes=42_000_000, row_count=50_000, copy_requests=612,
        list_requests=4, request_cost_usd=0.0031, storage_cost_usd_per_month=0.001, expected_seconds=9.0,
        largest=tuple(api.collections), incremental=incremental if request.backup.mode == "incremental" else None,
    )  # fmt: skip


def _stats(api: FakeApi, asked: Asked) -> Stats:
    listing = api.listings.pop(0) if api.listings else None
    is_listed = asked.query.get("pool") != "false" and listing is None
    pool = ObjectCount(object_count=700, size_bytes=50_000_000) if is_listed else None
    count, size_bytes = len(api.backups), sum(item.size_bytes for item in api.backups.values())
    objects = sum(item.object_count for item in api.backups.values())
    cost = None if pool is None else 0.0011
    return Stats(
        backup_count=count, damaged_count=0, object_count=objects, size_bytes=size_bytes, pool=pool, stored=pool,
        modes=(ModeStats(mode="incremental", backup_count=count, object_count=objects, size_bytes=size_bytes),),
        ratio=size_bytes / pool.size_bytes if pool else None, storage_cost_usd_per_month=cost,
        schedules=tuple(
            ScheduleStats(
                schedule=name, backup_count=count, object_count=objects, size_bytes=size_bytes,
                stored_bytes=pool.size_bytes if pool else None, storage_cost_usd_per_month=cost,
            )
            for name in ("nightly", None)
        ),
        listing=listing, next_token=None if listing is None else f"behind {listing.object_count}",
    )  # fmt: skip


def _list_collections(api: FakeApi, asked: Asked) -> Answer:
    return _page(asked, api.collections)


def _list_schedules(api: FakeApi, asked: Asked) -> Answer:
    return _page(asked, list(api.schedules.values()))


def _report(_: FakeApi, __: Asked) -> Answer:
    return Answer(200, b"<html>report</html>")


def _openapi(api: FakeApi, _: Asked) -> Answer:
    return Answer(200, json.dumps(api.document).encode())


_Handler = Callable[..., Model | Answer | None]
_ROUTES: list[tuple[str, str, _Handler]] = [
    ("POST", "/backups", _create),
    ("GET", "/backups", _list_backups),
    ("GET", r"/backups/([^/]+)", _get_backup),
    ("GET", r"/backups/([^/]+)/collections/([^/]+)", _get_collection),
    ("GET", r"/backups/([^/]+)/diff/([^/]+)", _diff),
    ("DELETE", r"/backups/([^/]+)", _delete_backup),
    ("POST", r"/backups/([^/]+)/(?:verify|repair)", _verify),
    ("POST", r"/backups/([^/]+)/copies", _copy),
    ("PUT", r"/backups/([^/]+)/hold", _place_hold),
    ("DELETE", r"/backups/([^/]+)/hold", _lift_hold),
    ("POST", "/restores", _restore),
    ("POST", "/exports", _export),
    ("POST", "/drills", _drill),
    ("GET", "/runs", _list_runs),
    ("GET", r"/runs/([\w-]+)", _get_run),
    ("GET", r"/runs/([\w-]+)/collections", _run_collections),
    ("DELETE", r"/runs/([\w-]+)", _stop_run),
    ("POST", "/prune", _prune),
    ("GET", "/schedules", _list_schedules),
    ("GET", r"/schedules/([\w-]+)", _get_schedule),
    ("PUT", r"/schedules/([\w-]+)", _put_schedule),
    ("DELETE", r"/schedules/([\w-]+)", _delete_schedule),
    ("GET", "/collections", _list_collections),
    ("POST", "/check", _check),
    ("POST", "/estimate", _estimate),
    ("POST", "/restores/plan", _plan_restore),
    ("GET", "/stats", _stats),
    ("GET", "/report.html", _report),
    ("GET", "/openapi.json", _openapi),
]
