"""What is damaged in a backup is found before anything of it is staged, and costs only its own collection."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from milvus_vault.adapters.s3 import S3ObjectStore
from milvus_vault.archive.manifest import read_object_list
from milvus_vault.archive.pool import parse_pooled_key
from milvus_vault.archive.sealing import seal
from milvus_vault.catalogue.entries import CatalogueKeys
from milvus_vault.errors import BackupDamagedError, CheckIncompleteError, WorkingFileError
from milvus_vault.model.resources import Verification
from milvus_vault.pool.doubts import Doubt, Doubts
from milvus_vault.verifying.planning import MOST_DAMAGED
from tests.restore.conftest import Deploy
from tests.restore.schema_cases import fill, of_structs
from tests.restore.servers import Filled
from tests.support import restoring as support
from tests.support.golden_rows import GOLDEN
from tests.support.restoring import BACKUPS, PREFIX, Restoring, objects_of, staged_keys

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

ARCHIVE = "golden_2_4"
DAMAGED, SOUND = "gold.layers", "gold.tenants"
BOTH: dict[str, Any] = {"backup_name": ARCHIVE, "collections": [DAMAGED, SOUND]}


class KilledError(Exception):
    """What ends an execution in between."""


@pytest.fixture
def restoring(deploy: Deploy) -> Restoring:
    """A deployment with an archive of milvus-backup."""
    made = deploy("2.5.27")
    made.upload(GOLDEN / ARCHIVE)
    # What tests before have left of the same archive.
    for key in objects_of(made, f"{PREFIX}/."):
        made.s3.delete_object(Bucket=BACKUPS, Key=key)
    return made


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the keys of the backup's objects whose content is read, as they are read."""
    keys: list[str] = []
    original = S3ObjectStore.chunks

    def chunks(self: S3ObjectStore, bucket: str, key: str, etag: str = "") -> Iterator[bytes]:
        if "/.runs/" not in key and "/meta/" not in key:
            keys.append(key)
        return original(self, bucket, key, etag)

    monkeypatch.setattr(S3ObjectStore, "chunks", chunks)
    return keys


def keys_of(restoring: Restoring, collection: str) -> list[str]:
    """Return the keys of a collection's insert logs in the archive."""
    meta = json.loads((GOLDEN / ARCHIVE / "meta" / "full_meta.json").read_text())
    number = next(
        found["collection_id"]
        for found in meta["collection_backups"]
        if f"{found.get('db_name') or 'default'}.{found['collection_name']}" == collection
    )
    return objects_of(restoring, f"{PREFIX}/{ARCHIVE}/binlogs/insert_log/{number}/")


def flip_a_byte(restoring: Restoring, key: str) -> None:
    """Change a byte of the end of the log's Parquet file, which nothing can be read without."""
    body = bytearray(restoring.s3.get_object(Bucket=BACKUPS, Key=key)["Body"].read())
    body[-3] ^= 1
    restoring.s3.put_object(Bucket=BACKUPS, Key=key, Body=bytes(body))


def collections_of(restoring: Restoring) -> set[str]:
    """Return what there is in the target's database of that name."""
    catalog = restoring.server.core.catalog
    return set(catalog.database("gold").collections) if "gold" in catalog.databases else set()


def test_a_flipped_byte_in_another_tools_archive_is_refused_by_name_before_milvus_sees_anything(
    restoring: Restoring, let_executions_be: Callable[[str], None]
) -> None:
    key = keys_of(restoring, DAMAGED)[0]
    flip_a_byte(restoring, key)

    with pytest.raises(BackupDamagedError, match=f"objects of collection {DAMAGED} are damaged: 1 by their") as raised:
        restoring.restore(BOTH)

    assert key in raised.value.message
    assert "`skip_damaged`" in raised.value.hint
    assert (collections_of(restoring), staged_keys(restoring)) == (set(), [])
    restoring.upload(GOLDEN / ARCHIVE)
    let_executions_be("FAILED")
    assert restoring.restore(BOTH)["status"] == "complete"


@pytest.mark.parametrize("is_seen_by_a_listing", [False, True])
def test_with_skip_damaged_the_others_are_restored_and_it_says_so(
    restoring: Restoring, *, is_seen_by_a_listing: bool
) -> None:
    key = keys_of(restoring, DAMAGED)[0]
    if is_seen_by_a_listing:
        restoring.s3.delete_object(Bucket=BACKUPS, Key=key)
    else:
        flip_a_byte(restoring, key)

    report = restoring.restore(BOTH | {"skip_damaged": True})

    told = {f"{found['source']['database']}.{found['source']['name']}": found for found in report["collections"]}
    assert (report["status"], told[SOUND]["status"]) == ("partial", "restored")
    assert (told[DAMAGED]["status"], told[DAMAGED]["error"]) == ("failed", "BackupDamagedError")
    assert key in told[DAMAGED]["message"]
    (warning,) = [text for text in report["warnings"] if text.startswith("Left out by `skip_damaged`")]
    assert DAMAGED in warning
    assert (collections_of(restoring), staged_keys(restoring)) == ({"tenants"}, [])


