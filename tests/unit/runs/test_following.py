"""How far a restore is: never a number that is done while the work is not."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from milvus_vault.copying.progress import CopyState
from milvus_vault.copying.working_files import CopyProgress
from milvus_vault.errors import WorkingFileError
from milvus_vault.model.collections import CollectionName
from milvus_vault.restore.working_files import ImportsMoved
from milvus_vault.retention.policy import Decision
from milvus_vault.retention.working_files import PruneReport, Swept
from milvus_vault.runs.collections import Followed
from milvus_vault.runs.describing import WorkingFiles
from tests.support.memory_store import InMemoryObjectStore

NOW = datetime(2026, 11, 28, 3, tzinfo=UTC)
NAMES = (CollectionName(database="db", name="a"), CollectionName(database="db", name="b"))


def followed(copied: int, imports: ImportsMoved | None = None, seconds: int = 10) -> Followed:
    """Return a restore of two collections, of whose 1,000 bytes some were copied in so many seconds."""
    total = CopyProgress(objects_done=copied // 100, objects_total=10, bytes_done=copied, bytes_total=1000)
    copying = CopyState(total, copied, NOW - timedelta(seconds=seconds), round_number=1)
    percent = imports.overall_percent((100, 900), set()) if imports else None
    return Followed(NAMES, (), ("running", "running"), copying, lambda _, collection: collection, imports, percent)


def moved(percents: tuple[float, float], *, took: int = 60, ago: int = 0) -> ImportsMoved:
    """Return imports of 100 and of 900 rows that came so far in so many seconds."""
    since = NOW - timedelta(seconds=ago)
    return ImportsMoved(
        percent=1,
        since=since,
        begun_at=since - timedelta(seconds=took),
        percents=dict(enumerate(percents)),
    )


def test_while_it_copies_rate_and_time_are_those_of_the_copy() -> None:
    progress = followed(400).progress(NOW)
    assert (progress.bytes_per_second, progress.eta_seconds, progress.import_percent) == (40, 15, None)


@pytest.mark.parametrize("seconds", [10, 100, 1000])
def test_once_all_is_copied_there_is_no_rate_that_falls(seconds: int) -> None:
    progress = followed(1000, seconds=seconds).progress(NOW)
    assert (progress.bytes_per_second, progress.eta_seconds, progress.import_percent) == (None, None, None)


def test_imports_count_by_their_rows_and_tell_how_long_they_still_take() -> None:
    progress = followed(1000, moved((100, 0))).progress(NOW)
    assert (progress.import_percent, progress.eta_seconds) == (10, 540)
    later = followed(1000, moved((100, 0), ago=40)).progress(NOW)
    assert (later.import_percent, later.eta_seconds) == (10, 500)


def test_what_has_not_begun_counts_as_nothing_and_what_an_earlier_execution_imported_as_all() -> None:
    begun = ImportsMoved(percent=50, since=NOW, begun_at=NOW, percents={0: 50.0})
    assert begun.overall_percent((100, 900), set()) == 5
    assert begun.overall_percent((100, 900), {1}) == 95
    assert begun.overall_percent((), set()) is None


@pytest.mark.parametrize("imports", [moved((0, 0)), moved((100, 100)), moved((100, 0), ago=9000)])
def test_where_nothing_can_be_said_nothing_is(imports: ImportsMoved) -> None:
    assert followed(1000, imports).progress(NOW).eta_seconds is None


def test_a_report_of_a_prune_that_cannot_be_read_is_named() -> None:
    store = InMemoryObjectStore("backups")
    store.put("backups", "p/.runs/reports/a.json", b'{"decisions": [')
    files = WorkingFiles(store, "backups", "p")
    with pytest.raises(WorkingFileError, match=r"p/.runs/reports/a\.json"):
        files.prune_report("arn:aws:states:us-east-1:123456789012:execution:prune:a")
    assert files.prune_report("arn:aws:states:us-east-1:123456789012:execution:prune:b") == {}


@pytest.mark.parametrize("count", [3, 40_000])
def test_of_the_decisions_of_a_prune_an_answer_has_as_many_as_it_can_hold_and_those_to_delete_first(count: int) -> None:
    store = InMemoryObjectStore("backups")
    decisions = tuple(
        Decision(name=f"b{number:0100}", keep=number < count - 1, reason="kept: newest of day 2026-11-22")
        for number in range(count)
    )
    report = PruneReport(dry_run=True, started_at=NOW, finished_at=NOW, decisions=decisions, outcomes=(), swept=Swept())
    store.put("backups", "p/.runs/reports/a.json", report.model_dump_json().encode())
    found = WorkingFiles(store, "backups", "p").prune_report("arn:aws:states:us-east-1:123456789012:execution:prune:a")
    assert found["decision_count"] == count
    assert len(json.dumps(json.dumps(found))) < 6_000_000
    if count == 3:
        assert [decision["keep"] for decision in found["decisions"]] == [True, True, False]
    else:
        assert found["decisions"][0]["keep"] is False
        assert 10_000 < len(found["decisions"]) < count
