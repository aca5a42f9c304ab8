"""How a batch is copied: what is recorded, retried, waited out and given up."""

import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import override

import pytest

from milvus_vault.copying import engine
from milvus_vault.copying.engine import copy_batch
from milvus_vault.copying.pacer import START_RATE, Pacer
from milvus_vault.copying.working_files import (
    BatchError,
    CopyRecord,
    copied_name,
    most_complete,
    parse_copied_name,
    read_records,
    records_body,
)
from milvus_vault.errors import (
    BucketNotFoundError,
    CopyUnfinishedError,
    ObjectNotFoundError,
    StorageAccessDeniedError,
    StorageRequestError,
    StorageThrottledError,
    StorageUnavailableError,
    VaultError,
    WorkingFileError,
)
from tests.unit.copying.job import AN_HOUR, BACKUPS, SOURCE, Job

BATCH = "copy/first/r1/batch-0.jsonl"


class StallingPacer(Pacer):
    """A pacer that makes everybody wait after a number of requests."""

    def __init__(self, after: int, seconds: float) -> None:
        """Let `after` requests pass at once, and make each later one wait so long."""
        super().__init__()
        self._after, self._seconds = after, seconds

    @override
    def reserve(self, count: int = 1) -> float:
        """Return the wait."""
        self._after -= 1
        return 0.0 if self._after >= 0 else self._seconds


def copied_files(job: Job) -> list[str]:
    """Return the names of what became of the batches, without their folder and their rates."""
    names = [parse_copied_name(name) for name in job.run.names("copy/first/r1/copied-")]
    return sorted(f"copied-{name.number}.{name.objects}.{name.bytes}.jsonl" for name in names if name)


def records_of(job: Job, number: int) -> list[CopyRecord]:
    """Return what became of a batch."""
    names = most_complete(job.run.names(f"copy/first/r1/copied-{number}."))
    return [record for name in names for record in read_records(job.run, name.name)]


def test_copies_all_objects_and_records_them(job: Job) -> None:
    job.write_sources(t0=5, t1=3)
    job.plan()

    results = job.copy()

    assert job.copied_bodies() == job.expected_bodies()
    assert [(r.copied_count, r.missing_count, r.changed_count, r.copied_bytes) for r in results] == [(4, 0, 0, 4)] * 2
    assert copied_files(job) == ["copied-0.4.4.jsonl", "copied-1.4.4.jsonl"]
    record = records_of(job, 0)[0]
    assert record.etag == job.store.buckets[BACKUPS][record.key].etag
    assert record.checksum.startswith("MD5:")


def test_records_a_missing_and_a_changed_source(job: Job) -> None:
    job.write_sources(t0=4)
    job.plan()
    job.store.delete(SOURCE, [job.source_key(0, 1)])
    job.store.put(SOURCE, job.source_key(0, 2), b"!")

    (result,) = job.copy()

    assert (result.copied_count, result.missing_count, result.changed_count, result.copied_bytes) == (2, 1, 1, 2)
    records = {record.key: record.status for record in records_of(job, 0)}
    assert records == {
        job.key(0, 0): "copied",
        job.key(0, 1): "missing",
        job.key(0, 2): "changed",
        job.key(0, 3): "copied",
    }


def test_waits_throttling_out(job: Job) -> None:
    job.write_sources(t0=4)
    job.plan()
    refused: Counter[str] = Counter()

    def throttle(operation: str, _: str, key: str) -> None:
        if operation == "copy" and refused[key] < 3:
            refused[key] += 1
            msg = "SlowDown"
            raise StorageThrottledError(msg)

    job.store.before = throttle

    (result,) = job.copy()

    assert result.copied_count == 4
    assert refused.total() == 12


def test_repeats_a_copy_that_s3_failed_on(job: Job) -> None:
    job.write_sources(t0=4)
    job.plan()
    failures: Counter[str] = Counter()

    def fail(operation: str, _: str, key: str) -> None:
        if operation == "copy" and failures[key] < engine.UNAVAILABLE_ATTEMPTS - 1:
            failures[key] += 1
            msg = "InternalError"
            raise StorageUnavailableError(msg)

    job.store.before = fail

    (result,) = job.copy()

    assert result.copied_count == 4


def test_copies_the_others_before_it_reports_an_object_that_s3_fails_on(job: Job) -> None:
    job.write_sources(t0=4)
    job.plan()

    def fail(operation: str, _: str, key: str) -> None:
        if operation == "copy" and key == job.source_key(0, 2):
            msg = f"cannot copy {key}: InternalError"
            raise StorageUnavailableError(msg)

    job.store.before = fail

    with pytest.raises(StorageUnavailableError, match=job.source_key(0, 2)):
        job.copy()

    assert copied_files(job) == ["copied-0.3.3.jsonl"]


