"""What a backup tool depends on, asked one scenario after the other. Imports have a module of their own."""

import json
from collections.abc import Callable
from typing import Any

import requests
from pymilvus.grpc_gen import common_pb2, schema_pb2

from tests.conformance.asking import Fact, Milvus, base_fields, field, plain, status
from tests.conformance.import_questions import import_shapes, importing

type Facts = dict[str, Fact]

_NUMBERED = ("segmentID", "collectionID", "partitionID", "vChannel")


def server(milvus: Milvus) -> Facts:
    """Ask which calls there are."""
    connected = milvus.call("Connect", client_info={"sdk_type": "Python", "sdk_version": "3.0.2"})
    calls: dict[str, dict[str, Any]] = {
        "BackupRBAC": {},
        "RestoreRBAC": {},
        "DescribeDatabase": {"db_name": "default"},
        "ListPrivilegeGroups": {},
        "AllocTimestamp": {},
        "ListResourceGroups": {},
        "ListImportTasks": {},
        "GetFlushAllState": {},
        "FlushAll": {},
        "ListCredUsers": {},
        "ListAliases": {},
        "ListSnapshots": {},
    }
    paths = ("collections/list", "segments/describe", "jobs/import/list")
    known: Facts = {name: status(milvus.call(name, **fields)) for name, fields in calls.items()}
    for path in (*(f"/v2/vectordb/{path}" for path in paths), "/v1/vector/collections"):
        answer = milvus.post(path, {})
        known[f"POST {path}"] = [answer.get("http"), answer.get("code"), plain(answer.get("message"))]
    return {
        "version": milvus.must("GetVersion").version,
        "connect": {"status": status(connected), "build_tags": connected.server_info.build_tags},
        "rpc": known,
    }


def schema(milvus: Milvus) -> Facts:
    """Ask what becomes of schemas, aliases, and of what is not there."""
    text = field("s", "VarChar", max_length=9)
    properties = {"collection.ttl.seconds": "60"}
    milvus.make("conf_a", *base_fields(), text, dynamic=True, shards=2, partitions=("p",), properties=properties)
    shown = milvus.must("DescribeCollection", collection_name="conf_a")
    type_name = schema_pb2.DataType.Name
    facts: Facts = {
        "fields": [
            [item.fieldID, item.name, type_name(item.data_type), item.is_dynamic] for item in shown.schema.fields
        ],
        "shown": {
            "shards": shown.shards_num,
            "num_partitions": shown.num_partitions,
            "consistency": common_pb2.ConsistencyLevel.Name(shown.consistency_level),
            "properties": {item.key: plain(item.value) for item in shown.properties},
            "enable_dynamic": shown.schema.enable_dynamic_field,
            "db": shown.db_name,
            "vchannels": len(shown.virtual_channel_names),
            "autoID": shown.schema.autoID,
        },
    }
    again = milvus.create("conf_a", *base_fields(), text, dynamic=True, shards=2, replaces=False)
    facts["again_equal"] = status(again)
    facts["again_other"] = status(milvus.create("conf_a", *base_fields(), replaces=False))
    facts |= _types(milvus) | _partition_key(milvus)
    facts["missing"] = status(milvus.call("DescribeCollection", collection_name="conf_none"))
    nowhere = milvus.call("DescribeCollection", collection_name="conf_none", db_name="conf_nodb")
    facts["missing_db"] = status(nowhere)
    facts["drop_missing"] = status(milvus.call("DropCollection", collection_name="conf_none"))
    facts["alias"] = status(milvus.call("CreateAlias", collection_name="conf_a", alias="conf_alias"))
    facts["aliases_shown"] = list(milvus.must("DescribeCollection", collection_name="conf_a").aliases)
    facts["aliases_listed"] = list(milvus.must("ListAliases", collection_name="conf_a").aliases)
    facts["drop_with_alias"] = status(milvus.call("DropCollection", collection_name="conf_a"))
    milvus.call("DropAlias", alias="conf_alias")
    return facts


def _types(milvus: Milvus) -> Facts:
    key = field("id", "Int64", is_primary_key=True)
    facts: Facts = {
        "two_vectors": status(milvus.create("conf_b", *base_fields(), field("w", "FloatVector", dim=2))),
        "nullable": status(milvus.create("conf_c", *base_fields(), field("n", "Int32", nullable=True))),
        "sparse": status(milvus.create("conf_d", key, field("v", "SparseFloatVector"))),
        "int8_vector": status(milvus.create("conf_e", key, field("v", "Int8Vector", dim=4))),
    }
    kept = milvus.must("DescribeCollection", collection_name="conf_c").schema.fields
    facts["nullable_kept"] = any(item.nullable for item in kept)
    return facts


def _partition_key(milvus: Milvus) -> Facts:
    milvus.make("conf_f", *base_fields(), field("k", "Int64", is_partition_key=True), num_partitions=3)
    created = milvus.call("CreatePartition", collection_name="conf_f", partition_name="x")
    return {
        "partition_key": {
            "names": list(milvus.must("ShowPartitions", collection_name="conf_f").partition_names),
            "num_partitions": milvus.must("DescribeCollection", collection_name="conf_f").num_partitions,
            "create_partition": status(created),
        }
    }


