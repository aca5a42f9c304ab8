"""Incremental backups share objects, and none needs another."""

import itertools
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from inspect_milvus.handler import handler as inspect_milvus

from milvus_vault.archive.pool import is_pooled
from milvus_vault.errors import BackupDamagedError, BackupExistsError, InvalidRequestError
from milvus_vault.pool.condemned import Condemned
from tests.restore.servers import BOOKS, Filled
from tests.restore.test_replicas import check, copy_in_parts
from tests.support.html_page import Page
from tests.support.restoring import BACKUPS, PREFIX, Restoring, objects_of, staged_keys

pytestmark = [
    pytest.mark.filterwarnings("ignore:No application metrics to publish"),
    pytest.mark.parametrize("version", ["2.2.16", "2.3.5", "2.4.23", "2.5.27", "2.6.19"]),
]
NAMES = ("first", "second", "third")
COLLECTIONS = ["default.books", "default.pens", "default.plain"]
_seconds = itertools.count()


def back_up(restoring: Restoring, name: str, **request: Any) -> None:
    """Make an incremental backup, the newest that there is."""
    started_at = datetime(2026, 2, 1, tzinfo=UTC) + timedelta(seconds=next(_seconds))
    given = {"collections": COLLECTIONS, "mode": "incremental", **request}
    restoring.back_up(name, started_at=started_at.isoformat(), **given)


def backed_up(filled: Filled, case: str) -> list[str]:
    """Return the names of three backups: of a second that nothing was written before, of a third with more rows."""
    names = [filled.named(f"{case}_{name}") for name in NAMES]
    restoring = filled.restoring
    back_up(restoring, names[0])
    back_up(restoring, names[1])
    restoring.milvus.insert("plain", range(100, 110))
    restoring.milvus.flush("plain")
    back_up(restoring, names[2])
    return names


def counts(restoring: Restoring, name: str) -> tuple[int, int]:
    """Return how many objects a backup has, and how many were copied for it."""
    manifest = restoring.manifest(name)
    return manifest["object_count"], manifest["copied_object_count"]


def pooled(restoring: Restoring, name: str) -> set[str]:
    """Return the keys of a backup's objects."""
    found: set[str] = set()
    for key in objects_of(restoring, f"{PREFIX}/{name}/meta/vault/objects/"):
        body = restoring.s3.get_object(Bucket=BACKUPS, Key=key)["Body"].read().decode()
        found |= {line.split('"')[1] for line in body.splitlines()}
    return found


def remove(restoring: Restoring, name: str) -> None:
    """Delete a backup as a prune does, which leaves the pool alone."""
    for key in objects_of(restoring, f"{PREFIX}/{name}/"):
        restoring.s3.delete_object(Bucket=BACKUPS, Key=key)


def test_only_what_is_new_is_copied_and_each_is_restored_without_the_others(filled: Filled, version: str) -> None:
    restoring = filled.restoring
    plain = filled.keys("plain")
    first, second, third = backed_up(filled, "each")

    (all_of_first, copied), (all_of_second, nothing), (all_of_third, new) = (
        counts(restoring, name) for name in (first, second, third)
    )
    assert (all_of_first, all_of_first, 0) == (all_of_second, copied, nothing)
    assert 0 < new < copied
    assert all_of_third >= new
    shared = pooled(restoring, first) & pooled(restoring, third)
    assert len(shared) == all_of_third - new
    assert all(map(is_pooled, pooled(restoring, third)))
    # Without its files milvus-backup passes it by.
    assert objects_of(restoring, f"{PREFIX}/{third}/meta/")[0].endswith("/meta/backup_meta.json")
    assert not [key for key in objects_of(restoring, f"{PREFIX}/{third}/") if "/meta/vault/" not in key][1:]

    remove(restoring, first)
    remove(restoring, second)
    report = restoring.restore({"backup_name": third, "suffix": "_new", "allow_version": version < "2.4"})
    assert report["status"] == "complete"
    assert filled.keys("plain_new") == [*plain, *range(100, 110)]
    assert filled.keys("books_new") == BOOKS
    assert staged_keys(restoring) == []
    assert objects_of(restoring, f"{PREFIX}/.pool/.users/") == []


