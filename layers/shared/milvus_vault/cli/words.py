"""The command line's words for what the API calls by the names of its fields and routes.

Messages and hints name a field in backquotes, with a value where that matters: `load: false`. Here that is an option. A
route in backquotes is a command.
"""

from collections.abc import Mapping

from milvus_vault.errors import renamed

OPTIONS: Mapping[str, str] = {
    # Of backups.
    "backup_name": "--name",
    "collections": "--filter",
    "mode": "--incremental",
    "meta_only": "--meta-only",
    "skip_flush": "--skip-flush",
    "gc_pause": "--no-gc-pause",
    "include_rbac": "--rbac",
    "on_collection_failure": "--all-or-nothing",
    "expire_after": "--expire-after",
    "lock": "--lock-days",
    "copy_to": "--copy-to",
    # Of restores.
    "suffix": "--suffix",
    "rename": "--rename",
    "drop_existing": "--drop-existing",
    "skip_create": "--skip-create",
    "restore_index": "--no-index",
    "load": "--no-load",
    "restore_aliases": "--no-aliases",
    "switch_aliases": "--switch-aliases",
    "partitions": "--partition",
    "replicas": "--replicas",
    "resource_groups": "--resource-group",
    "point_in_time": "--everything",
    "as_of": "--as-of",
    "rbac": "--rbac",
    "max_shards": "--max-shards",
    "allow_version": "--allow-version",
    "verify": "--verify",
    "skip_damaged": "--skip-damaged",
    # Of exports.
    "export_name": "--as",
    "format": "--format",
    "to": "--to",
    "bucket_region": "--to-region",
    "role_arn": "--to-role",
    "kms_key_arn": "--to-kms-key",
    "is_copy": "milvus-vault copy",
    # Of drills.
    "newest_of": "--schedule",
    "row_count": "--rows",
    "seed": "--seed",
    "database": "--scratch",
    # Of comparisons, checks, prunes and holds.
    "objects": "--no-objects",
    "level": "--level",
    "sample_percent": "--sample",
    "max_bytes": "--max-bytes",
    "repair": "milvus-vault repair",
    "backup_names": "milvus-vault delete",
    "dry_run": "--dry-run",
    "sweep": "--no-sweep",
    "reason": "--reason",
    "unique": "--unique",
    "pool": "--no-pool",
    "until": "--until",
    # Of schedules.
    "expression": "WHEN",
    "timezone": "--timezone",
    "enabled": "--off",
    "drill": "--drill",
    "keep_last": "--keep-last",
    "keep_daily": "--keep-daily",
    "keep_weekly": "--keep-weekly",
    "keep_monthly": "--keep-monthly",
    "keep_yearly": "--keep-yearly",
    "keep_at_least": "--keep-at-least",
    # Of the way to the API.
    "url": "--url",
    "stack": "--stack",
    "deployment": "--deployment",
    "region": "--region",
    "profile": "--profile",
}
"""Options by fields; of a field that is on by default, the option that switches it off."""

COMMANDS: Mapping[str, str] = {
    "GET /backups": "milvus-vault list",
    "GET /runs": "milvus-vault runs",
    "GET /runs/{run_id}": "milvus-vault watch",
    "DELETE /runs/{run_id}": "milvus-vault stop",
    "POST /backups/{name}/repair": "milvus-vault repair",
}
"""Commands by routes, of those that hints name."""

WITHOUT = frozenset({"schedule", "request", "retention"})
"""Fields for which there is no option: set by schedules, or made of others."""

_WORDS = {**OPTIONS, **{route: f"'{command}'" for route, command in COMMANDS.items()}}


def spoken(text: str) -> str:
    """Return a text in the words of the command line."""
    return renamed(text, lambda name, _: _WORDS.get(name, ""))
