"""Which backup is drilled, what of it, and what is refused before anything is made."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from milvus_vault.catalogue import Catalogue
from milvus_vault.drills.preparing import DrillPreparation, choose_backup, input_of
from milvus_vault.drills.scratch import ScratchDatabases
from milvus_vault.errors import InvalidRequestError, VaultError, VersionUnsupportedError
from milvus_vault.model.requests import DrillRequest, RestoreRequest, ScheduleTag
from milvus_vault.model.resources import BackedUpCollection, Backup
from milvus_vault.model.rights import Right
from milvus_vault.model.versions import ServerVersion, parse_version
from milvus_vault.workspace import Workspace
from tests.support.memory_database import InMemoryDatabase
from tests.support.memory_store import InMemoryObjectStore
from tests.unit.archive.samples import BUCKET, PREFIX
from tests.unit.catalogue.test_catalogue import add
from tests.unit.test_claims import FakeExecutions

NOW = datetime(2026, 11, 30, tzinfo=UTC)
ARN = "arn:aws:states:x:y:execution:vault-drill:a"


class Milvus(InMemoryDatabase):
    """A server of a version, whose user may do everything."""

    version = "2.6.19"

    def server_version(self) -> ServerVersion:
        return parse_version(self.version)

    def may(self, right: Right, database: str, name: str = "") -> bool:
        return bool(right and database) and not name


class Known(Catalogue):
    """A catalogue that knows one backup."""

    def __init__(self, store: InMemoryObjectStore, backup: Backup) -> None:
        super().__init__(store, BUCKET, PREFIX)
        self._backup = backup

    def get(self, name: str) -> Backup:
        assert name == self._backup.name
        return self._backup


def collection(name: str, size_bytes: int) -> BackedUpCollection:
    return BackedUpCollection(
        database="db", name=name, row_count=1, segment_count=1, object_count=1, size_bytes=size_bytes
    )


def prepare(
    collections: Sequence[BackedUpCollection],
    /,
    *,
    version: str = "2.6.19",
    backed_up: str = "2.6.19",
    meta_only: bool = False,
    **request: Any,
) -> RestoreRequest:
    """Return the restore of a drill of a backup with these collections."""
    store, milvus = InMemoryObjectStore(BUCKET), Milvus()
    milvus.version = version
    backup = Backup(
        name="b", status="complete", created_at=NOW, finished_at=NOW, size_bytes=0, object_count=0,
        collection_count=len(collections), row_count=0, milvus_version=backed_up, location="s3://b/",
        meta_only=meta_only, collections=tuple(collections),
    )  # fmt: skip
    records = Workspace(store, BUCKET, PREFIX, "scratch")
    executions = FakeExecutions()
    preparation = DrillPreparation(
        run=Workspace(store, BUCKET, PREFIX, "drill-b-1"),
        request=DrillRequest(backup_name="b", **request),
        backup_name="b",
        catalogue=Known(store, backup),
        database=cast("Any", milvus),
        scratches=ScratchDatabases(records, executions, milvus, "here", NOW),
        executions=executions,
        execution_arn=ARN,
        started_at=NOW,
        restore_run_of=lambda restore: f"restore-{restore.backup_name}-1",
    )
    try:
        return preparation.prepare()
    except VaultError:
        assert (milvus.list_databases(), list(records.names())) == (["default"], [])
        raise


def test_the_newest_complete_backup_of_a_schedule_is_drilled_or_the_one_that_is_named() -> None:
    store = InMemoryObjectStore(BUCKET)
    for day, name in enumerate(("sunday", "monday")):
        add(store, name, day, schedule=ScheduleTag(name="nightly"))
    catalogue = Catalogue(store, BUCKET, PREFIX)
    assert choose_backup(catalogue, DrillRequest(newest_of="nightly")) == "monday"
    assert choose_backup(catalogue, DrillRequest(backup_name="sunday")) == "sunday"


def test_collections_of_a_backup_get_numbered_names_in_one_database() -> None:
    restore = prepare([collection("x", 1), collection("y", 1)], database="trial")
    assert restore.collections == ("db.x", "db.y")
    targets = [restore.rename[name] for name in restore.collections]
    assert [target.partition(".")[0] for target in targets] == ["trial", "trial"]
    assert [target.rpartition("_")[2] for target in targets] == ["0", "1"]
    assert (restore.restore_aliases, restore.replicas, restore.drop_existing) == (False, 1, False)


@pytest.mark.parametrize(("name", "named_count"), [("c", 3000), ("x" * 200, 400)])
def test_a_drill_takes_no_more_than_the_request_of_a_restore_can_name(name: str, named_count: int) -> None:
    many = [collection(f"{number:04}_{name}", 1) for number in range(6000)]
    restore = prepare(many)
    assert 190_000 < len(json.dumps(input_of(restore))) < 200_000
    # What the request of the drill takes is no longer there for the restore's.
    asked = [f"db.{one.name}" for one in many[:named_count]]
    named = prepare(many, collections=asked, database="trial")
    assert 190_000 < len(json.dumps(input_of(named))) + len(json.dumps(asked)) < 200_000


def test_what_does_not_fit_is_passed_by_and_what_does_is_taken() -> None:
    restore = prepare([collection("large", 100), collection("small", 10), collection("tiny", 1)], max_bytes=11)
    assert restore.collections == ("db.small", "db.tiny")


@pytest.mark.parametrize("version", ["2.2.8", "2.1.0"])
def test_a_server_without_databases_is_refused(version: str) -> None:
    with pytest.raises(VersionUnsupportedError, match="has no databases"):
        prepare([collection("x", 1)], version=version)


def test_a_backup_without_rows_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="metadata alone"):
        prepare([collection("x", 1)], meta_only=True)


@pytest.mark.parametrize(("backed_up", "why"), [("2.3.5", "version matrix"), ("2.6.19", "which is older")])
def test_a_server_that_no_restore_goes_to_is_refused_before_the_backup_gets_a_verdict(backed_up: str, why: str) -> None:
    with pytest.raises(VersionUnsupportedError, match=why):
        prepare([collection("x", 1)], version="2.3.5", backed_up=backed_up)


def test_an_older_server_is_drilled_into_where_the_request_says_so() -> None:
    restore = prepare([collection("x", 1)], version="2.3.5", backed_up="2.3.5", allow_version=True)
    assert restore.allow_version
