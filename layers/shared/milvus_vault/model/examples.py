"""Examples of requests, as docs/requests.md and the API's description of itself show them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from milvus_vault.model.base import Model
from milvus_vault.model.requests import (
    BackupRequest,
    CopyRequest,
    DrillRequest,
    ExportRequest,
    PruneRequest,
    RestoreRequest,
    VerifyOptions,
    VerifyRequest,
)
from milvus_vault.model.resources import EstimateRequest, Hold, ScheduleSpec


@dataclass(frozen=True, slots=True)
class Example:
    """A request that documents show. Its model takes it."""

    title: str
    model: type[Model]
    request: Mapping[str, Any]


EXAMPLES = (
    Example("Everything, under a name made of date and time", BackupRequest, {}),
    Example(
        "One collection and one whole database",
        BackupRequest,
        {"backup_name": "before_upgrade", "collections": ["default.products", "shop.*"]},
    ),
    Example(
        "All or nothing, as they are on storage now",
        BackupRequest,
        {"backup_name": "nightly_1", "skip_flush": True, "on_collection_failure": "fail"},
    ),
    Example(
        "An incremental one, of which a twentieth is read once it is published",
        BackupRequest,
        {"mode": "incremental", "verify": {"level": "deep", "sample_percent": 5}},
    ),
    Example(
        "One that is copied to the stack's own other place once it is published",
        BackupRequest,
        {"mode": "incremental", "copy_to": {}},
    ),
    Example("Everything, under its own names", RestoreRequest, {"backup_name": "before_upgrade"}),
    Example(
        "Beside what is there, into a 2.3 server",
        RestoreRequest,
        {"backup_name": "before_upgrade", "suffix": "_restored", "allow_version": True},
    ),
    Example(
        "One collection into another database, and a whole database under another name",
        RestoreRequest,
        {
            "backup_name": "before_upgrade",
            "collections": ["default.products", "shop.*"],
            "rename": {"default.products": "test.products", "shop.*": "shop_test.*"},
        },
    ),
    Example(
        "In place of what is there",
        RestoreRequest,
        {"backup_name": "before_upgrade", "collections": ["default.products"], "drop_existing": True},
    ),
    Example(
        "Beside what is there, and then readers change over to it by the aliases",
        RestoreRequest,
        {"backup_name": "before_upgrade", "collections": ["shop.*"], "suffix": "_2", "switch_aliases": True},
    ),
    Example(
        "Into a smaller server with other resource groups",
        RestoreRequest,
        {"backup_name": "before_upgrade", "replicas": {"shop.*": 2}, "resource_groups": {"blue": "green", "*": "red"}},
    ),
    Example("Check a backup", VerifyRequest, {"backup_name": "before_upgrade"}),
    Example(
        "Read a twentieth of a backup's objects, another one each time",
        VerifyRequest,
        {"backup_name": "before_upgrade", "level": "deep", "sample_percent": 5},
    ),
    Example("What would be deleted, and why", PruneRequest, {"dry_run": True}),
    Example("Delete a backup", PruneRequest, {"backup_names": ["before_upgrade"]}),
    Example(
        "For milvus-backup, of an incremental backup",
        ExportRequest,
        {"backup_name": "nightly_31", "export_name": "for_the_archive"},
    ),
    Example(
        "To another bucket, under its own name",
        ExportRequest,
        {"backup_name": "nightly_31", "export_name": "nightly_31", "to": {"bucket": "archive", "prefix": "vault/team"}},
    ),
    Example(
        "A copy of an incremental backup, in the stack's other bucket",
        ExportRequest,
        {"backup_name": "nightly_31", "export_name": "nightly_31", "is_copy": True, "to": {}},
    ),
    Example(
        "The rows of a collection as Parquet",
        ExportRequest,
        {
            "backup_name": "nightly_31",
            "export_name": "orders",
            "format": "parquet",
            "collections": ["shop.orders"],
        },
    ),
    Example("The newest backup of a schedule", DrillRequest, {"newest_of": "nightly"}),
    Example(
        "Some collections, chosen at random, with more rows",
        DrillRequest,
        {"backup_name": "nightly_31", "max_bytes": 53687091200, "row_count": 1000},
    ),
    Example("A listing is compared with what was recorded", VerifyOptions, {}),
    Example("A twentieth of the objects is read", VerifyOptions, {"level": "deep", "sample_percent": 5}),
    Example("Until it is lifted", Hold, {"reason": "audit of 2026"}),
    Example("For a time", Hold, {"reason": "migration", "until": "2027-01-31T00:00:00Z"}),
    Example("To the stack's own place for copies", CopyRequest, {}),
    Example("To a folder of another bucket", CopyRequest, {"to": {"bucket": "archive", "prefix": "vault/team"}}),
    Example(
        "Each night, with a year of them",
        ScheduleSpec,
        {
            "expression": "cron(0 3 * * ? *)",
            "timezone": "Europe/Berlin",
            "request": {"mode": "incremental"},
            "retention": {"keep_daily": 14, "keep_weekly": 8, "keep_monthly": 12},
        },
    ),
    Example(
        "A drill of the newest backup of a schedule, each week",
        ScheduleSpec,
        {"expression": "rate(7 days)", "drill": {"newest_of": "nightly", "max_bytes": 53687091200}},
    ),
    Example("An incremental backup of everything", EstimateRequest, {"backup": {"mode": "incremental"}}),
)
