"""A small round of copies, planned, copied and verified in one function: what starting three of them takes is longer.

By what the three do, one after the other, with the same working files in the same order. So whatever ends it in
between, the states that each do one of them go on from there (docs/adr/0052-a-small-round-is-copied-at-once.md).
"""

from collections.abc import Callable

from milvus_vault.copying.batches import BatchLimits
from milvus_vault.copying.plan import plan_copy
from milvus_vault.copying.working_files import CURRENT, CopyPlan, batch_name, round_folder
from milvus_vault.errors import CopyUnfinishedError, StorageThrottledError, StorageUnavailableError
from milvus_vault.workspace import Workspace

VERIFY_SECONDS = 300.0
"""What copying leaves of a function's time. To verify a thousand objects takes some seconds; the rest is for the logs
that are read to prove the moments of a backup."""


def copy_at_once[Check](
    run: Workspace,
    attempt: str,
    round_number: int,
    limits: BatchLimits,
    *,
    max_objects: int,
    copy: Callable[[str, Callable[[], float]], object],
    verify: Callable[[], Check],
    seconds_left: Callable[[], float],
) -> tuple[CopyPlan, Check | None]:
    """Return what a round copies, as `plan_copy` does, and if the round is small what was found of its copies.

    A round that was planned before is only planned: whatever ended that invocation, it may have been too much for
    one. And copies that do not come to their end, for lack of time or because S3 fails, are left to CopyBatch; what is
    copied is recorded.

    Args:
        run: The run's working files.
        attempt: Whose targets are copied.
        round_number: The round.
        limits: What a batch may hold.
        max_objects: What a small round may have in its targets at most, objects that are there already among them.
        copy: Copies a batch as `copy_batch` does, given its name and what tells how many seconds there are for it.
        verify: Makes the copy check of the round.
        seconds_left: How long the function may still run.

    Raises:
        VaultError: As `plan_copy`, `copy` and `verify`, but for copies that are left to CopyBatch.
    """
    earlier = run.find(CURRENT, CopyPlan)
    is_repeated = earlier is not None and (earlier.attempt, earlier.round_number) == (attempt, round_number)
    plan = plan_copy(run, attempt, round_number, limits)
    if is_repeated or not _is_small(plan, max_objects):
        return plan, None
    try:
        for number in range(plan.batch_count):
            name = batch_name(round_folder(attempt, round_number), number)
            copy(name, lambda: seconds_left() - VERIFY_SECONDS)
    except (CopyUnfinishedError, StorageThrottledError, StorageUnavailableError):
        return plan, None
    return plan, verify() if seconds_left() >= VERIFY_SECONDS else None


def _is_small(plan: CopyPlan, max_objects: int) -> bool:
    # A target without any object takes requests, too.
    things = max(plan.object_count + plan.present_object_count, len(plan.present))
    return plan.batch_count <= 1 and things <= max_objects
