"""What the destination holds, compared with what it should hold. Only this decides that a copy is done."""

from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import batched, takewhile
from typing import NamedTuple

from milvus_vault.copying.plan import items_by_key
from milvus_vault.copying.records import Records
from milvus_vault.copying.working_files import (
    COPYING,
    CURRENT,
    BatchError,
    CopiedName,
    CopyCheck,
    CopyPart,
    CopyPlan,
    CopyTarget,
    PartsCheck,
    TargetProblem,
    complete_indexes,
    most_complete,
    part_finder,
    read_items,
    read_job,
    read_parts,
    read_records,
    read_target,
    read_targets,
    round_folder,
    target_indexes,
    verified_name,
    write_parts,
    write_verified,
)
from milvus_vault.errors import BackupDamagedError, leaf_named
from milvus_vault.model.objects import CopiedObject, CopyItem, CopyJob
from milvus_vault.parallel import each
from milvus_vault.spans import list_in_spans
from milvus_vault.workspace import Workspace

DELETE_AT_A_TIME = 1000  # DeleteObjects limit, S3 API reference

# A look at parts of a target reads its item list and what was recorded of its copies: of a million objects some 250 MB,
# which takes 10 s. It lists only the parts that it looks at, so that all looks together list a target once: a LIST for
# a thousand objects, which costs as much as one copy, is 0.1 % of what copying them costs.
LOOKS_A_TARGET = 10


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
    doubtful: Callable[[Container[int]], tuple[int, ...]] = lambda _: (),
    known: Container[int] = frozenset(),
) -> CopyCheck:
    """Return which targets are complete, after listing the destination.

    Complete means: each item's object is there with its size, and with the source's ETag or the one that
    the copy's answer gave. What else lies in a target's folders is deleted, since a segment too many
    would be imported as doubled rows. The objects of complete targets are written down, if the job says so. Parts of a
    target that `incomplete_targets` has proven complete are in use, and nothing in them is touched.

    Args:
        run: The run's working files.
        attempt: Whose items are to be there.
        round_number: The round of copies that is verified.
        before_deleting: Called ahead of each deletion, to raise where another attempt has taken over: what this
            one does not know may be that one's.
        doubtful: Given the indices of targets whose objects are not all there, returns what else has to go another
            round, for what the objects hold: other targets, or what is none since nothing of it had to be copied.
        known: Indices of targets that `incomplete_targets` has proven complete. They are in use, and left alone.

    Raises:
        StorageAccessDeniedError: Nothing is complete, and a batch recorded that S3 refused it for this;
            likewise every other error that a batch can record, since an error's name does not come out of a
            distributed Map.
        ObjectNotFoundError: The job or a target's item list was not written.
        WorkingFileError: A working file is damaged.
    """
    folder = round_folder(attempt, round_number)
    names = list(run.names(COPYING))
    refusal = _first_refusal(run, folder, names)
    job = read_job(run, attempt)
    records = Records.load(run, names)
    lost = _lost_sources(run, folder, names)
    parts = read_parts(run, attempt, names)

    def check_and_tidy(target: CopyTarget) -> _TargetCheck:
        check, objects = _check_target(run, attempt, job, records, lost, target, parts[target.index].prefixes)
        for keys in batched(check.surplus, DELETE_AT_A_TIME, strict=False):
            before_deleting()
            run.store.delete(job.destination_bucket, keys)
        if check.is_complete:
            write_verified(run, attempt, target.index, objects)
        return check

    targets = [target for target in read_targets(run, attempt, names) if target.index not in known]
    checks = list(each(check_and_tidy, targets))
    # Listed in the order of their names, where 10 comes before 2.
    checks.sort(key=lambda check: check.target.index)
    lacking = {check.target.index for check in checks if not check.is_complete}
    found = _copy_check(checks, doubtful(lacking), refusal)
    if targets and len(lacking) == len(targets):
        raise_if_refused(found)
    # Lists of an earlier round, when a target was complete with other items.
    run.delete([verified_name(attempt, index) for index in found.again])
    run.write(_check_name(attempt, round_number), found)
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


def find_copy_check(run: Workspace, attempt: str, round_number: int) -> CopyCheck | None:
    """Return what was found of the newest round that is verified, up to this one; None where there is none."""
    for number in range(round_number, 0, -1):
        found = run.find(_check_name(attempt, number), CopyCheck)
        if found is not None:
            return found
    return None


