"""An export to another bucket or prefix: a backup there, as each that is made there, and none here."""

from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, override

import pytest

from milvus_vault.archive.check import check_objects
from milvus_vault.archive.layout import BackupLayout, log_of
from milvus_vault.archive.reader import read_archive, read_manifest, read_objects
from milvus_vault.archive.reference_reader import read_reference_archive
from milvus_vault.backup.claiming import is_published
from milvus_vault.backup.export import ExportPreparation
from milvus_vault.backup.places import Place
from milvus_vault.backup.publish import name_taken
from milvus_vault.backup.working_files import RBAC
from milvus_vault.catalogue import Catalogue
from milvus_vault.claims import CLAIM, Claim, ClaimHeldError, Claims
from milvus_vault.errors import (
    BackupDamagedError,
    BackupExistsError,
    BackupInProgressError,
    BackupNotExportableError,
    ObjectNotFoundError,
)
from milvus_vault.model.requests import ExportPlace, ExportRequest
from milvus_vault.retention.sweep import Sweep
from tests.support.dying import dying
from tests.support.memory_store import InMemoryObjectStore
from tests.unit.archive import samples
from tests.unit.archive.samples import BUCKET, PREFIX, sample_contents, write_backup
from tests.unit.refusals_elsewhere import ARCHIVE, RefusedElsewhere
from tests.unit.test_claims import FakeExecutions
from tests.unit.test_export import EXPORTED_AT, LOST, ORIGINAL, Export, prune, stored, write

THERE = Place(bucket=ARCHIVE, prefix="exports/team")
BESIDE = Place(bucket=BUCKET, prefix="exports")
PLACES = [pytest.param(THERE, id="another bucket"), pytest.param(BESIDE, id="another prefix")]
SAME_NAME = ExportRequest(backup_name="night", export_name="night", to=ExportPlace())


@pytest.fixture
def store() -> InMemoryObjectStore:
    """A bucket with an incremental backup, and an empty one."""
    found = InMemoryObjectStore(BUCKET, ARCHIVE)
    write(found)
    return found


def export(store: InMemoryObjectStore, place: Place = THERE, arn: str = "first", **more: Any) -> Export:
    """Return an execution that exports to another place, under the backup's own name."""
    given: dict[str, Any] = {"arn": arn, "request": SAME_NAME, "place": place, **more}
    return Export(store, **given)


def layout(place: Place) -> BackupLayout:
    """Return where the export lies."""
    return BackupLayout(place.prefix, "night")


def below(store: InMemoryObjectStore, place: Place) -> set[str]:
    """Return the keys of what lies in a place."""
    return {key for key in store.buckets[place.bucket] if key.startswith(f"{place.prefix}/")}


@pytest.mark.parametrize("place", PLACES)
def test_it_is_a_full_backup_there_with_what_the_original_has(store: InMemoryObjectStore, place: Place) -> None:
    before = read_archive(store, BUCKET, ORIGINAL)

    manifest = export(store, place).succeed()

    there = layout(place)
    assert read_manifest(store, place.bucket, there) == manifest
    found = read_archive(store, place.bucket, there)
    theirs = read_reference_archive(store, place.bucket, there, store.get(place.bucket, there.marker))
    assert found.rbac == samples.RBAC
    assert [one.name for one in theirs.collections] == [one.name for one in found.collections]
    for exported, original in zip(found.collections, before.collections, strict=True):
        objects = read_objects(store, place.bucket, there, exported)
        assert {item.stored_key for item in objects} == {there.log(log_of(item)) for item in objects}
        assert {item._replace(stored_key="") for item in objects} == {
            item._replace(stored_key="") for item in read_objects(store, BUCKET, ORIGINAL, original)
        }
        assert not check_objects(store, place.bucket, there, exported, objects).is_damaged


