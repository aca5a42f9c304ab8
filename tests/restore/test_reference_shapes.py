"""Archives in the shapes that the releases of milvus-backup gave them become the same rows."""

import json

import pytest
from pymilvus import MilvusClient

from tests.compatibility.features import Feature
from tests.restore.conftest import Deploy
from tests.support.golden_rows import in_order, oracle, rows_of
from tests.support.oracle import snapshot
from tests.support.reference_shapes import (
    Files,
    Json,
    Shape,
    of_0_4,
    shaped,
    with_a_partition_that_nobody_knows,
    with_default_values_as_text,
    with_groups_of_many,
    with_levels_alone,
    with_the_hidden_field,
    without_groups,
)
from tests.support.restoring import PREFIX, Restoring

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

# With deletes of a partition and of a whole collection.
COLLECTIONS = ("by_name", "layers", "tenants")
TRUTHS = {"golden_0516": "2_3", "golden_2_4": "2_4", "golden_2_5": "2_5", "golden_2_6": "2_6"}

type Way = tuple[str, str]
"""An archive, and the server that it goes to."""

WITHIN_2_3: Way = ("golden_0516", "2.3.5")
WITHIN_2_4: Way = ("golden_2_4", "2.4.23")
FROM_2_4_TO_2_6: Way = ("golden_2_4", "2.6.19")
WITHIN_2_5: Way = ("golden_2_5", "2.5.27")
WITHIN_2_6: Way = ("golden_2_6", "2.6.19")


def put(deploy: Deploy, way: Way, shape: Shape, *, in_place: bool = False) -> Restoring:
    """Return a server, with an archive in another shape in the backup bucket or in the server's own."""
    archive, version = way
    restoring = deploy(version)
    if in_place:
        restoring.environment = {"BACKUP_BUCKET_NAME": restoring.server.bucket}
    elif restoring.backups not in {bucket["Name"] for bucket in restoring.s3.list_buckets()["Buckets"]}:
        restoring.s3.create_bucket(Bucket=restoring.backups)
    for key, body in shaped(archive, shape).items():
        restoring.s3.put_object(Bucket=restoring.backups, Key=f"{PREFIX}/{name_of(way, shape)}/{key}", Body=body)
    return restoring


def name_of(way: Way, shape: Shape) -> str:
    """Return the name of a shaped archive."""
    return f"{way[0]}_{shape.__name__}"


def restore(restoring: Restoring, way: Way, shape: Shape) -> Json:
    """Restore the collections, and return the report."""
    wanted = [
        f"default.{name.rpartition('.')[2]}" if shape is without_groups else name
        for name in oracle(TRUTHS[way[0]])
        if name.rpartition(".")[2] in COLLECTIONS
    ]
    report = restoring.restore({"backup_name": name_of(way, shape), "collections": wanted, "allow_version": True})
    assert (report["status"], [c["message"] for c in report["collections"]]) == ("complete", [""] * len(COLLECTIONS))
    return report


def check_rows(restoring: Restoring, way: Way) -> None:
    """Compare the collections, whatever database they are in, with what the oracle says."""
    truth = oracle(TRUTHS[way[0]])
    there = restoring.server.core.catalog.databases.values()
    databases = {name: database.name for database in there for name in database.collections}
    assert set(databases) == set(COLLECTIONS)
    seen = snapshot(restoring.server.uri) if way == WITHIN_2_3 else {}
    for full_name, collection in truth.items():
        name = full_name.rpartition(".")[2]
        if name not in databases:
            continue
        if seen:
            assert _as_json(seen[f"{databases[name]}.{name}"]["rows"]) == _as_json(collection["rows"]), name
            continue
        for partition in collection["partitions"]:
            rows = list(rows_of(restoring.server.live_rows(databases[name], name, partition)))
            wanted = [row for versions in collection["rows"].get(partition, []) for row in versions]
            assert in_order(rows) == in_order(wanted), (name, partition)


def _told(value: str | Shape | bool) -> str:
    if isinstance(value, bool):
        return "in place" if value else "staged"
    return value if isinstance(value, str) else value.__name__


def _as_json(rows: list[Json]) -> list[str]:
    return [json.dumps(row, sort_keys=True) for row in rows]


