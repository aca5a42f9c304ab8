"""What each function may do with which keys. A right that is added, or widened, shows in this table."""

import itertools
import re
from collections.abc import Iterable
from typing import NamedTuple

import pytest

from milvus_vault.archive.reference_writer import COLLECTION_META, FULL_META, PARTITION_META, SEGMENT_META
from tests.support.privilege import Need, not_allowed
from tests.template.loading import Data, actions_of, functions, resources_of, statements

MARKER = "*/meta/backup_meta.json"
METADATA = tuple(f"*/meta/{name}" for name in (COLLECTION_META, FULL_META, PARTITION_META, SEGMENT_META, "vault/*"))


class May(NamedTuple):
    """What a role may do with keys: those below the backup prefix as they are, those of Milvus' bucket after `milvus:`.

    Those below the prefix for exports are after `exports:`: a right there is one in the backup bucket and in the other.

    An asterisk goes over slashes. Of a marker it may be said that a write needs a condition.
    """

    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    delete: tuple[str, ...] = ()
    abort_uploads: tuple[str, ...] = ()
    lock: tuple[str, ...] = ()
    read_locks: tuple[str, ...] = ()


# Rows as files of Parquet, here and in other places.
DATASETS, DATASETS_ELSEWHERE = ".datasets/*", "exports:*.datasets/*"

# Of full backups, and of the pool that the others share.
OBJECTS = ("*/binlogs/*", ".pool/*-*/*/*-*")
MANIFESTS_OF_EXPORTS = ("exports:*/meta/backup_meta.json", "exports:*/meta/vault/manifest.json")
POOL_ELSEWHERE, USERS_ELSEWHERE = "exports:*.pool/*-*/*/*-*", "exports:*.pool/.users/backup-*"
COPIES_ELSEWHERE = (POOL_ELSEWHERE, "exports:*/binlogs/*", "milvus:staging/restore-*/*")
OTHER_ETAGS_ELSEWHERE = "exports:*/meta/vault/other_etags.json"
NAMES_OF_EXPORTS = "exports:*.runs/backup-*/claim.json"
ONLY_CONDITIONALLY = (f"{MARKER} if-match", f"{MARKER} if-none-match")

# The functions that copy objects.
COPYING = {"PlanCopy", "CopyBatch"}

LOCKED = (
    "*/binlogs/*",
    "*/meta/*",
    ".pool/*-*/*/*-*",
    "exports:*.pool/*-*/*/*-*",
    "exports:*/binlogs/*",
    "exports:*/meta/*",
)

