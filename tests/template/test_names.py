"""One name, four spellings: state PlanCopy = PlanCopyFunction = plan_copy/ = PlanCopyRequest and PlanCopyResult."""

import json
import re

import pytest

from tests.template.loading import (
    DOORS,
    LAMBDA_STATE,
    ROOT,
    SUBSTITUTION,
    Machine,
    State,
    functions,
    lambda_states,
    machines,
    request_model,
    result_model,
    snake_case,
)

# The request of those tasks of a restore that need nothing but to know whose they are.
SHARED_REQUEST = "RestoreStepRequest"

LAMBDA_STATES = [pytest.param(m, s, id=f"{m.name}-{s.name}") for m, s in lambda_states()]
MACHINES = [pytest.param(machine, id=machine.name) for machine in machines()]
FUNCTION_NAMES = sorted(functions())


@pytest.mark.parametrize(("machine", "state"), LAMBDA_STATES)
def test_a_state_runs_the_function_of_its_name(machine: Machine, state: State) -> None:
    assert state.body["Resource"] == f"${{{state.name}FunctionArn}}"
    assert machine.substitutions[f"{state.name}FunctionArn"] == {"Fn::GetAtt": [f"{state.name}Function", "Arn"]}


@pytest.mark.parametrize("function", FUNCTION_NAMES)
def test_a_function_has_the_folder_of_its_name_and_one_file_in_it(function: str) -> None:
    folder = f"functions/{snake_case(function.removesuffix('Function'))}"
    assert functions()[function]["CodeUri"] == folder
    assert functions()[function]["Handler"] == "handler.handler"
    assert [path.name for path in (ROOT / folder).iterdir() if path.name != "__pycache__"] == ["handler.py"]


@pytest.mark.parametrize(("machine", "state"), LAMBDA_STATES)
def test_a_handler_has_the_models_of_its_states_name(machine: Machine, state: State) -> None:  # noqa: ARG001
    assert request_model(state.name).__name__ in {f"{state.name}Request", SHARED_REQUEST}
    assert result_model(state.name).__name__ == f"{state.name}Result"


def test_every_folder_is_a_functions() -> None:
    folders = {path.parent.name for path in (ROOT / "functions").glob("*/*") if path.parent.name != "__pycache__"}
    assert folders == {snake_case(name.removesuffix("Function")) for name in FUNCTION_NAMES}


def test_every_function_is_a_states_or_a_door() -> None:
    of_states = {f"{state.name}Function" for _, state in lambda_states()}
    assert of_states | DOORS == set(FUNCTION_NAMES)
    assert of_states & DOORS == set()


def test_every_state_machine_file_is_in_the_template() -> None:
    used = sorted(machine.properties["DefinitionUri"] for machine in machines())
    assert used == sorted(str(path.relative_to(ROOT)) for path in (ROOT / "statemachine").iterdir())


@pytest.mark.parametrize("machine", MACHINES)
def test_the_template_substitutes_what_the_file_asks_for_and_nothing_else(machine: Machine) -> None:
    asked = set(SUBSTITUTION.findall(json.dumps(machine.definition)))
    assert asked == set(machine.substitutions)


@pytest.mark.parametrize("machine", MACHINES)
def test_a_machine_is_named_like_its_file(machine: Machine) -> None:
    name = snake_case(machine.name.removesuffix("StateMachine"))
    assert machine.properties["DefinitionUri"] == f"statemachine/{name}.asl.yaml"
    assert machine.properties["Name"] == {"Fn::Sub": f"${{AWS::StackName}}-{name.replace('_', '-')}"}


@pytest.mark.parametrize("machine", MACHINES)
def test_states_are_named_by_words_in_pascal_case_and_each_once(machine: Machine) -> None:
    names = [state.name for state in machine.states()]
    assert all(re.fullmatch(r"(?:[A-Z][a-z]+)+", name) for name in names)
    assert len(names) == len(set(names))


def test_every_task_that_is_no_function_runs_a_nested_machine_or_starts_what_follows() -> None:
    tasks = [state.body for machine in machines() for state in machine.states() if state.body["Type"] == "Task"]
    others = [body for body in tasks if not LAMBDA_STATE.fullmatch(body["Resource"])]
    assert {(body["Resource"].rpartition(":::")[2], body["Parameters"]["StateMachineArn"]) for body in others} == {
        ("states:startExecution.sync:2", "${CheckObjectsStateMachineArn}"),
        ("states:startExecution.sync:2", "${CopyObjectsStateMachineArn}"),
        ("states:startExecution.sync:2", "${WriteRowsStateMachineArn}"),
        ("states:startExecution.sync:2", "${RestoreStateMachineArn}"),
        ("states:startExecution", "${ExportStateMachineArn}"),
        ("states:startExecution", "${PruneStateMachineArn}"),
        ("states:startExecution", "${VerifyStateMachineArn}"),
    }
