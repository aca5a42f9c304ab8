"""Drills through the handlers, into a protocol server of each version."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from milvus_vault.errors import ScratchInUseError
from tests.conformance.asking import base_fields, numbers, vectors
from tests.restore.conftest import Deploy
from tests.restore.schema_cases import fill, of_structs
from tests.restore.servers import INDEX, ROWS, Filled, each_version
from tests.support.milvus_server.versions import VERSIONS
from tests.support.restoring import PREFIX

type Json = dict[str, Any]


def drill(filled: Filled, between: Callable[[Json], object] = lambda _: None, **request: Any) -> Json:
    """Return what a drill of the filled server's backup concluded."""
    version = filled.restoring.server.core.version
    given = {"backup_name": filled.backup, "allow_version": not version.at_least(2, 4), "seed": 7, **request}
    return filled.restoring.drill(given, between)


def databases(filled: Filled) -> set[str]:
    """Return the names of all databases."""
    return set(filled.restoring.server.core.catalog.databases)


def kept(filled: Filled, folder: str) -> list[str]:
    """Return the keys below a folder of the backup prefix."""
    listed = filled.restoring.s3.list_objects_v2(Bucket=filled.restoring.backups, Prefix=f"{PREFIX}/{folder}")
    return [found["Key"] for found in listed.get("Contents", ())]


def noted(filled: Filled) -> Json:
    """Return what is kept of the last drill with the backup."""
    (key,) = kept(filled, f".catalogue/drills/{filled.backup}.json")
    body = filled.restoring.s3.get_object(Bucket=filled.restoring.backups, Key=key)["Body"].read()
    found: Json = json.loads(body.partition(b"\n")[0])
    return found


@each_version
def test_a_drill_proves_a_backup_and_leaves_nothing(filled: Filled) -> None:
    before = databases(filled), filled.collections("default")

    result = drill(filled)

    assert (result["status"], result["error"], result["differences"]) == ("proven", "", [])
    assert (result["collection_count"], result["collection_total"]) == (3, 3)
    # Two rows of each of two collections were deleted.
    assert result["row_count"] == result["compared_count"] == 4 * ROWS - 4
    assert result["searched_count"] == 9
    assert result["restore_seconds"] > 0
    assert (databases(filled), filled.collections("default")) == before
    assert kept(filled, ".runs/scratch/") == []
    assert (noted(filled)["status"], noted(filled)["proven_at"]) == ("proven", result["drilled_at"])


@pytest.mark.parametrize("version", ["2.3.5", "2.6.19"])
def test_a_row_with_the_largest_key_is_counted_where_no_query_returns_it(filled: Filled, version: str) -> None:
    name, largest = "edges", 2**63 - 1
    filled.milvus.make(name, *base_fields())
    filled.milvus.insert(name, range(largest - 2, largest + 1))
    filled.milvus.flush(name)
    backup = filled.named(name)
    filled.restoring.back_up(backup, collections=[f"default.{name}"])
    filled.milvus.must("DropCollection", collection_name=name)

    result = drill(filled, backup_name=backup)
    lost = drill(filled, lambda made: delete(filled, made, f"default.{name}", [largest]), backup_name=backup)

    is_hidden = version == "2.3.5"
    assert (result["status"], result["differences"]) == ("proven", [])
    assert (result["row_count"], result["compared_count"]) == (3, 2 if is_hidden else 3)
    assert [str(largest) in text and "not compared" in text for text in result["warnings"]] == [True] * is_hidden
    # Where it is gone, the count tells.
    assert (lost["status"], lost["differences"][0]) == ("failed", f"default.{name} has 2 rows instead of 3")


def test_partitions_that_are_loaded_beside_others_are_not_taken_for_empty(deploy: Deploy) -> None:
    durations = replace(VERSIONS["2.3.5"].durations, added_load=10**6)
    restoring = deploy("2.3.5", durations=durations)
    milvus, backup = restoring.milvus, f"partly_{restoring.server.bucket.replace('-', '_')}"
    milvus.make("partly", *base_fields(), partitions=("red", "blue"))
    for number, partition in enumerate(("_default", "red", "blue")):
        milvus.insert("partly", range(number * ROWS, (number + 1) * ROWS), partition)
    milvus.flush("partly")
    milvus.must("CreateIndex", collection_name="partly", field_name="v", extra_params=INDEX)
    milvus.must("LoadPartitions", collection_name="partly", partition_names=["red"])
    restoring.back_up(backup)

    result = restoring.drill({"backup_name": backup, "allow_version": True})

    assert (result["status"], result["differences"]) == ("proven", [])
    assert result["row_count"] == 3 * ROWS


