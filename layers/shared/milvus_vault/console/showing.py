"""What all pages of the console are made with."""

from collections.abc import Callable
from datetime import datetime
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import RedirectResponse, Response

from milvus_vault.console.words import spoken
from milvus_vault.model import readable
from milvus_vault.model.resources import Run
from milvus_vault.model.times import utc_day, utc_minute, utc_second
from milvus_vault.reports import COLOURS

FOLDER = Path(__file__).parent
REPORTS = COLOURS.parent
"""Where the part of a page lies that describes the API."""

type Clock = Callable[[], datetime]


class Show(Protocol):
    """Makes the answer of a template and what it shows."""

    def __call__(self, template: str, code: HTTPStatus = HTTPStatus.OK, /, **values: object) -> Response:
        """Return the page."""


def to(path: str) -> Response:
    """Return the answer that leads a browser to another page, once it has sent a form."""
    return RedirectResponse(path, HTTPStatus.SEE_OTHER)


def to_run(run: str) -> Response:
    """Return the answer that leads a browser to a run."""
    return to(f"/runs/{quote(run, safe='')}")


def _percent(run: Run) -> float | None:
    """Return how far a run is with what it does now; None where nothing can be said."""
    told = run.progress
    percents = [percent for phase in told.phases if (percent := readable.percent_of(phase)) not in {None, 100}]
    if percents:
        return percents[0]
    return 100 * told.collections_done / told.collections_total if told.collections_total else None


def _growth(difference: int) -> str:
    """Return by how much a size has changed: `+1.5 MiB`."""
    return f"{'+' if difference > 0 else '-' if difference < 0 else ''}{readable.size(abs(difference))}"


def _change(difference: int) -> str:
    """Return by how much a count has changed: `+1,500`."""
    return f"{difference:+,}" if difference else "0"


def _ago(when: datetime, now: datetime) -> str:
    """Return how far a time is: `3 min ago`, `in 2 h`."""
    seconds = (when - now).total_seconds()
    length = " ".join(readable.duration(abs(seconds)).split()[:2])
    return f"in {length}" if seconds > 0 else f"{length} ago"


@cache
def environment() -> Environment:
    """Return the template engine. Every value is escaped."""
    made = Environment(
        loader=FileSystemLoader([FOLDER / "templates", REPORTS]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {"bytes": readable.size, "count": readable.count, "number_of": readable.number_of}
    made.filters |= {"day": utc_day, "minute": utc_minute, "time": utc_second}
    made.filters |= {"duration": readable.duration, "rate": readable.rate, "ago": _ago}
    made.filters |= {"growth": _growth, "change": _change}
    made.filters |= {"counted": readable.counted, "moving": readable.moving, "percent_of": readable.percent_of}
    made.filters |= {"warning_parts": readable.warning_parts}
    made.filters |= {"part": lambda text: quote(text, safe="")}
    made.filters |= {"how_verified": readable.how_verified, "spoken": spoken}
    made.globals |= {"drilled": lambda found: readable.how_drilled(found.model_dump()), "percent": _percent}
    made.globals |= {"keeps": readable.keeps, "setting": readable.setting}
    return made
