"""What SECURITY.md and docs/operations.md say of rights is what the template allows."""

import json
import re
from fnmatch import fnmatchcase

import pytest

from tests.support.privilege import LOG_DELIVERY, TRACES
from tests.support.terminal import REPOSITORY
from tests.template.loading import (
    actions_of,
    as_list,
    functions,
    machines,
    reaches_milvus,
    resources,
    resources_of,
    statements,
    translated,
)
from tests.template.test_permissions import LIST_SCHEDULES, grants
from tests.template.test_privileges import who_may

DOCUMENT = (REPOSITORY / "SECURITY.md").read_text()
TEXT = " ".join(DOCUMENT.split())


def named(text: str) -> set[str]:
    """Return the functions that a sentence names."""
    return {word for word in re.findall(r"\b[A-Z]\w+", text) if f"{word}Function" in functions()}


def said(sentence: str) -> str:
    """Return what a sentence has at the place of its group; it is in the document once."""
    (found,) = re.findall(sentence, TEXT)
    return str(found)


@pytest.mark.parametrize(
    ("bucket", "keys", "row"),
    [
        ("backups/team", ["monday/meta/backup_meta.json"], "documents of a backup"),
        ("backups/team", ["monday/meta/vault/manifest.json"], "of these the manifest"),
        ("backups/team", ["monday/binlogs/delta_log/1/2/3/3/4"], "its objects"),
        ("backups/team", [".catalogue/holds/monday.json"], "holds"),
        ("backups/team", [".catalogue/backups/1.monday.-.json"], "entries of the catalogue"),
        (
            "backups/team",
            [".runs/executions/a.json", ".runs/failures/a.json", ".runs/reports/a.json"],
            "records of runs",
        ),
        ("backups/team", [".runs/backup-monday/claim.json"], "the claim of a backup"),
        ("milvus", ["staging/restore-monday-1a2b/1/delta_log/2"], "staged objects"),
        ("milvus", ["staging/claims/1a2b/default/books.json"], "claims of targets"),
        ("archive/exports", ["monday/binlogs/delta_log/1/2/3/3/4"], "objects of an export"),
        ("archive/exports", [".runs/backup-monday/claim.json"], "the claim of its name"),
    ],
)
def test_whoever_may_delete_is_named(bucket: str, keys: list[str], row: str) -> None:
    (line,) = (line for line in DOCUMENT.splitlines() if line.startswith(f"| {row}"))
    assert named(line.split("|")[2]) == who_may("DeleteObject", *keys, bucket=bucket)


def test_whoever_may_list_all_schedules_is_named() -> None:
    found = {
        name.removesuffix("Function") for name, f in functions().items() if LIST_SCHEDULES in grants(f["Policies"])
    }
    assert named(said(r"`scheduler:ListSchedules` of ([^,]*, [^,]*),")) == found


def test_nothing_else_is_allowed_on_everything() -> None:
    everywhere = {
        action
        for policies in (*(f["Policies"] for f in functions().values()), *(m.policies for m in machines()))
        for statement in statements(policies)
        for action in actions_of(statement)
        if "*" in as_list(statement["Resource"])
    }
    assert everywhere == {LIST_SCHEDULES[0], *LOG_DELIVERY, *TRACES}


def test_what_sam_adds_to_the_roles_of_functions_is_named() -> None:
    roles = {name: found["Properties"] for name, found in translated().items() if name.endswith("FunctionRole")}
    added = {arn.rpartition("/")[2] for role in roles.values() for arn in role["ManagedPolicyArns"]}
    assert added == set(re.findall(r"`(AWS\w+)`", TEXT))
    networked = {name for name, role in roles.items() if any("VPC" in arn for arn in role["ManagedPolicyArns"])}
    assert networked == {f"{name}Role" for name, found in functions().items() if reaches_milvus(found)}
    own = {name: [policy["PolicyName"] for policy in role["Policies"]] for name, role in roles.items()}
    sending = {
        name.removesuffix("FunctionRole") for name, policies in own.items() if "DeadLetterQueuePolicy" in policies
    }
    assert named(said(r"([^.;:]*) may send to the dead-letter queue")) == sending


