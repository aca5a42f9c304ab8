"""A deployment as it should be, of which each test spoils one thing."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, override

import boto3
import pytest

from milvus_vault.acceptance.account import ALARM, FUNCTION, MACHINE, ROLE, Account, Entered, Execution, Stack
from milvus_vault.acceptance.trial import Trial
from milvus_vault.client import VaultClient, waiting
from tests.support.fake_api import FakeApi

NUMBER, REGION = "123456789012", "eu-west-1"
BEGAN = datetime(2026, 3, 1, tzinfo=UTC)
TOPIC = f"arn:aws:sns:{REGION}:{NUMBER}:alarms"
FUNCTIONS = ("PlanCopyFunction", "AdvanceRestoreFunction", "PublishBackupFunction", "VerifyBackupFunction")
MACHINES = ("Backup", "Restore", "Verify", "Prune", "Export", "Drill", "CopyObjects", "CheckObjects", "WriteRows")


def machine_arn(name: str) -> str:
    """Return the ARN of a state machine."""
    return f"arn:aws:states:{REGION}:{NUMBER}:stateMachine:vault-{name}"


def good_stack() -> Stack:
    """Return a stack that is whole."""
    resources = {name: (FUNCTION, f"vault-{name}") for name in FUNCTIONS}
    resources |= {f"{name}Role": (ROLE, f"vault-{name}Role") for name in FUNCTIONS}
    resources |= {f"{name}StateMachine": (MACHINE, machine_arn(name)) for name in MACHINES}
    resources |= {f"{name}StateMachineRole": (ROLE, f"vault-{name}StateMachineRole") for name in MACHINES}
    resources |= {name: (ROLE, f"vault-{name}") for name in ("ScheduleRole", "PruneScheduleRole")}
    resources |= {name: (ALARM, f"vault-{name}") for name in ("RunFailedAlarm", "DeadLettersAlarm")}
    resources |= {
        "Dashboard": ("AWS::CloudWatch::Dashboard", "vault"),
        "Api": ("AWS::ApiGateway::RestApi", "abc123"),
        "FunctionLogs": ("AWS::Logs::LogGroup", "/milvus-vault/vault/functions"),
        "StateMachineLogs": ("AWS::Logs::LogGroup", "/aws/vendedlogs/states/vault"),
    }
    return Stack(
        "vault",
        "CREATE_COMPLETE",
        {
            "Architecture": "arm64",
            "MilvusBucketName": "milvus",
            "MilvusRootPath": "files",
            "MilvusUri": "",
            "StagingPrefix": "staging",
            "CopyConcurrency": "16",
            "ObjectLock": "true",
            "VpcSubnetIds": "subnet-1,subnet-2",
            "KmsKeyArn": f"arn:aws:kms:{REGION}:{NUMBER}:key/k",
        },
        {
            "BackupBucketName": "backups",
            "BackupPrefix": "milvus-vault",
            "AlarmTopicArn": TOPIC,
            "DeadLetterQueueUrl": f"https://sqs.{REGION}.amazonaws.com/{NUMBER}/dead",
            "CopyBatchRoleArn": f"arn:aws:iam::{NUMBER}:role/vault-CopyBatchFunctionRole",
            **{f"{name}StateMachineArn": machine_arn(name) for name in MACHINES},
        },
        resources,
    )


class GoodAccount(Account):
    """AWS as it answers where all is well."""

    def __init__(self) -> None:
        """Ask nobody."""
        session = boto3.Session(aws_access_key_id="a", aws_secret_access_key="b", region_name=REGION)
        super().__init__(session, "vault")
        self.stack = good_stack()
        self.identity = f"arn:aws:sts::{NUMBER}:assumed-role/Admin/alice"
        self.refused: set[tuple[str, str]] = set()
        """Rights that a role lacks: the end of its name, and the action."""
        self.added: set[tuple[str, str]] = set()
        """Rights that a role has too many."""

    @override
    def machine(self, arn: str) -> tuple[str, str]:
        return "ACTIVE", "{}"

    @override
    def is_own(self, bucket: str) -> bool:
        return True

    @override
    def keeps_locks(self, bucket: str) -> bool:
        return True

    @override
    def bucket_region(self, bucket: str) -> str:
        return REGION

    @override
    def function(self, name: str) -> tuple[str, str, int]:
        return "Active", "arm64", 2048

    @override
    def invoke(self, name: str, event: Mapping[str, Any]) -> str:
        return "InvalidRequestError"

    @override
    def vpc_endpoints(self, subnet_id: str) -> dict[str, str]:
        return dict.fromkeys(("s3", "secretsmanager", "states"), "available")

    @override
    def role_arn(self, role_name: str) -> str:
        return f"arn:aws:iam::{NUMBER}:role/{role_name}"

    @override
    def trust(self, role_name: str) -> list[Mapping[str, Any]]:
        service = "scheduler" if role_name.endswith("ScheduleRole") else "states"
        condition = {"ArnLike": {"aws:SourceArn": f"arn:aws:{service}:x:y:stateMachine:vault-*"}}
        said = {"StringEquals": {"aws:SourceAccount": NUMBER}, **condition}
        return [{"Principal": {"Service": f"{service}.amazonaws.com"}, "Condition": said}]

    @override
    def may(self, role_arn: str, action: str, resource: str, context: Mapping[str, str] | None = None) -> bool:
        for name, done in self.refused | self.added:
            if role_arn.endswith(name) and done == action:
                return (name, done) in self.added
        role = role_arn.rpartition("/vault-")[2].removesuffix("StateMachineRole")
        if action == "states:StartExecution":
            target = resource.rpartition("-")[2]
            wanted = {"Verify": "CheckObjects", "Drill": "Restore"}.get(role, "CopyObjects")
            return target == wanted
        if action == "s3:PutObject":
            return bool(context) and role == "PublishBackupFunctionRole"
        if action == "s3:GetObject":
            return resource.endswith("batches.json")
        return action.startswith("kms:") and bool(context) and str(context).find("'s3.") >= 0

    @override
    def bucket_statements(self, bucket: str) -> list[Mapping[str, Any]]:
        keys = ("aws:SecureTransport", "s3:if-none-match")
        return [{"Effect": "Deny", "Condition": {"Null": {key: "true"}}} for key in keys]

    @override
    def queue_statements(self, queue_url: str) -> list[Mapping[str, Any]]:
        return [{"Effect": "Deny", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}]

    @override
    def queue_length(self, queue_url: str) -> int:
        return 0

    @override
    def concurrency(self) -> int:
        return 1000

    @override
    def quotas(self, service: str) -> dict[str, float]:
        return {"StateTransition throttle token refill rate": 800.0, "Registered activities": 10_000.0}

    @override
    def api_rate(self) -> float:
        return 10_000.0

    @override
    def api_stage_rate(self, api_id: str, stage: str) -> float:
        return 25.0

    @override
    def alarm(self, name: str) -> tuple[str, list[str]]:
        return "OK", [TOPIC]

    @override
    def subscriptions(self, topic_arn: str) -> list[str]:
        return [f"{TOPIC}:1"]

    @override
    def widgets(self, dashboard: str) -> list[Mapping[str, Any]]:
        return [{}]

    @override
    def executions_since(self, machine_arn: str, since: datetime) -> list[str]:
        return []

    @override
    def execution(self, arn: str) -> Execution | None:
        return Execution(arn, "SUCCEEDED", "", "", {})

    @override
    def entered(self, arn: str) -> Entered:
        return Entered(13, 5)

    @override
    def keys(self, bucket: str, prefix: str) -> list[str]:
        return []


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeApi]:
    """Run a fake API."""
    monkeypatch.setattr(waiting, "FIRST_POLL_SECONDS", 0.01)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with FakeApi() as running:
        yield running


@pytest.fixture
def account() -> GoodAccount:
    """Return an account in which all is well."""
    return GoodAccount()


@pytest.fixture
def trial(api: FakeApi, account: GoodAccount) -> Trial:
    """Return a trial that only reads."""
    return Trial(
        VaultClient(api.url, account.session), account, "vault_acceptance_0a1b2c3d_", "marked", may_write=False,
        began=BEGAN,
    )  # fmt: skip
