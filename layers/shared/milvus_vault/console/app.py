"""The console's pages. Each asks the API for what it shows, with the credentials of the person, and keeps nothing."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from http import HTTPStatus
from itertools import chain, islice
from typing import Self
from urllib.parse import parse_qsl, quote, urlencode

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from milvus_vault import __version__
from milvus_vault.client import VaultClient
from milvus_vault.client.local_state import running_stack
from milvus_vault.console.forms import Form, Refusal, refusal_of, wrong_request
from milvus_vault.console.schedules import SchedulePages
from milvus_vault.console.showing import FOLDER, Clock, environment, to, to_run
from milvus_vault.errors import (
    AnswerTimeoutError,
    ApiUnavailableError,
    BackupNotFoundError,
    CollectionNotFoundError,
    InvalidRequestError,
    RouteNotFoundError,
    RunNotFoundError,
    ScheduleNotFoundError,
    VaultError,
)
from milvus_vault.model.base import Model
from milvus_vault.model.names import is_of_acceptance
from milvus_vault.model.requests import (
    BackupRequest,
    CopyRequest,
    DrillRequest,
    ExportRequest,
    PruneRequest,
    RestoreRequest,
    VerifyOptions,
)
from milvus_vault.model.resources import BackupSummary, CollectionDiff, Page, RunKind, RunStatus
from milvus_vault.reports import COLOURS, openapi
from milvus_vault.reports.charts import COLUMN_HEIGHT, history_chart

_PAGE = 50
"""Rows that fill a page of a list; one that filters shows what else is in the API's last page of a hundred."""
_SHOWN_COLLECTIONS = 100
_SHOWN_DECISIONS = 500
_SHOWN_RUNS = 5
"""Of those that run, and of those that failed."""
_FAILED_RUNS = 20
"""Looked at for those: one acceptance has some ten that fail."""
_RECENT = 100
"""Backups that one is compared with, as many as the API's page has at most."""
_NEWEST = 30
"""Backups of the chart."""
_LOOKED_THROUGH = 500
"""Backups, of which the newest complete one is looked for."""

_NOT_THERE = (BackupNotFoundError, CollectionNotFoundError, RunNotFoundError, ScheduleNotFoundError)

_UNPLANNED = (AnswerTimeoutError.__name__, RouteNotFoundError.__name__)
"""Why a restore may have no plan that can be restored all the same: it is too large for one, or the stack too old."""

_RESTORE_FIELDS = ("collections", "suffix", "drop_existing", "allow_version")

type Handler = Callable[[Request, Form], Response]


class _RunFilter(Model):
    """What of all runs is listed."""

    kind: RunKind | None = None
    status: RunStatus | None = None


@dataclass(frozen=True, slots=True)
class _Paging:
    """Which part is shown of a list that is sorted here, and where the others are."""

    count: int
    begin: int
    end: int
    before: str | None
    after: str | None

    @classmethod
    def of(cls, request: Request, count: int, path: str) -> Self:
        """Return what a request asks for by `from`, the number of those before; the others are at a path."""
        asked = request.query_params.get("from", "")
        begin = min(int(asked), max(count - 1, 0)) if asked.isascii() and asked.isdigit() else 0
        end = min(begin + _SHOWN_COLLECTIONS, count)

        def at(first: int) -> str:
            return f"{path}?{urlencode({**request.query_params, 'from': first})}"

        before = at(max(begin - _SHOWN_COLLECTIONS, 0)) if begin else None
        return cls(count, begin, end, before, at(end) if end < count else None)


