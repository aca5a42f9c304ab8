"""The services beside S3 that functions ask, within the process: what tests/support/quick_s3.py is for S3."""

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from botocore.response import StreamingBody

from tests.support.quick_s3 import Answer, QuickS3, RefusedError

BEGUN = datetime(2026, 1, 1, tzinfo=UTC)
_ARN = "arn:aws:states:us-east-1:000000000000"


def machine_arn(kind: str) -> str:
    """Return the ARN of the machine for a kind of run."""
    return f"{_ARN}:stateMachine:vault-{kind}"


def execution_arn(kind: str, name: str) -> str:
    """Return the ARN of an execution."""
    return f"{_ARN}:execution:vault-{kind}:{name}"


@dataclass
class QuickAws(QuickS3):
    """An account: buckets, executions, schedules, and functions that others invoke."""

    executions: dict[str, Answer] = field(default_factory=dict)
    schedules: dict[str, Answer] = field(default_factory=dict)
    invoked: dict[str, Answer] = field(default_factory=dict)
    """What InspectMilvus returns, by the inspection."""

    def __post_init__(self) -> None:
        """Begin with nothing."""
        super().__init__()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Be afterwards as before."""
        buckets = {name: dict(objects) for name, objects in self._buckets.items()}
        uploads, executions, schedules = dict(self._uploads), dict(self.executions), dict(self.schedules)
        try:
            yield
        finally:
            self._buckets, self._uploads, self.executions, self.schedules = buckets, uploads, executions, schedules

    def objects(self, bucket: str, prefix: str) -> dict[str, bytes]:
        """Return the objects below a prefix."""
        return {key: found.body for key, found in self._buckets[bucket].items() if key.startswith(prefix)}

    def drop(self, bucket: str, key: str) -> None:
        """Lose an object."""
        del self._buckets[bucket][key]

    def begin(self, kind: str, name: str, request: Mapping[str, Any], status: str = "SUCCEEDED") -> str:
        """Put an execution there, and return its ARN."""
        arn = execution_arn(kind, name)
        self.executions[arn] = {
            "executionArn": arn,
            "stateMachineArn": machine_arn(kind),
            "name": name,
            "status": status,
            "startDate": BEGUN,
            "input": json.dumps(request),
        }
        return arn

    # Step Functions.

    def DescribeExecution(self, request: Mapping[str, Any]) -> Answer:
        return dict(self._execution(request))

    def _execution(self, request: Mapping[str, Any]) -> Answer:
        try:
            return self.executions[request["executionArn"]]
        except KeyError:
            raise RefusedError("ExecutionDoesNotExist", 400) from None

    def StartExecution(self, request: Mapping[str, Any]) -> Answer:
        kind, name = request["stateMachineArn"].rpartition("-")[2], request["name"]
        if execution_arn(kind, name) in self.executions:
            raise RefusedError("ExecutionAlreadyExists", 400)
        return {"executionArn": self.begin(kind, name, json.loads(request["input"]), "RUNNING"), "startDate": BEGUN}

    def ListExecutions(self, request: Mapping[str, Any]) -> Answer:
        return {
            "executions": [
                dict(found)
                for found in self.executions.values()
                if found["stateMachineArn"] == request["stateMachineArn"]
                and request.get("statusFilter", found["status"]) == found["status"]
            ]
        }

    def StopExecution(self, request: Mapping[str, Any]) -> Answer:
        found = self._execution(request)
        self.executions[found["executionArn"]] = found | {"status": "ABORTED", "stopDate": BEGUN}
        return {"stopDate": BEGUN}

    def GetExecutionHistory(self, request: Mapping[str, Any]) -> Answer:
        self._execution(request)
        return {"events": [{"id": 1, "stateEnteredEventDetails": {"name": "SnapshotBatches"}}]}

    # EventBridge Scheduler.

    def ListSchedules(self, _: Mapping[str, Any]) -> Answer:
        return {"Schedules": [{"Name": name} for name in self.schedules]}

    def GetSchedule(self, request: Mapping[str, Any]) -> Answer:
        try:
            return dict(self.schedules[request["Name"]])
        except KeyError:
            raise RefusedError("ResourceNotFoundException", 404) from None

    def CreateSchedule(self, request: Mapping[str, Any]) -> Answer:
        if request["Name"] in self.schedules:
            raise RefusedError("ConflictException", 409)
        return self.UpdateSchedule(request)

    def UpdateSchedule(self, request: Mapping[str, Any]) -> Answer:
        self.schedules[request["Name"]] = {**request, "LastModificationDate": BEGUN}
        return {"ScheduleArn": "arn:aws:scheduler:us-east-1:000000000000:schedule/vault/nightly"}

    def DeleteSchedule(self, request: Mapping[str, Any]) -> Answer:
        self.GetSchedule(request)
        del self.schedules[request["Name"]]
        return {}

    # Those that only take.

    def PutEvents(self, request: Mapping[str, Any]) -> Answer:
        return {"FailedEntryCount": 0, "Entries": [{"EventId": "1"} for _ in request["Entries"]]}

    def Publish(self, _: Mapping[str, Any]) -> Answer:
        return {"MessageId": "1"}

    def Invoke(self, request: Mapping[str, Any]) -> Answer:
        body = json.dumps(self.invoked[json.loads(request["Payload"])["inspection"]]).encode()
        return {"StatusCode": 200, "Payload": StreamingBody(io.BytesIO(body), len(body))}
