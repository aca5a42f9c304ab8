"""The template, the state machines and the handlers as data that tests can ask."""

import importlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import yaml
from pydantic import BaseModel
from samtranslator.yaml_helper import yaml_parse

from milvus_vault.errors import VaultError
from tools import resolved

ROOT = Path(__file__).parents[2]
BUILD = ROOT / ".aws-sam" / "build"
LAMBDA_STATE = re.compile(r"\$\{(\w+)FunctionArn\}")
SUBSTITUTION = re.compile(r"\$\{(\w+)\}")

# Functions that are no state of a machine: somebody else calls them. No machine may invoke them.
DOORS = frozenset({"AnnounceRunFunction", "ApiFunction", "InspectMilvusFunction", "WatchSchedulesFunction"})

# Machines that others start, and whose failures those know: no runs of their own.
NESTED = frozenset({"CheckObjectsStateMachine", "CopyObjectsStateMachine", "WriteRowsStateMachine"})

type Data = dict[str, Any]


@cache
def template() -> Data:
    """Return the template; `!Ref x` is `{"Ref": "x"}` and `!Sub x` is `{"Fn::Sub": "x"}`.

    Aliases and merges are written out, as `sam build` does: nothing is one object at two places.
    """
    written_out: Data = json.loads(json.dumps(yaml_parse((ROOT / "template.yaml").read_text())))
    return written_out


def translated() -> dict[str, Data]:
    """Return the resources that SAM makes of the template."""
    made: dict[str, Data] = transformed()["Resources"]
    return made


@cache
def transformed() -> Data:
    """Return what SAM makes of the template."""
    return resolved.transformed(template(), {})


def resources(kind: str) -> dict[str, Data]:
    """Return the resources of a type, by name."""
    return {name: found for name, found in template()["Resources"].items() if found["Type"] == kind}


def functions() -> dict[str, Data]:
    """Return the properties of each function, with what it has from Globals: lists are joined, maps are merged.

    Its policies are a list, also where it has one.
    """
    shared = template()["Globals"]["Function"]
    found = {
        name: _merged(shared, found["Properties"]) for name, found in resources("AWS::Serverless::Function").items()
    }
    return {name: function | {"Policies": as_list(function["Policies"])} for name, function in found.items()}


def _merged(shared: Data, own: Data) -> Data:
    merged = dict(shared)
    for key, value in own.items():
        if isinstance(value, dict) and isinstance(shared.get(key), dict):
            merged[key] = _merged(shared[key], value)
        elif isinstance(value, list) and isinstance(shared.get(key), list):
            merged[key] = [*shared[key], *value]
        else:
            merged[key] = value
    return merged


def environment(function: Data) -> Data:
    """Return a function's environment variables."""
    variables: Data = function["Environment"]["Variables"]
    return variables


def talks_to_milvus(function: Data) -> bool:
    """Return whether the function is told where Milvus is."""
    return "MILVUS_URI" in environment(function)


def reaches_milvus(function: Data) -> bool:
    """Return whether the function is told where Milvus is, or its management port."""
    return talks_to_milvus(function) or "MILVUS_MANAGEMENT_URI" in environment(function)


@dataclass(frozen=True, slots=True)
class State:
    """A state, and the Map whose items it works on, if it is in one."""

    name: str
    body: Data
    map_state: Data | None

    @property
    def is_lambda(self) -> bool:
        """Return whether the state is a Task that runs a function."""
        return self.body["Type"] == "Task" and LAMBDA_STATE.fullmatch(self.body["Resource"]) is not None

    def entries(self, field: str) -> list[Data]:
        """Return the entries of Retry or Catch."""
        found: list[Data] = self.body.get(field, [])
        return found