def read_copy_check(run: Workspace, attempt: str, round_number: int) -> CopyCheck:
    """Return what was found of a round's copies.

    Raises:
        ObjectNotFoundError: The round was not verified.
        WorkingFileError: The document is not one.
    """
    return run.read(_check_name(attempt, round_number), CopyCheck)


def _check_name(attempt: str, round_number: int) -> str:
    return f"{round_folder(attempt, round_number)}/verification.json"


def _first_refusal(run: Workspace, folder: str, names: Iterable[str]) -> BatchError | None:
    errors = sorted(name for name in names if name.startswith(f"{folder}/error-"))
    if not errors:
        return None
    recorded = run.read(errors[0], BatchError)
    others = f" (batches that gave up: {len(errors)})" if len(errors) > 1 else ""
    return recorded.model_copy(update={"message": recorded.message + others})


def _lost_sources(run: Workspace, folder: str, names: Iterable[str]) -> set[str]:
    """Return the keys whose source this round found gone or changed."""
    lost: set[str] = set()
    for copied in most_complete(name for name in names if name.startswith(f"{folder}/")):
        lost.update(record.key for record in read_records(run, copied.name) if record.status != "copied")
    return lost


class _Look(NamedTuple):
    """What is to be looked at of a target that is still copied."""

    target: CopyTarget
    front: int
    """How many of its objects, from the front, are there."""
    before: PartsCheck
    """What was found of it before."""

    @property
    def ready(self) -> list[CopyPart]:
        """Return the next parts of which all objects should be there."""
        return list(takewhile(lambda part: part.ends_at <= self.front, self.target.parts[len(self.before.complete) :]))

    @property
    def is_due(self) -> bool:
        """Return whether there are such parts, and so much more of the target than before that it is worth a look."""
        objects = max((part.ends_at for part in self.target.parts), default=0)
        return bool(self.ready) and (self.front - self.before.objects) * LOOKS_A_TARGET >= objects


def incomplete_targets(
    run: Workspace, attempt: str, *, checked: set[int], has_time: Callable[[], bool] = lambda: True
) -> dict[int, int]:
    """Return the targets that are not proven complete, each with how many of its parts, from the front, are.

    Looked at are those to which no batch still has to copy, and the next parts of the others, whenever all objects of
    one are copied and another tenth of the target's. For those who go on with a target, or with parts of it, while the
    rest is copied; nothing is deleted. What is not settled here, as a target with anything else in its folders,
    `verify_copy` settles at the round's end.

    Args:
        run: The run's working files.
        attempt: Whose items are to be there.
        checked: Targets that are not to be looked at as a whole; those that were are added.
        has_time: Asked before each further look.

    Raises:
        ObjectNotFoundError: The job or a target's item list was not written.
        WorkingFileError: A working file is damaged.
    """
    left = target_indexes(run, attempt) - complete_indexes(run, attempt)
    plan = run.find(CURRENT, CopyPlan) if left else None
    if plan is None or plan.attempt != attempt:
        return dict.fromkeys(left, 0)
    folder = round_folder(attempt, plan.round_number)
    copied = {found.number: found for found in most_complete(run.names(f"{folder}/copied-"))}
    fronts, parts = _fronts(plan, copied), read_parts(run, attempt)
    settled = left - fronts.keys() - checked
    looks = list(_looks(run, attempt, {index: fronts[index] for index in left & fronts.keys()}, parts))
    if not settled and not looks:
        return {index: len(parts[index].complete) for index in left}
    job = read_job(run, attempt)
    records = _records_of(run, settled | {look.target.index for look in looks}, plan, copied)

    def is_proven(index: int) -> bool:
        if not has_time():
            return False
        checked.add(index)
        target = read_target(run, attempt, index)
        check, objects = _check_target(run, attempt, job, records, frozenset(), target, parts[index].prefixes)
        if not check.is_complete or check.surplus:
            return False
        write_verified(run, attempt, index, objects)
        return True

    def parts_after(look: _Look) -> PartsCheck:
        if not has_time():
            return look.before
        found = _complete_parts(run, attempt, job, records, look)
        write_parts(run, attempt, look.target.index, found)
        return found

    proven = {index for index, is_there in zip(settled, each(is_proven, settled), strict=True) if is_there}
    parts.update(zip((look.target.index for look in looks), each(parts_after, looks), strict=True))
    return {index: len(parts[index].complete) for index in left - proven}