def test_an_older_one_is_restored_as_it_was(filled: Filled, version: str) -> None:
    restoring = filled.restoring
    plain = filled.keys("plain")
    first, _, _ = backed_up(filled, "older")
    report = restoring.restore({"backup_name": first, "suffix": "_old", "allow_version": version < "2.4"})
    assert report["status"] == "complete"
    assert filled.keys("plain_old") == plain


@pytest.mark.parametrize("damage", ["gone", "other"])
def test_what_is_damaged_is_named_and_the_next_one_heals_it(filled: Filled, version: str, damage: str) -> None:
    restoring = filled.restoring
    name, next_name = filled.named(f"hurt_{damage}"), filled.named(f"healing_{damage}")
    back_up(restoring, name)
    hurt = min(pooled(restoring, name))
    body = restoring.s3.get_object(Bucket=BACKUPS, Key=hurt)["Body"].read()
    if damage == "gone":
        restoring.s3.delete_object(Bucket=BACKUPS, Key=hurt)
    else:
        restoring.s3.put_object(Bucket=BACKUPS, Key=hurt, Body=bytes([body[0] ^ 1]) + body[1:])
    request = {"backup_name": name, "suffix": f"_{damage}", "allow_version": version < "2.4"}
    with pytest.raises(BackupDamagedError, match=hurt):
        restoring.restore(request)
    with restoring.functions() as call:
        assert check(call, name, repair=False)["status"] == "damaged"

    back_up(restoring, next_name)

    assert counts(restoring, next_name)[1] == 1
    (warning,) = restoring.manifest(next_name)["warnings"]
    assert re.match(r"1 object\(s\) of default\.\w+ in the pool were gone or not as they had been recorded", warning)
    assert restoring.s3.get_object(Bucket=BACKUPS, Key=hurt)["Body"].read() == body
    with restoring.functions() as call:
        assert check(call, name, repair=False)["status"] == "intact"
    assert restoring.restore(request)["status"] == "complete"


def test_a_copy_with_an_etag_of_its_own_is_shared_by_what_was_recorded(filled: Filled) -> None:
    restoring = filled.restoring
    name, next_name, last = (filled.named(f"etag_{number}") for number in range(3))
    back_up(restoring, name)
    odd = min(pooled(restoring, name))
    copy_in_parts(restoring, odd)
    # Nobody recorded this one: it is not known what it is.
    back_up(restoring, next_name)
    assert counts(restoring, next_name)[1] == 1
    back_up(restoring, last)
    assert counts(restoring, last)[1] == 0


def test_it_is_restored_from_another_place(filled: Filled, version: str) -> None:
    restoring = filled.restoring
    name = filled.named("moved")
    back_up(restoring, name)
    for key in [*objects_of(restoring, f"{PREFIX}/{name}/"), *pooled(restoring, name)]:
        body = restoring.s3.get_object(Bucket=BACKUPS, Key=key)["Body"].read()
        restoring.s3.put_object(Bucket=BACKUPS, Key=key.replace(PREFIX, "elsewhere/deep", 1), Body=body)
        restoring.s3.delete_object(Bucket=BACKUPS, Key=key)
    restoring.environment = {"BACKUP_PREFIX": "elsewhere/deep"}
    report = restoring.restore({"backup_name": name, "suffix": "_moved", "allow_version": version < "2.4"})
    assert report["status"] == "complete"
    assert filled.keys("books_moved") == BOOKS


def test_what_lies_in_the_pool_is_staged_in_milvus_own_bucket_as_well(filled: Filled, version: str) -> None:
    restoring = filled.restoring
    restoring.environment = {"BACKUP_BUCKET_NAME": restoring.server.bucket}
    name = filled.named("inside")
    back_up(restoring, name)
    report = restoring.restore({"backup_name": name, "suffix": "_inside", "allow_version": version < "2.4"})
    assert report["status"] == "complete"
    assert filled.keys("books_inside") == BOOKS


def test_a_backup_of_no_rows_shares_nothing(filled: Filled) -> None:
    with pytest.raises(InvalidRequestError, match="`meta_only` copies no objects"):
        back_up(filled.restoring, filled.named("meta"), meta_only=True)


