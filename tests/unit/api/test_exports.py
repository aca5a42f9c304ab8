"""What cannot be exported, and a name that is taken, are refused before anything is started."""

import json
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from milvus_vault.api.exports import post_copy, post_export
from milvus_vault.api.routing import Caller
from milvus_vault.api.services import Services
from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.manifest import CollectionFailure
from milvus_vault.backup.places import ExportPlaces, Place
from milvus_vault.catalogue import Catalogue
from milvus_vault.datasets.working_files import PLAN, DatasetLayout, DatasetPlan
from milvus_vault.errors import DatasetExistsError, InvalidRequestError, VaultError
from milvus_vault.model.collections import CollectionName
from milvus_vault.model.names import dataset_run
from milvus_vault.model.requests import CopyRequest, ExportPlace, ExportRequest
from milvus_vault.source import MilvusStorage
from milvus_vault.workspace import Workspace
from tests.support.fake_machines import FakeMachines, machines
from tests.unit.archive.samples import BUCKET, PREFIX, golden_store, sample_contents, write_backup
from tests.unit.test_export import note_damaged_contents

NOW = datetime(2026, 11, 28, tzinfo=UTC)
PLACES = ExportPlaces(
    own=Place(bucket=BUCKET, prefix=PREFIX),
    milvus=MilvusStorage("milvus", "files"),
    staging_prefix="staging",
    bucket="archive",
    prefix="exports",
)
LOST = CollectionFailure(name=CollectionName(database="books", name="lost"), error="FlushTimeoutError", message="late")


@pytest.fixture
def states() -> FakeMachines:
    """No execution so far."""
    return FakeMachines()


@pytest.fixture
def services(states: FakeMachines) -> Services:
    """A deployment with a whole backup, a partial one, two damaged ones, and one of milvus-backup."""
    store = golden_store("golden_057")
    for name, failures in (("whole", ()), ("partial", (LOST,)), ("damaged", ()), ("rotten", ())):
        layout = BackupLayout(PREFIX, name)
        write_backup(store, layout, sample_contents(layout), failures=failures)
    store.put(BUCKET, BackupLayout(PREFIX, "damaged").manifest, b"{}")
    note_damaged_contents(store, "rotten", NOW)
    unused = cast("Any", None)
    return Services(
        store=store, bucket=BUCKET, prefix=PREFIX, catalogue=Catalogue(store, BUCKET, PREFIX, clock=lambda: NOW),
        machines=machines(states), executions=unused, schedules=unused, inspector=unused, now=NOW,
        export_places=PLACES,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "export_name", "error", "words"),
    [
        ("nope", "other", "BackupNotFoundError", "'nope'"),
        ("damaged", "other", "BackupDamagedError", "manifest.json"),
        ("rotten", "other", "BackupDamagedError", "log 7 is another one"),
        ("partial", "other", "BackupNotExportableError", "books.lost"),
        ("golden_057", "other", "BackupNotExportableError", "milvus-backup"),
        ("whole", "partial", "BackupExistsError", "'partial' exists already"),
        ("whole", "damaged", "BackupExistsError", "'damaged' exists already"),
    ],
)
def test_an_export_that_cannot_work_is_not_started(
    services: Services, states: FakeMachines, name: str, export_name: str, error: str, words: str
) -> None:
    with pytest.raises(VaultError) as refused:
        post_export(services, ExportRequest(backup_name=name, export_name=export_name), Caller())
    assert (type(refused.value).__name__, states.found) == (error, {})
    assert words in refused.value.message


def test_an_export_is_started_once_for_a_key_even_if_it_is_complete_by_then(
    services: Services, states: FakeMachines
) -> None:
    request, caller = ExportRequest(backup_name="whole", export_name="other"), Caller(idempotency_key="k1")
    started = post_export(services, request, caller)
    assert (started.id, started.kind, started.backup_name) == ("export-k1", "export", "whole")
    layout = BackupLayout(PREFIX, "other")
    write_backup(services.store, layout, sample_contents(layout))
    assert post_export(services, request, caller) == started
    assert len(states.found) == 1


@pytest.mark.parametrize("name", ["whole", "partial", "rotten", "golden_057"])
def test_rows_are_exported_of_what_has_some_under_any_name(services: Services, states: FakeMachines, name: str) -> None:
    request = ExportRequest(backup_name=name, export_name=name, format="parquet", collections=("books.*",))
    assert post_export(services, request, Caller()).backup_name == name
    (started,) = states.found.values()
    assert '"format":"parquet","collections":["books.*"]' in started.input_json


