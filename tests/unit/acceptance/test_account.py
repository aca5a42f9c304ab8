"""What AWS refuses has a name, and the action that is missing."""

import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError
from botocore.stub import Stubber

from milvus_vault.acceptance.account import Account, Entered, asked
from milvus_vault.errors import ApiAccessDeniedError, ServiceRequestError, ServiceUnavailableError, VaultError
from tests.unit.acceptance.conftest import BEGAN, REGION, good_stack

QUESTIONS: list[tuple[str, str, str, Callable[[Account], object]]] = [
    ("cloudformation", "list_stack_resources", "cloudformation:ListStackResources", lambda a: a.stack),
    ("sts", "get_caller_identity", "sts:GetCallerIdentity", lambda a: a.number),
    ("stepfunctions", "describe_state_machine", "states:DescribeStateMachine", lambda a: a.machine("arn")),
    ("stepfunctions", "start_execution", "states:StartExecution", lambda a: a.start("BackupStateMachineArn", {})),
    ("stepfunctions", "describe_execution", "states:DescribeExecution", lambda a: a.wait("arn", 1)),
    ("stepfunctions", "stop_execution", "states:StopExecution", lambda a: a.stop("arn")),
    ("stepfunctions", "redrive_execution", "states:RedriveExecution", lambda a: a.redrive("arn")),
    ("stepfunctions", "list_executions", "states:ListExecutions", lambda a: a.executions_since("arn", BEGAN)),
    ("stepfunctions", "get_execution_history", "states:GetExecutionHistory", lambda a: a.entered("arn")),
    ("lambda", "get_function_configuration", "lambda:GetFunctionConfiguration", lambda a: a.function("f")),
    ("lambda", "invoke", "lambda:InvokeFunction", lambda a: a.invoke("f", {})),
    ("lambda", "get_account_settings", "lambda:GetAccountSettings", lambda a: a.concurrency()),
    ("iam", "get_role", "iam:GetRole", lambda a: a.trust("r")),
    ("iam", "simulate_principal_policy", "iam:SimulatePrincipalPolicy", lambda a: a.may("a" * 20, "s3:GetObject", "*")),
    ("s3", "head_object", "s3:GetObject", lambda a: a.head("bucket", "key")),
    ("s3", "get_object", "s3:GetObject", lambda a: a.read("bucket", "key")),
    ("s3", "list_objects_v2", "s3:ListBucket", lambda a: a.keys("bucket", "prefix")),
    ("s3", "delete_object", "s3:DeleteObject", lambda a: a.delete("bucket", ["key"])),
    ("s3", "get_bucket_location", "s3:GetBucketLocation", lambda a: a.bucket_region("bucket")),
    ("s3", "get_bucket_policy", "s3:GetBucketPolicy", lambda a: a.bucket_statements("bucket")),
    ("cloudwatch", "describe_alarms", "cloudwatch:DescribeAlarms", lambda a: a.alarm("alarm")),
    ("cloudwatch", "set_alarm_state", "cloudwatch:SetAlarmState", lambda a: a.set_alarm("alarm", "OK", "why")),
    (
        "cloudwatch",
        "describe_alarm_history",
        "cloudwatch:DescribeAlarmHistory",
        lambda a: a.alarm_history("alarm", BEGAN),
    ),
    ("cloudwatch", "list_metrics", "cloudwatch:ListMetrics", lambda a: a.metrics("n", "d", "v")),
    ("cloudwatch", "get_metric_data", "cloudwatch:GetMetricData", lambda a: a.sums("n", [("m", {"d": "v"})], BEGAN)),
    (
        "s3",
        "list_bucket_metrics_configurations",
        "s3:GetMetricsConfiguration",
        lambda a: a.request_filter("bucket", "folder/"),
    ),
    ("cloudwatch", "get_dashboard", "cloudwatch:GetDashboard", lambda a: a.widgets("d")),
    ("sns", "list_subscriptions_by_topic", "sns:ListSubscriptionsByTopic", lambda a: a.subscriptions("arn")),
    ("sqs", "get_queue_attributes", "sqs:GetQueueAttributes", lambda a: a.queue_length("https://q")),
    ("logs", "describe_log_streams", "logs:DescribeLogStreams", lambda a: a.log_streams("group")),
    ("logs", "filter_log_events", "logs:FilterLogEvents", lambda a: a.log_lines("group", ["text"], BEGAN)),
    ("logs", "start_query", "logs:StartQuery", lambda a: a.most_of_functions("group", BEGAN)),
    ("service-quotas", "list_service_quotas", "servicequotas:ListServiceQuotas", lambda a: a.quotas("states")),
    ("apigateway", "get_account", "apigateway:GET", lambda a: a.api_rate()),
    ("apigateway", "get_stages", "apigateway:GET", lambda a: a.api_stage_rate("api", "v1")),
    ("ec2", "describe_subnets", "ec2:DescribeVpcEndpoints", lambda a: a.vpc_endpoints("subnet")),
    ("secretsmanager", "get_secret_value", "secretsmanager:GetSecretValue", lambda a: a.secret("arn")),
]


