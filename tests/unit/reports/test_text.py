"""Numbers, times and names in reports."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvus_vault.model.times import utc_second
from milvus_vault.reports.text import bytes_text, duration_text, rate_text, share_text, short_text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (1023, "1,023 B"),
        (1024, "1.0 KiB"),
        (1024**2 - 1, "1.0 MiB"),
        (1024**2 - 52_000, "973.2 KiB"),
        (5 * 1024**3, "5.0 GiB"),
        (1024**6, "1,024.0 PiB"),
    ],
)
def test_bytes_are_in_binary_units(number: int, text: str) -> None:
    assert bytes_text(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (3599.6, "1 h 0 min"),
        (3661, "1 h 1 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_a_duration_is_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert duration_text(timedelta(seconds=seconds)) == text


def test_a_time_is_in_utc() -> None:
    time = datetime(2026, 1, 1, 0, 30, 9, tzinfo=timezone(timedelta(hours=2)))
    assert utc_second(time) == "2025-12-31 22:30:09 UTC"
    assert utc_second(time.astimezone(UTC)) == utc_second(time)


def test_nothing_is_divided_by_zero() -> None:
    assert share_text(0, 0) == rate_text(5, timedelta()) == "-"
    assert share_text(1, 8) == "12.5 %"
    assert rate_text(3 * 1024**2, timedelta(seconds=2)) == "1.5 MiB/s"


@given(st.text(st.characters(exclude_characters="…")), st.integers(min_value=2, max_value=40))
def test_a_name_is_cut_to_its_length_and_keeps_both_ends(text: str, length: int) -> None:
    short = short_text(text, length)

    assert len(short) == min(len(text), length)
    head, ellipsis, tail = short.partition("…")
    assert bool(ellipsis) == (len(text) > length)
    assert text.startswith(head)
    assert text.endswith(tail)
    assert abs(len(head) - len(tail)) <= 1 or not ellipsis
