"""What goes wrong with a restore, in every version alike: found, named, and nothing left under the wanted name."""

import time
from collections.abc import Callable

import pytest

from milvus_vault.errors import (
    BackupDamagedError,
    MilvusUnavailableError,
    RowCountMismatchError,
    WrongRootPathError,
)
from tests.compatibility.features import Feature
from tests.conformance.asking import base_fields
from tests.restore.conftest import Deploy
from tests.restore.servers import BOOKS, PENS, PLAIN, ROWS, Filled, each_version
from tests.support.milvus_server.versions import OLDER
from tests.support.restoring import BACKUPS, PREFIX, Restoring, objects_of, staged_keys

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")


@pytest.mark.feature(Feature.MISSING_OBJECTS)
@each_version
def test_an_object_that_is_missing_is_found_before_anything_is_made(filled: Filled) -> None:
    for kind in ("insert_log", "delta_log"):
        name = filled.named(kind)
        filled.restoring.back_up(name, collections=["default.pens"])
        key = objects_of(filled.restoring, f"{PREFIX}/{name}/binlogs/{kind}/")[0]
        filled.restoring.s3.delete_object(Bucket=BACKUPS, Key=key)
        with pytest.raises(BackupDamagedError, match="missing"):
            filled.restore(backup_name=name, suffix="_lacking")
    assert "pens_lacking" not in filled.collections("default")


@pytest.mark.feature(Feature.MISSING_ROWS)
@pytest.mark.parametrize("kind", ["insert_log", "delta_log"])
@each_version
def test_rows_that_milvus_left_out_or_brought_back_in_silence_are_found(filled: Filled, kind: str) -> None:
    """The source was loaded and flushed by itself, so that the backup knows how many rows lived."""
    name = filled.named(f"less_{kind}")
    filled.restoring.back_up(name, collections=["default.books"])
    filled.restoring.after = {"verify_copy": lambda: _lose_staged(filled.restoring, kind)}
    report = filled.restore(backup_name=name, suffix="_less")
    (told,) = report["collections"]
    # From 2.4 on an import that finds no rows at all is refused.
    is_refused = kind == "insert_log" and filled.restoring.server.core.version.has_import_v2
    expected = WrongRootPathError if is_refused else RowCountMismatchError
    assert (report["status"], told["error"]) == ("failed", expected.__name__), told
    assert "books_less" not in filled.collections("default")


@pytest.mark.feature(Feature.MISSING_ROWS)
@pytest.mark.parametrize("version", OLDER)
def test_a_collection_that_comes_back_empty_is_told_where_all_its_rows_may_have_been_deleted(filled: Filled) -> None:
    filled.restoring.after = {"verify_copy": lambda: _lose_staged(filled.restoring, "insert_log")}
    (told,) = filled.restore(collections=["default.pens"], suffix="_empty")["collections"]
    assert (told["status"], told["row_count"]) == ("restored", 0)
    assert [text for text in told["warnings"] if f"None of the {ROWS} row(s) of default.pens came back" in text]


