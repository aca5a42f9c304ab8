"""ReportRestore: what became of each collection."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from milvus_vault.model.collections import CollectionName
from milvus_vault.model.hybrid import as_datetime_or_none
from milvus_vault.parallel import SMALL_REQUESTS_AT_A_TIME, each
from milvus_vault.restore.journal import Journal, JournalEntry
from milvus_vault.restore.working_files import (
    DATABASES,
    CutDone,
    DatabasesMade,
    Failed,
    Finished,
    RestoredCollection,
    RestorePlan,
    RestoreReport,
    Target,
    cut_done_name,
    target_name,
)
from milvus_vault.workspace import Workspace, record_key


def _warnings_of_cuts(run: Workspace, plan: RestorePlan) -> Iterator[str]:
    found = each(lambda index: run.find(cut_done_name(index), CutDone), plan.cuts, threads=SMALL_REQUESTS_AT_A_TIME)
    for done in found:
        yield from done.warnings if done else ()


def _warnings_of_databases(run: Workspace) -> tuple[str, ...]:
    made = run.find(DATABASES, DatabasesMade)
    return made.warnings if made else ()


def _told(
    run: Workspace, plan: RestorePlan, journal: Journal, entry: JournalEntry, index: int, name: CollectionName
) -> RestoredCollection:
    """Return what the report says of a collection."""
    target = run.read(target_name(index), Target)
    if entry.is_finished:
        finished = journal.get(index, "finished", Finished)
        # Where a person chose the time, rows were counted by it; else only those that are cut may be too new.
        is_exact = plan.request.as_of is not None or index not in plan.cuts
        return RestoredCollection(
            source=target.source,
            target=name,
            status="restored",
            as_of=as_datetime_or_none(target.cut),
            row_count=finished.row_count,
            expected_row_count=target.live_row_count if finished.is_counted else None,
            imported_row_count=target.row_count,
            deleted_row_count=max(0, target.row_count - finished.row_count) if is_exact else None,
            aliases=finished.aliases,
            warnings=finished.warnings,
        )
    failed = (
        journal.get(index, "failed", Failed)
        if entry.has_failed
        else Failed(error="RestoreFailedError", message="it was not finished")
    )
    return RestoredCollection(
        source=target.source,
        target=name,
        status="failed",
        error=failed.error,
        message=failed.message,
        hint=failed.hint,
    )


def sum_if_known(numbers: Iterable[int | None]) -> int | None:
    """Return the sum of some numbers; None where one is not known, or there are none."""
    found = list(numbers)
    known = [number for number in found if number is not None]
    return sum(known) if known and len(known) == len(found) else None


def report_restore(run: Workspace, plan: RestorePlan, finished_at: datetime) -> RestoreReport:
    """Write and return the report of a restore."""
    journal = Journal(run)
    progress = journal.read()

    def told(numbered: tuple[int, CollectionName]) -> RestoredCollection:
        return _told(run, plan, journal, progress[numbered[0]], *numbered)

    collections = tuple(each(told, enumerate(plan.targets), threads=SMALL_REQUESTS_AT_A_TIME))
    restored = sum(collection.status == "restored" for collection in collections)
    report = RestoreReport(
        backup_name=plan.request.backup_name,
        status="complete" if restored == len(collections) else "partial" if restored else "failed",
        started_at=plan.started_at,
        finished_at=finished_at,
        backup_version=plan.backup_version,
        server_version=plan.server_version,
        content_checked=plan.content_checked,
        read_count=plan.read_count,
        is_staged=plan.is_staged,
        collections=collections,
        empty_databases=tuple(database.name for database in plan.databases if database.is_empty),
        warnings=(*plan.warnings, *_warnings_of_databases(run), *_warnings_of_cuts(run, plan)),
    )
    run.store.put(
        run.bucket, record_key(run.prefix, "reports", plan.execution_arn), report.model_dump_json(indent=1).encode()
    )
    return report