@pytest.mark.parametrize("place", PLACES)
def test_nothing_else_is_left_there_and_nothing_of_it_here(store: InMemoryObjectStore, place: Place) -> None:
    here = {key for key in store.buckets[BUCKET] if key.startswith(f"{PREFIX}/") and "/.runs/" not in key}

    made = export(store, place)
    made.succeed()

    assert {key for key in below(store, place) if not key.startswith(layout(place).root)} == set()
    assert {key for key in store.buckets[BUCKET] if key.startswith(f"{PREFIX}/") and "/.runs/" not in key} == here
    assert [entry.name for entry in Catalogue(store, BUCKET, PREFIX).list(10, None).items] == ["night"]
    assert not [key for key in store.buckets[BUCKET] if "/.runs/" in key and key.endswith(RBAC)]


@pytest.mark.parametrize("place", PLACES)
def test_a_deployment_that_is_there_lists_it_and_may_delete_it(store: InMemoryObjectStore, place: Place) -> None:
    manifest = export(store, place).succeed()
    theirs = Catalogue(store, place.bucket, place.prefix)
    (listed,) = theirs.list(10, None).items
    assert (listed.name, listed.object_count, listed.created_at) == (
        "night",
        manifest.object_count,
        manifest.started_at,
    )
    told = theirs.get("night")
    assert (told.location, told.export_of) == (f"s3://{place.bucket}/{place.prefix}/night/", "night")
    # It may not ask whether our execution still runs.
    unknown = FakeExecutions(first="UNKNOWN")
    Claims(store, unknown, place.bucket, execution_arn="theirs", run="prune-1").take(
        export(store, place).destination.key(CLAIM)
    )


class TestRefusals(RefusedElsewhere):
    """Of an export."""

    @override
    def execution(self, store: InMemoryObjectStore, **more: Any) -> Export:
        return export(store, **more)

    def test_a_name_that_is_taken_there(self, store: InMemoryObjectStore) -> None:
        write_backup(replace_bucket(store), layout(THERE), sample_contents(layout(THERE)))
        self.refused(store, BackupExistsError, "'night' exists already in s3://archive/exports/team\n")

    @pytest.mark.parametrize(("run", "status"), [("backup-night", "ABORTED"), ("", "SUCCEEDED")])
    def test_what_a_dead_backup_of_this_stack_or_an_export_that_was_whole_left_there(
        self, store: InMemoryObjectStore, run: str, status: str
    ) -> None:
        claim = Claim(execution_arn="old", run=run or export(store).run.run, claimed_at=EXPORTED_AT)
        store.put(ARCHIVE, export(store).destination.key(CLAIM), claim.model_dump_json().encode())
        store.put(ARCHIVE, f"{layout(THERE).root}binlogs/insert_log/1/2/3/3/4/5", b"")
        self.refused(store, BackupExistsError, "something lies in", executions=FakeExecutions(old=status))

    def test_a_backup_that_is_none_for_exports(self) -> None:
        store = InMemoryObjectStore(BUCKET, ARCHIVE)
        write(store, failures=(LOST,))
        self.refused(store, BackupNotExportableError, "lacks 1 collection")

    def test_a_damaged_backup(self, store: InMemoryObjectStore) -> None:
        store.delete(BUCKET, [next(key for key in store.buckets[BUCKET] if "/.pool/" in key)])
        self.refused(store, BackupDamagedError, "missing")


def replace_bucket(store: InMemoryObjectStore) -> InMemoryObjectStore:
    """Return a store that has the archive's objects in the bucket to which the samples are written."""
    found = InMemoryObjectStore()
    found.buckets[BUCKET] = store.buckets[ARCHIVE]
    return found


