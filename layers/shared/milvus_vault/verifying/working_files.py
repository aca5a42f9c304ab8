"""The working files of a verification that looks at objects one by one, by names relative to the run's folder.

    verified.json                        `VerifyProgress`: what the listings showed, and how far it is
    check/job.json                       `CheckJob`: how the objects are looked at
    check/collections/<index>.json       `CheckedCollection`: what its logs must be
    check/items/<index>.jsonl            its objects that may be looked at, a `CheckItem` a line
    check/batches.json                   the batches as Step Functions reads them
    check/batch-<n>.jsonl                the objects of a batch, a `CheckItem` a line
    check/checked-<n>.<objects>.jsonl    what was found of them so far, a `CheckRecord` a line
    check/done-<n>.json                  `CheckedBatch`: what was found of all of them
    check/error-<n>.json                 `BatchError`: why a batch gave up

Lists are JSON arrays a line, as those of the copy machine are.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from pydantic import Field

from milvus_vault.copying.working_files import lines, rows, write_lines
from milvus_vault.model.base import Count, Model, Number
from milvus_vault.model.collections import CollectionSchema
from milvus_vault.model.hybrid import HybridTimestamp
from milvus_vault.model.locks import ObjectLock
from milvus_vault.model.requests import VerifyLevel
from milvus_vault.workspace import Workspace

JOB = "check/job.json"
BATCHES = "check/batches.json"

type Finding = Literal["etag", "checksum", "digest", "baseline", "incomparable", "archived", "damaged"]
"""How an object's content was proven, or that it was not."""

LOCKED = "locked"

_ITEM = (int, str, str, str, int, str, str, str)
_RECORD = (int, str, str, int, int, str, str, str)

_CHECKED_NAME = re.compile(r"^check/checked-(?P<number>[0-9]+)\.(?P<objects>[0-9]+)\.jsonl$")


class CheckJob(Model):
    """What all batches of a verification share."""

    level: VerifyLevel
    lock: ObjectLock | None = None
    """How each object must be locked; None: no lock is looked at."""


class CheckedSegment(Model):
    """What the metadata says of a segment."""

    row_count: Count
    """Deleted ones included."""
    storage_version: Number
    log_count: Count
    """How many insert logs the object list has."""


class CheckedCollection(Model):
    """What the logs of a collection must be."""

    name: str
    """Its full name, for messages."""
    collection_schema: CollectionSchema
    partitions: dict[int, str]
    """Names by ID."""
    segments: dict[int, CheckedSegment]
    """By ID."""
    newest: HybridTimestamp
    """No row or delete may be newer; 0: not known."""


class CheckItem(NamedTuple):
    """An object to look at."""

    collection: int
    """Index of its collection in the archive."""
    key: str
    etag: str
    """What it has now."""
    recorded_etag: str
    """Empty where nobody recorded one."""
    size_bytes: int
    source_key: str
    checksum: str
    """What was recorded, as `<algorithm>:<base64>`, or nothing."""
    digest: str
    """What an earlier deep verification wrote down of its content, in hexadecimal digits, or nothing."""


class CheckRecord(NamedTuple):
    """What was found of an object."""

    collection: int
    key: str
    finding: Finding
    read_bytes: int
    row_count: int
    digest: str
    """SHA-256 of the content, where it is to be remembered."""
    problem: str
    """What is wrong, with all that names the object; else empty."""
    lock: str = ""
    """`LOCKED` where its lock was looked at and is right, or what is wrong with it; empty where none was looked at."""


class CheckedBatch(Model):
    """What was found of the objects of a batch."""

    checksum_count: Count = 0
    incomparable_count: Count = 0
    read_count: Count = 0
    read_bytes: Count = 0
    baseline_count: Count = 0
    damaged: dict[str, str] = Field(default_factory=dict)
    """By key of an object, or of the first one of a segment: what is wrong, with all that names it."""
    archived: tuple[str, ...] = ()
    locked_count: Count = 0
    unlocked: tuple[str, ...] = ()
    """What is wrong with locks. Contents are as they were, so that it is no damage that a copy would pass on."""
    digests: dict[int, dict[str, str]] = Field(default_factory=dict)
    """SHA-256 of contents that are to be remembered, by index of the collection and by key."""


def collection_name(index: int) -> str:
    """Return the name of what a collection's logs must be."""
    return f"check/collections/{index}.json"


def items_name(index: int) -> str:
    """Return the name of the list of a collection's objects that may be looked at."""
    return f"check/items/{index}.jsonl"


def listed_collections(run: Workspace) -> dict[int, int]:
    """Return the bytes of these lists, by the indexes of the collections that have one."""
    return run.sizes("check/items/")


def batch_name(number: int) -> str:
    """Return the name of a batch."""
    return f"check/batch-{number}.jsonl"


def done_name(number: int) -> str:
    """Return the name of what was found of a batch, once all of it was looked at."""
    return f"check/done-{number}.json"


def done_batches(run: Workspace) -> set[int]:
    """Return the numbers of the batches of which all was looked at."""
    return run.numbers("check/done-")


def error_name(number: int) -> str:
    """Return the name of the reason why a batch gave up."""
    return f"check/error-{number}.json"


def write_items(run: Workspace, name: str, items: Iterable[CheckItem]) -> None:
    """Write a list of objects to look at."""
    write_lines(run, name, items)


def read_items(run: Workspace, name: str) -> Iterator[CheckItem]:
    """Yield a list of objects. Raises `ObjectNotFoundError`, or `WorkingFileError` where a line is not one of it."""
    return (CheckItem(*row) for row in rows(run, name, _ITEM))


def write_batches(run: Workspace, count: int) -> None:
    """Write the list of batches that the distributed Map goes through."""
    run.write_bytes(BATCHES, json.dumps([{"batch": number} for number in range(count)]).encode())


def write_records(run: Workspace, number: int, records: Iterable[CheckRecord]) -> None:
    """Write what was found of a batch so far; a longer list does not replace a shorter one, and either is true."""
    found = list(records)
    run.write_bytes(f"check/checked-{number}.{len(found)}.jsonl", lines(found))


def read_records(run: Workspace, number: int) -> list[CheckRecord]:
    """Return what was found of a batch so far: the longest list there is of it."""
    found = [match for name in run.names(f"check/checked-{number}.") if (match := _CHECKED_NAME.match(name))]
    if not found:
        return []
    longest = max(found, key=lambda match: int(match["objects"]))
    return [CheckRecord(*row) for row in rows(run, longest[0], _RECORD)]