TABLE: dict[str, May] = {
    "PrepareBackup": May(
        read=(
            "*/meta/*",
            ".catalogue/backups/*",
            ".catalogue/deleting/*",
            ".catalogue/verifications/*",
            ".pool/.users/backup-*",
            ".runs/backup-*/backup.json",
            ".runs/backup-*/claim.json",
            ".runs/pauses/*",
        ),
        write=(
            ".pool/.users/backup-*",
            ".runs/backup-*/backup.json",
            ".runs/backup-*/claim.json",
            ".runs/backup-*/copy/*/job.json",
            ".runs/backup-*/rbac.json",
            ".runs/executions/*",
            ".runs/pauses/*",
        ),
        delete=(".catalogue/deleting/*", ".runs/backup-*/claim.json"),
    ),
    "SnapshotBatch": May(
        read=(
            "*/meta/*",
            ".pool/.condemned/*",
            ".runs/backup-*/backup.json",
            ".runs/backup-*/collections/*",
            ".runs/backup-*/copy/*",
        ),
        write=(".runs/backup-*/collections/*", ".runs/backup-*/copy/*"),
        delete=(
            ".runs/backup-*/collections/*-shared/*",
            ".runs/backup-*/copy/*/items/*",
            ".runs/backup-*/copy/*/targets/*",
            ".runs/backup-*/copy/*/verified/*",
        ),
        abort_uploads=(".runs/*/*",),
    ),
    # What CopyBatch and VerifyCopy may, since it does their work where that is little.
    "PlanCopy": May(
        read=(
            "*/binlogs/*",
            "*/meta/backup_meta.json",
            "*/meta/vault/manifest.json",
            ".pool/*-*/*/*-*",
            ".runs/*/claim.json",
            ".runs/*/copy/*",
            ".runs/backup-*/backup.json",
            ".runs/backup-*/collections/*",
            ".runs/export-*/backup.json",
            ".runs/restore-*/composed/*",
            *MANIFESTS_OF_EXPORTS,
            "milvus:delta_log/*",
            "milvus:insert_log/*",
        ),
        write=(*OBJECTS, ".runs/*/copy/*", ".runs/backup-*/collections/*", *COPIES_ELSEWHERE),
        delete=(
            "*/binlogs/*",
            ".runs/*/copy/*/error-*.json",
            ".runs/*/copy/*/verified/*",
            "exports:*/binlogs/*",
            "milvus:staging/restore-*/*",
        ),
        abort_uploads=(*OBJECTS, ".runs/*/*", *COPIES_ELSEWHERE),
    ),
    "CopyBatch": May(
        read=(
            *OBJECTS,
            ".runs/*/claim.json",
            ".runs/*/copy/*",
            ".runs/restore-*/composed/*",
            "milvus:delta_log/*",
            "milvus:insert_log/*",
        ),
        write=(*OBJECTS, ".runs/*/copy/*", *COPIES_ELSEWHERE),
        delete=(".runs/*/copy/*/error-*.json",),
        abort_uploads=(*OBJECTS, *COPIES_ELSEWHERE),
    ),
    "VerifyCopy": May(
        read=(
            "*/binlogs/*",
            "*/meta/backup_meta.json",
            "*/meta/vault/manifest.json",
            ".pool/*-*/*/*-*",
            ".runs/*/claim.json",
            ".runs/*/copy/*",
            ".runs/backup-*/backup.json",
            ".runs/backup-*/collections/*",
            ".runs/export-*/backup.json",
            *MANIFESTS_OF_EXPORTS,
            "milvus:delta_log/*",
        ),
        write=(".runs/*/copy/*", ".runs/backup-*/collections/*"),
        delete=("*/binlogs/*", ".runs/*/copy/*/verified/*", "exports:*/binlogs/*", "milvus:staging/restore-*/*"),
        abort_uploads=(".runs/*/*",),
    ),
    "PublishBackup": May(
        read=(
            "*/meta/*",
            ".catalogue/backups/*",
            ".pool/.users/backup-*",
            ".runs/backup-*/*",
            ".runs/export-*/*",
            USERS_ELSEWHERE,
            NAMES_OF_EXPORTS,
            *MANIFESTS_OF_EXPORTS,
        ),
        write=(
            *ONLY_CONDITIONALLY,
            *METADATA,
            ".catalogue/backups/*",
            ".catalogue/copies/*",
            ".pool/.users/backup-*",
            ".runs/backup-*/locked.json",
            ".runs/backup-*/publishing/*",
            ".runs/export-*/locked.json",
            ".runs/export-*/publishing/*",
            USERS_ELSEWHERE,
            *(f"exports:{pattern}" for pattern in (*ONLY_CONDITIONALLY, *METADATA)),
        ),
        delete=(
            "*/binlogs/*",
            ".pool/.users/backup-*",
            ".runs/backup-*/locked.json",
            ".runs/backup-*/rbac.json",
            ".runs/export-*/locked.json",
            ".runs/export-*/rbac.json",
            USERS_ELSEWHERE,
            NAMES_OF_EXPORTS,
            "exports:*/binlogs/*",
            OTHER_ETAGS_ELSEWHERE,
        ),
        abort_uploads=(
            *METADATA,
            ".runs/backup-*/publishing/*",
            ".runs/export-*/publishing/*",
            *(f"exports:{pattern}" for pattern in METADATA),
        ),
        lock=LOCKED,
        read_locks=LOCKED,
    ),
    "PrepareRestore": May(
        read=(
            "*/meta/*",
            ".catalogue/digests/*",
            ".catalogue/verifications/*",
            ".runs/restore-*/*",
            "milvus:staging/claims/*",
        ),
        write=(".catalogue/digests/*", ".runs/executions/*", ".runs/restore-*/*", "milvus:staging/claims/*"),
        delete=(".runs/restore-*/*", "milvus:staging/claims/*"),
        abort_uploads=(".runs/*/*",),
    ),
    "PrepareExport": May(
        read=(
            "*/meta/*",
            ".catalogue/backups/*",
            ".catalogue/copies/*",
            ".catalogue/deleting/*",
            ".catalogue/verifications/*",
            DATASETS,
            ".runs/backup-*/backup.json",
            ".runs/backup-*/claim.json",
            ".runs/export-*/backup.json",
            ".runs/export-*/claim.json",
            ".runs/export-*/rows/*",
            DATASETS_ELSEWHERE,
            "exports:*.pool/.condemned/*",
            USERS_ELSEWHERE,
            NAMES_OF_EXPORTS,
            *MANIFESTS_OF_EXPORTS,
            OTHER_ETAGS_ELSEWHERE,
        ),
        write=(
            DATASETS,
            ".runs/backup-*/backup.json",
            ".runs/backup-*/claim.json",
            ".runs/backup-*/collections/*",
            ".runs/backup-*/copy/*",
            ".runs/backup-*/rbac.json",
            ".runs/executions/*",
            ".runs/export-*/backup.json",
            ".runs/export-*/claim.json",
            ".runs/export-*/collections/*",
            ".runs/export-*/copy/*",
            ".runs/export-*/destination.json",
            ".runs/export-*/rbac.json",
            ".runs/export-*/rows/*",
            DATASETS_ELSEWHERE,
            USERS_ELSEWHERE,
            NAMES_OF_EXPORTS,
        ),
        delete=(
            ".catalogue/deleting/*",
            DATASETS,
            ".runs/backup-*/claim.json",
            ".runs/export-*/claim.json",
            ".runs/export-*/rows/*",
            DATASETS_ELSEWHERE,
            NAMES_OF_EXPORTS,
        ),
        abort_uploads=(".runs/*/*",),
    ),
    "WriteRows": May(
        read=(*OBJECTS, ".runs/export-*/claim.json", ".runs/export-*/rows/*"),
        write=(DATASETS, ".runs/export-*/rows/*", DATASETS_ELSEWHERE),
        abort_uploads=(DATASETS, DATASETS_ELSEWHERE),
    ),
    "CutCollections": May(
        read=(*OBJECTS, ".runs/restore-*/*"),
        write=(
            ".runs/restore-*/collections/*/target.json",
            ".runs/restore-*/composed/*",
            ".runs/restore-*/copy/*",
            ".runs/restore-*/cuts/*",
            "milvus:staging/restore-*/*",
        ),
        abort_uploads=(".runs/*/*",),
    ),
    "AdvanceRestore": May(
        read=(".runs/restore-*/*",),
        write=(
            ".runs/restore-*/collections/*",
            ".runs/restore-*/copy/*/verified/*",
            ".runs/restore-*/databases.json",
            ".runs/restore-*/importing/*",
        ),
        delete=(".runs/restore-*/collections/*/importing-*.json",),
    ),
    "CleanUpRestore": May(
        read=(".runs/restore-*/*",),
        write=(".runs/restore-*/claim.json", ".runs/restore-*/collections/*/abandoned-*.json"),
        delete=(".runs/restore-*/composed/*", "milvus:staging/restore-*/*"),
    ),
    # The first for restores that the build before 0.1.0 reports while a stack is updated.
    "ReportRestore": May(read=(".runs/reports/paces/restore.json", ".runs/restore-*/*"), write=(".runs/reports/*",)),
    "PlanPrune": May(
        read=(
            "*/meta/*",
            ".catalogue/backups/*",
            ".catalogue/damage/*",
            ".catalogue/deleting/*",
            ".catalogue/holds/*",
            ".catalogue/verifications/*",
            ".runs/backup-*/claim.json",
            ".runs/drill-*/claim.json",
            ".runs/export-*/claim.json",
            ".runs/prune-*/*",
            ".runs/restore-*/claim.json",
        ),
        write=(".catalogue/damage/*", ".runs/backup-*/claim.json", ".runs/executions/*", ".runs/prune-*/*"),
        delete=(".catalogue/damage/*", ".catalogue/deleting/*"),
    ),
    "CarryOutPrune": May(
        read=(
            "*/meta/*",
            ".catalogue/backups/*",
            ".catalogue/deleting/*",
            ".catalogue/holds/*",
            ".catalogue/verifications/*",
            ".pool/.condemned/*",
            ".pool/.sweep/claim.json",
            ".pool/.users/*",
            ".runs/*/claim.json",
            ".runs/export-*/destination.json",
            ".runs/prune-*/*",
            "exports:*.catalogue/deleting/*",
            NAMES_OF_EXPORTS,
            *MANIFESTS_OF_EXPORTS,
            "milvus:staging/claims/*",
        ),
        write=(
            ".catalogue/deleting/*",
            ".catalogue/orphans/*",
            ".pool/.condemned/*",
            ".pool/.sweep/claim.json",
            ".pool/.users/*",
            ".runs/*/claim.json",
            ".runs/prune-*/freed.json",
            ".runs/prune-*/outcomes/*",
            ".runs/prune-*/pool.json",
            ".runs/prune-*/swept.json",
            ".runs/reports/*",
            "milvus:staging/claims/*",
        ),
        delete=(
            "*/binlogs/*",
            "*/meta/*",
            ".catalogue/backups/*",
            ".catalogue/copies/*",
            ".catalogue/damage/*",
            ".catalogue/deleting/*",
            ".catalogue/digests/*",
            ".catalogue/drills/*",
            ".catalogue/holds/*",
            ".catalogue/orphans/*",
            ".catalogue/verifications/*",
            ".pool/*-*/*/*-*",
            ".pool/.condemned/*",
            ".pool/.sweep/claim.json",
            ".pool/.users/*",
            ".runs/backup-*/*",
            ".runs/checks/*",
            ".runs/drill-*/*",
            ".runs/executions/*",
            ".runs/export-*/*",
            ".runs/failures/*",
            ".runs/prune-*/*",
            ".runs/reports/*",
            ".runs/restore-*/*",
            ".runs/verify-*/*",
            NAMES_OF_EXPORTS,
            "exports:*/binlogs/*",
            *(f"exports:{pattern}" for pattern in METADATA),
            "milvus:staging/*",
        ),
        abort_uploads=(
            "*/binlogs/*",
            "*/meta/*",
            ".*/*",
            ".pool/*-*/*/*-*",
            "exports:*/binlogs/*",
            "milvus:staging/*",
        ),
    ),
    "VerifyBackup": May(
        read=(
            "*/binlogs/*",
            "*/meta/*",
            ".catalogue/backups/*",
            ".catalogue/digests/*",
            ".catalogue/holds/*",
            ".catalogue/verifications/*",
            ".pool/*-*/*/*-*",
            ".pool/.condemned/*",
            ".pool/.users/verify-*",
            ".runs/backup-*/claim.json",
            ".runs/verify-*/*",
        ),
        write=(
            *ONLY_CONDITIONALLY,
            "*/meta/vault/manifest.damaged.json",
            "*/meta/vault/manifest.json",
            "*/meta/vault/other_etags.json",
            ".catalogue/backups/*",
            ".catalogue/digests/*",
            ".catalogue/holds/*",
            ".catalogue/verifications/*",
            ".pool/.users/verify-*",
            ".runs/backup-*/claim.json",
            ".runs/executions/*",
            ".runs/reports/*",
            ".runs/verify-*/*",
        ),
        abort_uploads=("*/meta/vault/other_etags.json", ".runs/*/*"),
        delete=(
            "*/meta/vault/manifest.json",
            ".catalogue/damage/*",
            ".pool/.users/verify-*",
            ".runs/backup-*/claim.json",
        ),
        lock=(MARKER, "*/meta/vault/manifest.json"),
        read_locks=("*/meta/*",),
    ),
    "CheckObjects": May(
        read=(*OBJECTS, ".runs/restore-*/check-*/check/*", ".runs/verify-*/check/*"),
        write=(".runs/restore-*/check-*/check/*", ".runs/verify-*/check/*"),
        read_locks=OBJECTS,
    ),
    "PrepareDrill": May(
        read=("*/meta/*", ".catalogue/*", ".runs/drill-*/*", ".runs/scratch/*"),
        write=(".catalogue/backups/*", ".runs/drill-*/*", ".runs/executions/*", ".runs/scratch/*"),
        delete=(".catalogue/backups/*", ".runs/scratch/*"),
    ),
    "ProveDrill": May(
        read=("*/binlogs/*", "*/meta/*", ".pool/*-*/*/*-*", ".runs/drill-*/*", ".runs/reports/*"),
        write=(".runs/drill-*/*", ".runs/reports/paces/*"),
    ),
    "ConcludeDrill": May(
        read=(
            ".catalogue/drilled/*",
            ".catalogue/drills/*",
            ".runs/drill-*/*",
            ".runs/executions/*",
            ".runs/failures/*",
            ".runs/scratch/*",
        ),
        write=(".catalogue/drilled/*", ".catalogue/drills/*", ".runs/scratch/*"),
        delete=(".runs/scratch/*",),
    ),
    "RecordFailure": May(
        read=(".runs/backup-*/claim.json", ".runs/executions/*", ".runs/export-*/claim.json"),
        write=(".runs/failures/*",),
        delete=(".runs/backup-*/rbac.json", ".runs/export-*/rbac.json"),
    ),
    "Api": May(
        read=(
            "*/meta/*",
            ".catalogue/*",
            ".runs/*/copy/*",
            ".runs/backup-*/backup.json",
            ".runs/backup-*/collections/*",
            ".runs/drill-*/*.json",
            ".runs/executions/*",
            ".runs/export-*/backup.json",
            ".runs/export-*/claim.json",
            ".runs/export-*/collections/*",
            ".runs/export-*/rows/dataset.json",
            ".runs/prune-*/*.json",
            ".runs/reports/*",
            ".runs/restore-*/*",
            ".runs/verify-*/verified.json",
        ),
        write=(".catalogue/backups/*", ".catalogue/holds/*"),
        delete=(".catalogue/backups/*", ".catalogue/holds/*"),
    ),
    "InspectMilvus": May(
        read=(
            "*/meta/*",
            ".catalogue/backups/*",
            ".catalogue/verifications/*",
            ".pool/.condemned/*",
            ".runs/checks/*",
        ),
        write=(".runs/checks/*",),
        delete=(".runs/checks/*",),
    ),
    "WatchSchedules": May(
        read=("*/meta/*", ".catalogue/*"),
        write=(".catalogue/backups/*", ".catalogue/damage/*", ".catalogue/overdue/*"),
        delete=(".catalogue/backups/*", ".catalogue/overdue/*"),
    ),
    "TendPauses": May(read=(".runs/pauses/*",), write=(".runs/pauses/*",), delete=(".runs/pauses/*",)),
}

