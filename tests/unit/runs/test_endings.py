"""Why a run did not succeed: the event, the run in full and the list of runs say the same."""

import json
from datetime import UTC, datetime
from typing import Literal

import pytest

from milvus_vault.announcing import run_event
from milvus_vault.archive.layout import BackupLayout
from milvus_vault.model.messages import StatusChange
from milvus_vault.model.messages_verify import VerifyBackupResult, VerifyResult
from milvus_vault.model.resources import RunKind
from milvus_vault.runs.describing import WorkingFiles, describe_run
from milvus_vault.runs.listing import list_runs
from milvus_vault.workspace import record_key
from tests.support.fake_machines import FakeMachines, machine_arn, machines
from tests.support.memory_store import InMemoryObjectStore

START = datetime(2026, 11, 22, 3, tzinfo=UTC)
FILES = WorkingFiles(InMemoryObjectStore("backups"), "backups", "vault")
OF_LAMBDA = json.dumps(
    {"errorType": "StorageAccessDeniedError", "errorMessage": "S3 refuses\nHint: See the policy.", "trace": []}
)
INSIDE = json.dumps({"Error": "States.TaskFailed", "Cause": OF_LAMBDA, "Status": "FAILED"})
DENIED = ("StorageAccessDeniedError", "S3 refuses", "See the policy.")
AGAIN = "Start it again with the same request: it goes on where it was."


def states_with(status: str, error: str = "", cause: str = "", given: str = "{}", kind: str = "backup") -> FakeMachines:
    """Return one execution, named `e`, that began and ended so."""
    states = FakeMachines()
    states.add(kind, "e", START, status, error, given, cause)
    return states


def changed(states: FakeMachines, kind: str = "backup") -> StatusChange:
    """Return what Step Functions says of that execution on EventBridge."""
    (found,) = states.found.values()
    milliseconds = int(START.timestamp() * 1000)
    return StatusChange(
        executionArn=found.arn,
        stateMachineArn=machine_arn(kind),
        name="e",
        status=found.status,
        startDate=milliseconds,
        stopDate=milliseconds,
        input=found.input_json,
        error=found.error or None,
        cause=found.cause or None,
    )


@pytest.mark.parametrize(
    ("status", "error", "cause", "expected"),
    [
        ("SUCCEEDED", "", "", ("", "", "")),
        ("FAILED", "StorageAccessDeniedError", "S3 refuses\nHint: See the policy.", DENIED),
        ("FAILED", "States.TaskFailed", OF_LAMBDA, DENIED),
        ("FAILED", "States.TaskFailed", INSIDE, DENIED),
        ("FAILED", "", "", ("States.Unknown", "", "")),
        ("FAILED", "States.Runtime", "no such path", ("States.Runtime", "no such path", "")),
        ("FAILED", "BackupPartialError", "a is missing", ("BackupPartialError", "a is missing", "")),
        ("ABORTED", "", "stopped by alice", ("RunStoppedError", "stopped by alice", AGAIN)),
        ("ABORTED", "", "", ("RunStoppedError", "the run was stopped", AGAIN)),
        ("TIMED_OUT", "", "", ("RunTimedOutError", "the run took longer than its state machine allows", AGAIN)),
    ],
    ids=["none", "ours", "unrecorded", "inside another", "nothing", "theirs", "partial", "stopped", "why not", "late"],
)
def test_each_place_tells_the_same_name_message_and_hint(
    status: str, error: str, cause: str, expected: tuple[str, str, str]
) -> None:
    states = states_with(status, error, cause)
    event = run_event(changed(states), "vault")
    run = describe_run(machines(states), FILES, "backup-e", START)
    (listed,) = list_runs(machines(states), limit=1).items
    assert (event.error, event.message, event.hint) == expected
    assert (run.error, run.message, run.hint) == expected
    assert listed.error == expected[0]
    assert event.status == run.status == listed.status


def test_a_drill_that_is_stopped_does_not_go_on_where_it_was() -> None:
    states = states_with("ABORTED", given='{"backup_name": "b"}', kind="drill")
    event = run_event(changed(states, "drill"), "vault")
    run = describe_run(machines(states), FILES, "drill-e", START)
    assert event.hint == run.hint
    assert "begins anew, and drops the scratch database" in run.hint


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        ("backup", '{"backup_name": "b"}', ("b", None)),
        ("restore", '{"backup_name": "b", "schedule": {"name": "nightly"}}', ("b", "nightly")),
        ("prune", '{"backup_names": ["b"]}', ("b", None)),
        ("prune", '{"backup_names": ["b", "c"]}', (None, None)),
        ("verify", '{"backup_name": 7, "schedule": {"name": 7}}', (None, None)),
        ("verify", "[7]", (None, None)),
    ],
)
def test_each_place_tells_the_same_backup_and_schedule(
    kind: RunKind, given: str, expected: tuple[str | None, str | None]
) -> None:
    states = states_with("RUNNING", given=given, kind=kind)
    event = run_event(changed(states, kind), "vault")
    run = describe_run(machines(states), FILES, f"{kind}-e", START)
    assert (event.backup_name, event.schedule) == (run.backup_name, run.schedule) == expected


