"""The two interpreters of Amazon States Language that there are here, run within the process with given answers.

ministack's is that of the local stack, with its patches; moto has LocalStack's. Neither calls a function, or starts
another machine: what a Task would ask is answered from a script, and who asked what is written down.
"""

import contextvars
import io
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, override

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from ministack.services import stepfunctions
from moto.stepfunctions.parser.api import StateMachineType
from moto.stepfunctions.parser.asl.component.common.error_name.error_name import ErrorName
from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl
from moto.stepfunctions.parser.asl.component.eval_component import EvalComponent
from moto.stepfunctions.parser.asl.component.state.exec.state_parallel import branches_decl
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import state_task_service_callback
from moto.stepfunctions.parser.asl.component.state.wait.wait_function.wait_function import WaitFunction
from moto.stepfunctions.parser.asl.eval.evaluation_details import (
    AWSExecutionDetails,
    EvaluationDetails,
    ExecutionDetails,
    StateMachineDetails,
)
from moto.stepfunctions.parser.asl.eval.program_state import ProgramEnded, ProgramError
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
from moto.stepfunctions.parser.backend.execution_worker import SyncExecutionWorker
from moto.stepfunctions.parser.backend.execution_worker_comm import ExecutionWorkerCommunication

from local import ministack_patches
from local.validate_asl import load, text_for_moto
from tests.template.loading import SUBSTITUTION

type Json = Any

ACCOUNT, REGION = "123456789012", "us-east-1"
START = "2026-11-30T03:00:00.000Z"
_MACHINES = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:vault-"


# What a module that sleeps has for `time`.
_WITHOUT_WAITS = SimpleNamespace(**{**vars(time), "sleep": lambda _: None})


@dataclass(frozen=True, slots=True)
class Failure(Exception):  # noqa: N818 - what a script says, too
    """What a Task fails with."""

    error: str
    cause: str = "told to"


@dataclass(frozen=True, slots=True)
class Script:
    """What is given to an execution, and the answers of its Tasks."""

    given: Json = field(default_factory=dict)
    answers: Mapping[str, tuple[Json | Failure, ...]] = field(default_factory=dict)
    """By the name of a function's state, or of the kind of a machine that is started; the last of them stays."""
    batches: tuple[Json, ...] = ({"batch": 0},)
    """What a distributed Map reads."""


@dataclass(slots=True)
class Trace:
    """What an execution did."""

    entered: list[str] = field(default_factory=list)
    """The states, in the order in which they were entered. Those of a distributed Map's children are not among them."""
    asked: dict[str, list[Json]] = field(default_factory=dict)
    """What each Task asked for, each in its order; that of a Map's items has none."""
    status: str = ""
    error: str = ""
    output: Json = None


def answered_by(arn: str) -> str:
    """Return the name under which a script has the answers of a function, or of another machine."""
    return arn.rpartition(":")[2].removeprefix("vault-")


class _Answers:
    """Gives the answers of a script, and writes down what was asked."""

    def __init__(self, script: Script, trace: Trace) -> None:
        self._script = script
        self._trace = trace
        self._lock = threading.Lock()

    def answer(self, arn: str, given: Json) -> Json:
        """Return what a function, or an execution of another machine, answers. Raises `Failure`."""
        name = answered_by(arn)
        with self._lock:
            asked = self._trace.asked.setdefault(name, [])
            asked.append(given)
            answers = self._script.answers.get(name) or (Failure("NoAnswerError", name),)
            found = answers[min(len(asked), len(answers)) - 1]
        if isinstance(found, Failure):
            raise found
        return found


@cache
def definition_of(kind: str) -> dict[str, Any]:
    """Return the definition of a machine, by the name of its file; ARNs in it end with what they are of."""
    text = (Path(__file__).parents[2] / "statemachine" / f"{kind}.asl.yaml").read_text()
    found = {"Partition": "aws", "CopyConcurrency": "2"}
    for name in set(SUBSTITUTION.findall(text)) - found.keys():
        if name.endswith("FunctionArn"):
            found[name] = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name.removesuffix('FunctionArn')}"
        else:
            found[name] = _MACHINES + name.removesuffix("StateMachineArn")
    return load(text, found)


# --- ministack


@cache
def _patch_ministack() -> None:
    """Let it do as AWS does, as on the local stack."""
    for patch in (
        ministack_patches.patch_nested_failure,
        ministack_patches.patch_stop_of_states,
        ministack_patches.patch_failing_branches,
        ministack_patches.patch_history_of_branches,
    ):
        patch()


def run_ministack(definition: Mapping[str, Any], script: Script) -> Trace:
    """Return what ministack makes of a definition."""
    _patch_ministack()
    trace = Trace()
    answers = _Answers(script, trace)
    machine, execution = f"{_MACHINES}machine", f"{_MACHINES.replace('stateMachine', 'execution')}machine:one"

    def invoke(resource: str, given: Json) -> Json:
        is_nested = ":states:::states:" in resource
        try:
            found = answers.answer(given["StateMachineArn"] if is_nested else resource, given)
        except Failure as failure:
            raise stepfunctions._ExecutionError(failure.error, failure.cause) from None
        # A Task may change what it is given.
        return json.loads(json.dumps(found))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stepfunctions, "_invoke_resource", invoke)
        patch.setattr(stepfunctions, "_read_map_items", lambda *_: list(script.batches))
        patch.setattr(stepfunctions, "_SFN_WAIT_SCALE", 0)
        patch.setattr(stepfunctions, "time", _WITHOUT_WAITS)
        stepfunctions._state_machines[machine] = {"name": "vault-machine", "definition": json.dumps(definition)}
        found: dict[str, Any] = {
            "executionArn": execution,
            "stateMachineArn": machine,
            "name": "one",
            "status": "RUNNING",
            "startDate": START,
            "input": json.dumps(script.given),
            "events": [],
        }
        stepfunctions._executions[execution] = found
        contextvars.copy_context().run(stepfunctions._run_execution, execution)
    details = [event["stateEnteredEventDetails"] for event in found["events"] if "stateEnteredEventDetails" in event]
    trace.entered = [str(entered["name"]) for entered in details]
    trace.status, trace.error = str(found["status"]), str(found.get("error", ""))
    trace.output = json.loads(str(found["output"])) if trace.status == "SUCCEEDED" else found.get("cause")
    return trace