def an_account() -> Account:
    session = boto3.Session(aws_access_key_id="a", aws_secret_access_key="b", region_name=REGION)
    return Account(session, "vault")


def raised(service: str, operation: str, ask: Callable[[Account], object], code: str, status: int = 400) -> VaultError:
    """Return what a question ends with where the service answers with an error."""
    account = an_account()
    if service != "cloudformation":
        account.stack = good_stack()
    with Stubber(account._client(service)) as stubber:
        if service == "cloudformation":
            described: dict[str, Any] = {"StackName": "vault", "CreationTime": BEGAN, "StackStatus": "CREATE_COMPLETE"}
            stubber.add_response("describe_stacks", {"Stacks": [described]})
        stubber.add_client_error(operation, code, "no", http_status_code=status)
        with pytest.raises(VaultError) as caught:
            ask(account)
    return caught.value


@pytest.mark.parametrize(
    ("service", "operation", "action", "ask"), QUESTIONS, ids=[f"{service}-{name}" for service, name, *_ in QUESTIONS]
)
def test_a_right_that_is_missing_is_named(
    service: str, operation: str, action: str, ask: Callable[[Account], object]
) -> None:
    error = raised(service, operation, ask, "AccessDeniedException", 403)
    assert isinstance(error, ApiAccessDeniedError)
    assert error.message == f"these credentials may not call {action}"
    assert action in error.hint


def scheduled(kind: str, resource: str) -> dict[str, Any]:
    details = {"resourceType": kind, "resource": resource, "region": REGION, "parameters": "{}"}
    return {"type": "TaskScheduled", "taskScheduledEventDetails": details}


@pytest.mark.parametrize(
    "of_function",
    [
        {"type": "LambdaFunctionScheduled", "lambdaFunctionScheduledEventDetails": {"resource": "arn:f"}},
        scheduled("lambda", "arn:f"),
    ],
    ids=["AWS", "emulator"],
)
def test_tasks_that_start_executions_are_no_calls_of_functions(of_function: dict[str, Any]) -> None:
    account, start = an_account(), scheduled("states", "startExecution.sync:2")
    events = [{"type": "TaskStateEntered"}, of_function, of_function, {"type": "TaskStateEntered"}, start]
    history = [{"id": number, "timestamp": BEGAN, **event} for number, event in enumerate(events, start=1)]
    with Stubber(account._client("stepfunctions")) as stubber:
        stubber.add_response("get_execution_history", {"events": history})
        assert account.entered("arn:" + "a" * 20) == Entered(transitions=2, invocations=2)


def test_any_other_refusal_is_quoted() -> None:
    error = raised("iam", "get_role", lambda a: a.trust("r"), "NoSuchEntity")
    assert isinstance(error, ServiceRequestError)
    assert "iam:GetRole is refused: NoSuchEntity: no" in error.message


def test_credentials_that_have_run_out_are_told() -> None:
    error = raised("sts", "get_caller_identity", lambda a: a.number, "ExpiredToken", 403)
    assert isinstance(error, ApiAccessDeniedError)
    assert "aws sso login" in error.hint


def test_no_credentials_no_network_and_a_garbled_answer_have_names() -> None:
    for err, name in (
        (NoCredentialsError(), ApiAccessDeniedError),
        (EndpointConnectionError(endpoint_url="https://x"), ServiceUnavailableError),
        (KeyError("Stacks"), ServiceUnavailableError),
    ):
        with pytest.raises(name) as caught, asked("sts:GetCallerIdentity"):
            raise err
        assert "sts:GetCallerIdentity" in caught.value.message
        assert caught.value.hint


def test_a_bucket_of_somebody_else_is_none_of_ours() -> None:
    account = an_account()
    account.identity = "arn:aws:iam::123456789012:user/alice"
    with Stubber(account._client("s3")) as stubber:
        stubber.add_client_error("head_bucket", "403", http_status_code=403)
        assert not account.is_own("bucket")


def test_a_bucket_without_object_lock_says_so() -> None:
    account = an_account()
    with Stubber(account._client("s3")) as stubber:
        stubber.add_client_error("get_object_lock_configuration", "ObjectLockConfigurationNotFoundError")
        assert not account.keeps_locks("bucket")


