"""What SECURITY.md says of deletions is what the template allows."""

import re

import pytest

from tests.support.terminal import REPOSITORY
from tests.template.loading import functions
from tests.template.test_permissions import LIST_SCHEDULES, grants, who_may

DOCUMENT = (REPOSITORY / "SECURITY.md").read_text()


@pytest.mark.parametrize(
    ("place", "row"),
    [
        ("metadata", "documents of a backup"),
        ("marker and manifest", "its marker and manifest"),
        ("archived objects", "its objects"),
        ("staged objects", "staged objects"),
    ],
)
def test_whoever_may_delete_is_named(place: str, row: str) -> None:
    (line,) = (line for line in DOCUMENT.splitlines() if line.startswith(f"| {row}"))
    assert set(re.findall(r"[A-Z]\w+", line.split("|")[2])) == who_may(("s3:DeleteObject", place))


def test_whoever_may_list_all_schedules_is_named() -> None:
    found = {
        name.removesuffix("Function") for name, f in functions().items() if LIST_SCHEDULES in grants(f["Policies"])
    }
    (sentence,) = re.findall(r"`scheduler:ListSchedules` of ([^,]*, [^,]*),", " ".join(DOCUMENT.split()))
    assert set(re.findall(r"[A-Z]\w+", sentence)) == found