# --- moto


@cache
def _parsed(definition: str) -> EvalComponent:
    found: EvalComponent = AmazonStateLanguageParser.parse(definition)[0]
    return found


class _Worker(SyncExecutionWorker):
    """Runs an execution in the thread that asks, of a definition that is parsed once."""

    @override
    def _get_evaluation_entrypoint(self) -> EvalComponent:
        return _parsed(self._evaluation_details.state_machine_details.definition)


class _Nobody(ExecutionWorkerCommunication):
    """Whom nobody has to tell that an execution has ended."""

    @override
    def terminated(self) -> None:
        """Do nothing."""


def run_moto(definition: Mapping[str, Any], script: Script) -> Trace:
    """Return what moto makes of a definition."""
    trace = Trace()
    execution = f"{_MACHINES.replace('stateMachine', 'execution')}machine:one"
    role = f"arn:aws:iam::{ACCOUNT}:role/machine"
    details = EvaluationDetails(
        AWSExecutionDetails(ACCOUNT, REGION, role),
        ExecutionDetails(execution, "one", role, script.given, START),
        StateMachineDetails(
            f"{_MACHINES}machine", "vault-machine", StateMachineType.STANDARD, text_for_moto(definition)
        ),
    )
    worker: Any = _Worker(details, _Nobody(), None, {})
    with _asked_of_moto(script, _Answers(script, trace)):
        worker.start()
    entries = (event.get("stateEnteredEventDetails") for event in worker.env.event_manager.get_event_history())
    trace.entered = [str(entered["name"]) for entered in entries if entered]
    state = worker.env.program_state()
    if isinstance(state, ProgramEnded):
        trace.status, trace.output = "SUCCEEDED", worker.env.states.get_input()
    elif isinstance(state, ProgramError) and state.error is not None:
        trace.status, trace.error, trace.output = "FAILED", state.error.get("error") or "", state.error.get("cause")
    return trace


@contextmanager
def _asked_of_moto(script: Script, answers: _Answers) -> Iterator[None]:
    """Answer what moto's interpreter asks other services, which it does by boto3, and let it wait for nothing."""
    nested: dict[str, Json] = {}

    def call(_: object, operation: str, request: dict[str, Any]) -> Json:
        match operation:
            case "Invoke":
                return _invoked(answers, request)
            case "StartExecution":
                return _started(answers, request, nested)
            case "DescribeExecution":
                return nested[request["executionArn"]]
            case "GetObject":
                return {"Body": io.BytesIO(json.dumps(list(script.batches)).encode())}
        msg = f"no rule to answer {operation}"
        raise AssertionError(msg)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseClient, "_make_api_call", call)
        patch.setattr(retrier_decl, "time", _WITHOUT_WAITS)
        patch.setattr(state_task_service_callback, "_DELAY_SECONDS_SYNC_CONDITION_CHECK", 0)
        patch.setattr(WaitFunction, "_wait_interval", lambda *_, **__: None)
        # A Parallel hands on its branch's error under its name, also where that is one of the language's: moto then
        # ends by a ValueError, since States.* may be no name of one's own.
        patch.setattr(branches_decl, "CustomErrorName", ErrorName)
        yield


def _invoked(answers: _Answers, request: Mapping[str, Any]) -> Json:
    given = json.loads(request["Payload"])
    try:
        found, failed = answers.answer(request["FunctionName"], given), {}
    except Failure as failure:
        found = {"errorType": failure.error, "errorMessage": failure.cause}
        failed = {"FunctionError": "Unhandled"}
    return {"StatusCode": 200, "Payload": io.BytesIO(json.dumps(found).encode()), **failed}


def _started(answers: _Answers, request: Mapping[str, Any], nested: dict[str, Json]) -> Json:
    # moto asks, and reads the answer, under the names of the state instead of those of the API.
    machine = request["StateMachineArn"]
    arn = f"{machine.replace('stateMachine', 'execution')}:{len(nested)}"
    found: dict[str, Any] = {"executionArn": arn, "startDate": START, "status": "SUCCEEDED", "output": "{}"}
    try:
        answers.answer(machine, {**request, "Input": json.loads(request["Input"])})
    except Failure as failure:
        if failure.error != "States.TaskFailed":
            code = failure.error.removeprefix("StepFunctions.").removesuffix("Exception")
            told: Any = {"Error": {"Code": code, "Message": failure.cause}, "ResponseMetadata": _METADATA}
            raise ClientError(told, "StartExecution") from None
        found |= {"status": "FAILED", "error": "CopyFailedError", "cause": failure.cause}
    nested[arn] = found
    return {"ExecutionArn": arn, "StartDate": START}


_METADATA = {"HTTPStatusCode": 400, "RequestId": "1"}
