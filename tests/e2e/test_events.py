"""What others are told on the running stack: events, notifications, and what comes of schedules.

One fixture does everything at once; the tests look at what came of it.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from local.stack import LocalStack
from milvus_vault.model.events import EVENT_SOURCE, RUN_EVENT_TYPE
from milvus_vault.model.requests import ExportPlace
from tests.support import library, vault_runs
from tests.support.api_calls import Answer, call

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "schemas" / "run-event.schema.json").read_text())
DATABASE = "telling"
SCHEDULE = "each_day"
SPEC = {
    "expression": "rate(1 day)",
    "request": {
        "collections": [f"{DATABASE}.drafts"],
        "gc_pause": False,
        "verify": {"level": "deep", "sample_percent": 50},
    },
    "retention": {"keep_last": 2},
}
FIRES_WITHIN_SECONDS = 120


@dataclass
class Ear:
    """A queue, and what came out of it so far."""

    stack: LocalStack
    url: str
    arn: str
    heard: list[dict[str, Any]] = field(default_factory=list)

    def wait_for(self, is_it: Callable[[dict[str, Any]], bool], timeout_seconds: float = 30) -> dict[str, Any]:
        """Return the first message that is the one, whenever it came."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            for found in filter(is_it, self.heard):
                return found
            assert time.monotonic() < deadline, [message.get("detail", message) for message in self.heard]
            self.listen()

    def listen(self) -> None:
        """Take what is in the queue."""
        sqs = self.stack.client("sqs")
        for message in sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get(
            "Messages", []
        ):
            self.heard.append(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])


def ear(stack: LocalStack, name: str) -> Ear:
    """Make a queue that EventBridge and SNS may send to."""
    sqs = stack.client("sqs")
    url: str = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn: str = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    senders = {"Service": ["events.amazonaws.com", "sns.amazonaws.com"]}
    allowed = {"Effect": "Allow", "Principal": senders, "Action": "sqs:SendMessage", "Resource": arn}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    return Ear(stack, url, arn)


@dataclass(frozen=True)
class Told:
    """What happened, and who heard of it."""

    events: Ear
    notifications: Ear
    put: Answer
    succeeded: str
    """Name of the execution, as the next."""
    failed: str
    fired: dict[str, Any]
    """The backup that the schedule made, as the API lists it."""

    def event(self, execution: str, status: str) -> dict[str, Any]:
        """Return the event of a run's status."""
        return self.events.wait_for(lambda event: event["detail"]["id"] == f"backup-{execution}/{status}")


@pytest.fixture(scope="module")
def told(stack: LocalStack) -> Iterator[Told]:
    """Make a schedule, a backup and a failure, and let the schedule's time come."""
    library.fill(stack.milvus_uri, DATABASE)
    events, notifications = ear(stack, "events"), ear(stack, "notifications")
    rules = stack.client("events")
    rules.put_rule(Name="everything-of-ours", EventPattern=json.dumps({"source": [EVENT_SOURCE]}))
    rules.put_targets(Rule="everything-of-ours", Targets=[{"Id": "queue", "Arn": events.arn}])
    stack.client("sns").subscribe(
        TopicArn=stack.outputs["AlarmTopicArn"], Protocol="sqs", Endpoint=notifications.arn, ReturnSubscriptionArn=True
    )
    put = call(stack.api_url, "PUT", f"/schedules/{SCHEDULE}", SPEC)
    try:
        asked = {"collections": [f"{DATABASE}.*"], "backup_name": "telling_1", "mode": "incremental"}
        succeeded = vault_runs.run(stack, "Backup", asked)
        failed = vault_runs.run(stack, "Backup", {"collections": [f"{DATABASE}.nothing"], "backup_name": "telling_2"})
        assert (succeeded.status, failed.error) == ("SUCCEEDED", "CollectionNotFoundError")
        stack.wait(vault_runs.fire(stack.client, SCHEDULE))
        yield Told(events, notifications, put, succeeded.execution, failed.execution, first_of(stack, SCHEDULE))
    finally:
        call(stack.api_url, "DELETE", f"/schedules/{SCHEDULE}")
        library.drop(stack.milvus_uri, DATABASE)


def first_of(stack: LocalStack, schedule: str) -> dict[str, Any]:
    """Return the first backup of a schedule, as soon as there is one."""
    deadline = time.monotonic() + FIRES_WITHIN_SECONDS
    while True:
        if listed := call(stack.api_url, "GET", f"/backups?schedule={schedule}").json["items"]:
            found: dict[str, Any] = listed[-1]
            return found
        assert time.monotonic() < deadline, f"schedule {schedule} has no backup after {FIRES_WITHIN_SECONDS} s"
        time.sleep(2)


def test_every_state_of_a_run_is_an_event_as_the_schema_says(told: Told) -> None:
    ends = [told.event(told.succeeded, "succeeded"), told.event(told.failed, "failed")]
    begins = [told.event(told.succeeded, "running"), told.event(told.failed, "running")]
    for event in begins + ends:
        assert (event["source"], event["detail-type"]) == (EVENT_SOURCE, RUN_EVENT_TYPE)
        assert event["resources"] == [event["detail"]["execution_arn"]]
        Draft202012Validator(SCHEMA).validate(event["detail"])


