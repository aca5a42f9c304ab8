"""Runs that are stopped after all that they do and started again with the same input: nothing is lost, doubled or left.

The function that a stopped execution was in goes on beside the next execution, or even begins only then. The
cases run some at a time: mostly they wait, for Milvus to import and to load.
"""

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from pymilvus import MilvusClient

from local.stack import MILVUS_BUCKET, MILVUS_ROOT_PATH, LocalStack
from milvus_vault.adapters.endpoints import Endpoint
from milvus_vault.adapters.milvus import MilvusDatabase
from milvus_vault.adapters.milvus_segments import SegmentDescriber
from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.reader import read_manifest
from milvus_vault.backup import working_files as backup_files
from milvus_vault.claims import CLAIM
from milvus_vault.model.hybrid import as_datetime
from milvus_vault.model.names import restore_run
from milvus_vault.model.requests import RestoreRequest
from milvus_vault.restore import working_files as restore_files
from milvus_vault.restore.advance import Advance
from milvus_vault.restore.journal import Journal, JournalEntry
from milvus_vault.restore.working_files import RestorePlan
from milvus_vault.workspace import Workspace
from tests.support import library, vault_runs
from tests.support.killing import (
    REACH_SECONDS,
    Arrival,
    GatedMachine,
    invoke,
    kill,
    kill_inside,
    pass_by_pass,
    read_machine,
    states_of_failure,
    states_that_leave_something,
    tasks,
)
from tests.support.library import Contents
from tests.support.selecting import selected
from tests.support.tampering import StoredBackup

AT_A_TIME = 5
SOURCE = "library"