@dataclass(frozen=True, slots=True)
class Machine:
    """A state machine: its resource and its file, in which substitutions are still to be made."""

    name: str
    properties: Data
    definition: Data

    @property
    def role(self) -> Data:
        """Return the properties of the role that the machine runs under."""
        found: Data = resources("AWS::IAM::Role")[f"{self.name}Role"]["Properties"]
        assert self.properties["Role"] == {"Fn::GetAtt": [f"{self.name}Role", "Arn"]}
        return found

    @property
    def policies(self) -> list[Data]:
        """Return the documents of the role's policies."""
        return [policy["PolicyDocument"] for policy in self.role["Policies"]]

    @property
    def substitutions(self) -> Data:
        """Return what the template substitutes."""
        found: Data = self.properties["DefinitionSubstitutions"]
        return found

    def states(self) -> list[State]:
        """Return all states, also those of branches and Maps."""
        return list(_states(self.definition, None))


def _states(definition: Data, map_state: Data | None) -> Iterator[State]:
    for name, body in definition["States"].items():
        yield State(name, body, map_state)
        for branch in body.get("Branches", []):
            yield from _states(branch, map_state)
        if "ItemProcessor" in body:
            yield from _states(body["ItemProcessor"], body)


@cache
def machines() -> list[Machine]:
    """Return the state machines of the template."""
    return [
        Machine(name, found["Properties"], yaml.safe_load((ROOT / found["Properties"]["DefinitionUri"]).read_text()))
        for name, found in resources("AWS::Serverless::StateMachine").items()
    ]


def lambda_states() -> list[tuple[Machine, State]]:
    """Return every Task that runs a function, with its machine."""
    return [(machine, state) for machine in machines() for state in machine.states() if state.is_lambda]


def snake_case(name: str) -> str:
    """Return `plan_copy` for `PlanCopy`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def request_model(state: str) -> type[BaseModel]:
    """Return what the handler of a state takes."""
    return next(model for name, model in _handler_hints(state).items() if name != "return")


def result_model(state: str) -> type[BaseModel]:
    """Return what the handler of a state returns."""
    return _handler_hints(state)["return"]


@cache
def _handler_hints(state: str) -> dict[str, type[BaseModel]]:
    return get_type_hints(importlib.import_module(f"{snake_case(state)}.handler").handler)


def leaves() -> dict[str, type[VaultError]]:
    """Return the named errors, by name."""
    found = {leaf.__name__: leaf for leaf in VaultError.__subclasses__()}
    return {name: leaf for name, leaf in found.items() if leaf.__module__ == VaultError.__module__}


def statements(policies: list[Any]) -> list[Data]:
    """Return the statements of policy documents, also those that depend on a condition."""
    found: list[Data] = []
    for policy in policies:
        for statement in policy.get("Statement", []):
            options = statement["Fn::If"][1:] if "Fn::If" in statement else [statement]
            found += [option for option in options if option != {"Ref": "AWS::NoValue"}]
    return found


def as_list(value: object) -> list[Any]:
    """Return what IAM takes as one value or a list as a list."""
    return value if isinstance(value, list) else [value]


def text_of(value: object, names: Mapping[str, object] | None = None) -> str:  # noqa: PLR0911 - a rule a function
    """Return a CloudFormation value as text: `${Name}` for a reference, and the last option for an If."""
    match value:
        case str():
            return SUBSTITUTION.sub(lambda m: text_of((names or {}).get(m[1], {"Ref": m[1]})), value)
        case {"Ref": str(name)}:
            return f"${{{name}}}"
        case {"Fn::GetAtt": [name, attribute]}:
            return f"${{{name}.{attribute}}}"
        case {"Fn::Sub": [str(text), dict(given)]}:
            return text_of(text, given)
        case {"Fn::Sub": str(text)}:
            return text
        case {"Fn::If": [_, _, last]}:
            return text_of(last)
        case {"Fn::Join": [str(between), {"Fn::Split": [str(at), inner]}]}:
            return text_of(inner, names).replace(at, between)
    msg = f"no rule to read {value!r}"
    raise ValueError(msg)


def resources_of(statement: Data) -> list[str]:
    """Return the resources of a statement as texts."""
    return [text_of(found) for found in as_list(statement["Resource"])]


def actions_of(statement: Data) -> list[str]:
    """Return the actions of a statement."""
    return as_list(statement["Action"])
