"""What real servers wrote is read as the independent reader reads it, and holds what the oracles say."""

from collections import defaultdict

import pytest

from milvus_vault.binlogs import (
    compose_deletes,
    count_column_groups,
    cut_deletes,
    open_deletes,
    read_deletes,
    read_timestamps,
)
from milvus_vault.errors import BinlogUnreadableError
from tests.support.golden_rows import full_meta, objects_of, oracle
from tests.support.milvus_server import binlog, column_groups
from tests.support.milvus_server.objects import MemoryObjects
from tests.support.milvus_server.segment_files import by_field, read_rows
from tests.support.milvus_server.values import TIMESTAMP, Value

ARCHIVES = {"2_3": "golden_0516", "2_4": "golden_2_4", "2_5": "golden_2_5", "2_6": "golden_2_6"}
ALL = [*ARCHIVES.values(), "golden_057", "golden_rbac"]
_KEY = 100


@pytest.mark.parametrize("archive", ALL)
def test_deletes_of_real_servers_are_read_and_cut(archive: str) -> None:
    objects = objects_of(archive)
    keys = objects.keys("delta_log/")
    assert keys
    for key in keys:
        body = objects.get(key)
        expected = binlog.read_deletes(body)
        deletes = read_deletes(body)
        assert list(zip(deletes.keys.to_pylist(), deletes.timestamps.to_pylist(), strict=True)) == expected
        times = {timestamp for _, timestamp in expected}
        assert cut_deletes(body, max(times)) is body
        assert cut_deletes(body, min(times) - 1) is None
        for end in times - {max(times)}:
            cut = cut_deletes(body, end)
            assert cut is not None
            assert binlog.read_deletes(cut) == [delete for delete in expected if delete[1] <= end]
            assert binlog.read(cut).place == binlog.read(body).place


@pytest.mark.parametrize("archive", ALL)
def test_deletes_of_real_servers_are_composed_into_one_log(archive: str) -> None:
    objects = objects_of(archive)
    by_collection: dict[str, list[bytes]] = defaultdict(list)
    for key in objects.keys("delta_log/"):
        by_collection[key.split("/")[1]].append(objects.get(key))
    for bodies in by_collection.values():
        expected = [delete for body in bodies for delete in binlog.read_deletes(body)]
        ((_, whole),) = compose_deletes([open_deletes(body) for body in bodies])
        assert binlog.read_deletes(whole) == expected
        found = read_deletes(whole)
        assert list(zip(found.keys.to_pylist(), found.timestamps.to_pylist(), strict=True)) == expected
        assert binlog.read(whole).place == binlog.read(bodies[0]).place
    assert any(len(bodies) > 1 for bodies in by_collection.values())


def test_some_of_them_are_really_cut() -> None:
    objects = objects_of("golden_0516")
    logs = [binlog.read_deletes(objects.get(key)) for key in objects.keys("delta_log/")]
    assert any(len({timestamp for _, timestamp in log}) > 1 for log in logs)


def _timestamp_logs(archive: str) -> list[bytes]:
    objects = objects_of(archive)
    keys = [key.split("/") for key in objects.keys("insert_log/")]
    bodies = {"/".join(key): objects.get("/".join(key)) for key in keys if key[-2] in {"0", "1"}}
    # Group 1 of storage version 2 has scalars, field 0 of version 1 has row IDs.
    return [body for key, body in bodies.items() if (key.split("/")[-2] == "0") == body.startswith(b"PAR1")]


@pytest.mark.parametrize("archive", ALL)
def test_timestamps_of_real_servers_are_read(archive: str) -> None:
    bodies = _timestamp_logs(archive)
    assert bodies
    for body in bodies:
        timestamps = read_timestamps(body)
        if body.startswith(b"PAR1"):
            assert timestamps.to_pylist() == column_groups.read(body)[TIMESTAMP]
        else:
            assert [timestamps.to_pylist()] == list(binlog.read(body).columns.values())


@pytest.mark.parametrize("archive", ALL)
def test_each_log_of_a_segment_of_column_groups_names_as_many_as_there_are(archive: str) -> None:
    objects = objects_of(archive)
    segments: dict[str, list[str]] = {}
    for key in objects.keys("insert_log/"):
        segments.setdefault(key.split("/")[4], []).append(key)
    assert segments
    for of_segment in segments.values():
        groups = len(by_field(of_segment)) if _is_of_groups(objects, of_segment) else 0
        assert {count_column_groups(objects.get(key)) for key in of_segment} == {groups}


@pytest.mark.parametrize(("version", "archive"), ARCHIVES.items())
def test_timestamps_and_deletes_leave_as_many_rows_as_the_oracle_counts(version: str, archive: str) -> None:
    expected, objects = oracle(version), objects_of(archive)
    for backup in full_meta(archive)["collection_backups"]:
        name = f"{backup.get('db_name') or 'default'}.{backup['collection_name']}"
        deleted: dict[Value, int] = {}
        for key in objects.keys(f"delta_log/{backup['collection_id']}/"):
            deletes = read_deletes(objects.get(key))
            for of_key, timestamp in zip(deletes.keys.to_pylist(), deletes.timestamps.to_pylist(), strict=True):
                deleted[of_key] = max(timestamp, deleted.get(of_key, 0))
        segments: dict[str, list[str]] = {}
        for key in objects.keys(f"insert_log/{backup['collection_id']}/"):
            segments.setdefault(key.split("/")[3], []).append(key)
        live = 0
        for of_segment in segments.values():
            logs = by_field(of_segment)
            in_order = sorted(
                logs[0 if _is_of_groups(objects, of_segment) else TIMESTAMP], key=lambda key: int(key.split("/")[-1])
            )
            timestamps = [time for key in in_order for time in read_timestamps(objects.get(key)).to_pylist()]
            keys = read_rows(objects, logs)[_KEY]
            live += sum(time >= deleted.get(key, 0) for key, time in zip(keys, timestamps, strict=True))
        assert live == expected[name]["count"], name


def _is_of_groups(objects: MemoryObjects, keys: list[str]) -> bool:
    return objects.get(keys[0]).startswith(b"PAR1")


def test_logs_of_other_fields_are_no_timestamps() -> None:
    objects = objects_of("golden_2_6")
    others = [key for key in objects.keys("insert_log/") if key.split("/")[-2] == "1"]
    for key in others:
        if objects.get(key).startswith(b"PAR1"):
            with pytest.raises(BinlogUnreadableError, match="it has no column of timestamps"):
                read_timestamps(objects.get(key))
    objects = objects_of("golden_2_4")
    other = next(key for key in objects.keys("insert_log/") if key.split("/")[-2] == "0")
    with pytest.raises(BinlogUnreadableError, match="it is a log of field 0, not of timestamps"):
        read_timestamps(objects.get(other))