@pytest.mark.parametrize("version", ["2.3.5", "2.5.27"])
def test_a_server_that_ends_of_an_import_is_told_of_with_what_it_imported(
    deploy: Deploy, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setattr("milvus_vault.adapters.milvus.CONNECT_SECONDS", 0.5)
    restoring, name = deploy(version), f"deadly_{version.replace('.', '_')}"
    restoring.milvus.make("deadly", *base_fields())
    restoring.milvus.insert("deadly", range(ROWS))
    restoring.back_up(name)

    def damage() -> None:
        key = next(key for key in staged_keys(restoring) if "/insert_log/" in key)
        restoring.s3.put_object(Bucket=restoring.server.bucket, Key=key, Body=b"no log")
        restoring.server.faults.dies_of_damage = True

    restoring.after = {"verify_copy": damage}
    (segment,) = restoring.manifest(name)["collections"]
    assert segment["segment_count"] == 1
    with pytest.raises(
        MilvusUnavailableError,
        match=r"It was importing default\.deadly, partition _default, segment\(s\) \d+ below s3://\S+/insert_log/\d+/\n",
    ) as caught:
        restoring.restore({"backup_name": name, "suffix": "_again", "allow_version": True})
    assert "not whether the content is sound" in caught.value.hint
    assert "restore the other collections" in caught.value.hint


@pytest.mark.parametrize("version", ["2.5.27"])
def test_a_server_that_has_just_started_again_is_one_warning_and_no_limit(deploy: Deploy, version: str) -> None:
    restoring = deploy(version)
    restoring.milvus.make("c", *base_fields())
    restoring.milvus.insert("c", range(ROWS))
    restoring.back_up("just_started")
    restoring.server.faults.names_old_nodes = True

    report = restoring.restore({"backup_name": "just_started", "suffix": "_again"})

    (warning,) = report["warnings"]
    assert (report["status"], warning.count("\n"), "limit" in warning) == ("complete", 0, False)
    assert "not healthy: node not match[expectedNodeID=1][actualNodeID=7]" in warning


def _lose_staged(restoring: Restoring, kind: str) -> None:
    for key in staged_keys(restoring):
        if f"/{kind}/" in key:
            restoring.s3.delete_object(Bucket=restoring.server.bucket, Key=key)


@pytest.mark.feature(Feature.LOST_ANSWERS)
@each_version
def test_an_answer_that_got_lost_doubles_no_rows(filled: Filled) -> None:
    faults = filled.restoring.server.faults
    faults.unavailable_names = frozenset({"Import", "/v2/vectordb/jobs/import/create"})
    filled.restoring.after = {"verify_copy": lambda: setattr(faults, "lost_answers", 1)}
    assert filled.restore(suffix="_lost")["status"] == "complete"
    assert faults.lost_answers == 0
    assert [filled.keys(f"{name}_lost") for name in ("books", "pens", "plain")] == [BOOKS, PENS, PLAIN]


@pytest.mark.feature(Feature.FORGOTTEN_JOBS)
@each_version
def test_a_job_that_milvus_forgot_fails_by_name(filled: Filled) -> None:
    server = filled.restoring.server

    def wait() -> None:
        while any(job.ended_at is None for job in server.service.imports.all()):
            time.sleep(0.01)

    server.faults.forgets_imports = True
    filled.restoring.after = {"advance_restore": wait}
    report = filled.restore(collections=["default.plain"], suffix="_forgotten")
    server.faults.forgets_imports = False
    assert [told["error"] for told in report["collections"]] == ["ImportFailedError"]
    assert "plain_forgotten" not in filled.collections("default")


@pytest.mark.feature(Feature.MISSING_ROWS)
@each_version
def test_rows_that_are_in_are_kept_where_milvus_refuses_to_load_them(filled: Filled) -> None:
    groups = filled.restoring.server.service.groups
    nodes = {name: group.requests.node_num for name, group in groups.items()}

    def take_nodes() -> None:
        for group in groups.values():
            group.requests.node_num = 0

    filled.restoring.after = {"verify_copy": take_nodes}
    report = filled.restore(collections=["default.books"], suffix="_unloaded")
    for name, count in nodes.items():
        groups[name].requests.node_num = count

    (told,) = report["collections"]
    assert (told["status"], told["row_count"]) == ("restored", len(filled.keys("default.books")))
    (warning,) = [text for text in told["warnings"] if "not as it was" in text]
    uncounted = (
        "default.books_unloaded is restored, but not as it was, and no query has counted its rows."
        " Milvus said: default.books"
    )
    assert warning.startswith(uncounted)
    assert "cannot be loaded with 1 replica(s)" in warning
    assert filled.keys("default.books_unloaded") == filled.keys("default.books")


@pytest.mark.feature(Feature.MISSING_ROWS)
@pytest.mark.parametrize("call", ["CreateIndex", "Query"])
@each_version
def test_rows_that_are_in_are_kept_where_milvus_refuses_an_index_or_to_count_them(filled: Filled, call: str) -> None:
    faults = filled.restoring.server.core.faults

    def refuse() -> None:
        faults.refused_names = frozenset({call})

    filled.restoring.after = {"prepare_restore": refuse}
    suffix = f"_without_{call.lower()}"
    report = filled.restore(collections=["default.books"], suffix=suffix)
    faults.refused_names = frozenset()

    (told,) = report["collections"]
    assert (told["status"], told["row_count"]) == ("restored", len(BOOKS))
    assert [text for text in told["warnings"] if f"{call} is refused" in text]
    assert filled.keys(f"default.books{suffix}") == filled.keys("default.books")


@pytest.mark.feature(Feature.MISSING_ROWS)
@each_version
def test_a_collection_stays_where_the_one_that_is_to_replace_it_cannot_be_loaded(filled: Filled) -> None:
    filled.restore(collections=["default.books"], suffix="_stays")
    before = filled.restoring.server.core.catalog.collection("default", "books_stays").collection_id
    faults = filled.restoring.server.core.faults

    def refuse() -> None:
        faults.refused_names = frozenset({"LoadCollection"})

    filled.restoring.after = {"prepare_restore": refuse}
    report = filled.restore(collections=["default.books"], suffix="_stays", drop_existing=True)
    faults.refused_names = frozenset()

    (told,) = report["collections"]
    assert (report["status"], told["error"]) == ("failed", "LoadFailedError")
    assert "default.books_stays cannot be loaded" in told["message"]
    assert filled.restoring.server.core.catalog.collection("default", "books_stays").collection_id == before


@pytest.mark.feature(Feature.MISSING_ROWS)
@pytest.mark.parametrize("version", ["2.3.5", "2.6.19"])
def test_one_index_that_is_refused_costs_neither_the_others_nor_load_and_count(deploy: Deploy, version: str) -> None:
    restoring, name = deploy(version), f"one_index_{version.replace('.', '_')}"
    milvus, server = restoring.milvus, restoring.server
    milvus.make("indexed", *base_fields())
    milvus.insert("indexed", range(ROWS))
    for field, index, kind in (("v", "by_v", "FLAT"), ("id", "by_id", "STL_SORT")):
        pairs = [{"key": "index_type", "value": kind}] + [{"key": "metric_type", "value": "L2"}] * (field == "v")
        milvus.must("CreateIndex", collection_name="indexed", field_name=field, index_name=index, extra_params=pairs)
    milvus.must("LoadCollection", collection_name="indexed", replica_number=1)
    restoring.back_up(name)
    server.core.faults.refused_index = "by_id"

    report = restoring.restore({"backup_name": name, "suffix": "_again", "allow_version": True})

    (told,) = report["collections"]
    (warning,) = told["warnings"]
    assert warning.startswith("default.indexed_again is restored without an index. Milvus said: ")
    assert "by_id" in warning
    again = server.core.catalog.collection("default", "indexed_again")
    assert (set(again.indexes), again.load is not None, told["row_count"]) == ({"by_v"}, True, ROWS)


@pytest.mark.parametrize("version", ["2.3.5", "2.5.27"])
def test_a_collection_that_failed_is_tried_again_by_the_next_execution_of_the_run(
    filled: Filled, let_executions_be: Callable[[str], None]
) -> None:
    name = filled.named("twice")
    filled.restoring.back_up(name, collections=["default.books"])
    # The next execution resumes only what one has left behind that died.
    let_executions_be("FAILED")
    filled.restoring.after = {"verify_copy": lambda: _lose_staged(filled.restoring, "insert_log")}
    assert filled.restore(backup_name=name, suffix="_twice")["status"] == "failed"
    filled.restoring.after = {}

    assert filled.restore(backup_name=name, suffix="_twice")["status"] == "complete"
    assert filled.keys("books_twice") == BOOKS
