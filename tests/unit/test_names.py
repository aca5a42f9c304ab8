"""Names that several functions derive alike."""

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from milvus_vault.model.names import (
    TEMPORARY_PREFIX,
    attempt_of,
    backup_run,
    execution_name,
    named_run,
    restore_run,
    run_id,
    short_hash,
    temporary_name,
    temporary_prefix,
)
from milvus_vault.model.requests import BACKUP_NAME_PATTERN, RestoreRequest
from milvus_vault.source import MilvusStorage
from milvus_vault.wiring import restore_run_of
from milvus_vault.workspace import record_key

# Milvus' rule for a collection's name.
MILVUS_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")

ARN = "arn:aws:states:us-east-1:123456789012:execution:vault-backup:one"
backup_names = st.from_regex(BACKUP_NAME_PATTERN.replace("$", r"\Z"))
runs = st.builds(restore_run, backup_names, st.text(), st.text())
indices = st.integers(0, 65_536)


def test_an_execution_names_its_run_and_what_is_told_of_it() -> None:
    assert run_id("backup", execution_name(ARN)) == "backup-one"
    assert record_key("vault", "failures", ARN) == "vault/.runs/failures/one.json"
    assert record_key("", "reports", ARN, "html") == ".runs/reports/one.html"


@given(st.text(), st.integers(1, 64))
def test_a_hash_has_the_length_that_is_asked_for(text: str, length: int) -> None:
    assert re.fullmatch(rf"[0-9a-f]{{{length}}}", short_hash(text, length))


def test_hashes_do_not_change_between_releases() -> None:
    # Working files and temporary collections of a running deployment are found by them.
    assert short_hash("a") == "ca978112"
    assert backup_run("nightly") == "backup-nightly"


def test_an_execution_has_one_attempt_and_another_has_another() -> None:
    assert attempt_of(ARN) == attempt_of(ARN)
    assert attempt_of(ARN) != attempt_of(f"{ARN}-again")


@given(st.text())
def test_an_attempt_can_be_a_part_of_a_key(execution_arn: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]+", attempt_of(execution_arn))


def test_the_same_request_into_the_same_milvus_is_the_same_run() -> None:
    assert restore_run("nightly", "{}", "milvus") == restore_run("nightly", "{}", "milvus")


@pytest.mark.parametrize(
    "other", [("weekly", "{}", "milvus"), ("nightly", '{"load":false}', "milvus"), ("nightly", "{}", "other")]
)
def test_any_other_request_is_another_run(other: tuple[str, str, str]) -> None:
    assert restore_run(*other) != restore_run("nightly", "{}", "milvus")


def test_what_is_default_has_no_part_in_a_restores_run() -> None:
    storage = MilvusStorage("milvus", "files")
    named = RestoreRequest(backup_name="nightly", load=RestoreRequest.model_fields["load"].default)
    run = restore_run_of(RestoreRequest(backup_name="nightly"), "http://milvus", storage)
    # By this name releases with more fields find what this one has begun.
    assert run == restore_run_of(named, "http://milvus", storage)
    assert run == restore_run("nightly", '{"backup_name":"nightly"}', "http://milvus milvus files")


@given(backup_names, backup_names)
def test_a_backup_and_a_restore_never_share_a_run(one: str, other: str) -> None:
    assert backup_run(one) != restore_run(other, "{}", "milvus")


@given(runs, indices, st.integers(0, 1000))
def test_a_temporary_name_is_one_that_milvus_takes_and_that_is_found_again(run: str, index: int, attempt: int) -> None:
    name = temporary_name(run, index, attempt)
    assert MILVUS_NAME.fullmatch(name)
    assert name.startswith(temporary_prefix(run))
    assert name.startswith(TEMPORARY_PREFIX)


@given(runs, st.tuples(indices, indices), st.tuples(indices, indices))
def test_no_two_collections_of_a_run_have_one_temporary_name(
    run: str, one: tuple[int, int], other: tuple[int, int]
) -> None:
    assume(one != other)
    assert temporary_name(run, *one) != temporary_name(run, *other)


@given(runs, runs, indices)
def test_a_run_never_takes_another_runs_collections_for_its_own(run: str, other: str, index: int) -> None:
    assume(run != other)
    assert not temporary_name(run, index, 1).startswith(temporary_prefix(other))


def test_a_message_names_a_run_by_the_id_that_stops_it() -> None:
    assert named_run(ARN) == f"run backup-one ({ARN})"
    assert named_run("(unreadable claim)") == "execution (unreadable claim)"
