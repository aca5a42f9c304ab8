"""The console's pages. Each asks the API for what it shows, with the credentials of the person, and keeps nothing."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, date, datetime, time
from functools import cache
from http import HTTPStatus
from itertools import islice
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from milvus_vault import __version__
from milvus_vault.client import VaultClient
from milvus_vault.errors import BackupNotFoundError, InvalidRequestError, RunNotFoundError, VaultError
from milvus_vault.model import readable
from milvus_vault.model.base import Model
from milvus_vault.model.requests import BackupRequest, RestoreRequest, VerifyOptions
from milvus_vault.model.resources import Backup, BackupSummary, Page, Run, RunKind, RunStatus
from milvus_vault.model.times import utc_minute, utc_second
from milvus_vault.model.words import wrong_fields
from milvus_vault.reports import COLOURS
from milvus_vault.reports.charts import COLUMN_HEIGHT, history_chart

_FOLDER = Path(__file__).parent
_PAGE = 50
"""Rows that fill a page of a list; one that filters shows what else is in the API's last page of a hundred."""
_SHOWN_COLLECTIONS = 500
_SHOWN_RUNS = 5
"""Of those that run, and of those that failed."""
_NEWEST = 30
"""Backups of the chart."""
_LOOKED_THROUGH = 500
"""Backups, of which the newest complete one is looked for."""

type Handler = Callable[[Request, "Form"], Response]


class _RunFilter(Model):
    """What of all runs is listed."""

    kind: RunKind | None = None
    status: RunStatus | None = None


class Form(dict[str, str]):
    """What a form has sent: its last values by name, without blanks around them. What is missing is empty."""

    def __missing__(self, name: str) -> str:
        return ""

    def words(self, name: str) -> tuple[str, ...]:
        """Return the words of a field, between blanks and commas."""
        return tuple(self[name].replace(",", " ").split())


