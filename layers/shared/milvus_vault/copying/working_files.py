"""The working files of the copy machine, by names relative to the run's folder.

    copy/current.json                        the `CopyPlan` that was made last
    copy/<attempt>/job.json                  `CopyJob`: from which bucket to which
    copy/<attempt>/targets/<index>.json      `CopyTarget`
    copy/<attempt>/items/<index>.jsonl       what to copy for a target, a `CopyItem` a line
    copy/<attempt>/parts/<index>.json        `PartsCheck`: which parts of a target are complete that is still copied
    copy/<attempt>/verified/<index>.jsonl    the objects of a complete target, a `CopiedObject` a line, or none
    copy/<attempt>/r<round>/batches.json     the batches as Step Functions reads them; none where there is no batch
    copy/<attempt>/r<round>/batch-<n>.jsonl  what to copy in a batch, a `CopyItem` a line
    copy/<attempt>/r<round>/copied-<n>.<objects>.<bytes>.<rate>.jsonl    what became of them, a `CopyRecord` a line
    copy/<attempt>/r<round>/error-<n>.json   `BatchError`: why a batch gave up
    copy/<attempt>/r<round>/verification.json    `CopyCheck`

A target is one collection in one place. An attempt is one execution of a state machine: what a function of
a stopped execution still writes never meets its successor's files. Only the records of copies are read from
all attempts: a copy that is there need not be made again. The figures in the name of a `copied` file let one
LIST tell the progress, and how many requests a second S3 took (an older release did not write that).

Lists are JSON arrays a line, since a run may have a million objects.
"""

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from milvus_vault.errors import WorkingFileError, leaf_named
from milvus_vault.lines import parse_row, row_line
from milvus_vault.model.base import Model
from milvus_vault.model.objects import CopiedObject, CopyItem, CopyJob
from milvus_vault.parallel import SMALL_REQUESTS_AT_A_TIME, each
from milvus_vault.workspace import Workspace

COPYING = "copy/"
"""The folder of all of them. Who needs several kinds lists it once."""

CURRENT = f"{COPYING}current.json"

# The columns of the lists, which each line is checked against.
_ITEM = (str, str, int, str)
_RECORD = (str, str, str, str, str)
_COPIED = (str, str, str)

# 10,000 parts of an upload, the most there are, are 80 GiB: the items of 300 million objects.
_PIECE_BYTES = 8 * 1024 * 1024

_BATCH_NAME = re.compile(r"^(?P<folder>copy/[^/]+/r\d+)/batch-(?P<number>\d+)\.jsonl$")
_COPIED_NAME = re.compile(
    r"^(?P<folder>copy/[^/]+/r\d+)/copied-(?P<number>\d+)\.(?P<objects>\d+)\.(?P<bytes>\d+)"
    r"(\.(?P<rate>\d+))?\.jsonl$"
)


class CopyPart(Model):
    """Folders of a target that can be gone on with once they are complete, whatever is still copied to the others."""

    prefixes: tuple[str, ...]
    """Full key prefixes in the destination bucket; none lies in another one."""
    ends_at: int = Field(default=0, ge=0)
    """How many items the target's list has up to the last one of this part."""


class CopyTarget(Model):
    """One collection in one place, and the folders that hold its objects and nothing else."""

    index: int = Field(ge=0)
    name: str
    """How messages name it, for example `db.collection`."""
    size_bytes: int = Field(default=0, ge=0)
    """Of all objects to copy. The smallest target is copied first."""
    folders: tuple[str, ...] = Field(min_length=1)
    """Full key prefixes in the destination bucket. What is found there and is not to be there is deleted."""
    is_shared: bool = False
    """Whether the folders hold what belongs to others, too: then nothing there is deleted, and they may be any prefixes
    that find its objects."""
    parts: tuple[CopyPart, ...] = ()
    """In the order in which they are gone on with; none where nothing can be done with a part."""

    @model_validator(mode="after")
    def _check_folders(self) -> Self:
        for folder in self.folders:
            if not folder.strip("/") or not (folder.endswith("/") or self.is_shared):
                msg = f"folder {folder!r} of target {self.name} does not name a folder: it has to end with a slash"
                raise ValueError(msg)
        return self

    def contains(self, key: str) -> bool:
        """Return whether a key lies in one of the target's folders."""
        return key.startswith(self.folders)


