"""The real 2.3.5 still answers what it answered when its facts were written, and does what the test server does."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing

import pyarrow as pa
import pytest
from pymilvus import DataType, MilvusClient
from pymilvus.grpc_gen import common_pb2

from local.aws import Ministack
from local.milvus import Milvus as RealMilvus
from milvus_vault.adapters.milvus import connect
from milvus_vault.adapters.milvus_access import MilvusAccess
from milvus_vault.archive.layout import INSERT_LOG, parse_log_key
from milvus_vault.binlogs import compose_deletes, cut_deletes, open_deletes, read_deletes, read_timestamps
from milvus_vault.binlogs.checking import ExpectedLog, check_log, check_segment
from milvus_vault.errors import CollectionExistsError
from milvus_vault.model.collections import DEFAULT_RESOURCE_GROUP
from milvus_vault.model.hybrid import from_milliseconds
from milvus_vault.model.rights import READING, Right
from tests.conformance.asking import Milvus, answers_to_names, base_fields
from tests.conformance.comparing import ask, flat, known
from tests.conformance.conftest import Start
from tests.conformance.questions import SCENARIOS

pytestmark = pytest.mark.tools("milvus")

VERSION = "2.3.5"
SETTLE_SECONDS = 2
POLL_SECONDS = 0.2
IMPORT_SECONDS = 60


@pytest.fixture(scope="module")
def milvus(ministack: Ministack) -> Iterator[Milvus]:
    s3 = ministack.client("s3")
    with RealMilvus(s3.meta.endpoint_url, bucket="conformance-real") as server:
        yield Milvus(
            server.uri, server.management_uri, s3, server.bucket, server.root_path, SETTLE_SECONDS, POLL_SECONDS
        )


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_real_server_answers_as_it_did(milvus: Milvus, scenario: str) -> None:
    assert flat(ask(milvus, scenario)) == flat(known(VERSION)[scenario])


def test_it_refuses_names_and_shards_in_the_words_of_the_test_server(milvus: Milvus, start: Start) -> None:
    assert answers_to_names(milvus) == answers_to_names(start(VERSION).milvus)


def test_to_ask_for_rights_changes_nothing(milvus: Milvus) -> None:
    milvus.make("asked", *base_fields())
    with connect(milvus.uri) as database:

        def state() -> object:
            names = {name: database.list_collections(name) for name in database.list_databases()}
            return names, database.list_aliases("default"), milvus.must("ListCredUsers").usernames

        before = state()
        assert all(database.may(right, "default") for right in Right)
        assert all(database.may(right, "default", "asked") for right in READING)
        assert state() == before


def test_query_nodes_are_counted(milvus: Milvus) -> None:
    with connect(milvus.uri) as database:
        assert database.count_query_nodes(DEFAULT_RESOURCE_GROUP) == 1
        assert database.count_query_nodes("nowhere") == 0


def test_an_alias_is_taken_from_another_collection_only_if_that_is_asked_for(milvus: Milvus) -> None:
    for name in ("first", "second"):
        milvus.make(name, *base_fields())
    with connect(milvus.uri) as database:
        database.create_alias("default", "first", "moved")
        with pytest.raises(CollectionExistsError):
            database.create_alias("default", "second", "moved")
        for _ in range(2):
            database.create_alias("default", "second", "moved", take=True)
        assert database.list_aliases("default", "first") == frozenset()
        assert database.list_aliases("default", "second") == {"moved"}


def test_the_ids_of_collections_go_with_them_when_they_are_renamed(milvus: Milvus) -> None:
    for name in ("kept", "moving"):
        milvus.make(name, *base_fields())
    with connect(milvus.uri) as database:
        before = database.list_collections("default")
        milvus.must("RenameCollection", oldName="kept", newName="away")
        milvus.must("RenameCollection", oldName="moving", newName="kept")
        database.create_alias("default", "kept", "moving")
        now = database.list_collections("default")
        assert (now["away"], now["kept"], "moving" in now) == (before["kept"], before["moving"], False)
        assert database.describe_collection("default", "kept").collection_id == before["moving"]


def _import(milvus: Milvus, target: str, *paths: str) -> None:
    milvus.make(target, *base_fields())
    names = {"collection_name": target, "partition_name": "_default"}
    task = milvus.must("Import", **names, files=paths, options=[{"key": "backup", "value": "true"}]).tasks[0]
    end = time.monotonic() + IMPORT_SECONDS
    while (answer := milvus.must("GetImportState", task=task)).state != common_pb2.ImportCompleted:
        assert answer.state != common_pb2.ImportFailed, answer
        assert time.monotonic() < end, answer
        time.sleep(POLL_SECONDS)


def _live_keys(milvus: Milvus, name: str) -> list[int]:
    with closing(MilvusClient(milvus.uri)) as client:
        index = client.prepare_index_params()
        index.add_index("v", index_type="FLAT", metric_type="L2")
        client.create_index(name, index)
        client.load_collection(name)
        found = client.query(name, "id >= 0", output_fields=["id"], consistency_level="Strong")
        client.release_collection(name)
        return sorted(row["id"] for row in found)


def test_it_takes_a_delta_log_that_was_cut(milvus: Milvus) -> None:
    milvus.make("cut", *base_fields())
    milvus.insert("cut", range(100))
    milvus.flush("cut")
    milvus.delete("cut", range(10))
    time.sleep(0.2)
    milvus.delete("cut", range(10, 30))
    milvus.flush("cut")
    milvus.settle()
    number = milvus.must("DescribeCollection", collection_name="cut").collectionID
    (log,) = milvus.keys(f"{milvus.root}/delta_log/{number}/")
    (rows,) = (key for key in milvus.keys(f"{milvus.root}/insert_log/{number}/") if key.split("/")[-2] == "1")
    body = milvus.s3.get_object(Bucket=milvus.bucket, Key=log)["Body"].read()
    written = read_timestamps(milvus.s3.get_object(Bucket=milvus.bucket, Key=rows)["Body"].read()).to_pylist()
    deletes = read_deletes(body)
    assert sorted(deletes.keys.to_pylist()) == list(range(30))
    first, second = sorted(set(deletes.timestamps.to_pylist()))
    assert written == written[:1] * 100
    assert written[0] < first
    partition = log.removeprefix(f"{milvus.root}/delta_log/").rsplit("/", 2)[0]
    paths = f"{milvus.root}/insert_log/{partition}/", f"staged/delta_log/{partition}/"
    kept = {}
    for end, target in ((second, "cut_at_second"), (first, "cut_at_first")):
        cut = cut_deletes(body, end)
        assert cut is not None
        milvus.s3.put_object(Bucket=milvus.bucket, Key=log.replace(milvus.root, "staged", 1), Body=cut)
        _import(milvus, target, *paths)
        kept[target] = _live_keys(milvus, target)
    assert kept == {"cut_at_second": list(range(30, 100)), "cut_at_first": list(range(10, 100))}


def test_it_takes_a_delta_log_that_was_composed(milvus: Milvus) -> None:
    milvus.make("composed", *base_fields())
    milvus.insert("composed", range(100))
    milvus.flush("composed")
    for first in (0, 10, 20):
        milvus.delete("composed", range(first, first + 10))
        milvus.flush("composed")
        milvus.settle()
    number = milvus.must("DescribeCollection", collection_name="composed").collectionID
    logs = sorted(milvus.keys(f"{milvus.root}/delta_log/{number}/"))
    assert len(logs) == len({log.rpartition("/")[0] for log in logs}) * 3
    bodies = [milvus.s3.get_object(Bucket=milvus.bucket, Key=log)["Body"].read() for log in logs]
    ((_, body),) = compose_deletes([open_deletes(body) for body in bodies])
    assert sorted(read_deletes(body).keys.to_pylist()) == list(range(30))
    milvus.s3.put_object(Bucket=milvus.bucket, Key=logs[0].replace(milvus.root, "staged", 1), Body=body)
    partition = logs[0].removeprefix(f"{milvus.root}/delta_log/").rsplit("/", 2)[0]
    _import(milvus, "of_composed", f"{milvus.root}/insert_log/{partition}/", f"staged/delta_log/{partition}/")
    assert _live_keys(milvus, "of_composed") == list(range(30, 100))


def test_rights_are_told_from_their_lack(ministack: Ministack) -> None:
    endpoint = ministack.client("s3").meta.endpoint_url
    # What everybody may, and what 2.3 has no calls for.
    free = {Right.DESCRIBE_COLLECTION, Right.INDEX_DETAIL}
    later = {Right.BACKUP_RBAC, Right.RESTORE_RBAC, Right.ADD_COLLECTION_FIELD, Right.IMPORT_BINLOG}
    with RealMilvus(endpoint, bucket="conformance-rights", authorization=True) as server:
        root = MilvusClient(server.uri, token="root:Milvus")
        root.create_user("ann", "Secret-pw1")
        root.create_role("role")
        root.grant_role("ann", "role")
        with connect(server.uri, MilvusAccess("ann:Secret-pw1", "ann")) as database:
            lacking = {right for right in Right if not database.may(right, "default")}
            assert lacking == set(Right) - free - later
            for right in lacking:
                kind = "Collection" if right.is_on_collections else "Global"
                root.grant_privilege("role", kind, str(right), "*")
            assert [right for right in Right if not database.may(right, "default")] == []


def test_nothing_is_wrong_with_the_logs_that_it_writes(milvus: Milvus) -> None:
    with closing(MilvusClient(milvus.uri)) as client:
        schema = client.create_schema(enable_dynamic_field=True)
        schema.add_field("key", DataType.VARCHAR, is_primary=True, max_length=16)
        for kind in ("BOOL", "INT8", "INT16", "INT32", "INT64", "FLOAT", "DOUBLE", "JSON"):
            schema.add_field(kind, DataType[kind])
        schema.add_field("numbers", DataType.ARRAY, element_type=DataType.INT64, max_capacity=8)
        schema.add_field("texts", DataType.ARRAY, element_type=DataType.VARCHAR, max_capacity=8, max_length=9)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=6)
        client.create_collection("checked", schema=schema)
        rows = [
            {
                "key": f"é{row}",
                "BOOL": row % 2 == 0,
                **dict.fromkeys(("INT8", "INT16", "INT32", "INT64", "FLOAT", "DOUBLE"), row),
                "JSON": {"a": [row, None, {"é": row / 3}]},
                "numbers": [row] * (row % 5),
                "texts": [f"é{row}"] * (row % 5),
                "vector": [row / 7] * 6,
                "more": {"b": row},
            }
            for row in range(120)
        ]
        client.insert("checked", rows)
        client.flush("checked")
        client.delete("checked", ids=["é1", "é5"])
        client.flush("checked")
    milvus.settle()
    with connect(milvus.uri) as database:
        described = database.describe_collection("default", "checked")
        segments = {item.segment_id: item for item in database.list_segments("default", "checked")}
    kinds, counts = set(), defaultdict[int, dict[tuple[int, int], int]](dict)
    for name in milvus.keys(f"{milvus.root}/"):
        key = parse_log_key(name)
        if key is None or key.collection_id != described.collection_id or key.segment_id not in segments:
            continue
        body = milvus.s3.get_object(Bucket=milvus.bucket, Key=name)["Body"].read()
        expected = ExpectedLog(*key[:5], 0, described.collection_schema, from_milliseconds(time.time_ns() // 10**6))
        found = check_log(pa.py_buffer(body), expected)
        assert found.problems == (), key
        kinds.add((key.kind, key.field_id))
        if key.kind == INSERT_LOG:
            counts[key.segment_id][key.field_id, key.log_id] = found.row_count
    assert len(kinds) == len(schema.fields) + 4  # row ID, timestamp, the dynamic field, and deletes
    for number, of_segment in counts.items():
        assert check_segment(segments[number].row_count, of_segment) == ()