def test_functions_that_are_called_twice_leave_out_the_same(restoring: Restoring) -> None:
    flip_a_byte(restoring, keys_of(restoring, DAMAGED)[0])
    restoring.repeats = True

    report = restoring.restore(BOTH | {"skip_damaged": True})

    assert (report["status"], collections_of(restoring)) == ("partial", {"tenants"})
    assert sum(text.startswith("Left out by") for text in report["warnings"]) == 1


def test_where_all_is_damaged_there_is_nothing_left_to_restore(restoring: Restoring) -> None:
    flip_a_byte(restoring, keys_of(restoring, DAMAGED)[0])
    with pytest.raises(BackupDamagedError):
        restoring.restore({"backup_name": ARCHIVE, "collections": [DAMAGED], "skip_damaged": True})
    assert collections_of(restoring) == set()


def test_only_what_is_restored_is_read(restoring: Restoring, reads: list[str]) -> None:
    flip_a_byte(restoring, keys_of(restoring, DAMAGED)[0])

    report = restoring.restore({"backup_name": ARCHIVE, "collections": [SOUND]})

    assert (report["status"], report["read_count"]) == ("complete", len(reads))
    assert set(keys_of(restoring, SOUND)) <= set(reads)
    assert not set(keys_of(restoring, DAMAGED)) & set(reads)
    # It is no verification of the backup; what was read first is a baseline for those.
    assert objects_of(restoring, f"{PREFIX}/.catalogue/verifications/") == []
    assert len(objects_of(restoring, f"{PREFIX}/.catalogue/digests/{ARCHIVE}/")) == 1


def test_who_asks_for_a_quick_check_gets_one_and_is_told(restoring: Restoring, reads: list[str]) -> None:
    report = restoring.restore({"backup_name": ARCHIVE, "collections": [SOUND], "verify": "quick"})
    assert (report["status"], report["read_count"], reads) == ("complete", 0, [])
    assert any("their content was not" in text for text in report["warnings"])


@pytest.mark.parametrize("killed_after", ["check_objects", "prepare_restore"])
def test_a_run_that_was_killed_after_the_check_reads_nothing_again(
    restoring: Restoring, let_executions_be: Callable[[str], None], reads: list[str], killed_after: str
) -> None:
    calls: list[None] = []

    def kill() -> None:
        # PrepareRestore is called before the check, and after it.
        calls.append(None)
        if killed_after == "check_objects" or len(calls) > 1:
            raise KilledError

    restoring.after = {killed_after: kill}
    with pytest.raises(KilledError):
        restoring.restore(BOTH)
    restoring.after = {}
    read_before = len(reads)
    let_executions_be("ABORTED")

    report = restoring.restore(BOTH)

    assert (report["status"], report["read_count"]) == ("complete", read_before)
    assert len(reads) == read_before > 0


def test_a_run_that_was_killed_does_not_hide_what_was_damaged_since(
    restoring: Restoring, let_executions_be: Callable[[str], None]
) -> None:
    def kill() -> None:
        raise KilledError

    restoring.after = {"check_objects": kill}
    with pytest.raises(KilledError):
        restoring.restore(BOTH)
    restoring.after = {}
    let_executions_be("ABORTED")
    flip_a_byte(restoring, keys_of(restoring, DAMAGED)[0])
    with pytest.raises(BackupDamagedError, match=DAMAGED):
        restoring.restore(BOTH)


def test_an_object_that_is_replaced_after_it_was_read_is_read_again(restoring: Restoring) -> None:
    def replace() -> None:
        restoring.after = {}
        flip_a_byte(restoring, keys_of(restoring, DAMAGED)[0])

    restoring.after = {"check_objects": replace}
    with pytest.raises(BackupDamagedError, match=DAMAGED):
        restoring.restore(BOTH)
    assert (collections_of(restoring), staged_keys(restoring)) == (set(), [])


def test_batches_that_nobody_looks_at_end_the_restore_by_name(
    restoring: Restoring, monkeypatch: pytest.MonkeyPatch
) -> None:
    def give_up(_event: object, _context: object) -> dict[str, Any]:
        return {}

    give_up.__module__ = "check_objects.handler"
    monkeypatch.setattr(support, "check_objects", give_up)
    with pytest.raises(CheckIncompleteError, match="were not looked at"):
        restoring.restore(BOTH)
    assert collections_of(restoring) == set()


def test_columns_of_arrays_of_structs_are_read_and_what_is_damaged_in_them_is_found(
    deploy: Deploy, let_executions_be: Callable[[str], None]
) -> None:
    restoring = deploy("2.6.19")
    name = f"structs_{restoring.server.bucket.replace('-', '_')}"
    fill(restoring, "structs", of_structs)
    restoring.back_up(name)
    request: dict[str, Any] = {"backup_name": name, "verify": "deep", "suffix": "_a"}
    report = restoring.restore(request)
    keys = objects_of(restoring, f"{PREFIX}/{name}/binlogs/insert_log/")
    assert (report["status"], report["read_count"] > len(keys) > 0) == ("complete", True)

    groups = sorted({key.split("/")[-2] for key in keys}, key=int)
    place = next(key for key in keys if key.split("/")[-2] == groups[-1])  # the vectors within the structs
    flip_a_byte(restoring, place)
    with pytest.raises(BackupDamagedError, match=r"objects of collection default\.structs are damaged") as raised:
        restoring.restore(request | {"suffix": "_b"})
    assert place in raised.value.message
    let_executions_be("FAILED")