def test_a_success_says_how_much_it_was(told: Told) -> None:
    detail = told.event(told.succeeded, "succeeded")["detail"]
    assert (detail["kind"], detail["backup_name"], detail["schedule"]) == ("backup", "telling_1", None)
    assert detail["mode"] == "incremental"
    assert detail["object_count"] == detail["copied_object_count"] > 0
    assert detail["size_bytes"] == detail["copied_size_bytes"] > 0
    assert detail["collection_count"] == 2


def test_a_failure_says_why(told: Told) -> None:
    detail = told.event(told.failed, "failed")["detail"]
    assert (detail["error"], detail["backup_name"]) == ("CollectionNotFoundError", "telling_2")
    assert "telling.nothing" in detail["message"]


def test_people_are_told_of_the_failure_and_not_of_the_success(told: Told) -> None:
    heard = told.notifications.wait_for(lambda message: "telling_2" in message["Subject"])
    assert heard["Subject"] == "[milvus-vault] backup of telling_2 failed: CollectionNotFoundError"
    assert "What to do: " in heard["Message"]
    assert heard["MessageAttributes"]["status"]["Value"] == "failed"
    told.notifications.listen()
    assert [message["Subject"] for message in told.notifications.heard] == [heard["Subject"]]


def test_the_backup_of_a_schedule_says_whose_it_is(told: Told) -> None:
    assert (told.fired["schedule"], told.fired["status"]) == (SCHEDULE, "complete")
    event = told.events.wait_for(
        lambda event: (
            (event["detail"]["schedule"], event["detail"]["kind"]) == (SCHEDULE, "backup")
            and event["detail"]["status"] == "succeeded"
        )
    )
    assert event["detail"]["backup_name"] == told.fired["name"]


def test_the_backup_of_a_schedule_is_verified_as_its_request_asks(stack: LocalStack, told: Told) -> None:
    name = told.fired["name"]
    event = told.events.wait_for(
        lambda event: (
            (event["detail"]["kind"], event["detail"]["backup_name"]) == ("verify", name)
            and event["detail"]["status"] == "succeeded"
        )
    )
    assert event["detail"]["schedule"] == SCHEDULE
    backup = call(stack.api_url, "GET", f"/backups/{name}").json
    found = backup["verification"]
    assert (found["status"], found["level"], found["sample_percent"]) == ("intact", "deep", 50)
    # Each object is in the sample with a chance of one half, and there are few of them.
    assert found["read_count"] <= found["object_count"]
    assert found["run"] == event["detail"]["run"]
    made = call(stack.api_url, "GET", f"/runs/{backup['run']}").json
    assert made["result"]["verification"]["run"] == found["run"]


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("machine", "error", "said", "others"),
    [
        ("Verify", "VerificationNotStartedError", "its verification could not be started: ", "export"),
        ("Export", "CopyNotStartedError", "its copy to another place could not be started: ", "verify"),
    ],
)
def test_what_cannot_be_started_after_a_backup_leaves_it_and_the_other_run_and_is_told(
    stack: LocalStack, told: Told, machine: str, error: str, said: str, others: str
) -> None:
    deployed = stack.deploy(f"telling-no-{machine.lower()}", stack.milvus)
    stack.client("stepfunctions").delete_state_machine(stateMachineArn=deployed.outputs[f"{machine}StateMachineArn"])
    name = f"telling_no_{machine.lower()}"
    request = {"backup_name": name, "collections": [f"{DATABASE}.drafts"], "verify": {}, "copy_to": {}}

    failure = vault_runs.fail(deployed, "Backup", request)

    assert failure.error == error
    assert f"backup {name} is published, and {said}" in failure.cause
    assert call(deployed.api_url, "GET", f"/backups/{name}").json["status"] == "complete"
    event = told.events.wait_for(lambda event: event["detail"]["error"] == failure.error)
    assert event["detail"]["status"] == "partial"
    told.events.wait_for(
        lambda event: (
            (event["detail"]["kind"], event["detail"]["backup_name"], event["detail"]["status"])
            == (others, name, "succeeded")
        )
    )


def test_the_routes_show_the_schedule_with_its_last_success(stack: LocalStack, told: Told) -> None:
    assert told.put.status == 200
    found = call(stack.api_url, "GET", f"/schedules/{SCHEDULE}").json
    assert {name: found[name] for name in ("expression", "timezone", "enabled", "is_deployed")} == {
        "expression": "rate(1 day)",
        "timezone": "UTC",
        "enabled": True,
        "is_deployed": False,
    }
    assert found["request"]["collections"] == [f"{DATABASE}.drafts"]
    assert found["retention"]["keep_last"] == 2
    assert found["last_success_at"] >= told.fired["created_at"]
    assert found["next_run_at"] is not None
    assert found in call(stack.api_url, "GET", "/schedules").json["items"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "error"),
    [
        ("GET", "/schedules/none", None, 404, "ScheduleNotFoundError"),
        ("DELETE", "/schedules/none", None, 404, "ScheduleNotFoundError"),
        ("PUT", "/schedules/deployed", SPEC, 409, "ScheduleManagedError"),
        ("PUT", "/schedules/daily", {"expression": "each day"}, 400, "InvalidRequestError"),
        ("PUT", "/schedules/0day", SPEC, 400, "InvalidRequestError"),
    ],
)
def test_what_cannot_be_is_a_problem(
    stack: LocalStack, method: str, path: str, body: object, status: int, error: str
) -> None:
    answer = call(stack.api_url, method, path, body)
    assert (answer.status, answer.is_problem, answer.json["error"]) == (status, True, error)


