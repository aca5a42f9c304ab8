"""Stop executions of the real state machines at a chosen state, and let functions come too late.

A gate is a task that a test has to let through, put into a copy of a deployed machine. Who stands at a gate can
be stopped there, or waits while something happens.
"""

import copy
import json
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from local.stack import Deployment
from tests.support import vault_runs

type State = dict[str, Any]
type Machine = dict[str, Any]
"""`StartAt` and `States`: a state machine, a branch of a Parallel, or the item processor of a Map."""

FOLDER = Path(__file__).parents[2] / "statemachine"
REACH_SECONDS = 240.0


def read_machine(name: str) -> Machine:
    """Return `statemachine/<name>.asl.yaml`."""
    machine: Machine = yaml.safe_load((FOLDER / f"{name}.asl.yaml").read_text())
    return machine


def part_of(machine: Machine, name: str) -> Machine:
    """Return the part of a machine that a state lies in. State names are unique in a machine."""
    return next(part for part in _parts(machine) if name in part["States"])


def states_towards_success(machine: Machine) -> list[str]:
    """Return the states that an execution which succeeds can pass, without those where one ends."""
    return [
        name
        for part in _parts(machine)
        for name in part["States"]
        if name in _reachable(part) and _can_succeed(part, name) and part["States"][name]["Type"] != "Succeed"
    ]


def states_of_failure(machine: Machine) -> list[str]:
    """Return the other states, without those where an execution ends."""
    passed = states_towards_success(machine)
    return [
        name
        for part in _parts(machine)
        for name, state in part["States"].items()
        if name not in passed and state["Type"] not in {"Fail", "Succeed"}
    ]


def tasks(machine: Machine) -> list[str]:
    """Return those states towards success that are tasks."""
    return [n for n in states_towards_success(machine) if part_of(machine, n)["States"][n]["Type"] == "Task"]


def states_that_leave_something(machine: Machine) -> list[str]:
    """Return after which states towards success something else lies in S3 or Milvus than after the one before.

    That is after tasks: a Choice, Wait, Pass, Map or Parallel writes nothing. After NextRound a run has a round behind
    it, which no other state has.
    """
    return [*tasks(machine), *(name for name in states_towards_success(machine) if name == "NextRound")]


def _parts(machine: Machine) -> Iterator[Machine]:
    """Yield the machine and all branches and item processors in it."""
    yield machine
    for state in machine["States"].values():
        for inner in (*state.get("Branches", ()), *filter(None, [state.get("ItemProcessor")])):
            yield from _parts(inner)


def _followers(state: State) -> list[str]:
    ways = [state, *state.get("Choices", ())]
    return [way[key] for way in ways for key in ("Next", "Default") if key in way]


def _reachable(part: Machine) -> set[str]:
    """Return the states of a part that are reached without a failure."""
    found, waiting = set[str](), [part["StartAt"]]
    while waiting:
        if (name := waiting.pop()) not in found:
            found.add(name)
            waiting += _followers(part["States"][name])
    return found


def _can_succeed(part: Machine, name: str, passed: frozenset[str] = frozenset()) -> bool:
    state = part["States"][name]
    if state["Type"] == "Succeed" or state.get("End"):
        return True
    return any(_can_succeed(part, other, passed | {name}) for other in _followers(state) if other not in passed)


_GATED = "gated-"

# Tasks of machines that others start.
_NESTED = {"CopyBatch": "CopyObjects", "CheckObjects": "CheckObjects", "WriteRows": "WriteRows"}

# States that are passed only by an execution whose PlanCopy does not copy and verify at once.
_COPYING_BY_STEPS = {"CopyObjects", "VerifyCopy", "NextRound"}

# The tasks inside of those that start other machines.
_INSIDE = {"CopyObjects": "CopyBatch", "CheckBatches": "CheckObjects", "WriteBatches": "WriteRows"}


@dataclass(frozen=True, slots=True)
class Arrival:
    """An execution that stands at a gate."""

    gate: str
    """`after <state>` or `before <state>`."""
    payload: Any
    """Before a task, what its function is going to be given; after a state, what that gave to the next."""
    token: str


