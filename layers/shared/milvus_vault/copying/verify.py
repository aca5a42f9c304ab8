"""What the destination holds, compared with what it should hold. Only this decides that a copy is done."""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import batched

from milvus_vault.copying.plan import items_by_key
from milvus_vault.copying.records import Records
from milvus_vault.copying.working_files import (
    CURRENT,
    BatchError,
    CopiedName,
    CopyCheck,
    CopyPlan,
    CopyShares,
    CopyTarget,
    TargetProblem,
    complete_indexes,
    most_complete,
    read_job,
    read_records,
    read_target,
    read_targets,
    round_folder,
    target_indexes,
    verified_name,
    write_verified,
)
from milvus_vault.errors import BackupDamagedError, leaf_named
from milvus_vault.model.objects import CopiedObject, CopyJob
from milvus_vault.parallel import each
from milvus_vault.workspace import Workspace

DELETE_AT_A_TIME = 1000  # DeleteObjects limit, S3 API reference


@dataclass(frozen=True, slots=True)
class _TargetCheck:
    """What was found of one target."""

    target: CopyTarget
    object_count: int
    """Objects that are as they should be."""
    size_bytes: int
    """Of those."""
    surplus: Sequence[str]
    """Keys of what lies in its folders and does not belong there."""
    missing_source: Sequence[str]
    incomplete: Sequence[str]

    @property
    def is_complete(self) -> bool:
        return not self.missing_source and not self.incomplete

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
    known: Container[int] = frozenset(),
) -> CopyCheck:
    """Return which targets are complete, after listing the destination.

    Complete means: each item's object is there with its size, and with the source's ETag or the one that
    the copy's answer gave. What else lies in a target's folders is deleted, since a segment too many
    would be imported as doubled rows. The objects of complete targets are written down, if the job says so.

    Args:
        run: The run's working files.
        attempt: Whose items are to be there.
        round_number: The round of copies that is verified.
        before_deleting: Called ahead of each deletion, to raise where another attempt has taken over: what this
            one does not know may be that one's.
        doubtful: Given the indices of targets whose objects are all there, returns which of them have to go another
            round for what the objects hold.
        known: Indices of targets that `incomplete_targets` has proven complete. They are in use, and left alone.

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

    def check_and_tidy(target: CopyTarget) -> _TargetCheck:
        check, objects = _check_target(run, attempt, job, records, lost, target)
        for keys in batched(check.surplus, DELETE_AT_A_TIME, strict=False):
            before_deleting()
            run.store.delete(job.destination_bucket, keys)
        if check.is_complete:
            write_verified(run, attempt, target.index, objects)
        return check

    targets = [target for target in read_targets(run, attempt) if target.index not in known]
    checks = list(each(check_and_tidy, targets))
    # Listed in the order of their names, where 10 comes before 2.
    checks.sort(key=lambda check: check.target.index)
    there = [check.target.index for check in checks if check.is_complete]
    found = _copy_check(checks, doubtful(there), refusal)
    if targets and not there:
        raise_if_refused(found)
    # Lists of an earlier round, when a target was complete with other items.
    run.delete([verified_name(attempt, index) for index in found.again])
    run.write(f"{folder}/verification.json", found)
    return found


def _copy_check(checks: Sequence[_TargetCheck], doubtful: tuple[int, ...], refusal: BatchError | None) -> CopyCheck:
    """Return what was found of all targets."""
    complete = [check for check in checks if check.is_complete and check.target.index not in doubtful]
    return CopyCheck(
        complete=tuple(check.target.index for check in complete),
        missing_source=tuple(check.problem() for check in checks if check.missing_source),
        incomplete=tuple(check.problem() for check in checks if check.incomplete and not check.missing_source),
        object_count=sum(check.object_count for check in complete),
        size_bytes=sum(check.size_bytes for check in complete),
        deleted_count=sum(len(check.surplus) for check in checks),
        refusal=refusal,
        doubtful=doubtful,
    )


def raise_if_refused(found: CopyCheck) -> None:
    """Raise what S3 refused copies for, if it did."""
    if found.refusal is not None:
        raise leaf_named(found.refusal.error)(found.refusal.message, hint=found.refusal.hint)


def raise_if_source_is_gone(found: CopyCheck) -> None:
    """Raise `BackupDamagedError` where objects of a backup vanished or changed while they were copied from it."""
    if found.missing_source:
        first = found.missing_source[0]
        count = first.missing_source_count
        msg = f"{count} object(s) of {first.name} vanished or changed since the check, as {first.example_key}"
        raise BackupDamagedError(msg, hint="Somebody writes to the backup. Restore it from another copy.")


def read_copy_check(run: Workspace, attempt: str, round_number: int) -> CopyCheck:
    """Return what was found of a round's copies.

    Raises:
        ObjectNotFoundError: The round was not verified.
        WorkingFileError: The document is not one.
    """
    return run.read(f"{round_folder(attempt, round_number)}/verification.json", CopyCheck)


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


def incomplete_targets(
    run: Workspace, attempt: str, *, checked: set[int], has_time: Callable[[], bool] = lambda: True
) -> set[int]:
    """Return the targets that are not proven complete, after looking at those to which no batch still has to copy.

    For those who continue with a target while others are still copied; nothing is deleted. What is not settled here, as
    a target with anything else in its folders, `verify_copy` settles at the round's end.

    Args:
        run: The run's working files.
        attempt: Whose items are to be there.
        checked: Targets that are not to be looked at; those that were are added.
        has_time: Asked before each further look.

    Raises:
        ObjectNotFoundError: The job or a target's item list was not written.
        WorkingFileError: A working file is damaged.
    """
    left = target_indexes(run, attempt) - complete_indexes(run, attempt)
    plan = run.find(CURRENT, CopyPlan) if left else None
    if plan is None or plan.attempt != attempt:
        return left
    folder = round_folder(attempt, plan.round_number)
    shares = run.read(f"{folder}/shares.json", CopyShares)
    copied = {found.number: found for found in most_complete(run.names(f"{folder}/copied-"))}
    under_way = {
        share.target
        for number, batch in enumerate(shares.batches)
        if number not in copied or copied[number].objects < sum(share.objects for share in batch)
        for share in batch
    }
    settled = left - under_way - checked
    if not settled:
        return left
    job, records = read_job(run, attempt), _records_of(run, settled, shares, copied)

    def is_proven(index: int) -> bool:
        if not has_time():
            return False
        checked.add(index)
        target = read_target(run, attempt, index)
        check, objects = _check_target(run, attempt, job, records, frozenset(), target)
        if not check.is_complete or check.surplus:
            return False
        write_verified(run, attempt, index, objects)
        return True

    proven = {index for index, is_there in zip(settled, each(is_proven, settled), strict=True) if is_there}
    return left - proven


def _records_of(
    run: Workspace, targets: Container[int], shares: CopyShares, copied: Mapping[int, CopiedName]
) -> Records:
    """Return what a round recorded of some targets, or all attempts, if some of their objects were there before."""
    if any(share.objects for share in shares.present if share.target in targets):
        return Records.load(run)
    batches = (number for number, batch in enumerate(shares.batches) if any(share.target in targets for share in batch))
    return Records.read(run, (copied[number].name for number in batches))


def _check_target(
    run: Workspace, attempt: str, job: CopyJob, records: Records, lost: Container[str], target: CopyTarget
) -> tuple[_TargetCheck, list[CopiedObject]]:
    """Return what was found of a target, and those of its objects that are as they should be, if the job lists them."""
    items = items_by_key(run, attempt, target)
    objects: list[CopiedObject] = []
    there: set[str] = set()
    surplus: list[str] = []
    for folder in target.folders_to_list(items):
        for found in run.store.list_objects(job.destination_bucket, folder):
            item = items.get(found.key)
            if item is None:
                if not target.is_shared:
                    surplus.append(found.key)
            elif records.is_copy(item, found):
                # The item's own key, not the equal one of the listing: of a million, that is 200 MB.
                there.add(item.key)
                if job.lists_objects:
                    objects.append(CopiedObject(item.key, found.etag, records.checksum(found)))
    unverified = [key for key in items if key not in there]
    check = _TargetCheck(
        target=target,
        object_count=len(there),
        size_bytes=sum(items[key].size_bytes for key in there),
        surplus=surplus,
        missing_source=[key for key in unverified if key in lost],
        incomplete=[key for key in unverified if key not in lost],
    )
    return check, objects