def make_app(vault: VaultClient, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Starlette:
    """Return the application. Whoever serves it puts a `Guard` before it."""
    pages = _Pages(vault, now)
    routes = [
        Route("/", pages.handler(pages.overview)),
        Route("/backups", pages.handler(pages.backups)),
        Route("/backups", pages.handler(pages.create), methods=["POST"]),
        Route("/backups/{name}", pages.handler(pages.backup)),
        Route("/backups/{name}/restore", pages.handler(pages.restore_form)),
        Route("/backups/{name}/restore", pages.handler(pages.restore), methods=["POST"]),
        Route("/backups/{name}/verify", pages.handler(pages.verify), methods=["POST"]),
        Route("/backups/{name}/hold", pages.handler(pages.hold), methods=["POST"]),
        Route("/backups/{name}/delete", pages.handler(pages.delete), methods=["POST"]),
        Route("/diff", pages.handler(pages.diff)),
        Route("/runs", pages.handler(pages.runs)),
        Route("/runs/{run}", pages.handler(pages.run)),
        Route("/runs/{run}/stop", pages.handler(pages.stop), methods=["POST"]),
        Route("/schedules", pages.handler(pages.schedules)),
        Route("/check", pages.handler(pages.check)),
        Route("/static/colours.css", lambda _: FileResponse(COLOURS)),
        Mount("/static", StaticFiles(directory=_FOLDER / "static")),
    ]
    return Starlette(routes=routes, exception_handlers={HTTPStatus.NOT_FOUND: pages.nowhere})


class _Pages:
    """What is answered to each request."""

    def __init__(self, vault: VaultClient, now: Callable[[], datetime]) -> None:
        self._vault, self._now = vault, now

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
            return self._problem(request, InvalidRequestError(": ".join(next(wrong_fields(err)))))
        except VaultError as err:
            return self._problem(request, err)

    def _problem(self, request: Request, err: VaultError) -> Response:
        is_missing = isinstance(err, BackupNotFoundError | RunNotFoundError)
        code = HTTPStatus.NOT_FOUND if is_missing else HTTPStatus.CONFLICT
        template = "problem_part" if request.query_params.get("part") else "problem"
        return self._show(template, code, error=type(err).__name__, message=err.message, hint=err.hint)

    def _show(self, template: str, code: HTTPStatus = HTTPStatus.OK, /, **values: object) -> Response:
        given = {"now": self._now(), "api": self._vault.url, "version": __version__}
        text = _environment().get_template(f"{template}.html.j2").render(given | values)
        return HTMLResponse(text, code)

    def overview(self, request: Request, _: Form) -> Response:
        """Show whether all is well: the last good backup of each schedule, what runs, and what failed."""
        running = [self._vault.get_run(run.id) for run in islice(self._vault.list_runs(status="running"), _SHOWN_RUNS)]
        if request.query_params.get("part"):
            return self._show("running", running=running)
        newest = list(islice(self._vault.list_backups(page_size=_NEWEST), _NEWEST))
        # A damaged one says nothing of its size.
        sized = [one for one in newest if one.status != "damaged"]
        history = history_chart((one.name, one.created_at, one.size_bytes, _copied(one)) for one in sized)
        every = islice(self._vault.list_backups(), _LOOKED_THROUGH)
        return self._show(
            "overview",
            schedules=list(self._vault.list_schedules()),
            last=next((one for one in every if one.status == "complete"), None),
            history=history,
            height=COLUMN_HEIGHT,
            running=running,
            failed=list(islice(self._vault.list_runs(status="failed", page_size=_SHOWN_RUNS), _SHOWN_RUNS)),
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
        """Start a backup."""
        given: dict[str, object] = {"mode": form["mode"] or "full"}
        given |= {"backup_name": form["name"]} if form["name"] else {}
        given |= {"collections": form.words("collections")} if form["collections"] else {}
        return _to_run(self._vault.create_backup(BackupRequest.model_validate(given)).id)

    def backup(self, request: Request, _: Form) -> Response:
        """Show one backup."""
        found = self._vault.get_backup(request.path_params["name"])
        query = request.query_params.get("q", "").strip()
        named = [one for one in found.collections if query.lower() in f"{one.database}.{one.name}".lower()]
        shown = sorted(named, key=lambda one: one.size_bytes, reverse=True)[:_SHOWN_COLLECTIONS]
        older = self._before(found)
        return self._show("backup", backup=found, shown=shown, count=len(named), q=query, older=older)

    def _before(self, of: Backup) -> BackupSummary | None:
        """Return the newest backup before another one, of its schedule, as far as a page of the list goes."""
        listed = islice(self._vault.list_backups(schedule=of.schedule or "", page_size=2 * _PAGE), 2 * _PAGE)
        return next((one for one in listed if one.created_at < of.created_at and one.status != "damaged"), None)

    def diff(self, request: Request, _: Form) -> Response:
        """Show what has changed from one backup to another."""
        a, b = (request.query_params.get(name, "") for name in ("a", "b"))
        return self._show("diff", diff=self._vault.diff_backups(a, b, objects=False), a=a, b=b)

    def restore_form(self, request: Request, _: Form) -> Response:
        """Ask how a backup is to be restored."""
        return self._show("restore", backup=self._vault.get_backup(request.path_params["name"]))

    def restore(self, request: Request, form: Form) -> Response:
        """Start a restore."""
        given: dict[str, object] = {"backup_name": request.path_params["name"]}
        given |= {"suffix": form["suffix"]} if form["suffix"] else {}
        given |= {"collections": form.words("collections")} if form["collections"] else {}
        given |= {name: True for name in ("drop_existing", "allow_version") if form[name]}
        return _to_run(self._vault.restore(RestoreRequest.model_validate(given)).id)

    def verify(self, request: Request, form: Form) -> Response:
        """Start a verification."""
        options = VerifyOptions.model_validate({"level": form["level"] or "quick"})
        return _to_run(self._vault.verify_backup(request.path_params["name"], options).id)

    def hold(self, request: Request, form: Form) -> Response:
        """Place a hold, or lift it."""
        name = request.path_params["name"]
        if form["lift"]:
            self._vault.lift_hold(name)
        else:
            self._vault.place_hold(name, reason=form["reason"], until=_day(form["until"]))
        return _to(f"/backups/{quote(name, safe='')}")

    def delete(self, request: Request, form: Form) -> Response:
        """Start to delete a backup, whose name was typed."""
        name = request.path_params["name"]
        if form["typed"] != name:
            msg = f"'{form['typed']}' is not the name of the backup: nothing is deleted"
            raise InvalidRequestError(msg, hint=f"Type {name} to delete it.")
        return _to_run(self._vault.delete_backup(name).id)

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
        return _to_run(request.path_params["run"])

    def schedules(self, _: Request, __: Form) -> Response:
        """Show the schedules."""
        return self._show("schedules", schedules=list(self._vault.list_schedules()))

    def check(self, request: Request, _: Form) -> Response:
        """Show what `check` finds; it takes some seconds, so that the page asks for it by itself."""
        if request.query_params.get("part"):
            return self._show("check_part", report=self._vault.check())
        return self._show("check")


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


def _to(path: str) -> Response:
    return RedirectResponse(path, HTTPStatus.SEE_OTHER)


def _to_run(run: str) -> Response:
    return _to(f"/runs/{quote(run, safe='')}")


def _copied(backup: BackupSummary) -> int:
    return backup.size_bytes if backup.copied_size_bytes is None else backup.copied_size_bytes


def _percent(run: Run) -> float | None:
    """Return how far a run is with what it does now; None where nothing can be said."""
    told = run.progress
    percents = [percent for phase in told.phases if (percent := readable.percent_of(phase)) not in {None, 100}]
    if percents:
        return percents[-1]
    return 100 * told.collections_done / told.collections_total if told.collections_total else None


def _ago(when: datetime, now: datetime) -> str:
    """Return how far a time is: `3 min ago`, `in 2 h`."""
    seconds = (when - now).total_seconds()
    length = " ".join(readable.duration(abs(seconds)).split()[:2])
    return f"in {length}" if seconds > 0 else f"{length} ago"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {"bytes": readable.size, "count": readable.count, "duration": readable.duration}
    environment.filters |= {"minute": utc_minute, "time": utc_second, "rate": readable.rate, "ago": _ago}
    environment.filters |= {"part": lambda text: quote(text, safe="")}
    environment.globals |= {"verified": lambda found: readable.how_verified(found.model_dump())}
    environment.globals |= {"drilled": lambda found: readable.how_drilled(found.model_dump()), "percent": _percent}
    environment.filters |= {"counted": readable.counted, "moving": readable.moving, "percent_of": readable.percent_of}
    environment.globals |= {"keeps": readable.keeps}
    return environment
