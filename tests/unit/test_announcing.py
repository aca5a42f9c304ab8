"""What is told of runs: events, notifications and metrics."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from milvus_vault.announcing import needs_attention, run_event, run_measures, run_notification, run_totals
from milvus_vault.errors import InvalidRequestError, MilvusUnavailableError, VaultError
from milvus_vault.model.events import EVENT_SOURCE, RUN_EVENT_TYPE, Metric, RunEvent
from milvus_vault.model.messages import AnnounceRunRequest, StatusChange
from milvus_vault.model.names import drill_restore_name
from milvus_vault.runtime import read_request
from tests.support.faults import DEEP, cases, hard_numbers, hard_texts, hard_values

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs" / "schemas" / "run-event.schema.json").read_text())
EXECUTION = "arn:aws:states:eu-central-1:123456789012:execution:vault-{kind}:9d1c7a52-aa"
OUTPUT = {
    "backup_name": "nightly_1",
    "status": "complete",
    "collection_count": 3,
    "failed_count": 0,
    "object_count": 500,
    "size_bytes": 4096,
    "warnings": ["odd"],
}
TAG = {"schedule": {"name": "nightly", "timezone": "UTC"}}


def change(
    status: str = "SUCCEEDED", kind: str = "backup", request: object = TAG, output: object = OUTPUT, **more: Any
) -> RunEvent:
    """Return the event of a change of a run that began at 2026-11-22 03:00:00 and took 250 s."""
    detail = {
        "executionArn": EXECUTION.format(kind=kind),
        "stateMachineArn": f"arn:aws:states:eu-central-1:123456789012:stateMachine:vault-{kind}",
        "name": "9d1c7a52-aa",
        "status": status,
        "startDate": 1795316400000,
        "stopDate": None if status == "RUNNING" else 1795316650000,
        "input": json.dumps(request) if request is not None else None,
        "inputDetails": {"included": request is not None},
        "output": json.dumps(output) if status == "SUCCEEDED" else None,
        "error": None,
        "cause": None,
        "redriveCount": 0,
        **more,
    }
    event = {"id": "6a7e", "source": "aws.states", "detail": detail, "account": "123456789012"}
    return run_event(AnnounceRunRequest.model_validate(event).detail, "vault")


def failed(error: VaultError | None = None, **more: Any) -> RunEvent:
    """Return the event of a run that failed with an error."""
    shown = error or MilvusUnavailableError(
        "Milvus does not answer at http://milvus:19530", hint="See whether it runs."
    )
    return change("FAILED", error=type(shown).__name__, cause=str(shown), **more)


def test_a_backup_that_succeeded_says_what_how_much_and_how_long() -> None:
    event = change()
    assert event.model_dump(mode="json", exclude_defaults=True) == {
        "id": "backup-9d1c7a52-aa/succeeded",
        "stack": "vault",
        "run": "backup-9d1c7a52-aa",
        "kind": "backup",
        "status": "succeeded",
        "execution_arn": EXECUTION.format(kind="backup"),
        "started_at": "2026-11-22T03:00:00Z",
        "ended_at": "2026-11-22T03:04:10Z",
        "duration_seconds": 250.0,
        "backup_name": "backup_2026_11_22_03_00_00_" + (event.backup_name or "")[-4:],
        "schedule": "nightly",
        "mode": "full",
        "collection_count": 3,
        "failed_count": 0,
        "object_count": 500,
        "size_bytes": 4096,
        "warnings": ["odd"],
        "console_url": "https://eu-central-1.console.aws.amazon.com/states/home?region=eu-central-1"
        f"#/v2/executions/details/{EXECUTION.format(kind='backup')}",
    }


@pytest.mark.parametrize(
    "event",
    [
        change(),
        change("RUNNING"),
        change("TIMED_OUT"),
        change("ABORTED", error="RunStoppedError", cause="stopped by somebody"),
        failed(),
        change(kind="restore", request={"backup_name": "a"}, output={"restored_count": 2, "report_key": "k"}),
        change(kind="prune", request={}, output={}),
        change(request=None),
    ],
    ids=lambda event: event.id,
)
def test_every_event_is_as_the_committed_schema_says(event: RunEvent) -> None:
    Draft202012Validator(SCHEMA).validate(json.loads(event.model_dump_json()))
    # EventBridge takes 256 KiB.
    assert len(event.model_dump_json()) < 20_000


def test_where_a_backup_or_an_export_lies_is_told() -> None:
    place = "s3://archive/exports/nightly_1/"
    event = change(kind="export", request={"backup_name": "nightly_1"}, output={**OUTPUT, "location": place})
    assert (event.backup_name, event.location) == ("nightly_1", place)
    assert change(output={**OUTPUT, "location": 7}).location is None


def test_a_drill_tells_which_backup_it_proved_and_how_long_its_restore_took() -> None:
    request = {"newest_of": "nightly"}
    output = {"backup_name": "monday", "collection_count": 2, "row_count": 58, "compared_count": 20}
    event = change(kind="drill", request=request, output=output | {"restore_seconds": 12.5})
    assert (event.kind, event.backup_name, event.collection_count, event.row_count) == ("drill", "monday", 2, 58)
    assert (event.compared_count, event.restore_seconds) == (20, 12.5)
    running = change(kind="drill", request=request, status="RUNNING")
    assert (running.backup_name, running.restore_seconds) == (None, None)


def test_a_prune_s_counts_are_not_taken_for_counts_of_collections() -> None:
    event = change(kind="prune", request={}, output={"failed_count": 2, "deleted_count": 3, "report_key": "k"})
    assert (event.failed_count, event.backup_name, event.report_key) == (None, None, "k")


def test_a_prune_tells_what_it_deleted_of_the_pool_and_what_waits() -> None:
    pool = {"pool_object_count": 3, "pool_size_bytes": 30, "pool_waiting_count": 1}
    told = change(kind="prune", request={}, output=pool).model_dump()
    assert {name: told[name] for name in pool} == pool


def test_the_example_of_the_documents_is_an_event_as_the_schema_says() -> None:
    document = (ROOT / "docs" / "events.md").read_text()
    example = json.loads(document.partition("```json\n")[2].partition("```")[0])
    Draft202012Validator(SCHEMA).validate(example["detail"])
    assert (example["source"], example["detail-type"]) == (EVENT_SOURCE, RUN_EVENT_TYPE)
    assert example["detail"].keys() == RunEvent.model_fields.keys()


def test_every_metric_is_in_the_documents() -> None:
    document = (ROOT / "docs" / "events.md").read_text()
    assert [metric for metric in Metric if f"`{metric}`" not in document] == []


def test_the_same_change_gives_the_same_event() -> None:
    assert change() == change()
    assert change().id != change("RUNNING").id


def test_a_run_that_goes_on_has_neither_an_end_nor_measures() -> None:
    event = change("RUNNING")
    assert (event.status, event.ended_at, event.duration_seconds) == ("running", None, None)
    assert run_totals(event) == run_measures(event) == ()
    assert not needs_attention(event)


def test_a_failure_is_told_with_its_name_its_message_and_its_hint() -> None:
    event = failed()
    assert (event.status, event.error) == ("failed", "MilvusUnavailableError")
    assert event.message == "Milvus does not answer at http://milvus:19530"
    assert event.hint == "See whether it runs."


@pytest.mark.parametrize(
    ("status", "error", "expected", "name"),
    [
        ("FAILED", "BackupPartialError", "partial", "BackupPartialError"),
        ("FAILED", "RestorePartialError", "partial", "RestorePartialError"),
        ("FAILED", "VerificationNotStartedError", "partial", "VerificationNotStartedError"),
        ("FAILED", "CopyNotStartedError", "partial", "CopyNotStartedError"),
        ("FAILED", "States.Runtime", "failed", "States.Runtime"),
        ("FAILED", None, "failed", "States.Unknown"),
        ("TIMED_OUT", None, "timed_out", "RunTimedOutError"),
        ("ABORTED", None, "stopped", "RunStoppedError"),
    ],
)
def test_how_a_run_ended_has_a_word_and_a_name(status: str, error: str | None, expected: str, name: str) -> None:
    event = change(status, error=error)
    assert (event.status, event.error) == (expected, name)
    assert needs_attention(event)


def test_people_are_told_once_of_a_drill_whose_restore_fails() -> None:
    name = drill_restore_name(EXECUTION.format(kind="drill"))
    nested, drill = failed(kind="restore", name=name), failed(kind="drill")
    assert (nested.run, nested.status) == (f"restore-{name}", "failed")
    assert (needs_attention(nested), needs_attention(drill)) == (False, True)
    # A restore that somebody else has named nearly so is told.
    assert needs_attention(failed(kind="restore", name=f"{name}-2"))


@pytest.mark.parametrize(
    "request_given", [7, [], {"backup_name": 7, "schedule": "nightly"}, {"schedule": {"name": []}}]
)
def test_an_input_that_is_none_of_ours_is_announced_all_the_same(request_given: object) -> None:
    event = change("FAILED", request=request_given, error="InvalidRequestError", cause="no")
    assert event.schedule is None
    assert event.error == "InvalidRequestError"


@pytest.mark.parametrize("text", ["[" * DEEP, "no JSON", '"\\ud83d"', '{"backup_name": "\\ud83d"}'])
def test_an_input_that_nobody_can_read_is_announced_all_the_same(text: str) -> None:
    detail = {"executionArn": EXECUTION.format(kind="backup"), "stateMachineArn": "vault-backup", "name": "n"}
    told = {**detail, "status": "FAILED", "startDate": 0, "stopDate": 1, "input": text, "error": "E", "cause": text}

    event = run_event(StatusChange.model_validate(told), "vault")

    assert (event.status, event.run) == ("failed", "backup-n")
    event.model_dump_json()


@pytest.mark.parametrize("name", ["start_date", "stop_date"])
@pytest.mark.parametrize("time", [9_000_000_000_000_000, -(10**20), 10**40])
def test_a_time_that_is_none_has_a_name(name: str, time: int) -> None:
    given = {**WHOLE, name: time}

    with pytest.raises(InvalidRequestError, match="a time is out of range"):
        run_event(StatusChange.model_construct(**given), "vault")


def test_a_status_that_is_new_has_a_name() -> None:
    with pytest.raises(InvalidRequestError, match="the status is PAUSED"):
        run_event(StatusChange.model_construct(**{**WHOLE, "status": "PAUSED"}), "vault")


@pytest.mark.parametrize(
    ("partition", "region", "console"),
    [
        ("aws", "eu-central-1", "https://eu-central-1.console.aws.amazon.com/states/"),
        ("aws-us-gov", "us-gov-west-1", "https://us-gov-west-1.console.amazonaws-us-gov.com/states/"),
        ("aws-cn", "cn-north-1", "https://cn-north-1.console.amazonaws.cn/states/"),
    ],
)
def test_each_partition_has_its_console(partition: str, region: str, console: str) -> None:
    arn = f"arn:{partition}:states:{region}:123456789012:execution:vault-backup:n"

    event = run_event(StatusChange.model_construct(**{**WHOLE, "execution_arn": arn}), "vault")

    assert event.console_url.startswith(console)
    assert event.console_url.endswith(f"?region={region}#/v2/executions/details/{arn}")


WHOLE: dict[str, Any] = {
    "execution_arn": EXECUTION.format(kind="backup"),
    "state_machine_arn": "vault-backup",
    "name": "n",
    "status": "FAILED",
    "start_date": 0,
    "stop_date": 1,
    "input": "{}",
    "output": None,
    "error": "E",
    "cause": "c",
}
_OUTPUT_NAMES = st.sampled_from([*OUTPUT, "collection_count", "size_bytes", "warnings", "report_key", "location"])


@cases(200)
@given(
    st.fixed_dictionaries(
        {
            "executionArn": hard_texts | st.just(EXECUTION.format(kind="restore")),
            "stateMachineArn": hard_texts | st.sampled_from(["x-backup", "x-restore", "x-prune", "x-verify"]),
            "name": hard_texts,
            "status": hard_texts | st.sampled_from(["RUNNING", "SUCCEEDED", "FAILED", "ABORTED", "TIMED_OUT"]),
            "startDate": hard_numbers,
        },
        optional={
            "stopDate": hard_numbers | st.none(),
            "input": hard_texts | hard_values.map(json.dumps),
            "output": hard_texts | st.dictionaries(_OUTPUT_NAMES, hard_values, max_size=4).map(json.dumps),
            "error": hard_texts,
            "cause": hard_texts,
        },
    )
)
def test_whatever_changes_is_told_or_named(detail: dict[str, Any]) -> None:
    try:
        event = run_event(read_request(StatusChange, detail, "event"), "vault")
    except InvalidRequestError:
        return
    assert RunEvent.model_validate_json(event.model_dump_json()) == event
    run_totals(event)
    run_measures(event)
    if needs_attention(event):
        run_notification(event)


def test_what_is_too_long_for_an_event_is_cut() -> None:
    event = change("FAILED", error="BackupFailedError", cause="x" * 200_000)
    assert len(event.message) == 10_000
    assert len(change(output={**OUTPUT, "warnings": ["w"] * 5000}).warnings) == 20


def measured(event: RunEvent) -> dict[Metric, float]:
    """Return what is measured for the run's kind and schedule."""
    return {measure.metric: measure.value for measure in run_measures(event)}


