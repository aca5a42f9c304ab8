"""Schedules are made, changed and switched off in a form, with the words of the API where something is wrong."""

from datetime import UTC, datetime, timedelta

import pytest

from milvus_vault.console.timelines import in_the_long_run, kept, next_firings
from milvus_vault.model.requests import BackupRequest, DrillRequest, VerifyOptions
from milvus_vault.model.resources import BackupSummary, Schedule, ScheduleSpec
from milvus_vault.model.retention import Retention
from milvus_vault.retention.policy import decide
from tests.support.fake_api import Answer, FakeApi, backup, problem
from tests.unit.console.conftest import Browser

NOW = datetime(2026, 11, 30, 10, tzinfo=UTC)
WEEK = Retention(keep_daily=7)


@pytest.fixture(autouse=True)
def entered(browser: Browser) -> None:
    browser.enter()


def puts(api: FakeApi) -> list[tuple[str, object]]:
    """Return the paths and bodies of what was to be put."""
    return [(asked.path.removeprefix("/live"), asked.body) for asked in api.asked if asked.method == "PUT"]


def nightly(**fields: object) -> Schedule:
    """Return a schedule that makes a backup each night."""
    given: dict[str, object] = {"name": "nightly", "expression": "cron(0 3 * * ? *)", "retention": WEEK}
    return Schedule.model_validate(given | {"next_run_at": NOW} | fields)


def test_a_schedule_is_made(api: FakeApi, browser: Browser) -> None:
    assert 'name="expression"' in browser.get("/new-schedule").text
    made = browser.post(
        "/schedules", kind="backup", name="nightly", expression="cron(0 3 * * ? *)", timezone="Europe/Berlin",
        enabled="yes", collections="shop.*", mode="incremental", level="deep", sample_percent="5", copy="yes",
        keep_daily="7", keep_at_least="1", do="save",
    )  # fmt: skip
    assert (made.status, made.headers["location"]) == (303, "/schedules/nightly")
    spec = {
        "expression": "cron(0 3 * * ? *)", "timezone": "Europe/Berlin", "enabled": True,
        "request": {
            "collections": ["shop.*"], "mode": "incremental", "verify": {"level": "deep", "sample_percent": 5.0},
            "copy_to": {},
        },
        "retention": {"keep_daily": 7},
    }  # fmt: skip
    assert puts(api) == [("/schedules/nightly", spec)]


def test_a_schedule_of_drills_is_made(api: FakeApi, browser: Browser) -> None:
    assert 'name="newest_of"' in browser.get("/new-schedule?kind=drill").text
    browser.post(
        "/schedules", kind="drill", name="tried", expression="rate(7 days)", newest_of="nightly", max_bytes="5"
    )
    drill = {"newest_of": "nightly", "max_bytes": 5}
    assert puts(api) == [
        ("/schedules/tried", {"expression": "rate(7 days)", "timezone": "UTC", "enabled": False, "drill": drill})
    ]


def test_what_the_form_has_no_field_for_stays(api: FakeApi, browser: Browser) -> None:
    request = BackupRequest(include_rbac=True, skip_flush=True, verify=VerifyOptions(level="deep", max_bytes=9))
    api.schedules["nightly"] = nightly(request=request)
    page = browser.get("/schedules/nightly").text
    assert 'value="cron(0 3 * * ? *)"' in page
    browser.post("/schedules/nightly", expression="rate(1 day)", enabled="yes", level="deep", keep_last="3")
    (_, body), = puts(api)  # fmt: skip
    changed = ScheduleSpec.model_validate(body)
    assert changed.request == request
    assert changed.retention == Retention(keep_last=3)


def test_a_form_is_shown_again_with_what_is_wrong_beside_its_fields(api: FakeApi, browser: Browser) -> None:
    form = {"kind": "backup", "name": "nightly", "expression": "rate(1 day)", "keep_daily": "many", "collections": "a"}
    refused = browser.post("/schedules", **form)
    assert refused.status == 409
    for text in ("should be a whole number", 'aria-invalid="true"', 'value="many"', 'href="#f-collections"'):
        assert text in refused.text
    assert puts(api) == []


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"name": "nightly", "expression": "cron(0 3)"}, "6 fields"),
        ({"name": "nightly", "expression": "rate(1 day)", "timezone": "Moon"}, "&#39;Moon&#39; is not a time zone"),
        ({"name": "nightly", "expression": "rate(1 day)", "keep_at_least": "3"}, "give at least one of"),
        ({"name": "", "expression": "rate(1 day)"}, "the schedule has no name"),
        ({"name": "there", "expression": "rate(1 day)"}, "there is a schedule &#39;there&#39; already"),
    ],
)
def test_what_no_schedule_can_be_is_refused_with_a_hint(
    api: FakeApi, browser: Browser, form: dict[str, str], words: str
) -> None:
    api.schedules["there"] = nightly(name="there")
    refused = browser.post("/schedules", **form)
    assert (refused.status, words in refused.text, 'role="alert"' in refused.text) == (409, True, True)
    assert puts(api) == []


def test_what_the_api_refuses_is_told_above_the_form(api: FakeApi, browser: Browser) -> None:
    there = Answer(200, nightly().model_dump_json().encode())
    api.answers += [there, problem("ScheduleManagedError", "it belongs to the stack", hint="Change the stack.")]
    refused = browser.post("/schedules/nightly", expression="rate(1 day)")
    assert "it belongs to the stack" in refused.text
    assert "Change the stack." in refused.text
    assert 'value="rate(1 day)"' in refused.text


