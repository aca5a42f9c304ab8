"""Asks a Milvus, by gRPC, REST, and a look at its bucket; and takes out of the answers what differs every time."""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import grpc
import numpy as np
import requests
from mypy_boto3_s3 import S3Client
from pymilvus.grpc_gen import common_pb2, milvus_pb2, milvus_pb2_grpc, schema_pb2

type Message = Any
type Fact = Any

DIMENSIONS = 4
_SEED = 3
_CALL_SECONDS = 60
_PATIENCE_SECONDS = 120
_RATE_LIMITED = 8
_LOG_KINDS = ("insert_log", "delta_log", "stats_log", "bm25_stats")
_LONGEST_REASON, _LONGEST_TEXT = 160, 300
_LARGEST_PLAIN_NUMBER = 10**6
_LOADED = 100
_AUTHORIZATION = {"Authorization": "Bearer root:Milvus"}


class SetUpError(RuntimeError):
    """What a question needs could not be made."""


@dataclass(frozen=True)
class Milvus:
    """The server that is asked."""

    uri: str
    management_uri: str
    s3: S3Client
    bucket: str
    root: str
    settle_seconds: float
    """How long it takes until a flush shows in segments and objects: 2 s on a real server."""
    poll_seconds: float

    @cached_property
    def _stub(self) -> Any:
        options = [("grpc.max_receive_message_length", -1)]
        return milvus_pb2_grpc.MilvusServiceStub(grpc.insecure_channel(self.uri.partition("//")[2], options))

    def call(self, name: str, **fields: Any) -> Message:
        """Return the answer to a call, or the error it ended with."""
        requests_by_name = {"BackupRBAC": "BackupRBACMeta", "RestoreRBAC": "RestoreRBACMeta"}
        request = getattr(milvus_pb2, f"{requests_by_name.get(name, name)}Request")(**fields)
        try:
            return getattr(self._stub, name)(request, timeout=_CALL_SECONDS)
        except grpc.RpcError as err:
            return err

    def must(self, name: str, **fields: Any) -> Message:
        """Return the answer to a call that must succeed."""
        answer = self.call(name, **fields)
        if status(answer) != "OK":
            msg = f"{name}: {status(answer)}"
            raise SetUpError(msg)
        return answer

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return HTTP status and answer of a REST call."""
        answer = requests.post(self.uri + path, json=body, headers=_AUTHORIZATION, timeout=_CALL_SECONDS)
        try:
            return {"http": answer.status_code, **answer.json()}
        except ValueError:
            return {"http": answer.status_code}

    def settle(self) -> None:
        """Wait until what was done shows everywhere."""
        time.sleep(self.settle_seconds)

    def create(
        self,
        name: str,
        *fields: Message,
        dynamic: bool = False,
        shards: int = 1,
        partitions: Iterable[str] = (),
        num_partitions: int = 0,
        properties: dict[str, str] | None = None,
        database: str = "",
        replaces: bool = True,
    ) -> Message:
        """Return the answer to CreateCollection; what has the name is dropped before."""
        if replaces:
            self.call("DropCollection", db_name=database, collection_name=name)
        schema = schema_pb2.CollectionSchema(name=name, description="d", enable_dynamic_field=dynamic)
        schema.fields.extend(fields)
        answer = self.call(
            "CreateCollection",
            db_name=database,
            collection_name=name,
            schema=schema.SerializeToString(),
            shards_num=shards,
            num_partitions=num_partitions,
            properties=[{"key": key, "value": value} for key, value in (properties or {}).items()],
        )
        for partition in partitions:
            self.must("CreatePartition", db_name=database, collection_name=name, partition_name=partition)
        return answer

    def make(self, name: str, *fields: Message, **options: Any) -> str:
        """Create a collection, and return its name."""
        if status(answer := self.create(name, *fields, **options)) != "OK":
            msg = f"{name} cannot be created: {status(answer)}"
            raise SetUpError(msg)
        return name

    def insert(self, name: str, keys: range, partition: str = "", extra: Iterable[Message] = ()) -> None:
        """Insert rows with `id` and `v`."""
        fields = [numbers("id", keys), vectors("v", len(keys)), *extra]
        self.must("Insert", collection_name=name, partition_name=partition, num_rows=len(keys), fields_data=fields)

    def delete(self, name: str, keys: Iterable[int]) -> Message:
        """Delete rows by key."""
        return self.call("Delete", collection_name=name, expr=f"id in {list(keys)}")

    def flush(self, name: str) -> Message:
        """Flush, wait for it, and return the answer. A rate limit is waited for."""
        answer = self._until(
            lambda: self.call("Flush", collection_names=[name]),
            lambda given: not isinstance(given, grpc.RpcError) and given.status.code != _RATE_LIMITED,
        )
        asked = {"segmentIDs": answer.coll_segIDs[name].data, "flush_ts": answer.coll_flush_ts[name]}
        self._until(
            lambda: self.call("GetFlushState", collection_name=name, **asked),
            lambda given: getattr(given, "flushed", False),
        )
        return answer

    def load(self, name: str) -> None:
        """Index a collection, load it, and wait until Milvus counts its rows."""
        pairs = [{"key": "index_type", "value": "FLAT"}, {"key": "metric_type", "value": "L2"}]
        self.must("CreateIndex", collection_name=name, field_name="v", extra_params=pairs)
        self.must("LoadCollection", collection_name=name, replica_number=1)
        self._until(
            lambda: self.must("GetLoadingProgress", collection_name=name), lambda given: bool(given.progress == _LOADED)
        )

    def _until(self, ask: Callable[[], Message], is_right: Callable[[Message], bool]) -> Message:
        end = time.monotonic() + _PATIENCE_SECONDS
        while not is_right(answer := ask()):
            if time.monotonic() > end:
                msg = f"nothing but {status(answer)} for {_PATIENCE_SECONDS} s"
                raise SetUpError(msg)
            time.sleep(self.poll_seconds)
        return answer

    def infos(self, name: str) -> list[Message]:
        """Return the segments of a collection."""
        return list(self.must("GetPersistentSegmentInfo", collectionName=name).infos)

    def segments(self, name: str) -> list[Fact]:
        """Return level, state, rows and storage version of each segment."""
        level, state = common_pb2.SegmentLevel.Name, common_pb2.SegmentState.Name
        return sorted(
            [level(info.level), state(info.state), info.num_rows, info.storage_version] for info in self.infos(name)
        )

    def count(self, name: str) -> str | None:
        """Return the rows that the server counts in segments."""
        stats = self.must("GetCollectionStatistics", collection_name=name).stats
        return next((item.value for item in stats if item.key == "row_count"), None)

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys below a prefix."""
        for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
            yield from (found["Key"] for found in page.get("Contents", []))

    def shapes(self, name: str) -> dict[str, int]:
        """Return how many objects a collection has of each shape: IDs as the letter of what they are."""
        number = self.call("DescribeCollection", collection_name=name).collectionID
        partitions = {str(found) for found in self.must("ShowPartitions", collection_name=name).partitionIDs}
        found: dict[str, int] = {}
        for kind in _LOG_KINDS:
            for key in self.keys(f"{self.root}/{kind}/{number}/"):
                parts = key[len(self.root) + 1 :].split("/")
                parts[1], parts[3] = "C", "S"
                parts[2] = "P" if parts[2] in partitions else parts[2]
                parts[-1] = "L" if len(parts[-1]) > 6 else parts[-1]
                found["/".join(parts)] = found.get("/".join(parts), 0) + 1
        return found


