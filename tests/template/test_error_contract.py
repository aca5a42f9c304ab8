"""The names of errors are a contract between functions, state machines and operators."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import botocore.session
import pytest

from tests.template.loading import (
    NESTED,
    ROOT,
    Machine,
    State,
    functions,
    lambda_states,
    leaves,
    machines,
    reaches_milvus,
)

# What Lambda's own failures are called in a state machine; every task is idempotent, so that all of them retry these.
PASSING_LAMBDA_FAILURES = {
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
    "Sandbox.Timedout",
}
# Of StartExecution, where a state waits for what it starts: that fails with States.TaskFailed. AWS' guide spells the
# names as the API does (`StepFunctions.ExecutionLimitExceeded`), and others have those of its Java client, which end in
# Exception: both are named.
PASSING_START_FAILURES = {
    "StepFunctions.ThrottlingException",
    "StepFunctions.ExecutionLimitExceeded",
    "StepFunctions.ExecutionLimitExceededException",
    "StepFunctions.AWSStepFunctionsException",
    "StepFunctions.SdkClientException",
}
KNOWN = (
    PASSING_LAMBDA_FAILURES
    | PASSING_START_FAILURES
    | {
        "Lambda.Unknown",
        "StepFunctions.ExecutionAlreadyExists",
        "StepFunctions.ExecutionAlreadyExistsException",
        "States.ALL",
        "States.TaskFailed",
    }
)
STORAGE_FAILURES = {"StorageThrottledError", "StorageUnavailableError"}

CODE = ROOT / "layers" / "shared" / "milvus_vault"
ERROR_NAME = re.compile(r"[A-Z][A-Za-z]+Error")

LAMBDA_STATES = [pytest.param(state, id=f"{m.name}-{state.name}") for m, state in lambda_states()]
STATES = [pytest.param(m, state, id=f"{m.name}-{state.name}") for m in machines() for state in m.states()]


def names(state: State, field: str) -> list[str]:
    """Return all names in a state's Retry or Catch."""
    return [name for entry in state.entries(field) for name in entry["ErrorEquals"]]


def our_names(state: State, field: str) -> set[str]:
    """Return those names that are neither Lambda's nor Step Functions'."""
    return {name for name in names(state, field) if "." not in name}


@pytest.mark.parametrize(("machine", "state"), STATES)
def test_retry_and_catch_name_errors_that_exist(machine: Machine, state: State) -> None:  # noqa: ARG001
    found = {*names(state, "Retry"), *names(state, "Catch")}
    assert found <= leaves().keys() | KNOWN


def test_what_a_state_waits_for_is_started_again_where_that_was_throttled_and_not_where_it_failed() -> None:
    waiting = [
        (f"{machine.name}-{state.name}", state)
        for machine in machines()
        for state in machine.states()
        if state.body.get("Resource", "").endswith("startExecution.sync:2")
    ]
    assert {name: set(names(state, "Retry")) for name, state in waiting} == dict.fromkeys(
        (name for name, _ in waiting), PASSING_START_FAILURES
    )
    assert len(waiting) == 7


def test_errors_of_step_functions_are_those_of_its_api_or_of_its_client() -> None:
    """By botocore's model; the last three it has for no service: the client's own, and one that all have in common."""
    service = botocore.session.get_session().get_service_model("stepfunctions")
    modelled = service.operation_model("StartExecution").error_shapes
    ours = {name.removeprefix("StepFunctions.") for name in KNOWN if name.startswith("StepFunctions.")}
    assert {name.removesuffix("Exception") for name in ours} - {shape.name for shape in modelled} == {
        "AWSStepFunctions",
        "SdkClient",
        "Throttling",
    }


def test_the_machines_retry_exactly_the_retryable_errors() -> None:
    retried = {name for machine in machines() for state in machine.states() for name in our_names(state, "Retry")}
    assert retried == {name for name, leaf in leaves().items() if leaf.retryable}


@pytest.mark.parametrize("state", LAMBDA_STATES)
def test_a_task_retries_what_its_function_can_meet(state: State) -> None:
    expected = set(STORAGE_FAILURES)
    if reaches_milvus(functions()[f"{state.name}Function"]):
        expected.add("MilvusUnavailableError")
    if state.name == "CopyBatch":
        expected.add("CopyUnfinishedError")
    if state.name == "PrepareExport":
        expected.add("CopyInProgressError")
    assert our_names(state, "Retry") == expected


