"""Aliases, names, databases, partitions, as seen on real servers, beside what the facts say of them."""

import grpc
import pytest
from pymilvus.grpc_gen import milvus_pb2, milvus_pb2_grpc

from tests.conformance.asking import Milvus, answers_to_names, base_fields, status
from tests.conformance.conftest import Start
from tests.support.milvus_server.versions import OBSERVED

pytestmark = pytest.mark.tools("milvus")

NAME, OTHER, ALIAS = "c", "other", "alias"


def _aliased(milvus: Milvus) -> None:
    milvus.make(NAME, *base_fields())
    milvus.must("CreateAlias", collection_name=NAME, alias=ALIAS)


@pytest.mark.parametrize(
    ("version", "shown"), [("2.3.5", NAME), ("2.4.23", ALIAS), ("2.5.27", ALIAS), ("2.6.19", NAME)]
)
def test_a_collection_is_described_by_its_alias(start: Start, version: str, shown: str) -> None:
    milvus = start(version).milvus
    _aliased(milvus)
    assert milvus.must("DescribeCollection", collection_name=ALIAS).collection_name == shown


def test_on_2_3_an_alias_outlives_its_collection_unseen(start: Start) -> None:
    milvus = start("2.3.5").milvus
    _aliased(milvus)
    milvus.must("DropCollection", collection_name=NAME)
    milvus.make(OTHER, *base_fields())
    assert list(milvus.must("ListAliases").aliases) == []
    assert status(milvus.call("CreateAlias", collection_name=OTHER, alias=ALIAS))[0] == 1602
    milvus.must("AlterAlias", collection_name=OTHER, alias=ALIAS)
    assert list(milvus.must("ListAliases", collection_name=OTHER).aliases) == [ALIAS]


@pytest.mark.parametrize("version", OBSERVED)
def test_aliases_go_with_a_renamed_collection(start: Start, version: str) -> None:
    milvus = start(version).milvus
    _aliased(milvus)
    milvus.must("RenameCollection", oldName=NAME, newName=OTHER)
    assert list(milvus.must("ListAliases", collection_name=OTHER).aliases) == [ALIAS]
    assert milvus.must("DescribeCollection", collection_name=ALIAS).schema.name == OTHER
    assert status(milvus.call("DescribeCollection", collection_name=NAME)) != "OK"


@pytest.mark.parametrize("version", OBSERVED)
def test_an_equal_collection_can_be_created_again_unless_it_is_dynamic(start: Start, version: str) -> None:
    milvus = start(version).milvus
    for dynamic, expected in ((False, True), (True, False)):
        milvus.make(NAME, *base_fields(), dynamic=dynamic)
        again = milvus.create(NAME, *base_fields(), dynamic=dynamic, replaces=False)
        assert (status(again) == "OK") is expected


@pytest.mark.parametrize("version", OBSERVED)
def test_a_database_with_collections_cannot_be_dropped(start: Start, version: str) -> None:
    milvus = start(version).milvus
    milvus.must("CreateDatabase", db_name="d")
    milvus.make(NAME, *base_fields(), database="d")
    assert status(milvus.call("DropDatabase", db_name="d")) != "OK"
    milvus.must("DropCollection", db_name="d", collection_name=NAME)
    milvus.must("DropDatabase", db_name="d")
    assert list(milvus.must("ListDatabases").db_names) == ["default"]


@pytest.mark.parametrize("version", OBSERVED)
def test_a_database_is_named_in_the_request_or_in_the_header(start: Start, version: str) -> None:
    milvus = start(version).milvus
    milvus.must("CreateDatabase", db_name="d")
    milvus.make(NAME, *base_fields(), database="d")
    assert status(milvus.call("DescribeCollection", collection_name=NAME)) != "OK"
    assert milvus.must("DescribeCollection", db_name="d", collection_name=NAME).db_name == "d"
    with grpc.insecure_channel(milvus.uri.removeprefix("http://")) as channel:
        stub = milvus_pb2_grpc.MilvusServiceStub(channel)
        request = milvus_pb2.DescribeCollectionRequest(collection_name=NAME)
        assert stub.DescribeCollection(request, metadata=(("dbname", "d"),)).db_name == "d"


@pytest.mark.parametrize("version", OBSERVED)
def test_the_rows_of_a_dropped_partition_are_gone(start: Start, version: str) -> None:
    running = start(version)
    milvus = running.milvus
    milvus.make(NAME, *base_fields(), partitions=("p",))
    milvus.insert(NAME, range(5))
    milvus.insert(NAME, range(5, 9), "p")
    milvus.flush(NAME)
    milvus.must("DropPartition", collection_name=NAME, partition_name="p")
    assert list(milvus.must("ShowPartitions", collection_name=NAME).partition_names) == ["_default"]
    assert milvus.count(NAME) == "5"


@pytest.mark.parametrize("version", OBSERVED)
def test_names_that_break_the_rule_are_refused_and_so_are_17_shards(start: Start, version: str) -> None:
    assert "OK" not in answers_to_names(start(version).milvus).values()