def make_app(vault: VaultClient, now: Clock = lambda: datetime.now(UTC)) -> Starlette:
    """Return the application. Whoever serves it puts a `Guard` before it."""
    pages = _Pages(vault, now)
    routes = [
        Route("/", pages.handler(pages.overview)),
        Route("/backups", pages.handler(pages.backups)),
        Route("/backups", pages.handler(pages.create), methods=["POST"]),
        Route("/backups/{name}", pages.handler(pages.backup)),
        Route("/backups/{name}/collections/{collection}", pages.handler(pages.collection)),
        Route("/backups/{name}/restore", pages.handler(pages.restore_form)),
        Route("/backups/{name}/restore", pages.handler(pages.restore), methods=["POST"]),
        Route("/backups/{name}/restore/plan", pages.handler(pages.plan_restore), methods=["POST"]),
        Route("/backups/{name}/verify", pages.handler(pages.or_backup(pages.verify)), methods=["POST"]),
        Route("/backups/{name}/hold", pages.handler(pages.or_backup(pages.hold)), methods=["POST"]),
        Route("/backups/{name}/drill", pages.handler(pages.or_backup(pages.drill)), methods=["POST"]),
        Route("/backups/{name}/export", pages.handler(pages.or_backup(pages.export)), methods=["POST"]),
        Route("/backups/{name}/copy", pages.handler(pages.or_backup(pages.copy)), methods=["POST"]),
        Route("/backups/{name}/delete", pages.handler(pages.or_backup(pages.delete)), methods=["POST"]),
        Route("/diff", pages.handler(pages.diff)),
        Route("/runs", pages.handler(pages.runs)),
        Route("/runs/{run}", pages.handler(pages.run)),
        Route("/runs/{run}/stop", pages.handler(pages.stop), methods=["POST"]),
        Route("/schedules", pages.handler(pages.schedules.all)),
        Route("/schedules", pages.handler(pages.schedules.create), methods=["POST"]),
        Route("/new-schedule", pages.handler(pages.schedules.new)),
        Route("/schedules/{name}", pages.handler(pages.schedules.one)),
        Route("/schedules/{name}", pages.handler(pages.schedules.change), methods=["POST"]),
        Route("/schedules/{name}/switch", pages.handler(pages.schedules.switch), methods=["POST"]),
        Route("/schedules/{name}/delete", pages.handler(pages.schedules.delete), methods=["POST"]),
        Route("/prune", pages.handler(pages.prune)),
        Route("/prune", pages.handler(pages.start_prune), methods=["POST"]),
        Route("/check", pages.handler(pages.check)),
        Route("/api", pages.handler(pages.api)),
        Route("/static/colours.css", lambda _: FileResponse(COLOURS)),
        Route("/static/openapi.css", lambda _: FileResponse(openapi.STYLE)),
        Mount("/static", StaticFiles(directory=FOLDER / "static")),
    ]
    return Starlette(routes=routes, exception_handlers={HTTPStatus.NOT_FOUND: pages.nowhere})