def test_a_name_has_one_mode(filled: Filled) -> None:
    restoring = filled.restoring
    name = filled.named("mode")
    restoring.back_up(name, collections=COLLECTIONS)
    with pytest.raises(BackupExistsError):
        back_up(restoring, name)


@pytest.mark.parametrize("lost", ["marker", "manifest"])
def test_what_was_lost_of_its_metadata_is_mended_and_its_objects_stay(filled: Filled, version: str, lost: str) -> None:
    restoring = filled.restoring
    name = filled.named(f"lost_{lost}")
    back_up(restoring, name)
    folder = f"{PREFIX}/{name}/meta/"
    restoring.s3.delete_object(
        Bucket=BACKUPS, Key=folder + ("backup_meta.json" if lost == "marker" else "vault/manifest.json")
    )
    groups = {key.split("/.pool/")[1].split("/")[0] for key in pooled(restoring, name)}
    with restoring.functions() as call:
        assert check(call, name, repair=True)["status"] == "intact"
    manifest = restoring.manifest(name)
    assert (manifest["mode"], manifest["format_version"]) == ("incremental", 3)
    assert {entry["group"] for entry in manifest["collections"]} == groups
    assert objects_of(restoring, f"{PREFIX}/.pool/.users/") == []
    report = restoring.restore({"backup_name": name, "suffix": f"_{lost}", "allow_version": version < "2.4"})
    assert report["status"] == "complete"


def test_no_marker_is_made_for_what_is_condemned(filled: Filled, version: str) -> None:
    restoring = filled.restoring
    name = filled.named("condemned")
    back_up(restoring, name)
    key = min(pooled(restoring, name))
    group, below = key.split("/.pool/")[1].split("/", 1)
    restoring.s3.delete_object(Bucket=BACKUPS, Key=f"{PREFIX}/{name}/meta/backup_meta.json")
    condemned = f"{PREFIX}/.pool/.condemned/{group}.json"
    body = Condemned(turn=version, keys=(below,)).model_dump_json().encode()
    restoring.s3.put_object(Bucket=BACKUPS, Key=condemned, Body=body)
    try:
        with restoring.functions() as call, pytest.raises(BackupDamagedError, match="gone, or about to be deleted"):
            check(call, name, repair=True)
    finally:
        restoring.s3.delete_object(Bucket=BACKUPS, Key=condemned)


def test_an_estimate_says_what_the_next_one_copies(filled: Filled) -> None:
    restoring = filled.restoring
    request = {"collections": COLLECTIONS, "mode": "incremental"}
    name = filled.named("estimated")

    def estimate() -> dict[str, Any]:
        with restoring.functions() as call:
            found: dict[str, Any] = call(inspect_milvus, {"inspection": "estimate", "backup": request})["found"]
        return found

    back_up(restoring, name)
    unchanged = estimate()
    assert unchanged["object_count"] == counts(restoring, name)[0]
    assert unchanged["incremental"]["copied_object_count"] == unchanged["incremental"]["copy_requests"] == 0
    restoring.milvus.insert("plain", range(200, 210))
    restoring.milvus.flush("plain")
    expected = estimate()["incremental"]
    back_up(restoring, name := filled.named("after_the_estimate"))
    manifest = restoring.manifest(name)
    assert 0 < expected["copied_object_count"] == manifest["copied_object_count"]
    assert expected["copied_size_bytes"] == manifest["copied_size_bytes"]


def test_the_report_compares_it_with_earlier_ones_of_its_schedule(filled: Filled) -> None:
    restoring = filled.restoring
    # Not one that another test has used.
    tag = {"name": filled.named("nights")[:48]}

    def report(name: str) -> Page:
        return Page(
            restoring.s3.get_object(Bucket=BACKUPS, Key=f"{PREFIX}/{name}/meta/vault/report.html")["Body"].read()
        )

    names = [filled.named(f"night_{number}") for number in range(2)]
    for name in names:
        back_up(restoring, name, schedule=tag)
    assert not any("schedule" in text for text in report(names[0]).texts["figcaption"])
    page = report(names[1])
    assert page.texts["figcaption"][0] == f"The last 2 backups of schedule {tag['name']}"
    assert [row[0] for row in page.tables[0].rows] == ["Backup", *reversed(names)]
    assert page.tables[0].rows[1][3] == "0 B"
