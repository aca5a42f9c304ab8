"""Which server may take which backup, as PrepareRestore refuses it."""

import re
from pathlib import Path

import pytest

from milvus_vault.errors import VersionUnsupportedError
from milvus_vault.model.versions import KNOWN, check_target_version, parse_version
from tests.support.milvus_server.versions import ALL

ACTIONS = Path(__file__).parents[2] / "docs" / "errors_actions.yaml"


def check(backup: str, target: str, *, allow_version: bool = False) -> None:
    """Check a pair of versions."""
    check_target_version(parse_version(backup), parse_version(target), allow_version=allow_version)


@pytest.mark.parametrize(("backup", "target"), [("2.2.16", "2.2.16"), ("2.2.16", "2.3.5"), ("v2.3.4", "v2.3.5-lite")])
def test_2_2_and_2_3_take_a_backup_only_if_they_are_told_to(backup: str, target: str) -> None:
    check(backup, target, allow_version=True)
    with pytest.raises(
        VersionUnsupportedError, match=rf"{backup} into Milvus {target} is not in the version matrix"
    ) as caught:
        check(backup, target)
    assert caught.value.hint == "Set `allow_version` to restore into a server before 2.4."
    # The document of all errors is written by hand.
    assert caught.value.hint in " ".join(ACTIONS.read_text().split())


def test_an_older_patch_of_the_same_minor_version_is_not_older() -> None:
    check("2.3.9", "2.3.1", allow_version=True)


@pytest.mark.parametrize("allow_version", [False, True])
def test_an_older_server_is_refused_whatever_is_allowed(*, allow_version: bool) -> None:
    with pytest.raises(
        VersionUnsupportedError, match=r"2\.3\.5 cannot be restored into Milvus 2\.2\.16, which is older"
    ):
        check("2.3.5", "2.2.16", allow_version=allow_version)


@pytest.mark.parametrize("allow_version", [False, True])
@pytest.mark.parametrize(("backup", "target"), [("2.1.4", "2.3.5"), ("2.3.5", "3.0.0")])
def test_a_version_that_nobody_knows_is_refused_whatever_is_allowed(
    backup: str, target: str, *, allow_version: bool
) -> None:
    with pytest.raises(VersionUnsupportedError, match=f"only {re.escape(KNOWN)} are known"):
        check(backup, target, allow_version=allow_version)


@pytest.mark.parametrize("allow_version", [False, True])
@pytest.mark.parametrize(
    ("backup", "target", "who"),
    [("2.3.5", "master-2026", "the target is 'master-2026'"), ("", "2.6.19", "the backup is ''"), ("x", "y", "backup")],
)
def test_a_spelling_that_names_no_release_is_refused_with_whose_it_is(
    backup: str, target: str, who: str, *, allow_version: bool
) -> None:
    with pytest.raises(VersionUnsupportedError, match=rf"{who}.* names no release"):
        check(backup, target, allow_version=allow_version)


@pytest.mark.parametrize("backup", ALL)
@pytest.mark.parametrize("target", ALL[2:])
def test_from_2_4_on_a_backup_goes_to_its_own_version_and_to_newer_ones(backup: str, target: str) -> None:
    if backup <= target:
        check(backup, target)
    else:
        with pytest.raises(VersionUnsupportedError, match=f"{backup} cannot be restored into Milvus {target}"):
            check(backup, target, allow_version=True)