class _Pages:
    """What is answered to each request."""

    def __init__(self, vault: VaultClient, now: Clock) -> None:
        self._vault, self._now = vault, now
        # Which has another address each time it is started.
        self._is_local = (stack := running_stack()) is not None and stack.api_url == vault.url
        self.schedules = SchedulePages(vault, now, self._show, self._refused)

    def handler(self, page: Handler) -> Callable[[Request], Awaitable[Response]]:
        """Return what answers a request by a page, or says by name what went wrong."""

        async def answer(request: Request) -> Response:
            body = (await request.body()).decode(errors="replace") if request.method == "POST" else ""
            form = Form((name, value.strip()) for name, value in parse_qsl(body, keep_blank_values=True))
            return await run_in_threadpool(self._answer, page, request, form)

        return answer

    async def nowhere(self, _: Request, __: Exception) -> Response:
        """Answer where no page is."""
        hint = "The pages are named above."
        return self._show(
            "problem", HTTPStatus.NOT_FOUND, error="Nothing is here", message="No page is here.", hint=hint
        )

    def _answer(self, page: Handler, request: Request, form: Form) -> Response:
        try:
            return page(request, form)
        except ValidationError as err:
            return self._problem(request, wrong_request(err))
        except VaultError as err:
            return self._problem(request, err)

    def _told(self, err: VaultError) -> VaultError:
        """Return an error; of a local stack that is gone or elsewhere, what became of it."""
        if not self._is_local or not isinstance(err, ApiUnavailableError):
            return err
        stack = running_stack()
        if stack is None:
            msg, hint = (
                "no local stack runs",
                "Start it with 'milvus-vault local up', then 'milvus-vault console' again.",
            )
        elif stack.api_url != self._vault.url:
            msg, hint = "the local stack has another address now", "Start 'milvus-vault console' again."
        else:
            return err
        return ApiUnavailableError(f"{msg}: {err.message}", hint=hint)

    def _refused(self, err: VaultError) -> Refusal:
        """Return why a form is shown once more."""
        return refusal_of(self._told(err))

    def _problem(self, request: Request, err: VaultError) -> Response:
        err = self._told(err)
        template = "problem_part" if request.query_params.get("part") else "problem"
        return self._show(template, _code_of(err), error=type(err).__name__, message=err.message, hint=err.hint)

    def _show(self, template: str, code: HTTPStatus = HTTPStatus.OK, /, **values: object) -> Response:
        given = {"now": self._now(), "api_url": self._vault.url, "version": __version__}
        text = environment().get_template(f"{template}.html.j2").render(given | values)
        return HTMLResponse(text, code)

    def overview(self, request: Request, _: Form) -> Response:
        """Show whether all is well: the last good backup of each schedule, what runs, and what failed."""
        running = [self._vault.get_run(run.id) for run in islice(self._vault.list_runs(status="running"), _SHOWN_RUNS)]
        if request.query_params.get("part"):
            return self._show("running", running=running)
        listed = self._vault.list_backups()
        newest = list(islice(listed, _RECENT))
        # A damaged one says nothing of its size.
        sized = [one for one in newest[:_NEWEST] if one.status != "damaged"]
        history = history_chart((one.name, one.created_at, one.size_bytes, _copied(one)) for one in sized)
        every = islice(chain(newest, listed), _LOOKED_THROUGH)
        last = next((one for one in every if one.status == "complete"), None)
        # An acceptance lets some of its own fail, to see that they do.
        failed = islice(self._vault.list_runs(status="failed", page_size=_FAILED_RUNS), _FAILED_RUNS)
        return self._show(
            "overview",
            schedules=list(self._vault.list_schedules()),
            last=last,
            older=_before(last, newest) if last else None,
            history=history,
            height=COLUMN_HEIGHT,
            running=running,
            form=Form(),
            refusal=Refusal(),
            failed=list(islice((run for run in failed if not is_of_acceptance(run.backup_name)), _SHOWN_RUNS)),
        )

    def backups(self, request: Request, _: Form) -> Response:
        """Show backups, newest first, a page at a time: all, or those that a search finds."""
        asked = {name: request.query_params.get(name, "").strip() for name in ("q", "status", "schedule")}

        def fits(one: BackupSummary) -> bool:
            return asked["q"].lower() in one.name.lower() and asked["status"] in {"", one.status}

        pages = self._vault.backup_pages(schedule=asked["schedule"], token=request.query_params.get("token", ""))
        rows, token = _enough(pages, fits)
        return self._show("backups", rows=rows, more=_following(asked, token), **asked)

    def create(self, _: Request, form: Form) -> Response:
        """Start a backup, or show the form again with what it had and why not."""
        try:
            return self._create(form)
        except ValidationError as err:
            refusal = self._refused(wrong_request(err))
        except VaultError as err:
            refusal = self._refused(err)
        return self._show("create", HTTPStatus.CONFLICT, form=form, refusal=refusal)

    def _create(self, form: Form) -> Response:
        given: dict[str, object] = {"mode": form["mode"] or "full"}
        given |= {"backup_name": form["name"]} if form["name"] else {}
        given |= {"collections": form.words("collections")} if form["collections"] else {}
        return to_run(self._vault.create_backup(BackupRequest.model_validate(given)).id)

    def backup(self, request: Request, _: Form) -> Response:
        """Show one backup."""
        return self._backup(request, Form(), Refusal())

    def or_backup(self, action: Handler) -> Handler:
        """Return what does something with a backup, or shows that again with what the form had and why not."""

        def act(request: Request, form: Form) -> Response:
            try:
                return action(request, form)
            except ValidationError as err:
                refusal = self._refused(wrong_request(err))
            except BackupNotFoundError:
                raise
            except VaultError as err:
                refusal = self._refused(err)
            return self._backup(request, form, refusal)

        return act

    def _backup(self, request: Request, form: Form, refusal: Refusal) -> Response:
        found = self._vault.get_backup(request.path_params["name"])
        query = request.query_params.get("q", "").strip()
        named = [one for one in found.collections if query.lower() in f"{one.database}.{one.name}".lower()]
        paging = _Paging.of(request, len(named), f"/backups/{quote(found.name, safe='')}")
        shown = sorted(named, key=lambda one: one.size_bytes, reverse=True)[paging.begin : paging.end]
        listed = self._vault.list_backups(schedule=found.schedule or "", page_size=_RECENT)
        older = _before(found, islice(listed, _RECENT))
        code = HTTPStatus.CONFLICT if refusal.message else HTTPStatus.OK
        action = request.url.path.rpartition("/")[2] if refusal.message else ""
        return self._show(
            "backup",
            code,
            backup=found,
            shown=shown,
            paging=paging,
            q=query,
            older=older,
            form=form,
            refusal=refusal,
            action=action,
        )

    def diff(self, request: Request, _: Form) -> Response:
        """Show what has changed from one backup to another, what has grown most first; ask for what is missing."""
        a, b, query = (request.query_params.get(name, "").strip() for name in ("a", "b", "q"))
        if not (a and b):
            return self._choose(a, b, HTTPStatus.OK, Refusal())
        try:
            diff = self._vault.diff_backups(a, b, objects=False)
        except VaultError as err:
            return self._choose(a, b, _code_of(err), self._refused(err))
        named = [one for one in diff.collections if query.lower() in _name_of(one).lower()]
        paging = _Paging.of(request, len(named), "/diff")
        # What is new has not grown: a copy under another name would hide what has.
        shown = sorted(named, key=lambda one: (one.a is None, -_grown_bytes(one)))[paging.begin : paging.end]
        rows = [(_name_of(one), one, _grown_rows(one), _grown_bytes(one)) for one in shown]
        return self._show("diff", diff=diff, rows=rows, paging=paging, q=query, a=a, b=b, recent=self._recent())

    def _choose(self, a: str, b: str, code: HTTPStatus, refusal: Refusal) -> Response:
        """Ask for two backups to compare."""
        return self._show("compare", code, a=a, b=b, recent=self._recent(), refusal=refusal)

    def _recent(self) -> list[str]:
        """Return names that are offered where two backups are chosen."""
        listed = islice(self._vault.list_backups(page_size=_RECENT), _RECENT)
        return [one.name for one in listed if one.status != "damaged"]

    def collection(self, request: Request, _: Form) -> Response:
        """Show what a backup holds of a collection."""
        name, collection = (request.path_params[part] for part in ("name", "collection"))
        return self._show("collection", backup=name, found=self._vault.get_backup_collection(name, collection))

    def restore_form(self, request: Request, _: Form) -> Response:
        """Ask how a backup is to be restored."""
        asked = Form(request.query_params)
        backup = self._vault.get_backup(request.path_params["name"])
        return self._show("restore", backup=backup, form=asked, refusal=Refusal(), unplanned=_UNPLANNED)

    def plan_restore(self, request: Request, form: Form) -> Response:
        """Show what a restore would do, with the button that starts it; or why not, above the form."""
        name = request.path_params["name"]
        try:
            plan = self._vault.plan_restore(_restore_request(name, form))
        except VaultError as err:
            shown = self._vault.get_backup(name)
            return self._show(
                "restore",
                HTTPStatus.CONFLICT,
                backup=shown,
                form=form,
                refusal=self._refused(err),
                unplanned=_UNPLANNED,
            )
        back = urlencode({field: form[field] for field in _RESTORE_FIELDS if form[field]})
        return self._show(
            "restore_plan", name=name, plan=plan, form=form, fields=_RESTORE_FIELDS, back=back, shown=_SHOWN_COLLECTIONS
        )

    def restore(self, request: Request, form: Form) -> Response:
        """Start a restore."""
        return to_run(self._vault.restore(_restore_request(request.path_params["name"], form)).id)

    def verify(self, request: Request, form: Form) -> Response:
        """Start a verification."""
        options = VerifyOptions.model_validate({"level": form["level"] or "quick"})
        return to_run(self._vault.verify_backup(request.path_params["name"], options).id)

    def drill(self, request: Request, form: Form) -> Response:
        """Start a drill."""
        given: dict[str, object] = {"backup_name": request.path_params["name"], **form.given("max_bytes", "row_count")}
        given |= {"collections": form.words("collections")} if form["collections"] else {}
        given |= {"allow_version": True} if form["allow_version"] else {}
        return to_run(self._vault.drill(DrillRequest.model_validate(given)).id)

    def export(self, request: Request, form: Form) -> Response:
        """Start to write a backup once more, for milvus-backup or as a dataset."""
        given: dict[str, object] = {"backup_name": request.path_params["name"], "export_name": form["export_name"]}
        given |= form.given("format")
        given |= {"collections": form.words("collections")} if form["collections"] else {}
        return to_run(self._vault.export(ExportRequest.model_validate(given)).id)

    def copy(self, request: Request, form: Form) -> Response:
        """Start to copy a backup as it is to another place."""
        place = form.given("bucket", "prefix")
        wanted = CopyRequest.model_validate({"to": place} if place else {})
        return to_run(self._vault.copy_backup(request.path_params["name"], wanted).id)

    def prune(self, request: Request, _: Form) -> Response:
        """Show what a dry run has found, once it has ended, with the button that deletes it; before, how to get one."""
        asked = request.query_params.get("run", "")
        run = self._vault.get_run(asked) if asked else None
        if run is not None and not (run.kind == "prune" and run.request.get("dry_run")):
            return to_run(run.id)
        decided = (run.result or {}).get("decisions", []) if run else []
        return self._show(
            "prune_part" if run and request.query_params.get("part") else "prune",
            run=run,
            doomed=[one for one in decided if not one["keep"]],
            shown=sorted(decided, key=lambda one: one["keep"])[:_SHOWN_DECISIONS],
        )

    def start_prune(self, _: Request, form: Form) -> Response:
        """Start a dry run, or delete what no policy keeps."""
        if form["do"] == "delete":
            return to_run(self._vault.prune().id)
        return to(f"/prune?run={quote(self._vault.prune(PruneRequest(dry_run=True)).id, safe='')}")

    def hold(self, request: Request, form: Form) -> Response:
        """Place a hold, or lift it."""
        name = request.path_params["name"]
        if form["lift"]:
            self._vault.lift_hold(name)
        else:
            self._vault.place_hold(name, reason=form["reason"], until=_day(form["until"]))
        return to(f"/backups/{quote(name, safe='')}")

    def delete(self, request: Request, form: Form) -> Response:
        """Start to delete a backup, whose name was typed."""
        name = request.path_params["name"]
        if form["typed"] != name:
            msg = f"'{form['typed']}' is not the name of the backup: nothing is deleted"
            raise InvalidRequestError(msg, hint=f"Type '{name}' to delete it.")
        return to_run(self._vault.delete_backup(name).id)

    def runs(self, request: Request, _: Form) -> Response:
        """Show runs, newest first, a page at a time."""
        asked = {name: request.query_params.get(name, "") for name in ("kind", "status")}

        filters = _RunFilter.model_validate({name: value or None for name, value in asked.items()})
        pages = self._vault.run_pages(**dict(filters), token=request.query_params.get("token", ""))
        rows, token = _enough(pages, lambda _: True)
        return self._show("runs", rows=rows, more=_following(asked, token), **asked)

    def run(self, request: Request, _: Form) -> Response:
        """Show one run; while it runs, the page asks for its part anew."""
        found = self._vault.get_run(request.path_params["run"])
        template = "run_part" if request.query_params.get("part") else "run"
        return self._show(template, run=found)

    def stop(self, request: Request, _: Form) -> Response:
        """Stop a run."""
        self._vault.stop_run(request.path_params["run"])
        return to_run(request.path_params["run"])

    def api(self, _: Request, __: Form) -> Response:
        """Show the API's description of itself, which it gives to requests that are signed alone."""
        return self._show("api", api=openapi.described(self._vault.openapi()))

    def check(self, request: Request, _: Form) -> Response:
        """Show what `check` finds; it takes some seconds, so that the page asks for it by itself."""
        if request.query_params.get("part"):
            return self._show("check_part", report=self._vault.check())
        return self._show("check")


