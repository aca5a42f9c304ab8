"""A small round is planned, copied and verified at once: as by three functions, and gone on with wherever it ends."""

import re
from collections.abc import Callable

import pytest

from milvus_vault.copying.at_once import VERIFY_SECONDS, copy_at_once
from milvus_vault.copying.batches import BatchLimits
from milvus_vault.copying.engine import copy_batch
from milvus_vault.copying.progress import copy_state
from milvus_vault.copying.working_files import BatchResult, CopyCheck, CopyPlan
from milvus_vault.errors import StorageAccessDeniedError, StorageUnavailableError
from tests.support.memory_store import InMemoryObjectStore
from tests.support.verified import read_verified
from tests.unit.copying.job import AN_HOUR, BACKUPS, LIMITS, SOURCE, Job, folder_of

THREADS = 1
"""So that requests come in the same order each time."""


class KilledError(Exception):
    """The function ends here, and nobody in it hears of it."""


def begun(*, has_random_etags: bool = False) -> Job:
    """Return a job of two targets with four objects in all, and one in the destination that belongs to nobody."""
    job = Job(InMemoryObjectStore(SOURCE, BACKUPS, has_random_etags=has_random_etags))
    job.write_sources(t0=3, t1=1)
    job.store.put(BACKUPS, f"{folder_of(0)}surplus", b"")
    return job


def take(
    job: Job,
    *,
    max_objects: int = 4,
    round_number: int = 1,
    seconds_left: float = AN_HOUR,
    limits: BatchLimits = LIMITS,
) -> tuple[CopyPlan, CopyCheck | None]:
    """Do a round at once, if it is small."""

    def copy(batch: str, deadline_seconds_left: Callable[[], float]) -> BatchResult:
        return copy_batch(job.run, batch, threads=THREADS, deadline_seconds_left=deadline_seconds_left)

    return copy_at_once(
        job.run,
        job.attempt,
        round_number,
        limits,
        max_objects=max_objects,
        copy=copy,
        verify=lambda: job.verify(round_number),
        seconds_left=lambda: seconds_left,
    )


def by_steps(job: Job) -> CopyCheck:
    """Do a round as the three functions do."""
    job.plan()
    job.copy(threads=THREADS)
    return job.verify()


def test_it_leaves_what_three_functions_leave() -> None:
    at_once, stepped = begun(), begun()

    plan, check = take(at_once)

    assert check == by_steps(stepped)
    assert check is not None
    assert check.complete == (0, 1)
    assert (plan.object_count, plan.batch_count) == (4, 1)
    # The name of what was copied ends with the rate that was found, which is another each time.
    left = [
        {
            re.sub(r"(/copied-.*)\.\d+(\.jsonl)$", r"\1\2", key): stored.body
            for key, stored in job.store.buckets[BACKUPS].items()
        }
        for job in (at_once, stepped)
    ]
    assert left[0] == left[1]
    assert at_once.copied_bodies() == at_once.expected_bodies()


def test_beside_what_the_steps_ask_for_it_looks_for_an_earlier_plan_once() -> None:
    at_once, stepped = begun(), begun()
    for job in (at_once, stepped):
        job.store.requests.clear()

    take(at_once)
    by_steps(stepped)

    # There the plan is read once as well, by the test, to know the batches.
    assert at_once.store.requests == stepped.store.requests


@pytest.mark.parametrize(
    "why", ["too many objects", "too many objects that are there", "too many targets", "two batches"]
)
def test_what_is_not_small_is_only_planned(why: str) -> None:
    job, max_objects, limits = begun(), 4, LIMITS
    if why == "too many objects":
        max_objects = 3
    elif why == "too many objects that are there":
        job.plan()
        job.copy()
        job.start_again("second")
        max_objects = 3
    elif why == "too many targets":
        for target in (2, 3, 4):
            job.write_items(target, [])
    else:
        limits = BatchLimits(max_objects=2, max_bytes=1000)
    before = job.copied_bodies()

    plan, check = take(job, max_objects=max_objects, limits=limits)

    assert check is None
    assert (plan.object_count + plan.present_object_count, len(plan.present) >= 2) == (4, True)
    assert job.copied_bodies() == before


def test_a_round_of_which_nothing_has_to_be_copied_is_verified() -> None:
    job = begun()
    by_steps(job)
    job.start_again("second")

    plan, check = take(job)

    assert (plan.batch_count, plan.object_count) == (0, 0)
    assert check is not None
    assert check.complete == (0, 1)


def test_a_round_that_was_planned_before_is_only_planned_again_and_the_next_one_is_not() -> None:
    job = begun()
    job.plan()

    assert take(job)[1] is None
    assert take(job, round_number=2)[1] is not None
    job.start_again("second")
    assert take(job)[1] is not None


