"""What a restore does beside schemas, in every version alike: one server of each, with backups of itself."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest

from local.aws import Ministack
from milvus_vault.errors import BackupDamagedError, CollectionExistsError, FieldIdMismatchError, InvalidRequestError
from tests.compatibility.features import Feature
from tests.conformance.asking import Milvus, base_fields, numbers
from tests.conformance.asking import field as schema_field
from tests.restore.conftest import start_server
from tests.support.milvus_server.catalog import FLUSHED, L0
from tests.support.milvus_server.compaction import fold_deletes
from tests.support.milvus_server.versions import VERSIONS
from tests.support.restoring import BACKUPS, PREFIX, Restoring, staged_keys

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

ROWS = 30
BY_GRPC = {"MILVUS_REST_URI": "http://127.0.0.1:9"}
INDEX = [{"key": "index_type", "value": "FLAT"}, {"key": "metric_type", "value": "L2"}]
each_version = pytest.mark.parametrize("version", VERSIONS)

type Json = dict[str, Any]


@dataclass
class Filled:
    """A server with collections, and a backup of all of them.

    `books` has two partitions and two aliases, is loaded, and has deletes of both partitions; in `pens` deletes
    lie beside their segments in every version; `plain` has none.
    """

    restoring: Restoring
    milvus: Milvus
    backup: str

    def restore(self, **request: Any) -> Json:
        """Return the report of a restore."""
        version = self.restoring.server.core.version
        return self.restoring.restore(
            {"backup_name": self.backup, "allow_version": not version.at_least(2, 4), **request}
        )

    def keys(self, name: str, partition: str = "") -> list[Any]:
        """Return the keys of a collection's live rows."""
        database, _, collection = name.rpartition(".")
        found = self.restoring.server.live_rows(database or "default", collection, *([partition] if partition else []))
        return sorted(found.get(100, []))

    def named(self, name: str) -> str:
        """Return a name for a backup that no other server's has."""
        return f"{self.backup}_{name}"

    def collections(self, database: str) -> set[str]:
        """Return the names of a database's collections."""
        return set(self.restoring.server.core.catalog.databases[database].collections)


@dataclass
class Servers:
    """Servers by version, made when asked for."""

    ministack: Ministack
    running: ExitStack
    _filled: dict[str, Filled] = field(default_factory=dict)

    def filled(self, version: str) -> Filled:
        """Return the server of a version."""
        if version not in self._filled:
            restoring = start_server(self.ministack, self.running, version, query_nodes=2)
            server = restoring.server
            milvus = Milvus(server.uri, server.management_uri, restoring.s3, server.bucket, server.root_path, 0.1, 0.02)
            fill(restoring, milvus)
            found = self._filled[version] = Filled(restoring, milvus, f"every_{version.replace('.', '_')}")
            restoring.back_up(found.backup)
        return self._filled[version]


def fill(restoring: Restoring, milvus: Milvus) -> None:
    """Make the collections."""
    milvus.make("books", *base_fields(), shards=2, partitions=("p",))
    milvus.insert("books", range(ROWS))
    milvus.insert("books", range(ROWS, 2 * ROWS), "p")
    for name in ("pens", "plain"):
        milvus.make(name, *base_fields())
        milvus.insert(name, range(ROWS))
    for name in ("books", "pens", "plain"):
        milvus.flush(name)
        milvus.must("CreateIndex", collection_name=name, field_name="v", index_name="by_v", extra_params=INDEX)
    milvus.must("LoadCollection", collection_name="books", replica_number=1)
    for alias in ("now", "then"):
        milvus.must("CreateAlias", collection_name="books", alias=alias)
    milvus.settle()
    milvus.delete("books", (0, ROWS))
    milvus.delete("pens", (1, 2))
    for name in ("books", "pens"):
        milvus.flush(name)
    core = restoring.server.core
    with core.lock:
        collection = core.catalog.collection("default", "pens")
        for segment in collection.of_state(FLUSHED):
            if segment.level == L0 and core.version.has_l0:
                fold_deletes(core, collection, segment)


BOOKS = [*range(1, ROWS), *range(ROWS + 1, 2 * ROWS)]
PENS = [0, *range(3, ROWS)]
PLAIN = list(range(ROWS))


@pytest.fixture(scope="module")
def servers(ministack: Ministack) -> Iterator[Servers]:
    with ExitStack() as running:
        yield Servers(ministack, running)


@pytest.fixture
def filled(servers: Servers, version: str) -> Iterator[Filled]:
    """The server of a version, as it was before the test but for collections that the test made."""
    found = servers.filled(version)
    yield found
    found.restoring.after, found.restoring.environment = {}, {}


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
    for key in _objects(restoring, f"{PREFIX}/{backup}/"):
        body = restoring.s3.get_object(Bucket=BACKUPS, Key=key)["Body"].read()
        below = key.removeprefix(f"{PREFIX}/{backup}/")
        if below.startswith("meta/vault/"):
            continue
        if below == "meta/backup_meta.json":
            marker = json.loads(body)
            del marker["vault"]
            body = json.dumps(marker).encode()
        restoring.s3.put_object(Bucket=BACKUPS, Key=f"{PREFIX}/{name}/{below}", Body=body)


