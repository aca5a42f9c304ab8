"""Since when the objects of Milvus are read to prove a moment."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import override

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvus_vault.backup import moment as moments
from milvus_vault.backup.moment import SUSPECT_SECONDS, Margin, Moment, evidence_of
from milvus_vault.errors import ServerClockError
from milvus_vault.model.hybrid import from_milliseconds
from milvus_vault.model.objects import ListedObject
from tests.support.memory_database import InMemoryDatabase

# A moment, of which S3 has its own opinion.
TAKEN = datetime(2026, 11, 28, 12, tzinfo=UTC)


@given(
    s3_is_ahead=st.timedeltas(timedelta(days=-1), timedelta(days=1)),
    claimed_after=st.floats(0, 600),
    asked_after=st.floats(0, 600),
    written_before=st.floats(-700, 600),
)
def test_what_may_say_something_of_the_moment_is_read_whatever_clock_s3_has(
    s3_is_ahead: timedelta, claimed_after: float, asked_after: float, written_before: float
) -> None:
    def by_s3(seconds_after: float) -> datetime:
        """Return what S3 says of an object that was written so long after the moment."""
        return (TAKEN + s3_is_ahead + timedelta(seconds=seconds_after)).replace(microsecond=0)

    moment = Moment(1, taken_at=1000.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: 1000.0 + claimed_after + asked_after)
        since = moment.recent_since(by_s3(claimed_after))
    listed = ListedObject("files/insert_log/1/2/3/1/5", 1, "etag", by_s3(-written_before))

    found = evidence_of([(listed, "copy")], {3: 0}, [], since=since, is_settled=True)

    is_suspect = written_before <= SUSPECT_SECONDS
    assert not is_suspect or not found.has_nothing_newer
    # What is older by more than all that passed is left out, or each backup would read everything.
    is_old = written_before > SUSPECT_SECONDS + 12 + claimed_after + asked_after
    assert not is_old or found.has_nothing_newer


def test_without_a_time_of_s3_everything_is_read() -> None:
    listed = ListedObject("files/insert_log/1/2/3/1/5", 1, "etag", TAKEN)
    assert not evidence_of([(listed, "copy")], {3: 0}, [], since=None, is_settled=True).has_nothing_newer
    assert not evidence_of(
        [(ListedObject("files/insert_log/1/2/3/1/5", 1, "etag"), "copy")], {3: 0}, [], since=TAKEN, is_settled=True
    ).has_nothing_newer


class Server(InMemoryDatabase):
    """A Milvus whose time stands still, and which counts how often it is asked for it."""

    def __init__(self, milliseconds: int | None) -> None:
        """Let it be some time; None: it tells none."""
        super().__init__()
        self.milliseconds, self.asked = milliseconds, 0

    @override
    def current_timestamp(self) -> int | None:
        self.asked += 1
        return None if self.milliseconds is None else from_milliseconds(self.milliseconds)


class TestMargin:
    """It is measured by whoever waits: a server's time may leap by seconds."""

    @pytest.mark.parametrize(
        ("passed", "left"), [(1, 1.1), (1_500, 1.1), (29_999, 1.1), (90_000, None), (None, 1.1)], ids=str
    )
    def test_what_is_left_of_it_is_waited_for_once(
        self, monkeypatch: pytest.MonkeyPatch, passed: int | None, left: float | None
    ) -> None:
        slept: list[float] = []
        seconds = iter([7.0, 7.4])
        clock = SimpleNamespace(sleep=slept.append, monotonic=lambda: next(seconds))
        monkeypatch.setattr(moments, "time", clock)
        monkeypatch.setattr(moments, "MARGIN_SECONDS", 1.5)
        server, margin = Server(None if passed is None else 10**12 + passed), Margin(from_milliseconds(10**12))
        for _ in range(3):
            margin.wait(server)
        assert slept == pytest.approx([] if left is None else [left])
        assert server.asked == 1

    def test_all_threads_wait_with_the_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        is_over, over = threading.Event(), list[bool]()

        def sleep(_: float) -> None:
            # The others are there by now, or come later.
            together.wait()
            is_over.set()

        together = threading.Barrier(2)
        monkeypatch.setattr(time, "sleep", sleep)
        server, margin = Server(10**12 + 1), Margin(from_milliseconds(10**12))

        def wait() -> None:
            margin.wait(server)
            over.append(is_over.is_set())

        with ThreadPoolExecutor(4) as pool:
            for _ in range(4):
                pool.submit(wait)
            together.wait()
        assert over == [True] * 4
        assert server.asked == 1

    def test_a_clock_that_has_run_back_is_refused(self) -> None:
        margin = Margin(from_milliseconds(10**12))
        with pytest.raises(ServerClockError, match="and afterwards that its clock is at"):
            margin.wait(Server(10**12 - 1))