def test_arrays_of_structs_come_back_and_are_said_not_to_be_compared(deploy: Deploy) -> None:
    restoring = deploy("2.6.19")
    backup = f"structs_{restoring.server.bucket.replace('-', '_')}"
    fill(restoring, "structs", of_structs)
    restoring.back_up(backup)

    result = restoring.drill({"backup_name": backup})

    assert (result["status"], result["differences"]) == ("proven", [])
    assert result["compared_count"] == result["row_count"] > 0
    assert "default.structs: values of these fields are not compared: words" in result["warnings"]


# What the tests behind this show does not differ by version.
newest = pytest.mark.parametrize("version", ["2.6.19"])


def meddle(filled: Filled, prepared: Json, source: str, name: str, **fields: Any) -> None:
    """Ask the server for something of the restored copy of a collection."""
    database, _, collection = prepared["restore"]["rename"][source].partition(".")
    filled.milvus.must(name, db_name=database, collection_name=collection, **fields)


def delete(filled: Filled, prepared: Json, source: str, keys: Sequence[int], **fields: Any) -> None:
    meddle(filled, prepared, source, "Delete", expr=f"id in {list(keys)}", **fields)


def insert(filled: Filled, prepared: Json, source: str, keys: range, **fields: Any) -> None:
    rows = [numbers("id", keys), vectors("v", len(keys))]
    meddle(filled, prepared, source, "Insert", num_rows=len(keys), fields_data=rows, **fields)


@newest
def test_a_missing_row_is_told_by_its_partition_and_its_key(filled: Filled) -> None:
    result = drill(filled, lambda made: delete(filled, made, "default.books", [ROWS + 1], partition_name="p"))

    assert (result["status"], result["error"]) == ("failed", "DrillFailedError")
    assert result["differences"] == [
        "default.books has 57 rows instead of 58",
        "default.books partition p has 28 rows instead of 29",
        f"default.books id {ROWS + 1}: the row is missing",
    ]
    assert "default.books partition p" in result["cause"]
    assert kept(filled, ".runs/scratch/") == []
    assert databases(filled) == {"default"}


@newest
def test_a_row_that_is_too_many_is_told_by_its_partition(filled: Filled) -> None:
    result = drill(filled, lambda made: insert(filled, made, "default.books", range(900, 901), partition_name="p"))

    assert result["differences"] == [
        "default.books has 59 rows instead of 58",
        "default.books partition p has 30 rows instead of 29",
    ]


@newest
def test_a_row_in_another_partition_is_told_though_the_sum_is_right(filled: Filled) -> None:
    def move(made: Json) -> None:
        delete(filled, made, "default.books", [5])
        insert(filled, made, "default.books", range(5, 6), partition_name="p")

    result = drill(filled, move)

    assert result["differences"][:2] == [
        "default.books partition _default has 28 rows instead of 29",
        "default.books partition p has 30 rows instead of 29",
    ]


@newest
def test_a_vector_that_is_another_one_is_told_by_key_and_field(filled: Filled) -> None:
    def change(made: Json) -> None:
        delete(filled, made, "default.plain", [5])
        insert(filled, made, "default.plain", range(5, 6))

    result = drill(filled, change, collections=["default.plain"])

    assert result["differences"] == ["default.plain id 5 field v: element 0 is another one"]
    assert (result["row_count"], result["compared_count"]) == (ROWS, ROWS)


@newest
def test_a_drill_that_failed_leaves_when_the_backup_was_proven_before(filled: Filled) -> None:
    proven = drill(filled)["drilled_at"]

    drill(filled, lambda made: delete(filled, made, "default.plain", [5]))

    assert (noted(filled)["status"], noted(filled)["proven_at"]) == ("failed", proven)