@pytest.mark.parametrize("state", LAMBDA_STATES)
def test_a_task_retries_the_passing_failures_of_lambda_itself(state: State) -> None:
    retrier = next(entry for entry in state.entries("Retry") if "Lambda.ServiceException" in entry["ErrorEquals"])
    assert set(retrier["ErrorEquals"]) == PASSING_LAMBDA_FAILURES
    assert retrier["MaxAttempts"] > 0


@pytest.mark.parametrize("state", LAMBDA_STATES)
def test_pauses_between_attempts_grow(state: State) -> None:
    assert all(entry["BackoffRate"] > 1 and entry["MaxAttempts"] > 0 for entry in state.entries("Retry"))


@pytest.mark.parametrize(("machine", "state"), STATES)
def test_no_name_is_in_two_retriers_of_a_state(machine: Machine, state: State) -> None:  # noqa: ARG001
    retried = names(state, "Retry")
    assert len(retried) == len(set(retried))


@pytest.mark.parametrize(("machine", "state"), STATES)
def test_all_errors_are_caught_alone_last_and_never_retried(machine: Machine, state: State) -> None:  # noqa: ARG001
    assert "States.ALL" not in names(state, "Retry")
    catches = [entry["ErrorEquals"] for entry in state.entries("Catch")]
    assert all(caught == ["States.ALL"] for caught in catches if "States.ALL" in caught)
    assert all("States.ALL" not in caught for caught in catches[:-1])


@pytest.mark.parametrize(("machine", "state"), STATES)
def test_an_execution_fails_under_one_of_our_names(machine: Machine, state: State) -> None:  # noqa: ARG001
    if state.body["Type"] == "Fail":
        assert ("Error" in state.body) != ("ErrorPath" in state.body)
        assert ("Cause" in state.body) != ("CausePath" in state.body)
        assert state.body.get("Error", "InvalidRequestError") in leaves()


@pytest.mark.parametrize("machine", [m for m in machines() if m.name not in NESTED], ids=lambda m: m.name)
def test_every_failure_is_recorded(machine: Machine) -> None:
    states = {state.name: state for state in machine.states()}
    top = [states[name] for name in machine.definition["States"]]
    failing = [state for state in top if state.body["Type"] in {"Task", "Parallel"} and state.name != "RecordFailure"]
    assert failing
    assert all("States.ALL" in names(state, "Catch") for state in failing)


@pytest.mark.parametrize("path", sorted((ROOT / "functions").glob("*/handler.py")), ids=lambda p: p.parent.name)
def test_error_names_in_a_handler_exist(path: Path) -> None:
    assert set(error_literals(path)) <= leaves().keys()


def test_error_names_in_the_package_exist() -> None:
    # The adapters, and the account as an acceptance sees it, compare with names of other systems.
    account = CODE / "acceptance" / "account.py"
    assert account.exists()
    paths = [path for path in CODE.rglob("*.py") if path.parent.name != "adapters" and path != account]
    assert {name for path in paths for name in error_literals(path)} <= leaves().keys()


def test_every_error_can_happen() -> None:
    paths = [*CODE.rglob("*.py"), *(ROOT / "functions").rglob("*.py"), *(ROOT / "statemachine").iterdir()]
    # The API's table of problems has them all, whether they happen or not.
    words = {
        word
        for path in paths
        if path.name not in {"errors.py", "problems.py"}
        for word in ERROR_NAME.findall(path.read_text())
    }
    assert leaves().keys() - words == set()


def test_only_leaves_are_raised() -> None:
    raised = {
        node.exc.func.id
        for path in [*CODE.rglob("*.py"), *(ROOT / "functions").rglob("*.py")]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name)
    }
    assert "VaultError" not in raised
    assert "Exception" not in raised


def error_literals(path: Path) -> Iterator[str]:
    """Yield the texts in a file that have the form of an error's name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and ERROR_NAME.fullmatch(node.value):
            yield node.value