def _objects(restoring: Restoring, prefix: str, bucket: str = BACKUPS) -> list[str]:
    pages = restoring.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [item["Key"] for page in pages for item in page.get("Contents", [])]


@pytest.mark.feature(Feature.MISSING_OBJECTS)
@each_version
def test_an_object_that_is_missing_is_found_before_anything_is_made(filled: Filled) -> None:
    for kind in ("insert_log", "delta_log"):
        name = filled.named(kind)
        filled.restoring.back_up(name, collections=["default.pens"])
        key = _objects(filled.restoring, f"{PREFIX}/{name}/binlogs/{kind}/")[0]
        filled.restoring.s3.delete_object(Bucket=BACKUPS, Key=key)
        with pytest.raises(BackupDamagedError, match="missing"):
            filled.restore(backup_name=name, suffix="_lacking")
    assert "pens_lacking" not in filled.collections("default")


@pytest.mark.feature(Feature.MISSING_ROWS)
@pytest.mark.parametrize(("kind", "error"), [("insert_log", ""), ("delta_log", "RowCountMismatchError")])
@each_version
def test_rows_that_milvus_left_out_or_brought_back_in_silence_are_found(filled: Filled, kind: str, error: str) -> None:
    """The source was loaded and flushed by itself, so that the backup knows how many rows lived."""
    name = filled.named(f"less_{kind}")
    filled.restoring.back_up(name, collections=["default.books"])
    filled.restoring.after = {"create_collections": lambda: _lose_staged(filled.restoring, kind)}
    report = filled.restore(backup_name=name, suffix="_less")
    (told,) = report["collections"]
    allowed = {error} if error else {"RowCountMismatchError", "ImportFailedError", "MilvusRequestError"}
    assert (report["status"], told["error"] in allowed) == ("failed", True), told
    assert "books_less" not in filled.collections("default")


@pytest.mark.feature(Feature.MISSING_ROWS)
@pytest.mark.parametrize("version", ["2.2.16", "2.3.5"])
def test_a_collection_that_comes_back_empty_is_told_where_all_its_rows_may_have_been_deleted(filled: Filled) -> None:
    filled.restoring.after = {"create_collections": lambda: _lose_staged(filled.restoring, "insert_log")}
    (told,) = filled.restore(collections=["default.pens"], suffix="_empty")["collections"]
    assert (told["status"], told["row_count"]) == ("restored", 0)
    assert [text for text in told["warnings"] if f"None of the {ROWS} row(s) of default.pens came back" in text]


def _lose_staged(restoring: Restoring, kind: str) -> None:
    for key in staged_keys(restoring):
        if f"/{kind}/" in key:
            restoring.s3.delete_object(Bucket=restoring.server.bucket, Key=key)


@pytest.mark.feature(Feature.LOST_ANSWERS)
@each_version
def test_an_answer_that_got_lost_doubles_no_rows(filled: Filled) -> None:
    faults = filled.restoring.server.faults
    faults.unavailable_names = frozenset({"Import", "/v2/vectordb/jobs/import/create"})
    filled.restoring.after = {"create_collections": lambda: setattr(faults, "lost_answers", 1)}
    assert filled.restore(suffix="_lost")["status"] == "complete"
    assert faults.lost_answers == 0
    assert [filled.keys(f"{name}_lost") for name in ("books", "pens", "plain")] == [BOOKS, PENS, PLAIN]


@pytest.mark.feature(Feature.FORGOTTEN_JOBS)
@each_version
def test_a_job_that_milvus_forgot_fails_by_name(filled: Filled) -> None:
    server = filled.restoring.server

    def wait() -> None:
        while any(job.ended_at is None for job in server.service.imports.all()):
            pass

    server.faults.forgets_imports = True
    filled.restoring.after = {"start_imports": wait}
    report = filled.restore(collections=["default.plain"], suffix="_forgotten")
    server.faults.forgets_imports = False
    assert [told["error"] for told in report["collections"]] == ["ImportFailedError"]
    assert "plain_forgotten" not in filled.collections("default")


@pytest.mark.feature(Feature.NO_POINT_IN_TIME)
@each_version
def test_a_point_in_time_that_is_not_known_is_told_and_all_is_restored(filled: Filled) -> None:
    filled.restoring.back_up(filled.named("unflushed"), collections=["default.plain"], skip_flush=True)
    report = filled.restore(backup_name=filled.named("unflushed"), suffix="_whole", point_in_time=True)
    assert report["status"] == "complete"
    told = ("no point in time", "without a point in time")
    assert [text for text in report["warnings"] if any(words in text for words in told)]
    assert filled.keys("plain_whole") == PLAIN


@pytest.mark.feature(Feature.RESTORE_RBAC, version=("2.2", "2.3"))
@each_version
def test_users_that_a_backup_does_not_hold_are_refused_by_name(filled: Filled) -> None:
    with pytest.raises(InvalidRequestError, match="holds no users and roles"):
        filled.restore(suffix="_users", rbac=True)
