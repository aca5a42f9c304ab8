"""Whatever AWS' services other than S3 answer, each call of their ports ends in a result or a named failure."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from itertools import cycle
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ClientError
from botocore.session import Session
from hypothesis import given
from hypothesis import strategies as st

from milvus_vault.adapters.announcements import publish, put_event
from milvus_vault.adapters.aws_errors import service_errors
from milvus_vault.adapters.executions import StepFunctionsExecutions
from milvus_vault.adapters.inspector import LambdaInspector
from milvus_vault.adapters.milvus_secret import read_access
from milvus_vault.adapters.scheduler import EventBridgeScheduler
from milvus_vault.adapters.state_machines import StepFunctionsMachines
from milvus_vault.errors import ServiceRequestError, VaultError
from milvus_vault.model.events import Notification, RunEvent
from milvus_vault.model.messages import InspectMilvusRequest
from milvus_vault.ports import Executions, Inspector, Scheduler, StateMachines
from tests.support.faults import cases
from tests.unit.adapters.test_s3 import BREAKS, RawAnswer, Sent

ARN = "arn:aws:states:us-east-1:123456789012:execution:vault-backup:a"
MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:vault-backup"
EVENT = RunEvent(
    id="backup-a/running",
    stack="vault",
    run="backup-a",
    kind="backup",
    status="running",
    execution_arn=ARN,
    started_at=datetime(2026, 11, 28, tzinfo=UTC),
    console_url="https://console.aws.amazon.com/",
)


def scheduler() -> EventBridgeScheduler:
    """Return the schedules of a stack."""
    return EventBridgeScheduler(
        "vault", machine_arns={"backup": MACHINE, "drill": MACHINE}, role_arn="r", dead_letter_arn="d"
    )


CALLS: Mapping[str, Callable[[], object]] = {
    "Executions.status": lambda: StepFunctionsExecutions().status(ARN),
    "Scheduler.names": lambda: scheduler().names(),
    "Scheduler.find": lambda: scheduler().find("nightly"),
    "Scheduler.put": lambda: scheduler().put(
        "nightly", kind="drill", expression="rate(1 day)", timezone="UTC", is_enabled=True, request="{}"
    ),
    "Scheduler.delete": lambda: scheduler().delete("nightly"),
    "StateMachines.start": lambda: StepFunctionsMachines().start(MACHINE, "a", "{}"),
    "StateMachines.describe": lambda: StepFunctionsMachines().describe(ARN),
    "StateMachines.list_executions": lambda: StepFunctionsMachines().list_executions(
        MACHINE, status=None, limit=10, token=None
    ),
    "StateMachines.stop": lambda: StepFunctionsMachines().stop(ARN, "enough"),
    "StateMachines.last_state": lambda: StepFunctionsMachines().last_state(ARN),
    "Inspector.inspect": lambda: LambdaInspector("inspect").inspect(InspectMilvusRequest(inspection="check")),
    "put_event": lambda: put_event(EVENT),
    "publish": lambda: publish("arn:aws:sns:us-east-1:123456789012:t", Notification("subject", "body", ())),
    "read_access": lambda: read_access("arn:aws:secretsmanager:us-east-1:123456789012:secret:milvus"),
}
SERVICES = ("stepfunctions", "scheduler", "lambda", "events", "sns", "secretsmanager")


def test_each_call_of_the_ports_is_tried() -> None:
    ports = (Executions, Scheduler, StateMachines, Inspector)
    methods = {f"{port.__name__}.{name}" for port in ports for name in vars(port) if not name.startswith("_")}
    assert {name for name in CALLS if "." in name} == methods


STARTED = b'"startDate": 1795000000.5, "status": "RUNNING", "name": "a"'
BODIES = [
    b"",
    b'{"executionArn": "' + ARN.encode() + b'", ' + STARTED + b', "input": "{}", "stopDate": 1795000001}',
    b'{"executions": [{"executionArn": "' + ARN.encode() + b'", ' + STARTED + b'}], "nextToken": "t"}',
    b'{"events": [{"id": 1, "type": "TaskStateEntered", "stateEnteredEventDetails": {"name": "PlanCopy"}}]}',
    b'{"Schedules": [{"Name": "nightly"}]}',
    (
        b'{"Name": "nightly", "ScheduleExpression": "rate(1 day)", "State": "ENABLED", "Target": {"Input": "{}"}, '
        b'"LastModificationDate": 1795000000}'
    ),
    b'{"FailedEntryCount": 1, "Entries": [{"ErrorCode": "InternalFailure", "ErrorMessage": "no"}]}',
    b'{"FailedEntryCount": 0, "Entries": [{"EventId": "e"}]}',
    b'{"found": {"checks": []}}',
    b'{"errorType": "MilvusUnavailableError", "errorMessage": "gone\\nHint: look"}',
    b'{"SecretString": "{\\"token\\": \\"t\\"}"}',
    b'{"__type": "ThrottlingException", "message": "slow"}',
    b'{"__type": "ExecutionDoesNotExist", "message": "none"}',
    b"<PublishResponse><PublishResult><MessageId>m</MessageId></PublishResult></PublishResponse>",
    b"<ErrorResponse><Error><Code>NotFound</Code><Message>none</Message></Error></ErrorResponse>",
    b"<html>a proxy</html>",
    b"[" * 50_000,
]
PARTS = [b"", b"null", b"[]", b"{}", b'"x"', b"-1", b"9" * 400, b"NaN", b"\xff", b'"\\ud83d"']


@st.composite
def sent(draw: st.DrawFn) -> Sent:
    """Return what a service, a proxy or a bad connection may send."""
    body = draw(st.sampled_from(BODIES))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(body)))
        body = body[:at] + draw(st.sampled_from(PARTS)) + draw(st.sampled_from([b"", body[at + 1 :], body[at + 4 :]]))
    headers = draw(st.sampled_from([{}, {}, {"X-Amz-Function-Error": "Unhandled"}, {"x-amzn-errortype": "Conflict"}]))
    status = draw(st.sampled_from([200] * 6 + [204, 301, 400, 403, 404, 409, 429, 500, 503, 999]))
    return Sent(status, body, headers, draw(st.sampled_from([None, None, None, *BREAKS])))


@pytest.fixture(scope="module")
def answering() -> Iterator[list[Iterator[Sent]]]:
    """Let what is put there answer whatever is asked of AWS."""
    # One for all tests: clients are kept, and each goes on asking what it was made with.
    waiting: list[Iterator[Sent]] = []

    def send(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        found = next(waiting[-1])
        raw = RawAnswer(found.body, found.broken)
        return AWSResponse(request.url, found.status, HTTPHeaders.from_dict(found.headers), raw)

    make = Session.create_client

    def create_client(*arguments: Any, **named: Any) -> Any:
        client: Any = make(*arguments, **named)
        client.meta.events.register("before-send", send)
        return client

    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            # Of its own, so that no other module's tests have these clients.
            patch.setenv(name, "answered by chance")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setattr("time.sleep", lambda _: None)
        patch.setattr(Session, "create_client", create_client)
        yield waiting


@cases(150)
@given(call=st.sampled_from(sorted(CALLS)), answers=st.lists(sent(), min_size=1, max_size=4))
def test_whatever_is_answered_ends_in_a_result_or_a_named_failure(
    answering: list[Iterator[Sent]], call: str, answers: list[Sent]
) -> None:
    answering[:] = [cycle(answers)]
    with suppress(VaultError):
        CALLS[call]()


EMPTY_WITHIN = (
    b'{"executions": [{}], "events": [{"stateEnteredEventDetails": {}}], "Schedules": [{}], "FailedEntryCount": 1, '
    b'"Entries": [{}]}'
)
ODD = [
    *(Sent(200, b'{"status": "RUNNING"}', {}, broken) for broken in BREAKS),
    *(Sent(200, body, {}, None) for body in (b"", b"null", b"[" * 50_000, b"<html>", EMPTY_WITHIN)),
    *(
        Sent(400, body, {}, None)
        for body in (b"", b"null", b"[]", b'{"__type": null}', b'{"__type": []}', b"[" * 50_000)
    ),
]


@pytest.mark.parametrize("answer", ODD, ids=[str(number) for number in range(len(ODD))])
@pytest.mark.parametrize("call", CALLS)
def test_each_kind_of_odd_answer_to_each_call_is_named(
    answering: list[Iterator[Sent]], call: str, answer: Sent
) -> None:
    answering[:] = [cycle([answer])]
    with suppress(VaultError):
        CALLS[call]()


def test_a_refusal_that_says_nothing_is_named() -> None:
    with pytest.raises(ServiceRequestError, match="Publish"), service_errors("SNS"):
        raise ClientError({}, "Publish")