_EXPORTS_HERE = "arn:${AWS::Partition}:s3:::${BackupBucketName}/${ExportPrefix}/"
_EXPORTS_THERE = "arn:${AWS::Partition}:s3:::${ExportBucketName}/${ExportPrefix}/"
_PREFIXES = {
    "arn:${AWS::Partition}:s3:::${BackupBucketName}/${BackupPrefix}/": "",
    _EXPORTS_HERE: "exports:",
    "arn:${AWS::Partition}:s3:::${MilvusBucketName}/${MilvusRootPath}/": "milvus:",
    "arn:${AWS::Partition}:s3:::${MilvusBucketName}/${StagingPrefix}/": "milvus:staging/",
}
_VERBS = {
    "s3:GetObject": "read",
    "s3:PutObject": "write",
    "s3:DeleteObject": "delete",
    "s3:AbortMultipartUpload": "abort_uploads",
    "s3:PutObjectRetention": "lock",
    "s3:GetObjectRetention": "read_locks",
}


def may(function: Data) -> May:
    """Return what a function may do with keys."""
    found: dict[str, set[str]] = {verb: set() for verb in _VERBS.values()}
    for statement in statements(function["Policies"]):
        conditions = [key.removeprefix("s3:") for key in statement.get("Condition", {}).get("Null", {})]
        for resource in resources_of(statement):
            for prefix, short in _PREFIXES.items():
                if resource.startswith(prefix):
                    pattern = " ".join((short + resource.removeprefix(prefix), *conditions))
                    for action in actions_of(statement):
                        found[_VERBS[action]].add(pattern)
    return May(**{verb: tuple(sorted(patterns)) for verb, patterns in found.items()})


