"""What a function's role lets it do, as the template says, and a guard that holds its calls against that.

The guard also notes which right each call needed: docs/permissions.md is made of that (tests/rights.py).
"""

import itertools
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from mypy_boto3_s3 import S3Client

from milvus_vault.adapters import s3_direct
from milvus_vault.adapters.s3_direct import DirectCopies
from tests.template.loading import (
    Data,
    Machine,
    actions_of,
    as_list,
    functions,
    machines,
    snake_case,
    statements,
    text_of,
)

# The parameters that resources are named by, each with the setting that tells a function the same.
PARAMETERS = {
    "BackupBucketName": "BACKUP_BUCKET_NAME",
    "BackupPrefix": "BACKUP_PREFIX",
    "ExportBucketName": "EXPORT_BUCKET_NAME",
    "ExportPrefix": "EXPORT_PREFIX",
    "MilvusBucketName": "MILVUS_BUCKET_NAME",
    "MilvusRootPath": "MILVUS_ROOT_PATH",
    "StagingPrefix": "STAGING_PREFIX",
    "MilvusSecretArn": "MILVUS_SECRET_ARN",
    "ExportRoleArn": "EXPORT_ROLE_ARN",
}
# What tests leave open, as a pattern; a machine's name ends with its kind.
_ANYTHING = {
    "AWS::Partition": "aws",
    "AWS::Region": "[^:]*",
    "AWS::AccountId": "[^:]*",
    "AWS::StackName": "[^:/]*",
    "AlarmTopic": "arn:aws:sns:.+",
    "InspectMilvusFunction.Arn": ".+",
    "ScheduleRole.Arn": "arn:aws:iam:.+",
}
_OURS = "milvus-vault/"
"""What the user agent of our own clients begins with; those of tests and servers are nobody's functions."""


LOG_DELIVERY = {
    f"logs:{action}"
    for action in (
        "CreateLogDelivery",
        "GetLogDelivery",
        "UpdateLogDelivery",
        "DeleteLogDelivery",
        "ListLogDeliveries",
        "PutResourcePolicy",
        "DescribeResourcePolicies",
        "DescribeLogGroups",
    )
}
TRACES = {
    f"xray:{action}" for action in ("PutTraceSegments", "PutTelemetryRecords", "GetSamplingRules", "GetSamplingTargets")
}
_RULE_OF_NESTED = "StepFunctionsGetEventsForStepFunctionsExecutionRule"


class Need(NamedTuple):
    """One thing that a call asks of a role."""

    action: str
    resource: str
    keys: frozenset[str] = frozenset()
    """Condition keys that the request has."""


class Right(NamedTuple):
    """One thing that a statement of the template allows a function, or a machine."""

    holder: str
    """The function, or the machine, as the template names it."""
    statement: str
    action: str
    resource: str
    """As the template has it, with names of parameters."""


@dataclass(frozen=True, slots=True)
class Grant:
    """One thing that a role allows."""

    right: Right
    pattern: re.Pattern[str]
    needs_keys: frozenset[str]

    @property
    def action(self) -> str:
        """What is allowed."""
        return self.right.action

    def covers(self, need: Need) -> bool:
        """Return whether this alone allows what is needed."""
        is_there = self.action == need.action and self.needs_keys <= need.keys
        return is_there and self.pattern.fullmatch(need.resource) is not None


def resolved(value: Any, parameters: Mapping[str, str]) -> str:
    """Return a resource of the template as it is in a stack with these parameters, which name the backup bucket."""
    match value:
        case str():
            return value
        case {"Ref": name}:
            return parameters[name]
        case {"Fn::Sub": [text, dict(given)]}:
            return _substituted(text, {**parameters, **{k: resolved(v, parameters) for k, v in given.items()}})
        case {"Fn::Sub": str(text)}:
            return _substituted(text, parameters)
        case {"Fn::If": ["CreatesBackupBucket" | "ExportsStayInBackupBucket" as condition, first, last]}:
            is_met = condition == "ExportsStayInBackupBucket" and not parameters["ExportBucketName"]
            return resolved(first if is_met else last, parameters)
        case {"Fn::Join": [between, {"Fn::Split": [at, inner]}]}:
            return resolved(inner, parameters).replace(at, between)
    msg = f"no rule to read {value!r}"
    raise ValueError(msg)


