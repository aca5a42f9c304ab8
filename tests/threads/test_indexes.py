"""What is around the rows: indexes, load state, replicas, aliases, time to live."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from typing import Any

import pytest
from pymilvus import DataType

from tests.restore.conftest import Deploy
from tests.restore.servers import start_server
from tests.support.golden_rows import GOLDEN, oracle
from tests.support.milvus_server.versions import FROM_2_5, NEWER, OBSERVED
from tests.support.oracle import snapshot
from tests.support.quick_s3 import QuickS3
from tests.support.restoring import Restoring
from tests.threads.helpers import client_of

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

OF_2_3 = "golden_0516"


@pytest.fixture(scope="module")
def restore(quick_s3: QuickS3) -> Callable[[str], dict[str, Any]]:
    """Restore the archive of 2.3 once for each version: `restore(version)` returns what the server then holds."""

    @cache
    def restore_one(version: str) -> dict[str, Any]:
        with ExitStack() as running:
            restoring = start_server(quick_s3, running, version, query_nodes=2)
            restoring.upload(GOLDEN / OF_2_3)
            assert restoring.restore({"backup_name": OF_2_3, "allow_version": True})["status"] == "complete"
            return snapshot(restoring.server.uri)

    return restore_one


@pytest.fixture(params=OBSERVED)
def restored(restore: Callable[[str], dict[str, Any]], request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return what a server of each version holds after a restore of the archive of 2.3."""
    return restore(str(request.param))


@pytest.mark.thread("milvus-backup#45", "milvus-backup#160", "milvus-backup#268", "milvus-backup#269")
@pytest.mark.thread("milvus-backup#377", "milvus-backup#434")
def test_indexes_come_back_with_their_parameters(restored: dict[str, Any]) -> None:
    expected = {name: collection["indexes"] for name, collection in oracle("2_3").items()}
    assert any(expected.values())
    assert {name: collection["indexes"] for name, collection in restored.items()} == expected


@pytest.mark.thread("milvus-backup#45", "milvus-backup#166", "milvus-backup#377", "milvus-backup#434")
def test_what_was_loaded_is_loaded_and_can_be_queried_at_once(restored: dict[str, Any]) -> None:
    expected = {name: found["loaded"] for name, found in oracle("2_3").items()}
    assert any(expected.values())
    assert {name: found["loaded"] for name, found in restored.items()} == expected


def filled(restoring: Restoring, **options: Any) -> Restoring:
    """Make a collection with rows."""
    client = client_of(restoring)
    schema = client.create_schema(auto_id=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    schema.add_field("doc", DataType.JSON)
    client.create_collection("c", schema=schema, **options)
    client.insert("c", [{"id": number, "v": [number, 0.5], "doc": {"key": number}} for number in range(10)])
    client.flush("c")
    client.close()
    return restoring


def again(deploy: Deploy, source: Restoring, version: str, name: str, **settings: Any) -> Restoring:
    """Back a server up, and restore into another of its version."""
    backup = f"{name}_{version.replace('.', '_')}"
    source.back_up(backup)
    target = deploy(version, **settings)
    report = target.restore({"backup_name": backup})
    assert [found["message"] for found in report["collections"]] == [""]
    return target


@pytest.mark.thread("milvus-backup#728")
@pytest.mark.parametrize("version", NEWER)
def test_aliases_come_back(deploy: Deploy, version: str) -> None:
    source = filled(deploy(version))
    for alias in ("one", "other"):
        client_of(source).create_alias("c", alias)
    target = again(deploy, source, version, "aliases")
    assert sorted(client_of(target).list_aliases("c")["aliases"]) == ["one", "other"]


@pytest.mark.thread("milvus-backup#705")
@pytest.mark.parametrize("version", NEWER)
def test_the_time_to_live_of_a_collection_comes_back(deploy: Deploy, version: str) -> None:
    source = filled(deploy(version), properties={"collection.ttl.seconds": "86400"})
    target = again(deploy, source, version, "time_to_live")
    assert client_of(target).describe_collection("c")["properties"]["collection.ttl.seconds"] == "86400"


@pytest.mark.thread("milvus-backup#377")
@pytest.mark.parametrize("version", NEWER)
def test_replicas_come_back(deploy: Deploy, version: str) -> None:
    source = filled(deploy(version, query_nodes=2))
    client = client_of(source)
    params = client.prepare_index_params()
    params.add_index("v", index_type="FLAT", metric_type="L2")
    client.create_index("c", params)
    client.load_collection("c", replica_number=2)
    client.close()
    target = again(deploy, source, version, "replicas", query_nodes=2)
    load = target.server.core.catalog.collection("default", "c").load
    assert load is not None
    assert load.replicas == 2


@pytest.mark.thread("milvus-backup#606")
@pytest.mark.parametrize("version", FROM_2_5)
def test_the_index_of_a_json_path_comes_back_though_its_name_is_none_that_milvus_takes(
    deploy: Deploy, version: str
) -> None:
    source = filled(deploy(version))
    client = client_of(source)
    params = client.prepare_index_params()
    path = {"json_path": "doc['key']", "json_cast_type": "double"}
    params.add_index("doc", index_type="INVERTED", index_name="", params=path)
    client.create_index("c", params)
    client.close()
    target = again(deploy, source, version, "json_path")
    indexes = [restoring.server.core.catalog.collection("default", "c").indexes for restoring in (source, target)]
    assert [set(found) for found in indexes] == [{"doc/key"}, {"doc/key"}]
    assert indexes[0]["doc/key"].params == indexes[1]["doc/key"].params
