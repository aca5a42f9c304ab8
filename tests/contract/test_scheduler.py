"""EventBridge Scheduler by its adapter, on the emulator."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from local.aws import Ministack
from milvus_vault.adapters.scheduler import EventBridgeScheduler
from milvus_vault.errors import ServiceRequestError, ServiceUnavailableError
from milvus_vault.model.schedules import ScheduleKind

MACHINE = "arn:aws:states:us-east-1:000000000000:stateMachine:vault-backup"
DRILLS = "arn:aws:states:us-east-1:000000000000:stateMachine:vault-drill"
MACHINES: dict[ScheduleKind, str] = {"backup": MACHINE, "drill": DRILLS}
ROLE = "arn:aws:iam::000000000000:role/vault-scheduler"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:vault-dead-letters"
EXPRESSION, TIMEZONE, REQUEST = "cron(0 3 * * ? *)", "Europe/Berlin", '{"a": 1}'


def connect(ministack: Ministack, group: str) -> EventBridgeScheduler:
    """Return the adapter of a group."""
    return EventBridgeScheduler(group, MACHINES, ROLE, QUEUE, ministack.client("scheduler"))


def put_nightly(scheduler: EventBridgeScheduler) -> None:
    """Put the schedule nightly."""
    scheduler.put("nightly", kind="backup", expression=EXPRESSION, timezone=TIMEZONE, is_enabled=True, request=REQUEST)


@pytest.fixture
def scheduler(ministack: Ministack) -> EventBridgeScheduler:
    """A schedule group of its own."""
    group = f"vault-{uuid.uuid4()}"
    ministack.client("scheduler").create_schedule_group(Name=group)
    return connect(ministack, group)


def test_a_schedule_is_found_as_it_was_put(scheduler: EventBridgeScheduler) -> None:
    assert scheduler.find("nightly") is None
    put_nightly(scheduler)
    found = scheduler.find("nightly")
    assert found is not None
    assert (found.expression, found.timezone, found.is_enabled, found.request) == (EXPRESSION, TIMEZONE, True, REQUEST)
    assert found.kind == "backup"
    assert abs(datetime.now(UTC) - found.changed_at) < timedelta(minutes=1)
    assert scheduler.names() == ["nightly"]


def test_putting_it_again_replaces_all_of_it(scheduler: EventBridgeScheduler) -> None:
    put_nightly(scheduler)
    scheduler.put("nightly", kind="drill", expression="rate(1 day)", timezone="UTC", is_enabled=False, request="{}")
    found = scheduler.find("nightly")
    assert found is not None
    assert (found.expression, found.timezone, found.is_enabled, found.request) == ("rate(1 day)", "UTC", False, "{}")
    assert found.kind == "drill"


def test_a_schedule_starts_the_machine_and_what_cannot_be_started_goes_to_the_queue(
    ministack: Ministack, scheduler: EventBridgeScheduler
) -> None:
    put_nightly(scheduler)
    kept = ministack.client("scheduler").get_schedule(GroupName=scheduler.group, Name="nightly")
    assert kept["Target"] == {
        "Arn": MACHINE,
        "RoleArn": ROLE,
        "Input": '{"a": 1}',
        "DeadLetterConfig": {"Arn": QUEUE},
        "RetryPolicy": {"MaximumEventAgeInSeconds": 3600, "MaximumRetryAttempts": 30},
    }
    assert kept["FlexibleTimeWindow"] == {"Mode": "OFF"}


def test_a_group_has_only_its_own_schedules(ministack: Ministack, scheduler: EventBridgeScheduler) -> None:
    put_nightly(scheduler)
    group = f"vault-{uuid.uuid4()}"
    ministack.client("scheduler").create_schedule_group(Name=group)
    other = connect(ministack, group)
    assert other.names() == []
    assert other.find("nightly") is None
    assert not other.delete("nightly")
    assert scheduler.delete("nightly")
    assert scheduler.find("nightly") is None


def test_a_refusal_is_named(ministack: Ministack) -> None:
    with pytest.raises(ServiceRequestError, match="EventBridge Scheduler refuses CreateSchedule"):
        put_nightly(connect(ministack, "no-such-group"))


def test_no_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"ENDPOINT_URL": "http://127.0.0.1:1", "DEFAULT_REGION": "us-east-1"}
    credentials = {"ACCESS_KEY_ID": "none", "SECRET_ACCESS_KEY": "none"}
    for name, value in (settings | credentials).items():
        monkeypatch.setenv(f"AWS_{name}", value)
    with pytest.raises(ServiceUnavailableError, match="EventBridge Scheduler cannot be reached"):
        EventBridgeScheduler("default", MACHINES, ROLE, QUEUE).names()
