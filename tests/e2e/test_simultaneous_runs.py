"""Runs that begin at the same moment, or beside functions of stopped ones: one wins, and no row is doubled."""

from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from local.stack import LocalStack
from tests.support import library, vault_runs
from tests.support.killing import kill, kill_inside
from tests.support.library import Contents
from tests.support.tampering import StoredBackup

SOURCE = "shelves"
BACKUP_NAME = "simultaneous"


@pytest.fixture(scope="module")
def contents(stack: LocalStack) -> Iterator[Contents]:
    """Fill the source, back it up, and return what is in it."""
    library.fill(stack.milvus_uri, SOURCE)
    vault_runs.succeed(stack, "Backup", {"backup_name": BACKUP_NAME, "collections": [f"{SOURCE}.*"]})
    yield library.look(stack.milvus_uri, SOURCE)
    library.drop(stack.milvus_uri, SOURCE)


@pytest.fixture
def database(stack: LocalStack) -> Iterator[str]:
    """Yield the name of a database to restore into."""
    yield "meanwhile"
    library.drop(stack.milvus_uri, "meanwhile")


def restore_request(database: str, **more: Any) -> dict[str, Any]:
    """Return a request for a restore into a database."""
    return {"backup_name": BACKUP_NAME, "rename": {f"{SOURCE}.*": f"{database}.*"}, "allow_version": True, **more}


def run_together(stack: LocalStack, machine: vault_runs.Machine, *requests: Mapping[str, Any]) -> Counter[str]:
    """Start a machine with each of the requests at once, and count how the executions ended."""
    with ThreadPoolExecutor(len(requests)) as pool:
        started = list(pool.map(lambda request: vault_runs.start(stack, machine, request), requests))
    return Counter(how_it_ended(stack, execution) for execution in started)


def how_it_ended(stack: LocalStack, execution: str) -> str:
    """Wait for an execution, and return its error or its status."""
    described = stack.wait(execution, vault_runs.TIMEOUT_SECONDS)
    return described.get("error") or described["status"]


class TestRestores:
    @pytest.mark.parametrize(
        "difference",
        [
            pytest.param({}, id="with-the-same-input"),
            pytest.param({"load": False}, id="with-another-input", marks=pytest.mark.thorough),
            pytest.param({"collections": [f"{SOURCE}.drafts"]}, id="of-overlapping-targets"),
            pytest.param({"drop_existing": True}, id="one-of-which-may-replace"),
        ],
    )
    def test_one_of_two_that_begin_together_restores(
        self, stack: LocalStack, contents: Contents, database: str, difference: dict[str, Any]
    ) -> None:
        ended = run_together(stack, "Restore", restore_request(database), restore_request(database, **difference))

        assert ended in ({"SUCCEEDED": 1, error: 1} for error in ("TargetClaimedError", "CollectionExistsError"))
        found = library.look(stack.milvus_uri, database)
        assert found.collections in {contents.collections, ("drafts",)}
        assert found.rows == {name: contents.rows[name] for name in found.collections}

    def test_one_of_two_takes_over_from_one_that_was_stopped(
        self, stack: LocalStack, contents: Contents, database: str
    ) -> None:
        request = restore_request(database, collections=[f"{SOURCE}.drafts"])
        kill(stack.deployment, "Restore", "after AdvanceRestore", request)

        ended = run_together(stack, "Restore", request, request)

        assert ended == {"SUCCEEDED": 1, "TargetClaimedError": 1}
        assert library.look(stack.milvus_uri, database) == contents.of("drafts")

    def test_functions_of_three_that_were_stopped_do_not_double_the_rows_of_the_fourth(
        self, stack: LocalStack, contents: Contents, database: str
    ) -> None:
        request = restore_request(database, collections=[f"{SOURCE}.drafts"])
        functions = [kill_inside(stack.deployment, "Restore", "AdvanceRestore", request) for _ in range(3)]

        vault_runs.restore(stack, request)

        assert {function.result() for function in functions} <= {None, "RunTakenOverError"}
        assert library.look(stack.milvus_uri, database) == contents.of("drafts")


class TestBackups:
    def test_one_of_two_of_one_name_is_made(self, stack: LocalStack, contents: Contents, database: str) -> None:
        request = {"backup_name": "made_twice", "collections": [f"{SOURCE}.*"]}

        ended = run_together(stack, "Backup", request, request)

        assert ended in ({"SUCCEEDED": 1, error: 1} for error in ("BackupInProgressError", "BackupExistsError"))
        vault_runs.restore(stack, restore_request(database, backup_name="made_twice"))
        assert library.look(stack.milvus_uri, database) == contents

    @pytest.mark.usefixtures("contents")
    @pytest.mark.parametrize("mode", [pytest.param("full", marks=pytest.mark.thorough), "incremental"])
    def test_two_of_different_names_are_made(self, stack: LocalStack, mode: str) -> None:
        """Of two that share a pool, each has all of its objects, whoever copied them."""
        names = [f"made_{where}_{mode}" for where in ("here", "there")]
        requests = [{"backup_name": name, "collections": [f"{SOURCE}.*"], "mode": mode} for name in names]

        assert run_together(stack, "Backup", *requests) == {"SUCCEEDED": 2}

        made = [StoredBackup(stack, name) for name in names]
        assert [backup.not_as_listed() for backup in made] == [[], []]
        here, there = ({(item.source_key, item.etag) for item in backup.listed()} for backup in made)
        assert here == there != set()
