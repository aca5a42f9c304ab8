"""Small functions and state machines on ministack, for the tests of what the emulator does."""

import io
import json
import textwrap
import time
import uuid
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

from mypy_boto3_stepfunctions.type_defs import DescribeExecutionOutputTypeDef

from local.aws import Ministack

_ROLE = "arn:aws:iam::000000000000:role/contract"


def create_role(ministack: Ministack, statement: dict[str, Any]) -> str:
    """Create a role for functions that allows what the statement says, and return its ARN."""
    iam = ministack.client("iam")
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    name = f"contract-{uuid.uuid4()}"
    role: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=_policy(trust))["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName="contract", PolicyDocument=_policy(statement))
    return role


def _policy(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def create_layer(ministack: Ministack, module: str, code: str) -> str:
    """Publish a layer with one module, and return the version's ARN."""
    published = ministack.client("lambda").publish_layer_version(
        LayerName=f"contract-{uuid.uuid4()}", Content={"ZipFile": _zipped({f"python/{module}.py": code})}
    )
    return published["LayerVersionArn"]


def _zipped(files: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, code in files.items():
            archive.writestr(name, textwrap.dedent(code))
    return buffer.getvalue()


def create_function(
    ministack: Ministack,
    code: str,
    *,
    role: str = _ROLE,
    timeout_seconds: int = 10,
    layers: Sequence[str] = (),
    modules: Mapping[str, str] | None = None,
) -> str:
    """Create a Lambda function with the given `handler.py` and other modules, and return its ARN."""
    files = {f"{name}.py": source for name, source in {**(modules or {}), "handler": code}.items()}
    created = ministack.client("lambda").create_function(
        FunctionName=f"contract-{uuid.uuid4()}",
        Runtime="python3.13",
        Handler="handler.handler",
        Role=role,
        Timeout=timeout_seconds,
        Layers=layers,
        Code={"ZipFile": _zipped(files)},
    )
    return created["FunctionArn"]


def create_machine(ministack: Ministack, states: dict[str, Any]) -> str:
    """Create a state machine that starts at the first of the states, and return its ARN."""
    created = ministack.client("stepfunctions").create_state_machine(
        name=f"contract-{uuid.uuid4()}",
        roleArn=_ROLE,
        definition=json.dumps({"StartAt": next(iter(states)), "States": states}),
    )
    return created["stateMachineArn"]


def start(ministack: Ministack, machine_arn: str, request: object) -> str:
    """Start the machine, and return the execution's ARN."""
    execution = ministack.client("stepfunctions").start_execution(
        stateMachineArn=machine_arn, input=json.dumps(request)
    )
    return execution["executionArn"]


def wait(ministack: Ministack, execution_arn: str, timeout_seconds: float = 30) -> DescribeExecutionOutputTypeDef:
    """Return the description of the execution once it has ended."""
    deadline = time.monotonic() + timeout_seconds
    states = ministack.client("stepfunctions")
    while (described := states.describe_execution(executionArn=execution_arn))["status"] == "RUNNING":
        assert time.monotonic() < deadline, f"{execution_arn} is still running"
        time.sleep(0.05)
    return described


def run(ministack: Ministack, states: dict[str, Any], request: object) -> DescribeExecutionOutputTypeDef:
    """Run a new machine of the states to its end."""
    return wait(ministack, start(ministack, create_machine(ministack, states), request))
