"""Failures: what a failed execution is called, and what it leaves to read."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvus_vault.backup.unpublished_rbac import remove_unpublished_rbac
from milvus_vault.backup.working_files import RBAC
from milvus_vault.claims import CLAIM, Claim
from milvus_vault.errors import split_hint
from milvus_vault.execution_records import record_execution
from milvus_vault.failures import FailureRecord, outcome_error, read_failure, record_failure, unrecorded_failure
from milvus_vault.model.messages import Execution, RecordFailureRequest
from milvus_vault.model.rbac import Rbac
from milvus_vault.runtime import read_request
from milvus_vault.workspace import Workspace
from tests.support.faults import DEEP, cases, hard_texts, hard_values
from tests.support.memory_store import InMemoryObjectStore

ARN = "arn:aws:states:us-east-1:123456789012:execution:vault-backup:monday"
LAMBDA_CAUSE = json.dumps({"errorType": "BackupExistsError", "errorMessage": "backup 'x' exists", "stackTrace": []})


def test_the_name_and_the_message_of_an_exception_come_out_of_the_cause() -> None:
    assert read_failure("BackupExistsError", LAMBDA_CAUSE) == ("BackupExistsError", "backup 'x' exists")


def test_a_name_that_a_state_machine_put_instead_is_undone() -> None:
    assert read_failure("States.TaskFailed", LAMBDA_CAUSE)[0] == "BackupExistsError"


@pytest.mark.parametrize("depth", [1, 3])
def test_the_failure_of_a_machine_inside_another_is_found(depth: int) -> None:
    cause = LAMBDA_CAUSE
    for _ in range(depth):
        cause = json.dumps({"Error": "States.TaskFailed", "Cause": cause, "Status": "FAILED"})
    assert read_failure("States.TaskFailed", cause) == ("BackupExistsError", "backup 'x' exists")


def test_a_failure_inside_another_machine_that_is_no_exception_keeps_its_own_name() -> None:
    cause = json.dumps({"Error": "CopyIncompleteError", "Cause": "objects are missing"})
    assert read_failure("States.TaskFailed", cause) == ("CopyIncompleteError", "objects are missing")


@pytest.mark.parametrize("cause", ["", "Task timed out", "[]", "7", '"text"', "null", '{"Status": "FAILED"}', "{"])
def test_a_cause_of_another_kind_is_kept_as_it_is(cause: str) -> None:
    assert read_failure("States.Timeout", cause) == ("States.Timeout", cause)


def test_an_exception_without_a_message_has_an_empty_one() -> None:
    assert read_failure("KeyError", '{"errorType": "KeyError"}') == ("KeyError", "")


def test_what_kept_a_failure_from_being_recorded_is_no_part_of_its_hint() -> None:
    cause = json.dumps({"errorType": "BackupExistsError", "errorMessage": "it exists\nHint: Choose another."})
    name, text = unrecorded_failure("States.TaskFailed", cause, "S3 refuses")
    assert name == "BackupExistsError"
    assert split_hint(text) == ("it exists\nNor could this be recorded: S3 refuses", "Choose another.")


@given(st.text(), st.text() | st.recursive(st.text(), lambda inner: st.dictionaries(st.text(), inner)).map(json.dumps))
def test_no_failure_makes_it_fail(error: str, cause: str) -> None:
    name, text = read_failure(error, cause)
    assert isinstance(name, str)
    assert isinstance(text, str)


@pytest.mark.parametrize("text", ["[" * DEEP, '{"a":' * DEEP, '{"errorType": "\\ud83d"}'])
def test_a_cause_that_nobody_can_read_fails_nothing(text: str) -> None:
    name, _ = read_failure("States.TaskFailed", text)

    assert name in {"States.TaskFailed", "?"}


def test_a_dozen_failures_inside_each_other_are_read() -> None:
    cause = LAMBDA_CAUSE
    for _ in range(12):
        cause = json.dumps({"Error": "States.TaskFailed", "Cause": cause})

    assert read_failure("States.TaskFailed", cause)[0] == "BackupExistsError"


@cases(150)
@given(error=hard_texts, cause=hard_texts, request=hard_values)
def test_whatever_failed_is_written_down(error: str, cause: str, request: object) -> None:
    event = {"machine": "backup", "execution_arn": ARN, "error": error, "cause": cause, "request": request}
    given_as = read_request(RecordFailureRequest, event, "request")
    store = InMemoryObjectStore("backups")

    record = record_failure(
        store,
        "backups",
        "vault",
        machine=given_as.machine,
        execution_arn=given_as.execution_arn,
        error=given_as.error,
        cause=given_as.cause,
        request=json.dumps(given_as.request),
    )

    assert [FailureRecord.model_validate_json(found.body) for found in store.buckets["backups"].values()] == [record]


def test_the_record_is_written_under_the_executions_name_and_says_everything() -> None:
    store = InMemoryObjectStore("backups")
    before = datetime.now(UTC)
    record = record_failure(
        store,
        "backups",
        "team",
        machine="backup",
        execution_arn=ARN,
        error="States.TaskFailed",
        cause=LAMBDA_CAUSE,
        request='{"backup_name": "x"}',
    )
    (key,) = store.buckets["backups"]
    assert key == "team/.runs/failures/monday.json"
    assert FailureRecord.model_validate_json(store.get("backups", key)) == record
    assert (record.machine, record.execution_arn, record.request) == ("backup", ARN, '{"backup_name": "x"}')
    assert (record.error, record.cause) == ("BackupExistsError", "backup 'x' exists")
    assert before <= record.failed_at <= datetime.now(UTC)


def test_a_record_that_is_written_again_is_still_one() -> None:
    store = InMemoryObjectStore("backups")
    for _ in range(2):
        record_failure(
            store, "backups", "", machine="restore", execution_arn=ARN, error="KeyError", cause="", request="{}"
        )
    assert list(store.buckets["backups"]) == [".runs/failures/monday.json"]


@pytest.mark.parametrize(
    ("errors", "some_succeeded", "expected"),
    [
        (["ImportFailedError"], True, "PartialError"),
        (["ImportFailedError", "LoadFailedError"], True, "PartialError"),
        (["ImportFailedError", "ImportFailedError"], False, "ImportFailedError"),
        (["ImportFailedError", "LoadFailedError"], False, "FailedError"),
    ],
)
def test_a_run_ends_under_its_collections_own_error_only_where_all_have_it(
    errors: list[str], *, some_succeeded: bool, expected: str
) -> None:
    named = outcome_error(errors, some_succeeded=some_succeeded, partial="PartialError", failed="FailedError")
    assert named == expected


@pytest.mark.parametrize(("holder", "is_left"), [(ARN, False), (f"{ARN}-2", True)])
def test_a_failed_backup_leaves_no_hashes_of_passwords_unless_another_execution_has_its_run(
    holder: str, *, is_left: bool
) -> None:
    store, now = InMemoryObjectStore("backups"), datetime.now(UTC)
    run = Workspace(store, "backups", "team", "backup-x")
    record_execution(run, Execution(arn=ARN, started_at=now), "backup", "x")
    run.write(CLAIM, Claim(execution_arn=holder, run=run.run, claimed_at=now))
    run.write(RBAC, Rbac())
    for _ in range(2):
        remove_unpublished_rbac(store, "backups", "team", ARN)
    assert set(run.names()) == ({CLAIM, RBAC} if is_left else {CLAIM})


def test_a_backup_that_failed_before_it_wrote_anything_has_no_secrets_to_remove() -> None:
    store = InMemoryObjectStore("backups")
    remove_unpublished_rbac(store, "backups", "", ARN)
    assert store.buckets["backups"] == {}
