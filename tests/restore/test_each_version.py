"""What a restore does beside schemas, in every version alike: one server of each, with backups of itself."""

import json

import pytest

from milvus_vault.errors import CollectionExistsError, FieldIdMismatchError, InvalidRequestError
from tests.compatibility.features import Feature
from tests.conformance.asking import DIMENSIONS, base_fields, numbers
from tests.conformance.asking import field as schema_field
from tests.restore.servers import BOOKS, PENS, PLAIN, ROWS, Filled, Json, each_version
from tests.support.restoring import BACKUPS, PREFIX, Restoring, objects_of, staged_keys

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

BY_GRPC = {"MILVUS_REST_URI": "http://127.0.0.1:9"}


@pytest.mark.feature(Feature.INDEXES)
@pytest.mark.feature(Feature.DATABASES, Feature.ALIASES, Feature.LOAD_STATE, Feature.PARTITIONS, Feature.OWN_DELETES)
@each_version
def test_collections_come_back_in_another_database_with_aliases_partitions_and_load_state(filled: Filled) -> None:
    report = filled.restore(rename={"default.*": "other.*"})
    assert (report["status"], [told["message"] for told in report["collections"]]) == ("complete", [""] * 3)
    assert [filled.keys(f"other.{name}") for name in ("books", "pens", "plain")] == [BOOKS, PENS, PLAIN]
    assert filled.keys("other.books", "p") == list(range(ROWS + 1, 2 * ROWS))
    catalog = filled.restoring.server.core.catalog
    found = catalog.collection("other", "books")
    assert sorted(catalog.aliases_of(found)) == ["now", "then"]
    assert found.load is not None
    assert found.load.partitions == {"_default", "p"}
    assert catalog.collection("other", "pens").load is None
    assert found.shards == 2
    there = catalog.collection("default", "books")
    assert [(index.name, index.params) for index in found.indexes.values()] == [
        (index.name, index.params) for index in there.indexes.values()
    ]
    assert staged_keys(filled.restoring) == []


@pytest.mark.feature(Feature.REPLICAS)
@each_version
def test_a_collection_is_loaded_with_the_replicas_and_into_the_groups_that_are_asked_for(filled: Filled) -> None:
    filled.milvus.must("CreateResourceGroup", resource_group="green", config={"requests": {"node_num": 2}})
    request: Json = {"replicas": 2, "resource_groups": {"*": "green"}}
    assert filled.restore(collections=["default.books"], suffix="_green", **request)["status"] == "complete"
    load = filled.restoring.server.core.catalog.collection("default", "books_green").load
    assert load is not None
    assert (load.replicas, load.resource_groups) == (2, ("green",))


@pytest.mark.feature(Feature.SOME_PARTITIONS)
@each_version
def test_some_partitions_come_back_with_their_rows_and_no_others(filled: Filled) -> None:
    wanted = {"default.books": ["p"]}
    report = filled.restore(collections=["default.books"], suffix="_p", partitions=wanted)
    assert report["status"] == "complete"
    assert filled.keys("books_p") == filled.keys("books_p", "p") == list(range(ROWS + 1, 2 * ROWS))


@pytest.mark.feature(Feature.FEWER_SHARDS)
@each_version
def test_a_collection_of_two_shards_comes_back_in_one(filled: Filled) -> None:
    assert filled.restore(collections=["default.books"], suffix="_shards", max_shards=1)["status"] == "complete"
    assert filled.restoring.server.core.catalog.collection("default", "books_shards").shards == 1
    assert filled.keys("books_shards") == BOOKS


@pytest.mark.feature(Feature.EXISTING_COLLECTION)
@each_version
def test_an_empty_collection_is_filled_and_one_with_rows_or_other_fields_is_refused(filled: Filled) -> None:
    request: Json = {"collections": ["default.books"], "suffix": "_there", "skip_create": True}
    filled.milvus.make("books_there", *base_fields(), schema_field("more", "Int64"))
    with pytest.raises(FieldIdMismatchError, match="more"):
        filled.restore(**request)
    filled.milvus.must("DropCollection", collection_name="books_there")
    wider = schema_field("v", "FloatVector", dim=2 * DIMENSIONS)
    filled.milvus.make("books_there", schema_field("id", "Int64", is_primary_key=True), wider)
    with pytest.raises(FieldIdMismatchError, match=rf"v \({2 * DIMENSIONS} instead of {DIMENSIONS} dimensions\)"):
        filled.restore(**request)
    filled.milvus.must("DropCollection", collection_name="books_there")
    filled.milvus.make("books_there", *base_fields())
    number = filled.restoring.server.core.catalog.collection("default", "books_there").collection_id
    assert filled.restore(**request)["status"] == "complete"
    assert filled.keys("books_there") == BOOKS
    assert filled.restoring.server.core.catalog.collection("default", "books_there").collection_id == number
    other = request | {"suffix": "_full"}
    filled.milvus.make("books_full", *base_fields())
    filled.milvus.insert("books_full", range(3))
    with pytest.raises(CollectionExistsError, match=r"books_full has 3 row"):
        filled.restore(**other)


