"""What our own adapter does with each version: the calls that backup and restore are made of."""

import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from milvus_vault.adapters.endpoints import Endpoint
from milvus_vault.adapters.milvus import MilvusDatabase, connect
from milvus_vault.adapters.milvus_access import MilvusAccess
from milvus_vault.adapters.milvus_rest import RestImporter
from milvus_vault.errors import (
    CollectionExistsError,
    CollectionNotFoundError,
    MilvusAuthenticationError,
    MilvusRequestError,
)
from milvus_vault.model.collections import (
    CollectionLayout,
    CollectionName,
    ImportPair,
    ImportStatus,
    ImportTask,
    IndexDescription,
    KeyValue,
    LoadState,
    SegmentLevel,
)
from milvus_vault.model.versions import parse_version
from tests.conformance.asking import Milvus, base_fields
from tests.conformance.conftest import Start
from tests.support.milvus_server.versions import ALL, NEWER

DATABASE, NAME, TARGET = "default", "c", "target"
ROWS, DELETED = 50, 5
INDEX = IndexDescription(
    index_id=0,
    name="by_v",
    field_name="v",
    params=(KeyValue(key="index_type", value="FLAT"), KeyValue(key="metric_type", value="L2")),
)


def _until(is_right: Callable[[], object]) -> None:
    end = time.monotonic() + 15
    while not is_right():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.02)


def _fill(milvus: Milvus, database: MilvusDatabase) -> None:
    milvus.make(NAME, *base_fields(), shards=2, partitions=("p",))
    milvus.insert(NAME, range(ROWS))
    database.flush(DATABASE, NAME, timeout_seconds=30)
    milvus.settle()


def _rest(milvus: Milvus, version: str, token: str = "") -> RestImporter:
    return RestImporter(Endpoint.parse(milvus.uri), parse_version(version), MilvusAccess(token=token))


def _layout(database: MilvusDatabase) -> CollectionLayout:
    described = database.describe_collection(DATABASE, NAME)
    return CollectionLayout(
        collection_schema=described.collection_schema,
        schema_proto=described.schema_proto,
        shards=described.shards,
        consistency_level=described.consistency_level,
        partitions=tuple(partition.name for partition in described.partitions),
    )


@pytest.mark.parametrize("version", ALL)
def test_a_collection_is_described_indexed_loaded_counted_renamed_and_dropped(start: Start, version: str) -> None:
    milvus = start(version).milvus
    with connect(milvus.uri) as database:
        assert version in str(database.server_version())
        assert database.list_databases() == [DATABASE]
        _fill(milvus, database)
        database.create_index(DATABASE, NAME, INDEX)
        _until(lambda: database.index_progress(DATABASE, NAME).is_built)
        assert database.index_progress(DATABASE, NAME) == (True, ROWS, ROWS)
        assert database.load_percent(DATABASE, NAME) is None
        assert database.load_percent(DATABASE, NAME, ["p"]) is None
        database.request_load(DATABASE, NAME, replicas=1)
        _until(lambda: database.load_percent(DATABASE, NAME) == 100)
        assert database.count_rows(DATABASE, NAME) == ROWS
        database.create_alias(DATABASE, NAME, "alias")
        database.create_alias(DATABASE, NAME, "alias")
        database.rename_collection(DATABASE, NAME, "renamed")
        described = database.describe_collection(DATABASE, "renamed")
        assert described.name == CollectionName(database=DATABASE, name="renamed")
        assert (described.load_state, described.replicas, described.aliases) == (LoadState.LOADED, 1, ("alias",))
        assert [(index.name, index.field_name) for index in described.indexes] == [("by_v", "v")]
        assert [partition.is_loaded for partition in described.partitions] == [True, True]
        database.drop_collection(DATABASE, "renamed")
        assert not database.list_collections(DATABASE)
        with pytest.raises(CollectionNotFoundError):
            database.describe_collection(DATABASE, "renamed")


@pytest.mark.parametrize("version", ALL)
def test_segments_are_listed_with_their_levels_and_rows(start: Start, version: str) -> None:
    milvus = start(version, {"flush_limit": 0}).milvus
    with connect(milvus.uri) as database:
        _fill(milvus, database)
        milvus.delete(NAME, range(DELETED))
        database.flush(DATABASE, NAME, timeout_seconds=30)
        segments = database.list_segments(DATABASE, NAME)
        of_rows = SegmentLevel.L1 if version >= "2.4" else SegmentLevel.LEGACY
        assert sum(segment.row_count for segment in segments if segment.level is of_rows) == ROWS
        assert any(segment.level is SegmentLevel.L0 for segment in segments) == (version >= "2.4")
        storage = {segment.storage_version for segment in segments if segment.level is of_rows}
        assert storage == {2 if version >= "2.6" else 0}