def _fronts(plan: CopyPlan, copied: Mapping[int, CopiedName]) -> dict[int, int]:
    """Return the targets to which a batch still has to copy, each with how many objects are there, from the front.

    Batches are cut in the order of a target's list. What was there before may lie anywhere in it, and is not counted:
    so this many are there for certain.
    """
    done, fronts = defaultdict[int, int](int), dict[int, int]()
    for number, batch in enumerate(plan.batches):
        is_settled = number in copied and copied[number].objects >= sum(share.objects for share in batch)
        for share in batch:
            if not is_settled:
                fronts.setdefault(share.target, done[share.target])
            done[share.target] += share.objects
    return fronts


def _looks(run: Workspace, attempt: str, fronts: Mapping[int, int], parts: Mapping[int, PartsCheck]) -> Iterator[_Look]:
    """Yield what has become worth a look of the targets that are still copied, by how far they are."""
    moved = [index for index, front in fronts.items() if front > parts[index].objects]
    for target in each(lambda index: read_target(run, attempt, index), moved):
        look = _Look(target, fronts[target.index], parts[target.index])
        if look.is_due:
            yield look


def _complete_parts(run: Workspace, attempt: str, job: CopyJob, records: Records, look: _Look) -> PartsCheck:
    """Return which parts of a target are complete, after looking at the next ones until one is not."""
    ready = look.ready
    items: Sequence[dict[str, CopyItem]] = [{} for _ in ready]
    part_of = part_finder(ready)
    for item in read_items(run, attempt, look.target.index):
        if (position := part_of(item.key)) is not None:
            items[position][item.key] = item

    def is_complete(part: CopyPart, wanted: Mapping[str, CopyItem]) -> bool:
        found = _compare(run, job, records, part.prefixes, wanted)
        return len(found.there) == len(wanted) and not found.surplus

    complete = takewhile(lambda pair: is_complete(*pair), zip(ready, items, strict=True))
    return PartsCheck(objects=look.front, complete=(*look.before.complete, *(part for part, _ in complete)))


def _records_of(run: Workspace, targets: Container[int], plan: CopyPlan, copied: Mapping[int, CopiedName]) -> Records:
    """Return what a round recorded of some targets, or all attempts, if some of their objects were there before."""
    if any(share.objects for share in plan.present if share.target in targets):
        return Records.load(run, run.names(COPYING))
    batches = (number for number, batch in enumerate(plan.batches) if any(share.target in targets for share in batch))
    return Records.read(run, (copied[number].name for number in batches if number in copied))


class _Found(NamedTuple):
    """What lies in some folders of the destination."""

    there: set[str]
    """Keys of the objects that are as they should be."""
    surplus: list[str]
    """Keys of what does not belong there."""
    objects: list[CopiedObject]
    """Those that are as they should be, if the job lists them."""


def _compare(
    run: Workspace,
    job: CopyJob,
    records: Records,
    folders: Iterable[str],
    items: Mapping[str, CopyItem],
    in_use: tuple[str, ...] = (),
    *,
    is_shared: bool = False,
) -> _Found:
    """Return what lies in some folders, beside the items that are to lie there, by their keys.

    What belongs to others in folders that are shared is no surplus.
    """
    found = _Found(set(), [], [])
    for folder in folders:
        for listed in list_in_spans(run.store, job.destination_bucket, folder, lambda: sorted(items)):
            item = items.get(listed.key)
            if item is None:
                if not (is_shared or listed.key.startswith(in_use)):
                    found.surplus.append(listed.key)
            elif records.is_copy(item, listed, in_use):
                # The item's own key, not the equal one of the listing: of a million, that is 200 MB.
                found.there.add(item.key)
                if job.lists_objects:
                    found.objects.append(CopiedObject(item.key, listed.etag, records.checksum(listed)))
    return found


def _check_target(
    run: Workspace,
    attempt: str,
    job: CopyJob,
    records: Records,
    lost: Container[str],
    target: CopyTarget,
    in_use: tuple[str, ...],
) -> tuple[_TargetCheck, list[CopiedObject]]:
    """Return what was found of a target, and those of its objects that are as they should be, if the job lists them."""
    items = items_by_key(run, attempt, target)
    found = _compare(run, job, records, target.folders_to_list(items), items, in_use, is_shared=target.is_shared)
    unverified = [key for key in items if key not in found.there]
    check = _TargetCheck(
        target=target,
        object_count=len(found.there),
        size_bytes=sum(items[key].size_bytes for key in found.there),
        surplus=found.surplus,
        missing_source=[key for key in unverified if key in lost],
        incomplete=[key for key in unverified if key not in lost],
    )
    return check, found.objects
