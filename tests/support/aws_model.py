"""What botocore's models say of the calls that the product makes: errors, fields, and values of enumerations.

    python -m tests.support.aws_model

writes down what the installed botocore says, after somebody has read what is new.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import botocore.session
from botocore import xform_name
from botocore.model import ListShape, MapShape, Shape, StringShape, StructureShape

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "layers" / "shared" / "milvus_vault"
RECORDED = REPOSITORY / "tests" / "data" / "aws_model.json"

type Facts = dict[str, dict[str, list[str]]]
"""By call, as `s3.CopyObject`, and by `errors` or a member of the call or its answer: its own members, or values."""

_DEPTH = 3
"""Down to `output.CopyObjectResult.ETag`; the events of an execution's history have many hundred members below."""


def made_calls() -> Iterator[tuple[str, str]]:
    """Yield service and operation of each call that an adapter makes, as `s3` and `CopyObject`."""
    session = botocore.session.get_session()
    found: set[tuple[str, str]] = set()
    for path in PACKAGE.rglob("*.py"):
        code = path.read_text()
        for service in re.findall(r'\bclient\(\s*"(\w+)"', code):
            for operation in session.get_service_model(service).operation_names:
                name = xform_name(operation)
                if re.search(rf'\.{name}\(|get_paginator\("{name}"\)', code):
                    found.add((service, operation))
    return iter(sorted(found))


def installed_facts() -> Facts:
    """Return what the installed botocore says of them."""
    session = botocore.session.get_session()
    facts: Facts = {}
    for service, operation in made_calls():
        model = session.get_service_model(service).operation_model(operation)
        told = facts[f"{service}.{operation}"] = {"errors": sorted(shape.name for shape in model.error_shapes)}
        for side, shape in (("input", model.input_shape), ("output", model.output_shape)):
            if shape is not None:
                told.update(_members(side, shape, _DEPTH))
    return facts


def _members(path: str, shape: Shape, depth: int) -> Iterator[tuple[str, list[str]]]:
    """Yield what a shape is made of, and what that is made of."""
    if isinstance(shape, ListShape):
        yield from _members(path, shape.member, depth)
    elif isinstance(shape, MapShape):
        yield from _members(path, shape.value, depth)
    elif isinstance(shape, StructureShape) and depth:
        yield path, sorted(shape.members)
        for name, member in shape.members.items():
            yield from _members(f"{path}.{name}", member, depth - 1)
    elif isinstance(shape, StringShape) and shape.enum:
        yield path, sorted(shape.enum)


def recorded_facts() -> Facts:
    """Return what was written down."""
    facts: Facts = json.loads(RECORDED.read_text())
    return facts


def news(recorded: Facts, installed: Facts) -> list[str]:
    """Return what is installed and not recorded, a line each; what is gone too, since we may rely on it."""
    lines = []
    for call, told in installed.items():
        known = recorded.get(call)
        if known is None:
            lines.append(f"{call}: the product did not make this call before")
            continue
        for path in {**told, **known}:
            new, gone = {*told.get(path, ())} - {*known.get(path, ())}, {*known.get(path, ())} - {*told.get(path, ())}
            lines += [f"{call}, {path}: {name} is new" for name in sorted(new)]
            lines += [f"{call}, {path}: {name} is gone" for name in sorted(gone)]
    return lines


def _one_list_a_line(facts: Facts) -> str:
    calls = (
        f'"{call}": {{\n' + ",\n".join(f'  "{path}": {json.dumps(names)}' for path, names in told.items()) + "\n}"
        for call, told in facts.items()
    )
    return "{\n" + ",\n".join(calls) + "\n}\n"


if __name__ == "__main__":
    RECORDED.write_text(_one_list_a_line(installed_facts()))
