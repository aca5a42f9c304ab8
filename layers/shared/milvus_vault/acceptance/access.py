"""Items about rights: what each role may do, what its neighbours' rights are, and who may use it."""

from collections.abc import Iterator
from typing import NamedTuple

from milvus_vault.acceptance.account import ROLE, Account
from milvus_vault.acceptance.items import Finding, item, judged, not_possible
from milvus_vault.acceptance.trial import Trial

# In a template of SAM, a function has the role of its own name and this ending.
_FUNCTION_ROLE, _MACHINE_ROLE = "FunctionRole", "StateMachineRole"

_PUBLISHER = "PublishBackupFunctionRole"


class _Neighbour(NamedTuple):
    """Two things that are alike, of which a role may do only the first."""

    role: str
    allowed: tuple[str, str]
    denied: tuple[str, str]


@item(5)
def machine_roles(trial: Trial) -> Finding:
    """Each state machine may start what it starts, and not its neighbours."""
    neighbours = list(_machine_neighbours(trial))
    return judged(
        _crossed(trial.account, trial, neighbours), f"{len(neighbours)} pairs of neighbours, by IAM's simulation"
    )


def _machine_neighbours(trial: Trial) -> Iterator[_Neighbour]:
    outputs = trial.stack.outputs
    start = "states:StartExecution"
    copy, restore = outputs["CopyObjectsStateMachineArn"], outputs["RestoreStateMachineArn"]
    backup, check = outputs["BackupStateMachineArn"], outputs["CheckObjectsStateMachineArn"]
    folder = f"{_s3(trial.account, trial.bucket)}/{trial.folder}"
    yield _Neighbour("BackupStateMachineRole", (start, copy), (start, restore))
    yield _Neighbour("RestoreStateMachineRole", (start, copy), (start, backup))
    yield _Neighbour("VerifyStateMachineRole", (start, check), (start, copy))
    yield _Neighbour("DrillStateMachineRole", (start, restore), (start, backup))
    yield _Neighbour("ExportStateMachineRole", (start, copy), (start, restore))
    yield _Neighbour(
        "CopyObjectsStateMachineRole",
        ("s3:GetObject", f"{folder}.runs/backup-x/copy/a/r1/batches.json"),
        ("s3:GetObject", f"{folder}x/meta/backup_meta.json"),
    )


def _crossed(account: Account, trial: Trial, neighbours: list[_Neighbour]) -> Iterator[str]:
    for name, allowed, denied in neighbours:
        arn = account.role_arn(trial.stack.physical(name))
        if not account.may(arn, *allowed):
            yield f"{name} may not {allowed[0]} what it has to"
        if account.may(arn, *denied):
            yield f"{name} may {denied[0]} what is not its own"


@item(6)
def no_role_harms_milvus(trial: Trial) -> Finding:
    """No role of the stack may delete or overwrite what Milvus has in its bucket."""
    bucket = trial.stack.parameters["MilvusBucketName"]
    root = trial.stack.parameters.get("MilvusRootPath", "").strip("/")
    resource = f"{_s3(trial.account, bucket)}/{f'{root}/' if root else ''}insert_log/1/2/3/4/5"
    roles = _arns(trial)
    found = (
        f"{name} may {action} Milvus' own objects"
        for name, arn in roles.items()
        for action in ("s3:DeleteObject", "s3:PutObject")
        if trial.account.may(arn, action, resource)
    )
    return judged(found, f"{len(roles)} roles, by IAM's simulation", "Compare the role with the template's.")


@item(6)
def markers_are_written_once(trial: Trial) -> Finding:
    """No role of the stack may write a marker without the condition that nobody else has."""
    roles, resource = _arns(trial), _marker_arn(trial)
    found = (
        f"{name} may write a marker without a condition"
        for name, arn in roles.items()
        if trial.account.may(arn, "s3:PutObject", resource)
    )
    return judged(found, f"{len(roles)} roles, by IAM's simulation", "Compare the role with the template's.")


@item(6, emulator="leaves conditions out of its simulation")
def publisher_writes_markers(trial: Trial) -> Finding:
    """The role that publishes may write a marker on the condition that there is none."""
    arn = trial.account.role_arn(trial.stack.physical(_PUBLISHER))
    is_allowed = trial.account.may(arn, "s3:PutObject", _marker_arn(trial), {"s3:if-none-match": "*"})
    return judged([] if is_allowed else ["it may not"], "allowed with s3:if-none-match, by IAM's simulation")


def _marker_arn(trial: Trial) -> str:
    return f"{_s3(trial.account, trial.bucket)}/{trial.folder}x/meta/backup_meta.json"


