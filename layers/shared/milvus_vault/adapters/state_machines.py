"""Step Functions by boto3: start, find, read and stop executions."""

from typing import Any, override

import boto3

from milvus_vault.adapters.aws_errors import CONFIG, service_errors
from milvus_vault.adapters.kept import kept
from milvus_vault.errors import RunNotFoundError
from milvus_vault.model.executions import ExecutionDescription, ExecutionPage, ExecutionSummary, StartedExecution
from milvus_vault.ports import StateMachines

_SERVICE = "Step Functions"
_HISTORY_EVENTS = 1000  # the most that one request gives


class StepFunctionsMachines(StateMachines):
    """The port `StateMachines` over Step Functions."""

    def __init__(self) -> None:
        self._client = kept(lambda: boto3.session.Session().client("stepfunctions", config=CONFIG), "state machines")

    @override
    def start(self, machine_arn: str, name: str, request_json: str) -> StartedExecution | None:
        with service_errors(_SERVICE):
            try:
                started = self._client.start_execution(stateMachineArn=machine_arn, name=name, input=request_json)
            except self._client.exceptions.ExecutionAlreadyExists:
                return None
            return StartedExecution(arn=started["executionArn"], started_at=started["startDate"])

    @override
    def describe(self, execution_arn: str) -> ExecutionDescription:
        with service_errors(_SERVICE):
            try:
                found = self._client.describe_execution(executionArn=execution_arn)
            except (self._client.exceptions.ExecutionDoesNotExist, self._client.exceptions.InvalidArn) as err:
                raise _unknown(execution_arn) from err
            return ExecutionDescription(
                arn=found["executionArn"],
                name=found["name"],
                status=found["status"],
                started_at=found["startDate"],
                ended_at=found.get("stopDate"),
                input_json=found.get("input", "{}"),
                output_json=found.get("output"),
                error=found.get("error", ""),
                cause=found.get("cause", ""),
            )

    @override
    def list_executions(self, machine_arn: str, *, status: str | None, limit: int, token: str | None) -> ExecutionPage:
        request: dict[str, Any] = {"stateMachineArn": machine_arn, "maxResults": limit}
        request |= {name: value for name, value in (("statusFilter", status), ("nextToken", token)) if value}
        with service_errors(_SERVICE):
            found = self._client.list_executions(**request)
            return ExecutionPage(
                executions=tuple(
                    ExecutionSummary(
                        arn=item["executionArn"],
                        name=item["name"],
                        status=item["status"],
                        started_at=item["startDate"],
                        ended_at=item.get("stopDate"),
                    )
                    for item in found["executions"]
                ),
                next_token=found.get("nextToken"),
            )

    @override
    def stop(self, execution_arn: str, cause: str) -> None:
        with service_errors(_SERVICE):
            try:
                self._client.stop_execution(executionArn=execution_arn, error="RunStoppedError", cause=cause)
            except (self._client.exceptions.ExecutionDoesNotExist, self._client.exceptions.InvalidArn) as err:
                raise _unknown(execution_arn) from err

    @override
    def last_state(self, execution_arn: str) -> str:
        with service_errors(_SERVICE):
            found = self._client.get_execution_history(
                executionArn=execution_arn, reverseOrder=True, includeExecutionData=False, maxResults=_HISTORY_EVENTS
            )
            for event in found["events"]:
                if "stateEnteredEventDetails" in event:
                    return event["stateEnteredEventDetails"]["name"]
            return ""


def _unknown(execution_arn: str) -> RunNotFoundError:
    msg = f"Step Functions knows no execution {execution_arn}"
    return RunNotFoundError(msg, hint="`GET /runs` lists those of the last 90 days.")
