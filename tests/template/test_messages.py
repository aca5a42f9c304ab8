"""What the state machines hand to the functions, and read of what they return, is what the models say."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from tests.template.loading import Data, Machine, State, lambda_states, machines, request_model, result_model

# What a Catch puts where its ResultPath says.
CAUGHT = {"Error": str, "Cause": str}

# Fields of a state, a Choice rule or a Map whose text is a path; those that end in ".$" are too.
PATH_FIELDS = {"CausePath", "ErrorPath", "InputPath", "ItemsPath", "OutputPath", "SecondsPath", "Variable"}

LAMBDA_STATES = [pytest.param(state, id=f"{m.name}-{state.name}") for m, state in lambda_states()]
MACHINES = [pytest.param(machine, id=machine.name) for machine in machines()]

# What a path can lead to: a model or another type, or the members of an object that has no model.
type Shape = Any


@pytest.mark.parametrize("state", LAMBDA_STATES)
def test_a_task_gets_the_fields_of_its_request(state: State) -> None:
    given = state.body.get("Parameters") or (state.map_state or {}).get("ItemSelector", {})
    assert list(misfits(request_model(state.name), given)) == []


@pytest.mark.parametrize("machine", MACHINES)
def test_every_path_leads_to_something_that_a_task_or_a_catch_has_put_there(machine: Machine) -> None:
    document = document_of(machine)
    paths = [path for state in machine.states() if not state.map_state for path in paths_of(state.body)]
    assert [path for path in paths if shape_at(document, path) is None] == []


@pytest.mark.parametrize("machine", MACHINES)
def test_every_choice_compares_with_a_value_that_there_can_be(machine: Machine) -> None:
    document = document_of(machine)
    for state in machine.states():
        for rule in state.body.get("Choices", []):
            value = rule.get("StringEquals", rule.get("BooleanEquals", rule.get("NumericGreaterThan")))
            if value is not None:
                TypeAdapter(shape_at(document, rule["Variable"])).validate_python(value, strict=True)


@pytest.mark.parametrize("machine", MACHINES)
def test_states_in_a_map_read_what_its_item_selector_gives_or_its_tasks_put_there(machine: Machine) -> None:
    for state in machine.states():
        if state.map_state:
            given = {key.removesuffix(".$") for key in state.map_state["ItemSelector"]}
            inside = [other.body for other in machine.states() if other.map_state is state.map_state]
            put = {body["ResultPath"].removeprefix("$.") for body in inside if body.get("ResultPath")}
            assert {path.split(".")[1] for path in paths_of(state.body)} <= given | put


def document_of(machine: Machine) -> Shape:
    """Return what the machine's tasks and Catches put into its document, by first member of the path.

    The input of the copy machine is what the states that start it hand over; the others do not read theirs.
    """
    document: dict[str, list[Shape]] = defaultdict(list)
    for name in inputs_of(machine):
        document[name].append(str)
    for state in machine.states():
        for catch in state.entries("Catch"):
            if catch["ResultPath"]:
                document[catch["ResultPath"].removeprefix("$.")].append(CAUGHT)
        if state.is_lambda and "ResultPath" not in state.body:
            for name, field in result_model(state.name).model_fields.items():
                document[name].append(field.annotation)
        elif state.is_lambda and state.body["ResultPath"]:
            document[state.body["ResultPath"].removeprefix("$.")].append(result_model(state.name))
    for name, shape in ends_of(machine, document):
        document[name].append(shape)
    return document


def ends_of(machine: Machine, document: dict[str, list[Shape]]) -> list[tuple[str, Shape]]:
    """Return the members of what a Succeed state, or a Pass without a ResultPath, leaves of the document."""
    ends = [
        state.body["InputPath"]
        for state in machine.states()
        if "InputPath" in state.body and "ResultPath" not in state.body
    ]
    return [item for path in ends for item in members(shape_at(document, path)).items()]


def inputs_of(machine: Machine) -> set[str]:
    """Return the names that every state which starts this machine hands over."""
    started = f"${{{machine.name}Arn}}"
    starts = [state.body.get("Parameters", {}) for other in machines() for state in other.states()]
    # What is handed over whole, as `Input.$`, its machine reads by the execution's own input.
    given = [
        {name.removesuffix(".$") for name in p["Input"]}
        for p in starts
        if p.get("StateMachineArn") == started and "Input" in p
    ]
    return set.intersection(*given) if given else set()


def shape_at(document: dict[str, list[Shape]], path: str) -> Shape:
    """Return what a path leads to, or None if to nothing."""
    if path in {"$", "$[0]"}:
        return dict
    first, *rest = path.removeprefix("$.").split(".")
    for shape in document.get(first, []):
        found = shape
        for name in rest:
            found = members(found).get(name)
        if found is not None:
            return found
    return None


def members(shape: Shape) -> dict[str, Shape]:
    """Return the members of a model, also of one that may be null, or of an object."""
    if get_args(shape) and type(None) in get_args(shape):
        (shape,) = (inner for inner in get_args(shape) if inner is not type(None))
    if isinstance(shape, type) and issubclass(shape, BaseModel):
        return {name: field.annotation for name, field in shape.model_fields.items()}
    return shape if isinstance(shape, dict) else {}


def paths_of(value: object, field: str = "") -> Iterator[str]:
    """Yield the paths into the document that a state reads, but not those of states inside it."""
    match value:
        case str() if value.startswith("$") and not value.startswith("$$"):
            if field.endswith(".$") or field in PATH_FIELDS:
                yield value
        case dict():
            for key, inner in value.items():
                if key not in {"Branches", "ItemProcessor"}:
                    yield from paths_of(inner, key)
        case list():
            for inner in value:
                yield from paths_of(inner, field)


def misfits(model: type[BaseModel], given: Data) -> Iterator[str]:
    """Yield what is wrong with parameters: fields that the model does not have or that it misses, wrong constants."""
    names = {key.removesuffix(".$") for key in given}
    yield from (f"{model.__name__} has no {name}" for name in names - model.model_fields.keys())
    required = {name for name, field in model.model_fields.items() if field.is_required()}
    yield from (f"{model.__name__} misses {name}" for name in required - names)
    for key, value in given.items():
        field = model.model_fields.get(key)
        if field is None:
            continue
        if isinstance(value, dict) and isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from misfits(field.annotation, value)
            continue
        try:
            TypeAdapter(field.annotation).validate_python(value)
        except ValidationError as err:
            yield f"{model.__name__}.{key} cannot be {value}: {err.errors()[0]['msg']}"