def test_a_preview_changes_nothing(api: FakeApi, browser: Browser) -> None:
    api.schedules["nightly"] = nightly()
    for number in range(3):
        api.backups[f"b{number}"] = backup(f"b{number}", 24 * number, schedule="nightly")
    form = {"expression": "rate(1 day)", "keep_last": "2", "do": "preview"}
    page = browser.post("/schedules/nightly", **form).text
    assert "What stays, by last 2: 2 of 3 backups." in page
    assert "not among the last 2 and no other rule keeps it" in page
    assert "In the long run" in page
    assert 'value="rate(1 day)"' in page
    assert puts(api) == []


def test_a_schedule_is_switched_off_and_on(api: FakeApi, browser: Browser) -> None:
    api.schedules["nightly"] = nightly(request=BackupRequest(mode="incremental"))
    assert browser.post("/schedules/nightly/switch", on="").headers["location"] == "/schedules/nightly"
    assert api.schedules["nightly"].enabled is False
    assert "Switch it on" in browser.get("/schedules/nightly").text
    browser.post("/schedules/nightly/switch", on="yes")
    assert api.schedules["nightly"].enabled is True
    assert api.schedules["nightly"].request.mode == "incremental"
    assert api.schedules["nightly"].retention == WEEK


def test_one_that_cannot_be_read_is_not_written_anew(api: FakeApi, browser: Browser) -> None:
    api.schedules["odd"] = nightly(name="odd", problem="its input is no request", next_run_at=None)
    page = browser.get("/schedules/odd").text
    assert "its input is no request" in page
    assert "Switch it off</button>" not in page
    refused = browser.post("/schedules/odd/switch", on="")
    assert (refused.status, "cannot be read" in refused.text) == (409, True)
    refused = browser.post("/schedules/odd", expression="rate(1 day)")
    assert (refused.status, "cannot be read" in refused.text) == (409, True)
    assert puts(api) == []


def test_the_one_of_the_stack_has_no_form(api: FakeApi, browser: Browser) -> None:
    api.schedules["deployed"] = nightly(name="deployed", is_deployed=True)
    page = browser.get("/schedules/deployed").text
    assert "ScheduleExpression" in page
    assert "<form" not in page


def test_a_schedule_is_deleted_only_by_its_whole_name(api: FakeApi, browser: Browser) -> None:
    api.schedules["nightly"] = nightly()
    refused = browser.post("/schedules/nightly/delete", typed="night")
    assert (refused.status, "nothing is deleted" in refused.text, "nightly" in api.schedules) == (409, True, True)
    assert "<h1>Schedule nightly</h1>" in refused.text
    assert browser.post("/schedules/nightly/delete", typed="nightly").headers["location"] == "/schedules"
    assert api.schedules == {}
    missing = browser.get("/schedules/nightly")
    assert (missing.status, "ScheduleNotFoundError" in missing.text) == (404, True)


def test_a_drill_has_no_retention_and_its_form_what_it_does(api: FakeApi, browser: Browser) -> None:
    drill = DrillRequest(newest_of="nightly", max_bytes=7, allow_version=True, seed=4)
    api.schedules["tried"] = Schedule(name="tried", expression="rate(7 days)", kind="drill", drill=drill)
    page = browser.get("/schedules/tried").text
    assert 'name="keep_daily"' not in page
    assert 'value="nightly"' in page
    browser.post(
        "/schedules/tried", kind="drill", expression="rate(7 days)", newest_of="nightly", max_bytes="8", row_count="100"
    )
    (_, body), = puts(api)  # fmt: skip
    spec = ScheduleSpec.model_validate(body)
    assert spec.drill == drill.model_copy(update={"max_bytes": 8, "allow_version": False})


def backups(count: int) -> list[BackupSummary]:
    """Return a backup for each of some nights, newest first."""
    summaries = (backup(f"b{n}", created_at=NOW - timedelta(days=n)).model_dump() for n in range(count))
    fields = BackupSummary.model_fields
    return [BackupSummary.model_validate({name: one[name] for name in fields}) for one in summaries]


def test_what_stays_is_what_the_policy_of_prunes_says() -> None:
    found = kept(backups(30), Retention(keep_daily=3, keep_monthly=2), "UTC", NOW)
    expected = decide(backups(30), Retention(keep_daily=3, keep_monthly=2), "UTC", NOW)
    assert [(one.name, one.is_kept) for one in found.decided] == [(one.name, one.keep) for one in expected]
    assert found.chart is not None
    assert [mark.is_kept for mark in found.chart.marks] == [False] * 27 + [True] * 3
    assert {mark.left_percent for mark in found.chart.marks} >= {0.0, 98.5}


def test_the_long_run_ends_by_number_or_years() -> None:
    often = in_the_long_run(ScheduleSpec(expression="rate(1 hour)", retention=WEEK), NOW)
    assert often is not None
    assert (len(often.decided), often.kept_count) == (1000, 7)
    seldom = in_the_long_run(ScheduleSpec(expression="cron(0 0 1 1 ? *)"), NOW)
    assert seldom is not None
    assert (len(seldom.decided), seldom.kept_count) == (10, 10)
    assert in_the_long_run(ScheduleSpec(expression="cron(0 0 1 1 ? 1999)"), NOW) is None
    assert in_the_long_run(ScheduleSpec(expression="rate(999999 days)"), NOW) is None


def test_the_next_firings_follow_the_one_that_the_api_tells() -> None:
    assert next_firings(nightly(next_run_at=NOW, expression="rate(2 hours)"))[:3] == [
        NOW, NOW + timedelta(hours=2), NOW + timedelta(hours=4)
    ]  # fmt: skip
    assert len(next_firings(nightly())) == 5
    assert next_firings(nightly(next_run_at=None)) == []
    years = next_firings(nightly(expression="rate(999999 days)"))
    assert len(years) == 3