def test_each_function_may_do_with_keys_what_the_table_says() -> None:
    found = {name.removesuffix("Function"): may(function) for name, function in functions().items()}
    assert {name: rights for name, rights in found.items() if rights != May()} == TABLE


def test_what_may_be_done_with_exports_may_be_done_in_both_buckets() -> None:
    for function in functions().values():
        for statement in statements(function["Policies"]):
            found = resources_of(statement)
            here = {resource for resource in found if resource.startswith(_EXPORTS_HERE)}
            there = {resource for resource in found if resource.startswith(_EXPORTS_THERE)}
            assert {resource.replace(_EXPORTS_HERE, _EXPORTS_THERE) for resource in here} == there


# What the table means, with keys as they are.

PARAMETERS = {
    "BackupBucketName": "backups",
    "BackupPrefix": "team",
    "ExportBucketName": "archive",
    "ExportPrefix": "exports",
    "MilvusBucketName": "milvus",
    "MilvusRootPath": "files",
    "StagingPrefix": "staging",
}


def who_may(action: str, *keys: str, bucket: str = "backups/team", headers: Iterable[str] = ()) -> set[str]:
    """Return the functions that may do something with at least one of the keys."""
    wanted = [Need(f"s3:{action}", f"arn:aws:s3:::{bucket}/{key}", frozenset(headers)) for key in keys]
    return {
        name.removesuffix("Function")
        for name in functions()
        if any(not not_allowed(name, [need], PARAMETERS) for need in wanted)
    }


