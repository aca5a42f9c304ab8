"""Rows of archives that milvus-backup made of real servers are those that the oracles have, with every value."""

import base64
import struct
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from pymilvus.grpc_gen import schema_pb2

from milvus_vault.model.collections import CollectionName
from milvus_vault.rows import KeysIn, Rows, Selection, read_rows
from tests.support.golden_rows import oracle
from tests.support.oracle import as_queried
from tests.unit.archive.samples import BUCKET, golden_layout, golden_store

ARCHIVES = [
    ("2_3", "golden_0516"),
    ("2_3", "golden_057"),
    ("2_4", "golden_2_4"),
    ("2_5", "golden_2_5"),
    ("2_6", "golden_2_6"),
]
COLLECTIONS = [(version, archive, name) for version, archive in ARCHIVES for name in oracle(version)]
NEWER = [(version, archive, name) for version, archive, name in COLLECTIONS if version != "2_3"]

type Row = dict[str, Any]

store_of = cache(golden_store)
oracle_of = cache(oracle)


def rows_of(archive: str, name: str, **selection: Any) -> Rows:
    database, _, collection = name.partition(".")
    found = CollectionName(database=database, name=collection)
    return read_rows(store_of(archive), BUCKET, golden_layout(archive), found, Selection(**selection))


def read(archive: str, name: str, **selection: Any) -> list[Row]:
    return [row for batch in rows_of(archive, name, **selection).batches for row in batch.to_pylist()]


def by_key(rows: list[Row], key: str) -> list[Row]:
    return sorted(rows, key=lambda row: str(row[key]))


def key_of(version: str, name: str) -> str:
    fields = oracle_of(version)[name]["schema"]["fields"]
    return str(next(field["name"] for field in fields if field.get("is_primary_key")))


@pytest.mark.parametrize("archive", ["golden_0516", "golden_057"])
@pytest.mark.parametrize("name", oracle("2_3"))
def test_rows_are_those_that_a_query_of_2_3_gave(archive: str, name: str) -> None:
    expected = oracle_of("2_3")[name]
    assert as_queried(rows_of(archive, name), key_of("2_3", name)) == expected["rows"]
    if expected["count_by_partition"]:
        counts = {partition: len(read(archive, name, partition=partition)) for partition in expected["partitions"]}
        assert counts == expected["count_by_partition"]


def _array(message: bytes) -> list[Any]:
    scalars = schema_pb2.ScalarField.FromString(message)
    which = scalars.WhichOneof("data")
    return list(getattr(scalars, which).data) if which else []


VALUES: dict[str, Callable[[bytes], Any]] = {
    "JSON": lambda raw: raw.decode(),
    "Array": _array,
    "FloatVector": lambda raw: np.frombuffer(raw, "<f4").tolist(),
    "Float16Vector": lambda raw: np.frombuffer(raw, "<f2").tolist(),
    "BFloat16Vector": lambda raw: (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4").tolist(),
    "Int8Vector": lambda raw: np.frombuffer(raw, "i1").tolist(),
    "BinaryVector": list,
    "SparseFloatVector": lambda raw: list(struct.iter_unpack("<If", raw)),
}


def as_oracle_means(row: Row, schema: dict[str, Any]) -> Row:
    """Return a row of an oracle, which has raw values by field number, by names and with what they stand for."""
    fields = {field["fieldID"]: field for field in schema["fields"]}
    found = {}
    for number, value in row.items():
        field = fields.get(number, {"name": "$meta", "data_type": "JSON"})
        raw = base64.b64decode(value["b64"]) if isinstance(value, dict) else None
        found[field["name"]] = value if raw is None else VALUES[field["data_type"]](raw)
    return found


@pytest.mark.parametrize(("version", "archive", "name"), NEWER)
def test_rows_of_newer_versions_have_every_value_of_the_oracle(version: str, archive: str, name: str) -> None:
    expected = oracle_of(version)[name]
    for partition in expected["partitions"]:
        rows = [row for of_key in expected["rows"].get(partition, []) for row in of_key]
        meant = [as_oracle_means(row, expected["schema"]) for row in rows]
        key = key_of(version, name)
        assert by_key(read(archive, name, partition=partition), key) == by_key(meant, key)
    assert len(read(archive, name)) == expected["count"]


@pytest.mark.parametrize(("version", "archive", "name"), COLLECTIONS)
def test_each_selection_is_a_part_of_all_rows_in_their_order(version: str, archive: str, name: str) -> None:
    everything = read(archive, name)
    key = key_of(version, name)
    wanted = [row[key] for row in everything[::7]]
    absent = "nobody" if wanted and isinstance(wanted[0], str) else -987_654
    where = KeysIn(key, (*reversed(wanted), absent) if wanted else ())
    assert read(archive, name, where=where) == everything[::7]
    assert read(archive, name, limit=3) == everything[:3]
    assert read(archive, name, where=where, limit=2, fields=(key,)) == [{key: one} for one in wanted[:2]]
    for field in everything[0] if everything else ():
        assert read(archive, name, fields=(field,)) == [{field: row[field]} for row in everything]
