"""What each option of a restore and of a backup does, on a real Milvus.

All machines run once, the restores when a test first asks for one; the tests look at what came of them.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import pytest

from local.stack import LocalStack
from milvus_vault.model.names import short_hash
from tests.compatibility.features import Feature
from tests.support.api_calls import call
from tests.support.milvus_data import Sample, client_of, drop_databases, look_at, make, rows_of
from tests.support.tampering import Json, StoredBackup
from tests.support.vault_runs import Ended, listing, report, run, run_all

SOURCE, MOVED, OLD, KEPT, OWN, BROKEN = (
    "options",
    "options_moved",
    "options_old",
    "options_kept",
    "options_own",
    "options_broken",
)
HOLLOW, HOLLOW_AGAIN = "options_hollow", "options_hollow_again"

BOOKS = Sample(
    "books", "HNSW", "IP", {"M": 4, "efConstruction": 16}, shards=3, aliases=("reading", "shelf"), is_dynamic=True
)
PENS = Sample("pens", has_text_key=True, rows=7)
OLD_BOOKS = Sample("books", rows=5, seed=2, aliases=("reading",))

# Sound, and with a document that claims one row more than there is: what is imported then never adds up.
LYING = "options_lying"

RESTORES: dict[str, dict[str, Any]] = {
    "suffix": {"suffix": "_copy"},
    "rename": {"collections": [f"{SOURCE}.books"], "rename": {f"{SOURCE}.books": f"{SOURCE}.renamed"}},
    "database": {"collections": [f"{SOURCE}.*"], "rename": {f"{SOURCE}.*": f"{MOVED}.*"}},
    "drop_existing": {
        "collections": [f"{SOURCE}.books"],
        "rename": {f"{SOURCE}.*": f"{OLD}.*"},
        "drop_existing": True,
    },
    "skip_create": {
        "collections": [f"{SOURCE}.books"],
        "rename": {f"{SOURCE}.books": f"{OWN}.empty"},
        "skip_create": True,
    },
    "skip_create_loaded": {
        "collections": [f"{SOURCE}.books"],
        "rename": {f"{SOURCE}.books": f"{OWN}.loaded"},
        "skip_create": True,
    },
    "meta_only": {"collections": [f"{SOURCE}.books"], "suffix": "_meta", "meta_only": True},
    "bare": {
        "collections": [f"{SOURCE}.books"],
        "suffix": "_bare",
        "restore_index": False,
        "restore_aliases": False,
        "max_shards": 2,
    },
    "released": {"collections": [f"{SOURCE}.pens"], "suffix": "_released", "load": False},
    "of_metadata": {"backup_name": "options_meta", "suffix": "_of_metadata"},
    "of_partial": {"backup_name": "options_partial", "suffix": "_again"},
    "hollow": {"backup_name": "options_of_nothing", "rename": {f"{HOLLOW}.*": f"{HOLLOW_AGAIN}.*"}},
}


FAILS: dict[str, Any] = {
    "collections": [f"{SOURCE}.books"],
    "rename": {f"{SOURCE}.*": f"{KEPT}.*"},
    "drop_existing": True,
    "backup_name": LYING,
}

BACKUPS: dict[str, dict[str, Any]] = {
    "options": {"collections": [f"{SOURCE}.*"]},
    "options_meta": {"collections": [f"{SOURCE}.books"], "meta_only": True},
    "options_twice": {"collections": [f"{SOURCE}.pens", f"{SOURCE}.*"]},
    "options_one": {"collections": [f"{SOURCE}.pens"]},
    "options_partial": {"collections": [f"{BROKEN}.*"], "verify": {"level": "checksum"}},
    "options_of_nothing": {"collections": [f"{HOLLOW}.*"]},
    "options_none": {"collections": [f"{BROKEN}.*"], "on_collection_failure": "fail"},
}


@dataclass(frozen=True, slots=True)
class Restores:
    """How each restore ended; it runs when it is asked for."""

    stack: LocalStack
    ended: dict[str, Ended] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Ended:
        """Return how a restore ended."""
        if name not in self.ended:
            asked = {"backup_name": "options", "allow_version": True, **(RESTORES | {"fails": FAILS})[name]}
            self.ended[name] = run(self.stack, "Restore", asked)
        return self.ended[name]


class Outcome(NamedTuple):
    """How all machines ended, and a collection's ID before."""

    backups: dict[str, Ended]
    restores: Restores
    kept_id: int


