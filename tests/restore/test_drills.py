"""Drills through the handlers, into a protocol server of each version."""

import json
from collections.abc import Callable
from typing import Any

from tests.restore.servers import ROWS, Filled, each_version
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