def test_a_backup_that_succeeded_is_measured() -> None:
    assert measured(change()) == {
        Metric.RUNS_SUCCEEDED: 1,
        Metric.RUN_DURATION: 250,
        Metric.COPIED_BYTES: 4096,
        Metric.OBJECTS_PER_SECOND: 2,
    }


def test_an_incremental_backup_says_what_it_copied_and_is_measured_by_that() -> None:
    copied = {"mode": "incremental", "copied_object_count": 25, "copied_size_bytes": 100}
    event = change(request={"mode": "incremental"}, output={**OUTPUT, **copied})
    assert (event.mode, event.object_count, event.size_bytes) == ("incremental", 500, 4096)
    assert (event.copied_object_count, event.copied_size_bytes) == (25, 100)
    assert measured(event)[Metric.COPIED_BYTES] == 100
    assert measured(event)[Metric.OBJECTS_PER_SECOND] == 0.1
    unchanged = change(output={**OUTPUT, "copied_object_count": 0, "copied_size_bytes": 0})
    assert measured(unchanged)[Metric.COPIED_BYTES] == 0
    assert Metric.OBJECTS_PER_SECOND not in measured(unchanged)


def test_the_mode_is_told_where_it_is_known() -> None:
    assert change("RUNNING", request={"mode": "incremental"}).mode == "incremental"
    assert failed(request={"mode": "differential"}).mode is None
    assert change(request=None).mode is None
    assert change(kind="verify").mode is None