@pytest.mark.feature(Feature.REPLACE)
@each_version
def test_a_collection_that_an_alias_leads_to_is_replaced_only_where_that_is_asked_for(filled: Filled) -> None:
    request: Json = {"collections": ["default.plain"], "suffix": "_old"}
    filled.milvus.make("plain_old", *base_fields(), schema_field("n", "Int64"))
    filled.milvus.insert("plain_old", range(5), extra=[numbers("n", range(5))])
    filled.milvus.must("CreateAlias", collection_name="plain_old", alias="old")
    with pytest.raises(CollectionExistsError, match="plain_old"):
        filled.restore(**request)
    assert filled.restore(**request, drop_existing=True)["status"] == "complete"
    assert filled.keys("plain_old") == PLAIN


@pytest.mark.feature(Feature.METADATA_ONLY)
@each_version
def test_metadata_alone_makes_empty_collections(filled: Filled) -> None:
    assert filled.restore(suffix="_bare", meta_only=True)["status"] == "complete"
    assert [filled.keys(f"{name}_bare") for name in ("books", "pens", "plain")] == [[], [], []]
    assert set(filled.restoring.server.core.catalog.collection("default", "books_bare").indexes) == {"by_v"}


@pytest.mark.feature(Feature.IN_PLACE)
@each_version
def test_a_backup_in_milvus_own_bucket_is_imported_where_it_lies(filled: Filled) -> None:
    filled.restoring.environment = {"BACKUP_BUCKET_NAME": filled.restoring.server.bucket}
    filled.restoring.back_up(filled.named("place"), collections=["default.plain", "default.pens"])
    report = filled.restore(backup_name=filled.named("place"), suffix="_in_place")
    assert (report["status"], report["is_staged"]) == ("complete", False)
    assert [filled.keys(f"{name}_in_place") for name in ("pens", "plain")] == [PENS, PLAIN]


@pytest.mark.feature(Feature.IMPORT_BY_GRPC)
@each_version
def test_without_rest_everything_is_imported_by_grpc(filled: Filled) -> None:
    filled.restoring.environment = BY_GRPC
    assert filled.restore(suffix="_grpc")["status"] == "complete"
    assert [filled.keys(f"{name}_grpc") for name in ("books", "pens", "plain")] == [BOOKS, PENS, PLAIN]


@pytest.mark.feature(Feature.PEER_ARCHIVES)
@each_version
def test_what_milvus_backup_would_read_of_our_backup_is_enough(filled: Filled) -> None:
    _copy_for_peer(filled.restoring, filled.backup, filled.named("peer"))
    report = filled.restore(backup_name=filled.named("peer"), suffix="_peer")
    assert (report["status"], report["content_checked"]) == ("complete", False), [
        told["message"] for told in report["collections"]
    ]
    assert [filled.keys(f"{name}_peer") for name in ("books", "pens", "plain")] == [BOOKS, PENS, PLAIN]


def _copy_for_peer(restoring: Restoring, backup: str, name: str) -> None:
    """Copy a backup without what is ours in it, as if milvus-backup had made it."""
    for key in objects_of(restoring, f"{PREFIX}/{backup}/"):
        body = restoring.s3.get_object(Bucket=BACKUPS, Key=key)["Body"].read()
        below = key.removeprefix(f"{PREFIX}/{backup}/")
        if below.startswith("meta/vault/"):
            continue
        if below == "meta/backup_meta.json":
            marker = json.loads(body)
            del marker["vault"]
            body = json.dumps(marker).encode()
        restoring.s3.put_object(Bucket=BACKUPS, Key=f"{PREFIX}/{name}/{below}", Body=body)


@pytest.mark.feature(Feature.NO_MOMENT)
@each_version
def test_a_backup_without_a_flush_has_no_moment_and_all_is_restored(filled: Filled) -> None:
    filled.restoring.back_up(filled.named("unflushed"), collections=["default.plain"], skip_flush=True)
    report = filled.restore(backup_name=filled.named("unflushed"), suffix="_whole")
    assert (report["status"], report["collections"][0]["as_of"]) == ("complete", None)
    assert filled.keys("plain_whole") == PLAIN


@pytest.mark.feature(Feature.RESTORE_RBAC, version=("2.2", "2.3"))
@each_version
def test_users_that_a_backup_does_not_hold_are_refused_by_name(filled: Filled) -> None:
    with pytest.raises(InvalidRequestError, match="holds no users and roles"):
        filled.restore(suffix="_users", rbac=True)