def test_whoever_reads_rows_and_deletes_is_named() -> None:
    archived = "monday/binlogs/insert_log/1/2/3/3/4/5"
    rows, deletes = "files/insert_log/1/2/3/4/5", "files/delta_log/1/2/3/4"
    assert named(said(r"Of rows there only ([^.]*) read any")) == who_may("GetObject", rows, bucket="milvus")
    reading = who_may("GetObject", deletes, bucket="milvus")
    assert named(said(r"The deletes there are read by ([^.]*)\.")) == reading
    assert named(said(r"Objects of a backup are read by ([^.]*)\.")) == who_may("GetObject", archived)


def test_whoever_writes_markers_is_named() -> None:
    marker = "monday/meta/backup_meta.json"
    assert named(said(r"only those of ([^,]*) may write one")) == who_may("PutObject", marker, headers=["s3:if-match"])


def test_whoever_writes_to_milvus_bucket_is_named_and_nobody_writes_outside_the_staging_folder() -> None:
    assert who_may("PutObject", "files/insert_log/1", "other", bucket="milvus") == set()
    staging = ("staging/restore-monday-1a2b/1/delta_log/2", "staging/claims/1a2b/default/books.json")
    assert named(said(r"`StagingPrefix` only: ([^.]*)\.")) == who_may("PutObject", *staging, bucket="milvus")


def test_whoever_reads_the_secret_is_named_by_what_it_reaches() -> None:
    assert "read by the functions that reach Milvus or its management port" in TEXT
    reading = {
        name
        for name, found in functions().items()
        if any("secretsmanager:GetSecretValue" in actions_of(s) for s in statements(found["Policies"]))
    }
    assert reading == {name for name, found in functions().items() if reaches_milvus(found)}


OPERATIONS = (REPOSITORY / "docs" / "operations.md").read_text().partition("#### Another Region, account or key")[2]
TRUST, RIGHTS, OF_THE_SOURCE = (
    json.loads(block) for block in re.findall(r"```json\n(.*?)```", OPERATIONS, re.DOTALL)[:3]
)


def wanted_of_the_role() -> set[tuple[str, str]]:
    """Return what the functions may do in the other bucket, which the role has to be allowed in their place."""
    bucket = "arn:${AWS::Partition}:s3:::${ExportBucketName}"
    found = set()
    for function in functions().values():
        for statement in statements(function["Policies"]):
            for resource in resources_of(statement):
                if resource.startswith(bucket):
                    key = resource.removeprefix(bucket).replace("${ExportPrefix}", "milvus-vault-exports")
                    found |= {
                        (action, f"arn:aws:s3:::archive{key.replace('*', 'x')}") for action in actions_of(statement)
                    }
    return found


def test_the_role_that_is_documented_may_do_in_the_other_bucket_what_the_functions_may() -> None:
    wanted = wanted_of_the_role()
    assert {"s3:ListBucket", "s3:PutObject", "s3:DeleteObject"} < {action for action, _ in wanted}
    allowed = [(a, r) for one in RIGHTS["Statement"] for a in as_list(one["Action"]) for r in as_list(one["Resource"])]
    missing = {need for need in wanted if not any(a == need[0] and fnmatchcase(need[1], r) for a, r in allowed)}
    assert missing == set()
    used = {action for action, pattern in allowed if pattern.startswith("arn:aws:s3:::archive")}
    assert used == {action for action, _ in wanted}


def test_what_the_role_reads_of_the_source_is_what_copies_are_made_of() -> None:
    (policy,) = resources("AWS::S3::BucketPolicy").values()
    (own,) = (one["Fn::If"][1] for one in policy["Properties"]["PolicyDocument"]["Statement"] if "Fn::If" in one)
    assert own["Action"] == OF_THE_SOURCE["Action"]
    documented = [one for one in RIGHTS["Statement"] if "BACKUP_BUCKET" in str(one)]
    assert [one["Resource"] for one in documented] == [OF_THE_SOURCE["Resource"]]
    for key in ("monday/binlogs/insert_log/1/2/3/3/4/5", ".pool/1a2b3c4d5e6f-7/1/2-3"):
        arn = f"arn:aws:s3:::BACKUP_BUCKET/BACKUP_PREFIX/{key}"
        assert any(fnmatchcase(arn, pattern) for pattern in OF_THE_SOURCE["Resource"])
    assert TRUST["Statement"][0]["Action"] == "sts:AssumeRole"
