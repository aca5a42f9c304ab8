"""PublishBackup: which collections are in a backup, and why the others are not."""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from milvus_vault.archive.manifest import CollectionFailure
from milvus_vault.backup.working_files import (
    BackupPlan,
    Captured,
    CapturedCollection,
    Snapshot,
    Verdict,
    captured_name,
    snapshot_name,
)
from milvus_vault.claims import check_owner
from milvus_vault.copying.verify import read_copy_check
from milvus_vault.copying.working_files import CopyCheck
from milvus_vault.errors import BackupFailedError, SegmentTornError, VaultError, leaf_named, shared_hint
from milvus_vault.model.collections import CollectionName
from milvus_vault.model.readable import first_of
from milvus_vault.parallel import SMALL_REQUESTS_AT_A_TIME, each
from milvus_vault.workspace import Workspace


class _Outcome(NamedTuple):
    """What became of a collection: one of both, and what to do about a failure."""

    captured: CapturedCollection | None
    failure: CollectionFailure | None = None
    hint: str = ""


class Found(NamedTuple):
    """What was captured."""

    captured: Captured
    is_noted: bool
    """Whether a call before has written it down, since it had many collections."""


def collect(run: Workspace, plan: BackupPlan, attempt: str, last_round: int) -> Found:
    """Return what was captured, and what was not and why. Raises where there is nothing to publish."""
    check_owner(run, attempt)
    if before := run.find(captured_name(attempt, last_round), Captured):
        return Found(before, is_noted=True)
    found = None if plan.request.meta_only else read_copy_check(run, attempt, last_round)
    again = frozenset(found.again) if found else frozenset[int]()

    def outcome(index: int) -> _Outcome:
        return _outcome(index, plan.collections[index], run.read(snapshot_name(attempt, index), Snapshot), found, again)

    outcomes = list(each(outcome, range(len(plan.collections)), threads=SMALL_REQUESTS_AT_A_TIME))
    captured = Captured(
        collections=tuple(one.captured for one in outcomes if one.captured),
        failures=tuple(one.failure for one in outcomes if one.failure),
    )
    if captured.failures and (not captured.collections or plan.request.on_collection_failure == "fail"):
        raise failed(captured.failures, shared_hint([one.hint for one in outcomes if one.failure]))
    return Found(captured, is_noted=False)


def _outcome(
    index: int, name: CollectionName, snapshot: Snapshot, found: CopyCheck | None, again: Collection[int]
) -> _Outcome:
    refused = found.refusal.hint if found and found.refusal else ""
    if snapshot.failure or not snapshot.document:
        return _Outcome(
            None, snapshot.failure or incomplete(name, found), snapshot.hint if snapshot.failure else refused
        )
    document = snapshot.document
    if snapshot.verdict is Verdict.MISCOUNTED:
        # No restore would take it: the rows that are imported are counted.
        text = document.moment_doubt
        return _Outcome(None, CollectionFailure(name=name, error=SegmentTornError.__name__, message=text))
    if index in again:
        return _Outcome(None, incomplete(name, found), refused)
    return _Outcome(
        CapturedCollection(
            index=index,
            collection_id=document.description.collection_id,
            warnings=tuple(_warnings(snapshot)),
            object_count=snapshot.object_count,
            has_target=snapshot.has_target,
        )
    )


def failed(failures: Sequence[CollectionFailure], hint: str = "") -> VaultError:
    """Return the error for a backup that is not published: the collections' own where all failed alike.

    Args:
        failures: Why each failed.
        hint: What to do about all of them, if that is one thing.
    """
    again = "Start the backup again with the same input once the cause is gone: it copies only what is missing."
    listed = first_of([f"{f.name}: {f.error}: {f.message}" for f in failures], separator="; ")
    names = {failure.error for failure in failures}
    leaf = leaf_named(names.pop()) if len(names) == 1 else BackupFailedError
    return leaf(
        f"nothing is published, since {len(failures)} collection(s) failed: {listed}",
        hint=f"{hint} {again}" if hint else again,
    )


def incomplete(name: CollectionName, found: CopyCheck | None) -> CollectionFailure:
    """Return why a collection is not in a backup of which not all objects were copied, by what the last round found."""
    text = "its objects kept vanishing while they were copied"
    if found and found.refusal:
        text = f"S3 refused to copy objects: {found.refusal.error}: {found.refusal.message}"
    return CollectionFailure(name=name, error="CopyIncompleteError", message=text)


def _warnings(snapshot: Snapshot) -> Iterator[str]:
    yield from snapshot.warnings
    document = snapshot.document
    if document and document.moment_doubt:
        yield f"The moment of {document.description.name} could not be proven: {document.moment_doubt}"