class Share(NamedTuple):
    """Objects and bytes of one target."""

    target: int
    objects: int
    bytes: int


class CopyPlan(Model):
    """What one round copies, and what it found done."""

    attempt: str
    round_number: int
    bucket: str
    """Where `batches_key` lies: the bucket of the working files."""
    batches_key: str
    """Full key of the list of batches: a JSON array of `{"batch": <name>}`. Not written where there is no batch."""
    batch_count: int
    object_count: int
    """Objects that this round copies."""
    size_bytes: int
    present_object_count: int
    """Objects that were there when the round was planned."""
    present_size_bytes: int
    present: tuple[Share, ...] = ()
    """What was there of each target, also of one of which nothing was. An older release did not write it here."""
    batches: tuple[tuple[Share, ...], ...] = ()
    """Which targets have how much of each batch."""


class PartsCheck(Model):
    """What was found of the parts of a target that was still copied."""

    objects: int
    """How many of the target's objects, from the front, were there when it was looked at last."""
    complete: tuple[CopyPart, ...]
    """The parts, from the front, that are complete. They are in use, and left alone."""

    @property
    def prefixes(self) -> tuple[str, ...]:
        """Return the full key prefixes of the complete parts."""
        return tuple(prefix for part in self.complete for prefix in part.prefixes)


class BatchError(Model):
    """The failure that made a batch give up: the name, message and hint of an error of `errors.py`."""

    error: str
    message: str
    hint: str = ""


def raise_refusal(run: Workspace, names: Iterable[str]) -> None:
    """Raise the failure for which the first of some batches gave up that wrote one down; return where none did.

    Args:
        run: The run of the batches.
        names: Of the documents in which each may have written it, a `BatchError`.
    """
    for name in names:
        if found := run.find(name, BatchError):
            raise leaf_named(found.error)(found.message, hint=found.hint)


class BatchResult(Model):
    """What became of the objects of a batch."""

    batch: str
    copied_count: int
    missing_count: int
    """Objects whose source is gone."""
    changed_count: int
    """Objects whose source is not the one that was listed."""
    copied_bytes: int
    error: BatchError | None = None


class TargetProblem(Model):
    """A target that is not complete."""

    index: int
    name: str
    missing_source_count: int
    """Objects whose source vanished or changed: new items have to be listed."""
    incomplete_count: int
    """Objects whose copy did not happen: copying again is enough."""
    example_key: str
    """One of the keys that are not as they should be."""


class CopyCheck(Model):
    """What the destination holds, compared with what it should hold."""

    complete: tuple[int, ...]
    """Indices of the targets whose objects are all there."""
    missing_source: tuple[TargetProblem, ...]
    """Targets that lack objects whose source vanished or changed."""
    incomplete: tuple[TargetProblem, ...]
    """Targets that lack only objects whose copy did not happen."""
    object_count: int
    """Objects of the complete targets."""
    size_bytes: int
    deleted_count: int
    """Objects that were in the targets' folders and did not belong there."""
    refusal: BatchError | None = None
    """Why S3 refused to copy objects, if it did."""
    doubtful: tuple[int, ...] = ()
    """Indices of what has to go another round though its objects are all there; not all of these are targets."""

    @property
    def again(self) -> tuple[int, ...]:
        """Return the indices of the targets that have to go another round, sorted."""
        problems = (problem.index for problem in (*self.missing_source, *self.incomplete))
        return tuple(sorted((*problems, *self.doubtful)))


class CopyProgress(Model):
    """How far the copying of a run is."""

    objects_done: int
    objects_total: int
    bytes_done: int
    bytes_total: int


class CopyRecord(NamedTuple):
    """What became of one object; a line of a `copied` file."""

    key: str
    status: Literal["copied", "missing", "changed"]
    etag: str
    """ETag of the copy; empty where there is none."""
    checksum: str
    source_etag: str
    """What the source had to be: the record says nothing about a copy of another source."""


