"""What the reports have in common: the template engine, and what is said of failed collections."""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from milvus_vault.errors import leaf_named
from milvus_vault.model import readable
from milvus_vault.model.hybrid import as_text
from milvus_vault.model.times import utc_day, utc_millisecond, utc_minute, utc_second
from milvus_vault.reports import COLOURS

MAX_ROWS = 1000
"""Rows of a table. A thousand are 0.3 MB, and a telephone still scrolls through them."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A collection that failed."""

    name: str
    error: str
    meaning: str
    """What the error's name stands for."""
    message: str
    hint: str = ""
    """What to do about it; empty where only the documents say."""


def failure(name: str, error: str, message: str, hint: str = "") -> Failure:
    """Return what is said of a collection that failed."""
    return Failure(name, error, meaning(error), message, hint)


def render(template: str, values: Mapping[str, object]) -> bytes:
    """Return a page. Every value is escaped."""
    return _environment().get_template(template).render(values).encode()


def meaning(error: str) -> str:
    """Return what the name of an error stands for; nothing for one of a later release."""
    try:
        return (leaf_named(error).__doc__ or "").partition("\n")[0]
    except KeyError:
        # It may have written the name into a backup that this one shows.
        return ""


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {"bytes": readable.size, "count": readable.count, "number_of": readable.number_of}
    environment.filters |= {"duration": readable.duration}
    environment.filters |= {"warning_parts": readable.warning_parts}
    environment.filters |= {"day": utc_day, "minute": utc_minute}
    environment.filters |= {"time": utc_second, "exact_time": utc_millisecond, "hybrid": as_text}
    environment.globals |= {"max_rows": MAX_ROWS, "share": readable.share}
    style = COLOURS.read_text() + (Path(__file__).parent / "page.css").read_text()
    environment.globals |= {"style": Markup(style), "policy": policy_for(style)}  # noqa: S704 - a file of ours
    return environment


def policy_for(style: str) -> str:
    """Return what a browser may do for a report: show it, with this style sheet and no other.

    Names from a Milvus or an archive are escaped; should one ever not be, the browser runs and loads nothing all the
    same.
    """
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
