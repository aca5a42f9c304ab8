"""milvus-backup's archives in the shapes that its releases gave them, made from those that were kept."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from tests.support.golden_rows import GOLDEN, full_meta

type Json = dict[str, Any]
type Files = dict[str, bytes]
"""Contents by key below the backup's folder."""
type Shape = Callable[[Json, Files], None]
"""Changes `full_meta.json` and the files beside it."""

FULL_META = "meta/full_meta.json"


def shaped(archive: str, shape: Shape) -> Files:
    """Return an archive in another shape."""
    meta, folder = full_meta(archive), GOLDEN / archive
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    shape(meta, files)
    if FULL_META in files:
        files |= {f"meta/{name}": body for name, body in meta_files(meta).items()}
    return files


def meta_files(meta: Json) -> Files:
    """Return `full_meta.json` and the files that each release writes beside it, by their names."""
    collections = meta["collection_backups"]
    partitions = [partition for collection in collections for partition in collection["partition_backups"]]
    levels = {
        "collection": [_without(collection, "l0_segments", "partition_backups") for collection in collections],
        "partition": [_without(partition, "segment_backups") for partition in partitions],
        "segment": [segment for partition in partitions for segment in partition.get("segment_backups", [])],
    }
    files = {f"{level}_meta.json": json.dumps({"infos": infos}).encode() for level, infos in levels.items()}
    return files | {"full_meta.json": json.dumps(meta).encode()}


def _without(item: Json, *members: str) -> Json:
    return {member: value for member, value in item.items() if member not in members}


def without_groups(meta: Json, files: Files) -> None:
    """As the first releases made them: no folder of a group and no `group_id`, and all in one database."""
    del meta["database_backups"]
    for collection in meta["collection_backups"]:
        del collection["db_name"]
    for segment in _of_partitions(meta):
        _move(files, segment, 0)
        del segment["group_id"]


def with_groups_of_many(meta: Json, files: Files) -> None:
    """As they were made of large partitions up to 0.4.3: the segments of a partition share groups, numbered from 1."""
    numbers: dict[int, int] = {}
    for segment in _of_partitions(meta):
        if not segment.get("is_l0"):
            number = numbers[segment["partition_id"]] = numbers.get(segment["partition_id"], 1) + 1
            _move(files, segment, number // 2)
            segment["group_id"] = number // 2


def with_levels_alone(_: Json, files: Files) -> None:
    """As they were made before there was a `full_meta.json`, or as they are left when it is lost."""
    del files[FULL_META]


def of_0_4(meta: Json, files: Files) -> None:
    """As 0.4.13 made them: paths without IDs, deletes in segments like any other, states and times of a task."""
    meta |= {"state_code": 2, "start_time": 1700000000, "end_time": 1700000001, "progress": 100}
    meta.pop("rbac_meta", None)
    del meta["database_backups"]
    for collection in meta["collection_backups"]:
        collection |= {"id": "6f1c", "state_code": 2, "progress": 100, "errorMessage": ""}
        for member in ("properties", "aliases", "virtual_channel_names", "channel_checkpoints", "db_id"):
            collection.pop(member, None)
    for segment in _of_partitions(meta):
        if segment.pop("is_l0", False):
            _move(files, segment, 0)
            del segment["group_id"]
        segment["statslogs"] = [{"fieldID": 100, "binlogs": [{"log_path": "files/stats_log/1/2/3/4/5"}]}]
        segment["backuped"] = True
    for segment in [*_of_partitions(meta), *_of_collections(meta)]:
        logs = [log for field in segment.get("deltalogs", []) for log in field.get("binlogs", [])]
        for log in [*logs, *(log for field in segment.get("binlogs", []) for log in field["binlogs"])]:
            del log["log_id"]
        # Each log is an entry of its own there, under its own number.
        names = [int(log["log_path"].rpartition("/")[2]) for log in logs]
        segment["deltalogs"] = [{"fieldID": n, "binlogs": [log]} for n, log in zip(names, logs, strict=True)] or [{}]


def with_the_hidden_field(meta: Json, _: Files) -> None:
    """As 0.5.13 and newer make them where they may ask etcd: the dynamic field, and more of each index."""
    for collection in meta["collection_backups"]:
        if collection["schema"].get("enable_dynamic_field"):
            number = max(field["fieldID"] for field in collection["schema"]["fields"]) + 1
            hidden = {"fieldID": number, "name": "$meta", "data_type": 23, "is_dynamic": True, "nullable": True}
            collection["schema"]["fields"].append(hidden)
        for index in collection.get("index_infos", []):
            kind = {"key": "index_type", "value": index["index_type"]}
            index |= {"field_id": 101, "create_time": 470644557325008950, "is_auto_index": True, "index_params": [kind]}


def with_default_values_as_text(meta: Json, _: Files) -> None:
    """As 0.4.25 to 0.5.4 made them: the message's bytes as a text."""
    for collection in meta["collection_backups"]:
        for field in collection["schema"]["fields"]:
            if field.pop("default_value_base64", "") == "GCo=":
                field["default_value_proto"] = "\x18*"


def with_a_partition_that_nobody_knows(meta: Json, files: Files) -> None:
    """As they are made while a partition is dropped: its segments are copied and not recorded."""
    for key in list(files):
        head, _, tail = key.partition("_log/")
        if key.startswith("binlogs/insert_log/") and any(
            tail.startswith(f"{collection['collection_id']}/") for collection in meta["collection_backups"]
        ):
            collection_id, _, rest = tail.split("/", 2)
            files[f"{head}_log/{collection_id}/77/{rest}"] = files[key]


def _of_partitions(meta: Json) -> Iterator[Json]:
    for collection in meta["collection_backups"]:
        for partition in collection["partition_backups"]:
            yield from partition.get("segment_backups", [])


def _of_collections(meta: Json) -> Iterator[Json]:
    for collection in meta["collection_backups"]:
        yield from collection.get("l0_segments", [])


def _move(files: Files, segment: Json, group: int) -> None:
    """Move a segment's files into the folder of another group, or of none."""
    place = f"{segment['collection_id']}/{segment['partition_id']}/"
    number = segment["segment_id"]
    new = f"{group}/{number}" if group else f"{number}"
    for kind in ("insert_log", "delta_log"):
        old = f"binlogs/{kind}/{place}{number}/{number}/"
        for key in [key for key in files if key.startswith(old)]:
            files[f"binlogs/{kind}/{place}{new}/{key.removeprefix(old)}"] = files.pop(key)
