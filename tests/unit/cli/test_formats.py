"""Times read as the person at this machine says them."""

from datetime import UTC, datetime, timedelta

from milvus_vault.cli import formats


def test_distances_are_before_or_after_now() -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    assert formats.distance(now + timedelta(hours=2), now) == "in 2 h"
    assert formats.distance(now - timedelta(seconds=3), now) == "3 s ago"
