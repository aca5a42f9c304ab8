"""Make docs/permissions.md: each right of the template's roles, and the calls of the tests that needed it.

What needed a right is in tests/data/rights.json (tests/rights.py); of machines their definitions say it. A right that
no test needs has its reason in docs/permissions.yaml, or the document cannot be made.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from tests.rights import NEEDED, Calls, all_rights, read
from tests.support.privilege import Right, needed_by_machines
from tests.template.loading import as_list, functions, machines, statements, template, transformed
from tools.parameters import longest_stack_name
from tools.resolved import met

ROOT = Path(__file__).parent.parent
REASONS = ROOT / "docs" / "permissions.yaml"

# Quotas of CloudFormation and IAM, which cannot be raised.
MAX_TEMPLATE_BYTES, MAX_RESOURCES, MAX_PARAMETERS, MAX_OUTPUTS = 1_000_000, 500, 200, 200


_INTRODUCTION = """\
Every right that the template gives, and what needed it: the calls of AWS that tests saw a function make and that no
other right of its role allows, or what a machine's definition asks for. {count} of {of} rights are of these; of the
others it says in italics why they are there. A function that asks for more than its role allows fails the test that
sees it. `on the local stack` is what the emulator let a function do by its role.

S3 asks KMS for a function: which rights a call needs where the bucket has a key of its own follows from what AWS says
of that call. Of an object that is not there S3 says so only to who may list the bucket.
"""


class RightsError(Exception):
    """The template gives a right that nothing needs, or a reason is of no right."""


class Reason(BaseModel):
    """Why rights are given that no test needs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    holders: tuple[str, ...] = ("*",)
    actions: tuple[str, ...]
    resources: tuple[str, ...] = ("*",)
    """With wildcards, as they begin and end in the document."""
    reason: str

    def is_of(self, right: Right) -> bool:
        """Return whether it is the reason of a right."""
        asked = (
            (_short_name(right.holder), self.holders),
            (right.action, self.actions),
            (_short(right.resource), self.resources),
        )
        return all(any(fnmatchcase(value, pattern) for pattern in patterns) for value, patterns in asked)


def read_reasons() -> list[Reason]:
    """Return what docs/permissions.yaml says."""
    return [Reason.model_validate(found) for found in yaml.safe_load(REASONS.read_text())]


def needed() -> dict[Right, set[str]]:
    """Return the calls that needed each right, as tests have seen functions make them, and as machines are written."""
    found = read(NEEDED.read_text())
    for right, calls in needed_by_machines().items():
        found.setdefault(right, set()).update(calls)
    return found


def why(rights: Sequence[Right], calls: Calls, reasons: Sequence[Reason]) -> dict[Right, str]:
    """Return of each right the calls that needed it, or the reason why it is there.

    Raises `RightsError` for rights that have neither, and for reasons of no right without a call.
    """
    found = {right: ", ".join(sorted(calls[right])) for right in rights if right in calls}
    used: set[Reason] = set()
    for right in rights:
        reason = next((reason for reason in reasons if right not in calls and reason.is_of(right)), None)
        if reason is not None:
            found[right] = f"*{reason.reason}*"
            used.add(reason)
    if lost := [right for right in rights if right not in found]:
        msg = "no test needs, and docs/permissions.yaml does not explain: " + "; ".join(
            " ".join(right) for right in lost
        )
        raise RightsError(msg)
    if stale := [reason for reason in reasons if reason not in used]:
        msg = f"docs/permissions.yaml explains what no role has, or what tests need: {stale[0].reason}"
        raise RightsError(msg)
    return found


def permissions_document(heading: str) -> str:
    """Return the document, below a line that says that it is made. Raises `RightsError`, as `why` does."""
    rights = all_rights()
    said, conditions = why(rights, needed(), read_reasons()), _conditions()
    count = sum(1 for text in said.values() if not text.startswith("*"))
    lines = [
        heading,
        "",
        "# Permissions",
        "",
        _INTRODUCTION.format(count=count, of=len(rights)),
        "## Sizes",
        "",
        *_table(("what", "is", "may be"), _sizes()),
        "",
        f"A stack's name may have {longest_stack_name(template())} characters: names of resources are made of it.",
    ]
    for holder in dict.fromkeys(right.holder for right in rights):
        own = [right for right in rights if right.holder == holder]
        rows = [
            (right.statement, right.action, f"`{_short(right.resource)}`", conditions.get(right[:2], ""), said[right])
            for right in own
        ]
        kind = "state machine" if holder.endswith("StateMachine") else "function"
        lines += ["", f"## {_short_name(holder)} ({kind})", ""]
        lines += _table(("statement", "action", "on", "only with", "needed by"), rows)
    return "\n".join(lines) + "\n"