def status(answer: Message) -> Fact:
    """Return OK, the name of a gRPC code, or Milvus' code with its reason, numbers taken out."""
    if isinstance(answer, grpc.RpcError):
        return answer.code().name if isinstance(answer, grpc.Call) else "UNKNOWN"
    found = answer if isinstance(answer, common_pb2.Status) else answer.status
    if not found.code and not found.error_code:
        return "OK"
    reason = re.sub(r"stack trace:.*", "stack trace", found.reason, flags=re.DOTALL)
    return [found.code, re.sub(r"\d{3,}", "N", re.sub(r"conf-\w+", "NAME", reason))[:_LONGEST_REASON]]


def plain(value: Fact) -> Fact:
    """Return an answer of REST without IDs, times, and names that the server picks."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, str):
        value = re.sub(r"field '\w*' with", "field 'X' with", value)
        value = re.sub(r"\d{4}-\d\d-\d\dT[\d:]+Z?", "TIME", value)
        return re.sub(r"\d{3,}", "N", value)[:_LONGEST_TEXT]
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return "N" if is_number and value > _LARGEST_PLAIN_NUMBER else value


def field(name: str, data_type: str, **options: Any) -> Message:
    """Return a field; what is no property of a field is a parameter of its type."""
    found = schema_pb2.FieldSchema(name=name, data_type=data_type)
    for key, value in options.items():
        if key in {"is_primary_key", "autoID", "is_partition_key", "nullable"}:
            setattr(found, key, value)
        else:
            found.type_params.add(key=key, value=str(value))
    return found


def base_fields() -> list[Message]:
    """Return the fields that nearly all collections here have."""
    return [field("id", "Int64", is_primary_key=True), field("v", "FloatVector", dim=DIMENSIONS)]


def numbers(name: str, values: Iterable[int]) -> Message:
    """Return values of an Int64 field."""
    data = schema_pb2.FieldData(field_name=name, type="Int64")
    data.scalars.long_data.data.extend(values)
    return data


def vectors(name: str, rows: int) -> Message:
    """Return random vectors."""
    data = schema_pb2.FieldData(field_name=name, type="FloatVector")
    data.vectors.dim = DIMENSIONS
    random = np.random.default_rng(_SEED).random(rows * DIMENSIONS)
    data.vectors.float_vector.data.extend(random.astype("float32").tolist())
    return data


NAMES = ("a$b", "a-b", "a.b", "1a", "$a", "a" * 256)


def answers_to_names(milvus: Milvus) -> dict[str, Fact]:
    """Return what each call that takes a name answers to names that break the rule, and to too many shards."""
    milvus.make("named", *base_fields())
    found: dict[str, Fact] = {"shards": status(milvus.create("sharded", *base_fields(), shards=17))}
    for name in NAMES:
        asked = {
            "create": milvus.create(name, *base_fields(), replaces=False),
            "describe": milvus.call("DescribeCollection", collection_name=name),
            "rename": milvus.call("RenameCollection", oldName="named", newName=name),
            "alias": milvus.call("CreateAlias", collection_name="named", alias=name),
            "database": milvus.call("CreateDatabase", db_name=name),
        }
        found |= {f"{call} {name[:3]}": status(answer) for call, answer in asked.items()}
    milvus.must("DropCollection", collection_name="named")
    return found
