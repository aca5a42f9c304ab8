"""What SECURITY.md says of deletions is what the template allows."""

import re

import pytest

from tests.support.terminal import REPOSITORY
from tests.template.loading import functions
from tests.template.test_permissions import LIST_SCHEDULES, grants
from tests.template.test_privileges import who_may

DOCUMENT = (REPOSITORY / "SECURITY.md").read_text()


@pytest.mark.parametrize(
    ("bucket", "key", "row"),
    [
        ("backups/team", "monday/meta/backup_meta.json", "documents of a backup"),
        ("backups/team", "monday/meta/vault/manifest.json", "of these the manifest"),
        ("backups/team", "monday/binlogs/delta_log/1/2/3/3/4", "its objects"),
        ("milvus", "staging/restore-monday-1a2b/1/delta_log/2", "staged objects"),
    ],
)
def test_whoever_may_delete_is_named(bucket: str, key: str, row: str) -> None:
    (line,) = (line for line in DOCUMENT.splitlines() if line.startswith(f"| {row}"))
    assert set(re.findall(r"[A-Z]\w+", line.split("|")[2])) == who_may("DeleteObject", key, bucket=bucket)


def test_whoever_may_list_all_schedules_is_named() -> None:
    found = {
        name.removesuffix("Function") for name, f in functions().items() if LIST_SCHEDULES in grants(f["Policies"])
    }
    (sentence,) = re.findall(r"`scheduler:ListSchedules` of ([^,]*, [^,]*),", " ".join(DOCUMENT.split()))
    assert set(re.findall(r"[A-Z]\w+", sentence)) == found