class CopiedName(NamedTuple):
    """The name of a `copied` file, read."""

    name: str
    folder: str
    number: int
    objects: int
    """Objects that are settled: copied, or found missing or changed."""
    bytes: int
    """Bytes that are copied."""
    rate: int | None
    """Requests a second that S3 took; None where an older release wrote it."""


def parse_copied_name(name: str) -> CopiedName | None:
    """Return the figures in a name; None where it is not that of a `copied` file."""
    if not (match := _COPIED_NAME.match(name)):
        return None
    number, objects, copied_bytes, rate = (match[figure] for figure in ("number", "objects", "bytes", "rate"))
    return CopiedName(name, match["folder"], int(number), int(objects), int(copied_bytes), int(rate) if rate else None)


def attempt_folder(attempt: str) -> str:
    """Return the folder of what an attempt copies, with a slash at its end. Once it has started it has `job.json`."""
    return f"{COPYING}{attempt}/"


def targets_folder(attempt: str) -> str:
    """Return the folder of an attempt's targets, with a slash at its end."""
    return f"{attempt_folder(attempt)}targets/"


def verified_folder(attempt: str) -> str:
    """Return the folder of the objects of an attempt's complete targets, with a slash at its end."""
    return f"{attempt_folder(attempt)}verified/"


def _parts_folder(attempt: str) -> str:
    return f"{attempt_folder(attempt)}parts/"


def _parts_name(attempt: str, index: int) -> str:
    return f"{_parts_folder(attempt)}{index}.json"


def _job_name(attempt: str) -> str:
    return f"{attempt_folder(attempt)}job.json"


def _target_name(attempt: str, index: int) -> str:
    return f"{targets_folder(attempt)}{index}.json"


def _items_name(attempt: str, index: int) -> str:
    return f"{attempt_folder(attempt)}items/{index}.jsonl"


def verified_name(attempt: str, index: int) -> str:
    """Return the name of the list of a complete target's objects."""
    return f"{verified_folder(attempt)}{index}.jsonl"


def round_folder(attempt: str, round_number: int) -> str:
    """Return the folder of a round, without a slash at its end."""
    return f"{attempt_folder(attempt)}r{round_number}"


def batch_name(folder: str, number: int) -> str:
    """Return the name of a batch of the round in `folder`."""
    return f"{folder}/batch-{number}.jsonl"


def parse_batch_name(name: str) -> tuple[str, int]:
    """Return the round's folder and the number in the name of a batch.

    Raises:
        WorkingFileError: The name is not one of a batch.
    """
    if not (match := _BATCH_NAME.match(name)):
        msg = f"{name!r} is not the name of a batch"
        raise WorkingFileError(msg, hint="Batches are named copy/<attempt>/r<round>/batch-<number>.jsonl.")
    return match["folder"], int(match["number"])


def attempt_of_batch(name: str) -> str:
    """Return the attempt that a batch belongs to.

    Raises:
        WorkingFileError: The name is not one of a batch.
    """
    folder, _ = parse_batch_name(name)
    return folder.split("/")[1]


def copied_name(folder: str, number: int, objects: int, copied_bytes: int, rate: float) -> str:
    """Return the name of what became of a batch, when so many objects are settled.

    `rate` is how many requests a second S3 took of the function that copied them.
    """
    return f"{folder}/copied-{number}.{objects}.{copied_bytes}.{round(rate)}.jsonl"


def copied_prefix(folder: str, number: int) -> str:
    """Return a prefix of the names of a batch's `copied` files, and of some neighbours' that began before it.

    Of batch 57 those of 5 and 50 to 59: one LIST finds its own and what rate the others were at. However many batches a
    round has, few of those that have longer numbers are done by then.
    """
    return f"{folder}/copied-{str(number)[:-1]}"


def error_name(folder: str, number: int) -> str:
    """Return the name of the reason why a batch gave up."""
    return f"{folder}/error-{number}.json"