def test_nobody_writes_or_deletes_what_is_milvus_own() -> None:
    logs = ("files/insert_log/1/2/3/4/5", "files/delta_log/1/2/3/4", "files/index_files/1", "files/other")
    for action in ("PutObject", "DeleteObject", "AbortMultipartUpload"):
        assert who_may(action, *logs, bucket="milvus") == set()


def test_only_those_that_copy_read_rows_and_verify_copy_when_they_came_and_what_was_deleted() -> None:
    """But for a repair, which compares contents of a backup that was copied, deep verifications and drills."""
    assert who_may("GetObject", "files/insert_log/1/2/3/4/5", bucket="milvus") == COPYING
    assert who_may("GetObject", "files/delta_log/1/2/3/4", bucket="milvus") == COPYING | {"VerifyCopy"}
    archived = "monday/binlogs/insert_log/1/2/3/3/4/5"
    assert who_may("GetObject", archived) == COPYING | {
        "VerifyCopy",
        "CutCollections",
        "VerifyBackup",
        "CheckObjects",
        "WriteRows",
        "ProveDrill",
    }


@pytest.mark.parametrize("root_path", ["", "files", "/files", "files/", "a/b"])
def test_milvus_logs_are_read_whatever_its_root_path(root_path: str) -> None:
    folder = f"{root_path.strip('/')}/" if root_path else ""
    parameters = PARAMETERS | {"MilvusRootPath": root_path}
    copying = itertools.product(COPYING, ("insert_log", "delta_log"))
    for function, kind in (*copying, ("VerifyCopy", "delta_log")):
        need = Need("s3:GetObject", f"arn:aws:s3:::milvus/{folder}{kind}/1/2/3/4")
        assert not_allowed(f"{function}Function", [need], parameters) == []


