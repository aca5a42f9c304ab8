"""Users and rights that a backup has written down and will not publish."""

from milvus_vault.backup.working_files import RBAC
from milvus_vault.claims import check_owner
from milvus_vault.errors import RunTakenOverError
from milvus_vault.execution_records import find_execution_record
from milvus_vault.model.names import attempt_of
from milvus_vault.ports import ObjectStore
from milvus_vault.workspace import Workspace


def remove_unpublished_rbac(store: ObjectStore, bucket: str, prefix: str, execution_arn: str) -> None:
    """Delete the working file with hashes of passwords that a failed execution has left.

    Started again, the backup asks for them anew. One that has the run by now keeps its own.
    """
    record = find_execution_record(store, bucket, prefix, execution_arn)
    if record is None:
        return
    run = Workspace(store, bucket, prefix, record.run)
    try:
        check_owner(run, attempt_of(execution_arn))
    except RunTakenOverError:
        return
    run.delete([RBAC])