class TestAtOnce:
    """Of several that write one name in one place, one does."""

    def test_two_exports_of_different_backups(self, store: InMemoryObjectStore) -> None:
        write_backup(store, BackupLayout(PREFIX, "day"), sample_contents(BackupLayout(PREFIX, "day")))
        day = ExportRequest(backup_name="day", export_name="night", to=ExportPlace())
        assert export(store).prepare() is not None
        with pytest.raises(BackupInProgressError, match="execution first is working on backup 'night'"):
            export(store, arn="second", request=day).prepare()

    def test_exports_of_two_deployments(self, store: InMemoryObjectStore) -> None:
        ours, theirs = export(store), replace(export(store).destination, run="export-theirs")
        claims = Claims(store, FakeExecutions(), ARCHIVE, execution_arn="theirs", run=theirs.run)
        assert ours.prepare() is not None
        with pytest.raises(ClaimHeldError):
            claims.take(ours.destination.key(CLAIM))

    @pytest.mark.parametrize("is_of_another_deployment", [False, True])
    @pytest.mark.parametrize("request_number", range(0, 45, 2))
    def test_one_that_comes_at_any_request_of_the_preparation(
        self, store: InMemoryObjectStore, request_number: int, *, is_of_another_deployment: bool
    ) -> None:
        prefix = "theirs" if is_of_another_deployment else PREFIX
        day = BackupLayout(prefix, "day")
        contents = sample_contents(day)
        keys = {item.source_key: item.stored_key for _, objects in contents for item in objects}
        write_backup(store, day, stored(contents, lambda _, listed: keys[listed.key]))
        # Neither may ask about the other's execution, where they are of two deployments.
        executions = FakeExecutions(**{name: "UNKNOWN" for name in ("first", "rival") if is_of_another_deployment})
        ours = export(store, executions=executions)
        rival = ExportPreparation(
            run=replace(ours.run, prefix=prefix),
            request=ExportRequest(backup_name="day", export_name="night", to=ExportPlace()),
            executions=executions,
            execution_arn="rival",
            started_at=EXPORTED_AT,
            was_listed=lambda: False,
            damaged_contents=lambda *_: {},
            place=THERE,
        )
        ahead, begun = [request_number], list[str]()

        def come(*_: str) -> None:
            ahead[0] -= 1
            if ahead[0] < 0:
                store.before = lambda *_: None
                with suppress(BackupInProgressError):
                    rival.prepare()
                    begun.append("rival")

        store.before = come
        with suppress(BackupInProgressError):
            ours.prepare()
            begun.append("ours")
        store.before = lambda *_: None

        assert len(begun) == 1, begun
        holder = ours.destination.read(CLAIM, Claim).execution_arn
        assert holder == {"ours": "first", "rival": "rival"}[begun[0]]

    def test_two_to_different_places_go_on_beside_each_other(self, store: InMemoryObjectStore) -> None:
        one, other = export(store), export(store, BESIDE, arn="second")
        assert one.prepare() is not None
        assert other.prepare() is not None
        one.copy()
        other.copy()
        assert one.publish().object_count == other.publish().object_count > 0

    def test_a_prune_leaves_a_backup_that_is_exported(self, store: InMemoryObjectStore) -> None:
        assert export(store).prepare() is not None
        assert prune(store, FakeExecutions()) == "skipped"