def test_an_export_of_rows_that_cannot_work_is_not_started(services: Services, states: FakeMachines) -> None:
    layout = BackupLayout(PREFIX, "schemas")
    write_backup(services.store, layout, sample_contents(layout), meta_only=True)
    for name, error in (
        ("nope", "BackupNotFoundError"),
        ("damaged", "BackupDamagedError"),
        ("schemas", "BackupNotExportableError"),
    ):
        with pytest.raises(VaultError) as refused:
            post_export(services, ExportRequest(backup_name=name, export_name="rows", format="parquet"), Caller())
        assert (type(refused.value).__name__, states.found) == (error, {})


def test_a_dataset_is_replaced_by_no_other_request(services: Services, states: FakeMachines) -> None:
    request = ExportRequest(backup_name="whole", export_name="rows", format="parquet")
    layout = DatasetLayout(BUCKET, PREFIX, "rows")
    services.store.put(BUCKET, layout.document, b"{}")
    with pytest.raises(DatasetExistsError, match="a dataset 'rows' exists already"):
        post_export(services, request, Caller())
    # An execution with the same request that died behind its document is gone on with: the run knows.
    plan = DatasetPlan(
        request=request, execution_arn="arn", backup_id="", bucket=BUCKET, prefix=PREFIX, written="w/",
        collections=(), shares=(), warnings=(),
    )  # fmt: skip
    Workspace(services.store, BUCKET, PREFIX, dataset_run(BUCKET, layout.root)).write(PLAN, plan)
    with pytest.raises(DatasetExistsError):
        post_export(services, request.model_copy(update={"collections": ("books.*",)}), Caller())
    assert states.found == {}
    assert post_export(services, request, Caller()).kind == "export"


def test_one_to_another_place_may_have_a_name_that_is_taken_here(services: Services, states: FakeMachines) -> None:
    request = ExportRequest(backup_name="whole", export_name="whole", to=ExportPlace(bucket="archive"))
    assert post_export(services, request, Caller()).backup_name == "whole"
    (started,) = states.found.values()
    assert '"to":{"bucket":"archive"}' in started.input_json


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("gone", "BackupNotFoundError"),
        ("no-one", "BackupNotFoundError"),
        ("golden_057", "BackupNotExportableError"),
        ("a-b", "BackupNotExportableError"),
    ],
)
def test_a_copy_that_cannot_work_is_not_started(
    services: Services, states: FakeMachines, name: str, error: str
) -> None:
    # As somebody has named a folder, and nobody would name a new backup.
    write_backup(services.store, layout := BackupLayout(PREFIX, "a-b"), sample_contents(layout))
    with pytest.raises(VaultError) as caught:
        post_copy(services, name, CopyRequest(), Caller())
    assert type(caught.value).__name__ == error
    assert states.found == {}


@pytest.mark.parametrize("name", ["whole", "partial"])
def test_a_copy_is_an_export_that_changes_nothing(services: Services, states: FakeMachines, name: str) -> None:
    started = post_copy(services, name, CopyRequest(to=ExportPlace(bucket="archive")), Caller(idempotency_key="k1"))
    assert (started.id, started.kind, started.backup_name) == ("export-k1", "export", name)
    (found,) = states.found.values()
    asked = {"backup_name": name, "export_name": name, "is_copy": True, "to": {"bucket": "archive"}}
    assert json.loads(found.input_json) == asked


def test_a_copy_to_a_place_to_which_nothing_may_go_is_not_started(services: Services, states: FakeMachines) -> None:
    for to, words in (
        (ExportPlace(bucket="elsewhere"), "bucket elsewhere"),
        (ExportPlace(prefix="other"), "ExportPrefix"),
    ):
        with pytest.raises(InvalidRequestError) as caught:
            post_copy(services, "whole", CopyRequest(to=to), Caller())
        assert words in f"{caught.value.message} {caught.value.hint}"
    assert states.found == {}


def test_one_to_a_place_to_which_nothing_may_go_is_not_started(services: Services, states: FakeMachines) -> None:
    request = ExportRequest(backup_name="whole", export_name="other", to=ExportPlace(bucket="elsewhere"))
    with pytest.raises(InvalidRequestError, match="bucket elsewhere"):
        post_export(services, request, Caller())
    assert states.found == {}
