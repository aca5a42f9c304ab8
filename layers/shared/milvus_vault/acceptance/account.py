"""What is asked of AWS beside the API: typed answers, and errors by name."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from itertools import batched
from typing import Any, NamedTuple

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from milvus_vault.errors import (
    ApiAccessDeniedError,
    ApiNotFoundError,
    ServiceRequestError,
    ServiceUnavailableError,
    WaitTimeoutError,
)

_POLL_SECONDS = 1.0
_LOCAL_POLL_SECONDS = 0.2

# That many metrics CloudWatch takes in one question.
_METRICS_AT_ONCE = 500

FUNCTION, MACHINE, ALARM = "AWS::Lambda::Function", "AWS::StepFunctions::StateMachine", "AWS::CloudWatch::Alarm"
ROLE = "AWS::IAM::Role"

_RUNNING = {"RUNNING", "PENDING_REDRIVE"}

# Of an execution's input: which other one started it, as our machines and Step Functions' console have it.
_STARTED_BY = "AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID"

GARBLED = (LookupError, TypeError, ValueError, AttributeError)
"""What it raises to take apart an answer, or a stack, of which a member is missing or of another type."""


class Execution(NamedTuple):
    """An execution that has ended."""

    arn: str
    status: str
    error: str
    cause: str
    output: Mapping[str, Any]


class Entered(NamedTuple):
    """How many states an execution entered, and how often it had a function called, again after an error as well."""

    transitions: int
    invocations: int


@dataclass(frozen=True, slots=True)
class Stack:
    """A deployed stack."""

    name: str
    status: str
    parameters: Mapping[str, str]
    outputs: Mapping[str, str]
    resources: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Type and physical ID by logical ID."""

    def of_type(self, kind: str) -> dict[str, str]:
        """Return the physical IDs of the resources of a type, by logical ID."""
        return {name: found for name, (of, found) in self.resources.items() if of == kind}

    def physical(self, logical_id: str) -> str:
        """Return a resource's physical ID. Raises `ApiNotFoundError` where the stack does not have it."""
        if logical_id in self.resources:
            return self.resources[logical_id][1]
        msg = f"stack '{self.name}' has no resource {logical_id}"
        raise ApiNotFoundError(msg, hint="Deploy this release: command line and stack are to be of one.")


def _is_of_function(event: Mapping[str, Any]) -> bool:
    """Return whether an event has a function called: a task may start another execution as well.

    AWS names such an event so where the function's ARN is the task's resource; the emulator names all tasks alike.
    """
    kind: str = event["type"]
    resource_type: str = event.get("taskScheduledEventDetails", {}).get("resourceType", "")
    return kind == "LambdaFunctionScheduled" or resource_type == "lambda"


