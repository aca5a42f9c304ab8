"""Whatever Milvus answers, by gRPC or by HTTP, each call of its ports ends in a result or a named failure."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from random import Random
from types import SimpleNamespace
from typing import Any, get_protocol_members

import grpc
import pytest
import urllib3
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st
from pymilvus.grpc_gen import milvus_pb2

from milvus_vault.adapters.endpoints import Endpoint
from milvus_vault.adapters.management import MilvusGarbageCollector
from milvus_vault.adapters.milvus import MilvusDatabase
from milvus_vault.adapters.milvus_rest import RestImporter
from milvus_vault.adapters.milvus_segments import SegmentDescriber
from milvus_vault.errors import VaultError
from milvus_vault.model.collections import (
    CollectionLayout,
    CollectionSchema,
    FieldSchema,
    ImportPair,
    ImportTask,
    IndexDescription,
    KeyValue,
)
from milvus_vault.model.rbac import Rbac, RbacRole
from milvus_vault.model.rights import Right
from milvus_vault.model.versions import parse_version
from milvus_vault.ports import GarbageCollector, Importer, VectorDatabase
from tests.support.faults import cases
from tests.unit.adapters.test_milvus_errors import rpc_failed

NUMBERS = [0, 1, 2, 3, 4, 5, 6, 7, 100, 104, 700, 800, 1401, 2**31 - 1]
TEXTS = ["", "a", "p", "1", "-1", "x" * 300, "2.5.4", "v3.0-dev", "\0", "progress_percent", "files", "_tt", "50%"]
REASONS = ["", "not ready", "segment not foundling", "index not found", "cannot find", "already exist", "no\nreason"]
LAYOUT = CollectionLayout(
    collection_schema=CollectionSchema(
        name="c", fields=(FieldSchema(field_id=100, name="id", data_type=5, is_primary_key=True),)
    ),
    shards=1,
    consistency_level=2,
    partitions=("p",),
)
TASK = ImportTask(pairs=(ImportPair("insert/", "delta/"),), partition="p")

# By the ports' methods: a new one cannot be forgotten.
OF_MILVUS: Mapping[str, Callable[[MilvusDatabase], object]] = {
    "server_version": lambda milvus: milvus.server_version(),
    "health": lambda milvus: milvus.health(),
    "list_databases": lambda milvus: milvus.list_databases(),
    "describe_database": lambda milvus: milvus.describe_database("d"),
    "backup_rbac": lambda milvus: milvus.backup_rbac(),
    "list_collections": lambda milvus: milvus.list_collections("d"),
    "describe_collection": lambda milvus: milvus.describe_collection("d", "c"),
    "collection_id": lambda milvus: milvus.collection_id("d", "c"),
    "list_aliases": lambda milvus: milvus.list_aliases("d", "c"),
    "count_query_nodes": lambda milvus: milvus.count_query_nodes("g"),
    "current_timestamp": lambda milvus: milvus.current_timestamp(),
    "flush": lambda milvus: milvus.flush("d", "c", timeout_seconds=0),
    "flush_all": lambda milvus: milvus.flush_all(timeout_seconds=0),
    "may": lambda milvus: [milvus.may(right, "d") for right in Right],
    "list_segments": lambda milvus: milvus.list_segments("d", "c"),
    "describe_segments": lambda milvus: milvus.describe_segments("d", 1, [2, 3]),
    "count_rows": lambda milvus: milvus.count_rows("d", "c"),
    "insert_row": lambda milvus: milvus.insert_row("d", "c", {"id": 1}, {"v": [0.5]}),
    "create_database": lambda milvus: milvus.create_database("d"),
    "drop_database": lambda milvus: milvus.drop_database("d"),
    "rows_by_key": lambda milvus: milvus.rows_by_key("d", "c", "id", [1, 2], ["id", "v"]),
    "nearest": lambda milvus: milvus.nearest(
        "d",
        "c",
        IndexDescription(index_id=1, name="i", field_name="v", params=()),
        FieldSchema(field_id=101, name="v", data_type=101),
        [0.5],
        limit=3,
    ),
    "create_collection": lambda milvus: milvus.create_collection("d", "c", LAYOUT),
    "add_fields": lambda milvus: milvus.add_fields("d", "c", LAYOUT, ["id"]),
    "set_properties": lambda milvus: milvus.set_properties("d", "c", [KeyValue(key="k", value="v")], removed=["l"]),
    "schema": lambda milvus: milvus.schema("d", "c"),
    "create_missing_partitions": lambda milvus: milvus.create_missing_partitions("d", "c", ["p", "q"]),
    "rename_collection": lambda milvus: milvus.rename_collection("d", "c", "e"),
    "drop_collection": lambda milvus: milvus.drop_collection("d", "c"),
    "list_indexes": lambda milvus: milvus.list_indexes("d", "c"),
    "create_index": lambda milvus: milvus.create_index(
        "d", "c", IndexDescription(index_id=1, name="i", field_name="v", params=())
    ),
    "index_progress": lambda milvus: milvus.index_progress("d", "c"),
    "request_load": lambda milvus: milvus.request_load("d", "c", replicas=1),
    "load_percent": lambda milvus: milvus.load_percent("d", "c"),
    "release": lambda milvus: milvus.release("d", "c"),
    "create_alias": lambda milvus: milvus.create_alias("d", "c", "a", take=True),
    "restore_rbac": lambda milvus: milvus.restore_rbac(Rbac(roles=(RbacRole(name="r"),))),
}
OF_IMPORTS: Mapping[str, Callable[[Importer], object]] = {
    "pairs_a_job": lambda importer: importer.pairs_a_job,
    "start_import": lambda importer: importer.start_import("d", "c", TASK),
    "import_state": lambda importer: importer.import_state("7"),
    "find_import": lambda importer: importer.find_import("d", "c", TASK),
}
OF_COLLECTOR: Mapping[str, Callable[[GarbageCollector], object]] = {
    "pause": lambda collector: collector.pause(60),
    "resume": lambda collector: collector.resume("ticket"),
}


def test_each_call_of_the_ports_is_tried() -> None:
    assert OF_MILVUS.keys() == get_protocol_members(VectorDatabase)
    assert OF_IMPORTS.keys() == get_protocol_members(Importer)
    assert OF_COLLECTOR.keys() == get_protocol_members(GarbageCollector)


def fill(message: Any, random: Random, depth: int = 3) -> Any:
    """Give a message of protobuf values by chance. Its status says most times that all is well."""
    if message.DESCRIPTOR.name == "Status" and random.random() < 0.5:
        return message
    for field in message.DESCRIPTOR.fields:
        is_status = field.message_type is not None and field.message_type.name == "Status"
        if random.random() < (0.1 if is_status else 0.7):
            put(message, field, random, depth - 1)
    return message


def put(message: Any, field: Any, random: Random, depth: int) -> None:
    """Give a field of a message a value, or some."""
    of_field, there = field.message_type, getattr(message, field.name)
    count = random.randrange(3)
    if of_field is None and field.is_repeated:
        there.extend(scalar(field, random) for _ in range(count))
    elif of_field is None:
        setattr(message, field.name, scalar(field, random))
    elif depth and of_field.GetOptions().map_entry:
        value = of_field.fields_by_name["value"]
        for key in random.sample(["c", "d", "_tt"], count):
            if value.message_type is None:
                there[key] = scalar(value, random)
            else:
                fill(there[key], random, depth)
    elif depth and field.is_repeated:
        for _ in range(count):
            fill(there.add(), random, depth)
    elif depth:
        there.SetInParent()
        fill(there, random, depth)


def scalar(field: Any, random: Random) -> Any:
    """Return a value of a field's type."""
    if field.cpp_type == field.CPPTYPE_STRING:
        text = random.choice(REASONS if field.name == "reason" else TEXTS)
        return text.encode() if field.type == field.TYPE_BYTES else text
    if field.cpp_type == field.CPPTYPE_BOOL:
        return random.random() < 0.5
    number = random.choice(NUMBERS)
    unsigned = field.cpp_type in {field.CPPTYPE_UINT32, field.CPPTYPE_UINT64}
    return number if unsigned else random.choice([number, number, -number])