@pytest.fixture(scope="module")
def outcome(stack: LocalStack) -> Iterator[Outcome]:
    """Make the collections, and back them up."""
    uri = stack.milvus_uri
    own = Sample("empty", index="", rows=0, is_dynamic=True)
    collections = {
        SOURCE: [BOOKS, PENS],
        OLD: [OLD_BOOKS],
        KEPT: [OLD_BOOKS],
        OWN: [own, replace(own, name="loaded", index="FLAT")],
        BROKEN: [Sample("a_sound_one"), Sample("b_broken_one")],
        HOLLOW: [],
    }
    try:
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda database: make(uri, database, collections[database]), collections))
        _lose_objects(stack, BROKEN, "b_broken_one")
        kept_id = _collection_id(uri, KEPT, "books")
        backups = run_all(
            stack, "Backup", {name: {"backup_name": name, **request} for name, request in BACKUPS.items()}
        )
        StoredBackup(stack, "options").copy(LYING, _claim_one_row_more)
        yield Outcome(backups, Restores(stack), kept_id)
    finally:
        drop_databases(uri, SOURCE, MOVED, OLD, KEPT, OWN, BROKEN, HOLLOW, HOLLOW_AGAIN)


def _claim_one_row_more(manifest: Json) -> None:
    for document in manifest["documents"]:
        document["live_row_count"] += 1


def _lose_objects(stack: LocalStack, database: str, name: str) -> None:
    """Delete a collection's rows from Milvus' own bucket."""
    bucket = stack.milvus.bucket
    folder = f"{stack.milvus.root_path}/insert_log/{_collection_id(stack.milvus_uri, database, name)}/"
    for key in listing(stack, bucket, folder):
        stack.client("s3").delete_object(Bucket=bucket, Key=key)


def _collection_id(uri: str, database: str, name: str) -> int:
    with client_of(uri, database) as client:
        return int(client.describe_collection(name)["collection_id"])


def _aliases(uri: str, database: str, name: str) -> list[str]:
    with client_of(uri, database) as client:
        return sorted(client.describe_collection(name)["aliases"])


def _collections(uri: str, database: str) -> set[str]:
    with client_of(uri, database) as client:
        return set(client.list_collections())


class TestNames:
    def test_a_suffix_puts_copies_beside_the_sources(self, outcome: Outcome, stack: LocalStack) -> None:
        uri = stack.milvus_uri

        assert outcome.restores["suffix"].output["restored_count"] == 2
        assert rows_of(uri, SOURCE, "books_copy") == rows_of(uri, SOURCE, "books")
        assert rows_of(uri, SOURCE, "pens_copy", "text_key") == rows_of(uri, SOURCE, "pens", "text_key")
        assert look_at(uri, SOURCE, "books_copy") == look_at(uri, SOURCE, "books")

    @pytest.mark.thorough
    def test_one_collection_is_renamed(self, outcome: Outcome, stack: LocalStack) -> None:
        assert outcome.restores["rename"].output["restored_count"] == 1
        assert rows_of(stack.milvus_uri, SOURCE, "renamed") == rows_of(stack.milvus_uri, SOURCE, "books")

    @pytest.mark.thorough
    @pytest.mark.feature(Feature.DATABASES)
    def test_a_database_is_mapped_to_one_that_did_not_exist(self, outcome: Outcome, stack: LocalStack) -> None:
        uri = stack.milvus_uri

        assert outcome.restores["database"].output["restored_count"] == 2
        assert _collections(uri, MOVED) == {"books", "pens"}
        assert rows_of(uri, MOVED, "books") == rows_of(uri, SOURCE, "books")
        assert _aliases(uri, MOVED, "books") == ["reading", "shelf"]

    def test_a_database_without_collections_goes_through_both_machines(
        self, outcome: Outcome, stack: LocalStack
    ) -> None:
        backup = outcome.backups["options_of_nothing"].output

        assert (backup["status"], backup["collection_count"], backup["object_count"]) == ("complete", 0, 0)
        # The other is that this Milvus has no management endpoint for its garbage collection.
        assert backup["warnings"][:1] == [
            f"There is no collection in {HOLLOW}: the backup holds databases and no rows."
        ]
        assert outcome.restores["hollow"].output["status"] == "complete"
        assert report(stack, outcome.restores["hollow"].output)["empty_databases"] == [HOLLOW_AGAIN]
        assert not _collections(stack.milvus_uri, HOLLOW_AGAIN)

    @pytest.mark.thorough
    def test_the_report_tells_source_and_target(self, outcome: Outcome, stack: LocalStack) -> None:
        (collection,) = report(stack, outcome.restores["rename"].output)["collections"]

        assert collection["source"] == {"database": SOURCE, "name": "books"}
        assert collection["target"] == {"database": SOURCE, "name": "renamed"}
        assert collection["status"] == "restored"
        assert collection["row_count"] == BOOKS.rows


