"""Errors: their names are what state machines match and operators read."""

import ast
import re
from itertools import pairwise
from pathlib import Path

import pytest

from milvus_vault import errors
from milvus_vault.errors import (
    BackupNotFoundError,
    StorageThrottledError,
    VaultError,
    did_you_mean,
    leaf_named,
    shared_hint,
    split_hint,
    together,
    with_hint,
)

ROOT = Path(__file__).resolve().parents[2]
LEAVES = [leaf for leaf in VaultError.__subclasses__() if leaf.__module__ == errors.__name__]


@pytest.mark.parametrize("leaf", LEAVES)
def test_a_leaf_is_named_as_an_error_and_explained_in_one_sentence(leaf: type[VaultError]) -> None:
    assert leaf.__name__.endswith("Error")
    assert leaf.__doc__
    assert re.fullmatch(r"[A-Z][^\n]+\.", leaf.__doc__)


@pytest.mark.parametrize("leaf", LEAVES)
def test_a_leaf_has_nothing_below_it_since_names_know_no_inheritance(leaf: type[VaultError]) -> None:
    assert leaf.__bases__ == (VaultError,)
    assert leaf.__subclasses__() == []


def test_every_public_class_is_a_leaf_or_their_base() -> None:
    classes = {
        value for value in vars(errors).values() if isinstance(value, type) and value.__module__ == errors.__name__
    }
    assert classes == {VaultError, *LEAVES}


def test_what_passes_by_itself_is_retried_and_nothing_else() -> None:
    assert {leaf.__name__ for leaf in LEAVES if leaf.retryable} == {
        "CopyInProgressError",
        "CopyUnfinishedError",
        "MilvusUnavailableError",
        "StorageThrottledError",
        "StorageUnavailableError",
    }


def test_the_hint_follows_the_message_on_a_line_of_its_own() -> None:
    error = BackupNotFoundError("backup 'x' is not there", hint="Look at the list.")
    assert str(error) == "backup 'x' is not there\nHint: Look at the list."
    assert (error.message, error.hint) == ("backup 'x' is not there", "Look at the list.")


def test_without_a_hint_there_is_only_the_message() -> None:
    assert str(StorageThrottledError("slow down")) == "slow down"


@pytest.mark.parametrize("leaf", LEAVES)
def test_a_leaf_is_found_by_its_name(leaf: type[VaultError]) -> None:
    assert leaf_named(leaf.__name__) is leaf


@pytest.mark.parametrize("name", ["VaultError", "KeyError", "States.Timeout", ""])
def test_another_name_is_no_leaf(name: str) -> None:
    with pytest.raises(KeyError):
        leaf_named(name)


@pytest.mark.parametrize("hint", ["", "Look at the list."])
def test_message_and_hint_come_out_of_the_text_as_they_went_in(hint: str) -> None:
    assert split_hint(with_hint("it is not there", hint)) == ("it is not there", hint)
    assert split_hint(str(BackupNotFoundError("it is not there", hint=hint))) == ("it is not there", hint)


def test_several_failures_have_a_hint_where_it_is_one() -> None:
    assert shared_hint(["Wait.", "Wait."]) == "Wait."
    assert shared_hint(["Wait.", "Do not."]) == shared_hint(["Wait.", ""]) == shared_hint([]) == ""


def test_names_of_backups_and_schedules_are_quoted_wherever_they_are_told() -> None:
    # E-mails and the command line write them otherwise, as headings and in bold.
    code = ROOT / "layers" / "shared" / "milvus_vault"
    files = [path for path in code.rglob("*.py") if path.relative_to(code).parts[0] not in {"announcing", "cli"}]
    bare = [
        f"{path.relative_to(code)}:{text.lineno}"
        for path in files
        for text in ast.walk(ast.parse(path.read_text()))
        if isinstance(text, ast.JoinedStr)
        for before, value in pairwise(text.values)
        if isinstance(before, ast.Constant) and isinstance(value, ast.FormattedValue)
        if re.search(r"(^|[^_a-z/.'])(backup|schedule) $", str(before.value))
    ]
    assert bare == []


def test_of_a_name_that_is_not_there_the_three_nearest_are_told() -> None:
    there = ["nightly_1", "nightly_2", "nightly_3", "nightly_41", "before_upgrade"]
    assert did_you_mean("nightly_4", there) == "Did you mean 'nightly_41' or 'nightly_3' or 'nightly_2'?"
    assert did_you_mean("custmers", ["customers"], within="shop.") == "Did you mean 'shop.customers'?"
    assert did_you_mean("restor", ["stop"]) == did_you_mean("restore", []) == ""


def test_refusals_of_one_request_are_told_together_by_the_name_of_the_first() -> None:
    first = BackupNotFoundError("a is gone", hint="Look.")
    assert together([first]) is first
    others = [StorageThrottledError(f"{name} is slow", hint="Wait.") for name in "bcdefg"]
    told = together([first, *others])
    assert isinstance(told, BackupNotFoundError)
    assert told.message == "a is gone; b is slow; c is slow; d is slow; e is slow; and 2 more"
    assert told.hint == "Look. Wait."
