"""Where announcements go: EventBridge, SNS, and CloudWatch by way of the log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import boto3
from aws_lambda_powertools.metrics import EphemeralMetrics

from milvus_vault.adapters.aws_errors import CONFIG, service_errors
from milvus_vault.adapters.kept import kept
from milvus_vault.errors import ServiceRequestError
from milvus_vault.model.events import EVENT_SOURCE, RUN_EVENT_TYPE, Measure, Notification, RunEvent

if TYPE_CHECKING:
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef


def put_event(event: RunEvent) -> None:
    """Put an event on the default bus. Raises `ServiceUnavailableError` or `ServiceRequestError`."""
    entry: PutEventsRequestEntryTypeDef = {
        "Source": EVENT_SOURCE,
        "DetailType": RUN_EVENT_TYPE,
        "Detail": event.model_dump_json(),
        "Resources": [event.execution_arn],
    }
    with service_errors("EventBridge"):
        answer = kept(lambda: boto3.session.Session().client("events", config=CONFIG), "events").put_events(
            Entries=[entry]
        )
        if answer["FailedEntryCount"]:
            (refused,) = answer["Entries"]
            msg = f"EventBridge refuses event {event.id}: {refused['ErrorCode']}: {refused['ErrorMessage']}"
            raise ServiceRequestError(msg, hint="The event comes again by itself.")


def publish(topic_arn: str, notification: Notification) -> None:
    """Send a notification to a topic. Raises `ServiceUnavailableError` or `ServiceRequestError`."""
    with service_errors("SNS"):
        kept(lambda: boto3.session.Session().client("sns", config=CONFIG), "sns").publish(
            TopicArn=topic_arn,
            Subject=notification.subject,
            Message=notification.body,
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value} for name, value in notification.attributes
            },
        )


def emit(measures: Sequence[Measure], **dimensions: str) -> None:
    """Write measures to the log in the form that CloudWatch makes metrics of; none if there are none."""
    if not measures:
        return
    metrics = EphemeralMetrics(namespace="MilvusVault", service="milvus-vault")
    for name, value in dimensions.items():
        metrics.add_dimension(name=name, value=value)
    for measure in measures:
        metrics.add_metric(name=measure.metric.value, unit=measure.unit.value, value=measure.value)
    metrics.flush_metrics()
