"""Tell whether a backup's metadata is what milvus-backup writes, and what it can restore.

An oracle that shares nothing with the code it judges: it is held against archives that milvus-backup made, and
then against ours. It decodes as Go's `encoding/json` decodes into structs (unknown members are ignored, names
match in any case, integers are bare literals in their range), demands what Go's encoder does (no member
without a value, members in the structs' order, its escapes), and checks the rules that a restore relies on.
"""

import base64
import binascii
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

# Message -> member -> type, in the order of the structs. `[T]` is a list, `{T}` a map from texts.
MESSAGES: dict[str, dict[str, str]] = {
    "BackupInfo": {
        "id": "string",
        "state_code": "enum",
        "errorMessage": "string",
        "start_time": "int64",
        "end_time": "int64",
        "progress": "int32",
        "name": "string",
        "backup_timestamp": "uint64",
        "collection_backups": "[CollectionBackupInfo]",
        "size": "int64",
        "milvus_version": "string",
        "rbac_meta": "RBACMeta",
        "rpc_channel_info": "RPCChannelInfo",
        "database_backups": "[DatabaseBackupInfo]",
        "flush_all_msgs_base64": "{string}",
        "control_channel_name": "string",
        "physical_channel_names": "[string]",
        "format": "string",
    },
    "CollectionBackupInfo": {
        "id": "string",
        "state_code": "enum",
        "errorMessage": "string",
        "start_time": "int64",
        "end_time": "int64",
        "progress": "int32",
        "collection_id": "int64",
        "db_name": "string",
        "collection_name": "string",
        "schema": "CollectionSchema",
        "shards_num": "int32",
        "consistency_level": "enum",
        "partition_backups": "[PartitionBackupInfo]",
        "backup_timestamp": "uint64",
        "size": "int64",
        "has_index": "bool",
        "index_infos": "[IndexInfo]",
        "load_state": "string",
        "backup_physical_timestamp": "uint64",
        "channel_checkpoints": "{string}",
        "l0_segments": "[SegmentBackupInfo]",
        "properties": "[KeyValuePair]",
        "db_id": "int64",
        "created_timestamp": "uint64",
        "virtual_channel_names": "[string]",
        "physical_channel_names": "[string]",
        "aliases": "[string]",
    },
    "CollectionSchema": {
        "name": "string",
        "description": "string",
        "autoID": "bool",
        "fields": "[FieldSchema]",
        "enable_dynamic_field": "bool",
        "properties": "[KeyValuePair]",
        "functions": "[FunctionSchema]",
        "struct_array_fields": "[StructArrayFieldSchema]",
    },
    "FieldSchema": {
        "fieldID": "int64",
        "name": "string",
        "is_primary_key": "bool",
        "description": "string",
        "data_type": "enum",
        "type_params": "[KeyValuePair]",
        "index_params": "[KeyValuePair]",
        "autoID": "bool",
        "state": "enum",
        "element_type": "enum",
        "is_dynamic": "bool",
        "is_partition_key": "bool",
        "nullable": "bool",
        "default_value_proto": "string",
        "is_function_output": "bool",
        "default_value_base64": "string",
    },
    "FunctionSchema": {
        "name": "string",
        "id": "int64",
        "description": "string",
        "type": "enum",
        "input_field_names": "[string]",
        "input_field_ids": "[int64]",
        "output_field_names": "[string]",
        "output_field_ids": "[int64]",
        "params": "[KeyValuePair]",
    },
    "StructArrayFieldSchema": {
        "fieldID": "int64",
        "name": "string",
        "description": "string",
        "fields": "[FieldSchema]",
    },
    "KeyValuePair": {"key": "string", "value": "string"},
    "IndexInfo": {
        "field_name": "string",
        "index_name": "string",
        "index_type": "string",
        "params": "{string}",
        "index_id": "int64",
    },
    "PartitionBackupInfo": {
        "partition_id": "int64",
        "partition_name": "string",
        "collection_id": "int64",
        "segment_backups": "[SegmentBackupInfo]",
        "size": "int64",
        "load_state": "string",
    },
    "SegmentBackupInfo": {
        "segment_id": "int64",
        "collection_id": "int64",
        "partition_id": "int64",
        "num_of_rows": "int64",
        "binlogs": "[FieldBinlog]",
        "statslogs": "[FieldBinlog]",
        "deltalogs": "[FieldBinlog]",
        "size": "int64",
        "group_id": "int64",
        "backuped": "bool",
        "is_l0": "bool",
        "v_channel": "string",
        "storage_version": "int64",
    },
    "FieldBinlog": {"fieldID": "int64", "binlogs": "[Binlog]"},
    "Binlog": {
        "entries_num": "int64",
        "timestamp_from": "uint64",
        "timestamp_to": "uint64",
        "log_path": "string",
        "log_size": "int64",
        "log_id": "int64",
    },
    "DatabaseBackupInfo": {"db_name": "string", "db_id": "int64", "properties": "[KeyValuePair]", "ezk": "string"},
    "RPCChannelInfo": {"name": "string", "position": "string"},
    "RBACMeta": {
        "users": "[UserInfo]",
        "roles": "[RoleEntity]",
        "grants": "[GrantEntity]",
        "privilege_groups": "[PrivilegeGroup]",
    },
    "UserInfo": {"user": "string", "password": "string", "roles": "[RoleEntity]"},
    "RoleEntity": {"name": "string"},
    "GrantEntity": {
        "role": "RoleEntity",
        "object": "RoleEntity",
        "object_name": "string",
        "grantor": "GrantorEntity",
        "db_name": "string",
    },
    "GrantorEntity": {"user": "RoleEntity", "privilege": "RoleEntity"},
    "PrivilegeGroup": {"group_name": "string", "privileges": "[RoleEntity]"},
    "Collections": {"infos": "[CollectionBackupInfo]"},
    "Partitions": {"infos": "[PartitionBackupInfo]"},
    "Segments": {"infos": "[SegmentBackupInfo]"},
}