def most_complete(names: Iterable[str]) -> list[CopiedName]:
    """Return the `copied` file of each batch that settles most objects; other names are left out.

    A batch writes one as it goes, again after each retry, and two invocations may have been at it: each
    file is true, and the longest is the best.
    """
    best: dict[tuple[str, int], CopiedName] = {}
    for name in names:
        if found := parse_copied_name(name):
            batch = (found.folder, found.number)
            if batch not in best or found.objects > best[batch].objects:
                best[batch] = found
    return list(best.values())


def write_job(run: Workspace, attempt: str, job: CopyJob) -> None:
    """Write from where to where an attempt copies."""
    run.write(_job_name(attempt), job)


def read_job(run: Workspace, attempt: str) -> CopyJob:
    """Return from where to where an attempt copies.

    Raises:
        ObjectNotFoundError: There is no job.
        WorkingFileError: The document is not one.
    """
    return run.read(_job_name(attempt), CopyJob)


def write_target(run: Workspace, attempt: str, target: CopyTarget, items: Iterable[CopyItem]) -> int:
    """Write a target and its item list, replacing an older one, and return how many items it has.

    Where its parts end in the list is counted here.
    """
    number, size_bytes, part_of, ends_at = 0, 0, part_finder(target.parts), [0] * len(target.parts)

    def counted() -> Iterator[CopyItem]:
        nonlocal number, size_bytes
        for number, item in enumerate(items, start=1):
            size_bytes += item.size_bytes
            if (part := part_of(item.key)) is not None:
                ends_at[part] = number
            yield item

    write_lines(run, _items_name(attempt, target.index), counted())
    parts = [part.model_copy(update={"ends_at": end}) for part, end in zip(target.parts, ends_at, strict=True)]
    found = {"size_bytes": size_bytes, "parts": tuple(parts)}
    run.write(_target_name(attempt, target.index), target.model_copy(update=found))
    return number


def part_finder(parts: Sequence[CopyPart]) -> Callable[[str], int | None]:
    """Return what tells the position of the part that a key lies in, or None.

    Since no prefix lies in another, that of a key is the last of those that do not sort after it.
    """
    positions = sorted((prefix, position) for position, part in enumerate(parts) for prefix in part.prefixes)
    prefixes = [prefix for prefix, _ in positions]

    def part_of(key: str) -> int | None:
        nearest = bisect_right(prefixes, key) - 1
        return positions[nearest][1] if nearest >= 0 and key.startswith(prefixes[nearest]) else None

    return part_of


def drop_target(run: Workspace, attempt: str, index: int) -> None:
    """Take a target out of an attempt; one that is not in it is no error."""
    run.delete([_target_name(attempt, index), _items_name(attempt, index), verified_name(attempt, index)])


def target_indexes(run: Workspace, attempt: str) -> set[int]:
    """Return the indexes of an attempt's targets."""
    return run.numbers(targets_folder(attempt))


def complete_indexes(run: Workspace, attempt: str) -> set[int]:
    """Return the indexes of the targets that were found complete."""
    return run.numbers(verified_folder(attempt))


def read_target(run: Workspace, attempt: str, index: int) -> CopyTarget:
    """Return a target of an attempt.

    Raises:
        ObjectNotFoundError: There is no such target.
        WorkingFileError: The document is not one.
    """
    return run.read(_target_name(attempt, index), CopyTarget)


def read_targets(run: Workspace, attempt: str, names: Iterable[str]) -> list[CopyTarget]:
    """Return the targets of an attempt, the smallest first, by the names of a run's working files, listed before.

    What a restore has staged is imported while the rest is copied. With the smallest first Milvus has something to do
    from the first second on; a copy within S3 is the quicker of the two, so the largest does not wait long for it.

    Raises:
        WorkingFileError: A document is not one of a target, or a folder of one lies in a folder of another.
    """
    folder = targets_folder(attempt)
    wanted = (name for name in names if name.startswith(folder))
    targets = list(each(lambda name: run.read(name, CopyTarget), wanted, threads=SMALL_REQUESTS_AT_A_TIME))
    # Verification would take the inner target's objects for surplus of the outer one, and delete them. Sorted,
    # a folder comes right before those inside it.
    folders = sorted(folder for target in targets for folder in target.folders)
    for outer, inner in pairwise(folders):
        if inner.startswith(outer):
            msg = f"folder {inner} of a target lies in folder {outer} of another: each has to belong to one"
            raise WorkingFileError(msg, hint="This is a fault of Milvus Vault: please report it.")
    return sorted(targets, key=lambda target: (target.size_bytes, target.index))


