"""What each version can have in a schema comes back, into that version and into newer ones."""

import dataclasses
import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from pymilvus import DataType, Function, FunctionType, MilvusClient, MilvusException

from milvus_vault.errors import VersionUnsupportedError
from tests.compatibility.features import VERSIONS as MINORS
from tests.compatibility.features import Feature, from_version
from tests.restore.conftest import Deploy
from tests.restore.schema_cases import CASES, DELETED, ROWS, UPSERTED, create, field, fill, rows
from tests.restore.servers import start_server
from tests.support.milvus_server.versions import FROM_2_5, FROM_2_6, VERSIONS
from tests.support.quick_s3 import QuickS3
from tests.support.restoring import Restoring

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

SERVERS = dict(zip(MINORS, VERSIONS, strict=True))
PAIRS = [(source, target) for source, target in itertools.product(MINORS, MINORS) if source <= target]
# Of all pairs: what every version has into the newest, and what the newest has.
OLDEST, NEWEST = MINORS[0], MINORS[-1]
CHECK = "disable_func_runtime_check"


@dataclass
class Restores:
    """A server of each version with all collections that it can have, and restores of them, made when asked for."""

    quick_s3: QuickS3
    running: ExitStack
    _sources: dict[str, Restoring] = dataclasses.field(default_factory=dict)
    _targets: dict[tuple[str, str], tuple[Restoring, dict[str, Any]]] = dataclasses.field(default_factory=dict)

    def source(self, version: str) -> Restoring:
        """Return a server with collections, and a backup of it."""
        if version not in self._sources:
            found = self._sources[version] = start_server(self.quick_s3, self.running, SERVERS[version])
            for feature, make in CASES.items():
                if feature.value.exists_in(version):
                    fill(found, feature.name, make)
            found.back_up(_backup_of(version))
        return self._sources[version]

    def target(self, source: str, target: str) -> tuple[Restoring, dict[str, Any]]:
        """Return a server to which the backup of a source was restored, and what the report says by collection."""
        if (source, target) not in self._targets:
            self.source(source)
            found = start_server(self.quick_s3, self.running, SERVERS[target])
            report = found.restore({"backup_name": _backup_of(source), "allow_version": target < "2.4"})
            told = {told["source"]["name"]: told for told in report["collections"]}
            self._targets[source, target] = found, told
        return self._targets[source, target]


def _backup_of(version: str) -> str:
    return f"schemas_{version.replace('.', '_')}"


@pytest.fixture(scope="module")
def restores(quick_s3: QuickS3) -> Iterator[Restores]:
    with ExitStack() as running:
        yield Restores(quick_s3, running)


def described(restoring: Restoring, name: str) -> dict[str, Any]:
    """Return what a collection is made of, without its ID and times."""
    client = MilvusClient(restoring.server.uri)
    found = client.describe_collection(name)
    client.close()
    kept = {key: found[key] for key in ("fields", "functions", "enable_dynamic_field", "properties", "num_partitions")}
    # What 2.6 gives to every collection.
    kept["properties"].pop("timezone", "")
    return kept


def indexed(restoring: Restoring, name: str) -> dict[str, tuple[str, dict[str, str]]]:
    """Return the indexes of a collection, by name."""
    with restoring.server.core.lock:
        collection = restoring.server.core.catalog.collection("default", name)
        return {index.name: (index.field_name, index.params) for index in collection.indexes.values()}


def by_key(restoring: Restoring, name: str) -> dict[Any, dict[int, Any]]:
    """Return the live rows."""
    columns = restoring.server.live_rows("default", name)
    keys = columns.get(100, [])
    return {key: {field: values[i] for field, values in columns.items() if field > 1} for i, key in enumerate(keys)}