@newest
def test_a_database_that_exists_is_refused_and_left_alone(filled: Filled) -> None:
    filled.milvus.must("CreateDatabase", db_name="taken")
    filled.milvus.must("CreateDatabase", db_name="other")
    before = noted(filled) if kept(filled, f".catalogue/drills/{filled.backup}.json") else None

    result = drill(filled, database="taken")

    assert (result["status"], result["error"]) == ("failed", "DatabaseExistsError")
    assert "taken" in result["cause"]
    assert databases(filled) == {"default", "taken", "other"}
    # It says nothing of the backup.
    assert (noted(filled) if before else None) == before
    for name in ("taken", "other"):
        filled.milvus.must("DropDatabase", db_name=name)


@newest
def test_what_somebody_else_makes_in_the_scratch_database_stays_until_it_is_moved(
    filled: Filled, let_executions_be: Callable[[str], None]
) -> None:
    let_executions_be("FAILED")

    def squat(made: Json) -> None:
        assert made
        filled.milvus.must("RenameCollection", oldName="guest", newName="guest", newDBName="shared")

    filled.milvus.make("guest", *base_fields())
    with pytest.raises(ScratchInUseError, match="guest"):
        drill(filled, squat, database="shared")

    assert filled.collections("shared") == {"guest"}
    assert noted(filled)["status"] == "proven"
    assert "guest" in drill(filled)["warnings"][0]
    filled.milvus.must("DropCollection", db_name="shared", collection_name="guest")
    assert drill(filled)["warnings"] == []
    assert (databases(filled), kept(filled, ".runs/scratch/")) == ({"default"}, [])


@newest
def test_what_a_killed_drill_left_is_dropped_by_the_next_and_that_of_a_running_one_is_not(
    filled: Filled, let_executions_be: Callable[[str], None]
) -> None:
    class KilledError(Exception):
        """What ends a drill as nothing else does."""

    def kill(_: Json) -> None:
        raise KilledError

    with pytest.raises(KilledError):
        drill(filled, kill)
    (left,) = databases(filled) - {"default"}

    let_executions_be("RUNNING")
    assert drill(filled)["status"] == "proven"
    assert databases(filled) == {"default", left}

    let_executions_be("ABORTED")
    assert drill(filled)["status"] == "proven"
    assert (databases(filled), kept(filled, ".runs/scratch/")) == ({"default"}, [])


@newest
def test_a_failed_restore_is_told_by_its_own_name_and_the_scratch_is_dropped(filled: Filled) -> None:
    s3, bucket = filled.restoring.s3, filled.restoring.backups
    key = kept(filled, f"{filled.backup}/binlogs/")[0]
    whole = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    filled.restoring.after = {
        "prepare_drill": lambda: s3.put_object(Bucket=bucket, Key=key, Body=whole[:-1]),
        "conclude_drill": lambda: s3.put_object(Bucket=bucket, Key=key, Body=whole),
    }

    result = drill(filled)

    assert (result["status"], result["error"]) == ("failed", "BackupDamagedError")
    assert key in result["cause"]
    assert noted(filled)["error"] == "BackupDamagedError"
    assert (databases(filled), kept(filled, ".runs/scratch/")) == ({"default"}, [])


@newest
def test_a_sample_of_collections_is_within_its_bytes_and_the_same_for_the_same_seed(filled: Filled) -> None:
    chosen: list[list[str]] = []

    def look(made: Json) -> None:
        chosen.append(made["restore"]["collections"])

    backup = drill(filled)["size_bytes"]
    for _ in range(2):
        result = drill(filled, look, max_bytes=backup - 1)
        assert result["status"] == "proven"
        assert result["size_bytes"] < backup
        assert (result["collection_count"] < 3, result["collection_total"]) == (True, 3)
    assert chosen[0] == chosen[1]

    # Of how many the backup has, so that nobody takes this for more.
    named = drill(filled, collections=chosen[0][:1])
    assert (named["collection_count"], named["collection_total"]) == (1, 3)

    refused = drill(filled, max_bytes=1)
    assert (refused["error"], "the smallest" in refused["cause"]) == ("InvalidRequestError", True)
