"""The policies that a prune goes by are those of the schedules that exist."""

import pytest

from milvus_vault.retention.plan import schedule_policies
from tests.support.fake_scheduler import FakeScheduler


def scheduled(name: str, request: str, timezone: str = "UTC") -> FakeScheduler:
    """Return a scheduler with one schedule."""
    scheduler = FakeScheduler()
    scheduler.put(name, expression="rate(1 day)", timezone=timezone, is_enabled=False, request=request)
    return scheduler


def test_a_schedule_has_the_retention_of_its_input_and_its_own_time_zone_though_it_is_off() -> None:
    request = '{"schedule": {"name": "nightly", "timezone": "UTC", "retention": {"keep_last": 3}}}'
    (tag,) = schedule_policies(scheduled("nightly", request, "Europe/Berlin")).values()
    assert (tag.name, tag.timezone) == ("nightly", "Europe/Berlin")
    assert tag.retention is not None
    assert tag.retention.keep_last == 3


@pytest.mark.parametrize("request_json", ["{", "[]", '{"colections": []}', "{}"])
def test_a_schedule_whose_input_names_no_retention_or_cannot_be_read_has_none(request_json: str) -> None:
    assert schedule_policies(scheduled("deployed", request_json))["deployed"].retention is None
