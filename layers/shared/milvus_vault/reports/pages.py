"""What the two reports have in common: the template engine, and what is said of failed collections."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from milvus_vault.errors import leaf_named
from milvus_vault.model.hybrid import as_text
from milvus_vault.reports.text import bytes_text, count_text, duration_text, exact_time_text, share_text, time_text

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


def failure(name: str, error: str, message: str) -> Failure:
    """Return what is said of a collection that failed."""
    return Failure(name, error, _meaning(error), message)


def render(template: str, values: Mapping[str, object]) -> bytes:
    """Return a page. Every value is escaped."""
    return _environment().get_template(template).render(values).encode()


def _meaning(error: str) -> str:
    try:
        return (leaf_named(error).__doc__ or "").partition("\n")[0]
    except KeyError:
        # A later release may have written the name into a backup that this one shows.
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
    environment.filters |= {"bytes": bytes_text, "count": count_text, "duration": duration_text}
    environment.filters |= {"time": time_text, "exact_time": exact_time_text, "hybrid": as_text}
    environment.globals |= {"max_rows": MAX_ROWS, "share": share_text}
    return environment