BACKUP, RESTORE = read_machine("backup"), read_machine("restore")
INCREMENTAL = "incremental"
# Only after a backup that asks for it; test_retention.py, test_events.py and test_copies.py have such ones.
AFTERWARDS = {
    "StartExport", "StartPrune", "StartVerify",
    "VerificationNotStarted", "WasVerificationStarted", "CopyNotStarted", "NeitherStarted",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Library:
    """The stack, a filled source in it, and a backup of that."""

    stack: LocalStack
    contents: Contents
    backup: str
    objects: Mapping[str, Any]
    """Source key, size and ETag of what the backup holds, by the key it has below the backup's folder."""

    def restore_request(self, database: str, **more: Any) -> dict[str, Any]:
        """Return a request for a restore into a database of its own."""
        return {"backup_name": self.backup, "rename": {f"{SOURCE}.*": f"{database}.*"}, "allow_version": True, **more}

    def passing(self, state: str) -> dict[str, Any]:
        """Return what else to ask for, so that a restore passes a state: a time that is chosen has logs read for it."""
        if state == "CheckBatches":
            return {"verify": "deep"}
        if state != "CutCollections":
            return {}
        run = self.run("")
        manifest = read_manifest(run.store, run.bucket, BackupLayout(run.prefix, self.backup))
        assert manifest is not None
        return {"as_of": as_datetime(manifest.moment).isoformat()}

    def look(self, database: str) -> Contents:
        """Return what there is in a database."""
        return library.look(self.stack.milvus_uri, database)

    @contextmanager
    def database(self, name: str) -> Iterator[str]:
        """Yield the name of a database that is dropped in the end: a server has at most 64."""
        try:
            yield name
        finally:
            library.drop(self.stack.milvus_uri, name)

    def run(self, name: str) -> Workspace:
        """Return the working files of a run."""
        outputs = self.stack.outputs
        return Workspace(vault_runs.local_store(self.stack), outputs["BackupBucketName"], outputs["BackupPrefix"], name)


@pytest.fixture(scope="module")
def filled(stack: LocalStack) -> Iterator[Library]:
    """Fill the source and back it up, without any interruption."""
    library.fill(stack.milvus_uri, SOURCE)
    vault_runs.succeed(stack, "Backup", backup_request("undisturbed"))
    contents = library.look(stack.milvus_uri, SOURCE)
    with pass_by_pass(stack.deployment):
        yield Library(stack, contents, "undisturbed", listed_objects(stack, "undisturbed"))
    library.drop(stack.milvus_uri, SOURCE)


def backup_request(name: str, database: str = SOURCE) -> dict[str, Any]:
    """Return a request for a backup of a database."""
    return {"backup_name": name, "collections": [f"{database}.*"]}


def backup_folder(stack: LocalStack, name: str) -> str:
    """Return the folder of a backup, with a slash at its end."""
    return f"{stack.outputs['BackupPrefix']}/{name}/"


def listed_objects(stack: LocalStack, name: str) -> dict[str, Any]:
    """Return what a backup's object lists say is in it: source key, size and ETag, by the key below its folder."""
    s3, bucket, folder = stack.client("s3"), stack.outputs["BackupBucketName"], backup_folder(stack, name)
    found = {}
    for key in vault_runs.listing(stack, bucket, f"{folder}meta/vault/objects/"):
        for line in s3.get_object(Bucket=bucket, Key=key)["Body"].read().splitlines():
            stored, *rest, _ = json.loads(line)
            found[stored.removeprefix(folder)] = rest
    return found


def stored_objects(stack: LocalStack, name: str) -> dict[str, str]:
    """Return the ETags of what lies below a backup's `binlogs/`, by the key below its folder."""
    folder = backup_folder(stack, name)
    stored = vault_runs.listing(stack, stack.outputs["BackupBucketName"], f"{folder}binlogs/")
    return {key.removeprefix(folder): etag.strip('"') for key, etag in stored.items()}


def etags(objects: Mapping[str, Any]) -> dict[str, str]:
    """Return the ETags of listed objects."""
    return {key: etag for key, (_, _, etag) in objects.items()}


def run_of(stack: LocalStack, request: Mapping[str, Any]) -> str:
    """Return the name of the run of a restore."""
    target = f"{stack.milvus_uri} {MILVUS_BUCKET} {MILVUS_ROOT_PATH}"
    return restore_run(
        request["backup_name"], RestoreRequest.model_validate(request).model_dump_json(exclude_defaults=True), target
    )


def staged_objects(stack: LocalStack, run: str) -> list[str]:
    """Return what a run has staged in Milvus' bucket."""
    return [key for key in vault_runs.listing(stack, MILVUS_BUCKET) if f"/{run}/" in key]


def assert_restored(filled: Library, database: str, request: Mapping[str, Any], *only: str) -> None:
    """Check that a database holds the source's collections, or some, and that nothing else is left of the restore."""
    assert filled.look(database) == filled.contents.of(*only or filled.contents.collections)
    assert staged_objects(filled.stack, run_of(filled.stack, request)) == []


@dataclass(frozen=True, slots=True)
class Case:
    """What one test does; it raises what is wrong."""

    name: str
    body: Callable[[Library], None]


@pytest.fixture(scope="module")
def under_way(filled: Library, request: pytest.FixtureRequest) -> Iterator[dict[str, Future[None]]]:
    """Begin with the cases of all selected tests, so that each test has only to wait for its own."""
    chosen: list[Case] = selected(request, "case")
    pool = ThreadPoolExecutor(AT_A_TIME)
    yield {case.name: pool.submit(case.body, filled) for case in chosen}
    pool.shutdown(cancel_futures=True)


def cases(
    body: Callable[[Library, str], None], names: list[str], thorough: Collection[str] = ()
) -> pytest.MarkDecorator:
    """Return the parameters of a test: a case for each name. Those of `thorough` are left to `make test-all`."""

    def parameter(name: str) -> Any:
        case = Case(f"{body.__name__} {name}", lambda filled: body(filled, name))
        marks = [pytest.mark.thorough] if name in thorough else []
        return pytest.param(case, id=name.replace(" ", "-"), marks=marks)

    assert set(thorough) <= set(names), thorough
    return pytest.mark.parametrize("case", [parameter(name) for name in names])


def stop_restore_after(filled: Library, state: str) -> None:
    with filled.database(f"after_{state}") as database:
        request = filled.restore_request(database, **filled.passing(state))
        deployment = filled.stack.deployment
        if state == "NextRound":
            # What AdvanceRestore has found staged, it imports, whatever becomes of the copy.
            lose = {"before VerifyCopy": lambda here: unstage(filled, here)}
            kill(deployment, "Restore", f"after {state}", request, on_the_way=lose, held="before AdvanceRestore")
        else:
            kill(deployment, "Restore", f"after {state}", request)

        vault_runs.restore(filled.stack, request)

        assert_restored(filled, database, request)


def unstage(filled: Library, here: Arrival) -> None:
    """Remove one of the objects that a restore has staged, so that it takes another round."""
    key = staged_objects(filled.stack, here.payload["run"])[0]
    filled.stack.client("s3").delete_object(Bucket=MILVUS_BUCKET, Key=key)


# Each is passed by another kill that stays: a function that runs on leaves what its state leaves, and more.
@cases(
    stop_restore_after,
    states_that_leave_something(RESTORE),
    thorough={*states_that_leave_something(RESTORE)} - {"NextRound"},
)
def test_a_restore_stopped_after_a_state_is_completed_by_the_next(
    case: Case, under_way: Mapping[str, Future[None]]
) -> None:
    under_way[case.name].result()


def entries(filled: Library, here: Arrival) -> list[JournalEntry]:
    """Return how far each collection of the restore is that stands at a gate."""
    return list(Journal(filled.run(here.payload["restore"]["run"])).read().values())


MOMENTS: Mapping[str, Callable[[list[JournalEntry]], bool]] = {
    "jobs have started": lambda found: any(entry.has("jobs") and not entry.is_imported for entry in found),
    "one is imported": lambda found: any(entry.is_imported and not entry.is_finished for entry in found),
    "one has its name": lambda found: 0 < sum(entry.is_finished for entry in found) < len(found),
}


def stop_restore_when(filled: Library, moment: str) -> None:
    with filled.database(f"when_{moment.replace(' ', '_')}") as database:
        request = filled.restore_request(database)

        def is_reached(here: Arrival) -> bool:
            return MOMENTS[moment](entries(filled, here))

        kill(filled.stack.deployment, "Restore", "after AdvanceRestore", request, when=is_reached)

        vault_runs.restore(filled.stack, request)

        assert_restored(filled, database, request)


@cases(stop_restore_when, [*MOMENTS])
def test_a_restore_stopped_between_two_collections_is_completed_by_the_next(
    case: Case, under_way: Mapping[str, Future[None]]
) -> None:
    under_way[case.name].result()


def stop_restore_inside(filled: Library, task: str) -> None:
    with filled.database(f"inside_{task}") as database:
        request = filled.restore_request(database, collections=[f"{SOURCE}.books"], **filled.passing(task))
        function = kill_inside(filled.stack.deployment, "Restore", task, request)

        vault_runs.restore(filled.stack, request)

        function.result()
        assert_restored(filled, database, request, "books")


@cases(stop_restore_inside, tasks(RESTORE), thorough={"PrepareRestore", "VerifyCopy", "ReportRestore"})
def test_a_restore_stopped_inside_a_task_is_completed_by_the_next(
    case: Case, under_way: Mapping[str, Future[None]]
) -> None:
    under_way[case.name].result()


def stop_failing_restore_after(filled: Library, state: str) -> None:
    with filled.database(f"failing_{state}") as database:
        request = filled.restore_request(database, collections=[f"{SOURCE}.drafts"])
        taken: list[bytes] = []

        def take_plan(here: Arrival) -> None:
            run = filled.run(here.payload["run"])
            taken.append(run.read_bytes(restore_files.PLAN))
            run.delete([restore_files.PLAN])

        def give_plan_back(here: Arrival) -> None:
            filled.run(here.payload["run"]).write_bytes(restore_files.PLAN, taken[0])

        on_the_way = {"before AdvanceRestore": take_plan, "before CleanUpRestore": give_plan_back}
        kill(filled.stack.deployment, "Restore", f"after {state}", request, on_the_way=on_the_way)

        vault_runs.restore(filled.stack, request)

        assert_restored(filled, database, request, "drafts")


@cases(stop_failing_restore_after, ["CleanUpRestore", *states_of_failure(RESTORE)], thorough=states_of_failure(RESTORE))
def test_a_failing_restore_stopped_after_a_state_is_completed_by_the_next(
    case: Case, under_way: Mapping[str, Future[None]]
) -> None:
    under_way[case.name].result()


def let_functions_of_a_restore_come_late(filled: Library, gate: str) -> None:
    with filled.database(f"late_{gate.replace(' ', '_')}") as database:
        deployment = filled.stack.deployment
        request = filled.restore_request(database, collections=[f"{SOURCE}.drafts"])
        stopped = kill(deployment, "Restore", "before AdvanceRestore", request)
        following = GatedMachine(deployment, "Restore", [gate])
        execution = following.start(request)
        here = following.arrival(execution)

        for task in ("AdvanceRestore", "CleanUpRestore"):
            invoke(deployment, "Restore", task, stopped.payload)

        following.let_through_to_the_end(execution, here)
        described = filled.stack.wait(execution)
        assert described["status"] == "SUCCEEDED", described
        assert_restored(filled, database, request, "drafts")


@cases(let_functions_of_a_restore_come_late, ["after VerifyCopy", "before AdvanceRestore", "after AdvanceRestore"])
def test_functions_of_a_stopped_restore_that_come_late_do_no_harm(
    case: Case, under_way: Mapping[str, Future[None]]
) -> None:
    under_way[case.name].result()


class ProgramKilledError(Exception):
    """The function ends here."""


class DiesAfterDropping(MilvusDatabase):
    """Milvus for a function that is killed as soon as it has dropped a collection."""

    def drop_collection(self, database: str, name: str) -> None:
        """Drop a collection; it is the last thing that happens."""
        super().drop_collection(database, name)
        raise ProgramKilledError


def die_between_dropping_and_renaming(filled: Library, _: str) -> None:
    with filled.database("replaced") as database:
        stack, name = filled.stack, "drafts"
        client = filled_with_other_rows(stack.milvus_uri, database)
        request = filled.restore_request(database, collections=[f"{SOURCE}.{name}"], drop_existing=True)
        reached = MOMENTS["jobs have started"]
        stopped = kill(
            stack.deployment,
            "Restore",
            "after AdvanceRestore",
            request,
            when=lambda here: reached(entries(filled, here)),
        )
        run = filled.run(stopped.payload["restore"]["run"])
        plan = run.read(restore_files.PLAN, RestorePlan)

        with grpc.insecure_channel(stack.milvus_uri.removeprefix("http://")) as channel:
            describer = SegmentDescriber(Endpoint.parse(stack.milvus_uri))
            server = DiesAfterDropping(channel, stack.milvus_uri, describer=describer)
            call = Advance(run, plan, server, server.importer(), plan.execution_arn, 1, lambda: REACH_SECONDS)

            def finish() -> None:
                while not call.advance().is_done:
                    time.sleep(0.1)

            with pytest.raises(ProgramKilledError):
                finish()

        (whole,) = client.list_collections()
        assert whole.startswith("vault_restoring_")
        client.load_collection(whole)
        found = client.query(whole, "id >= 0", output_fields=["id"], consistency_level="Strong")
        assert len(found) == filled.contents.counts[name]
        client.release_collection(whole)
        vault_runs.restore(stack, request)
        assert_restored(filled, database, request, name)


def die_inside_finishing(filled: Library, _: str) -> None:
    with filled.database("replacing") as database:
        stack = filled.stack
        filled_with_other_rows(stack.milvus_uri, database)
        before = filled.look(database)
        request = filled.restore_request(database, collections=[f"{SOURCE}.drafts"], drop_existing=True)
        function = kill_inside(stack.deployment, "Restore", "AdvanceRestore", request)
        function.result()

        assert filled.look(database).rows["drafts"] in (before.rows["drafts"], filled.contents.rows["drafts"])
        vault_runs.restore(stack, request)
        assert_restored(filled, database, request, "drafts")


def filled_with_other_rows(uri: str, database: str) -> MilvusClient:
    """Create `drafts` with rows that the source has not, and return a client of its database."""
    MilvusClient(uri).create_database(database)
    client = MilvusClient(uri, db_name=database)
    library.create(client, "drafts")
    client.insert("drafts", library.rows(range(20), ", first edition"))
    client.flush("drafts")
    return client


@cases(die_between_dropping_and_renaming, ["between dropping and renaming"])
def test_a_restore_that_dies_after_it_dropped_the_old_has_the_new_one_whole(
    case: Case, under_way: Mapping[str, Future[None]]
) -> None:
    under_way[case.name].result()


@cases(die_inside_finishing, ["inside AdvanceRestore"])
def test_a_restore_that_dies_while_it_replaces_leaves_the_old_or_the_new_one_whole(
    case: Case, under_way: Mapping[str, Future[None]]
) -> None:
    under_way[case.name].result()


def lose_what_was_restored(filled: Library, _: str) -> None:
    with filled.database("lost_again") as database:
        request = filled.restore_request(database)
        kill(filled.stack.deployment, "Restore", "after ReportRestore", request)
        client = MilvusClient(filled.stack.milvus_uri, db_name=database)
        client.drop_collection("drafts")

        vault_runs.restore(filled.stack, request)

        assert_restored(filled, database, request)


def replace_the_backup(filled: Library, _: str) -> None:
    stack, name = filled.stack, "replaced"
    with filled.database("first_source") as source, filled.database("first_target") as target:
        client = filled_with_other_rows(stack.milvus_uri, source)
        vault_runs.succeed(stack, "Backup", backup_request(name, source))
        request = {"backup_name": name, "rename": {f"{source}.*": f"{target}.*"}, "allow_version": True}
        reached = MOMENTS["jobs have started"]
        kill(
            stack.deployment,
            "Restore",
            "after AdvanceRestore",
            request,
            when=lambda here: reached(entries(filled, here)),
        )
        delete_backup(stack, name)
        client.drop_collection("drafts")
        library.create(client, "drafts")
        client.insert("drafts", library.rows(range(20), ", second edition"))
        vault_runs.succeed(stack, "Backup", backup_request(name, source))

        vault_runs.restore(stack, request)

        assert filled.look(target) == filled.look(source)


def delete_backup(stack: LocalStack, name: str) -> None:
    """Delete a backup as an operator would."""
    bucket = stack.outputs["BackupBucketName"]
    for key in vault_runs.listing(stack, bucket, backup_folder(stack, name)):
        stack.client("s3").delete_object(Bucket=bucket, Key=key)


@cases(lose_what_was_restored, ["by the stopped one"])
def test_what_was_restored_and_is_gone_is_restored_by_the_next(
    case: Case, under_way: Mapping[str, Future[None]]
) -> None:
    under_way[case.name].result()


@cases(replace_the_backup, ["under its name"])
def test_a_restore_begins_anew_where_the_backup_was_made_anew(
    case: Case, under_way: Mapping[str, Future[None]]
) -> None:
    under_way[case.name].result()


def restore_again(filled: Library, _: str) -> None:
    with filled.database("again") as database:
        request = filled.restore_request(database)
        vault_runs.restore(filled.stack, request)

        refused = vault_runs.fail(filled.stack, "Restore", request)

        assert refused.error == "CollectionExistsError"
        assert_restored(filled, database, request)
        replacing = filled.restore_request(database, drop_existing=True)
        vault_runs.restore(filled.stack, replacing)
        assert_restored(filled, database, replacing)
        vault_runs.restore(filled.stack, replacing)
        assert_restored(filled, database, replacing)


@cases(restore_again, ["with and without drop_existing"])
def test_a_restore_that_succeeded_is_refused_or_replaces_when_started_again(
    case: Case, under_way: Mapping[str, Future[None]]
) -> None:
    under_way[case.name].result()


@contextmanager
def to_back_up(filled: Library, name: str) -> Iterator[dict[str, Any]]:
    """Yield a request: for a backup of the source, or for an incremental one that finds a part of it in the pool."""
    if not name.endswith(INCREMENTAL):
        yield backup_request(name)
        return
    with filled.database(name) as database:
        client = filled_with_other_rows(filled.stack.milvus_uri, database)
        mode = {"mode": "incremental"}
        vault_runs.succeed(filled.stack, "Backup", backup_request(f"before_{name}", database) | mode)
        client.insert("drafts", library.rows(range(20, 40)))
        yield backup_request(name, database) | mode


def stop_backup_after(filled: Library, case: str) -> None:
    state = case.partition(" ")[0]
    with to_back_up(filled, f"after_{case.replace(' ', '_')}") as request:
        on_the_way = {"before VerifyCopy": lambda _: uncopy(filled.stack, request)} if state == "NextRound" else {}
        kill(filled.stack.deployment, "Backup", f"after {state}", request, on_the_way=on_the_way)

        finish_backup(filled, request)


def uncopy(stack: LocalStack, request: Mapping[str, Any]) -> None:
    """Remove one of the objects that were copied for a backup, so that it takes another round."""
    name, bucket = request["backup_name"], stack.outputs["BackupBucketName"]
    keys = [backup_folder(stack, name) + key for key in stored_objects(stack, name)]
    if "mode" in request:
        shared = {item.stored_key for item in StoredBackup(stack, f"before_{name}").listed()}
        keys = [*vault_runs.listing(stack, bucket, min(shared).rsplit("/", 2)[0]).keys() - shared]
    stack.client("s3").delete_object(Bucket=bucket, Key=keys[0])


def finish_backup(filled: Library, request: dict[str, Any], function: Future[str | None] | None = None) -> None:
    """Start a backup again, and check that it holds just what one does that nothing disturbs."""
    stack, name = filled.stack, request["backup_name"]
    output = vault_runs.succeed(stack, "Backup", request)

    if function:
        function.result()
    assert output["status"] == "complete"
    if "mode" not in request:
        assert listed_objects(stack, name) == filled.objects
        assert stored_objects(stack, name) == etags(filled.objects)
        return
    before, backup = StoredBackup(stack, f"before_{name}"), StoredBackup(stack, name)
    (number,) = (entry.collection_id for entry in backup.manifest.collections)
    logs = vault_runs.listing(stack, MILVUS_BUCKET, f"{MILVUS_ROOT_PATH}/insert_log/{number}/")
    listed = backup.listed()
    assert sorted((item.source_key, f'"{item.etag}"') for item in listed) == sorted(logs.items())
    assert {item.stored_key for item in before.listed()} < {item.stored_key for item in listed}
    assert (before.not_as_listed(), backup.not_as_listed(), stored_objects(stack, name)) == ([], [], {})


def in_both_modes(
    body: Callable[[Library, str], None], states: list[str], full: set[str], incremental: set[str]
) -> pytest.MarkDecorator:
    """Return the parameters of a test of both modes; without `--all` it is of some states in each."""
    gate = {*full, *(f"{state} {INCREMENTAL}" for state in incremental)}
    names = [*states, *(f"{state} {INCREMENTAL}" for state in states)]
    assert gate <= set(names), gate
    return cases(body, names, thorough={*names} - gate)


BACKUP_STATES = [state for state in states_that_leave_something(BACKUP) if state not in AFTERWARDS]


@in_both_modes(stop_backup_after, BACKUP_STATES, full={"PublishBackup", "NextRound"}, incremental={"NextRound"})
def test_a_backup_stopped_after_a_state_is_completed_by_the_next(
    case: Case, under_way: Mapping[str, Future[None]]
) -> None:
    under_way[case.name].result()


def stop_backup_inside(filled: Library, case: str) -> None:
    with to_back_up(filled, f"inside_{case.replace(' ', '_')}") as request:
        function = kill_inside(filled.stack.deployment, "Backup", case.partition(" ")[0], request)

        finish_backup(filled, request, function)


BACKUP_TASKS = [task for task in tasks(BACKUP) if task not in AFTERWARDS]


@in_both_modes(
    stop_backup_inside,
    BACKUP_TASKS,
    full={"SnapshotBatch", "PlanCopy", "CopyObjects"},
    incremental={"SnapshotBatch", "PlanCopy", "CopyObjects", "PublishBackup"},
)
def test_a_backup_stopped_inside_a_task_is_completed_by_the_next(
    case: Case, under_way: Mapping[str, Future[None]]
) -> None:
    under_way[case.name].result()


def stop_backup_of_another_mode(filled: Library, mode: str) -> None:
    with filled.database(f"first_{mode}") as database:
        filled_with_other_rows(filled.stack.milvus_uri, database)
        request = backup_request(f"first_{mode}", database)
        other = "full" if mode == INCREMENTAL else INCREMENTAL
        function = kill_inside(filled.stack.deployment, "Backup", "CopyObjects", request | {"mode": mode})
        function.result()

        vault_runs.succeed(filled.stack, "Backup", request | {"mode": other})

        backup = StoredBackup(filled.stack, request["backup_name"])
        assert (backup.manifest.mode, backup.not_as_listed()) == (other, [])
        assert len(stored_objects(filled.stack, backup.name)) == (len(backup.listed()) if other == "full" else 0)


@cases(stop_backup_of_another_mode, ["full", INCREMENTAL], thorough=[INCREMENTAL])
def test_a_backup_that_is_started_again_in_another_mode_has_nothing_of_the_first(
    case: Case, under_way: Mapping[str, Future[None]]
) -> None:
    under_way[case.name].result()


def stop_failing_backup_after(filled: Library, state: str) -> None:
    with filled.database(f"not_yet_before_{state}") as database:
        request = backup_request(f"failing_{state}", database)
        kill(filled.stack.deployment, "Backup", f"after {state}", request)
        filled_with_other_rows(filled.stack.milvus_uri, database)

        output = vault_runs.succeed(filled.stack, "Backup", request)

        assert (output["status"], output["collection_count"]) == ("complete", 1)


@cases(stop_failing_backup_after, [state for state in states_of_failure(BACKUP) if state not in AFTERWARDS])
def test_a_failing_backup_stopped_after_a_state_is_completed_by_the_next(
    case: Case, under_way: Mapping[str, Future[None]]
) -> None:
    under_way[case.name].result()


def let_functions_of_a_backup_come_late(filled: Library, mode: str) -> None:
    with filled.database(f"moving_{mode}") as database, filled.database(f"moved_{mode}") as restored:
        stack, deployment, name = filled.stack, filled.stack.deployment, f"late_{mode}"
        library.fill(stack.milvus_uri, database)
        request = backup_request(name, database) | {"mode": mode}
        copying = stopped_before_copying(stack, request)
        payloads: dict[str, Any] = {}
        remember = {"before VerifyCopy": lambda here: payloads.update(VerifyCopy=here.payload)}
        stopped = kill(deployment, "Backup", "before PublishBackup", request, on_the_way=remember)
        payloads |= {"CopyBatch": copying.payload, "PlanCopy": stopped.payload, "PublishBackup": stopped.payload}
        run = filled.run(stopped.payload["run"])
        its_files = {file: run.read_bytes(file) for file in (CLAIM, backup_files.PLAN)}
        replace_segments(stack.milvus_uri, database)
        following = GatedMachine(deployment, "Backup", ["after VerifyCopy"])
        execution = following.start(request)
        here = following.arrival(execution)

        for task, payload in payloads.items():
            assert invoke(deployment, "Backup", task, payload) == "RunTakenOverError"
        # As if it had looked who owns the run right before the other execution began.
        with swapped(run, its_files):
            assert invoke(deployment, "Backup", "PublishBackup", stopped.payload) is None

        following.let_through(here)
        described = stack.wait(execution)
        assert described["status"] == "SUCCEEDED", described
        assert StoredBackup(stack, name).not_as_listed() == []
        expected = etags(listed_objects(stack, name)) if mode == "full" else {}
        assert stored_objects(stack, name) == expected
        vault_runs.restore(stack, {"backup_name": name, "rename": {f"{database}.*": f"{restored}.*"}})
        assert filled.look(restored) == filled.look(database)


def stopped_before_copying(stack: LocalStack, request: Mapping[str, Any]) -> Arrival:
    """Start a backup, stop it before it copies anything, and return where."""
    copying = GatedMachine(stack.deployment, "CopyObjects", ["before CopyBatch"])
    machine = GatedMachine(
        stack.deployment, "Backup", [], substitutions={stack.outputs["CopyObjectsStateMachineArn"]: copying.arn}
    )
    execution = machine.start(request)
    here = copying.arrival(execution)
    machine.stop(execution, here)
    return here


def replace_segments(uri: str, database: str) -> None:
    """Take segments away from `books`, and add one."""
    client = MilvusClient(uri, db_name=database)
    client.release_collection("books")
    client.drop_partition("books", "novels")
    client.insert("books", library.rows(range(1000, 1020)))
    client.load_collection("books")


@contextmanager
def swapped(run: Workspace, files: Mapping[str, bytes]) -> Iterator[None]:
    """Have other contents in working files for a while."""
    present = {name: run.read_bytes(name) for name in files}
    for name, body in files.items():
        run.write_bytes(name, body)
    yield
    for name, body in present.items():
        run.write_bytes(name, body)


@cases(let_functions_of_a_backup_come_late, ["full", INCREMENTAL])
def test_functions_of_a_stopped_backup_that_come_late_do_no_harm(
    case: Case, under_way: Mapping[str, Future[None]]
) -> None:
    under_way[case.name].result()


def test_a_backup_that_succeeded_is_refused_when_started_again(filled: Library) -> None:
    stack = filled.stack
    before = vault_runs.listing(stack, stack.outputs["BackupBucketName"], backup_folder(stack, filled.backup))

    refused = vault_runs.fail(stack, "Backup", backup_request(filled.backup))

    assert refused.error == "BackupExistsError"
    after = vault_runs.listing(stack, stack.outputs["BackupBucketName"], backup_folder(stack, filled.backup))
    assert after == before