def test_stops_soon_if_s3_fails_on_everything(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "FAILED_OBJECTS", 2)
    job.write_sources(t0=4)
    job.plan()
    tried: Counter[str] = Counter()

    def fail(operation: str, _: str, key: str) -> None:
        if operation == "copy":
            tried[key] += 1
            msg = "cannot reach S3"
            raise StorageUnavailableError(msg)

    job.store.before = fail

    with pytest.raises(StorageUnavailableError):
        job.copy(threads=1)

    assert len(tried) == 2


def test_writes_down_what_is_done_when_time_runs_out_and_goes_on_from_there(job: Job) -> None:
    job.write_sources(t0=4)
    job.plan()
    # Asked twice for how long it may take, it hears "not long"; asked again, that time is over.
    answers = iter([engine.RESERVE_SECONDS + 0.2] * 2)

    with pytest.raises(CopyUnfinishedError, match="2 of 4 objects"):
        copy_batch(
            job.run,
            BATCH,
            threads=1,
            deadline_seconds_left=lambda: next(answers, 0.0),
            pacer=StallingPacer(after=2, seconds=60),
        )
    assert copied_files(job) == ["copied-0.2.2.jsonl"]

    (result,) = job.copy()

    assert result.copied_count == 4
    assert job.copied_bodies() == job.expected_bodies()
    assert job.store.requests["copy"] == 4
    assert copied_files(job) == ["copied-0.2.2.jsonl", "copied-0.4.4.jsonl"]


def test_pauses_before_it_asks_an_s3_again_that_has_failed(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "UNAVAILABLE_WAIT_SECONDS", AN_HOUR)
    job.write_sources(t0=1)
    job.plan()
    answers = iter([engine.RESERVE_SECONDS + 0.1] * 2)
    asked: list[str] = []

    def fail_once(operation: str, _: str, key: str) -> None:
        if operation == "copy":
            asked.append(key)
            if len(asked) == 1:
                msg = "InternalError"
                raise StorageUnavailableError(msg)

    job.store.before = fail_once
    with pytest.raises(CopyUnfinishedError, match="1 of 1 objects"):
        copy_batch(job.run, BATCH, threads=1, deadline_seconds_left=lambda: next(answers, 0.0))
    assert len(asked) == 1


def test_waits_for_no_copy_when_time_is_over_and_begins_no_other(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "RESERVE_SECONDS", 0.02)
    job.write_sources(t0=4)
    job.plan()
    answers = iter([engine.RESERVE_SECONDS + 0.02] * 2)
    may_end, begun = threading.Event(), list[str]()

    def take_long(operation: str, _: str, key: str) -> None:
        if operation == "copy":
            begun.append(key)
            # Long enough to see that it was waited for, where it was.
            may_end.wait(5)

    job.store.before = take_long
    with pytest.raises(CopyUnfinishedError, match="4 of 4 objects"):
        copy_batch(job.run, BATCH, threads=1, deadline_seconds_left=lambda: next(answers, 0.0))
    copying = [thread for thread in threading.enumerate() if thread.name.startswith("copy")]
    assert len(copying) == 1
    may_end.set()
    copying[0].join()
    assert len(begun) == 1


def test_does_nothing_for_a_batch_that_is_done(job: Job) -> None:
    job.write_sources(t0=4)
    job.plan()
    first = job.copy()
    job.store.requests.clear()

    assert job.copy() == first
    assert job.store.requests["copy"] == 0


@pytest.mark.parametrize("error", [StorageAccessDeniedError, BucketNotFoundError, StorageRequestError])
def test_records_a_refusal_and_copies_the_others(job: Job, error: type[VaultError]) -> None:
    job.write_sources(t0=4)
    job.plan()

    def refuse(operation: str, _: str, key: str) -> None:
        if operation == "copy" and key != job.source_key(0, 3):
            raise error(f"cannot copy {key}", hint="Ask for it.")

    job.store.before = refuse

    (result,) = job.copy(threads=1)

    assert result.error is not None
    assert result.error.error == error.__name__
    assert result.error == job.run.read("copy/first/r1/error-0.json", BatchError)
    assert result.error.hint == "Ask for it."
    assert result.copied_count == 1


def test_stops_soon_if_s3_refuses_everything(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "FAILED_OBJECTS", 2)
    job.write_sources(t0=4)
    job.plan()
    tried: list[str] = []

    def refuse(operation: str, _: str, key: str) -> None:
        if operation == "copy":
            tried.append(key)
            msg = f"cannot copy {key}"
            raise StorageAccessDeniedError(msg)

    job.store.before = refuse

    job.copy(threads=1)

    assert len(tried) == 2


def test_forgets_a_refusal_that_a_retry_does_not_meet(job: Job) -> None:
    job.write_sources(t0=4)
    job.plan()

    def refuse(operation: str, *_: str) -> None:
        if operation == "copy":
            msg = "AccessDenied"
            raise StorageAccessDeniedError(msg)

    job.store.before = refuse
    job.copy()
    job.store.before = lambda *_: None

    (result,) = job.copy()

    assert result.error is None
    assert list(job.run.names("copy/first/r1/error-")) == []
    assert job.verify().complete == (0,)