class TestDropExisting:
    @pytest.mark.feature(Feature.REPLACE)
    def test_the_new_rows_take_the_place_of_the_old(self, outcome: Outcome, stack: LocalStack) -> None:
        uri = stack.milvus_uri

        assert outcome.restores["drop_existing"].output["status"] == "complete"
        assert rows_of(uri, OLD, "books") == rows_of(uri, SOURCE, "books")
        assert look_at(uri, OLD, "books") == look_at(uri, SOURCE, "books")
        assert _collections(uri, OLD) == {"books"}
        assert _aliases(uri, OLD, "books") == ["reading", "shelf"]

    @pytest.mark.feature(Feature.MISSING_ROWS)
    def test_a_restore_that_fails_leaves_the_old_collection_as_it_was(
        self, outcome: Outcome, stack: LocalStack
    ) -> None:
        uri = stack.milvus_uri

        assert outcome.restores["fails"].error == "RowCountMismatchError"
        assert "20 row(s); 21 were alive" in outcome.restores["fails"].cause
        assert _collections(uri, KEPT) == {"books"}
        assert _collection_id(uri, KEPT, "books") == outcome.kept_id
        assert len(rows_of(uri, KEPT, "books")) == OLD_BOOKS.rows
        assert _aliases(uri, KEPT, "books") == ["reading"]

    def test_nothing_stays_staged(self, outcome: Outcome, stack: LocalStack) -> None:
        assert outcome.restores["fails"].error
        staged = listing(stack, stack.milvus.bucket, "milvus-vault-staging/restore-options")

        assert not staged


class TestSkipCreate:
    @pytest.mark.feature(Feature.EXISTING_COLLECTION)
    def test_an_empty_collection_is_filled_in_place(self, outcome: Outcome, stack: LocalStack) -> None:
        uri = stack.milvus_uri

        assert outcome.restores["skip_create"].output["row_count"] == BOOKS.rows
        assert rows_of(uri, OWN, "empty") == rows_of(uri, SOURCE, "books")
        assert look_at(uri, OWN, "empty").indexes == look_at(uri, SOURCE, "books").indexes
        assert look_at(uri, OWN, "empty").is_loaded

    @pytest.mark.thorough
    def test_a_collection_that_is_loaded_already_shows_its_rows(self, outcome: Outcome, stack: LocalStack) -> None:
        assert outcome.restores["skip_create_loaded"].output["row_count"] == BOOKS.rows
        assert rows_of(stack.milvus_uri, OWN, "loaded") == rows_of(stack.milvus_uri, SOURCE, "books")