def test_a_source_that_vanished_goes_another_round() -> None:
    job = begun()
    job.store.delete(SOURCE, [job.source_key(0, 1)])

    _, check = take(job)

    assert check is not None
    assert (check.again, check.complete, [lost.name for lost in check.missing_source]) == ((0,), (1,), ["default.c0"])


def test_a_refused_copy_is_told_as_it_is_by_verifying() -> None:
    job = begun()

    def refuse(operation: str, *_: str) -> None:
        if operation == "copy":
            msg = "no"
            raise StorageAccessDeniedError(msg)

    job.store.before = refuse

    with pytest.raises(StorageAccessDeniedError):
        take(job)


@pytest.mark.parametrize("seconds_left", [VERIFY_SECONDS - 1, VERIFY_SECONDS + 1])
def test_copies_for_which_there_is_no_time_are_left_to_others(seconds_left: float) -> None:
    job = begun()

    plan, check = take(job, seconds_left=seconds_left)

    assert (plan.object_count, check) == (4, None)
    job.copy()
    assert job.verify().complete == (0, 1)


def test_what_takes_all_the_time_is_verified_by_others() -> None:
    job, left = begun(), iter([AN_HOUR] * 2)

    def copy(batch: str, deadline_seconds_left: Callable[[], float]) -> BatchResult:
        return copy_batch(job.run, batch, threads=THREADS, deadline_seconds_left=deadline_seconds_left)

    def verify() -> CopyCheck:
        pytest.fail("it has no time")

    _, check = copy_at_once(
        job.run, job.attempt, 1, LIMITS, max_objects=4, copy=copy, verify=verify, seconds_left=lambda: next(left, 1.0)
    )

    assert check is None
    assert job.copied_bodies().items() >= job.expected_bodies().items()


def test_copies_on_which_s3_fails_are_left_to_others_and_the_rest_is_recorded() -> None:
    job = begun()

    def fail(operation: str, _: str, key: str) -> None:
        if operation == "copy" and key == job.source_key(0, 1):
            msg = "again and again"
            raise StorageUnavailableError(msg)

    job.store.before = fail
    plan, check = take(job)
    job.store.before = lambda *_: None
    job.store.requests.clear()

    assert (plan.batch_count, check) == (1, None)
    job.copy()
    assert job.store.requests["copy"] == 1
    assert job.verify().complete == (0, 1)


def killed_after(job: Job, last: int) -> bool:
    """Do a round at once, and let the function end after so many requests; return whether it did."""
    requests = 0

    def die(*_: str) -> None:
        nonlocal requests
        requests += 1
        if requests > last:
            raise KilledError

    job.store.before = die
    try:
        take(job)
    except KilledError:
        return True
    finally:
        job.store.before = lambda *_: None
    return False


@pytest.mark.parametrize("has_random_etags", [False, True])
@pytest.mark.parametrize("following", ["the task's retry", "another execution"])
def test_wherever_it_ends_it_is_gone_on_with(following: str, has_random_etags: bool) -> None:
    number = 0
    while True:
        number += 1
        job = begun(has_random_etags=has_random_etags)
        is_killed = killed_after(job, number)
        if following == "another execution":
            job.start_again("second")
        plan, check = take(job)
        if check is None:
            # As the machine goes on: the batch, if there is any, and what was found.
            assert following == "the task's retry"
            job.copy()
            state = copy_state(job.run, job.attempt)
            assert state is not None
            assert state.total.objects_done == state.total.objects_total == 4, number
            for progress in state.by_target.values():
                assert progress.objects_done <= progress.objects_total, number
            check = job.verify()
        assert check.complete == (0, 1), number
        assert plan.object_count + plan.present_object_count == 4
        assert job.copied_bodies() == job.expected_bodies(), number
        for target in (0, 1):
            listed = read_verified(job.run, job.attempt, target)
            stored = {key: item for key, item in job.store.buckets[BACKUPS].items() if key in listed}
            assert {key: etag for key, (etag, _) in listed.items()} == {key: item.etag for key, item in stored.items()}
        if not is_killed:
            break
    # Through planning, copying and verifying.
    assert number > 20


def test_a_look_for_the_last_plan_that_fails_is_raised() -> None:
    job = begun()

    def fail(operation: str, _: str, key: str) -> None:
        if operation == "get" and key.endswith("current.json"):
            msg = "again"
            raise StorageUnavailableError(msg)

    job.store.before = fail
    with pytest.raises(StorageUnavailableError):
        take(job)