class Account:
    """One AWS account and Region, as far as the items ask for it.

    Its methods raise ApiAccessDeniedError where the credentials may not ask, ServiceRequestError where the service
    refuses for another reason, and ServiceUnavailableError where it does not answer.
    """

    def __init__(self, session: boto3.Session, stack_name: str, endpoint_url: str = "") -> None:
        """Describe it; nothing is asked.

        Args:
            session: whose credentials ask.
            stack_name: the stack.
            endpoint_url: of the emulator; empty: AWS itself.
        """
        self.session = session
        self.stack_name = stack_name
        self.endpoint_url = endpoint_url
        self._clients: dict[str, Any] = {}
        self._roles: dict[str, Mapping[str, Any]] = {}

    @property
    def is_local(self) -> bool:
        """Whether it is the emulator."""
        return bool(self.endpoint_url)

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            make: Any = self.session.client  # its overloads want the name of the service as a literal
            config = Config(
                connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 5},
                # Host prefixes make names that do not resolve locally, such as `sync-states.127.0.0.1`.
                inject_host_prefix=not self.is_local,
            )  # fmt: skip
            with asked(f"a client of {service}"):
                self._clients[service] = make(service, endpoint_url=self.endpoint_url or None, config=config)
        return self._clients[service]

    @cached_property
    def stack(self) -> Stack:
        """The stack as it was when it was first asked for."""
        described = self._stack()
        with asked("cloudformation:ListStackResources"):
            pages = self._client("cloudformation").get_paginator("list_stack_resources").paginate(
                StackName=self.stack_name
            )  # fmt: skip
            resources = {
                one["LogicalResourceId"]: (one["ResourceType"], one.get("PhysicalResourceId", ""))
                for page in pages
                for one in page["StackResourceSummaries"]
            }
        with asked("cloudformation:DescribeStacks"):
            return Stack(
                self.stack_name,
                described["StackStatus"],
                {one["ParameterKey"]: one.get("ParameterValue", "") for one in described.get("Parameters", [])},
                {one["OutputKey"]: one["OutputValue"] for one in described.get("Outputs", [])},
                resources,
            )

    def _stack(self) -> Mapping[str, Any]:
        with asked("cloudformation:DescribeStacks"):
            found: Mapping[str, Any] = self._client("cloudformation").describe_stacks(StackName=self.stack_name)[
                "Stacks"
            ][0]
            return found

    @cached_property
    def number(self) -> str:
        """The account's ID."""
        return self.identity.split(":")[4]

    @cached_property
    def identity(self) -> str:
        """The ARN of who asks."""
        with asked("sts:GetCallerIdentity"):
            return str(self._client("sts").get_caller_identity()["Arn"])

    @property
    def region(self) -> str:
        """The Region that is asked."""
        return str(self.session.region_name or "")

    # --- Step Functions

    def machine(self, arn: str) -> tuple[str, str]:
        """Return status and definition of a state machine."""
        with asked("states:DescribeStateMachine"):
            found = self._client("stepfunctions").describe_state_machine(stateMachineArn=arn)
            return str(found["status"]), str(found["definition"])

    def start(self, machine_output: str, request: Mapping[str, Any]) -> str:
        """Start the machine whose ARN an output has, and return the execution's ARN."""
        with asked("states:StartExecution"):
            found = self._client("stepfunctions").start_execution(
                stateMachineArn=self.stack.outputs[machine_output], input=json.dumps(request)
            )
            return str(found["executionArn"])

    def execution(self, arn: str) -> Execution | None:
        """Return an execution once it has ended, and None before."""
        with asked("states:DescribeExecution"):
            found = self._client("stepfunctions").describe_execution(executionArn=arn)
            if found["status"] in _RUNNING:
                return None
            output = json.loads(found.get("output") or "{}")
            cause = str(found.get("cause", ""))
            return Execution(arn, found["status"], str(found.get("error", "")), cause, output or {})

    def wait(self, arn: str, timeout_seconds: float) -> Execution:
        """Return an execution once it has ended. Raises `WaitTimeoutError`."""
        deadline = time.monotonic() + timeout_seconds
        while (found := self.execution(arn)) is None:
            if time.monotonic() > deadline:
                msg = f"the execution {arn.rpartition(':')[2]} is still going on after {timeout_seconds:g} s"
                raise WaitTimeoutError(msg, hint="Look at its states in the console of Step Functions.")
            time.sleep(_LOCAL_POLL_SECONDS if self.is_local else _POLL_SECONDS)
        return found

    def stop(self, arn: str) -> None:
        """Stop an execution."""
        with asked("states:StopExecution"):
            self._client("stepfunctions").stop_execution(executionArn=arn)

    def redrive(self, arn: str) -> None:
        """Let an execution go on from the state in which it ended."""
        with asked("states:RedriveExecution"):
            self._client("stepfunctions").redrive_execution(executionArn=arn)

    def executions_since(self, machine_arn: str, since: datetime) -> list[str]:
        """Return the ARNs of a machine's executions that began at a time or later, the newest first."""
        found: list[str] = []
        with asked("states:ListExecutions"):
            pages = self._client("stepfunctions").get_paginator("list_executions").paginate(stateMachineArn=machine_arn)
            for page in pages:
                for one in page["executions"]:
                    if one["startDate"] < since:
                        return found
                    found.append(str(one["executionArn"]))
        return found

    def children_running(self, machine_arn: str, parent_arn: str, since: datetime) -> list[str]:
        """Return the ARNs of a machine's executions since a time that another one started, and that go on."""
        return [arn for arn in self.executions_since(machine_arn, since) if self._is_running_child(arn, parent_arn)]

    def _is_running_child(self, arn: str, parent_arn: str) -> bool:
        with asked("states:DescribeExecution"):
            found = self._client("stepfunctions").describe_execution(executionArn=arn)
            return found["status"] in _RUNNING and json.loads(found["input"]).get(_STARTED_BY) == parent_arn

    def entered(self, arn: str) -> Entered:
        """Return what an execution entered."""
        with asked("states:GetExecutionHistory"):
            pages = self._client("stepfunctions").get_paginator("get_execution_history").paginate(executionArn=arn)
            events = [event for page in pages for event in page["events"]]
            return Entered(
                sum(event["type"].endswith("StateEntered") for event in events), sum(map(_is_of_function, events))
            )

    def map_runs(self, machine_arn: str, since: datetime) -> list[Mapping[str, int]]:
        """Return how many items the distributed Maps of a machine's executions have had, by what became of them."""
        found: list[Mapping[str, int]] = []
        for arn in self.executions_since(machine_arn, since):
            with asked("states:ListMapRuns"):
                listed = self._client("stepfunctions").list_map_runs(executionArn=arn)["mapRuns"]
                for one in listed:
                    described = self._client("stepfunctions").describe_map_run(mapRunArn=one["mapRunArn"])
                    found.append(described["itemCounts"])
        return found

    # --- Lambda

    def function(self, name: str) -> tuple[str, str, int]:
        """Return state, architecture and memory in MB of a function."""
        with asked("lambda:GetFunctionConfiguration"):
            found = self._client("lambda").get_function_configuration(FunctionName=name)
            return str(found.get("State", "")), str(found["Architectures"][0]), int(found["MemorySize"])

    def invoke(self, name: str, event: Mapping[str, Any]) -> str:
        """Call a function, and return the type of the error that it ends with; empty where it does not."""
        with asked("lambda:InvokeFunction"):
            answer = self._client("lambda").invoke(FunctionName=name, Payload=json.dumps(event).encode())
            if not answer.get("FunctionError"):
                return ""
            return str(json.loads(answer["Payload"].read()).get("errorType", ""))

    def concurrency(self) -> int:
        """Return how many executions of functions the account may have at a time."""
        with asked("lambda:GetAccountSettings"):
            return int(self._client("lambda").get_account_settings()["AccountLimit"]["ConcurrentExecutions"])

    # --- IAM

    def role_arn(self, role_name: str) -> str:
        """Return a role's ARN."""
        return str(self._role(role_name)["Arn"])

    def trust(self, role_name: str) -> Sequence[Mapping[str, Any]]:
        """Return the statements of who may use a role."""
        with asked("iam:GetRole"):
            found: Sequence[Mapping[str, Any]] = self._role(role_name)["AssumeRolePolicyDocument"]["Statement"]
            return found

    def _role(self, name: str) -> Mapping[str, Any]:
        if name not in self._roles:
            with asked("iam:GetRole"):
                self._roles[name] = self._client("iam").get_role(RoleName=name)["Role"]
        return self._roles[name]

    def may(
        self, role_arn: str, action: str, resource: str, context: Mapping[str, str] | None = None
    ) -> bool:  # fmt: skip
        """Return whether a role's policies allow an action on one resource, by IAM's simulation."""
        entries = [
            {"ContextKeyName": key, "ContextKeyValues": [value], "ContextKeyType": "string"}
            for key, value in (context or {}).items()
        ]
        with asked("iam:SimulatePrincipalPolicy"):
            found = self._client("iam").simulate_principal_policy(
                PolicySourceArn=role_arn, ActionNames=[action], ResourceArns=[resource], ContextEntries=entries
            )
            return bool(found["EvaluationResults"][0]["EvalDecision"] == "allowed")

    # --- S3

    def head(self, bucket: str, key: str) -> Mapping[str, Any]:
        """Return what S3 says of an object, with its checksum."""
        with asked("s3:GetObject"):
            found: Mapping[str, Any] = self._client("s3").head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
            return found

    def read(self, bucket: str, key: str) -> bytes:
        """Return an object's content."""
        with asked("s3:GetObject"):
            return bytes(self._client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())

    def find(self, bucket: str, key: str) -> bytes | None:
        """Return an object's content; None where there is none of this key, or no longer."""
        try:
            return self.read(bucket, key)
        except ServiceRequestError as err:
            if "NoSuchKey" in err.message:
                return None
            raise

    def keys(self, bucket: str, prefix: str) -> list[str]:
        """Return the keys below a prefix."""
        with asked("s3:ListBucket"):
            pages = self._client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
            return [str(one["Key"]) for page in pages for one in page.get("Contents", [])]

    def delete(self, bucket: str, keys: Iterable[str]) -> None:
        """Delete objects."""
        with asked("s3:DeleteObject"):
            for key in keys:
                self._client("s3").delete_object(Bucket=bucket, Key=key)

    def is_own(self, bucket: str) -> bool:
        """Return whether a bucket is this account's."""
        try:
            with asked("s3:ListBucket"):
                self._client("s3").head_bucket(Bucket=bucket, ExpectedBucketOwner=self.number)
        except ApiAccessDeniedError:
            return False
        return True

    def bucket_region(self, bucket: str) -> str:
        """Return a bucket's Region."""
        with asked("s3:GetBucketLocation"):
            return str(self._client("s3").get_bucket_location(Bucket=bucket).get("LocationConstraint") or "us-east-1")

    def bucket_statements(self, bucket: str) -> Sequence[Mapping[str, Any]]:
        """Return the statements of a bucket's policy."""
        with asked("s3:GetBucketPolicy"):
            found: Sequence[Mapping[str, Any]] = json.loads(
                self._client("s3").get_bucket_policy(Bucket=bucket)["Policy"]
            )["Statement"]
            return found

    def keeps_locks(self, bucket: str) -> bool:
        """Return whether a bucket knows Object Lock."""
        try:
            with asked("s3:GetBucketObjectLockConfiguration"):
                found = self._client("s3").get_object_lock_configuration(Bucket=bucket)
                return bool(found["ObjectLockConfiguration"]["ObjectLockEnabled"] == "Enabled")
        except ServiceRequestError as err:
            if "ObjectLockConfigurationNotFoundError" in err.message:
                return False
            raise

    # --- what tells

    def alarm(self, name: str) -> tuple[str, Sequence[str]]:
        """Return an alarm's state and the ARNs that it tells."""
        with asked("cloudwatch:DescribeAlarms"):
            found = self._client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"][0]
            return str(found["StateValue"]), [str(arn) for arn in found["AlarmActions"]]

    def set_alarm(self, name: str, state: str, reason: str) -> None:
        """Set an alarm's state until it is evaluated next."""
        with asked("cloudwatch:SetAlarmState"):
            self._client("cloudwatch").set_alarm_state(AlarmName=name, StateValue=state, StateReason=reason)

    def alarm_history(self, name: str, since: datetime) -> list[tuple[str, str]]:
        """Return kind and summary of what an alarm did at a time or later."""
        with asked("cloudwatch:DescribeAlarmHistory"):
            pages = self._client("cloudwatch").get_paginator("describe_alarm_history").paginate(
                AlarmName=name, StartDate=since
            )  # fmt: skip
            items = (one for page in pages for one in page["AlarmHistoryItems"])
            return [(str(one["HistoryItemType"]), str(one["HistorySummary"])) for one in items]

    def metrics(self, namespace: str, dimension: str, value: str) -> set[str]:
        """Return the names of metrics."""
        with asked("cloudwatch:ListMetrics"):
            pages = self._client("cloudwatch").get_paginator("list_metrics").paginate(
                Namespace=namespace, Dimensions=[{"Name": dimension, "Value": value}]
            )  # fmt: skip
            return {str(one["MetricName"]) for page in pages for one in page["Metrics"]}

    def sums(self, namespace: str, wanted: Sequence[tuple[str, Mapping[str, str]]], since: datetime) -> list[float]:
        """Return of each metric, given by its name and dimensions, the sum of its values since the minute of a time."""
        queries = [
            {
                "Id": f"m{number}",
                "MetricStat": {
                    "Metric": {
                        "Namespace": namespace,
                        "MetricName": name,
                        "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
                    },
                    "Period": 60,
                    "Stat": "Sum",
                },
            }
            for number, (name, dimensions) in enumerate(wanted)
        ]
        found = dict.fromkeys((str(query["Id"]) for query in queries), 0.0)
        times = {"StartTime": since.replace(second=0, microsecond=0), "EndTime": datetime.now(UTC)}
        with asked("cloudwatch:GetMetricData"):
            for some in batched(queries, _METRICS_AT_ONCE, strict=False):
                pages = self._client("cloudwatch").get_paginator("get_metric_data").paginate(
                    MetricDataQueries=list(some), **times
                )  # fmt: skip
                for result in (result for page in pages for result in page["MetricDataResults"]):
                    found[result["Id"]] += sum(result["Values"])
        return [*found.values()]

    def request_filter(self, bucket: str, folder: str) -> str:
        """Return the ID of request metrics that count all requests for a folder of a bucket; empty where none do."""
        with asked("s3:GetMetricsConfiguration"):
            found = self._client("s3").list_bucket_metrics_configurations(Bucket=bucket)
            ids = {
                str(one["Id"]): str(one["Filter"].get("Prefix", "")) if one.get("Filter") else ""
                for one in found.get("MetricsConfigurationList", [])
                # Others count by a tag or an access point, which what we write does not have.
                if not one.get("Filter") or [*one["Filter"]] == ["Prefix"]
            }
        return next((name for name, prefix in ids.items() if folder.startswith(prefix)), "")

    def widgets(self, dashboard: str) -> Sequence[Mapping[str, Any]]:
        """Return the widgets of a dashboard."""
        with asked("cloudwatch:GetDashboard"):
            body = self._client("cloudwatch").get_dashboard(DashboardName=dashboard)["DashboardBody"]
            found: Sequence[Mapping[str, Any]] = json.loads(body)["widgets"]
            return found

    def subscriptions(self, topic_arn: str) -> list[str]:
        """Return the ARNs of a topic's subscriptions; `PendingConfirmation` of one that nobody has confirmed."""
        with asked("sns:ListSubscriptionsByTopic"):
            pages = self._client("sns").get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic_arn)
            return [str(one["SubscriptionArn"]) for page in pages for one in page["Subscriptions"]]

    def queue_statements(self, queue_url: str) -> Sequence[Mapping[str, Any]]:
        """Return the statements of a queue's policy."""
        with asked("sqs:GetQueueAttributes"):
            found = self._client("sqs").get_queue_attributes(QueueUrl=queue_url, AttributeNames=["Policy"])
            statements: Sequence[Mapping[str, Any]] = json.loads(found["Attributes"]["Policy"])["Statement"]
            return statements

    def queue_length(self, queue_url: str) -> int:
        """Return how many messages a queue has."""
        with asked("sqs:GetQueueAttributes"):
            name = "ApproximateNumberOfMessages"
            found = self._client("sqs").get_queue_attributes(QueueUrl=queue_url, AttributeNames=[name])
            return int(found["Attributes"][name])

    def log_streams(self, group: str) -> int:
        """Return how many streams the first page of a log group has."""
        with asked("logs:DescribeLogStreams"):
            return len(self._client("logs").describe_log_streams(logGroupName=group)["logStreams"])

    def log_lines(self, group: str, texts: Iterable[str], since: datetime) -> dict[str, int]:
        """Return how many lines of a log group have each text since a time.

        They are read and searched here: a question with a password in it would be one more place that has it.
        """
        counts = dict.fromkeys(texts, 0)
        with asked("logs:FilterLogEvents"):
            pages = self._client("logs").get_paginator("filter_log_events").paginate(
                logGroupName=group, startTime=int(since.timestamp() * 1000)
            )  # fmt: skip
            for page in pages:
                for text in counts:
                    counts[text] += sum(text in event["message"] for event in page["events"])
        return counts

    def most_of_functions(self, group: str, since: datetime, timeout_seconds: float = 60) -> tuple[float, float]:
        """Return the largest share of its memory that a function used, and the longest that one took, in seconds."""
        used, seconds = "max(@maxMemoryUsed / @memorySize) as used", "max(@duration) / 1000 as seconds"
        question = f'filter @type = "REPORT" | stats {used}, {seconds}'
        logs = self._client("logs")
        with asked("logs:StartQuery"):
            query = logs.start_query(
                logGroupName=group, startTime=int(since.timestamp()), endTime=int(datetime.now(UTC).timestamp()) + 1,
                queryString=question,
            )["queryId"]  # fmt: skip
        deadline = time.monotonic() + timeout_seconds
        with asked("logs:GetQueryResults"):
            while (found := logs.get_query_results(queryId=query))["status"] not in {"Complete", "Failed"}:
                if time.monotonic() > deadline:
                    msg = f"CloudWatch Logs has not answered a question after {timeout_seconds:g} s"
                    raise ServiceUnavailableError(msg, hint="Try again in a minute.")
                time.sleep(_POLL_SECONDS)
            row = {one["field"]: float(one["value"]) for line in found["results"] for one in line}
        return row.get("used", 0.0), row.get("seconds", 0.0)

    def quotas(self, service: str) -> dict[str, float]:
        """Return a service's quotas by name."""
        with asked("servicequotas:ListServiceQuotas"):
            pages = self._client("service-quotas").get_paginator("list_service_quotas").paginate(ServiceCode=service)
            return {str(one["QuotaName"]): float(one["Value"]) for page in pages for one in page["Quotas"]}

    def api_rate(self) -> float:
        """Return how many requests a second API Gateway takes for the account."""
        with asked("apigateway:GET"):
            return float(self._client("apigateway").get_account()["throttleSettings"]["rateLimit"])

    def api_stage_rate(self, api_id: str, stage: str) -> float:
        """Return how many requests a second a stage of an API takes."""
        with asked("apigateway:GET"):
            stages = self._client("apigateway").get_stages(restApiId=api_id)["item"]
            settings = {one["stageName"]: one for one in stages}[stage]["methodSettings"]["*/*"]
            return float(settings["throttlingRateLimit"])

    def vpc_endpoints(self, subnet_id: str) -> dict[str, str]:
        """Return the state of each endpoint of a subnet's VPC, by service."""
        with asked("ec2:DescribeVpcEndpoints"):
            vpc = self._client("ec2").describe_subnets(SubnetIds=[subnet_id])["Subnets"][0]["VpcId"]
            found = self._client("ec2").describe_vpc_endpoints(Filters=[{"Name": "vpc-id", "Values": [vpc]}])
            return {one["ServiceName"].rpartition(".")[2]: one["State"].lower() for one in found["VpcEndpoints"]}

    def secret(self, arn: str) -> Mapping[str, str]:
        """Return the secret of Milvus' credentials."""
        with asked("secretsmanager:GetSecretValue"):
            found: Mapping[str, str] = json.loads(
                self._client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"]
            )
            return found


