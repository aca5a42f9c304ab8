"""Run the state machines to their end, and look at what they leave in the buckets."""

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

from pymilvus import MilvusClient

from local.stack import Deployment, LocalStack
from milvus_vault.adapters.s3 import S3ObjectStore
from tests.support import library

type Machine = Literal["Backup", "Restore", "Verify", "Prune", "Export", "Drill"]
type Stack = Deployment | LocalStack

TIMEOUT_SECONDS = 300.0

STAGING = "milvus-vault-staging/"

EXPORTS = "milvus-vault-exports"
"""The folder to which exports to another place go, unless a stack names another."""


@dataclass(frozen=True, slots=True)
class Failure:
    """How an execution failed: the name of its error, and what it says of it."""

    error: str
    cause: str
    execution: str
    """Name of the execution."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How an execution ended, either way."""

    execution: str
    """Name of the execution."""
    status: str
    raw_output: str
    error: str
    cause: str

    @property
    def output(self) -> dict[str, Any]:
        """Return the output of an execution that must have succeeded."""
        assert self.status == "SUCCEEDED", (self.error, self.cause)
        output: dict[str, Any] = json.loads(self.raw_output)
        return output

    @property
    def failure(self) -> Failure:
        """Return how an execution failed that must have failed."""
        assert self.status == "FAILED", (self.status, self.raw_output)
        return Failure(self.error, self.cause, self.execution)


def start(stack: Stack, machine: Machine, request: Mapping[str, Any]) -> str:
    """Start a machine, and return the execution's ARN."""
    return stack.start(f"{machine}StateMachineArn", request)


def run(stack: Stack, machine: Machine, request: Mapping[str, Any]) -> Ended:
    """Run a machine to its end."""
    arn = start(stack, machine, request)
    described = stack.wait(arn, TIMEOUT_SECONDS)
    return Ended(
        execution=arn.rpartition(":")[2],
        status=described["status"],
        raw_output=described.get("output", ""),
        error=described.get("error", ""),
        cause=described.get("cause", ""),
    )


def run_all(
    stack: Stack, machine: Machine, requests: Mapping[str, Mapping[str, Any]], at_a_time: int = 3
) -> dict[str, Ended]:
    """Run a machine for many requests, some at a time, and return how each ended, by the request's name.

    Few at a time: each run that goes on beside others needs workers of its own.
    """
    with ThreadPoolExecutor(at_a_time) as pool:
        ended = pool.map(lambda request: run(stack, machine, request), requests.values())
        return dict(zip(requests, ended, strict=True))


def function_name(client: Callable[[str], Any], stack_name: str, state: str) -> str:
    """Return the name that a function of a stack has, of however many pages of other stacks' functions.

    `client` gives the client of a service.
    """
    pages = client("lambda").get_paginator("list_functions").paginate()
    names = [found["FunctionName"] for page in pages for found in page["Functions"]]
    (name,) = (name for name in names if name.startswith(f"{stack_name}-{state}Function"))
    found: str = name
    return found


def fire(client: Callable[[str], Any], schedule: str) -> str:
    """Do what EventBridge does at a schedule's time, and return the execution's ARN.

    `client` gives the client of a service. The emulator would do it too, once the time has come.
    """
    listed = client("scheduler").list_schedules()["Schedules"]
    (group,) = (found["GroupName"] for found in listed if found["Name"] == schedule)
    target = client("scheduler").get_schedule(GroupName=group, Name=schedule)["Target"]
    started = client("stepfunctions").start_execution(stateMachineArn=target["Arn"], input=target["Input"])
    arn: str = started["executionArn"]
    return arn


def succeed(stack: Stack, machine: Machine, request: Mapping[str, Any]) -> dict[str, Any]:
    """Run a machine that must succeed, and return its output."""
    return run(stack, machine, request).output


def back_up_library(stack: Stack, uri: str, database: str) -> library.Contents:
    """Fill a database, make two incremental backups of it and a full one, and return what the newer ones have.

    They are `night_1`, of before some more rows, `night_2` and `weekly`.
    """
    library.fill(uri, database)
    selected = {"collections": [f"{database}.*"]}
    succeed(stack, "Backup", {"backup_name": "night_1", "mode": "incremental", **selected})
    client = MilvusClient(uri, db_name=database)
    client.insert("drafts", library.rows(range(1000, 1020)))
    client.flush("drafts")
    client.close()
    for name, mode in (("night_2", "incremental"), ("weekly", "full")):
        succeed(stack, "Backup", {"backup_name": name, "mode": mode, **selected})
    return library.look(uri, database)


def fail(stack: Stack, machine: Machine, request: Mapping[str, Any]) -> Failure:
    """Run a machine that must fail, and return how."""
    return run(stack, machine, request).failure


def restore(stack: Stack, request: Mapping[str, Any]) -> dict[str, Any]:
    """Run a restore that must succeed. The server of these tests is older than the version matrix begins."""
    return succeed(stack, "Restore", {"allow_version": True, **request})


def restore_all(stack: Stack, requests: Mapping[str, Mapping[str, Any]], at_a_time: int = 3) -> dict[str, Any]:
    """Run restores that must all succeed, some at a time, and return their outputs by name."""
    allowed = {name: {"allow_version": True, **request} for name, request in requests.items()}
    return {name: ended.output for name, ended in run_all(stack, "Restore", allowed, at_a_time).items()}


def report(stack: Stack, output: Mapping[str, Any]) -> dict[str, Any]:
    """Return the report that a restore wrote."""
    s3 = stack.ministack.client("s3")
    answer = s3.get_object(Bucket=stack.outputs["BackupBucketName"], Key=output["report_key"])
    document: dict[str, Any] = json.loads(answer["Body"].read())
    return document


def listing(stack: Stack, bucket: str, prefix: str = "") -> dict[str, str]:
    """Return the ETags of all objects by key."""
    pages = stack.ministack.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return {found["Key"]: found["ETag"] for page in pages for found in page.get("Contents", ())}


def staged(stack: Stack) -> set[str]:
    """Return the keys of all objects that are staged in Milvus' bucket, without the claims of targets."""
    keys = listing(stack, stack.milvus.bucket, STAGING)
    return {key for key in keys if not key.startswith(f"{STAGING}claims/")}


def dataset_files(stack: LocalStack, location: str, collection: str) -> list[bytes]:
    """Return the files of a collection in a dataset, in the order of their names."""
    bucket, _, folder = location.removeprefix("s3://").partition("/")
    store = local_store(stack)
    return [store.get(bucket, key) for key in sorted(listing(stack, bucket, f"{folder}{collection}/"))]


def local_store(stack: LocalStack) -> S3ObjectStore:
    """Return the store of the local stack's S3."""
    client = stack.client("s3")
    return S3ObjectStore(client, client, ThreadPoolExecutor(1))