def test_only_those_that_copy_write_copies_and_only_those_that_compare_lists_delete_archived_ones() -> None:
    archived, staged = "monday/binlogs/delta_log/1/2/3/3/4", "staging/restore-monday-1a2b/1/delta_log/2"
    assert who_may("PutObject", archived) == COPYING
    assert who_may("PutObject", staged, bucket="milvus") == COPYING | {"CutCollections"}
    assert who_may("DeleteObject", archived) == {"PlanCopy", "VerifyCopy", "PublishBackup", "CarryOutPrune"}


@pytest.mark.parametrize("place", ["backups/exports", "backups/exports/team", "archive/exports", "archive/exports/a/b"])
def test_exports_to_another_place_are_written_by_those_that_write_exports_alone(place: str) -> None:
    log, marker, claim = "m/binlogs/delta_log/1/2/3/3/4", "m/meta/backup_meta.json", ".runs/backup-m/claim.json"
    assert who_may("PutObject", log, bucket=place) == COPYING
    assert who_may("DeleteObject", log, bucket=place) == {"PlanCopy", "VerifyCopy", "PublishBackup", "CarryOutPrune"}
    assert who_may("GetObject", log, bucket=place) == set()
    assert who_may("PutObject", marker, "m/meta/full_meta.json", bucket=place) == {"PublishBackup"}
    assert who_may("PutObject", marker, bucket=place) == set()
    assert who_may("DeleteObject", marker, bucket=place) == set()
    assert who_may("DeleteObject", "m/meta/full_meta.json", bucket=place) == {"CarryOutPrune"}
    assert who_may("PutObject", claim, bucket=place) == {"PrepareExport"}
    assert who_may("DeleteObject", claim, bucket=place) == {"PrepareExport", "PublishBackup", "CarryOutPrune"}
    pooled, note = ".pool/1a2b-7/1/2-3", ".pool/.users/backup-m/1a2b3c4d.json"
    assert who_may("PutObject", pooled, bucket=place) == COPYING
    assert who_may("DeleteObject", pooled, bucket=place) == who_may("GetObject", pooled, bucket=place) == set()
    assert who_may("PutObject", note, bucket=place) == {"PrepareExport", "PublishBackup"}
    assert who_may("DeleteObject", note, bucket=place) == {"PublishBackup"}


