"""How many state transitions, calls of functions and requests to S3 the demo's backup and restore take.

    python -m bench.steps [--before FOLDER] [--backups NUMBER] [--collections NAME ...]

`FOLDER` is what `sam build` made of another revision (its .aws-sam/build): then both stand side by side, from one
run. Counted is what AWS would charge for: each state that is entered, of all machines, each task that is a function,
and each request to S3 that is not Milvus' own, the dear ones (PUT, COPY, POST, LIST) and those that read; deletions
are free. It also tells how long the executions took, with the emulator's starts of functions in it. Of several
backups the median is told, and how long each task and each wait of that one took: those of two branches take place at
once. Beside another revision each count has its ratio to that: 1.0 or less, or there is a reason.
"""

import argparse
import json
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from mypy_boto3_stepfunctions.type_defs import HistoryEventTypeDef
from pymilvus import MilvusClient
from rich.console import Console
from rich.table import Table

from local.sample_data import fill
from local.stack import BUILD_FOLDER, QUIET, LocalStack

_DEAR = ("Put", "Copy", "Create", "Upload", "Complete", "List", "POST")
_OWN = "milvus-vault/"
"""How the functions name themselves to S3; Milvus does so as minio-go and as aws-sdk-cpp."""
_OF_S3 = [{"AttributeKey": "EventSource", "AttributeValue": "s3.amazonaws.com"}]


class Steps(NamedTuple):
    """What an execution took, with those that it started."""

    transitions: int
    invocations: int
    dear_requests: int
    """To S3: PUT, COPY, POST and LIST."""
    read_requests: int
    """To S3: GET and HEAD."""
    seconds: float
    phases: Mapping[str, float]
    """Seconds from entering to leaving a state, by task or wait; those of two branches take place at once."""