def flushing(milvus: Milvus) -> Facts:
    """Ask what a flush answers, which segments there are then, and which objects."""
    name = milvus.make("conf_fl", *base_fields())
    milvus.insert(name, range(200))
    facts: Facts = {"growing_listed": milvus.segments(name)}
    answer = milvus.must("Flush", collection_names=[name])
    facts["flush"] = {
        "coll_segIDs": len(answer.coll_segIDs[name].data),
        "flush_coll_segIDs": len(answer.flush_coll_segIDs[name].data),
        "seal_times": len(answer.coll_seal_times),
        "flush_ts": len(answer.coll_flush_ts),
        "channel_cps": len(answer.channel_cps),
    }
    facts["flush_again_at_once"] = status(milvus.call("Flush", collection_names=[name]))
    milvus.flush(name)
    facts["flushed"] = milvus.segments(name)
    milvus.settle()
    facts["objects"] = milvus.shapes(name)
    facts["delete"] = status(milvus.delete(name, range(20)))
    answer = milvus.flush(name)
    milvus.settle()
    segments = milvus.segments(name)
    facts["flush_of_deletes"] = {
        "coll_segIDs": len(answer.coll_segIDs[name].data),
        "flush_coll_segIDs": len(answer.flush_coll_segIDs[name].data),
        "levels": sorted({segment[0] for segment in segments}),
        "rows": sum(segment[2] for segment in segments),
        "delta_keys": sorted(key for key in milvus.shapes(name) if key.startswith("delta")),
    }
    facts["count"] = milvus.count(name)
    facts["flush_missing"] = status(milvus.call("Flush", collection_names=["conf_none"]))
    asked = milvus.call("GetFlushState", collection_name=name, flush_ts=answer.coll_flush_ts[name])
    facts["flush_state_no_segments"] = status(asked)
    return facts | _empty(milvus) | _described_segments(milvus, name)


def _empty(milvus: Milvus) -> Facts:
    name = milvus.make("conf_em", *base_fields())
    sealed = len(milvus.flush(name).coll_segIDs[name].data)
    return {"empty": {"coll_segIDs": sealed, "segments": milvus.segments(name), "objects": milvus.shapes(name)}}


def _described_segments(milvus: Milvus, name: str) -> Facts:
    described = milvus.must("DescribeCollection", collection_name=name)
    ids = [info.segmentID for info in milvus.infos(name)]
    body = {"dbName": "default", "collectionID": described.collectionID, "segmentIDs": ids}
    answer = milvus.post("/v2/vectordb/segments/describe", body)
    data = answer.get("data")
    if not isinstance(data, dict):
        shown = plain(answer.get("message"))
    else:
        segments = [json.dumps(_shape(info), sort_keys=True) for info in data["segmentInfos"]]
        shown = {"keys": sorted(data), "segments": sorted(segments)}
    return {"segments_describe": {"http": answer.get("http"), "code": answer.get("code"), "data": shown}}


def _shape(info: dict[str, Any]) -> Facts:
    def shape(key: str, value: Any) -> Fact:
        if isinstance(value, list):
            return sorted({tuple(sorted(item)) for item in value})
        return "N" if key in _NUMBERED and value != -1 else value

    return {key: shape(key, value) for key, value in info.items()}


def management(milvus: Milvus) -> Facts:
    """Ask for pauses of garbage collection."""
    facts: Facts = {}
    pause = "pause?pause_seconds=30"
    for call in (pause, "resume", f"{pause}&collection_id=1", "pause", "pause?pause_seconds=x"):
        answer = requests.get(f"{milvus.management_uri}/management/datacoord/garbage_collection/{call}", timeout=20)
        try:
            body = answer.json()
        except ValueError:
            facts[call] = [answer.status_code, answer.text[:60]]
        else:
            facts[call] = [answer.status_code, sorted(body), plain(body.get("msg"))]
    return facts


def databases(milvus: Milvus) -> Facts:
    """Ask what there is to databases."""
    properties = [{"key": "database.max.collections", "value": "7"}]
    facts: Facts = {"create": status(milvus.call("CreateDatabase", db_name="conf_db", properties=properties))}
    facts["create_again"] = status(milvus.call("CreateDatabase", db_name="conf_db"))
    described = milvus.call("DescribeDatabase", db_name="conf_db")
    found = {item.key: item.value for item in described.properties} if status(described) == "OK" else None
    facts["describe"] = [status(described), found]
    facts["create_in_missing"] = status(milvus.create("conf_x", *base_fields(), database="conf_nodb"))
    facts["drop"] = status(milvus.call("DropDatabase", db_name="conf_db"))
    return facts


SCENARIOS: dict[str, Callable[[Milvus], Facts]] = {
    "server": server,
    "schema": schema,
    "flushing": flushing,
    "importing": importing,
    "import_shapes": import_shapes,
    "management": management,
    "databases": databases,
}