class GatedMachine:
    """A copy of a deployed state machine with gates in it. One execution at a time."""

    def __init__(
        self,
        deployment: Deployment,
        machine: vault_runs.Machine | str,
        gates: Iterable[str],
        *,
        substitutions: Mapping[str, str] | None = None,
    ) -> None:
        """Deploy the copy.

        Args:
            deployment: where the original is deployed.
            machine: the original: `Backup`, `Restore`, `CopyObjects` and so on.
            gates: where they are to be: `after <state>`, for a choice on each of its ways, or `before <task>`. Where
                one is in the copying, PlanCopy only plans, however little there is to copy.
            substitutions: texts of the definition to replace, such as the ARN of a machine that it starts: that of
                the copy machine is started then.
        """
        _let_functions_ask(deployment)
        self._states = deployment.ministack.client("stepfunctions")
        self._messages = deployment.ministack.client("sqs")
        described = self._states.describe_state_machine(stateMachineArn=deployment.outputs[f"{machine}StateMachineArn"])
        text = described["definition"]
        for old, new in (substitutions or {}).items():
            text = text.replace(old, new)
        definition: Machine = json.loads(text)
        gates = [*gates]
        copying = deployment.outputs["CopyObjectsStateMachineArn"] in (substitutions or {})
        if copying or {gate.partition(" ")[2] for gate in gates} & _COPYING_BY_STEPS:
            del part_of(definition, "PlanCopy")["States"]["PlanCopy"]["Parameters"]["purpose"]
        name = f"{_GATED}{uuid.uuid4()}"
        self._queue = self._messages.create_queue(QueueName=name)["QueueUrl"]
        for gate in gates:
            where, _, state = gate.partition(" ")
            put = {"after": self._put_after, "before": self._put_before}[where]
            put(part_of(definition, state), state)
        self.arn = self._states.create_state_machine(
            name=name, roleArn=described["roleArn"], definition=json.dumps(definition)
        )["stateMachineArn"]

    def start(self, request: Mapping[str, Any]) -> str:
        """Start the machine and return the execution's ARN."""
        return self._states.start_execution(stateMachineArn=self.arn, input=json.dumps(request))["executionArn"]

    def arrival(self, execution_arn: str) -> Arrival:
        """Wait until the execution stands at a gate. Raises `AssertionError` where it has ended before."""
        end = time.monotonic() + REACH_SECONDS
        while True:
            described = self._states.describe_execution(executionArn=execution_arn)
            received = self._messages.receive_message(QueueUrl=self._queue, WaitTimeSeconds=1).get("Messages")
            if received:
                self._messages.delete_message(QueueUrl=self._queue, ReceiptHandle=received[0]["ReceiptHandle"])
                return Arrival(**json.loads(received[0]["Body"]))
            assert described["status"] == "RUNNING", described
            assert time.monotonic() < end, "no gate was reached"

    def let_through(self, arrival: Arrival) -> None:
        """Open the gate for the one who stands there."""
        self._states.send_task_success(taskToken=arrival.token, output="{}")

    def let_through_to_the_end(self, execution_arn: str, arrival: Arrival) -> None:
        """Open the gate for the one who stands there, and for whoever comes, until the execution has ended."""
        self.let_through(arrival)
        end = time.monotonic() + REACH_SECONDS
        while self._states.describe_execution(executionArn=execution_arn)["status"] == "RUNNING":
            assert time.monotonic() < end, "the execution does not end"
            for message in self._messages.receive_message(QueueUrl=self._queue, WaitTimeSeconds=1).get("Messages", []):
                self._messages.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
                self.let_through(Arrival(**json.loads(message["Body"])))

    def stop(self, execution_arn: str, *arrivals: Arrival) -> None:
        """Stop the execution where it stands."""
        self._states.stop_execution(executionArn=execution_arn)
        for arrival in arrivals:
            # Otherwise a thread of the emulator would stand there for a day.
            self._states.send_task_failure(taskToken=arrival.token, error="Stopped")

    def _gate(self, gate: str, payload: Mapping[str, Any]) -> State:
        body = {"gate": gate, "token.$": "$$.Task.Token", **payload}
        return {
            "Type": "Task",
            "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
            "Parameters": {"QueueUrl": self._queue, "MessageBody": body},
            "ResultPath": None,
        }

    def _put_after(self, part: Machine, name: str) -> None:
        states = part["States"]
        state = states[name]
        gate = self._gate(f"after {name}", {"payload.$": "$"})
        if state["Type"] != "Choice":
            states[f"After{name}"] = gate | ({"Next": state["Next"]} if "Next" in state else {"End": state.pop("End")})
            state["Next"] = f"After{name}"
            return
        for way in (*state["Choices"], state):
            key = "Default" if way is state else "Next"
            states[f"After{name}To{way[key]}"] = gate | {"Next": way[key]}
            way[key] = f"After{name}To{way[key]}"

    def _put_before(self, part: Machine, name: str) -> None:
        states = part["States"]
        for way in (part, *(w for s in states.values() for w in (s, *s.get("Choices", ()), *s.get("Catch", ())))):
            way.update({key: f"Before{name}" for key in ("StartAt", "Next", "Default") if way.get(key) == name})
        # A task without parameters is given what comes.
        parameters = copy.deepcopy(states[name].get("Parameters"))
        payload = {"payload": parameters} if parameters else {"payload.$": "$"}
        states[f"Before{name}"] = self._gate(f"before {name}", payload) | {"Next": name}


