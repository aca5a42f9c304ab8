"""Items about what is deployed: the stack, its functions, and its API."""

import time
from collections.abc import Iterator
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from milvus_vault.acceptance.account import FUNCTION, MACHINE
from milvus_vault.acceptance.items import Finding, failed, item, judged, not_possible, passed
from milvus_vault.acceptance.trial import Trial

_STABLE = {"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE"}
_FORBIDDEN = 403


def is_stable(status: str) -> bool:
    """Return whether a stack of this status is as somebody wanted it, and nobody changes it now."""
    return status in _STABLE


@item(1)
def stack_status(trial: Trial) -> Finding:
    """The stack is deployed, and nobody is changing it."""
    if is_stable(trial.stack.status):
        return passed(f"{trial.stack.status}, {len(trial.stack.resources)} resources")
    return failed(
        f"the stack is {trial.stack.status}",
        "Wait until its update is done, or deploy it again; until then only items that write nothing are tried.",
    )


@item(1)
def definitions(trial: Trial) -> Finding:
    """The state machines are active, and their definitions in YAML were substituted."""
    return judged(_machine_problems(trial), f"{len(trial.stack.of_type(MACHINE))} state machines are active")


def _machine_problems(trial: Trial) -> Iterator[str]:
    for name, arn in trial.stack.of_type(MACHINE).items():
        status, definition = trial.account.machine(arn)
        if status != "ACTIVE":
            yield f"{name} is {status}"
        if left := definition.count("${"):
            yield f"{name} has {left} placeholders left"


@item(1)
def buckets(trial: Trial) -> Finding:
    """The backup bucket is of this account and in the stack's Region, and so is Milvus' bucket."""
    hint = "Deploy in the Region of both buckets, and name buckets of this account."
    return judged(_bucket_problems(trial), f"both are in {trial.account.region}", hint)


def _bucket_problems(trial: Trial) -> Iterator[str]:
    for bucket in (trial.bucket, trial.stack.parameters["MilvusBucketName"]):
        if not trial.account.is_own(bucket):
            yield f"{bucket} is a bucket of another account, or may not be listed"
        elif (region := trial.account.bucket_region(bucket)) != trial.account.region:
            yield f"{bucket} is in {region}, and the stack in {trial.account.region}"


@item(2)
def functions_start(trial: Trial) -> Finding:
    """The layers are for the processor of the functions: one that reads binlogs and one that calls Milvus start."""
    return judged(_function_problems(trial), f"{len(trial.stack.of_type(FUNCTION))} functions are active")


def _function_problems(trial: Trial) -> Iterator[str]:
    architecture = trial.stack.parameters.get("Architecture", "arm64")
    for name, function in trial.stack.of_type(FUNCTION).items():
        state, found, _ = trial.account.function(function)
        # A function that nobody has called for weeks is Inactive, and wakes up with the next call.
        if state not in {"Active", "Inactive", ""}:
            yield f"{name} is {state}"
        if found != architecture:
            yield f"{name} is for {found}, not for {architecture}"
    for name in ("PlanCopyFunction", "AdvanceRestoreFunction"):
        error = trial.account.invoke(trial.stack.physical(name), {})
        if error != "InvalidRequestError":
            yield f"{name} ends an empty request with '{error}' in place of InvalidRequestError"


@item(4)
def connections(trial: Trial) -> Finding:
    """The functions reach Milvus, S3 and Secrets Manager, and may do what backups and restores need."""
    began = time.monotonic()
    report = trial.vault.check()
    seconds = time.monotonic() - began
    bad = [one for one in report.checks if one.verdict == "failed"]
    hint = next((one.hint for one in bad if one.hint), "")
    evidence = f"{len(report.checks)} checks in {seconds:.1f} s, Milvus {report.milvus_version}"
    return judged((f"{one.name}: {one.error}: {one.message}" for one in bad), evidence, hint)


@item(4)
def vpc_endpoints(trial: Trial) -> Finding:
    """In a VPC the endpoints for S3, Secrets Manager and Step Functions are there, or a NAT gateway is."""
    subnets = trial.stack.parameters.get("VpcSubnetIds", "")
    if not subnets:
        return not_possible("the functions are in no VPC")
    found = trial.account.vpc_endpoints(subnets.split(",")[0].strip())
    missing = [name for name in ("s3", "secretsmanager", "states") if found.get(name) != "available"]
    if not missing:
        return passed("the VPC has endpoints for s3, secretsmanager and states")
    return not_possible(
        f"the VPC has no endpoint for {', '.join(missing)}, which a NAT gateway makes good",
        "Look at the item connections: it has passed if there is a way.",
    )


@item(17)
def api_answers(trial: Trial) -> Finding:
    """The API answers signed requests within its 29 s."""
    seconds = []
    for _ in range(3):
        began = time.monotonic()
        next(trial.vault.run_pages(), None)
        seconds.append(time.monotonic() - began)
    return passed(f"GET /runs answers in {seconds[0]:.2f} s, and then in {min(seconds[1:]):.2f} s")


@item(17, emulator="takes every request, signed or not")
def api_is_closed(trial: Trial) -> Finding:
    """The API refuses a request that nobody signed."""
    try:
        with urlopen(Request(trial.vault.url.rstrip("/") + "/runs"), timeout=30) as answer:  # noqa: S310 - the API's own address
            return failed(f"an unsigned request is answered with {answer.status}", "Anybody can read the runs.")
    except HTTPError as err:
        problems = [] if err.code == _FORBIDDEN else [f"an unsigned request is answered with {err.code}, not with 403"]
        return judged(problems, "403 for an unsigned request")
    except (OSError, HTTPException) as err:
        return failed(f"the API cannot be reached: {err}", "Check the network.")
