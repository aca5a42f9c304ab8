"""Versions: reading what servers answer, and which backup may go where."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvus_vault.backup.prepare import check_source_version
from milvus_vault.errors import VersionUnsupportedError
from milvus_vault.model.versions import (
    KNOWN,
    ServerVersion,
    can_back_up,
    can_restore,
    ends_imports_in_hybrid,
    grants_without_type,
    has_flush_all,
    is_older,
    line_text,
    parse_version,
    tells_flush_times,
)
from tests.support.milvus_server.versions import NEWEST, VERSIONS

numbers = st.integers(0, 99)
lines = st.tuples(st.integers(1, 4), st.integers(0, 9))

# The newest that the tests have a server for, which the code is to know, and the one after it.
LAST = VERSIONS[NEWEST].minor
NEXT = (LAST[0], LAST[1] + 1)


def line(major: int, minor: int) -> ServerVersion:
    """Return a release of a minor version."""
    return ServerVersion(major, minor, 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2.3.5", (2, 3, 5)),
        ("v2.3.5", (2, 3, 5)),
        ("v2.3.5-lite", (2, 3, 5)),
        ("v2.4.13-hotfix", (2, 4, 13)),
        ("2.5.10.1", (2, 5, 10)),
        ("v2.4.0-rc.1", (2, 4, 0)),
        ("v2.6.0-rc1", (2, 6, 0)),
        ("2.5.27", (2, 5, 27)),
        ("v2.4.5-gpu", (2, 4, 5)),
        (" v2.3.5\n", (2, 3, 5)),
        ("2.2.0-20221122-f1ee5bda", (2, 2, 0)),
        ("2.6-20250801-abcdef", (2, 6, 9999)),
        ("v2.5", (2, 5, 9999)),
        ("2.6-20260404-31fb3fc", (2, 6, 9999)),
        ("v2.6-20260404-31fb3fc-arm64", (2, 6, 9999)),
        ("Zilliz Cloud Vector Database(Compatible with Milvus 2.6)", (2, 6, 9999)),
        ("Zilliz Cloud Vector Database 1.0.23 (Compatible with Milvus 2.6)", (2, 6, 9999)),
        ("Zilliz Cloud Vector Database(Compatible with Milvus v2.5.3)", (2, 5, 3)),
        ("Zilliz Cloud Vector Database 1.0.23", (99, 0, 0)),
        ("PR-27354-20230925-84d0b5af", (99, 0, 0)),
        ("build-of-10.2.3.4", (99, 0, 0)),
        ("unknown", (99, 0, 0)),
        (f"2.{'9' * 5000}.1", (99, 0, 0)),
        ("\u0662.\u0663.\u0665", (99, 0, 0)),
        ("master-20260404-31fb3fc", (99, 0, 0)),
        ("unknown-20260404", (99, 0, 0)),
        ("", (99, 0, 0)),
    ],
)
def test_what_servers_answer_is_understood(text: str, expected: tuple[int, int, int]) -> None:
    version = parse_version(text)
    assert version[:3] == expected
    assert version.text == text
    assert version.is_known == (expected[0] != 99)


@given(st.text())
def test_no_answer_makes_it_fail(text: str) -> None:
    version = parse_version(text)
    assert version.text == text
    assert all(number >= 0 for number in version[:3])


@given(st.integers(0, 98), numbers, numbers)
def test_a_version_is_read_as_it_is_written(major: int, minor: int, patch: int) -> None:
    written = str(ServerVersion(major, minor, patch))
    assert parse_version(written)[:3] == (major, minor, patch)
    assert parse_version(f"v{written}-anything")[:3] == (major, minor, patch)


@given(st.text(alphabet=st.characters(exclude_categories=["Nd"])))
def test_an_answer_without_a_number_is_newer_than_all_and_goes_nowhere(text: str) -> None:
    version = parse_version(text)
    assert version > ServerVersion(98, 99, 99)
    assert not can_back_up(version)
    assert not can_restore(version, version)


def test_versions_are_ordered_by_number_and_not_by_letter() -> None:
    assert parse_version("2.10.0") > parse_version("v2.9.9")
    assert parse_version("2.6-20260404-31fb3fc") > parse_version("2.6.98")
    assert parse_version("2.6-20260404-31fb3fc") < parse_version("2.7.0")


def test_a_version_is_shown_as_the_server_spells_it() -> None:
    assert str(parse_version("v2.3.5-lite")) == "v2.3.5-lite"
    assert str(ServerVersion(2, 3, 5)) == "2.3.5"
    assert str(parse_version("")) == "unknown"


@pytest.mark.parametrize(
    ("server", "expected"),
    [((2, 1), False), ((2, 2), True), ((2, 3), True), (LAST, True), (NEXT, False), ((3, 0), False)],
)
def test_servers_from_2_2_to_the_newest_that_was_tried_can_be_backed_up(
    server: tuple[int, int], *, expected: bool
) -> None:
    assert can_back_up(line(*server)) is expected


@pytest.mark.parametrize(
    ("backup", "target", "expected"),
    [
        ((2, 2), (2, 4), True),
        ((2, 3), (2, 4), True),
        ((2, 3), LAST, True),
        ((2, 4), (2, 4), True),
        ((2, 5), (2, 4), False),
        ((2, 2), (2, 2), False),
        ((2, 2), (2, 3), False),
        (LAST, NEXT, False),
        ((2, 1), (2, 4), False),
        ((3, 0), (3, 0), False),
    ],
)
def test_a_backup_goes_to_the_same_or_a_newer_minor_version_from_2_4_on(
    backup: tuple[int, int], target: tuple[int, int], *, expected: bool
) -> None:
    assert can_restore(line(*backup), line(*target)) is expected


@given(lines, lines)
def test_a_backup_never_goes_to_an_older_server(backup: tuple[int, int], target: tuple[int, int]) -> None:
    if is_older(line(*target), line(*backup)):
        assert not can_restore(line(*backup), line(*target))


@given(lines, numbers, numbers)
def test_patches_do_not_matter(minor_line: tuple[int, int], one: int, other: int) -> None:
    first, second = ServerVersion(*minor_line, one), ServerVersion(*minor_line, other)
    assert not is_older(first, second)
    assert can_back_up(first) == can_back_up(second)
    assert can_restore(first, second) == can_restore(second, first)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2.3.5", False), ("v2.5.27", False), ("2.6.10", False), ("2.6.11", True), ("v2.6.19-dev", True)],
)
def test_one_flush_of_all_says_up_to_where_from_2_6_11_on(text: str, *, expected: bool) -> None:
    assert has_flush_all(parse_version(text)) is expected


@pytest.mark.parametrize("text", ["v2.2.16", "v2.3.5-lite", "v2.4.23", "2.5.27", "2.6-20260404-31fb3fc"])
def test_a_server_of_a_known_version_is_no_reason_to_refuse_a_backup(text: str) -> None:
    check_source_version(parse_version(text))


@pytest.mark.parametrize("text", ["v2.1.4", "v3.0.0"])
def test_another_server_is_refused_by_its_version(text: str) -> None:
    with pytest.raises(VersionUnsupportedError, match=f"Milvus {text} cannot be backed up"):
        check_source_version(parse_version(text))


@pytest.mark.parametrize("text", ["master-20260404-31fb3fc", "unknown-20260404", "unknown", ""])
def test_a_server_that_names_no_release_is_refused_with_what_it_says(text: str) -> None:
    with pytest.raises(VersionUnsupportedError, match=f"says '{text}' .* names no release"):
        check_source_version(parse_version(text))


PACKAGE = Path(__file__).parents[2] / "layers" / "shared" / "milvus_vault"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_what_came_with_which_version_is_known_in_one_module(path: Path) -> None:
    """Code compares with no version of its own, and messages take the range from the constants."""
    if path.parts[-2:] != ("model", "versions.py"):
        code = "\n".join(line for line in path.read_text().splitlines() if not line.lstrip().startswith("#"))
        assert not re.search(r"\(2, \d+[,)]", code)
        assert not re.search(rf"msg.*{re.escape(KNOWN)}", code)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2.3.5", False),
        ("2.4.23", False),
        ("2.4.24", True),
        ("2.5.0", False),
        ("2.5.5", False),
        ("2.5.6", True),
        ("2.6.0", True),
        (NEWEST, True),
    ],
)
def test_from_some_patches_on_the_end_of_an_import_is_a_hybrid_timestamp(text: str, *, expected: bool) -> None:
    assert ends_imports_in_hybrid(parse_version(text)) == expected


@pytest.mark.parametrize(("text", "expected"), [("2.4.24", False), ("2.5.0", True), ("2.6.19", True)])
def test_from_2_5_on_rights_are_granted_without_a_type(text: str, *, expected: bool) -> None:
    assert grants_without_type(parse_version(text)) == expected


def test_messages_name_the_versions_that_are_known() -> None:
    assert f"2.2 to {line_text(LAST)}" == KNOWN


@pytest.mark.parametrize(
    ("text", "expected"), [("v2.2.16", False), ("v2.3.0", False), ("v2.3.1", True), ("v2.6.19", True)]
)
def test_servers_whose_flush_says_its_timestamp(text: str, expected: bool) -> None:
    assert tells_flush_times(parse_version(text)) is expected
