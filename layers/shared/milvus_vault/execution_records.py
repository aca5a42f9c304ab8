"""Which run an execution works on, and so where its working files are."""

from pydantic import ValidationError

from milvus_vault.errors import ObjectNotFoundError, WorkingFileError
from milvus_vault.model.base import Model
from milvus_vault.model.messages import Execution
from milvus_vault.model.resources import RunKind
from milvus_vault.model.times import Time
from milvus_vault.ports import ObjectStore
from milvus_vault.workspace import Workspace, record_key


class ExecutionRecord(Model):
    """What an execution works on: `<prefix>/.runs/executions/<execution name>.json`."""

    execution_arn: str
    kind: RunKind
    run: str
    """Name of its working files' folder."""
    backup_name: str | None
    """None for a prune of all backups."""
    started_at: Time


def record_execution(run: Workspace, execution: Execution, kind: RunKind, backup_name: str | None) -> None:
    """Write an execution's record. The first function of each machine does, also if it then refuses the request."""
    record = ExecutionRecord(
        execution_arn=execution.arn,
        kind=kind,
        run=run.run,
        backup_name=backup_name,
        started_at=execution.started_at,
    )
    run.store.put(run.bucket, record_key(run.prefix, "executions", execution.arn), record.model_dump_json().encode())


def find_execution_record(store: ObjectStore, bucket: str, prefix: str, execution_arn: str) -> ExecutionRecord | None:
    """Return an execution's record, or None where it ended before it wrote one. Raises `WorkingFileError`."""
    try:
        body = store.get(bucket, record_key(prefix, "executions", execution_arn))
    except ObjectNotFoundError:
        return None
    try:
        return ExecutionRecord.model_validate_json(body)
    except ValidationError as err:
        msg = f"the record of execution {execution_arn} cannot be read: {err.errors()[0]['msg']}"
        raise WorkingFileError(msg, hint="It was damaged, or written by another release.") from err