class TestKilled:
    """A killed export goes on with the same request, and its name there stays its own."""

    def again(self, store: InMemoryObjectStore, **more: Any) -> Export:
        return export(store, arn="second", executions=FakeExecutions(first="ABORTED"), **more)

    def test_what_is_copied_stays_copied(self, store: InMemoryObjectStore) -> None:
        first = export(store)
        first.prepare()
        assert first.copy() > 0
        second = self.again(store)
        second.prepare()
        assert second.copy() == 0
        assert second.publish().execution_arn == "second"
        assert not [key for key in below(store, THERE) if key.endswith(CLAIM)]

    def test_it_goes_on_even_where_its_working_files_were_swept(self, store: InMemoryObjectStore) -> None:
        first = export(store)
        first.prepare()
        first.copy()
        store.delete(BUCKET, [key for key in store.buckets[BUCKET] if key.startswith(first.run.folder)])
        second = self.again(store)
        second.prepare()
        assert second.copy() == 0
        assert second.publish().object_count > 0

    @pytest.mark.parametrize("is_given_back", [False, True])
    def test_after_its_marker_it_is_found_published(self, store: InMemoryObjectStore, *, is_given_back: bool) -> None:
        first = export(store)
        manifest = first.succeed()
        if not is_given_back:
            claim = Claim(execution_arn="first", run=first.run.run, claimed_at=EXPORTED_AT)
            first.destination.write(CLAIM, claim)
        second = self.again(store)
        assert second.prepare() is None
        assert second.publish() == manifest
        assert not [key for key in below(store, THERE) if key.endswith(CLAIM)]

    def test_once_more_after_its_success_it_finds_the_name_taken(self, store: InMemoryObjectStore) -> None:
        export(store).succeed()
        with pytest.raises(BackupExistsError, match="'night' exists already"):
            export(store, arn="second", executions=FakeExecutions(first="SUCCEEDED")).prepare()

    def test_what_another_has_written_there_meanwhile_is_not_touched(self, store: InMemoryObjectStore) -> None:
        first = export(store)
        first.prepare()
        first.copy()
        # The deployment there took the name, made a backup, and lost its marker.
        first.destination.delete([CLAIM])
        there = layout(THERE)
        store.delete(ARCHIVE, [key for key in below(store, THERE) if key.startswith(there.root)])
        store.put(ARCHIVE, there.manifest, b"theirs")
        with pytest.raises(BackupExistsError, match="something lies in"):
            self.again(store).prepare()
        assert store.get(ARCHIVE, there.manifest) == b"theirs"

    @pytest.mark.parametrize("request_number", range(45))
    def test_at_any_request_of_the_preparation_the_next_one_goes_on(
        self, store: InMemoryObjectStore, request_number: int
    ) -> None:
        with dying(store, request_number):
            export(store).prepare()
        assert self.again(store).succeed().execution_arn == "second"
        assert not [key for key in below(store, THERE) if key.endswith(CLAIM)]

    @pytest.mark.parametrize("place", PLACES)
    @pytest.mark.parametrize("request_number", range(0, 100, 3))
    def test_at_whatever_request_it_dies_sweeps_leave_nothing_of_it(
        self, store: InMemoryObjectStore, request_number: int, place: Place
    ) -> None:
        def here() -> set[str]:
            found = store.buckets[BUCKET]
            return {key for key in found if "/.catalogue/" not in key and "/.runs/prune-me/" not in key}

        before = here()
        store.clock = lambda: EXPORTED_AT
        with dying(store, request_number):
            made = export(store, place)
            made.prepare()
            made.copy()
        for days in (8, 16):
            sweep(store, EXPORTED_AT + timedelta(days=days))
        assert below(store, place) == set()
        assert here() == before

    def test_a_late_call_of_the_killed_one_gives_nobody_elses_claim_back(self, store: InMemoryObjectStore) -> None:
        first = export(store)
        first.succeed()
        first.destination.write(CLAIM, Claim(execution_arn="theirs", run="backup-night", claimed_at=EXPORTED_AT))
        first.publish()
        assert first.destination.read(CLAIM, Claim).execution_arn == "theirs"


def sweep(store: InMemoryObjectStore, now: datetime) -> None:
    """Remove what executions left that have ended by now."""
    store.clock = lambda: now
    store.buckets.setdefault("milvus", {})
    Sweep(
        store=store,
        executions=FakeExecutions(first="ABORTED"),
        bucket=BUCKET,
        prefix=PREFIX,
        milvus_bucket="milvus",
        staging_prefix="staging",
        run="prune-me",
        execution_arn="me",
        now=now,
        grace=timedelta(days=7),
        seconds_left=lambda: 900.0,
    ).sweep()


def test_a_backup_there_finds_the_name_taken_by_the_export(store: InMemoryObjectStore) -> None:
    made = export(store)
    made.succeed()
    theirs = made.destination
    claims = Claims(store, FakeExecutions(), ARCHIVE, execution_arn="theirs", run=theirs.run)
    with pytest.raises(BackupExistsError, match="'night' exists already"):
        is_published(
            theirs,
            layout(THERE),
            claims,
            destination=theirs,
            was_listed=lambda: False,
            is_same=lambda _: False,
            name_taken=lambda _: name_taken("night", []),
        )


def test_a_marker_that_came_there_meanwhile_is_not_replaced(store: InMemoryObjectStore) -> None:
    made = export(store)
    made.prepare()
    made.copy()
    store.put(ARCHIVE, layout(THERE).marker, b"{}")
    with pytest.raises(BackupExistsError):
        made.publish()
    assert store.get(ARCHIVE, layout(THERE).marker) == b"{}"
    with pytest.raises(ObjectNotFoundError):
        store.get(ARCHIVE, layout(THERE).manifest)