def read_items(run: Workspace, attempt: str, index: int) -> Iterator[CopyItem]:
    """Yield the item list of a target.

    Raises:
        ObjectNotFoundError: There is no list.
        WorkingFileError: A line is not an item.
    """
    return _items(run, _items_name(attempt, index))


def items_body(items: Iterable[CopyItem]) -> bytes:
    """Return the content of an item list, be it a target's or a batch's."""
    return lines(items)


def read_batch(run: Workspace, name: str) -> list[CopyItem]:
    """Return what to copy in a batch.

    Raises:
        ObjectNotFoundError: There is no such batch.
        WorkingFileError: A line is not an item.
    """
    return list(_items(run, name))


def records_body(records: Iterable[CopyRecord]) -> bytes:
    """Return the content of a `copied` file."""
    return lines(records)


def read_records(run: Workspace, name: str) -> Iterator[CopyRecord]:
    """Yield what became of the objects of a batch.

    Raises:
        ObjectNotFoundError: There is no such file.
        WorkingFileError: A line is not a record.
    """
    for row in rows(run, name, _RECORD):
        yield CopyRecord(*row)


def write_parts(run: Workspace, attempt: str, index: int, found: PartsCheck) -> None:
    """Write what was found of the parts of a target."""
    run.write(_parts_name(attempt, index), found)


def read_parts(run: Workspace, attempt: str, names: Iterable[str] | None = None) -> dict[int, PartsCheck]:
    """Return what was found of the parts of each target, which of most is nothing yet.

    By the names of the run's working files where they are listed already.
    """
    indexes = sorted(run.numbers(_parts_folder(attempt), names))
    found = each(lambda index: run.read(_parts_name(attempt, index), PartsCheck), indexes)
    nothing = PartsCheck(objects=0, complete=())
    return defaultdict(lambda: nothing, zip(indexes, found, strict=True))


def write_verified(run: Workspace, attempt: str, index: int, objects: Iterable[CopiedObject]) -> None:
    """Write the objects of a complete target."""
    write_lines(run, verified_name(attempt, index), ((o.key, o.etag, o.checksum) for o in objects))


def verified_objects(run: Workspace, attempt: str, index: int) -> Iterator[CopiedObject]:
    """Yield the objects of a complete target, in any order.

    Raises:
        ObjectNotFoundError: The target was not found complete.
        WorkingFileError: A line is not one of an object.
    """
    return (CopiedObject(*row) for row in rows(run, verified_name(attempt, index), _COPIED))


def _items(run: Workspace, name: str) -> Iterator[CopyItem]:
    return (CopyItem(*row) for row in rows(run, name, _ITEM))


def lines(rows: Iterable[tuple[str | int, ...]]) -> bytes:
    """Return rows as JSON, one a line. For short lists; `write_lines` holds no more than a piece of a long one."""
    return b"".join(_pieces(rows))


def write_lines(run: Workspace, name: str, rows: Iterable[tuple[str | int, ...]]) -> None:
    """Write rows as JSON, one a line, while they come."""
    run.write_in_parts(name, _pieces(rows))


def _pieces(rows: Iterable[tuple[str | int, ...]]) -> Iterator[bytes]:
    piece = bytearray()
    for row in rows:
        piece += row_line(row)
        if len(piece) >= _PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)


def rows(run: Workspace, name: str, columns: tuple[type, ...]) -> Iterator[list[Any]]:
    """Yield the rows of a list. Raises `WorkingFileError` where one has other columns."""
    for number, line in enumerate(run.read_lines(name), start=1):
        try:
            row = parse_row(line, columns)
        except ValueError as err:
            raise _damaged(run, name, number) from err
        yield row


def _damaged(run: Workspace, name: str, line: int) -> WorkingFileError:
    return WorkingFileError(
        f"working file s3://{run.bucket}/{run.key(name)} is damaged in line {line}",
        hint="Delete the run's folder and start the run again.",
    )
