"""The rights that a restore needs."""

from collections.abc import Iterator, Sequence

from milvus_vault.archive.contents import ArchivedCollection
from milvus_vault.errors import FieldIdMismatchError
from milvus_vault.model.collections import DEFAULT_PARTITION
from milvus_vault.model.requests import RestoreRequest
from milvus_vault.model.rights import Right
from milvus_vault.model.versions import ServerVersion, may_guard_binlogs
from milvus_vault.restore.schema import added_fields


def all_restore_rights(server: ServerVersion) -> Sequence[Right]:
    """Return whatever a restore into a server may be asked for, but to fill collections that are there."""
    without = {Right.FLUSH, Right.GET_FLUSH_STATE, Right.SEARCH, Right.DROP_DATABASE}
    without |= {Right.IMPORT_BINLOG} - {*_importing(server)}
    return tuple(right for right in Right if right not in without)


def _importing(server: ServerVersion) -> Sequence[Right]:
    return (Right.IMPORT, Right.IMPORT_BINLOG) if may_guard_binlogs(server) else (Right.IMPORT,)


def restore_rights(
    server: ServerVersion,
    request: RestoreRequest,
    collections: Sequence[ArchivedCollection],
    *,
    has_rows: bool,
    has_aliases: bool,
    makes_databases: bool,
) -> Sequence[Right]:
    """Return the rights without which a restore of these collections into a server fails.

    `has_aliases`: whether there are any in databases where collections are to be replaced.
    """
    rights = [*_making(request, collections), *_loading(request, collections, has_rows=has_rows)]
    if makes_databases:
        rights.append(Right.CREATE_DATABASE)
    if has_rows:
        rights += _importing(server)
    if has_aliases:
        rights.append(Right.DROP_ALIAS)
    if request.restore_aliases and (has_aliases or any(one.aliases for one in collections)):
        rights.append(Right.CREATE_ALIAS)
    if request.rbac:
        rights += [Right.BACKUP_RBAC, Right.RESTORE_RBAC]
    return rights


def _making(request: RestoreRequest, collections: Sequence[ArchivedCollection]) -> Iterator[Right]:
    yield from (Right.DESCRIBE_COLLECTION, Right.LIST_ALIASES, Right.SHOW_PARTITIONS)
    if request.skip_create:
        yield from (Right.FLUSH, Right.GET_FLUSH_STATE)
    else:
        yield from (Right.CREATE_COLLECTION, Right.RENAME_COLLECTION, Right.DROP_COLLECTION)
        if any(_has_added_fields(one) for one in collections):
            yield Right.ADD_COLLECTION_FIELD
    if any({*one.layout.partitions} - {DEFAULT_PARTITION} for one in collections if not one.layout.has_partition_key):
        yield Right.CREATE_PARTITION


def _has_added_fields(collection: ArchivedCollection) -> bool:
    try:
        return bool(added_fields(collection.layout.collection_schema, collection.name))
    except FieldIdMismatchError:
        # It will fail for that, without the others.
        return False


def _loading(request: RestoreRequest, collections: Sequence[ArchivedCollection], *, has_rows: bool) -> Iterator[Right]:
    if not request.restore_index or not any(one.indexes for one in collections):
        return
    yield from (Right.CREATE_INDEX, Right.INDEX_DETAIL)
    if request.load and any(one.load_state.is_wanted for one in collections):
        yield from (Right.LOAD, Right.GET_LOAD_STATE, *((Right.QUERY,) if has_rows else ()))
