"""Incremental backups of a real Milvus: what they copy and share, what damage costs, and what goes with which.

Those that are stopped are in test_killed_runs.py. The tests are of one pool, and the last of them empty it.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple

import pytest
from pymilvus import MilvusClient

from local.stack import Deployment, LocalStack
from milvus_vault.adapters.s3 import S3ObjectStore
from milvus_vault.archive.manifest import FORMAT_VERSION
from milvus_vault.archive.pool import PoolLayout, is_pooled, parse_pooled_key
from milvus_vault.pool.condemned import Condemned
from milvus_vault.pool.users import PoolUse
from milvus_vault.retention.working_files import Swept
from milvus_vault.workspace import Workspace
from tests.support import library, vault_runs
from tests.support.api_calls import call
from tests.support.killing import GatedMachine, invoke, kill
from tests.support.sweeping import sweep
from tests.support.tampering import StoredBackup

DATABASE = "shared_books"
BOOKS, DRAFTS = f"{DATABASE}.books", f"{DATABASE}.drafts"
STAGING = "incremental-staging"
NEWER = FORMAT_VERSION + 1


class Made(NamedTuple):
    """Three backups of all, the second of what the first had and the third of more rows, and one of `books` alone."""

    before: library.Contents
    after: library.Contents
    outputs: list[dict[str, Any]]
    estimate: dict[str, Any]
    """What the third was to take, before it was made."""


def request(name: str, *collections: str) -> dict[str, Any]:
    return {"backup_name": name, "collections": list(collections) or [f"{DATABASE}.*"], "mode": "incremental"}


def back_up(deployment: Deployment, name: str, *collections: str) -> dict[str, Any]:
    """Make an incremental backup, of all collections if none is given."""
    return vault_runs.succeed(deployment, "Backup", request(name, *collections))


@contextmanager
def collection(deployment: Deployment, name: str) -> Iterator[None]:
    """Have one more collection for a while. From the third small segment on Milvus would compact one that is there."""
    client = MilvusClient(deployment.milvus.uri, db_name=DATABASE)
    library.create(client, name)
    client.insert(name, library.rows(range(20)))
    yield
    client.drop_collection(name)
    client.close()


def keys_of(deployment: Deployment, name: str) -> set[str]:
    """Return where the objects of a backup lie."""
    return {item.stored_key for item in StoredBackup(deployment, name).listed()}


def pooled(deployment: Deployment, folder: str = "") -> set[str]:
    """Return the keys in the pool, all or those below a folder of it."""
    below = PoolLayout(deployment.outputs["BackupPrefix"]).root + folder
    return {*vault_runs.listing(deployment, deployment.outputs["BackupBucketName"], below)}


def objects(deployment: Deployment) -> set[str]:
    """Return the keys of the objects in the pool."""
    return {key for key in pooled(deployment) if is_pooled(key)}


def delete(deployment: Deployment, *names: str) -> None:
    """Delete backups by name, which leaves the pool alone."""
    output = vault_runs.succeed(deployment, "Prune", {"backup_names": names})
    assert output["deleted_count"] == len(names)


def sweep_now(deployment: Deployment) -> Swept:
    """Sweep as if all that is there was written long ago."""
    return sweep(deployment, STAGING, grace=timedelta(0))


def workspace(deployment: Deployment, run: str) -> Workspace:
    """Return the working files of a run."""
    client, outputs = deployment.ministack.client("s3"), deployment.outputs
    store = S3ObjectStore(client, client, ThreadPoolExecutor(1))
    return Workspace(store, outputs["BackupBucketName"], outputs["BackupPrefix"], run)


def condemn(deployment: Deployment) -> None:
    """Leave what a sweep leaves that is stopped once it has condemned all that is there, if nobody lists any of it."""
    backup, layout = StoredBackup(deployment, ""), PoolLayout(deployment.outputs["BackupPrefix"])
    for group in {found.group for key in objects(deployment) if (found := parse_pooled_key(key))}:
        keys = sorted(key.removeprefix(layout.folder(group)) for key in pooled(deployment, f"{group}/"))
        condemned = Condemned(turn="one", keys=tuple(keys), sizes=(1,) * len(keys))
        backup.write(layout.condemned(group), condemned.model_dump_json().encode())


@pytest.fixture(scope="module")
def deployment(stack: LocalStack) -> Deployment:
    """Deploy a stack of its own, whose pool nobody else uses."""
    return stack.deploy("incremental", stack.milvus, {"StagingPrefix": STAGING})


@pytest.fixture(scope="module")
def made(stack: LocalStack, deployment: Deployment) -> Iterator[Made]:
    library.fill(stack.milvus_uri, DATABASE)
    before = library.look(stack.milvus_uri, DATABASE)
    outputs = [back_up(deployment, name) for name in ("shared_1", "shared_2")]
    back_up(deployment, "books_only", BOOKS)
    client = MilvusClient(stack.milvus_uri, db_name=DATABASE)
    client.insert("drafts", library.rows(range(1000, 1020)))
    client.flush("drafts")
    client.close()
    estimate = call(deployment.api_url, "POST", "/estimate", {"backup": request("shared_3")}).json
    outputs.append(back_up(deployment, "shared_3"))
    yield Made(before, library.look(stack.milvus_uri, DATABASE), outputs, estimate)
    library.drop(stack.milvus_uri, DATABASE)


def assert_restored(deployment: Deployment, name: str, expected: library.Contents, *collections: str) -> None:
    """Restore a backup, or some of its collections, and check that all is there as it was."""
    target, uri = f"of_{name}", deployment.milvus.uri
    wanted = {"collections": list(collections)} if collections else {}
    try:
        vault_runs.restore(deployment, {"backup_name": name, "rename": {f"{DATABASE}.*": f"{target}.*"}, **wanted})
        assert library.look(uri, target) == expected
    finally:
        library.drop(uri, target)


def test_only_what_is_new_is_copied(deployment: Deployment, made: Made) -> None:
    first, second, third = (StoredBackup(deployment, f"shared_{number}").manifest for number in (1, 2, 3))
    assert first.copied_object_count == first.object_count == second.object_count
    assert second.copied_object_count == 0
    assert third.copied_object_count is not None
    assert 0 < third.copied_object_count < first.object_count
    assert [output["status"] for output in made.outputs] == ["complete"] * 3
    assert keys_of(deployment, "shared_1") < keys_of(deployment, "shared_3") == objects(deployment)
    assert pooled(deployment, ".users/") == set()


def test_an_estimate_says_what_the_next_one_then_copies(deployment: Deployment, made: Made) -> None:
    third, estimate = StoredBackup(deployment, "shared_3").manifest, made.estimate["incremental"]
    assert estimate["copied_object_count"] == estimate["copy_requests"] == third.copied_object_count
    assert estimate["copied_size_bytes"] == third.copied_size_bytes
    assert made.estimate["object_count"] == third.object_count
    assert estimate["request_cost_usd"] < made.estimate["request_cost_usd"]


@pytest.mark.usefixtures("made")
def test_a_name_has_one_mode(deployment: Deployment) -> None:
    full = {**request("shared_1"), "mode": "full"}
    assert vault_runs.fail(deployment, "Backup", full).error == "BackupExistsError"
    assert StoredBackup(deployment, "shared_1").keys("binlogs/") == []


@pytest.mark.usefixtures("made")
def test_a_pool_of_a_newer_format_is_refused_and_nothing_of_it_goes(deployment: Deployment) -> None:
    there = objects(deployment)
    StoredBackup(deployment, "shared_1").copy("of_tomorrow", lambda manifest: manifest.update(format_version=NEWER))
    restoring = {"backup_name": "of_tomorrow", "suffix": "_of_tomorrow", "allow_version": True}
    for failure in (
        vault_runs.fail(deployment, "Verify", {"backup_name": "of_tomorrow"}),
        vault_runs.fail(deployment, "Restore", restoring),
    ):
        assert failure.error == "BackupFormatError"
        assert f"has format version {NEWER}" in failure.cause

    swept = sweep_now(deployment)

    (reason,) = swept.pool_reasons
    assert f"of_tomorrow/meta/backup_meta.json has format version {NEWER}" in reason
    assert objects(deployment) == there
    delete(deployment, "of_tomorrow")
    assert sweep_now(deployment).pool_reasons == ()


def test_damage_is_of_those_that_list_it_until_the_next_backup_heals_it(deployment: Deployment, made: Made) -> None:
    first, third = StoredBackup(deployment, "shared_1"), StoredBackup(deployment, "shared_3")
    others, gone, *_ = sorted(item.stored_key for item in first.listed(DRAFTS))
    cut = min(keys_of(deployment, "shared_3") - keys_of(deployment, "shared_1"))
    first.flip_a_byte(others)
    first.delete(gone)
    third.truncate(cut)
    of_first = {f"{DRAFTS}: {others} changed: it has another ETag", f"{DRAFTS}: {gone} is missing"}
    problems = {"shared_1": of_first, "shared_3": of_first | {f"{DRAFTS}: {cut} has another size"}}
    checks = {name: {"backup_name": name} for name in ("shared_1", "shared_3", "books_only")}

    ended = vault_runs.run_all(deployment, "Verify", checks)

    assert ended["books_only"].output["status"] == "intact"
    for name, expected in problems.items():
        failure = ended[name].failure
        assert failure.error == "BackupDamagedError"
        told = failure.cause.partition("\nHint: ")[0]
        assert {*told.partition("is damaged: ")[2].split("; ")} == expected
    refused = vault_runs.fail(
        deployment,
        "Restore",
        {"backup_name": "shared_1", "collections": [DRAFTS], "suffix": "_hurt", "allow_version": True},
    )
    assert refused.error == "BackupDamagedError"
    assert others in refused.cause or gone in refused.cause
    assert_restored(deployment, "shared_1", made.before.of("books"), BOOKS)

    back_up(deployment, "healing")

    healing = StoredBackup(deployment, "healing").manifest
    assert healing.copied_object_count == 3
    assert any(f"3 object(s) of {DRAFTS} in the pool were gone" in warning for warning in healing.warnings)
    healed = vault_runs.run_all(deployment, "Verify", checks)
    assert {ended.output["status"] for ended in healed.values()} == {"intact"}
    # Where the others look for them.
    assert keys_of(deployment, "healing") == keys_of(deployment, "shared_3")


@pytest.mark.usefixtures("made")
def test_what_a_running_backup_is_about_to_list_stays_and_the_next_one_passes_it_by(deployment: Deployment) -> None:
    with collection(deployment, "passing"):
        back_up(deployment, "older")
        only_older = keys_of(deployment, "older") - keys_of(deployment, "shared_3")
        machine = GatedMachine(deployment, "Backup", ["before PlanCopy"])
        execution = machine.start(request("running"))
        here = machine.arrival(execution)

        delete(deployment, "older")
        waiting = sweep_now(deployment)

        group = {found.group for key in only_older if (found := parse_pooled_key(key))}
        assert {*waiting.pool_waiting} == group
        assert "may be about to share objects" in waiting.pool_reasons[0]
        back_up(deployment, "meanwhile")
        machine.let_through_to_the_end(execution, here)
        for name in ("running", "meanwhile", "shared_3"):
            assert StoredBackup(deployment, name).not_as_listed() == []
        assert only_older < keys_of(deployment, "running")
        assert not only_older & keys_of(deployment, "meanwhile")
        assert sweep_now(deployment).pool_object_count == 0

        delete(deployment, "running")
        assert sweep_now(deployment).pool_object_count == len(only_older)
        assert StoredBackup(deployment, "meanwhile").not_as_listed() == []
        delete(deployment, "meanwhile")
        assert sweep_now(deployment).pool_object_count == len(only_older)


@pytest.mark.usefixtures("made")
def test_what_a_stopped_one_copied_and_noted_goes_and_it_publishes_no_more(deployment: Deployment) -> None:
    stopped_backup = StoredBackup(deployment, "stopped")
    with collection(deployment, "stopped"):
        kept = keys_of(deployment, "shared_3")
        stopped = kill(deployment, "Backup", "before PublishBackup", request("stopped"))
        gone = objects(deployment) - kept
        assert gone
        condemn(deployment)

        output = vault_runs.succeed(deployment, "Prune", {})

        assert output["pool_object_count"] == len(gone)
        assert objects(deployment) == kept
        assert invoke(deployment, "Backup", "PublishBackup", stopped.payload) == "RunTakenOverError"
        assert not vault_runs.listing(deployment, stopped_backup.bucket, stopped_backup.layout.marker)
        assert len(pooled(deployment, ".users/")) == 1
        back_up(deployment, "stopped")
        assert stopped_backup.not_as_listed() == []
        delete(deployment, "stopped")
        sweep_now(deployment)
        assert pooled(deployment, ".users/") == set()
        assert objects(deployment) == kept


@pytest.mark.usefixtures("made")
def test_the_newest_is_restored_as_it_was(deployment: Deployment, made: Made) -> None:
    assert_restored(deployment, "shared_3", made.after)


def test_what_one_had_alone_goes_with_it_and_the_others_are_whole(deployment: Deployment, made: Made) -> None:
    kept = keys_of(deployment, "shared_1")
    gone = objects(deployment) - kept
    assert gone
    delete(deployment, "shared_2", "shared_3", "healing")
    condemn(deployment)
    repair = deployment.outputs["VerifyStateMachineArn"].replace("stateMachine", "execution") + ":died"
    PoolUse(workspace(deployment, "verify-died"), repair).begin()

    output = vault_runs.succeed(deployment, "Prune", {})

    assert (output["pool_object_count"], output["pool_reasons"]) == (len(gone), [])
    assert objects(deployment) == kept
    (note,) = pooled(deployment, ".users/")
    assert b'"state":"void"' in StoredBackup(deployment, "shared_1").read(note)
    assert_restored(deployment, "shared_1", made.before)


@pytest.mark.usefixtures("made")
def test_a_pool_of_which_nobody_lists_anything_is_emptied(deployment: Deployment) -> None:
    delete(deployment, "shared_1")
    sweep_now(deployment)
    assert objects(deployment) == keys_of(deployment, "books_only")
    delete(deployment, "books_only")
    sweep_now(deployment)
    assert objects(deployment) == set()
    sweep_now(deployment)
    assert pooled(deployment) == set()