def cases() -> Iterator[Any]:
    """Yield each thing that a version can have, for that version and newer ones as targets."""
    for (source, target), feature in itertools.product(PAIRS, CASES):
        if feature.value.exists_in(source):
            shown = [from_version(source)] + [feature] * (source == target)
            marks = [pytest.mark.feature(*shown, version=target)]
            if source not in {OLDEST, NEWEST} or target != NEWEST:
                marks.append(pytest.mark.thorough)
            yield pytest.param(source, target, feature, id=f"{source}-{target}-{feature.name}", marks=marks)


@pytest.mark.parametrize(("source", "target", "feature"), cases())
def test_a_schema_and_its_rows_come_back(restores: Restores, source: str, target: str, feature: Feature) -> None:
    name = feature.name
    first, (second, told) = restores.source(source), restores.target(source, target)
    live = ROWS - len({*DELETED} - {*(UPSERTED if feature is not Feature.AUTO_ID else ())})
    assert (told[name]["status"], told[name]["message"], told[name]["row_count"]) == ("restored", "", live)
    assert by_key(second, name) == by_key(first, name)
    assert len(by_key(second, name)) == live
    assert described(second, name) == described(first, name)
    assert indexed(second, name) == indexed(first, name)


def into_older() -> Iterator[Any]:
    """Yield each version with each older one, of which unit tests look at all."""
    for source, target in itertools.product(MINORS, MINORS):
        if source > target:
            marks = [pytest.mark.feature(from_version(source), version=target)]
            if (source, target) != (NEWEST, MINORS[-2]):
                marks.append(pytest.mark.thorough)
            yield pytest.param(source, target, marks=marks)


@pytest.mark.parametrize(("source", "target"), into_older())
def test_a_backup_is_never_restored_into_an_older_version(restores: Restores, source: str, target: str) -> None:
    restores.source(source)
    with ExitStack() as running:
        older = start_server(restores.quick_s3, running, SERVERS[target])
        with pytest.raises(VersionUnsupportedError, match=rf"Milvus .*{source}.* into Milvus .*{target}"):
            older.restore({"backup_name": _backup_of(source), "allow_version": True})
        assert not any(database.collections for database in older.server.core.catalog.databases.values())


@pytest.mark.parametrize(
    ("source", "target"),
    [
        pytest.param(*pair, marks=[] if pair[0] == OLDEST else [pytest.mark.thorough])
        for pair in PAIRS
        if pair[1] < "2.4"
    ],
)
def test_2_2_and_2_3_take_backups_only_where_they_are_told_to(restores: Restores, source: str, target: str) -> None:
    restores.source(source)
    with ExitStack() as running:
        second = start_server(restores.quick_s3, running, SERVERS[target])
        with pytest.raises(VersionUnsupportedError, match="not in the version matrix"):
            second.restore({"backup_name": _backup_of(source)})


@pytest.mark.thread("milvus-backup#888", "milvus-backup#910", "milvus-backup#1012", "milvus-backup#1013")
@pytest.mark.feature(Feature.ADDED_FIELDS)
@pytest.mark.parametrize("version", FROM_2_6)
def test_fields_added_later_keep_their_numbers_beside_dynamic_values(deploy: Deploy, version: str) -> None:
    first = deploy(version)
    client = MilvusClient(first.server.uri)
    create(client, "c", dynamic=True)
    client.insert("c", rows(extra=lambda i: i))
    client.flush("c")
    for name in ("later", "latest"):
        client.add_collection_field("c", name, DataType.INT64, nullable=True)
    client.insert("c", [{"id": 100, "v": [0, 0], "later": 5, "latest": 6, "extra": "x"}])
    client.close()
    first.back_up("added")
    second = deploy(version)
    assert second.restore({"backup_name": "added"})["status"] == "complete"
    assert by_key(second, "c") == by_key(first, "c")
    assert [field["name"] for field in described(second, "c")["fields"]] == ["id", "v", "later", "latest"]
    assert described(second, "c")["fields"] == described(first, "c")["fields"]