@pytest.mark.versions("2.3.5", "2.4.23", "2.6.19")
@pytest.mark.feature(Feature.PEER_ARCHIVES)
@pytest.mark.parametrize(
    ("archive", "version", "shape", "in_place"),
    [
        (*WITHIN_2_3, without_groups, False),
        (*FROM_2_4_TO_2_6, without_groups, False),
        (*WITHIN_2_3, with_groups_of_many, True),
        (*WITHIN_2_4, with_groups_of_many, True),
        (*WITHIN_2_6, with_groups_of_many, False),
        (*WITHIN_2_4, of_0_4, False),
        (*WITHIN_2_4, with_the_hidden_field, False),
        (*WITHIN_2_4, with_a_partition_that_nobody_knows, True),
    ],
    ids=_told,
)
def test_an_archive_of_any_shape_becomes_the_rows_of_its_oracle(
    deploy: Deploy, archive: str, version: str, shape: Shape, in_place: bool
) -> None:
    way = archive, version
    restoring = put(deploy, way, shape, in_place=in_place)
    restore(restoring, way, shape)
    check_rows(restoring, way)


@pytest.mark.feature(Feature.PEER_ARCHIVES)
@pytest.mark.parametrize(("archive", "version"), [WITHIN_2_4, WITHIN_2_6])
def test_without_the_full_metadata_deletes_are_found_and_the_report_says_what_is_not(
    deploy: Deploy, archive: str, version: str
) -> None:
    way = archive, version
    restoring = put(deploy, way, with_levels_alone)
    report = restore(restoring, way, with_levels_alone)
    check_rows(restoring, way)
    (warning,) = (found for found in report["warnings"] if "full_meta.json" in found)
    assert "what it alone knows: users and rights, properties and keys of databases" in warning


def test_a_default_value_that_was_recorded_as_text_is_the_same(deploy: Deploy) -> None:
    restoring = put(deploy, WITHIN_2_5, with_default_values_as_text)
    name = name_of(WITHIN_2_5, with_default_values_as_text)
    restoring.restore({"backup_name": name, "collections": ["default.g_modern"]})
    client = MilvusClient(restoring.server.uri)
    fields = {field["name"]: field for field in client.describe_collection("g_modern")["fields"]}
    client.close()
    assert (fields["i64"]["nullable"], fields["i64"]["default_value"].long_data) == (True, 42)


def _as_if_loaded(meta: Json, _: Files) -> None:
    """Say that all was loaded, with indexes that Milvus chose, and properties of schemas and collections."""
    for collection in meta["collection_backups"]:
        collection |= {"has_index": True, "load_state": "Loaded"}
        collection["schema"]["properties"] = [{"key": "mmap.enabled", "value": "true"}]
        collection["properties"] = [{"key": "collection.ttl.seconds", "value": "864000"}]
        for partition in collection["partition_backups"]:
            partition["load_state"] = "Loaded"
        for index in collection.get("index_infos", []):
            metric = index["params"]["metric_type"]
            index |= {"index_type": "AUTOINDEX", "params": {"index_type": "AUTOINDEX", "metric_type": metric}}


def test_indexes_load_state_properties_and_users_of_an_archive_come_back(deploy: Deploy) -> None:
    restoring = put(deploy, WITHIN_2_4, _as_if_loaded)
    report = restoring.restore(
        {"backup_name": name_of(WITHIN_2_4, _as_if_loaded), "collections": ["gold.layers"], "rbac": True}
    )
    assert (report["status"], report["collections"][0]["warnings"]) == ("complete", [])
    client = MilvusClient(restoring.server.uri, db_name="gold")
    index = client.describe_index("layers", "by_v")
    assert (index["field_name"], index["index_type"], index["metric_type"]) == ("v", "AUTOINDEX", "L2")
    assert client.get_load_state("layers")["state"].name == "Loaded"
    properties = client.describe_collection("layers")["properties"]
    assert properties == {"mmap.enabled": "true", "collection.ttl.seconds": "864000"}
    assert (client.list_users(), client.describe_user("ann")["roles"]) == (["ann", "root"], ("reader",))
    client.close()
