"""A drill of a schedule that succeeds is remembered by the schedule, whatever comes of the backup."""

from datetime import UTC, datetime, timedelta

import pytest

from milvus_vault.catalogue import Catalogue
from milvus_vault.drills.concluding import conclude
from milvus_vault.drills.working_files import PLAN, DrillPlan, ProvenCollection, proven_name
from milvus_vault.model.requests import DrillRequest, ScheduleTag
from milvus_vault.model.schedules import DrillSuccess
from milvus_vault.workspace import Workspace
from tests.support.memory_store import InMemoryObjectStore

BUCKET, PREFIX = "backups", "team"
BEGUN = datetime(2026, 5, 5, 3, tzinfo=UTC)
ENDED = BEGUN + timedelta(minutes=20)
ARN = "arn:aws:states:eu-west-1:123456789012:execution:vault-drill:d1"
TAG = ScheduleTag(name="tried")


def end_a_drill(
    catalogue: Catalogue, store: InMemoryObjectStore, tag: ScheduleTag | None, *, differences: tuple[str, ...] = ()
) -> str:
    """Conclude a drill that has compared one collection, and return how it ended."""
    run = Workspace(store, BUCKET, PREFIX, "drill-nightly_1-0123456789ab")
    plan = DrillPlan(
        request=DrillRequest(newest_of="nightly", schedule=tag),
        execution_arn=ARN,
        started_at=BEGUN,
        backup_name="nightly_1",
        backup_finished_at=None,
        milvus="milvus",
        milvus_version="2.6.19",
        database="vault_drill_1",
        seed=1,
        collections=(),
        collection_total=1,
    )
    run.write(PLAN, plan)
    run.write(proven_name(0), ProvenCollection(row_count=3, compared_count=3, differences=differences))
    return conclude(run, catalogue, has_scratch=True, error="", cause="", now=ENDED).status


@pytest.fixture
def store() -> InMemoryObjectStore:
    """An empty backup bucket."""
    return InMemoryObjectStore(BUCKET)


@pytest.fixture
def catalogue(store: InMemoryObjectStore) -> Catalogue:
    """The catalogue there."""
    return Catalogue(store, BUCKET, PREFIX)


def test_a_success_is_remembered_with_its_times_and_outlives_the_backup(
    catalogue: Catalogue, store: InMemoryObjectStore
) -> None:
    assert end_a_drill(catalogue, store, TAG) == "proven"
    success = DrillSuccess(schedule="tried", run="drill-d1", begun_at=BEGUN, ended_at=ENDED)
    assert catalogue.drill_successes({"tried"}) == {"tried": success}
    catalogue.forget_traces("nightly_1")
    assert catalogue.drill_successes({"tried"}) == {"tried": success}


def test_a_drill_that_found_a_difference_or_that_no_schedule_asked_for_is_none(
    catalogue: Catalogue, store: InMemoryObjectStore
) -> None:
    assert end_a_drill(catalogue, store, TAG, differences=("a row is another one",)) == "failed"
    assert end_a_drill(catalogue, store, None) == "proven"
    assert catalogue.drill_successes({"tried", "nightly"}) == {}