def test_nothing_else_of_another_place_is_written_or_deleted() -> None:
    tombstone = "exports/.catalogue/deleting/m.json"
    others = ("exported/m/binlogs/1", "exports/.pool/.sweep/claim.json", "other/m/meta/1")
    condemned = "exports/.pool/.condemned/1a2b-7.json"
    for action in ("PutObject", "DeleteObject", "AbortMultipartUpload"):
        assert who_may(action, *others, tombstone, condemned, bucket="archive") == set()
    assert who_may("GetObject", *others, bucket="archive") == set()
    assert who_may("GetObject", tombstone, bucket="archive") == {"CarryOutPrune"}
    assert who_may("GetObject", condemned, bucket="archive") == {"PrepareExport"}


def test_without_another_bucket_all_rights_are_of_the_backup_bucket_and_of_milvus() -> None:
    parameters = PARAMETERS | {"ExportBucketName": ""}
    need = Need("s3:PutObject", "arn:aws:s3:::archive/exports/m/binlogs/delta_log/1/2/3/3/4")
    assert not_allowed("CopyBatchFunction", [need], parameters) == [need]
    here = Need("s3:PutObject", "arn:aws:s3:::backups/exports/m/binlogs/delta_log/1/2/3/3/4")
    assert not_allowed("CopyBatchFunction", [here], parameters) == []