def test_a_run_that_failed_is_measured_without_what_nobody_knows() -> None:
    assert measured(failed()) == {Metric.RUNS_FAILED: 1, Metric.RUN_DURATION: 250}


@pytest.mark.parametrize(
    ("event", "counted"),
    [
        (change(), {Metric.RUNS_SUCCEEDED}),
        (failed(), {Metric.RUNS_FAILED}),
        (change("TIMED_OUT"), {Metric.RUNS_FAILED}),
        (change("FAILED", error="BackupPartialError"), {Metric.RUNS_PARTIAL}),
        (
            change("FAILED", kind="verify", error="BackupDamagedError"),
            {Metric.RUNS_FAILED, Metric.BACKUPS_DAMAGED},
        ),
    ],
    ids=lambda value: value.id if isinstance(value, RunEvent) else "",
)
def test_alarms_get_a_zero_for_everything_that_did_not_happen(event: RunEvent, counted: set[Metric]) -> None:
    totals = {measure.metric: measure.value for measure in run_totals(event)}
    assert totals.keys() == {
        Metric.RUNS_SUCCEEDED,
        Metric.RUNS_PARTIAL,
        Metric.RUNS_FAILED,
        Metric.BACKUPS_DAMAGED,
    }
    assert {metric for metric, value in totals.items() if value} == counted


