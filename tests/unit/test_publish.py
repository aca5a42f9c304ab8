"""PublishBackup: what is written, and in which order."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest
from pydantic import TypeAdapter

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.manifest import CollectionFailure, Manifest, Source, write_object_list
from milvus_vault.archive.reader import read_archive, read_manifest
from milvus_vault.backup.publish import next_copy, next_verification, publish_backup
from milvus_vault.backup.working_files import BackupPlan, Snapshot, shared_name, snapshot_name
from milvus_vault.copying.working_files import CopyCheck, CopyTarget, write_target, write_verified
from milvus_vault.errors import BackupExistsError, BackupInProgressError, SourceChangedError
from milvus_vault.model.collections import CollectionName
from milvus_vault.model.objects import ArchivedObject, CopiedObject, CopyItem
from milvus_vault.model.requests import (
    BackupRequest,
    ExportPlace,
    ExportRequest,
    ScheduleTag,
    VerifyOptions,
    VerifyRequest,
)
from milvus_vault.model.resources import RunId
from milvus_vault.pool.users import PoolUse
from milvus_vault.workspace import Workspace
from tests.support.memory_store import InMemoryObjectStore
from tests.unit.archive.samples import (
    BUCKET,
    COLLECTION_ID,
    DATABASES,
    FLUSH_ALL,
    PREFIX,
    Contents,
    new_store,
    reference_files,
    sample_contents,
)

ATTEMPT = "0123abcd"
BEGUN, FINISHED = datetime(2026, 3, 1, 2, tzinfo=UTC), datetime(2026, 3, 1, 3, tzinfo=UTC)
LAYOUT = BackupLayout(PREFIX, "monday")
CHANGED = CollectionFailure(
    name=CollectionName(database="books", name="works"), error="SourceChangedError", message="again"
)


def write_run(
    store: InMemoryObjectStore, contents: Contents, *, failed: tuple[int, ...] = (), hints: Sequence[str] = ("", "")
) -> Workspace:
    """Write the working files of a run whose collections are copied and verified, but for the failed ones."""
    run = Workspace(store, BUCKET, PREFIX, "backup-monday")
    for index, (document, objects) in enumerate(contents):
        if index in failed:
            run.write(snapshot_name(ATTEMPT, index), Snapshot(round=1, failure=CHANGED, hint=hints[index]))
            continue
        run.write(snapshot_name(ATTEMPT, index), Snapshot(round=1, document=document))
        items = [CopyItem(item.source_key, item.stored_key, item.size_bytes, "source-etag") for item in objects]
        folders = LAYOUT.collection_folders(document.description.collection_id)
        write_target(run, ATTEMPT, CopyTarget(index=index, name="any", folders=folders), items)
        verified = [CopiedObject(item.stored_key, item.etag, item.checksum) for item in objects]
        write_verified(run, ATTEMPT, index, reversed(verified))
        for item in objects:
            store.put(BUCKET, item.stored_key, b"." * item.size_bytes)
    found = CopyCheck(complete=(0, 1), missing_source=(), incomplete=(), object_count=0, size_bytes=0, deleted_count=0)
    run.write(f"copy/{ATTEMPT}/r1/verification.json", found)
    return run


def plan(contents: Contents, request: BackupRequest | None = None) -> BackupPlan:
    """Return the plan of the run."""
    return BackupPlan(
        request=request or BackupRequest(),
        backup_name="monday",
        backup_id="run-1",
        execution_arn="arn:aws:states:eu-west-1:123456789012:execution:backup:run-1",
        started_at=BEGUN,
        source=Source(milvus_version="v2.3.5", bucket="milvus", root_path="files"),
        databases=DATABASES,
        flush_all=FLUSH_ALL,
        collections=tuple(document.description.name for document, _ in contents),
    )


def publish(run: Workspace, of: BackupPlan, finished_at: datetime = FINISHED) -> Manifest:
    """Publish with a report that only says whose it is."""
    manifest = publish_backup(
        run,
        of,
        LAYOUT,
        ATTEMPT,
        1,
        finished_at=finished_at,
        render_report=lambda manifest: f"report of {manifest.backup_name}".encode(),
    )
    assert manifest is not None
    return manifest


def test_what_an_earlier_round_copied_into_the_pool_counts_as_copied_for_the_backup() -> None:
    store, contents = new_store(), sample_contents(LAYOUT)
    run = write_run(store, contents)
    pooled = f"{PREFIX}/.pool/0123456789ab-7/0000000000000009/{'0' * 32}"
    shared = [ArchivedObject(f"{pooled}-{who}", "files/insert_log/7", 100, "e", "") for who in (ATTEMPT, "0123abce")]
    run.write_bytes(shared_name(ATTEMPT, 0), write_object_list(shared))
    run.write_bytes(shared_name(ATTEMPT, 1), b"")
    of = plan(contents, BackupRequest(mode="incremental"))
    PoolUse(run, of.execution_arn).begin()

    manifest = publish(run, of)

    count = sum(len(objects) for _, objects in contents)
    assert (manifest.object_count, manifest.copied_object_count) == (count + 2, count + 1)
    assert manifest.copied_size_bytes == manifest.size_bytes - 100


def test_documents_are_those_that_the_lists_of_all_collections_would_give() -> None:
    store, contents = new_store(), sample_contents(LAYOUT)

    publish(write_run(store, contents), plan(contents))

    for document, objects in contents:
        number = document.description.collection_id
        assert store.get(BUCKET, LAYOUT.collection_document(number)) == document.model_dump_json().encode()
        assert store.get(BUCKET, LAYOUT.object_list(number)) == write_object_list(objects)
    expected = reference_files(
        backup_id="run-1",
        backup_name="monday",
        milvus_version="v2.3.5",
        databases=DATABASES,
        flush_all=FLUSH_ALL,
        collections=contents,
    )
    assert {name: store.get(BUCKET, LAYOUT.meta(name)) for name in expected} == expected


def test_a_verification_that_is_asked_for_has_one_name_for_each_execution() -> None:
    tag = ScheduleTag(name="nightly")
    asked = BackupRequest(verify=VerifyOptions(level="deep", sample_percent=5, max_bytes=7), schedule=tag)
    once = plan(sample_contents(LAYOUT), asked)
    other = once.model_copy(update={"execution_arn": f"{once.execution_arn}0"})

    following = next_verification(once)

    assert following is not None
    assert following.request == VerifyRequest(
        backup_name="monday", level="deep", sample_percent=5, max_bytes=7, schedule=tag
    )
    assert following.run == f"verify-{following.name}"
    assert next_verification(once) == following != next_verification(other)
    # What Step Functions takes for the name of an execution, and the API for the ID of a run.
    TypeAdapter(RunId).validate_python(following.run)


@pytest.mark.parametrize("to", [ExportPlace(), ExportPlace(bucket="archive", prefix="exports/nightly")])
def test_a_copy_that_is_asked_for_has_one_name_for_each_execution(to: ExportPlace) -> None:
    once = plan(sample_contents(LAYOUT), BackupRequest(copy_to=to))
    other = once.model_copy(update={"execution_arn": f"{once.execution_arn}0"})

    following = next_copy(once)

    assert following is not None
    assert following.request == ExportRequest(backup_name="monday", export_name="monday", is_copy=True, to=to)
    assert following.run == f"export-{following.name}"
    assert next_copy(once) == following != next_copy(other)
    TypeAdapter(RunId).validate_python(following.run)
    # What the machine hands on is read as the same request.
    assert ExportRequest.model_validate_json(following.request.model_dump_json()) == following.request


def test_without_being_asked_for_nothing_is_verified_or_copied() -> None:
    made = plan(sample_contents(LAYOUT))
    assert (next_verification(made), next_copy(made)) == (None, None)


def test_what_is_published_can_be_read() -> None:
    store, contents = new_store(), sample_contents(LAYOUT)

    manifest = publish(write_run(store, contents), plan(contents))

    assert read_manifest(store, BUCKET, LAYOUT) == manifest
    assert manifest.object_count == sum(len(objects) for _, objects in contents)
    assert manifest.size_bytes == sum(item.size_bytes for _, objects in contents for item in objects)
    assert [entry.row_count for entry in manifest.collections] == [105, 0]
    assert len(read_archive(store, BUCKET, LAYOUT).collections) == 2


def test_the_report_is_there_before_the_marker_and_the_marker_is_last() -> None:
    store, contents = new_store(), sample_contents(LAYOUT)
    run = write_run(store, contents)
    written: list[str] = []
    store.before = lambda operation, _, key: written.append(key) if operation == "put" else None

    publish(run, plan(contents))

    assert written[-3:] == [LAYOUT.report, LAYOUT.manifest, LAYOUT.marker]
    assert store.get(BUCKET, LAYOUT.report) == b"report of monday"


def test_publishing_again_is_fine_and_of_two_calls_at_once_the_first_marker_counts() -> None:
    store, contents = new_store(), sample_contents(LAYOUT)
    run = write_run(store, contents)
    first = publish(run, plan(contents))
    marker = store.get(BUCKET, LAYOUT.marker)
    store.delete(BUCKET, [LAYOUT.marker])
    written: list[str] = []

    def first_call_writes_its_marker(operation: str, _: str, key: str) -> None:
        if (operation, key) == ("put", LAYOUT.marker) and not written:
            written.append(key)
            store.put(BUCKET, LAYOUT.marker, marker)

    store.before = first_call_writes_its_marker

    assert publish(run, plan(contents)) == first
    assert publish(run, plan(contents)) == first
    assert (store.get(BUCKET, LAYOUT.marker), len(written)) == (marker, 1)


@pytest.mark.parametrize("mode", ["full", "incremental"])
@pytest.mark.parametrize("part", ["/.pool/.users/", "manifest.json", "backup_meta.json"])
@pytest.mark.parametrize("when", range(2))
def test_of_two_calls_at_once_one_manifest_with_its_marker_stays(
    mode: Literal["full", "incremental"], part: str, when: int
) -> None:
    """A call that Step Functions has given up goes on beside its successor, which comes to its end in between."""
    store, contents = new_store(), sample_contents(LAYOUT)
    run, of = write_run(store, contents), plan(contents, BackupRequest(mode=mode))
    for index in range(2):
        run.write_bytes(shared_name(ATTEMPT, index), b"")
    PoolUse(run, of.execution_arn).begin()
    seen: list[str] = []

    def other_call(operation: str, _: str, key: str) -> None:
        if operation == "put" and part in key:
            seen.append(key)
            if len(seen) == when + 1:
                store.before = lambda *_: None
                publish(run, of, FINISHED + timedelta(seconds=1))

    store.before = other_call
    manifest = publish(run, of)
    assert read_manifest(store, BUCKET, LAYOUT) == manifest


def test_a_marker_of_a_stopped_execution_is_replaced_and_one_that_somebody_writes_meanwhile_is_not() -> None:
    store, contents = new_store(), sample_contents(LAYOUT)
    run = write_run(store, contents)
    store.put(BUCKET, LAYOUT.marker, b'{"vault": {}}')

    manifest = publish(run, plan(contents))
    assert read_manifest(store, BUCKET, LAYOUT) == manifest

    store.put(BUCKET, LAYOUT.marker, b"of a stopped execution")
    seen: list[str] = []

    def meddle(operation: str, _: str, key: str) -> None:
        if key == LAYOUT.marker:
            seen.append(operation)
            # Absent? No. Which one? Whose? It is replaced if it is still that one.
            if seen == ["put", "get", "get", "get", "put"]:
                store.buckets[BUCKET][LAYOUT.marker] = replace(store.buckets[BUCKET][LAYOUT.marker], etag="other")

    store.before = meddle
    with pytest.raises(BackupInProgressError, match="somebody else wrote"):
        publish(run, plan(contents))
    assert store.get(BUCKET, LAYOUT.marker) == b"of a stopped execution"


def test_a_changed_report_is_no_damage() -> None:
    store, contents = new_store(), sample_contents(LAYOUT)
    publish(write_run(store, contents), plan(contents))

    store.delete(BUCKET, [LAYOUT.report])

    assert len(read_archive(store, BUCKET, LAYOUT).collections) == 2


def test_objects_of_a_collection_that_failed_are_removed() -> None:
    store, contents = new_store(), sample_contents(LAYOUT)
    run = write_run(store, contents)
    run.write(snapshot_name(ATTEMPT, 0), Snapshot(round=1, failure=CHANGED))

    manifest = publish(run, plan(contents))

    assert manifest.failures == (CHANGED,)
    assert not list(store.list_objects(BUCKET, LAYOUT.binlogs))
    assert [entry.collection_id for entry in manifest.collections] == [COLLECTION_ID + 100]


def test_objects_of_a_backup_that_somebody_else_published_stay() -> None:
    store, contents = new_store(), sample_contents(LAYOUT)
    run = write_run(store, contents)
    publish(run, plan(contents))
    run.write(snapshot_name(ATTEMPT, 0), Snapshot(round=1, failure=CHANGED))
    before = dict(store.buckets[BUCKET])

    with pytest.raises(BackupExistsError, match="monday' exists already, and"):
        publish(run, plan(contents).model_copy(update={"execution_arn": "another"}))
    assert store.buckets[BUCKET] == before


@pytest.mark.parametrize(
    ("failed", "request_"),
    [((0, 1), BackupRequest()), ((0,), BackupRequest(on_collection_failure="fail"))],
    ids=["all failed", "all were asked for"],
)
def test_nothing_is_written_where_nothing_is_published(failed: tuple[int, ...], request_: BackupRequest) -> None:
    store, contents = new_store(), sample_contents(LAYOUT)
    run = write_run(store, contents, failed=failed)

    with pytest.raises(SourceChangedError, match="nothing is published"):
        publish(run, plan(contents, request_))

    assert not list(store.list_objects(BUCKET, f"{LAYOUT.root}meta/"))


@pytest.mark.parametrize(
    ("hints", "expected"),
    [(("Wait.", "Wait."), "Wait. Start the backup again"), (("Wait.", "Do not."), "Start the backup again")],
)
def test_where_all_failed_for_one_reason_its_hint_comes_first(hints: Sequence[str], expected: str) -> None:
    contents = sample_contents(LAYOUT)
    run = write_run(new_store(), contents, failed=(0, 1), hints=hints)

    with pytest.raises(SourceChangedError) as caught:
        publish(run, plan(contents))

    assert caught.value.hint.startswith(expected)