def _restore_request(name: str, form: Form) -> RestoreRequest:
    """Return what a form asks for of a backup. Raises `InvalidRequestError`."""
    given: dict[str, object] = {"backup_name": name}
    given |= {"suffix": form["suffix"]} if form["suffix"] else {}
    given |= {"collections": form.words("collections")} if form["collections"] else {}
    given |= {field: True for field in ("drop_existing", "allow_version") if form[field]}
    try:
        return RestoreRequest.model_validate(given)
    except ValidationError as err:
        raise wrong_request(err) from err


def _enough[Item: Model](pages: Iterable[Page[Item]], fits: Callable[[Item], bool]) -> tuple[list[Item], str]:
    """Return what fits of as many pages as it takes to fill one, and the token for those behind them."""
    rows: list[Item] = []
    token = ""
    for page in pages:
        rows += filter(fits, page.items)
        token = page.next_token or ""
        if len(rows) >= _PAGE:
            break
    return rows, token


def _following(asked: Mapping[str, str], token: str) -> str:
    """Return the query that leads to the rows behind the token; empty where there are none."""
    return urlencode({**{name: value for name, value in asked.items() if value}, "token": token}) if token else ""


def _day(text: str) -> datetime | None:
    """Return when a day begins; None for an empty text. Raises `InvalidRequestError`."""
    if not text:
        return None
    try:
        return datetime.combine(date.fromisoformat(text), time(), UTC)
    except ValueError as err:
        msg = f"'{text}' is no date"
        raise InvalidRequestError(msg, hint="Give it as year, month and day: 2030-01-31.") from err