@contextmanager
def asked(action: str) -> Iterator[None]:
    """Raise boto3's errors by name; an answer is taken apart inside, so that a garbled one has a name as well."""
    try:
        yield
    except ClientError as err:
        told = err.response.get("Error", {})
        code, text = str(told.get("Code", "")), str(told.get("Message", ""))
        if "AccessDenied" in code or "Authorization" in code or code in {"403", "Forbidden"}:
            msg = f"these credentials may not call {action}"
            raise ApiAccessDeniedError(msg, hint=f"Sign in as somebody who may, or allow {action}.") from err
        if "Expired" in code or code in {"InvalidClientTokenId", "UnrecognizedClientException"}:
            msg = f"the credentials are not valid for {action}: {code}"
            raise ApiAccessDeniedError(msg, hint="Sign in again, for example with 'aws sso login'.") from err
        msg = f"{action} is refused: {code}: {text}"
        raise ServiceRequestError(msg, hint="The message is the service's own.") from err
    except NoCredentialsError as err:
        msg = f"there are no AWS credentials to call {action}"
        raise ApiAccessDeniedError(msg, hint="Sign in, for example with 'aws sso login', or choose a profile.") from err
    except BotoCoreError as err:
        msg = f"{action} is not answered: {err}"
        raise ServiceUnavailableError(msg, hint="Check the network, and try again in a minute.") from err
    except GARBLED as err:
        msg = f"{action} is answered with something else than expected: {type(err).__name__}: {err}"
        raise ServiceUnavailableError(msg, hint="Please report it with the report file.") from err
