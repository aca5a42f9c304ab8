"""docs/permissions.md: no right without a call or a reason, and what the guard holds against roles."""

import json

import pytest
from cfnlint.api import ManualArgs, lint

from tests import rights
from tests.support.privilege import Need, Right, needed_by_machines, needs, needs_of_keys, not_allowed
from tests.template.loading import Data, machines, template, transformed
from tests.template.test_privileges import PARAMETERS
from tools import permissions
from tools.permissions import COMBINATIONS, Reason, RightsError, why
from tools.resolved import met

READ, WRITE = (Right("ApiFunction", "Files", f"s3:{verb}Object", "b/*") for verb in ("Get", "Put"))
BECAUSE = Reason(holders=("Api",), actions=("s3:Put*",), resources=("b/*",), reason="it is good")


def test_of_a_right_stand_the_calls_that_needed_it_or_the_reason() -> None:
    assert why([READ, WRITE], {READ: {"HeadObject", "GetObject"}}, [BECAUSE]) == {
        READ: "GetObject, HeadObject",
        WRITE: "*it is good*",
    }


def test_a_right_that_nothing_needs_and_nobody_explains_is_refused() -> None:
    with pytest.raises(RightsError, match="ApiFunction Files s3:GetObject"):
        why([READ, WRITE], {}, [BECAUSE])


def test_a_reason_of_what_is_needed_is_refused() -> None:
    with pytest.raises(RightsError, match="it is good"):
        why([WRITE], {WRITE: {"PutObject"}}, [BECAUSE])


def test_a_record_is_read_as_it_was_written_and_forgets_rights_that_are_not_given_any_more() -> None:
    given = rights.all_rights()[0]
    assert rights.read(rights.written({given: {"GetObject"}, READ: {"GetObject"}})) == {given: {"GetObject"}}


def test_what_only_the_local_stack_has_shown_is_not_forgotten_where_it_does_not_show_it_again() -> None:
    kept = {READ: {"GetObject", rights.ON_THE_STACK}, WRITE: {rights.ON_THE_STACK}}
    assert rights.forgetting({}, kept) == {WRITE: {rights.ON_THE_STACK}}
    assert rights.forgetting({READ: {"HeadObject"}}, kept) == {READ: {"HeadObject"}, WRITE: {rights.ON_THE_STACK}}
    assert rights.forgetting({WRITE: {"PutObject"}}, kept) == {WRITE: {"PutObject"}}


def test_the_calls_that_are_written_down_are_those_of_rights_that_there_are() -> None:
    written = rights.NEEDED.read_text()
    assert rights.written(rights.read(written)) == written


@pytest.mark.parametrize(
    ("function", "operation", "request_", "is_allowed"),
    [
        ("Api", "StartExecution", {"stateMachineArn": "arn:aws:states:r:1:stateMachine:vault-backup"}, True),
        ("Api", "StartExecution", {"stateMachineArn": "arn:aws:states:r:1:stateMachine:vault-copy-objects"}, False),
        ("Api", "StopExecution", {"executionArn": "arn:aws:states:r:1:execution:vault-drill:a"}, True),
        ("PrepareDrill", "DescribeExecution", {"executionArn": "arn:aws:states:r:1:execution:vault-drill:a"}, True),
        ("PrepareDrill", "DescribeExecution", {"executionArn": "arn:aws:states:r:1:execution:vault-backup:a"}, False),
        ("WatchSchedules", "GetSchedule", {"GroupName": "vault", "Name": "nightly"}, True),
        ("WatchSchedules", "DeleteSchedule", {"GroupName": "vault", "Name": "nightly"}, False),
        ("AnnounceRun", "PutEvents", {"Entries": [{"Source": "milvus-vault"}]}, True),
        ("AnnounceRun", "PutEvents", {"Entries": [{"Source": "aws.s3"}]}, False),
        ("PlanCopy", "AssumeRole", {"RoleArn": "arn:aws:iam::1:role/exports"}, True),
        ("PlanPrune", "AssumeRole", {"RoleArn": "arn:aws:iam::1:role/exports"}, False),
    ],
)
def test_a_call_of_any_service_is_held_against_the_role(
    function: str, operation: str, request_: Data, *, is_allowed: bool
) -> None:
    parameters = {**PARAMETERS, "ExportRoleArn": "arn:aws:iam::1:role/exports", "MilvusSecretArn": "secret"}
    assert (not_allowed(f"{function}Function", needs(operation, request_), parameters) == []) == is_allowed


def test_a_copy_uses_the_keys_of_both_buckets() -> None:
    request = {"Bucket": "backups", "Key": "k", "CopySource": {"Bucket": "milvus", "Key": "k"}}
    assert [*needs_of_keys("CopyObject", request, PARAMETERS)] == [
        Need("kms:GenerateDataKey", "${KmsKeyArn}"),
        Need("kms:Decrypt", "${MilvusKmsKeyArn}"),
    ]


def test_a_machine_has_the_rights_that_its_definition_asks_for() -> None:
    assert {right.holder for right in needed_by_machines()} == {machine.name for machine in machines()}


def test_what_is_deployed_is_within_the_quotas_of_cloudformation() -> None:
    made = transformed()
    assert len(made["Resources"]) <= permissions.MAX_RESOURCES
    assert len(made["Parameters"]) <= permissions.MAX_PARAMETERS
    assert len(made["Outputs"]) <= permissions.MAX_OUTPUTS


def test_each_condition_is_met_by_some_combination_of_parameters_and_not_by_another() -> None:
    conditions = transformed()["Conditions"]
    answers = {
        name: {met(template(), conditions, condition, given) for given in COMBINATIONS.values()}
        for name, condition in conditions.items()
    }
    # The first two are of where it is deployed.
    never = {"IsChina", "IsGovCloud"} | {name for name in answers if name.startswith("HasSchedule") or "Lock" in name}
    assert {name for name, found in answers.items() if len(found) != 2} <= never | {"HasManagement"}


@pytest.mark.thorough
def test_a_linter_finds_nothing_in_what_is_deployed_whatever_the_parameters_are() -> None:
    assert lint(json.dumps(transformed(), default=str), config=ManualArgs(regions=["us-east-1"])) == []
