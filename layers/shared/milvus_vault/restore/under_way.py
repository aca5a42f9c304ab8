"""What Milvus is importing when it goes away: a damaged object of a backup can end it, and again at each start."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.errors import MilvusUnavailableError
from milvus_vault.restore.journal import Journal
from milvus_vault.restore.submission import jobs_done, submitted
from milvus_vault.restore.working_files import ImportJob, ImportSource, RestorePlan, Target, target_name
from milvus_vault.workspace import Workspace

_NAMED_JOBS = 3
_NAMED_SEGMENTS = 5


@contextmanager
def naming_imports(run: Workspace, plan: RestorePlan) -> Iterator[None]:
    """Let a `MilvusUnavailableError` say what was being imported, and what to do if it was that."""
    try:
        yield
    except MilvusUnavailableError as err:
        under_way = list(_jobs_under_way(run, BackupLayout(run.prefix, plan.request.backup_name)))
        if not under_way:
            raise
        more = len(under_way) - _NAMED_JOBS
        named = "; ".join(under_way[:_NAMED_JOBS]) + (f"; and {more} more" if more > 0 else "")
        msg = f"{err.message}. It was importing {named}"
        raise MilvusUnavailableError(msg, hint=_hint(plan, err.hint)) from err


def _hint(plan: RestorePlan, otherwise: str) -> str:
    removed = " What was staged of it is removed before Milvus starts again." if plan.is_staged else ""
    return (
        "If Milvus ended, an object of these segments may be damaged. To verify the backup tells whether sizes and"
        " ETags are those that were recorded, not whether the content is sound: compare these objects with a copy or an"
        f" older version of them, and restore the other collections (`collections`).{removed} Else: {otherwise}"
    )


def _jobs_under_way(run: Workspace, layout: BackupLayout) -> Iterator[str]:
    """Yield the jobs that were started and of which nobody has seen the end, in words."""
    journal = Journal(run)
    for index, entry in sorted(journal.read().items()):
        if not entry.has("jobs") or entry.has("imported") or entry.has("abandoned") or entry.has_failed:
            continue
        target = run.read(target_name(index), Target)
        done = jobs_done(journal, index, entry)
        folders = layout.collection_folders(target.collection_id)
        for step, sources, folder in zip(("jobs", "deletes"), (target.imports, target.deletes), folders, strict=True):
            jobs = submitted(journal, index, entry, step).jobs
            for job, segments in zip(jobs, _segments(jobs, sources), strict=True):
                if job.job_id not in done:
                    yield f"{target.source}, partition {job.partition or '(all)'}{_in_words(segments, f's3://{run.bucket}/{folder}')}"


def _segments(jobs: tuple[ImportJob, ...], sources: tuple[ImportSource, ...]) -> Iterator[list[int]]:
    """Yield the segments of each job: jobs take the pairs of the sources one after the other."""
    pairs = (pair for source in sources for pair in source.pairs)
    for job in jobs:
        yield [number for pair in islice(pairs, job.pair_count) for number in pair.segments]


def _in_words(segments: list[int], folder: str) -> str:
    if not segments:
        return ""
    more = len(segments) - _NAMED_SEGMENTS
    named = ", ".join(map(str, segments[:_NAMED_SEGMENTS])) + (f" and {more} more" if more > 0 else "")
    return f", segment(s) {named} below {folder}"