@pytest.mark.parametrize(("name", "has_report"), [("c", True), ("b", False)])
def test_an_export_is_told_of_with_the_backup_that_it_writes_and_its_report(name: str, *, has_report: bool) -> None:
    states = states_with("SUCCEEDED", given='{"backup_name": "b", "export_name": "c"}', kind="export")
    store = InMemoryObjectStore("backups")
    store.put("backups", BackupLayout("p", name).report, b"<html>")
    run = describe_run(machines(states), WorkingFiles(store, "backups", "p"), "export-e", START)
    assert (run.backup_name, run.export_name) == ("b", "c")
    assert (run.report_url is not None) is has_report


def test_of_a_verification_it_is_told_what_was_found_and_not_what_its_states_tell_each_other() -> None:
    output = VerifyBackupResult(
        is_done=True, run="verify-e", has_batches=False, check_count=1, backup_name="b", status="intact",
        problem_count=0, level="deep", object_count=2, size_bytes=9, content_checked=True, read_count=2, mended=("it",),
    )  # fmt: skip
    states = states_with("SUCCEEDED", given='{"backup_name": "b"}', kind="verify")
    states.found = {
        arn: found.model_copy(update={"output_json": output.model_dump_json()}) for arn, found in states.found.items()
    }
    result = describe_run(machines(states), FILES, "verify-e", START).result
    assert result is not None
    assert result.keys() == VerifyResult.model_fields.keys()
    assert (result["status"], result["read_count"], result["mended"]) == ("intact", 2, ["it"])


@pytest.mark.parametrize(("kind", "folder"), [("restore", "reports"), ("verify", "reports/verify")])
@pytest.mark.parametrize("ending", ["SUCCEEDED", "FAILED"])
def test_the_report_of_a_run_is_linked_whatever_came_of_it(
    kind: RunKind, folder: Literal["reports", "reports/verify"], ending: str
) -> None:
    store = InMemoryObjectStore("backups")
    states = states_with(ending, given='{"backup_name": "b"}', kind=kind)
    files = WorkingFiles(store, "backups", "p")
    assert describe_run(machines(states), files, f"{kind}-e", START).report_url is None
    (arn,) = states.found
    store.put("backups", record_key("p", folder, arn, "html"), b"<html>")
    assert describe_run(machines(states), files, f"{kind}-e", START).report_url is not None


def test_the_report_of_a_verification_is_not_that_of_a_restore_with_the_same_key() -> None:
    store, states = InMemoryObjectStore("backups"), FakeMachines()
    for kind in ("restore", "verify"):
        states.add(kind, "key", START, "SUCCEEDED", given='{"backup_name": "b"}')
    restored, _ = states.found
    store.put("backups", record_key("p", "reports", restored, "html"), b"<html>")
    files = WorkingFiles(store, "backups", "p")
    assert describe_run(machines(states), files, "restore-key", START).report_url is not None
    assert describe_run(machines(states), files, "verify-key", START).report_url is None


@pytest.mark.parametrize(("to", "has_report"), [("", True), (', "to": {"bucket": "archive"}', False)])
def test_the_report_of_an_export_is_linked_where_it_lies_here(to: str, *, has_report: bool) -> None:
    store = InMemoryObjectStore("backups")
    # Of another place there is none to read, and a backup of the same name here is another one.
    store.put("backups", BackupLayout("vault", "x").report, b"page")
    states = states_with("SUCCEEDED", given=f'{{"backup_name": "b", "export_name": "x"{to}}}', kind="export")
    run = describe_run(machines(states), WorkingFiles(store, "backups", "vault"), "export-e", START)
    assert (run.report_url is not None) == has_report
    assert run.export_name == "x"


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ('{"bucket": "archive", "prefix": "a/b"}', "s3://archive/a/b"),
        ('{"bucket": "archive"}', "s3://archive"),
        ('{"prefix": "a/b"}', "a/b"),
        ("null", None),
        ("7", None),
        ('{"bucket": 7}', None),
    ],
)
def test_of_an_export_it_is_told_where_it_writes(to: str, expected: str | None) -> None:
    states = states_with("RUNNING", given=f'{{"backup_name": "b", "export_name": "b", "to": {to}}}', kind="export")
    (listed,) = list_runs(machines(states), limit=1).items
    assert listed.export_to == expected
    assert describe_run(machines(states), FILES, "export-e", START).export_to == expected


def test_a_backup_without_a_name_has_that_of_its_execution_everywhere() -> None:
    states = states_with("RUNNING")
    name = describe_run(machines(states), FILES, "backup-e", START).backup_name
    assert name is not None
    assert name == run_event(changed(states), "vault").backup_name