def watch(stack: LocalStack) -> dict[str, Any]:
    """Do what happens each quarter of an hour, and return what was found."""
    name = vault_runs.function_name(stack.client, stack.deployment.stack_name, "WatchSchedules")
    answer = stack.client("lambda").invoke(FunctionName=name, Payload=json.dumps({"source": "aws.events"}))
    found: dict[str, Any] = json.load(answer["Payload"])
    return found


def test_a_look_at_the_schedules_finds_them_well(stack: LocalStack, told: Told) -> None:  # noqa: ARG001
    assert watch(stack) == {"schedule_count": 1, "overdue": []}


def test_a_schedule_drills_the_newest_backup_of_another(stack: LocalStack, told: Told) -> None:
    spec = {"expression": "rate(7 days)", "drill": {"newest_of": SCHEDULE, "row_count": 5, "allow_version": True}}
    put = call(stack.api_url, "PUT", "/schedules/each_week", spec)
    try:
        assert (put.status, put.json["kind"], put.json["last_success_at"]) == (200, "drill", None)
        ended = stack.wait(vault_runs.fire(stack.client, "each_week"), vault_runs.TIMEOUT_SECONDS)
        assert ended["status"] == "SUCCEEDED", ended.get("cause")
        event = told.events.wait_for(
            lambda event: (event["detail"]["kind"], event["detail"]["status"]) == ("drill", "succeeded")
        )
        assert event["detail"]["schedule"] == "each_week"
        found = call(stack.api_url, "GET", "/schedules/each_week").json
        assert found["last_success_at"] == event["detail"]["started_at"]
        assert found["drill"]["newest_of"] == SCHEDULE
        assert watch(stack) == {"schedule_count": 2, "overdue": []}
    finally:
        assert call(stack.api_url, "DELETE", "/schedules/each_week").status == 204


@pytest.mark.thorough
def test_a_schedule_fires_by_itself(stack: LocalStack, told: Told) -> None:  # noqa: ARG001
    assert call(stack.api_url, "PUT", "/schedules/each_minute", {**SPEC, "expression": "rate(1 minute)"}).status == 200
    try:
        assert first_of(stack, "each_minute")["status"] == "complete"
    finally:
        assert call(stack.api_url, "DELETE", "/schedules/each_minute").status == 204


def test_a_deleted_schedule_is_gone(stack: LocalStack) -> None:
    assert call(stack.api_url, "PUT", "/schedules/daily", {"expression": "rate(1 day)"}).status == 200
    assert call(stack.api_url, "DELETE", "/schedules/daily").status == 204
    assert call(stack.api_url, "GET", "/schedules/daily").status == 404


@pytest.mark.parametrize(
    ("parameters", "request_fields", "retention"),
    [
        pytest.param({}, {}, None, id="defaults", marks=pytest.mark.thorough),
        pytest.param(
            {
                "ScheduleRequest": '{"skip_flush": true, "collections": ["a.*"]}',
                "ScheduleVerify": '{"level": "deep", "sample_percent": 5}',
                "ScheduleCopyTo": '{"prefix": "milvus-vault-exports/nightly"}',
                "ScheduleRetention": '{"keep_last":3}',
            },
            {
                "skip_flush": True,
                "collections": ["a.*"],
                "verify": {"level": "deep", "sample_percent": 5, "max_bytes": None},
                "copy_to": ExportPlace(prefix="milvus-vault-exports/nightly").model_dump(),
            },
            3,
            id="all-parameters",
        ),
    ],
)
def test_the_deployed_schedule_is_read_from_the_parameters(
    stack: LocalStack, parameters: dict[str, str], request_fields: dict[str, Any], retention: int | None
) -> None:
    # Long after the stack is gone.
    given = {"ScheduleExpression": "cron(0 0 1 1 ? 2199)", "ScheduleTimezone": "Europe/Berlin", **parameters}
    deployed = stack.deploy("telling-deployed", stack.milvus, given)
    found = call(deployed.api_url, "GET", "/schedules/deployed").json
    assert (found["is_deployed"], found["timezone"]) == (True, "Europe/Berlin")
    assert found["next_run_at"] == "2198-12-31T23:00:00Z"
    assert {name: found["request"][name] for name in request_fields} == request_fields
    assert (found["retention"] or {}).get("keep_last") == retention