def _substituted(text: str, values: Mapping[str, str]) -> str:
    return re.sub(r"\$\{([^}]+)\}", lambda found: values[found[1]], text)


_NO_PARAMETERS = frozenset(dict.fromkeys(PARAMETERS, "").items())


def policies_of() -> dict[str, list[Data]]:
    """Return the policies of each function and of each machine."""
    found = {machine.name: machine.policies for machine in machines()}
    return found | {name: function["Policies"] for name, function in functions().items()}


def rights_of(holder: str) -> list[Right]:
    """Return what a function, or a machine, may do."""
    return [grant.right for grant in _grants_of(holder, _NO_PARAMETERS)]


def _grants(holder: str, parameters: Mapping[str, str]) -> Iterator[Grant]:
    values = {"AWS::Partition": "aws", **parameters}
    for statement in statements(policies_of()[holder]):
        for action in actions_of(statement):
            for resource in as_list(statement["Resource"]):
                right = Right(holder, statement["Sid"], action, text_of(resource))
                is_s3 = action.startswith("s3:")
                pattern = _pattern(resolved(resource, values)) if is_s3 else _pattern_of_arn(right.resource, parameters)
                yield Grant(right, pattern, _needed_keys(statement))


def _pattern_of_arn(text: str, parameters: Mapping[str, str]) -> re.Pattern[str]:
    """Return what a resource that is none of S3's matches."""

    def part(found: str) -> str:
        name = found[2:-1] if found.startswith("${") else ""
        if name.endswith("StateMachine"):
            return f"arn:aws:states:[^:]*:[^:]*:stateMachine:[^:]*-{_kind(name)}"
        return _ANYTHING.get(name) or re.escape(parameters.get(name) or found).replace(r"\*", ".*")

    return re.compile("".join(part(found) for found in re.split(r"(\$\{[^}]+\})", text)))


def _kind(machine: str) -> str:
    """Return how the name of a machine ends in a stack: `copy-objects` for `CopyObjectsStateMachine`."""
    return snake_case(machine.removesuffix("StateMachine")).replace("_", "-")


def _pattern(resource: str) -> re.Pattern[str]:
    """Return what an ARN with wildcards matches; an asterisk goes over slashes, too."""
    return re.compile(re.escape(resource).replace(r"\*", ".*"), re.DOTALL)


def _needed_keys(statement: Data) -> frozenset[str]:
    """Return the condition keys that must be in a request, or have a value. Raises for a condition of another kind."""
    condition = dict(statement.get("Condition", {}))
    # S3 uses keys for a function; no function asks for one itself.
    if statement["Action"][0].startswith("kms:"):
        del condition["StringLike"]
    assert condition.keys() <= {"Null", "StringEquals"}, condition
    keys: dict[str, str] = condition.get("Null", {})
    assert set(keys.values()) <= {"false"}, condition
    return frozenset(keys) | {f"{key}={value}" for key, value in condition.get("StringEquals", {}).items()}


@cache
def _grants_of(name: str, parameters: frozenset[tuple[str, str]]) -> tuple[Grant, ...]:
    return tuple(_grants(name, dict(parameters)))


# Which action each call needs on a bucket, and which on an object.
_ON_BUCKET = {
    "GetBucketPolicy": "s3:GetBucketPolicy",
    "GetBucketPolicyStatus": "s3:GetBucketPolicyStatus",
    "GetBucketVersioning": "s3:GetBucketVersioning",
    "GetObjectLockConfiguration": "s3:GetBucketObjectLockConfiguration",
    "GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "ListObjectsV2": "s3:ListBucket",
}
_ON_OBJECT = {
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "CompleteMultipartUpload": "s3:PutObject",
    "CopyObject": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "GetObject": "s3:GetObject",
    "GetObjectRetention": "s3:GetObjectRetention",
    "DeleteObject": "s3:DeleteObject",
    "HeadObject": "s3:GetObject",
    "PutObject": "s3:PutObject",
    "PutObjectRetention": "s3:PutObjectRetention",
    "UploadPart": "s3:PutObject",
    "UploadPartCopy": "s3:PutObject",
}
_HEADERS = {"IfNoneMatch": "s3:if-none-match", "IfMatch": "s3:if-match"}