def _code_of(err: VaultError) -> HTTPStatus:
    return HTTPStatus.NOT_FOUND if isinstance(err, _NOT_THERE) else HTTPStatus.CONFLICT


def _name_of(found: CollectionDiff) -> str:
    """Return the name of a collection that differs, by the later backup if that has it."""
    of = found.b or found.a
    return f"{of.database}.{of.name}" if of else ""


def _grown_bytes(found: CollectionDiff) -> int:
    return (found.b.size_bytes if found.b else 0) - (found.a.size_bytes if found.a else 0)


def _grown_rows(found: CollectionDiff) -> int:
    return (found.b.row_count if found.b else 0) - (found.a.row_count if found.a else 0)


def _before(of: BackupSummary, newest_first: Iterable[BackupSummary]) -> BackupSummary | None:
    """Return the complete backup before another one: of its schedule, or of none with as many collections, else any."""
    older = [one for one in newest_first if one.created_at < of.created_at and one.status == "complete"]
    alike = (one for one in older if one.schedule == of.schedule)
    if of.schedule:
        return next(alike, None)
    # A list does not tell which collections a backup has.
    return next((one for one in alike if one.collection_count == of.collection_count), next(iter(older), None))


def _copied(backup: BackupSummary) -> int:
    return backup.size_bytes if backup.copied_size_bytes is None else backup.copied_size_bytes
