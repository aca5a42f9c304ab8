"""What SECURITY.md says of rights is what the template allows."""

import re

import pytest

from tests.support.terminal import REPOSITORY
from tests.template.loading import actions_of, as_list, functions, machines, reaches_milvus, statements, translated
from tests.template.test_permissions import LIST_SCHEDULES, LOG_DELIVERY, TRACES, grants
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
    assert named(said(r"Of rows there only ([^.]*) reads any")) == who_may("GetObject", rows, bucket="milvus")
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
