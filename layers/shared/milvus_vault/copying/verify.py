"""What the destination holds, compared with what it should hold. Only this decides that a copy is done."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import batched

from milvus_vault.copying.concurrently import each
from milvus_vault.copying.documents import (
    BatchError,
    CopyJob,
    CopyTarget,
    TargetProblem,
    Verification,
    VerifiedObject,
    most_complete,
    read_job,
    read_records,
    read_targets,
    round_folder,
    verified_name,
    write_verified,
)
from milvus_vault.copying.plan import items_by_key
from milvus_vault.copying.records import Records
from milvus_vault.errors import BackupDamagedError, leaf_named
from milvus_vault.workspace import Workspace

DELETE_AT_A_TIME = 1000  # DeleteObjects limit, S3 API reference


@dataclass(slots=True)
class _TargetCheck:
    """What was found of one target."""

    target: CopyTarget
    object_count: int = 0
    size_bytes: int = 0
    deleted_count: int = 0
    missing_source: list[str] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)

    def problem(self) -> TargetProblem:
        return TargetProblem(
            index=self.target.index,
            name=self.target.name,
            missing_source_count=len(self.missing_source),
            incomplete_count=len(self.incomplete),
            example_key=min(self.missing_source or self.incomplete),
        )


def verify_copy(
    run: Workspace,
    attempt: str,
    round_number: int,
    *,
    before_deleting: Callable[[], None] = lambda: None,
    doubtful: Callable[[Iterable[int]], tuple[int, ...]] = lambda _: (),
) -> Verification:
    """Return which targets are complete, after listing the destination.

    Complete means: each item's object is there with its size, and with the source's ETag or the one that
    the copy's answer gave. What else lies in a target's folders is deleted, since a segment too many
    would be imported as doubled rows. The objects of complete targets are written down.

    Args:
        run: The run's working files.
        attempt: Whose items are to be there.
        round_number: The round of copies that is verified.
        before_deleting: Called ahead of each deletion, to raise where another attempt has taken over: what this
            one does not know may be that one's.
        doubtful: Given the indices of targets whose objects are all there, returns which of them have to go another
            round for what the objects hold.

    Raises:
        StorageAccessDeniedError: Nothing is complete, and a batch recorded that S3 refused it for this;
            likewise every other error that a batch can record, since an error's name does not come out of a
            distributed Map.
        ObjectNotFoundError: The job or a target's item list was not written.
        WorkingFileError: A working file is damaged.
    """
    folder = round_folder(attempt, round_number)
    refusal = _first_refusal(run, folder)
    job = read_job(run, attempt)
    records = Records.load(run)
    lost = _lost_sources(run, folder)

    check = partial(_check_target, run, attempt, job, records, lost, before_deleting)
    checks = list(each(check, read_targets(run, attempt)))
    # Listed in the order of their names, where 10 comes before 2.
    checks.sort(key=lambda check: check.target.index)
    there = [check for check in checks if not check.missing_source and not check.incomplete]
    again = doubtful(check.target.index for check in there)
    complete = [check for check in there if check.target.index not in again]
    verification = Verification(
        complete=tuple(check.target.index for check in complete),
        missing_source=tuple(check.problem() for check in checks if check.missing_source),
        incomplete=tuple(check.problem() for check in checks if check.incomplete and not check.missing_source),
        object_count=sum(check.object_count for check in complete),
        size_bytes=sum(check.size_bytes for check in complete),
        deleted_count=sum(check.deleted_count for check in checks),
        refusal=refusal,
        doubtful=again,
    )
    if not there:
        raise_if_refused(verification)
    # Lists of an earlier round, when a target was complete with other items.
    run.delete([verified_name(attempt, index) for index in verification.again])
    run.write(f"{folder}/verification.json", verification)
    return verification


def raise_if_refused(found: Verification) -> None:
    """Raise what S3 refused copies for, if it did."""
    if found.refusal is not None:
        raise leaf_named(found.refusal.error)(found.refusal.message, hint=found.refusal.hint)


def raise_if_source_is_gone(found: Verification) -> None:
    """Raise `BackupDamagedError` where objects of a backup vanished or changed while they were copied from it."""
    if found.missing_source:
        first = found.missing_source[0]
        count = first.missing_source_count
        msg = f"{count} object(s) of {first.name} vanished or changed since the check, as {first.example_key}"
        raise BackupDamagedError(msg, hint="Somebody writes to the backup. Restore it from another copy.")


def read_verification(run: Workspace, attempt: str, round_number: int) -> Verification:
    """Return what a round's verification found.

    Raises:
        ObjectNotFoundError: The round was not verified.
        WorkingFileError: The document is not one.
    """
    return run.read(f"{round_folder(attempt, round_number)}/verification.json", Verification)


def _first_refusal(run: Workspace, folder: str) -> BatchError | None:
    names = sorted(run.names(f"{folder}/error-"))
    if not names:
        return None
    recorded = run.read(names[0], BatchError)
    others = f" (batches that gave up: {len(names)})" if len(names) > 1 else ""
    return recorded.model_copy(update={"message": recorded.message + others})


def _lost_sources(run: Workspace, folder: str) -> set[str]:
    """Return the keys whose source this round found gone or changed."""
    lost: set[str] = set()
    for copied in most_complete(run.names(f"{folder}/copied-")):
        lost.update(record.key for record in read_records(run, copied.name) if record.status != "copied")
    return lost


def _check_target(
    run: Workspace,
    attempt: str,
    job: CopyJob,
    records: Records,
    lost: set[str],
    before_deleting: Callable[[], None],
    target: CopyTarget,
) -> _TargetCheck:
    check = _TargetCheck(target)
    items = items_by_key(run, attempt, target)
    verified: dict[str, VerifiedObject] = {}
    surplus: list[str] = []
    for folder in target.folders:
        for found in run.store.list_objects(job.destination_bucket, folder):
            item = items.get(found.key)
            if item is None:
                surplus.append(found.key)
            elif records.is_copy(item, found):
                # The item's own key, not the equal one of the listing: of a million, that is 200 MB.
                checksum = records.checksum(found)
                verified[item.key] = VerifiedObject(item.key, item.size_bytes, found.etag, checksum)
    for keys in batched(surplus, DELETE_AT_A_TIME, strict=False):
        before_deleting()
        run.store.delete(job.destination_bucket, keys)
    check.object_count = len(verified)
    check.size_bytes = sum(found.size_bytes for found in verified.values())
    check.deleted_count = len(surplus)
    check.missing_source = [key for key in items if key in lost and key not in verified]
    check.incomplete = [key for key in items if key not in lost and key not in verified]
    if len(verified) == len(items):
        write_verified(run, attempt, target.index, verified.values())
    return check
