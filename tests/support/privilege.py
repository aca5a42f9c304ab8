"""What a function's role lets it do in S3, as the template says, and a guard that holds its calls against that."""

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
from mypy_boto3_s3 import S3Client

from milvus_vault.adapters import s3_direct
from milvus_vault.adapters.s3_direct import DirectCopies
from tests.template.loading import Data, actions_of, as_list, functions, machines, statements

# The parameters that resources are named by, each with the setting that tells a function the same.
PARAMETERS = {
    "BackupBucketName": "BACKUP_BUCKET_NAME",
    "BackupPrefix": "BACKUP_PREFIX",
    "ExportBucketName": "EXPORT_BUCKET_NAME",
    "ExportPrefix": "EXPORT_PREFIX",
    "MilvusBucketName": "MILVUS_BUCKET_NAME",
    "MilvusRootPath": "MILVUS_ROOT_PATH",
    "StagingPrefix": "STAGING_PREFIX",
}
_OURS = "milvus-vault/"
"""What the user agent of our own clients begins with; those of tests and servers are nobody's functions."""


class Need(NamedTuple):
    """One thing that a call asks of a role."""

    action: str
    resource: str
    keys: frozenset[str] = frozenset()
    """Condition keys that the request has."""


@dataclass(frozen=True, slots=True)
class Grant:
    """One thing that a role allows."""

    action: str
    pattern: re.Pattern[str]
    needs_keys: frozenset[str]

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


def grants(policies: list[Data], parameters: Mapping[str, str]) -> Iterator[Grant]:
    """Yield what policies allow in S3."""
    values = {"AWS::Partition": "aws", **parameters}
    for statement in statements(policies):
        for action in (action for action in actions_of(statement) if action.startswith("s3:")):
            for resource in as_list(statement["Resource"]):
                yield Grant(action, _pattern(resolved(resource, values)), _needed_keys(statement))


def _pattern(resource: str) -> re.Pattern[str]:
    """Return what an ARN with wildcards matches; an asterisk goes over slashes, too."""
    return re.compile(re.escape(resource).replace(r"\*", ".*"), re.DOTALL)


def _needed_keys(statement: Data) -> frozenset[str]:
    """Return the condition keys that must be in a request. Raises for a condition that is of another kind."""
    condition = statement.get("Condition", {})
    assert condition.keys() <= {"Null"}, condition
    keys: dict[str, str] = condition.get("Null", {})
    assert set(keys.values()) <= {"false"}, condition
    return frozenset(keys)


@cache
def _grants_of(name: str, parameters: frozenset[tuple[str, str]]) -> tuple[Grant, ...]:
    policies = {machine.name: machine.policies for machine in machines()}
    policies |= {function: found["Policies"] for function, found in functions().items()}
    return tuple(grants(policies[name], dict(parameters)))


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


def needs(operation: str, request: Mapping[str, Any]) -> Iterator[Need]:
    """Yield what S3 asks of the role for a call ("Actions, resources, and condition keys for Amazon S3").

    Raises `KeyError` for a call that nobody has said it of yet.
    """
    bucket = f"arn:aws:s3:::{request['Bucket']}"
    if operation in _ON_BUCKET:
        yield Need(_ON_BUCKET[operation], bucket)
    elif operation == "DeleteObjects":
        for found in request["Delete"]["Objects"]:
            yield Need("s3:DeleteObject", f"{bucket}/{found['Key']}")
    else:
        keys = frozenset(key for header, key in _HEADERS.items() if request.get(header))
        yield Need(_ON_OBJECT[operation], f"{bucket}/{request['Key']}", keys)
        if request.get("ObjectLockMode"):
            yield Need("s3:PutObjectRetention", f"{bucket}/{request['Key']}")
        if source := request.get("CopySource"):
            yield Need("s3:GetObject", f"arn:aws:s3:::{source['Bucket']}/{source['Key']}")


def not_allowed(name: str, wanted: Iterable[Need], parameters: Mapping[str, str]) -> list[Need]:
    """Return what a function, or a machine, needs and its role does not allow."""
    allowed = _grants_of(name, frozenset(parameters.items()))
    return [need for need in wanted if not any(grant.covers(need) for grant in allowed)]


def read_batches(client: S3Client, machine: str, told: Mapping[str, Any], settings: Mapping[str, str]) -> list[Any]:
    """Return the items that a function tells the distributed Map of a machine to read, within the machine's role.

    Args:
        client: What reads them.
        machine: Its name in the template.
        told: What the function returned, with `bucket` and `batches_key`.
        settings: The environment of the functions.
    """
    needed = list(needs("GetObject", {"Bucket": told["bucket"], "Key": told["batches_key"]}))
    assert not_allowed(machine, needed, _parameters(settings)) == []
    items: list[Any] = json.loads(client.get_object(Bucket=told["bucket"], Key=told["batches_key"])["Body"].read())
    return items


def _parameters(settings: Mapping[str, str]) -> dict[str, str]:
    return {parameter: settings.get(setting, "") for parameter, setting in PARAMETERS.items()}


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

    def check(operation: str, request: Mapping[str, Any]) -> None:
        found = not_allowed(name, needs(operation, request), parameters)
        refused.extend(f"{name} has not {need.action} on {need.resource} {sorted(need.keys)}" for need in found)

    def checked(self: Any, operation: str, request: Mapping[str, Any]) -> Any:
        is_sent = request.get("Key") != s3_direct.ANY_KEY
        if is_sent and is_of_a_function(self) and self.meta.service_model.service_name == "s3":
            check(operation, request)
        return call(self, operation, request)

    def checked_copy(self: DirectCopies, **request: Any) -> Any:
        check("CopyObject", request)
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