# Of S3 with a KMS key ("Using server-side encryption with AWS KMS keys"), for each call: what it does with the key of
# the bucket that it names. A copy reads its source, too.
_WITH_KEY = {
    "CompleteMultipartUpload": ("kms:Decrypt",),
    "CopyObject": ("kms:GenerateDataKey",),
    "CreateMultipartUpload": ("kms:GenerateDataKey",),
    "GetObject": ("kms:Decrypt",),
    "PutObject": ("kms:GenerateDataKey",),
    "UploadPart": ("kms:Decrypt", "kms:GenerateDataKey"),
    "UploadPartCopy": ("kms:Decrypt", "kms:GenerateDataKey"),
}
# The first of the buckets that has a name: they may be one.
_KEYS = {"BackupBucketName": "KmsKeyArn", "ExportBucketName": "ExportKmsKeyArn", "MilvusBucketName": "MilvusKmsKeyArn"}

# Of the other services: the argument that names the resource, for calls that name it by its ARN.
_BY_ARN = {
    "AssumeRole": ("sts:AssumeRole", "RoleArn"),
    "DescribeExecution": ("states:DescribeExecution", "executionArn"),
    "GetExecutionHistory": ("states:GetExecutionHistory", "executionArn"),
    "GetSecretValue": ("secretsmanager:GetSecretValue", "SecretId"),
    "Invoke": ("lambda:InvokeFunction", "FunctionName"),
    "ListExecutions": ("states:ListExecutions", "stateMachineArn"),
    "Publish": ("sns:Publish", "TopicArn"),
    "StartExecution": ("states:StartExecution", "stateMachineArn"),
    "StopExecution": ("states:StopExecution", "executionArn"),
}


def needs(operation: str, request: Mapping[str, Any]) -> Iterator[Need]:
    """Yield what AWS asks of the role for a call ("Actions, resources, and condition keys" of each service).

    Raises `KeyError` for a call that nobody has said it of yet.
    """
    if operation in _BY_ARN:
        action, argument = _BY_ARN[operation]
        yield Need(action, request[argument])
    elif operation == "PutEvents":
        for entry in request["Entries"]:
            bus = f"arn:aws:events:::event-bus/{entry.get('EventBusName', 'default')}"
            yield Need("events:PutEvents", bus, frozenset({f"events:source={entry['Source']}"}))
    elif operation == "ListSchedules":
        yield Need("scheduler:ListSchedules", "*")
    elif operation.endswith("Schedule"):
        name = f"arn:aws:scheduler:::schedule/{request['GroupName']}/{request['Name']}"
        yield Need(f"scheduler:{operation}", name)
        if target := request.get("Target"):
            keys = frozenset({"iam:PassedToService=scheduler.amazonaws.com"})
            yield Need("iam:PassRole", target["RoleArn"], keys)
    else:
        yield from _needs_of_s3(operation, request)


def _needs_of_s3(operation: str, request: Mapping[str, Any]) -> Iterator[Need]:
    bucket = f"arn:aws:s3:::{request['Bucket']}"
    if operation in _ON_BUCKET:
        yield Need(_ON_BUCKET[operation], bucket)
    elif operation == "DeleteObjects":
        for found in request["Delete"]["Objects"]:
            yield Need("s3:DeleteObject", f"{bucket}/{found['Key']}")
    else:
        keys = frozenset(key for header, key in _HEADERS.items() if request.get(header))
        yield Need(_ON_OBJECT[operation], f"{bucket}/{request['Key']}", keys)
        if request.get("IfMatch") and operation == "PutObject":
            # "How to prevent object overwrites with conditional writes", S3 user guide: who writes by an ETag reads it.
            yield Need("s3:GetObject", f"{bucket}/{request['Key']}")
        if request.get("ObjectLockMode"):
            yield Need("s3:PutObjectRetention", f"{bucket}/{request['Key']}")
        if source := request.get("CopySource"):
            yield Need("s3:GetObject", f"arn:aws:s3:::{source['Bucket']}/{source['Key']}")