def test_taken_names_are_refused_before_anything_is_read(restoring: Restoring, reads: list[str]) -> None:
    assert restoring.restore(BOTH)["status"] == "complete"
    reads.clear()
    with pytest.raises(Exception, match="already"):
        restoring.restore(BOTH | {"load": False})
    assert reads == []


def _remember(filled: Filled, name: str, found: dict[str, Any]) -> None:
    document = Verification.model_validate(
        {
            "verified_at": "2097-01-01T00:00:00Z",
            "status": "damaged",
            "run": "verify-1",
            "object_count": 1,
            "size_bytes": 1,
            "content_checked": False,
            "level": "deep",
        }
        | found
    )
    key = CatalogueKeys(PREFIX).verification(name)
    filled.restoring.s3.put_object(Bucket=BACKUPS, Key=key, Body=seal(document))


@pytest.mark.parametrize("version", ["2.5.27"])
def test_of_a_backup_of_ours_what_was_found_damaged_is_read_again_and_nothing_else(
    filled: Filled, reads: list[str]
) -> None:
    name = filled.named("doubted")
    request = {"backup_name": name, "collections": ["default.pens", "default.plain"]}
    filled.restoring.back_up(name, collections=request["collections"])
    assert filled.restoring.restore(request | {"suffix": "_a"})["read_count"] == len(reads) == 0

    key = objects_of(filled.restoring, f"{PREFIX}/{name}/binlogs/insert_log/")[0]
    folder = key.rsplit("/insert_log/")[1].split("/")[0]
    _remember(filled, name, {"damaged_contents": {key: "it is damaged"}})
    report = filled.restoring.restore(request | {"suffix": "_b"})
    assert (report["status"], report["read_count"]) == ("complete", len(reads))
    assert reads
    assert all(f"_log/{folder}/" in read for read in reads)

    reads.clear()
    report = filled.restoring.restore(request | {"suffix": "_c", "verify": "quick"})
    (warning,) = [text for text in report["warnings"] if text.startswith("A deep verification found objects of")]
    assert (report["status"], report["read_count"], reads) == ("complete", 0, [])
    assert "default.p" in warning


@pytest.mark.parametrize("version", ["2.5.27"])
def test_where_more_may_be_damaged_than_a_verification_keeps_all_is_read(filled: Filled, reads: list[str]) -> None:
    name = filled.named("much_doubted")
    filled.restoring.back_up(name, collections=["default.pens", "default.plain"])
    _remember(filled, name, {"damaged_contents": {f"another/{number}": "damaged" for number in range(MOST_DAMAGED)}})

    report = filled.restoring.restore({"backup_name": name, "collections": ["default.pens"], "suffix": "_e"})

    assert (report["status"], report["read_count"]) == ("complete", len(reads))
    assert reads


@pytest.mark.parametrize("version", ["2.5.27"])
def test_what_was_found_damaged_by_verifying_another_backup_is_read_again(filled: Filled, reads: list[str]) -> None:
    restoring = filled.restoring
    request: dict[str, Any] = {"collections": ["default.pens", "default.plain"], "mode": "incremental"}
    verified, other = filled.named("verified"), filled.named("other")
    for number, name in enumerate((verified, other)):
        restoring.back_up(name, started_at=f"2026-03-01T00:00:0{number}Z", **request)
    document = objects_of(restoring, f"{PREFIX}/{other}/meta/vault/objects/")[0]
    body = restoring.s3.get_object(Bucket=BACKUPS, Key=document)["Body"].read()
    key = f"{PREFIX}/{next(iter(read_object_list(body))).stored_key.removeprefix(f'{PREFIX}/')}"
    pooled = parse_pooled_key(key)
    assert pooled is not None
    doubt = Doubt(
        problem=f"{key}: another content",
        found_at=datetime(2097, 1, 1, tzinfo=UTC),
        found_by=verified,
        listed_by=(verified,),
    )
    doubts = f"{PREFIX}/.catalogue/verifications/.pool/{pooled.group}.json"
    restoring.s3.put_object(Bucket=BACKUPS, Key=doubts, Body=seal(Doubts(objects={pooled.below: doubt})))

    report = restoring.restore({"backup_name": other, "suffix": "_d"})

    assert (report["status"], report["read_count"]) == ("complete", len(reads))
    assert key in reads
    assert all(f"/.pool/{pooled.group}/" in read for read in reads)

    restoring.s3.put_object(Bucket=BACKUPS, Key=doubts, Body=b"{}\n{}")
    with pytest.raises(WorkingFileError, match="which says which objects of the pool are damaged, cannot be read"):
        restoring.restore({"backup_name": other, "suffix": "_e"})
    restoring.s3.delete_object(Bucket=BACKUPS, Key=doubts)
