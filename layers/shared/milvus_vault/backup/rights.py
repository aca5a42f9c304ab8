"""The rights that a backup needs."""

from collections.abc import Sequence

from milvus_vault.model.requests import BackupRequest
from milvus_vault.model.rights import Right

_DESCRIBING = (
    Right.DESCRIBE_COLLECTION,
    Right.LIST_ALIASES,
    Right.SHOW_PARTITIONS,
    Right.INDEX_DETAIL,
    Right.GET_LOAD_STATE,
)


def backup_rights(request: BackupRequest) -> Sequence[Right]:
    """Return the rights without which a backup fails.

    Without others it only has less: FlushAll cannot be asked for without flushing everything, DescribeDatabase gives
    the properties of databases, Query the number of live rows.
    """
    flushing = () if request.skip_flush or request.meta_only else (Right.FLUSH, Right.GET_FLUSH_STATE)
    users = (Right.BACKUP_RBAC,) if request.include_rbac else ()
    return (*_DESCRIBING, *flushing, *users)
