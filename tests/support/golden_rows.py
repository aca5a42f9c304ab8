"""The golden archives' rows, and the oracles' opinion on them, for tests of the protocol server."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.milvus_server.objects import MemoryObjects
from tests.support.milvus_server.values import Columns, rows_in

GOLDEN = Path(__file__).parents[1] / "data" / "golden"

type Row = dict[str, Any]


def objects_of(name: str) -> MemoryObjects:
    """Return the files of an archive in a bucket of their own."""
    objects = MemoryObjects()
    for path in (GOLDEN / name / "binlogs").rglob("*"):
        if path.is_file():
            objects.put(path.relative_to(GOLDEN / name / "binlogs").as_posix(), path.read_bytes())
    return objects


def full_meta(name: str) -> dict[str, Any]:
    """Return all of an archive's metadata."""
    meta: dict[str, Any] = json.loads((GOLDEN / name / "meta" / "full_meta.json").read_bytes())
    return meta


def oracle(version: str) -> dict[str, Any]:
    """Return what the collections of a version must hold, by full name."""
    found: dict[str, Any] = json.loads((GOLDEN / f"oracle_{version}.json").read_bytes())
    collections: dict[str, Any] = found.get("collections", found)
    return collections


def rows_of(columns: Columns) -> Iterator[Row]:
    """Yield rows in the oracles' form, without the two system columns."""
    for row in range(rows_in(columns)):
        yield {str(field): _plain(values[row]) for field, values in columns.items() if field > 1}


def _plain(value: object) -> object:
    return {"b64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def in_order(rows: list[Row]) -> list[Row]:
    """Return rows by key, for comparisons."""
    return sorted(rows, key=lambda row: str(row["100"]))