def test_of_an_alarm_s_history_only_what_is_of_this_time_is_asked_for() -> None:
    account = an_account()
    with Stubber(account._client("cloudwatch")) as stubber:
        items = [{"HistoryItemType": "Action", "HistorySummary": "Successfully executed action"}]
        stubber.add_response(
            "describe_alarm_history", {"AlarmHistoryItems": items}, {"AlarmName": "alarm", "StartDate": BEGAN}
        )
        assert account.alarm_history("alarm", BEGAN) == [("Action", "Successfully executed action")]


def test_only_what_an_execution_started_itself_is_its_child(monkeypatch: pytest.MonkeyPatch) -> None:
    account = an_account()
    monkeypatch.setattr(account, "executions_since", lambda *_: ["other", "ended", "own"])
    with Stubber(account._client("stepfunctions")) as stubber:
        for arn, parent, status in (("other", "b", "RUNNING"), ("ended", "a", "SUCCEEDED"), ("own", "a", "RUNNING")):
            described = {
                "executionArn": arn, "stateMachineArn": "machine", "status": status, "startDate": BEGAN,
                "input": json.dumps({"AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID": parent}),
            }  # fmt: skip
            stubber.add_response("describe_execution", described)
        assert account.children_running("machine", "a", BEGAN) == ["own"]


def test_an_object_that_is_gone_is_none_and_another_refusal_is_told() -> None:
    account = an_account()
    with Stubber(account._client("s3")) as stubber:
        stubber.add_client_error("get_object", "NoSuchKey", http_status_code=404)
        assert account.find("bucket", "key") is None
        stubber.add_client_error("get_object", "InternalError", http_status_code=500)
        with pytest.raises(ServiceRequestError, match="InternalError"):
            account.find("bucket", "key")


def test_a_stage_that_is_not_there_has_a_name() -> None:
    account = an_account()
    with Stubber(account._client("apigateway")) as stubber:
        stubber.add_response("get_stages", {"item": [{"stageName": "v0"}]})
        with pytest.raises(ServiceUnavailableError, match="apigateway:GET"):
            account.api_stage_rate("api", "v1")


def test_what_is_hidden_is_looked_for_here_and_asked_of_nobody() -> None:
    account = an_account()
    with Stubber(account._client("logs")) as stubber:
        events = [{"message": "started x"}, {"message": "password secret-1"}, {"message": "x ended"}]
        stubber.add_response(
            "filter_log_events",
            {"events": events},
            {"logGroupName": "group", "startTime": int(BEGAN.timestamp() * 1000)},
        )
        assert account.log_lines("group", ["x", "secret-1", "secret-2"], BEGAN) == {
            "x": 2,
            "secret-1": 1,
            "secret-2": 0,
        }


def test_what_cloudwatch_counted_is_summed_over_its_minutes_and_pages() -> None:
    account = an_account()
    with Stubber(account._client("cloudwatch")) as stubber:
        for token, values in ((None, [2.0, 3.0]), ("more", [4.0])):
            result = {"Id": "m1", "Label": "m1", "StatusCode": "Complete", "Timestamps": [BEGAN] * len(values)}
            answer: dict[str, Any] = {"MetricDataResults": [result | {"Values": values}]}
            stubber.add_response("get_metric_data", answer | ({} if token else {"NextToken": "more"}))
        assert account.sums("AWS/Lambda", [("Invocations", {"FunctionName": f}) for f in "ab"], BEGAN) == [0.0, 9.0]


def test_more_metrics_than_one_question_takes_are_asked_for_by_several() -> None:
    account = an_account()
    with Stubber(account._client("cloudwatch")) as stubber:
        for _ in range(2):
            stubber.add_response("get_metric_data", {"MetricDataResults": []})
        assert account.sums("n", [("m", {})] * 501, BEGAN) == [0.0] * 501
        stubber.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("configurations", "name"),
    [
        ([], ""),
        ([{"Id": "all"}], "all"),
        ([{"Id": "all", "Filter": {}}], "all"),
        ([{"Id": "other", "Filter": {"Prefix": "other/"}}, {"Id": "ours", "Filter": {"Prefix": "milvus-"}}], "ours"),
        ([{"Id": "part", "Filter": {"Prefix": "milvus-vault/x"}}], ""),
        ([{"Id": "tag", "Filter": {"Tag": {"Key": "a", "Value": "b"}}}], ""),
        ([{"Id": "and", "Filter": {"And": {"Prefix": "milvus-vault/", "Tags": [{"Key": "a", "Value": "b"}]}}}], ""),
    ],
)
def test_only_metrics_of_all_requests_for_the_folder_count(configurations: list[dict[str, Any]], name: str) -> None:
    account = an_account()
    with Stubber(account._client("s3")) as stubber:
        answer = {"MetricsConfigurationList": configurations} if configurations else {}
        stubber.add_response("list_bucket_metrics_configurations", answer)
        assert account.request_filter("backups", "milvus-vault/") == name