def _short_name(holder: str) -> str:
    return holder.removesuffix("Function").removesuffix("StateMachine")


def _short(resource: str) -> str:
    """Return a resource without what all of its service begin with."""
    short = resource.replace("${AWS::Partition}", "aws").replace("${AWS::Region}:${AWS::AccountId}", "")
    return short.removeprefix("arn:aws:s3:::").removeprefix("arn:aws:")


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(str(cell) for cell in row)} |" for row in lines]


def _conditions() -> dict[tuple[str, str], str]:
    """Return the condition of each statement that has one, by its holder and its name."""
    policies = {name: function["Policies"] for name, function in functions().items()}
    policies |= {machine.name: machine.policies for machine in machines()}
    found: dict[tuple[str, str], str] = {}
    for holder, written in policies.items():
        for statement in (one for policy in written for one in policy["Statement"] if "Fn::If" in one):
            condition, given, _ = statement["Fn::If"]
            found[holder, given["Sid"]] = f"`{_parameter(condition)}`"
    return found


def _parameter(condition: str) -> str:
    """Return the parameter that a condition asks for."""
    asked = json.dumps(template()["Conditions"][condition])
    parameters: list[str] = list(template()["Parameters"])
    return next(name for name in parameters if f'{{"Ref": "{name}"}}' in asked)


def _sizes() -> Iterator[tuple[str, str, str]]:
    made = transformed()
    size = len(json.dumps(made, separators=(",", ":"), default=str))
    yield "bytes of the template as SAM transforms it", f"{size:,}", f"{MAX_TEMPLATE_BYTES:,}"
    yield "resources", str(len(made["Resources"])), str(MAX_RESOURCES)
    yield "parameters", str(len(made["Parameters"])), str(MAX_PARAMETERS)
    yield "outputs", str(len(made["Outputs"])), str(MAX_OUTPUTS)
    for name, given in COMBINATIONS.items():
        there = {key: met(template(), made["Conditions"], one, given) for key, one in made["Conditions"].items()}
        found = [r for r in made["Resources"].values() if there.get(r.get("Condition", ""), True)]
        rights = sum(_rights_in(resource, there) for resource in found)
        yield f"resources and rights of a stack with {name}", f"{len(found)} and {rights}", ""


# What matters of a deployment, each with the parameters that it gives.
COMBINATIONS: Mapping[str, Mapping[str, Any]] = {
    "nothing given": {},
    "a bucket of one's own": {"BackupBucketName": "backups"},
    "a VPC": {"VpcSubnetIds": ["subnet-1"], "VpcSecurityGroupIds": ["sg-1"]},
    "keys of KMS": {"KmsKeyArn": "a", "MilvusKmsKeyArn": "b"},
    "exports to another bucket, with its role and key": {
        "ExportBucketName": "archive",
        "ExportRoleArn": "arn",
        "ExportKmsKeyArn": "c",
    },
    "a schedule": {"ScheduleExpression": "rate(1 day)", "NotificationEmail": "a@example.org"},
    "no daily prune": {"PruneExpression": ""},
    "access logs": {"ApiAccessLogs": "true"},
    "a secret, and a permissions boundary": {"MilvusSecretArn": "d", "PermissionsBoundaryArn": "e"},
}
COMBINATIONS = {**COMBINATIONS, "all of that": {k: v for given in COMBINATIONS.values() for k, v in given.items()}}


def _rights_in(resource: Mapping[str, Any], there: Mapping[str, bool]) -> int:
    """Return how many rights a role gives where some conditions hold."""
    policies = resource["Properties"].get("Policies", []) if resource["Type"] == "AWS::IAM::Role" else []
    count = 0
    for policy in policies:
        for one in policy["PolicyDocument"]["Statement"]:
            if "Fn::If" in one and not there[one["Fn::If"][0]]:
                continue
            (statement,) = statements([{"Statement": [one]}])
            count += len(as_list(statement["Action"])) * len(as_list(statement["Resource"]))
    return count