@cache
def _let_functions_ask(deployment: Deployment) -> None:
    """Let the functions of a deployment ask what became of a copy of a machine, as their roles let them of its own."""
    cloudformation, iam = deployment.ministack.client("cloudformation"), deployment.ministack.client("iam")
    resources = cloudformation.describe_stack_resources(StackName=deployment.stack_name)["StackResources"]
    statement = {
        "Effect": "Allow",
        "Action": "states:DescribeExecution",
        "Resource": f"arn:aws:states:*:*:execution:{_GATED}*",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    for role in (found["PhysicalResourceId"] for found in resources if found["ResourceType"] == "AWS::IAM::Role"):
        iam.put_role_policy(RoleName=role, PolicyName="gated-machines", PolicyDocument=policy)


def kill(
    deployment: Deployment,
    machine: vault_runs.Machine,
    gate: str,
    request: Mapping[str, Any],
    *,
    on_the_way: Mapping[str, Callable[[Arrival], None]] | None = None,
    when: Callable[[Arrival], bool] = lambda _: True,
    held: str = "",
) -> Arrival:
    """Start a machine, stop it at a gate, and return the arrival there.

    `on_the_way` holds what to do before, by the gate at which it is done. With `when` it is stopped at the first
    arrival for which that holds. A branch that comes to the gate that is `held` stands there until the end.
    """
    on_the_way = on_the_way or {}
    gated = GatedMachine(deployment, machine, {gate, *on_the_way, *filter(None, [held])})
    execution = gated.start(request)
    standing: list[Arrival] = []
    while (arrival := gated.arrival(execution)).gate != gate or not when(arrival):
        if arrival.gate == held:
            standing.append(arrival)
            continue
        if arrival.gate in on_the_way:
            on_the_way[arrival.gate](arrival)
        gated.let_through(arrival)
    gated.stop(execution, arrival, *standing)
    return arrival


@contextmanager
def pass_by_pass(deployment: Deployment) -> Iterator[None]:
    """Let each call of AdvanceRestore return after one pass over the collections, and not wait inside."""
    with _set_to(deployment, "Restore", "AdvanceRestore", {"ADVANCE_SECONDS": "0"}):
        yield


@contextmanager
def by_steps(deployment: Deployment) -> Iterator[None]:
    """Let PlanCopy only plan, however little there is to copy."""
    with _set_to(deployment, "Backup", "PlanCopy", {"COPY_AT_ONCE_OBJECTS": "0"}):
        yield


@contextmanager
def _set_to(
    deployment: Deployment, machine: vault_runs.Machine, task: str, settings: Mapping[str, str]
) -> Iterator[None]:
    """Give the function of a task other settings for a while."""
    functions = deployment.ministack.client("lambda")
    name = _resource(deployment, machine, task)
    variables = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    functions.update_function_configuration(FunctionName=name, Environment={"Variables": {**variables, **settings}})
    try:
        yield
    finally:
        functions.update_function_configuration(FunctionName=name, Environment={"Variables": variables})


def kill_inside(
    deployment: Deployment, machine: vault_runs.Machine, task: str, request: Mapping[str, Any]
) -> Future[str | None]:
    """Start a machine, stop it when it has entered a task, and return what becomes of the task's function.

    Nothing stops a Lambda function that runs: it begins now, and goes on beside whatever is started next.
    """
    inner = _INSIDE.get(task, task)
    if inner != task:
        nested = GatedMachine(deployment, _NESTED[inner], [f"before {inner}"])
        original = deployment.outputs[f"{_NESTED[inner]}StateMachineArn"]
        outer = GatedMachine(deployment, machine, [], substitutions={original: nested.arn})
        execution = outer.start(request)
        arrival = nested.arrival(execution)
        outer.stop(execution, arrival)
    else:
        arrival = kill(deployment, machine, f"before {task}", request)
    with_thread = ThreadPoolExecutor(1)
    running = with_thread.submit(invoke, deployment, machine, inner, arrival.payload)
    with_thread.shutdown(wait=False)
    return running


def invoke(deployment: Deployment, machine: vault_runs.Machine, task: str, payload: Any) -> str | None:
    """Call a task's function as its machine would, and return the name of the error that it raises, if any."""
    answer = deployment.ministack.client("lambda").invoke(
        FunctionName=_resource(deployment, machine, task), Payload=json.dumps(payload)
    )
    result = json.load(answer["Payload"])
    return str(result["errorType"]) if "FunctionError" in answer else None


def _resource(deployment: Deployment, machine: vault_runs.Machine, task: str) -> str:
    """Return the function that a task of a machine calls, or of one that works for it."""
    described = deployment.ministack.client("stepfunctions").describe_state_machine(
        stateMachineArn=deployment.outputs[f"{_NESTED.get(task, machine)}StateMachineArn"]
    )
    return str(part_of(json.loads(described["definition"]), task)["States"][task]["Resource"])