def needs_of_keys(operation: str, request: Mapping[str, Any], parameters: Mapping[str, str]) -> Iterator[Need]:
    """Yield what KMS asks of the role for a call of S3, where each bucket has a key of its own."""
    source = request.get("CopySource")
    asked = [(request.get("Bucket", ""), _WITH_KEY.get(operation, ())), (source and source["Bucket"], ("kms:Decrypt",))]
    for bucket, actions in asked:
        key = next((key for name, key in _KEYS.items() if bucket and parameters[name] == bucket), None)
        yield from (Need(action, f"${{{key}}}") for action in actions if key)


NOTED: dict[Right, set[str]] = {}
"""The calls that needed a right, of those that no other right of the same role allows too."""


def not_allowed(name: str, wanted: Iterable[Need], parameters: Mapping[str, str], operation: str = "") -> list[Need]:
    """Return what a function, or a machine, needs and its role does not allow; note what a call needed."""
    refused = []
    for need in wanted:
        found = {grant.right for grant in _grants_of(name, frozenset(parameters.items())) if grant.covers(need)}
        if not found:
            refused.append(need)
        elif operation and len(found) == 1:
            NOTED.setdefault(found.pop(), set()).add(operation)
    return refused


def read_batches(client: S3Client, machine: str, told: Mapping[str, Any], settings: Mapping[str, str]) -> list[Any]:
    """Return the items that a function tells the distributed Map of a machine to read, within the machine's role.

    Args:
        client: What reads them.
        machine: Its name in the template.
        told: What the function returned, with `bucket` and `batches_key`.
        settings: The environment of the functions.
    """
    needed = list(needs("GetObject", {"Bucket": told["bucket"], "Key": told["batches_key"]}))
    needed += needs_of_keys("GetObject", {"Bucket": told["bucket"]}, _parameters(settings))
    assert not_allowed(machine, needed, _parameters(settings), "GetObject") == []
    items: list[Any] = json.loads(client.get_object(Bucket=told["bucket"], Key=told["batches_key"])["Body"].read())
    return items


def _parameters(settings: Mapping[str, str]) -> dict[str, str]:
    return {parameter: settings.get(setting, "") for parameter, setting in PARAMETERS.items()}


def needed_by_machines() -> dict[Right, set[str]]:
    """Return of each right of a machine what in its definition asks for it, but for what its Maps read.

    Raises `AssertionError` where a machine's role does not allow what it asks for.
    """
    found: dict[Right, set[str]] = {}
    for machine in machines():
        grants = _grants_of(machine.name, _NO_PARAMETERS)
        for asking, need in needs_of_machine(machine):
            rights = {grant.right for grant in grants if grant.covers(need)}
            assert rights, f"{machine.name} has not {need.action} on {need.resource}, for {asking}"
            for right in rights:
                found.setdefault(right, set()).add(asking)
    return found


