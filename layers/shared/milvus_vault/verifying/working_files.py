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
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Literal, NamedTuple

from pydantic import Field

from milvus_vault.copying.working_files import lines, rows, write_lines
from milvus_vault.model.base import Count, Model, Number
from milvus_vault.model.collections import CollectionSchema
from milvus_vault.model.hybrid import HybridTimestamp
from milvus_vault.model.locks import ObjectLock
from milvus_vault.model.messages_verify import VerifyResult
from milvus_vault.model.objects import ARCHIVED_HINT
from milvus_vault.model.requests import VerifyLevel, VerifyOptions, VerifyRequest
from milvus_vault.model.times import Time
from milvus_vault.pool.doubts import Doubt
from milvus_vault.workspace import Workspace

PROGRESS = "verified.json"
JOB = "check/job.json"
BATCHES = "check/batches.json"

type Finding = Literal["etag", "checksum", "digest", "baseline", "incomparable", "archived", "damaged"]
"""How an object's content was proven, or that it was not."""

LOCKED = "locked"

MAX_PROBLEMS = 100

_DAMAGED_HINT = (
    "Restore what is named from a copy or an older version of it, or use another backup. Where a marker or a manifest "
    "is lost or damaged, repair the backup: `POST /backups/{name}/repair`."
)

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


class BatchShare(NamedTuple):
    """What a batch has."""

    object_count: Count
    read_bytes: Count
    """Of the objects that are read; 0 where S3 is only asked for checksums."""


class VerifyProgress(Model):
    """What is checked so far: the documents, the first of the collections, and then the objects one by one."""

    begun_at: Time | None = None
    """None in documents of before it was noted, as are the totals."""
    marker_etag: str = ""
    """Which shows whether the backup was made anew; empty where it had no marker."""
    last_run: str | None = None
    """The run whose verification was remembered when this one began; empty: there was none, None: nobody has looked."""
    next_collection: int = 0
    collections_total: Count | None = None
    objects_total: Count | None = None
    """Of the listings, by the manifest; None where nobody wrote one."""
    batch_count: int | None = None
    """Of the objects that are looked at one by one; None: that is not written down yet."""
    batches: tuple[BatchShare, ...] = ()
    """What each of these has."""
    next_position: Count = 0
    """Where the next sample begins."""
    is_done: bool = False
    object_count: int = 0
    size_bytes: int = 0
    etags_compared: bool = False
    to_check: int = 0
    """Objects that can be looked at one by one."""
    too_large: int = 0
    """Objects that are too large to be read."""
    newest: HybridTimestamp = 0
    """No row or delete may be newer; 0: not known."""
    lock: ObjectLock | None = None
    """How its objects must be locked; None: no lock is looked at."""
    checked: CheckedBatch = Field(default_factory=CheckedBatch)
    """What was found of the objects one by one, without their digests."""
    known_damage: dict[str, str] = Field(default_factory=dict)
    """By key, what earlier deep verifications found wrong with contents of the backup's own."""
    is_incremental: bool = False
    doubts: dict[str, Doubt] = Field(default_factory=dict)
    """By key, what they found wrong with contents in the pool that the backup lists, of whichever backup they were."""
    problems: tuple[str, ...] = ()
    archived: tuple[str, ...] = ()
    """The first hundred objects that are as they were, and cannot be read where they lie."""

    @property
    def status(self) -> Literal["intact", "damaged", "archived"]:
        """Return what the backup is to be called."""
        if self.problems:
            return "damaged"
        return "archived" if self.archived else "intact"

    @property
    def error(self) -> str:
        """Return the error under which the run ends, or an empty text."""
        return {"damaged": "BackupDamagedError", "archived": "ObjectArchivedError"}.get(self.status, "")

    @property
    def hint(self) -> str:
        """Return what is to be done about it, or an empty text."""
        return {"damaged": _DAMAGED_HINT, "archived": ARCHIVED_HINT}.get(self.status, "")

    @property
    def found(self) -> tuple[str, ...]:
        """Return the first hundred things that are not as they should be."""
        return (*self.problems, *self.archived)[:MAX_PROBLEMS]

    def verified(self, options: VerifyOptions) -> dict[str, Any]:
        """Return the fields of `Verified`."""
        checked, is_checksum = self.checked, options.level == "checksum"
        # What has no recorded checksum was not even asked for.
        without = self.object_count - self.to_check if is_checksum and self.is_done else 0
        return {
            "level": options.level,
            "collection_count": self.collections_total,
            "object_count": self.object_count,
            "size_bytes": self.size_bytes,
            "etags_compared": self.etags_compared,
            "content_checked": options.level == "deep" and self.is_done and checked.read_count >= self.object_count,
            "checksum_count": checked.checksum_count,
            "incomparable_count": checked.incomparable_count + without,
            "read_count": checked.read_count,
            "read_bytes": checked.read_bytes,
            "baseline_count": checked.baseline_count,
            "locked_count": checked.locked_count,
            "sample_percent": options.sample_percent,
            "max_bytes": options.max_bytes,
        }

    def result(self, request: VerifyRequest) -> VerifyResult:
        """Return what the run found, without what is told of a repair, and of what was not looked at."""
        return VerifyResult(
            **self.verified(request),
            backup_name=request.backup_name,
            status=self.status,
            problem_count=len(self.found),
        )


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


class Checked(NamedTuple):
    """How far the batches are."""

    planned_at: datetime | None
    """When they were written down."""
    changed_at: datetime | None
    """When something was last noted of them; None before."""
    counts: Mapping[int, int | None]
    """How many objects of each batch were looked at; None: all."""


def read_checked(run: Workspace) -> Checked:
    """Return how far the batches are, by names alone."""
    noted = dict(run.documents("check/checked-")) | (done := dict(run.documents("check/done-")))
    counts: dict[int, int | None] = {}
    for match in filter(None, map(_CHECKED_NAME.match, noted)):
        number = int(match["number"])
        counts[number] = max(counts.get(number) or 0, int(match["objects"]))
    counts |= dict.fromkeys(run.numbers("check/done-", done), None)
    return Checked(
        planned_at=dict(run.documents(BATCHES)).get(BATCHES),
        changed_at=max(filter(None, noted.values()), default=None),
        counts=counts,
    )


def read_records(run: Workspace, number: int) -> list[CheckRecord]:
    """Return what was found of a batch so far: the longest list there is of it."""
    found = [match for name in run.names(f"check/checked-{number}.") if (match := _CHECKED_NAME.match(name))]
    if not found:
        return []
    longest = max(found, key=lambda match: int(match["objects"]))
    return [CheckRecord(*row) for row in rows(run, longest[0], _RECORD)]