def main() -> None:
    """Run the demo's backup and restore with each build, and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="the build folder of another revision")
    parser.add_argument("--backups", type=int, default=1, help="how many are timed (default: 1)")
    parser.add_argument("--collections", nargs="+", default=[], help="time backups of these alone as well")
    arguments = parser.parse_args()
    builds = (
        {"before": arguments.before, "this build": BUILD_FOLDER} if arguments.before else {"this build": BUILD_FOLDER}
    )
    measured = {
        name: dict(_measure(folder, arguments.backups, arguments.collections)) for name, folder in builds.items()
    }
    counts = ("state transitions", "invocations", "PUT, COPY, POST, LIST", "GET, HEAD")
    table = Table("run", "build", *counts, "seconds", "of these")
    for run in measured["this build"]:
        before = measured["before"][run] if "before" in measured else None
        for name, steps in ((name, found[run]) for name, found in measured.items()):
            phases = ", ".join(f"{state} {seconds:.2f}" for state, seconds in steps.phases.items())
            told = [
                f"{count}" if before is None or before is steps else f"{count} ({count / old:.2f})"
                for count, old in zip(steps[:4], before[:4] if before else steps[:4], strict=True)
            ]
            table.add_row(run, name, *told, f"{steps.seconds:.2f}", phases)
    Console(width=200).print(table)


def _measure(build: Path, backups: int, collections: list[str]) -> Iterator[tuple[str, Steps]]:
    with LocalStack(QUIET, build_folder=build) as stack:
        names = fill(stack.milvus_uri)
        # Once more than is counted, so that the starts of functions are not in the times.
        for name in ("warm", "demo"):
            backup = run_counted(stack, "BackupStateMachineArn", {"backup_name": name})
            for full_name in names:
                database, _, collection = full_name.partition(".")
                MilvusClient(uri=stack.milvus_uri, db_name=database).drop_collection(collection)
            restore = run_counted(stack, "RestoreStateMachineArn", {"backup_name": name, "allow_version": True})

        def back_up(name: str, of: Mapping[str, object]) -> Steps:
            return run_counted(stack, "BackupStateMachineArn", {"backup_name": name, **of})

        yield "backup", _median([backup, *(back_up(f"b{n}", {}) for n in range(1, backups))])
        if collections:
            yield "of some", _median([back_up(f"c{n}", {"collections": collections}) for n in range(backups)])
        yield "restore", restore


def _median(runs: list[Steps]) -> Steps:
    return sorted(runs, key=lambda steps: steps.seconds)[len(runs) // 2]


def run_counted(stack: LocalStack, machine: str, request: Mapping[str, object]) -> Steps:
    """Run a machine to its end, and return what that took."""
    # Its calls are recorded as CloudTrail would.
    _post(stack, "/_ministack/config", {"cloudtrail._recording_enabled": "true"})
    arn = stack.start(machine, request)
    described = stack.wait(arn, timeout_seconds=600)
    if described["status"] != "SUCCEEDED":
        msg = f"{arn}: {described.get('error')}: {described.get('cause')}"
        raise SystemExit(msg)
    seconds = (described["stopDate"] - described["startDate"]).total_seconds()
    states = stack.client("stepfunctions")
    listed = (
        execution["executionArn"]
        for machine_arn in (found["stateMachineArn"] for found in states.list_state_machines()["stateMachines"])
        for execution in states.list_executions(stateMachineArn=machine_arn)["executions"]
        if execution["startDate"] >= described["startDate"]
    )
    events = [event for each in listed for event in _history(stack, each) if event["type"].endswith("StateEntered")]
    # The one task that is no function is that which starts the copy's machine, and is named as the Map in there.
    tasks = [event["stateEnteredEventDetails"]["name"] for event in events if event["type"] == "TaskStateEntered"]
    requests = _requests(stack, described["startDate"].timestamp(), described["stopDate"].timestamp())
    dear = sum(count for name, count in requests.items() if name.startswith(_DEAR))
    read = sum(count for name, count in requests.items() if name.startswith(("Get", "Head")))
    invocations = sum(name != "CopyObjects" for name in tasks)
    return Steps(len(events), invocations, dear, read, seconds, _phases(stack, arn))


def _requests(stack: LocalStack, first: float, last: float) -> Counter[str]:
    """Return how often each operation of S3 was called within these times, without what Milvus did."""
    found: dict[str, str] = {}
    while True:
        question = {"StartTime": first, "EndTime": last, "LookupAttributes": _OF_S3}
        # The newest come first, at most 50, and the emulator gives no token for those that follow.
        events = _post(stack, "/", question, "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101.LookupEvents")[
            "Events"
        ]
        if not (new := {event["EventId"]: event for event in events if event["EventId"] not in found}):
            return Counter(name for name in found.values() if name)
        for number, event in new.items():
            is_own = json.loads(event["CloudTrailEvent"])["userAgent"].startswith(_OWN)
            found[number] = event["EventName"] if is_own else ""
        last = min(event["EventTime"] for event in events)


def _post(stack: LocalStack, path: str, body: Mapping[str, object], target: str = "") -> Any:
    """Ask the emulator: the SDK sends times in whole seconds, in which there are more than 50 calls."""
    key = "Credential=test/20260101/us-east-1/cloudtrail/aws4_request"
    headers = {"Content-Type": "application/x-amz-json-1.1", "Authorization": f"AWS4-HMAC-SHA256 {key}"}
    if target:
        headers["X-Amz-Target"] = target
    request = urllib.request.Request(stack.ministack.url + path, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def _phases(stack: LocalStack, arn: str) -> Mapping[str, float]:
    """Return for how long an execution was in each state that is a task or a wait."""
    states = stack.client("stepfunctions")
    described = states.describe_execution(executionArn=arn)
    machine = states.describe_state_machine(stateMachineArn=described["stateMachineArn"])
    branches = dict(_branches(json.loads(machine["definition"]), ""))
    found, open_ones = dict[str, float](), dict[str, tuple[str, datetime]]()
    # The emulator writes down that a state within a branch was entered, and not that it was left. The next one tells,
    # of the same branch or of one that the branch is in.
    for event in _history(stack, arn):
        if not event["type"].endswith("StateEntered"):
            continue
        name = event["stateEnteredEventDetails"]["name"]
        for branch in [one for one in open_ones if one.startswith(branches[name])]:
            _close(found, open_ones.pop(branch), event["timestamp"])
        if event["type"] in {"TaskStateEntered", "WaitStateEntered"}:
            open_ones[branches[name]] = name, event["timestamp"]
    for last in open_ones.values():
        _close(found, last, described["stopDate"])
    return found


def _branches(definition: Mapping[str, Any], branch: str) -> Iterator[tuple[str, str]]:
    """Yield each state of a machine with the branch that it is in."""
    for name, state in definition["States"].items():
        yield name, branch
        inner = [*state.get("Branches", []), *filter(None, [state.get("ItemProcessor")])]
        for number, below in enumerate(inner):
            yield from _branches(below, f"{branch}{name}/{number}/")


def _close(found: dict[str, float], was: tuple[str, datetime], ended_at: datetime) -> None:
    name, began_at = was
    found[name] = found.get(name, 0) + (ended_at - began_at).total_seconds()


def _history(stack: LocalStack, arn: str) -> Iterator[HistoryEventTypeDef]:
    pages = stack.client("stepfunctions").get_paginator("get_execution_history").paginate(executionArn=arn)
    return (event for page in pages for event in page["events"])


if __name__ == "__main__":
    main()