def needs_of_machine(machine: Machine) -> Iterator[tuple[str, Need]]:
    """Yield what a machine's definition asks of its role, with what asks for it, but for what its Maps read.

    As AWS says in "IAM policies for integrated services", "IAM policies for using Distributed Map states", and of
    traces and logs of machines. Resources are those of any stack.
    """
    for state in machine.states():
        is_distributed = state.body.get("ItemProcessor", {}).get("ProcessorConfig", {}).get("Mode") == "DISTRIBUTED"
        if state.is_lambda:
            yield state.name, Need("lambda:InvokeFunction", f"${{{state.name}Function.Arn}}")
        elif state.body["Type"] == "Task":
            yield from _needs_of_integration(state.body)
        elif is_distributed:
            # Executions of children are named by the Map, too; those of the machine itself are not.
            ends = (("Start", ""), *itertools.product(("Describe", "Stop", "Redrive"), (":1", "/Map:1")))
            yield from (("distributed Map", _need_of_execution(verb, _kind(machine.name), end)) for verb, end in ends)
    if machine.properties["Tracing"]["Enabled"]:
        yield from (("traces", Need(action, "*")) for action in TRACES)
    if machine.properties["Logging"]["Destinations"]:
        yield from (("logs", Need(action, "*")) for action in LOG_DELIVERY)


def _needs_of_integration(state: Data) -> Iterator[tuple[str, Need]]:
    """Yield what a Task needs that starts another machine, and waits for it or does not."""
    integration = state["Resource"].rpartition(":states:")[2]
    kind = _kind(state["Parameters"]["StateMachineArn"][2:-1].removesuffix("Arn"))
    yield integration, _need_of_execution("Start", kind)
    if integration.endswith(".sync:2"):
        yield from ((integration, _need_of_execution(verb, kind, ":1")) for verb in ("Describe", "Stop"))
        for action in ("PutTargets", "PutRule", "DescribeRule"):
            yield integration, Need(f"events:{action}", f"arn:aws:events:::rule/{_RULE_OF_NESTED}")


def _need_of_execution(verb: str, kind: str, end: str = "") -> Need:
    place = "execution" if end else "stateMachine"
    return Need(f"states:{verb}Execution", f"arn:aws:states:::{place}:stack-{kind}{end}")


def is_of_a_function(client: Any) -> bool:
    """Return whether a boto3 client is one of our functions', and none of a test or of a server."""
    return str(client.meta.config.user_agent).startswith(_OURS)


@contextmanager
def guarded(handler_module: str, settings: Mapping[str, str]) -> Iterator[None]:
    """Fail a function that asks S3 for something that its role does not allow.

    An assertion, and no error of S3, since what is refused by name is handled here and there.
    """
    name = "".join(part.capitalize() for part in handler_module.partition(".")[0].split("_")) + "Function"
    parameters = _parameters(settings)
    # All calls of all threads come by one of these.
    call, direct_copy = vars(BaseClient)["_make_api_call"], DirectCopies.copy_object
    refused: list[str] = []

    def check(operation: str, wanted: Iterable[Need]) -> None:
        found = not_allowed(name, wanted, parameters, operation)
        refused.extend(f"{name} has not {need.action} on {need.resource} {sorted(need.keys)}" for need in found)

    def check_call(operation: str, request: Mapping[str, Any]) -> None:
        check(operation, needs(operation, request))
        check(operation, needs_of_keys(operation, request, parameters))

    def checked(self: Any, operation: str, request: Mapping[str, Any]) -> Any:
        is_s3 = self.meta.service_model.service_name == "s3"
        is_ours = is_of_a_function(self) and request.get("Key") != s3_direct.ANY_KEY if is_s3 else True
        if is_ours:
            check_call(operation, request)
        try:
            return call(self, operation, request)
        except ClientError as err:
            # Who may not list a bucket is told of a missing object that it is forbidden.
            if is_s3 and is_ours and err.response["Error"]["Code"] in {"404", "NoSuchKey"}:
                check(f"{operation} of what is not there", needs("ListObjectsV2", request))
            raise

    def checked_copy(self: DirectCopies, **request: Any) -> Any:
        check_call("CopyObject", request)
        return direct_copy(self, **request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseClient, "_make_api_call", checked)
        patch.setattr(DirectCopies, "copy_object", checked_copy)
        try:
            yield
        finally:
            if refused:
                raise AssertionError("; ".join(dict.fromkeys(refused)))


def within_role[**Arguments, Result](handler: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Return a handler that is held against its role, with the settings of the environment."""

    def held(*arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        with guarded(handler.__module__, os.environ):
            return handler(*arguments, **named)

    return held
