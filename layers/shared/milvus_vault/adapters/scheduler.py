"""EventBridge Scheduler: the schedules of one group, each of which starts the machine of its kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC
from typing import TYPE_CHECKING, override

import boto3

from milvus_vault.adapters.aws_errors import CONFIG, service_errors
from milvus_vault.adapters.kept import kept
from milvus_vault.model.schedules import ScheduleKind, StoredSchedule
from milvus_vault.ports import Scheduler

if TYPE_CHECKING:
    from mypy_boto3_scheduler import EventBridgeSchedulerClient
    from mypy_boto3_scheduler.type_defs import CreateScheduleInputTypeDef, TargetTypeDef

_SERVICE = "EventBridge Scheduler"

# What could not be started for an hour is missed: the next one comes, and the dead-letter queue tells.
RETRY_SECONDS = 3600
RETRY_ATTEMPTS = 30


def _connect() -> EventBridgeSchedulerClient:
    return kept(lambda: boto3.session.Session().client("scheduler", config=CONFIG), "scheduler")


@dataclass(frozen=True, slots=True)
class EventBridgeScheduler(Scheduler):
    """The port `Scheduler` over a schedule group."""

    group: str
    machine_arns: Mapping[ScheduleKind, str]
    """What schedules start, by their kind. One that starts something else counts as one of backups."""
    role_arn: str
    """The role that Scheduler takes to start it."""
    dead_letter_arn: str
    """The queue for what could not be started."""
    _client: EventBridgeSchedulerClient = field(default_factory=_connect)

    @override
    def names(self) -> list[str]:
        with service_errors(_SERVICE):
            pages = self._client.get_paginator("list_schedules").paginate(GroupName=self.group)
            return [found["Name"] for page in pages for found in page["Schedules"]]

    @override
    def find(self, name: str) -> StoredSchedule | None:
        with service_errors(_SERVICE):
            try:
                found = self._client.get_schedule(GroupName=self.group, Name=name)
            except self._client.exceptions.ResourceNotFoundException:
                return None
            return StoredSchedule(
                name=found["Name"],
                expression=found["ScheduleExpression"],
                timezone=found.get("ScheduleExpressionTimezone", "UTC"),
                is_enabled=found["State"] == "ENABLED",
                request=found["Target"].get("Input", "{}"),
                changed_at=found["LastModificationDate"].astimezone(UTC),
                kind="drill" if found["Target"].get("Arn") == self.machine_arns.get("drill", "") else "backup",
            )

    @override
    def put(
        self, name: str, *, kind: ScheduleKind, expression: str, timezone: str, is_enabled: bool, request: str
    ) -> None:
        target: TargetTypeDef = {
            "Arn": self.machine_arns[kind],
            "RoleArn": self.role_arn,
            "Input": request,
            "DeadLetterConfig": {"Arn": self.dead_letter_arn},
            "RetryPolicy": {"MaximumEventAgeInSeconds": RETRY_SECONDS, "MaximumRetryAttempts": RETRY_ATTEMPTS},
        }
        parameters: CreateScheduleInputTypeDef = {
            "GroupName": self.group,
            "Name": name,
            "ScheduleExpression": expression,
            "ScheduleExpressionTimezone": timezone,
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "State": "ENABLED" if is_enabled else "DISABLED",
            "Target": target,
        }
        with service_errors(_SERVICE):
            try:
                self._client.create_schedule(**parameters)
            except self._client.exceptions.ConflictException:
                self._client.update_schedule(**parameters)

    @override
    def delete(self, name: str) -> bool:
        with service_errors(_SERVICE):
            try:
                self._client.delete_schedule(GroupName=self.group, Name=name)
            except self._client.exceptions.ResourceNotFoundException:
                return False
        return True
