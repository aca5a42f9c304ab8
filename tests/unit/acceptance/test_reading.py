"""Each item that reads passes where all is well, and fails by what is not."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from milvus_vault.acceptance.items import Need, items
from milvus_vault.acceptance.trial import Trial
from milvus_vault.acceptance.trying import conduct
from milvus_vault.errors import ApiAccessDeniedError
from tests.support.fake_api import Answer, FakeApi
from tests.unit.acceptance.conftest import NUMBER, GoodAccount

BY_NAME = {one.name: one for one in items()}
READING = [one.name for one in items() if not (one.needs or one.is_manual or one.after)]

# It asks the network, and not the account.
ELSEWHERE = {"api_is_closed"}


@pytest.mark.parametrize("name", sorted(set(READING) - ELSEWHERE))
def test_where_all_is_well_it_passes(name: str, trial: Trial) -> None:
    found = BY_NAME[name].run(trial)
    assert found.verdict == "passed", found.evidence


def answering(name: str, answer: Any) -> Callable[[GoodAccount], None]:
    """Return what lets one question be answered otherwise."""
    return lambda account: setattr(account, name, lambda *_: answer)


def refusing(role: str, action: str) -> Callable[[GoodAccount], None]:
    return lambda account: account.refused.add((role, action))


def granting(role: str, action: str) -> Callable[[GoodAccount], None]:
    return lambda account: account.added.add((role, action))


SPOILED = [
    ("definitions", answering("machine", ("ACTIVE", "${X}")), "1 placeholders"),
    ("definitions", answering("machine", ("DELETING", "")), "is DELETING"),
    ("buckets", answering("is_own", False), "another account"),
    ("buckets", answering("bucket_region", "us-east-1"), "is in us-east-1, and the stack in eu-west-1"),
    ("functions_start", answering("function", ("Failed", "arm64", 1)), "is Failed"),
    ("functions_start", answering("function", ("Active", "x86_64", 1)), "is for x86_64"),
    ("functions_start", answering("invoke", "Runtime.ImportModuleError"), "Runtime.ImportModuleError"),
    ("machine_roles", refusing("BackupStateMachineRole", "states:StartExecution"), "may not states:StartExecution"),
    ("machine_roles", granting("DrillStateMachineRole", "states:StartExecution"), "what is not its own"),
    ("machine_roles", granting("CopyObjectsStateMachineRole", "s3:GetObject"), "CopyObjectsStateMachineRole may"),
    ("no_role_harms_milvus", granting("VerifyBackupFunctionRole", "s3:DeleteObject"), "VerifyBackupFunctionRole may"),
    ("no_role_harms_milvus", granting("PlanCopyFunctionRole", "s3:PutObject"), "PlanCopyFunctionRole may s3:PutObject"),
    ("markers_are_written_once", granting("PublishBackupFunctionRole", "s3:PutObject"), "without a condition"),
    ("publisher_writes_markers", refusing("PublishBackupFunctionRole", "s3:PutObject"), "it may not"),
    ("secrets_are_milvus_own", granting("PlanCopyFunctionRole", "secretsmanager:GetSecretValue"), "any secret"),
    ("kms_by_way_of_s3_only", granting("CopyBatchFunctionRole", "kms:Decrypt"), "kms:Decrypt by way of ec2 is allowed"),
    ("kms_by_way_of_s3_only", refusing("CopyBatchFunctionRole", "kms:Decrypt"), "kms:Decrypt by way of s3 is denied"),
    (
        "trust",
        answering("trust", [{"Principal": {"Service": "states.amazonaws.com"}}]),
        "is trusted without aws:SourceAccount",
    ),
    ("bucket_policy", answering("bucket_statements", []), "no statement denies by aws:SecureTransport"),
    ("queue_takes_tls_only", answering("queue_statements", []), "requests without TLS"),
    ("object_lock", answering("keeps_locks", False), "does not know Object Lock"),
    ("no_dead_letters", answering("queue_length", 3), "3 messages"),
    ("lambda_concurrency", answering("concurrency", 10), "10 at a time, and 26 are needed"),
    ("api_rate", answering("api_rate", 20.0), "the account takes 20 requests a second, the stage 25"),
    ("step_functions_rates", answering("quotas", {"StateTransition throttle token bucket size": 5.0}), "16 are needed"),
    ("alarms", answering("alarm", ("OK", [])), "does not tell the topic"),
    ("subscriptions", answering("subscriptions", ["PendingConfirmation"]), "1 wait to be confirmed"),
    ("dashboard", answering("widgets", []), "no widgets"),
]


@pytest.mark.parametrize(("name", "spoil", "said"), SPOILED, ids=[f"{name}: {said}" for name, _, said in SPOILED])
def test_what_is_wrong_fails_the_item_and_is_named(
    name: str, spoil: Callable[[GoodAccount], None], said: str, account: GoodAccount, trial: Trial
) -> None:
    spoil(account)
    found = BY_NAME[name].run(trial)
    assert (found.verdict, said in found.evidence) == ("failed", True), found.evidence


def test_each_item_that_reads_has_been_seen_to_fail() -> None:
    # The others ask the API, or find in the stack's parameters that there is nothing to look at.
    assert set(READING) - {name for name, *_ in SPOILED} == {
        "stack_status", "connections", "vpc_endpoints", "api_answers", "api_is_closed"
    }  # fmt: skip


def test_what_the_stack_does_not_have_is_not_possible(account: GoodAccount, trial: Trial) -> None:
    gone = {"VpcSubnetIds": "", "KmsKeyArn": "", "BackupBucketName": "mine", "ObjectLock": "false"}
    account.stack = replace(account.stack, parameters={**account.stack.parameters, **gone})
    for name in ("vpc_endpoints", "kms_by_way_of_s3_only", "bucket_policy", "encryption", "object_lock"):
        assert BY_NAME[name].run(trial).verdict == "not_possible"


def test_an_endpoint_that_a_vpc_lacks_may_be_made_good_by_a_gateway(account: GoodAccount, trial: Trial) -> None:
    answering("vpc_endpoints", {"s3": "available", "states": "pending"})(account)
    found = BY_NAME["vpc_endpoints"].run(trial)
    assert found.verdict == "not_possible"
    assert "secretsmanager, states" in found.evidence


def test_who_may_not_simulate_policies_is_told_so_and_all_else_is_tried(
    account: GoodAccount, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> bool:
        msg = "these credentials may not call iam:SimulatePrincipalPolicy"
        raise ApiAccessDeniedError(msg, hint="Sign in as somebody who may.")

    monkeypatch.setattr(account, "may", refuse)
    report = conduct(trial)
    by_name = {one.name: one for one in report.items}
    for name in ("machine_roles", "no_role_harms_milvus", "markers_are_written_once"):
        assert by_name[name].verdict == "not_possible"
        assert "iam:SimulatePrincipalPolicy" in by_name[name].evidence
    assert by_name["trust"].verdict == "passed"
    assert {one.name for one in report.items if one.verdict == "failed"} <= ELSEWHERE


@pytest.mark.parametrize(
    ("answer", "verdict", "said"),
    [
        (Answer(403), "passed", "403"),
        (Answer(200), "failed", "answered with 200"),
        (Answer(500), "failed", "answered with 500"),
        (Answer(0, closes=True), "failed", "cannot be reached"),
    ],
)
def test_an_api_that_is_not_closed_to_others_fails(
    answer: Answer, verdict: str, said: str, api: FakeApi, trial: Trial
) -> None:
    api.answers.append(answer)
    found = BY_NAME["api_is_closed"].run(trial)
    assert (found.verdict, said in found.evidence) == (verdict, True), found.evidence


def test_while_the_stack_is_updated_nothing_is_written(account: GoodAccount, trial: Trial) -> None:
    account.stack = replace(account.stack, status="UPDATE_IN_PROGRESS")
    by_name = {one.name: one for one in conduct(trial).items}
    assert by_name["stack_status"].verdict == "failed"
    writing = [one.name for one in items() if Need.WRITES in one.needs]
    assert {by_name[name].verdict for name in writing} == {"not_possible"}
    assert by_name["backup"].evidence == "the stack is UPDATE_IN_PROGRESS"
    assert by_name["definitions"].verdict == "passed"


def test_the_account_is_read_from_who_asks(account: GoodAccount) -> None:
    assert account.number == NUMBER
