"""What can be done with schedules, on a Scheduler in memory."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from milvus_vault.errors import (
    InvalidRequestError,
    ScheduleManagedError,
    ScheduleNotFoundError,
    VaultError,
)
from milvus_vault.model.requests import BackupRequest, DrillRequest, ScheduleTag
from milvus_vault.model.resources import ScheduleSpec
from milvus_vault.model.retention import Retention
from milvus_vault.model.schedules import DrillSuccess
from milvus_vault.schedules import Schedules
from tests.support.fake_scheduler import EPOCH, FakeScheduler, FakeSuccesses

NOW = EPOCH + timedelta(days=10, hours=12)
NIGHTLY = ScheduleSpec(
    expression="cron(0 3 * * ? *)",
    timezone="Europe/Berlin",
    request=BackupRequest(collections=("shop.*",), skip_flush=True),
    retention=Retention(keep_last=3),
)


@pytest.fixture
def scheduler() -> FakeScheduler:
    """No schedules yet."""
    return FakeScheduler()


@pytest.fixture
def successes() -> FakeSuccesses:
    """What the catalogue knows: `nightly` has succeeded once."""
    return FakeSuccesses({"nightly": EPOCH})


@pytest.fixture
def schedules(scheduler: FakeScheduler, successes: FakeSuccesses) -> Schedules:
    """The schedules at noon of 11 January."""
    return Schedules(scheduler, successes, lambda: NOW)


def test_a_schedule_is_found_as_it_was_put(schedules: Schedules) -> None:
    put = schedules.put("nightly", NIGHTLY)
    assert put == schedules.get("nightly")
    assert {name: getattr(put, name) for name in ScheduleSpec.model_fields} == {
        name: getattr(NIGHTLY, name) for name in ScheduleSpec.model_fields
    }
    assert put.next_run_at == datetime(2026, 1, 12, 2, 0, tzinfo=UTC)
    assert put.last_success_at == EPOCH
    assert not put.is_deployed


def test_the_backups_of_a_schedule_carry_its_name_zone_and_retention(
    schedules: Schedules, scheduler: FakeScheduler
) -> None:
    schedules.put("nightly", NIGHTLY)
    request = BackupRequest.model_validate_json(scheduler.kept["nightly"].request)
    tag = ScheduleTag(name="nightly", timezone="Europe/Berlin", retention=NIGHTLY.retention)
    assert request == NIGHTLY.request.model_copy(update={"schedule": tag})
    # The machine gets what the user asked for, and the defaults of the release that runs then.
    assert json.loads(scheduler.kept["nightly"].request).keys() == {"collections", "skip_flush", "schedule"}


def test_putting_the_same_again_changes_nothing_so_that_a_rate_goes_on_counting(
    schedules: Schedules, scheduler: FakeScheduler
) -> None:
    schedules.put("nightly", NIGHTLY)
    again = schedules.put("nightly", NIGHTLY)
    assert again == schedules.get("nightly")
    assert scheduler.changes == 1


@pytest.mark.parametrize(
    "change",
    [
        {"expression": "rate(2 hours)"},
        {"timezone": "UTC"},
        {"enabled": False},
        {"retention": None},
        {"request": BackupRequest()},
    ],
    ids=lambda change: next(iter(change)),
)
def test_any_difference_is_written(schedules: Schedules, scheduler: FakeScheduler, change: dict[str, object]) -> None:
    schedules.put("nightly", NIGHTLY)
    changed = schedules.put("nightly", NIGHTLY.model_copy(update=change))
    assert scheduler.changes == 2
    assert all(getattr(changed, name) == value for name, value in change.items())


def test_a_schedule_that_is_off_has_no_next_run(schedules: Schedules) -> None:
    off = schedules.put("nightly", NIGHTLY.model_copy(update={"enabled": False}))
    assert off.next_run_at is None


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (ScheduleSpec(expression="daily"), "neither rate"),
        (ScheduleSpec(expression="rate(1 day)", timezone="Berlin"), "'Berlin' is not a time zone"),
        (
            ScheduleSpec(expression="rate(1 day)", request=BackupRequest(backup_name="mine")),
            "request.backup_name: the request of a schedule must not have it",
        ),
        (
            ScheduleSpec(expression="rate(1 day)", request=BackupRequest(schedule=ScheduleTag(name="other"))),
            "request.schedule: the request of a schedule must not have it",
        ),
        (
            ScheduleSpec(
                expression="rate(1 day)", drill=DrillRequest(newest_of="nightly", schedule=ScheduleTag(name="other"))
            ),
            "drill.schedule: the request of a schedule must not have it",
        ),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(
    schedules: Schedules, scheduler: FakeScheduler, spec: ScheduleSpec, reason: str
) -> None:
    with pytest.raises(InvalidRequestError, match=reason):
        schedules.put("nightly", spec)
    assert not scheduler.kept


def test_a_schedule_of_drills_starts_the_other_machine_with_its_tag(
    schedules: Schedules, scheduler: FakeScheduler, successes: FakeSuccesses
) -> None:
    drill = DrillRequest(newest_of="nightly", max_bytes=7)
    success = DrillSuccess(schedule="tried", run="drill-1", begun_at=EPOCH, ended_at=NOW)
    successes.drills["tried"] = success
    put = schedules.put("tried", ScheduleSpec(expression="rate(7 days)", drill=drill))
    assert put == schedules.get("tried") == schedules.list(10).items[0]
    assert (put.kind, put.drill, put.request, put.last_success_at) == ("drill", drill, BackupRequest(), EPOCH)
    kept = scheduler.kept["tried"]
    assert kept.kind == "drill"
    assert DrillRequest.model_validate_json(kept.request).schedule == ScheduleTag(name="tried")
    assert json.loads(kept.request).keys() == {"newest_of", "max_bytes", "schedule"}
    schedules.put("tried", ScheduleSpec(expression="rate(7 days)", drill=drill))
    assert scheduler.changes == 1


def test_a_schedule_may_change_what_it_starts(schedules: Schedules, scheduler: FakeScheduler) -> None:
    schedules.put("nightly", NIGHTLY)
    drill = DrillRequest(backup_name="monday")
    changed = schedules.put("nightly", ScheduleSpec(expression=NIGHTLY.expression, drill=drill))
    # Its backups are no drills.
    assert (changed.kind, changed.drill, changed.last_success_at) == ("drill", drill, None)
    back = schedules.put("nightly", NIGHTLY)
    assert (back.kind, back.drill, back.last_success_at) == ("backup", None, EPOCH)
    assert scheduler.changes == 3


@pytest.mark.parametrize("more", [{"retention": {"keep_last": 1}}, {"request": {"skip_flush": True}}])
def test_a_drill_has_nothing_of_a_backup(more: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="leave out `request` and `retention`"):
        ScheduleSpec.model_validate({"expression": "rate(1 day)", "drill": {"newest_of": "nightly"}, **more})


def test_an_input_that_is_no_request_for_a_drill_is_named(schedules: Schedules, scheduler: FakeScheduler) -> None:
    scheduler.put("tried", kind="drill", expression="rate(1 day)", timezone="UTC", is_enabled=True, request="{}")
    (odd,) = schedules.list(10).items
    assert (odd.kind, odd.drill) == ("drill", None)
    assert "its input is not a drill request: " in odd.problem


def test_pages_follow_each_other_by_name(schedules: Schedules, successes: FakeSuccesses) -> None:
    for name in ("weekly", "nightly", "hourly", "yearly", "monthly"):
        schedules.put(name, NIGHTLY)
    successes.looks.clear()
    pages = [schedules.list(2)]
    while pages[-1].next_token:
        pages.append(schedules.list(2, pages[-1].next_token))
    # One look into the catalogue a page, for all of its schedules.
    assert successes.looks == [{"hourly", "monthly"}, {"nightly", "weekly"}, {"yearly"}]
    assert [[found.name for found in page.items] for page in pages] == [
        ["hourly", "monthly"],
        ["nightly", "weekly"],
        ["yearly"],
    ]


def test_a_page_has_no_more_than_an_answer_can_hold(schedules: Schedules) -> None:
    # Scheduler takes 256 KB.
    long = NIGHTLY.model_copy(
        update={"request": BackupRequest(collections=tuple(f"shop.{'x' * 200}{number}" for number in range(1000)))}
    )
    names = [f"s{number:02}" for number in range(40)]
    for name in names:
        schedules.put(name, long)
    pages = [schedules.list(100)]
    while pages[-1].next_token:
        pages.append(schedules.list(100, pages[-1].next_token))
    assert [found.name for page in pages for found in page.items] == names
    assert len(pages) == 2
    assert all(len(json.dumps(page.model_dump_json())) < 6_000_000 for page in pages)


def test_a_deleted_schedule_is_gone(schedules: Schedules) -> None:
    schedules.put("nightly", NIGHTLY)
    schedules.delete("nightly")
    for call in (schedules.get, schedules.delete):
        with pytest.raises(ScheduleNotFoundError, match="nightly"):
            call("nightly")


def test_a_schedule_that_is_not_there_is_told_with_those_near_to_it(schedules: Schedules) -> None:
    schedules.put("nightly", NIGHTLY)
    for name, hint in (("nigthly", "Did you mean 'nightly'?"), ("hourly-orders", "Names are case sensitive.")):
        for call in (schedules.get, schedules.delete):
            with pytest.raises(ScheduleNotFoundError) as raised:
                call(name)
            assert raised.value.hint == hint


def deployed(scheduler: FakeScheduler, request: str) -> None:
    """Do what a deployment does."""
    scheduler.put("deployed", expression="rate(1 day)", timezone="UTC", is_enabled=True, request=request)


def test_what_the_stack_deployed_is_listed_and_not_changed(schedules: Schedules, scheduler: FakeScheduler) -> None:
    deployed(scheduler, '{"schedule": {"name": "deployed", "retention": {"keep_last": 7}}, "skip_flush": true}')
    found = schedules.get("deployed")
    assert (found.is_deployed, found.retention, found.request) == (
        True,
        Retention(keep_last=7),
        BackupRequest(skip_flush=True),
    )
    with pytest.raises(ScheduleManagedError, match="deployed"):
        schedules.put("deployed", NIGHTLY)
    with pytest.raises(ScheduleManagedError, match="deployed"):
        schedules.delete("deployed")
    assert schedules.get("deployed") == found


@pytest.mark.parametrize("request_json", ["{", "[]", '{"colections": []}'])
def test_an_input_that_is_no_request_is_named(
    schedules: Schedules, scheduler: FakeScheduler, request_json: str
) -> None:
    schedules.put("nightly", NIGHTLY)
    deployed(scheduler, request_json)
    odd, whole = schedules.list(10).items
    assert odd == schedules.get("deployed")
    assert "its input is not a backup request: " in odd.problem
    assert "Correct ScheduleRequest" in odd.problem
    assert (whole.name, whole.problem) == ("nightly", "")


def test_what_somebody_made_by_hand_hides_no_other(schedules: Schedules, scheduler: FakeScheduler) -> None:
    schedules.put("nightly", NIGHTLY)
    scheduler.put("by.hand", expression="at(2027-01-01T00:00:00)", timezone="UTC", is_enabled=True, request="{}")
    odd, whole = schedules.list(10).items
    assert (odd.name, odd.next_run_at, whole.name) == ("by.hand", None, "nightly")
    assert odd.problem.startswith("schedule 'by.hand' cannot be read: ")


def test_every_refusal_says_what_to_do(schedules: Schedules) -> None:
    for call in (schedules.get, schedules.delete):
        with pytest.raises(VaultError) as refused:
            call("none")
        assert refused.value.hint