def test_raises_a_bug_in_a_thread(job: Job) -> None:
    job.write_sources(t0=4)
    job.plan()

    def break_down(operation: str, *_: str) -> None:
        if operation == "copy":
            msg = "a bug"
            raise ZeroDivisionError(msg)

    job.store.before = break_down

    with pytest.raises(ZeroDivisionError, match="a bug"):
        job.copy()


def test_writes_down_what_is_done_from_time_to_time(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "CHECKPOINT_SECONDS", 0.05)
    job.write_sources(t0=4)
    job.plan()

    copy_batch(
        job.run, BATCH, threads=1, deadline_seconds_left=lambda: AN_HOUR, pacer=StallingPacer(after=2, seconds=0.3)
    )

    assert copied_files(job) == ["copied-0.2.2.jsonl", "copied-0.3.3.jsonl", "copied-0.4.4.jsonl"]


@pytest.mark.parametrize("name", ["batch-0.jsonl", "copy/first/r1/plan.json", "copy/first/r1/batch-0.jsonl/x"])
def test_refuses_a_name_that_is_not_a_batch(job: Job, name: str) -> None:
    with pytest.raises(WorkingFileError, match="not the name of a batch"):
        copy_batch(job.run, name, threads=1, deadline_seconds_left=lambda: AN_HOUR)


def test_names_a_batch_that_was_not_planned(job: Job) -> None:
    job.write_sources(t0=1)

    with pytest.raises(ObjectNotFoundError, match=r"copy/first/r1/batch-0\.jsonl"):
        copy_batch(job.run, BATCH, threads=1, deadline_seconds_left=lambda: AN_HOUR)


def test_names_a_batch_whose_job_is_gone(job: Job) -> None:
    job.write_sources(t0=1)
    job.plan()
    job.run.delete(["copy/first/job.json"])

    with pytest.raises(ObjectNotFoundError, match=r"copy/first/job\.json"):
        copy_batch(job.run, BATCH, threads=1, deadline_seconds_left=lambda: AN_HOUR)


def write_down(job: Job, number: int, rate: int, *, minutes_ago: float) -> None:
    """Write that another function has settled a batch, at a rate."""
    job.store.clock = lambda: datetime.now(UTC) - timedelta(minutes=minutes_ago)
    job.run.write_bytes(copied_name("copy/first/r1", number, 1, 1, rate), records_body([]))
    job.store.clock = lambda: datetime.now(UTC)


def rate_of(job: Job, batch: str = BATCH) -> float:
    """Return the rate with which a new environment begins a batch."""
    rates: list[float] = []

    class Telling(Pacer):
        """A pacer that tells its rate when the first request is sent."""

        @override
        def reserve(self, count: int = 1) -> float:
            wait = super().reserve(count)
            rates.append(self.rate)
            return wait

    copy_batch(job.run, batch, threads=1, deadline_seconds_left=lambda: AN_HOUR, pacer=Telling(lambda: 0.0))
    return rates[0]


def test_a_new_environment_goes_on_at_the_rate_that_was_written_down_last(job: Job) -> None:
    job.write_sources(t0=5)
    job.plan()
    write_down(job, 7, 900, minutes_ago=3)
    write_down(job, 8, 450, minutes_ago=1)
    write_down(job, 9, 800, minutes_ago=2)
    assert rate_of(job) == 450


def test_a_rate_of_long_ago_says_nothing(job: Job) -> None:
    job.write_sources(t0=5)
    job.plan()
    write_down(job, 7, 900, minutes_ago=11)
    assert rate_of(job) == START_RATE


def test_a_rate_costs_no_request(job: Job) -> None:
    job.write_sources(t0=5)
    job.plan()
    write_down(job, 7, 900, minutes_ago=3)
    before = Counter(job.store.requests)
    rate_of(job)
    sent = job.store.requests - before
    assert (sent["list_objects"], sent["put"]) == (1, 1)


def test_the_rate_that_was_found_is_written_down(job: Job) -> None:
    job.write_sources(t0=5)
    job.plan()
    pacer = Pacer(lambda: 0.0)
    pacer.resume(123)
    copy_batch(job.run, BATCH, threads=1, deadline_seconds_left=lambda: AN_HOUR, pacer=pacer)
    (written,) = map(parse_copied_name, job.run.names("copy/first/r1/copied-0."))
    assert written
    assert written.rate == 123


def test_what_an_older_release_wrote_down_is_read(job: Job) -> None:
    job.write_sources(t0=5)
    job.plan()
    job.copy()
    (name,) = job.run.names("copy/first/r1/copied-0.")
    older = parse_copied_name(name)
    assert older
    job.run.write_bytes("copy/first/r1/copied-0.4.4.jsonl", job.run.read_bytes(name))
    job.run.delete([name])
    before = job.store.requests["copy"]
    again = copy_batch(job.run, BATCH, threads=1, deadline_seconds_left=lambda: AN_HOUR)
    assert (again.copied_count, job.store.requests["copy"]) == (4, before)