@cache
def answer_class(path: str) -> Any:
    """Return the class of what a call of gRPC answers."""
    service, _, call = path.strip("/").partition("/")
    return GetMessageClass(
        milvus_pb2.DESCRIPTOR.services_by_name[service.rpartition(".")[2]].FindMethodByName(call).output_type
    )


class AnyChannel:
    """A channel whose other end answers by chance."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def unary_unary(self, path: str, **_: object) -> Callable[..., object]:
        """Return a call."""

        def call(*_: object, **__: object) -> object:
            if self._random.random() < 0.1:
                raise rpc_failed(self._random.choice(list(grpc.StatusCode)), self._random.choice(REASONS))
            return fill(answer_class(path)(), self._random)

        return call

    def unary_stream(self, *_: object, **__: object) -> None:
        """Return nothing: none of these calls is used."""

    stream_unary = stream_stream = unary_stream


BODIES = [
    b'{"code": 0, "data": {"jobId": "7", "state": "Importing", "progress": 50, "details": [{"fileName": "insert/1"}]}}',
    b'{"code": 0, "data": {"records": [{"jobId": "7", "state": "Pending"}]}}',
    b'{"code": 0, "data": {"segmentInfos": [{"segmentID": 2, "insertLogs": [{"fieldID": 100, "logIDs": [1]}]}]}}',
    b'{"code": 2100, "message": "cannot find job 7"}',
    b'{"msg": "OK", "ticket": "t"}',
    b"404 page not found",
    b"[" * 50_000,
    b"",
]
PARTS = [b"", b"null", b"[]", b'"x"', b"-1", b"9" * 400, b"NaN", b"\xff", b'"\\ud83d"', b"{"]


def spoiled(random: Random) -> bytes:
    """Return the body of an answer by HTTP, with some of it gone or replaced."""
    body = random.choice(BODIES)
    for _ in range(random.randrange(3)):
        at = random.randrange(len(body) + 1)
        body = body[:at] + random.choice(PARTS) + random.choice([b"", body[at + 1 :], body[at + 3 :]])
    return body


@pytest.fixture
def chance(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Random]:
    """Let whatever answers by HTTP do so by chance; return how to choose which."""
    drawn = [Random(0)]  # noqa: S311 - chances, not secrets

    def request(*_: object, **__: object) -> object:
        random = drawn[-1]
        if random.random() < 0.1:
            raise random.choice([urllib3.exceptions.ProtocolError("broken"), urllib3.exceptions.HTTPError("gone")])
        return SimpleNamespace(
            status=random.choice([200] * 6 + [204, 301, 400, 401, 403, 404, 429, 500, 503, 999]), data=spoiled(random)
        )

    def choose(seed: int) -> Random:
        drawn.append(Random(seed))  # noqa: S311 - as above
        return drawn[-1]

    monkeypatch.setattr(urllib3.PoolManager, "request", request)
    monkeypatch.setattr("time.sleep", lambda _: None)
    return choose


def database(random: Random) -> MilvusDatabase:
    """Return a Milvus that answers by chance."""
    channel: Any = AnyChannel(random)
    endpoint = Endpoint.parse("http://127.0.0.1:9")
    return MilvusDatabase(channel, endpoint.uri, describer=SegmentDescriber(endpoint))


@cases(400)
@given(call=st.sampled_from(sorted(OF_MILVUS)), seed=st.integers(0, 2**32))
def test_whatever_milvus_answers_ends_in_a_result_or_a_named_failure(
    chance: Callable[[int], Random], call: str, seed: int
) -> None:
    with suppress(VaultError):
        OF_MILVUS[call](database(chance(seed)))


@cases(200)
@given(call=st.sampled_from(sorted(OF_IMPORTS)), seed=st.integers(0, 2**32), by_rest=st.booleans())
def test_whatever_is_answered_to_imports_ends_in_a_result_or_a_named_failure(
    chance: Callable[[int], Random], call: str, seed: int, *, by_rest: bool
) -> None:
    random = chance(seed)
    with suppress(VaultError):
        grpc_importer = database(random).importer()
        rest = RestImporter(Endpoint.parse("http://127.0.0.1:9"), parse_version("2.5.27"), states=grpc_importer)
        rest.answers()
        OF_IMPORTS[call](rest if by_rest else grpc_importer)


@cases(100)
@given(call=st.sampled_from(sorted(OF_COLLECTOR)), seed=st.integers(0, 2**32))
def test_whatever_the_management_port_answers_ends_in_a_result_or_a_named_failure(
    chance: Callable[[int], Random], call: str, seed: int
) -> None:
    chance(seed)
    with suppress(VaultError):
        OF_COLLECTOR[call](MilvusGarbageCollector("http://127.0.0.1:9"))