FILES = {
    "backup_meta.json": "BackupInfo",
    "collection_meta.json": "Collections",
    "partition_meta.json": "Partitions",
    "segment_meta.json": "Segments",
    "full_meta.json": "BackupInfo",
}

ALWAYS_WRITTEN = {
    "BackupInfo": {"state_code", "size"},
    "CollectionBackupInfo": {"size", "has_index"},
    "PartitionBackupInfo": {"size"},
    "SegmentBackupInfo": {"size"},
    "Binlog": {"log_size"},
}
# Members that only releases before 0.5.10 write, and write even where they are zero.
ALWAYS_WRITTEN_ONCE = {"progress", "state_code"}

REQUIRED = {
    "CollectionBackupInfo": {"collection_id", "db_name", "collection_name", "schema", "shards_num"},
    "CollectionSchema": {"name", "fields"},
    "FieldSchema": {"fieldID", "name", "data_type"},
    "IndexInfo": {"field_name", "index_name", "params"},
    "PartitionBackupInfo": {"partition_id", "partition_name", "collection_id"},
    "SegmentBackupInfo": {"segment_id", "collection_id", "partition_id"},
    "FunctionSchema": {"name", "type"},
    "Binlog": {"log_path", "log_id"},
}

RANGES = {
    "int32": (-(2**31), 2**31 - 1),
    "enum": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint64": (0, 2**64 - 1),
}

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
STORED_KEY = re.compile(r"binlogs/(insert_log(?:/-?[0-9]+){6}|delta_log(?:/-?[0-9]+){4,5})")


