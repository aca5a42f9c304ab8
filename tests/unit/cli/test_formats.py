"""Numbers, sizes and times read as a person says them."""

from datetime import UTC, datetime, timedelta

import pytest

from milvus_vault.cli import formats


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "0.98 KiB"), (1024, "1.00 KiB"), (10_240, "10.0 KiB"),
        (102_400, "100 KiB"), (42_000_000, "40.1 MiB"), (5 * 1024**4, "5.00 TiB"), (None, "-"),
    ],
)  # fmt: skip
def test_sizes_have_three_figures(size_bytes: int | None, text: str) -> None:
    assert formats.size(size_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (59.7, "1 min 0 s"), (185, "3 min 5 s"), (7500, "2 h 5 min"), (90_000, "1 d 1 h"), (None, "-")],
)
def test_lengths_of_time_have_two_units(seconds: float | None, text: str) -> None:
    assert formats.duration(seconds) == text


def test_distances_are_before_or_after_now() -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    assert formats.distance(now + timedelta(hours=2), now) == "in 2 h"
    assert formats.distance(now - timedelta(seconds=3), now) == "3 s ago"