@item(6)
def secrets_are_milvus_own(trial: Trial) -> Finding:
    """No role of the stack reads another secret than that of Milvus."""
    place = f"{_partition(trial.account)}:secretsmanager:{trial.account.region}:{trial.account.number}"
    resource = f"arn:{place}:secret:other-aBcDeF"
    roles = _arns(trial)
    found = (
        f"{name} may read any secret"
        for name, arn in roles.items()
        if trial.account.may(arn, "secretsmanager:GetSecretValue", resource)
    )
    return judged(found, f"{len(roles)} roles, by IAM's simulation")


@item(23)
def trust(trial: Trial) -> Finding:
    """Only Step Functions and Scheduler use the roles of machines and schedules, and only for this stack's."""
    names = [name for name in trial.stack.of_type(ROLE) if name.endswith((_MACHINE_ROLE, "ScheduleRole"))]
    found = [problem for name in names for problem in _trust_problems(trial, name)]
    return judged(found, f"{len(names)} roles have aws:SourceAccount and aws:SourceArn in their trust")


def _trust_problems(trial: Trial, name: str) -> Iterator[str]:
    statements = trial.account.trust(trial.stack.physical(name))
    service = "scheduler" if name.endswith("ScheduleRole") else "states"
    for statement in statements:
        said = str(statement.get("Condition", {}))
        if statement["Principal"].get("Service") != f"{service}.amazonaws.com":
            yield f"{name} is trusted to {statement['Principal']}"
        if "aws:SourceAccount" not in said or "aws:SourceArn" not in said:
            yield f"{name} is trusted without aws:SourceAccount and aws:SourceArn"
        elif service == "states" and f":stateMachine:{trial.stack.name}-" not in said:
            yield f"{name} is trusted for machines of other names"


@item(23)
def bucket_policy(trial: Trial) -> Finding:
    """A bucket that the stack made takes TLS alone, and markers under a condition alone."""
    if trial.stack.parameters.get("BackupBucketName"):
        return not_possible("the stack was given a bucket, whose policy is yours")
    denied = [one for one in trial.account.bucket_statements(trial.bucket) if one["Effect"] == "Deny"]
    texts = [str(one.get("Condition", {})) for one in denied]
    problems = [
        f"no statement denies by {key}"
        for key in ("aws:SecureTransport", "s3:if-none-match")
        if not any(key in text for text in texts)
    ]
    return judged(problems, f"{len(denied)} statements deny the rest")


@item(23)
def queue_takes_tls_only(trial: Trial) -> Finding:
    """The queue of dead letters takes TLS alone."""
    statements = trial.account.queue_statements(trial.stack.outputs["DeadLetterQueueUrl"])
    denied = [one for one in statements if one["Effect"] == "Deny" and "aws:SecureTransport" in str(one["Condition"])]
    return judged([] if denied else ["no statement denies requests without TLS"], "requests without TLS are denied")


@item(24)
def object_lock(trial: Trial) -> Finding:
    """A bucket that the stack made with Object Lock knows it, so that backups can be locked."""
    if trial.stack.parameters.get("ObjectLock") != "true":
        return not_possible("the stack was deployed without ObjectLock")
    problems = [] if trial.account.keeps_locks(trial.bucket) else ["the bucket does not know Object Lock"]
    return judged(
        problems, "the bucket knows Object Lock", "A bucket gets it when it is made: deploy with another one."
    )


@item(23)
def kms_by_way_of_s3_only(trial: Trial) -> Finding:
    """With a key of KMS, the roles use it by way of S3 and not otherwise."""
    key = trial.stack.parameters.get("KmsKeyArn", "")
    if not key:
        return not_possible("the stack has no KmsKeyArn")
    copier = trial.stack.outputs["CopyBatchRoleArn"]
    problems = []
    for service, expected in (("s3", True), ("ec2", False)):
        via = {"kms:ViaService": f"{service}.{trial.account.region}.amazonaws.com"}
        problems += [
            f"{action} by way of {service} is {'denied' if expected else 'allowed'}"
            for action in ("kms:Decrypt", "kms:GenerateDataKey")
            if trial.account.may(copier, action, key, via) is not expected
        ]
    return judged(problems, "Decrypt and GenerateDataKey by way of S3, and not of EC2, by IAM's simulation")


def _arns(trial: Trial) -> dict[str, str]:
    """Return the ARNs of the roles of functions and machines, by logical ID."""
    roles = trial.stack.of_type(ROLE)
    return {
        name: trial.account.role_arn(physical)
        for name, physical in roles.items()
        if name.endswith((_FUNCTION_ROLE, _MACHINE_ROLE))
    }


def _partition(account: Account) -> str:
    return account.identity.split(":")[1]


def _s3(account: Account, bucket: str) -> str:
    return f"arn:{_partition(account)}:s3:::{bucket}"
