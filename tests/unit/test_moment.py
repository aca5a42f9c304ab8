"""Since when the objects of Milvus are read to prove a moment."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvus_vault.backup.moment import SUSPECT_SECONDS, Moment, evidence_of
from milvus_vault.model.objects import ListedObject

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
