"""What CloudFormation would make of the template with each two choices of parameters together.

SAM transforms it with the parameters, as it does on AWS; conditions, references and substitutions are resolved as
CloudFormation resolves them. The quotas are of CloudFormation, IAM, Lambda, S3, SQS and EventBridge Scheduler, and
cannot be raised. A linter looks at all rows at once, in test_rights.py: it knows conditions, and no more of parameters.
"""

import copy
import itertools
import json
import re
from collections.abc import Mapping
from functools import cache

import pytest

from tests.template.loading import Data, as_list, template
from tools.parameters import NAME_LIMITS, refusals
from tools.permissions import MAX_TEMPLATE_BYTES
from tools.resolved import MAX_POLICY_CHARACTERS, Resolved, written

type Parameters = Mapping[str, str]

MAX_TRUST_CHARACTERS = 2048
MAX_MANAGED_POLICIES = 10
RESOURCE_POLICIES = {"AWS::S3::BucketPolicy": 20_480, "AWS::SQS::QueuePolicy": 8192}
MAX_ENVIRONMENT_BYTES = 4096
MAX_DESCRIPTION_CHARACTERS = 256
MAX_INPUT_BYTES = 262_144

_KEY = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
# With the longest names of buckets and of the stack, and all that is optional, the rights of two functions would be too
# long: `make deploy` refuses that by name (test_parameters.py).
_LONG = "b" * 58
ALWAYS = {"MilvusUri": "http://milvus.internal:19530", "MilvusBucketName": "m" * 63}
# Of each what may be given. What is longest comes last.
CHOICES: Mapping[str, tuple[Parameters, ...]] = {
    "backup bucket": ({}, {"ObjectLock": "true"}, {"BackupBucketName": _LONG}),
    "its key": ({}, {"KmsKeyArn": _KEY}),
    "Milvus' key": ({}, {"MilvusKmsKeyArn": "*"}, {"MilvusKmsKeyArn": _KEY}),
    "root path": ({}, {"MilvusRootPath": ""}),
    "exports": (
        {},
        {"ExportBucketName": _LONG},
        {"ExportBucketName": _LONG, "ExportKmsKeyArn": _KEY, "ExportRegion": "ap-southeast-1"},
        {
            "ExportBucketName": _LONG,
            "ExportKmsKeyArn": _KEY,
            "ExportRoleArn": "arn:aws:iam::210987654321:role/milvus-vault-exports",
            "ExportBucketOwner": "210987654321",
        },
    ),
    "network": ({}, {"VpcSubnetIds": "subnet-1,subnet-2", "VpcSecurityGroupIds": "sg-1"}),
    "secret": ({}, {"MilvusSecretArn": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:milvus-AbCdEf"}),
    "other ports": (
        {},
        {"MilvusManagementUri": "http://milvus.internal:9091", "MilvusRestUri": "http://milvus.internal:8080"},
    ),
    "schedule": (
        {},
        {"ScheduleExpression": "rate(1 day)"},
        {"ScheduleExpression": "cron(0 3 * * ? *)", "ScheduleRequest": '{"mode": "incremental"}'},
        {
            "ScheduleExpression": "cron(0 3 * * ? *)",
            "ScheduleVerify": '{"level":"deep","sample_percent":5}',
            "ScheduleCopyTo": "{}",
            "ScheduleRetention": '{"keep_last":14}',
            "ScheduleLock": '{"days":30,"mode":"governance"}',
        },
    ),
    "prune": ({}, {"PruneExpression": ""}),
    "e-mail": ({}, {"NotificationEmail": "someone@example.org"}),
    "access logs": ({}, {"ApiAccessLogs": "true"}),
    "boundary": ({}, {"PermissionsBoundaryArn": "arn:aws:iam::123456789012:policy/boundary"}),
    "processor": ({}, {"Architecture": "x86_64"}),
    "region": (
        {"AWS::Region": "ap-southeast-1", "AWS::Partition": "aws"},
        {"AWS::Region": "cn-north-1", "AWS::Partition": "aws-cn"},
        {"AWS::Region": "us-gov-west-1", "AWS::Partition": "aws-us-gov"},
    ),
}


def pairwise_rows() -> list[dict[str, int]]:
    """Return rows of choices of which some row has each two together, and of the last ones all."""
    sizes = {name: len(choices) for name, choices in CHOICES.items()}
    rows = [dict.fromkeys(sizes, 0), {name: size - 1 for name, size in sizes.items()}]
    missing = {
        frozenset({(one, first), (other, last)})
        for one, other in itertools.combinations(sizes, 2)
        for first in range(sizes[one])
        for last in range(sizes[other])
    }
    missing -= {pair for row in rows for pair in _pairs(row)}
    while missing:
        row = dict(sorted(min(missing, key=sorted)))
        for name, size in sizes.items():
            if name not in row:
                row[name] = max(range(size), key=lambda n: len(missing & _pairs({**row, name: n})))
        rows.append(row)
        missing -= _pairs(row)
    return rows


def _pairs(row: Mapping[str, int]) -> set[frozenset[tuple[str, int]]]:
    return {frozenset(pair) for pair in itertools.combinations(row.items(), 2)}


ROWS = [
    {key: value for name, number in row.items() for key, value in CHOICES[name][number].items()}
    for row in pairwise_rows()
]
each_row = pytest.mark.parametrize("row", range(len(ROWS)))


@cache
def resolved(row: int) -> Resolved:
    """Return what is made of a row."""
    return Resolved(template(), "s" * 30, ALWAYS | ROWS[row])


def test_each_condition_is_met_in_some_row_and_not_in_another() -> None:
    answers = [resolved(row).conditions for row in range(len(ROWS))]
    assert {name for name in answers[0] if len({found[name] for found in answers}) != 2} == set()


def test_what_refers_to_nothing_and_what_has_an_empty_part_is_found() -> None:
    changed = copy.deepcopy(template())
    changed["Outputs"]["BackupBucketName"]["Value"] = {"Ref": "BackupBucket"}
    changed["Outputs"]["BackupPrefix"]["Value"] = {"Fn::Sub": "arn:${AWS::Partition}:s3:::${ExportBucketName}"}
    found = Resolved(changed, "vault", ALWAYS | {"BackupBucketName": "backups"})
    assert (found.lost, found.empty) == (["BackupBucket"], ["arn:${AWS::Partition}:s3:::${ExportBucketName}"])


@each_row
def test_the_rows_are_taken(row: int) -> None:
    given = {name: value for name, value in (ALWAYS | ROWS[row]).items() if not name.startswith("AWS::")}
    assert refusals(template(), "milvus-vault", given) == []


@each_row
def test_nothing_refers_to_what_is_not_made(row: int) -> None:
    assert resolved(row).lost == []


@each_row
def test_no_name_of_what_a_right_is_of_has_an_empty_part(row: int) -> None:
    assert resolved(row).empty == []


@each_row
def test_policies_are_what_iam_takes(row: int) -> None:
    found = resolved(row)
    roles = found.of("AWS::IAM::Role")
    for name, role in roles.items():
        assert len(written(role["AssumeRolePolicyDocument"])) <= MAX_TRUST_CHARACTERS, name
        assert len(role.get("ManagedPolicyArns", [])) <= MAX_MANAGED_POLICIES, name
        for policy in role.get("Policies", []):
            _check_statements(policy["PolicyDocument"]["Statement"], name)
        partition = found.values["AWS::Partition"]
        assert {arn.split(":")[1] for arn in role.get("ManagedPolicyArns", [])} <= {partition}, name
    for kind, limit in RESOURCE_POLICIES.items():
        for name, one in found.of(kind).items():
            assert len(written(one["PolicyDocument"])) <= limit, name
            _check_statements(one["PolicyDocument"]["Statement"], name)


def _check_statements(statements: list[Data], name: str) -> None:
    sids = [statement["Sid"] for statement in statements if "Sid" in statement]
    assert statements, name
    assert len(sids) == len(set(sids)), name
    for statement in statements:
        assert statement["Action"], (name, statement)
        resources = as_list(statement["Resource"])
        assert resources, (name, statement)
        # Of an S3 object or bucket, an ARN, or what only AWS knows.
        assert all(re.match(r"\*$|arn:(aws|aws-cn|aws-us-gov):[a-z0-9-]+:|\{\w+", one) for one in resources), (
            name,
            statement,
        )


@each_row
def test_a_stack_is_within_the_quotas(row: int) -> None:
    found = resolved(row)
    sizes = dict(found.policy_sizes())
    assert {name: size for name, size in sizes.items() if size > MAX_POLICY_CHARACTERS} == {}
    assert len(written([found.resources, found.outputs])) <= MAX_TEMPLATE_BYTES
    for name, function in found.of("AWS::Lambda::Function").items():
        variables = function["Environment"]["Variables"]
        assert all(isinstance(value, str) for value in variables.values()), name
        assert len(json.dumps(variables).encode()) <= MAX_ENVIRONMENT_BYTES, name
        assert len(function["Description"]) <= MAX_DESCRIPTION_CHARACTERS, name
    for kind, property_ in NAME_LIMITS:
        for name, properties in found.of(kind).items():
            assert len(properties.get(property_, "")) <= NAME_LIMITS[kind, property_], name
    for name, schedule in found.of("AWS::Scheduler::Schedule").items():
        json.loads(schedule["Target"]["Input"].replace("<aws.scheduler.scheduled-time>", "now"))
        assert len(schedule["Target"]["Input"]) <= MAX_INPUT_BYTES, name