class _Members(dict[str, Any]):
    """A JSON object that knows whether a member came twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.repeated = [key for key, count in Counter(key.lower() for key, _ in pairs).items() if count > 1]


@dataclass
class _Judge:
    allowed_unknown: frozenset[str]
    problems: list[str] = field(default_factory=list)

    def say(self, where: str, what: str) -> None:
        self.problems.append(f"{where}: {what}")

    def value(self, where: str, kind: str, value: object) -> None:
        if kind.startswith("["):
            self.array(where, kind[1:-1], value)
        elif kind.startswith("{"):
            self.map(where, kind[1:-1], value)
        elif kind in MESSAGES:
            self.message(where, kind, value)
        elif kind in RANGES:
            low, high = RANGES[kind]
            if type(value) is not int or not low <= value <= high:
                self.say(where, f"{value!r} is not of {kind}")
        elif type(value) is not {"string": str, "bool": bool}[kind]:
            self.say(where, f"{value!r} is not of {kind}")

    def array(self, where: str, kind: str, value: object) -> None:
        if not isinstance(value, list) or not value:
            self.say(where, "not a list with items")
            return
        for number, item in enumerate(value):
            self.value(f"{where}[{number}]", kind, item)

    def map(self, where: str, kind: str, value: object) -> None:
        if not isinstance(value, dict) or list(value) != sorted(value):
            self.say(where, "not a map with its keys in order")
            return
        for key, item in value.items():
            self.value(f"{where}.{key}", kind, item)

    def message(self, where: str, kind: str, value: object) -> None:
        if not isinstance(value, _Members):
            self.say(where, f"not a {kind}")
            return
        if value.repeated:
            self.say(where, f"members repeated but for their case: {value.repeated}")
        types = MESSAGES[kind]
        known = [key for key in value if key in types]
        for key in value:
            if key not in types and key.lower() in {name.lower() for name in types}:
                self.say(where, f"{key} would be taken for a member of another case")
            elif key not in types and key not in self.allowed_unknown:
                self.say(where, f"unknown member {key}")
        if known != [key for key in types if key in value]:
            self.say(where, f"members are not in the order of {kind}: {known}")
        always = ALWAYS_WRITTEN.get(kind, set())
        for key in (always | REQUIRED.get(kind, set())) - value.keys():
            self.say(where, f"{key} is missing")
        for key in known:
            if not value[key] and key not in always | ALWAYS_WRITTEN_ONCE:
                self.say(where, f"{key} has no value and should be left out")
            else:
                self.value(f"{where}.{key}", types[key], value[key])


def check_archive(
    files: Mapping[str, bytes], objects: Mapping[str, int], *, own_members: Iterable[str] = ()
) -> list[str]:
    """Return all that is wrong with an archive, an empty list if milvus-backup could have written it.

    `files` has the five metadata files by name, `objects` the sizes of all objects by keys relative to the
    backup's folder, metadata left out. `own_members` are unknown members that are meant to be there.
    """
    judge = _Judge(frozenset(own_members))
    parsed = {}
    for file_name, kind in FILES.items():
        if file_name not in files:
            judge.say(file_name, "missing")
            continue
        text = files[file_name].decode()
        try:
            parsed[file_name] = json.loads(
                text, object_pairs_hook=_Members, parse_float=_refuse, parse_constant=_refuse
            )
        except ValueError as err:
            judge.say(file_name, f"Go cannot decode it: {err}")
            continue
        if text != _go_text(parsed[file_name]):
            judge.say(file_name, "not as Go's encoder writes it: blanks, escapes or a newline at the end")
        judge.message(file_name, kind, parsed[file_name])
    if judge.problems:
        return judge.problems
    full = parsed["full_meta.json"]
    judge.problems += [*_check_summary(parsed["backup_meta.json"], full), *_check_levels(parsed, full)]
    stored: dict[str, int] = {}
    for collection in full.get("collection_backups", []):
        judge.problems += [
            f"{collection['db_name']}.{collection['collection_name']}: {problem}"
            for problem in _check_collection(collection, stored)
        ]
    judge.problems += _check_objects(stored, objects)
    return judge.problems


def check_properties(full_meta: bytes) -> list[str]:
    """Return the collections whose schema lacks a property of theirs: a restore would lose it.

    Apart from the other rules, since milvus-backup breaks it itself where the server is older than 2.5.
    """
    problems = []
    for collection in json.loads(full_meta).get("collection_backups", []):
        kept = collection["schema"].get("properties", [])
        lost = [item for item in collection.get("properties", []) if item not in kept]
        if lost:
            problems.append(f"{collection['collection_name']}: not in the schema's properties: {lost}")
    return problems


def _refuse(literal: str) -> float:
    msg = f"{literal} is not an integer"
    raise ValueError(msg)


def _go_text(value: object) -> str:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _check_summary(summary: dict[str, Any], full: dict[str, Any]) -> Iterator[str]:
    if not NAME.fullmatch(full.get("name", "")):
        yield f"the name {full.get('name')!r} is not one that all commands take"
    if full.get("format") or summary.get("format"):
        yield "the format is not that of copied binlogs"
    for key in ("id", "name", "size", "milvus_version"):
        if full.get(key) != summary.get(key):
            yield f"{key} differs between backup_meta.json and full_meta.json"
    if full["size"] != sum(collection["size"] for collection in full.get("collection_backups", [])):
        yield "the size is not that of all collections"
    databases = {database["db_name"] for database in full.get("database_backups", [])}
    for collection in full.get("collection_backups", []):
        if collection["db_name"] not in databases:
            yield f"database {collection['db_name']} is not listed"


def _check_levels(parsed: dict[str, Any], full: dict[str, Any]) -> Iterator[str]:
    collections = full.get("collection_backups", [])
    partitions = [partition for collection in collections for partition in collection.get("partition_backups", [])]
    segments = [segment for partition in partitions for segment in partition.get("segment_backups", [])]
    for file_name, expected in (
        ("collection_meta.json", collections),
        ("partition_meta.json", partitions),
        ("segment_meta.json", segments),
    ):
        found = parsed[file_name].get("infos", [])
        if sorted(map(_without_segments, found)) != sorted(map(_without_segments, expected)):
            yield f"{file_name} and full_meta.json tell different things"


def _without_segments(info: dict[str, Any]) -> str:
    # Old releases leave the segments in collection_meta.json.
    kept = {key: value for key, value in info.items() if key not in {"segment_backups", "l0_segments"}}
    if "partition_backups" in kept:
        kept["partition_backups"] = [_without_segments(partition) for partition in kept["partition_backups"]]
    return json.dumps(kept, sort_keys=True)


def _check_collection(collection: dict[str, Any], stored: dict[str, int]) -> Iterator[str]:
    yield from _check_schema(collection["schema"]["fields"])
    if collection["has_index"] != bool(collection.get("index_infos")):
        yield "has_index does not fit the indexes"
    if collection.get("load_state") not in {"NotLoad", "Loading", "Loaded"}:
        yield "unknown load state"
    for partition in collection.get("partition_backups", []):
        if partition["collection_id"] != collection["collection_id"]:
            yield f"partition {partition['partition_name']} is of another collection"
        yield from _check_groups(partition)
        for segment in partition.get("segment_backups", []):
            yield from _check_segment(collection, segment, stored)
    for segment in collection.get("l0_segments", []):
        if segment["partition_id"] != -1 or not segment.get("is_l0") or "group_id" in segment:
            yield f"L0 segment {segment['segment_id']} is not one of all partitions without a group"
        yield from _check_segment(collection, segment, stored)


def _check_schema(fields: list[dict[str, Any]]) -> Iterator[str]:
    if len([item for item in fields if item.get("is_primary_key")]) != 1:
        yield "not exactly one primary key"
    if len({item["fieldID"] for item in fields}) != len(fields):
        yield "two fields have one ID"
    for item in fields:
        try:
            base64.b64decode(item.get("default_value_base64", ""), validate=True)
        except binascii.Error:
            yield f"the default value of {item['name']} is not Base64"
        if item.get("is_dynamic") or item["name"] == "$meta":
            yield "the dynamic field is listed"


def _check_groups(partition: dict[str, Any]) -> Iterator[str]:
    segments = partition.get("segment_backups", [])
    groups = Counter(segment.get("group_id") for segment in segments if not segment.get("is_l0"))
    for segment in segments:
        if segment["partition_id"] != partition["partition_id"]:
            yield f"segment {segment['segment_id']} is of another partition"
        if "group_id" not in segment:
            yield f"segment {segment['segment_id']} has no group"
    # Two segments in one folder would be imported twice.
    yield from (f"group {group} has {count} segments" for group, count in groups.items() if count > 1)


def _check_segment(collection: dict[str, Any], segment: dict[str, Any], stored: dict[str, int]) -> Iterator[str]:
    name = f"segment {segment['segment_id']}"
    if segment["collection_id"] != collection["collection_id"]:
        yield f"{name} is of another collection"
    inserts, deletes = segment.get("binlogs", []), segment.get("deltalogs", [])
    if bool(segment.get("is_l0")) == bool(inserts):
        yield f"{name} is L0 and has insert logs, or is not and has none"
    if segment.get("storage_version", 0) < 2 and len({len(item["binlogs"]) for item in inserts}) > 1:
        yield f"the fields of {name} have different numbers of logs"
    if len({item.get("fieldID", 0) for item in inserts}) != len(inserts):
        yield f"{name} has a field twice"
    logs = [(["insert_log"], [item.get("fieldID", 0)], log) for item in inserts for log in item.get("binlogs", [])]
    logs += [(["delta_log"], [], log) for item in deletes for log in item.get("binlogs", [])]
    if sum(log["log_size"] for _, _, log in logs) != segment["size"]:
        yield f"the size of {name} is not that of its objects"
    for kind, field_id, log in logs:
        folder = [*kind, segment["collection_id"], segment["partition_id"]]
        group = [segment["group_id"]] if "group_id" in segment else []
        end = [segment["segment_id"], *field_id, log["log_id"]]
        source = "/".join(map(str, [*folder, *end]))
        if not log["log_path"].endswith(f"/{source}"):
            yield f"{log['log_path']} does not lie where its segment does: {source}"
        key = "/".join(map(str, ["binlogs", *folder, *group, *end]))
        if key in stored:
            yield f"{key} is listed twice"
        stored[key] = log["log_size"]


def _check_objects(stored: dict[str, int], objects: Mapping[str, int]) -> Iterator[str]:
    for key in stored.keys() - objects.keys():
        yield f"{key} is listed and not there"
    for key in objects.keys() - stored.keys():
        yield f"{key} is there and not listed"
    for key in stored.keys() & objects.keys():
        if stored[key] != objects[key]:
            yield f"{key} has {objects[key]} bytes instead of {stored[key]}"
    yield from (f"{key} is not a key that Milvus can parse" for key in objects if not STORED_KEY.fullmatch(key))