@pytest.mark.feature(Feature.DROPPED_FIELDS)
@pytest.mark.parametrize("version", FROM_2_6)
def test_a_collection_that_lost_a_field_is_refused_by_name_and_others_come_back(deploy: Deploy, version: str) -> None:
    first = deploy(version)
    client = MilvusClient(first.server.uri)
    create(client, "whole")
    create(client, "lacking", field("gone", DataType.INT64), field("n", DataType.INT64))
    client.close()
    with first.server.core.lock:
        # No call of 2.6's drops a field; what a server that can do so leaves is a gap in the numbers.
        fields = first.server.core.catalog.collection("default", "lacking").schema.fields
        del fields[[field.name for field in fields].index("gone")]
    first.back_up("lacking")
    second = deploy(version)
    report = second.restore({"backup_name": "lacking"})
    told = {each["source"]["name"]: each["error"] for each in report["collections"]}
    assert (report["status"], told) == ("partial", {"whole": "", "lacking": "FieldIdMismatchError"})
    assert set(second.server.core.catalog.databases["default"].collections) == {"whole"}


@pytest.mark.feature(Feature.SERVICE_FUNCTIONS)
@pytest.mark.parametrize("version", FROM_2_6)
def test_a_function_whose_service_is_down_does_not_stop_a_restore(deploy: Deploy, version: str) -> None:
    first, second = deploy(version), deploy(version)
    client = MilvusClient(first.server.uri)
    params = {"provider": "openai", "model_name": "text-embedding-3-small"}
    embedding = Function("embed", FunctionType.TEXTEMBEDDING, ["body"], ["meaning"], params=params)
    body, meaning = field("body", DataType.VARCHAR, max_length=99), field("meaning", DataType.FLOAT_VECTOR, dim=4)
    for name, properties in (("plain", {}), ("checked", {CHECK: "false"}), ("unchecked", {CHECK: "true"})):
        create(client, name, body, meaning, functions=[embedding], properties=properties)
        client.insert(name, rows(body=lambda i: f"text {i}"))
    client.close()
    first.back_up("embedded")
    second.server.faults.loses_services = True
    assert second.restore({"backup_name": "embedded"})["status"] == "complete"
    for name, expected in (("plain", None), ("checked", "false"), ("unchecked", "true")):
        assert by_key(second, name) == by_key(first, name)
        assert described(second, name) == described(first, name)
        # Put back when the collection is made: rows that come later are to be checked as in the source.
        assert described(second, name)["properties"].get(CHECK) == expected


@pytest.mark.feature(Feature.JSON_PATH_INDEXES)
@pytest.mark.parametrize("version", FROM_2_5)
def test_indexes_that_milvus_named_by_itself_have_the_same_names_again(deploy: Deploy, version: str) -> None:
    first = deploy(version)
    client = MilvusClient(first.server.uri)
    create(client, "c", field("doc", DataType.JSON))
    indexes = client.prepare_index_params()
    for path in ("doc['a']['b']", "doc['c']"):
        params = {"json_path": path, "json_cast_type": "double"}
        indexes.add_index("doc", index_type="INVERTED", params=params)
    client.create_index("c", indexes)
    assert sorted(client.list_indexes("c")) == ["doc/a/b", "doc/c"]
    with pytest.raises(MilvusException, match="Invalid index name: doc/d"):
        client.create_index("c", _named(client, "doc/d"))
    client.close()
    name = f"named_{version.replace('.', '_')}"
    first.back_up(name)
    second = deploy(version)
    report = second.restore({"backup_name": name})
    assert (report["status"], report["collections"][0]["message"]) == ("complete", "")
    client = MilvusClient(second.server.uri)
    found = {item: client.describe_index("c", item)["json_path"] for item in client.list_indexes("c")}
    client.close()
    assert found == {"doc/a/b": "doc['a']['b']", "doc/c": "doc['c']"}


def _named(client: MilvusClient, name: str) -> Any:
    indexes = client.prepare_index_params()
    indexes.add_index("v", index_name=name, index_type="FLAT", metric_type="L2")
    return indexes