def test_a_failed_drill_counts_once() -> None:
    event = failed(kind="restore").model_copy(update={"run": f"restore-drill-{'a' * 24}"})
    assert not any(measure.value for measure in run_totals(event))
    damaged = event.model_copy(update={"error": "BackupDamagedError"})
    assert [measure.metric for measure in run_totals(damaged) if measure.value] == [Metric.BACKUPS_DAMAGED]


def test_people_are_told_what_why_and_what_to_do() -> None:
    told = run_notification(failed(request={"backup_name": "nightly_1", **TAG}))
    assert told.subject == "[vault] backup of nightly_1 failed: MilvusUnavailableError"
    assert told.body.splitlines()[:6] == [
        "Stack vault: the backup of nightly_1 failed, asked for by schedule nightly.",
        "",
        "Error:      MilvusUnavailableError",
        "Why:        Milvus does not answer at http://milvus:19530",
        "Hint:       See whether it runs.",
        (
            "What to do: Once the cause is mended, start it again with the same request, or wait for the schedule. "
            "What is copied stays copied."
        ),
    ]
    assert "Ended:      2026-11-22 03:04:10 UTC, after 4 min 10 s" in told.body
    assert "Console:    https://eu-central-1.console.aws.amazon.com/" in told.body
    assert dict(told.attributes) == {"kind": "backup", "status": "failed", "stack": "vault", "schedule": "nightly"}


def test_of_a_damaged_backup_people_are_told_to_make_another() -> None:
    event = change("FAILED", kind="verify", request=TAG, error="BackupDamagedError", cause="a is missing")
    told = run_notification(event)
    assert "What to do: Make another backup now" in told.body
    # As of one that follows a backup of a schedule.
    assert dict(told.attributes)["schedule"] == "nightly"


@pytest.mark.parametrize(
    ("error", "what_to_do"),
    [
        ("VerificationNotStartedError", "The backup can be restored, and nobody has verified it"),
        ("CopyNotStartedError", "The backup can be restored, and lies in no other place"),
    ],
)
def test_of_a_backup_after_which_something_did_not_start_people_are_not_told_that_it_lacks_something(
    error: str, what_to_do: str
) -> None:
    told = run_notification(change("FAILED", error=error, cause="too many executions"))
    assert told.subject.endswith(f"is partial: {error}")
    assert f"What to do: {what_to_do}" in told.body


def test_a_subject_is_one_short_line_of_ascii() -> None:
    event = failed(request={"backup_name": "ünïcode\n" + "x" * 200})
    subject = run_notification(event).subject
    assert subject.isascii()
    assert "\n" not in subject
    assert len(subject) == 100