class TestParts:
    @pytest.mark.thorough
    @pytest.mark.feature(Feature.METADATA_ONLY)
    def test_metadata_alone_makes_empty_collections(self, outcome: Outcome, stack: LocalStack) -> None:
        uri = stack.milvus_uri

        assert outcome.restores["meta_only"].output["row_count"] == 0
        assert not rows_of(uri, SOURCE, "books_meta")
        assert look_at(uri, SOURCE, "books_meta") == look_at(uri, SOURCE, "books")

    @pytest.mark.feature(Feature.FEWER_SHARDS)
    def test_without_index_aliases_and_all_shards(self, outcome: Outcome, stack: LocalStack) -> None:
        output = outcome.restores["bare"].output
        look = look_at(stack.milvus_uri, SOURCE, "books_bare")

        assert output["row_count"] == BOOKS.rows
        assert not output["warnings"]
        assert not look.indexes
        assert not look.is_loaded
        assert look.shards == 2
        assert _aliases(stack.milvus_uri, SOURCE, "books_bare") == []
        assert rows_of(stack.milvus_uri, SOURCE, "books_bare") == rows_of(stack.milvus_uri, SOURCE, "books")

    @pytest.mark.thorough
    def test_without_load(self, outcome: Outcome, stack: LocalStack) -> None:
        output = outcome.restores["released"].output
        look = look_at(stack.milvus_uri, SOURCE, "pens_released")

        assert output["row_count"] == PENS.rows
        assert look.indexes == look_at(stack.milvus_uri, SOURCE, "pens").indexes
        assert not look.is_loaded

    def test_an_alias_in_use_elsewhere_stays_there_with_a_warning(self, outcome: Outcome, stack: LocalStack) -> None:
        warnings = outcome.restores["suffix"].output["warnings"]

        assert [warning.split()[1] for warning in warnings] == ["reading", "shelf"]
        assert all("stays where it is" in warning for warning in warnings)
        assert _aliases(stack.milvus_uri, SOURCE, "books") == ["reading", "shelf"]
        assert _aliases(stack.milvus_uri, SOURCE, "books_copy") == []


class TestBackupOptions:
    def test_a_database_and_a_collection_of_it_are_selected_once(self, outcome: Outcome) -> None:
        assert outcome.backups["options"].output["collection_count"] == 2
        assert outcome.backups["options_twice"].output["collection_count"] == 2
        assert outcome.backups["options_one"].output["collection_count"] == 1

    def test_a_backup_of_metadata_holds_no_objects(self, outcome: Outcome, stack: LocalStack) -> None:
        backup = StoredBackup(stack, "options_meta")

        assert outcome.backups["options_meta"].output["object_count"] == 0
        assert backup.keys()
        assert not backup.keys("binlogs/")

    @pytest.mark.thorough
    def test_a_backup_of_metadata_is_restored_without_rows(self, outcome: Outcome, stack: LocalStack) -> None:
        uri = stack.milvus_uri

        assert any("metadata only" in warning for warning in outcome.restores["of_metadata"].output["warnings"])
        assert not rows_of(uri, SOURCE, "books_of_metadata")
        assert look_at(uri, SOURCE, "books_of_metadata") == look_at(uri, SOURCE, "books")


class TestCollectionFailure:
    def test_the_others_are_published_and_the_execution_fails(self, outcome: Outcome, stack: LocalStack) -> None:
        assert outcome.backups["options_partial"].error == "BackupPartialError"
        assert f"{BROKEN}.b_broken_one" in outcome.backups["options_partial"].cause
        assert "WrongRootPathError" in outcome.backups["options_partial"].cause
        backup = StoredBackup(stack, "options_partial")
        assert backup.layout.marker in backup.keys("meta/")

    def test_what_is_published_can_be_restored_with_a_warning(self, outcome: Outcome, stack: LocalStack) -> None:
        output = outcome.restores["of_partial"].output

        assert output["restored_count"] == 1
        assert any(f"{BROKEN}.b_broken_one" in warning for warning in output["warnings"])
        assert rows_of(stack.milvus_uri, BROKEN, "a_sound_one_again") == rows_of(
            stack.milvus_uri, BROKEN, "a_sound_one"
        )

    def test_what_is_published_is_verified_where_that_is_asked_for(self, outcome: Outcome, stack: LocalStack) -> None:
        assert outcome.backups["options_partial"].error == "BackupPartialError"
        made = call(stack.api_url, "GET", "/backups/options_partial").json["run"]
        arn: str = call(stack.api_url, "GET", f"/runs/{made}").json["execution_arn"]
        # As PublishBackup names it.
        stack.wait(f"{arn.rpartition(':')[0].removesuffix('-backup')}-verify:after-{short_hash(arn, 16)}")
        found = call(stack.api_url, "GET", "/backups/options_partial").json["verification"]
        assert (found["status"], found["level"]) == ("intact", "checksum")

    def test_nothing_is_published_where_all_are_asked_for(self, outcome: Outcome, stack: LocalStack) -> None:
        assert outcome.backups["options_none"].error == "WrongRootPathError"
        assert f"{BROKEN}.b_broken_one" in outcome.backups["options_none"].cause
        assert "nothing is published" in outcome.backups["options_none"].cause
        backup = StoredBackup(stack, "options_none")
        assert backup.layout.marker not in backup.keys("meta/")