def test_a_published_marker_is_replaced_only_by_who_has_read_it() -> None:
    marker = "monday/meta/backup_meta.json"
    assert who_may("PutObject", marker) == set()
    for header in ("s3:if-none-match", "s3:if-match"):
        assert who_may("PutObject", marker, headers=[header]) == {"PublishBackup", "VerifyBackup"}
    assert who_may("DeleteObject", marker) == {"CarryOutPrune"}


def test_only_the_api_and_those_that_delete_backups_lift_holds() -> None:
    hold = ".catalogue/holds/monday.json"
    assert who_may("DeleteObject", hold) == {"Api", "CarryOutPrune"}
    assert who_may("PutObject", hold) == {"Api", "VerifyBackup"}


def test_nobody_lifts_a_lock_and_only_who_publishes_locks_objects() -> None:
    objects = ("monday/binlogs/delta_log/1/2/3/3/4", ".pool/1a-2/0001/2b-3c", "monday/meta/vault/objects/1.jsonl")
    assert who_may("PutObjectRetention", *objects) == {"PublishBackup"}
    for action in ("BypassGovernanceRetention", "DeleteObjectVersion", "PutObjectLegalHold"):
        assert who_may(action, *objects) == set()
    granted = {a for f in functions().values() for s in statements(f["Policies"]) for a in actions_of(s)}
    assert not {
        a for a in granted if "*" in a or "Bypass" in a or "Version" in a.removeprefix("s3:GetBucketVersioning")
    }


def test_claims_are_taken_by_those_that_begin_something_and_deleted_by_nobody_else_but_them() -> None:
    backup, restore = ".runs/backup-monday/claim.json", ".runs/restore-monday-1a2b/claim.json"
    of_backups = {"PrepareBackup", "PrepareExport", "PlanPrune", "CarryOutPrune", "VerifyBackup"}
    assert who_may("PutObject", backup) == of_backups
    assert who_may("DeleteObject", backup) == of_backups - {"PlanPrune"}
    assert who_may("DeleteObject", restore) == {"PrepareRestore", "CarryOutPrune"}
    # The clean-up writes into its own that the work is over.
    assert who_may("PutObject", restore) == {"PrepareRestore", "CleanUpRestore", "CarryOutPrune"}


def test_hashes_of_passwords_are_read_by_who_publishes_them_and_forgotten_when_a_backup_fails() -> None:
    for secrets, keepers in (
        (".runs/backup-monday/rbac.json", {"PrepareBackup", "PrepareExport"}),
        (".runs/export-1a2b/rbac.json", {"PrepareExport"}),
    ):
        assert who_may("GetObject", secrets) == {"PublishBackup"}
        assert who_may("PutObject", secrets) == keepers
        assert who_may("DeleteObject", secrets) == {"PublishBackup", "RecordFailure", "CarryOutPrune"}


def test_who_gives_pauses_back_may_delete_nothing_else() -> None:
    rights = {name: found for name, found in TABLE.items() if found.delete == (".runs/pauses/*",)}
    assert rights.keys() == {"TendPauses"}
    assert who_may("DeleteObject", ".runs/pauses/1a2b.json") == rights.keys()


def test_no_pattern_is_a_whole_folder_of_the_backup_prefix() -> None:
    patterns = {pattern for rights in TABLE.values() for verb in (rights.write, rights.delete) for pattern in verb}
    assert [found for found in patterns if re.fullmatch(r"\*|\.(?:runs|catalogue)/\*|\*/\*", found)] == []
