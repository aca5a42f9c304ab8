"""How long a restore takes, by those before it."""

from datetime import UTC, datetime

from milvus_vault.runs.history import Measured, expect

ENDED = datetime(2026, 11, 28, 3, tzinfo=UTC)


def restored(name: str, seconds: float, row_count: int) -> Measured:
    """Return a restore that ended well."""
    return Measured(f"restore-{name}", ENDED, seconds, row_count)


def test_one_that_went_on_with_what_another_had_done_is_not_believed() -> None:
    history = [restored("resumed", 120, 10**9), restored("whole", 36_000, 9 * 10**8)]
    expected = expect(10**9, history)
    assert expected is not None
    assert expected.seconds == 40_000
    assert "restore-whole of 2026-11-28" in expected.told_by


def test_one_of_far_more_or_fewer_rows_says_nothing() -> None:
    assert expect(1000, [restored("large", 60, 10_001), restored("small", 5, 99)]) is None
    assert expect(1000, []) is None


def test_it_takes_at_least_as_long_as_the_shortest() -> None:
    expected = expect(100, [restored("one", 40, 1000), restored("other", 60, 5000)])
    assert expected is not None
    assert expected.seconds == 40
