import pytest

from milvus_vault.errors import IdempotencyConflictError, RunEndedError, RunNotFoundError, ServiceUnavailableError
from milvus_vault.model.requests import BackupRequest
from milvus_vault.runs.starting import find_started, start, stop_run
from tests.support.fake_machines import FakeMachines, machines

REQUEST = BackupRequest(backup_name="a")


def test_the_same_key_and_request_start_once() -> None:
    found = machines(FakeMachines())
    first = start(found, "backup", REQUEST, "key")
    assert start(found, "backup", REQUEST, "key") == first == find_started(found, "backup", REQUEST, "key")
    assert first.id == "backup-key"


def test_the_same_key_for_another_request_is_refused() -> None:
    found = machines(FakeMachines())
    start(found, "backup", REQUEST, "key")
    for again in (find_started, start):
        with pytest.raises(IdempotencyConflictError):
            again(found, "backup", BackupRequest(backup_name="b"), "key")


def test_a_key_holds_for_each_kind_by_itself() -> None:
    found = machines(FakeMachines())
    start(found, "backup", REQUEST, "key")
    assert start(found, "verify", REQUEST, "key").id == "verify-key"


def test_without_a_key_each_request_starts_a_run() -> None:
    found = machines(FakeMachines())
    assert start(found, "backup", REQUEST).id != start(found, "backup", REQUEST).id
    assert find_started(found, "backup", REQUEST, None) is None


def test_the_input_is_the_request_as_it_was_made() -> None:
    states = FakeMachines()
    started = start(machines(states), "backup", BackupRequest.model_validate({"meta_only": True}))
    assert states.describe(started.execution_arn).input_json == '{"meta_only":true}'


def test_a_run_is_stopped_once() -> None:
    found = machines(FakeMachines())
    start(found, "backup", REQUEST, "key")
    stop_run(found, "backup-key", "enough")
    with pytest.raises(RunEndedError, match="has ended: stopped"):
        stop_run(found, "backup-key", "enough")
    for other in ("backup-other", "other"):
        with pytest.raises(RunNotFoundError, match=rf"^there is no run '{other}'\nHint: `GET /runs` lists"):
            stop_run(found, other, "enough")


@pytest.mark.parametrize(("status", "said"), [("SUCCEEDED", "succeeded"), ("FAILED", "failed")])
def test_a_run_that_ends_while_it_is_being_stopped_is_not_said_to_be_stopped(
    monkeypatch: pytest.MonkeyPatch, status: str, said: str
) -> None:
    states = FakeMachines()
    start(machines(states), "prune", REQUEST, "key")

    def end_first(execution_arn: str, _cause: str) -> None:
        # Step Functions takes a stop of what has ended, and changes nothing.
        states.found[execution_arn] = states.found[execution_arn].model_copy(update={"status": status})

    monkeypatch.setattr(states, "stop", end_first)
    with pytest.raises(RunEndedError, match=f"has ended: {said}"):
        stop_run(machines(states), "prune-key", "enough")


def test_a_run_that_was_stopped_is_so_though_nobody_tells_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    states = FakeMachines()
    start(machines(states), "prune", REQUEST, "key")
    stop = states.stop

    def stop_and_fall_silent(execution_arn: str, cause: str) -> None:
        stop(execution_arn, cause)
        monkeypatch.setattr(states, "describe", throttled)

    def throttled(_execution_arn: str) -> None:
        msg = "Step Functions does not answer DescribeExecution: ThrottlingException"
        raise ServiceUnavailableError(msg)

    monkeypatch.setattr(states, "stop", stop_and_fall_silent)
    stop_run(machines(states), "prune-key", "enough")
    assert [one.status for one in states.found.values()] == ["ABORTED"]
