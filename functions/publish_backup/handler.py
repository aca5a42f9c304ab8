"""PublishBackup: write the backup's metadata, and its commit marker last."""

from datetime import UTC, datetime

from aws_lambda_powertools.utilities.typing import LambdaContext

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.manifest import Manifest
from milvus_vault.backup.claiming import give_back_elsewhere
from milvus_vault.backup.copies import lock_copied, publish_copy
from milvus_vault.backup.publish import find_published, lock_captured, next_copy, next_verification, publish_backup
from milvus_vault.backup.working_files import PLAN, BackupPlan
from milvus_vault.catalogue.catalogue import Catalogue
from milvus_vault.catalogue.describe import summary_of
from milvus_vault.model.messages import PublishBackupRequest, PublishBackupResult, PublishedBackup
from milvus_vault.model.names import attempt_of, execution_name, run_id
from milvus_vault.model.readable import first_of
from milvus_vault.model.resources import BackupCopy
from milvus_vault.reports.backup import MAX_HISTORY, render_backup_report
from milvus_vault.runtime import task
from milvus_vault.settings import StorageSettings
from milvus_vault.stores import open_workspace


@task
def handler(event: PublishBackupRequest, context: LambdaContext) -> PublishBackupResult:
    """Publish, unless this run has done so already, and say what is in the backup.

    Safe to repeat: a published backup is never written again, and locking and the documents of collections go on where
    the call before ended.
    """
    run = open_workspace(StorageSettings.from_env(), event.run)
    plan = run.read(PLAN, BackupPlan)
    destination = plan.destination(run)
    layout = BackupLayout(destination.prefix, plan.backup_name)
    catalogue = Catalogue(run.store, run.bucket, run.prefix)
    location = f"s3://{destination.bucket}/{layout.root}"
    ours = {event.attempt, attempt_of(plan.execution_arn)}

    def seconds_left() -> float:
        return context.get_remaining_time_in_millis() / 1000

    if plan.is_copy:
        if not lock_copied(run, plan, event.attempt, event.round, seconds_left):
            return PublishBackupResult(is_done=False)
        copy = publish_copy(run, plan, event.attempt, event.round)
        give_back_elsewhere(destination, ours)
        made = run_id("export", execution_name(plan.execution_arn))
        catalogue.note_copy(plan.backup_name, BackupCopy(location=location, copied_at=datetime.now(UTC), run=made))
        found = _published(copy.manifest, location, copy.object_count, copy.size_bytes)
        return PublishBackupResult(is_done=True, published=found)
    verification, then_copied = next_verification(plan), next_copy(plan)
    manifest = find_published(run, plan, layout)
    if manifest is None and not lock_captured(run, plan, event.attempt, event.round, seconds_left):
        return PublishBackupResult(is_done=False)
    manifest = manifest or publish_backup(
        run,
        plan,
        layout,
        event.attempt,
        event.round,
        finished_at=datetime.now(UTC),
        render_report=lambda made: render_backup_report(
            made, location, catalogue.earlier(made, MAX_HISTORY), verification, then_copied
        ),
        seconds_left=seconds_left,
    )
    if manifest is None:
        return PublishBackupResult(is_done=False)
    if destination == run:
        catalogue.publish(summary_of(manifest))
    else:
        # A deployment that is there finds the backup when it lists; it is none of this one's.
        give_back_elsewhere(destination, ours)
    found = _published(manifest, location, manifest.copied_object_count, manifest.copied_size_bytes)
    follows = {
        "has_retention": bool(manifest.schedule and manifest.schedule.retention),
        "verification": verification,
        "next_copy": then_copied,
    }
    found = found.model_copy(update=follows)
    return PublishBackupResult(is_done=True, published=found)


def _published(manifest: Manifest, location: str, object_count: int | None, size_bytes: int | None) -> PublishedBackup:
    """Return what is told of a backup that is published, of which so many objects and bytes were copied."""
    failures = [f"{failure.name}: {failure.error}: {failure.message}" for failure in manifest.failures]
    lacking = first_of(failures, separator="; ")
    return PublishedBackup(
        backup_name=manifest.backup_name,
        location=location,
        status="partial" if manifest.is_partial else "complete",
        error="BackupPartialError" if manifest.is_partial else "",
        cause=f"backup '{manifest.backup_name}' lacks {len(failures)} collection(s): {lacking}" if failures else "",
        collection_count=len(manifest.collections),
        failed_count=len(failures),
        object_count=manifest.object_count,
        size_bytes=manifest.size_bytes,
        mode="incremental" if manifest.is_incremental else "full",
        copied_object_count=object_count,
        copied_size_bytes=size_bytes,
        locked_until=manifest.lock.until if manifest.lock else None,
        warnings=manifest.warnings,
    )