def test_segments_are_listed_again_where_a_compaction_swaps_them(start: Start) -> None:
    running = start("2.5.27")
    with connect(running.milvus.uri) as database:
        _fill(running.milvus, database)
        running.server.faults.loses_segments = 2
        assert len(database.list_segments(DATABASE, NAME)) == 2


@pytest.mark.parametrize("version", ALL)
def test_a_rate_limit_is_waited_for(start: Start, version: str) -> None:
    milvus = start(version).milvus
    with connect(milvus.uri) as database:
        _fill(milvus, database)
        database.flush(DATABASE, NAME, timeout_seconds=30)


@pytest.mark.parametrize(
    ("version", "way"),
    [*((version, "gRPC") for version in ALL), *((version, "REST") for version in NEWER)],
)
def test_rows_are_imported_into_an_equal_collection(start: Start, version: str, way: str) -> None:
    running = start(version)
    milvus = running.milvus
    with connect(milvus.uri) as database:
        _fill(milvus, database)
        database.create_collection(DATABASE, TARGET, _layout(database))
        assert database.schema(DATABASE, TARGET).fields == database.schema(DATABASE, NAME).fields
        segments = {str(segment.segment_id) for segment in database.list_segments(DATABASE, NAME)}
        for key in milvus.keys(f"{milvus.root}/insert_log/"):
            if (segment := key.split("/")[4]) in segments:
                name = f"stage/{segment}/{key.split('/', 5)[5]}"
                milvus.s3.copy_object(Bucket=milvus.bucket, Key=name, CopySource=f"{milvus.bucket}/{key}")
        task = ImportTask(
            partition="p",
            pairs=(ImportPair(insert_prefix="stage/", delta_prefix=""),),
            storage_version=2 if version >= "2.6" else 0,
        )
        importer = database.importer() if way == "gRPC" else _rest(milvus, version)
        job = importer.start_import(DATABASE, TARGET, task)
        assert job is not None
        _until(lambda: importer.import_state(job).status is not ImportStatus.RUNNING)
        state = importer.import_state(job)
        assert (state.status, state.row_count, state.percent) == (ImportStatus.COMPLETED, ROWS, 100)
        assert sorted(str(key) for key in running.server.live_rows(DATABASE, TARGET, "p")[100]) == sorted(
            str(key) for key in range(ROWS)
        )
        if way == "REST" or version < "2.4":
            assert importer.find_import(DATABASE, TARGET, task) == job
            other = replace(task, pairs=(ImportPair(insert_prefix="elsewhere/", delta_prefix=""),))
            assert importer.find_import(DATABASE, TARGET, other) is None
        else:
            with pytest.raises(MilvusRequestError, match="tells no files"):
                importer.find_import(DATABASE, TARGET, task)


@pytest.mark.parametrize("way", ["gRPC", "REST"])
@pytest.mark.parametrize("version", NEWER)
def test_a_job_that_milvus_has_forgotten_is_told_from_one_that_runs(start: Start, version: str, way: str) -> None:
    milvus = start(version).milvus
    with connect(milvus.uri) as database:
        importer = database.importer() if way == "gRPC" else _rest(milvus, version)
        assert importer.import_state("42").status is ImportStatus.FORGOTTEN


@pytest.mark.parametrize("version", ALL)
def test_rest_answers_from_2_4_on(start: Start, version: str) -> None:
    milvus = start(version, authorization=True).milvus
    assert _rest(milvus, version).answers() is (version >= "2.4")


def test_rest_takes_user_and_password_and_refuses_by_name(start: Start) -> None:
    milvus = start("2.5.27", authorization=True).milvus
    assert _rest(milvus, "2.5.27", token="root:Milvus").import_state("42").reason
    for token in ("", "nobody:x", "an-api-key"):
        with pytest.raises(MilvusAuthenticationError):
            _rest(milvus, "2.5.27", token=token).import_state("42")


@pytest.mark.parametrize("version", ALL)
def test_names_that_are_taken_are_refused_by_name(start: Start, version: str) -> None:
    milvus = start(version).milvus
    with connect(milvus.uri) as database:
        for name in (NAME, TARGET):
            milvus.make(name, *base_fields())
        with pytest.raises(CollectionExistsError):
            database.rename_collection(DATABASE, NAME, TARGET)
        database.create_alias(DATABASE, NAME, "alias")
        if version != "2.2.16":
            with pytest.raises(CollectionExistsError):
                database.create_alias(DATABASE, TARGET, "alias")
