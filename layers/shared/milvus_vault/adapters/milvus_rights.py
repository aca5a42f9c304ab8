"""Asks Milvus for rights, by calls that change nothing whether they are allowed or not.

Milvus looks at rights before anything else is. A call that is allowed then fails, since nothing can have the name
that it is about: no name of Milvus begins with a digit. Limits of rates are counted by collection.
"""

from collections.abc import Callable, Mapping
from typing import Any

from pymilvus.grpc_gen import common_pb2, milvus_pb2

from milvus_vault.adapters.milvus_calls import CALL_SECONDS
from milvus_vault.adapters.milvus_errors import check_permitted
from milvus_vault.errors import MilvusPermissionError, MilvusRequestError, MilvusUnavailableError
from milvus_vault.model.rights import READING, Right

NOWHERE = "0_asked_for_by_milvus_vault"

# Message classes are built when pymilvus is imported, so that no type checker knows them.
type _Message = Any


def _of_collection(call: str, **fields: object) -> Callable[[str, str], tuple[str, _Message]]:
    """Return what makes a call's request for a collection of a database."""
    return lambda database, name: (
        call,
        getattr(milvus_pb2, f"{call}Request")(db_name=database, collection_name=name, **fields),
    )


CALLS: Mapping[Right, Callable[[str, str], tuple[str, _Message]]] = {
    Right.DESCRIBE_COLLECTION: _of_collection("DescribeCollection"),
    Right.LIST_ALIASES: _of_collection("ListAliases"),
    Right.SHOW_PARTITIONS: _of_collection("ShowPartitions"),
    Right.INDEX_DETAIL: _of_collection("DescribeIndex"),
    Right.GET_LOAD_STATE: _of_collection("GetLoadState"),
    Right.FLUSH: lambda database, name: (
        "Flush",
        milvus_pb2.FlushRequest(db_name=database, collection_names=[name]),
    ),
    Right.GET_FLUSH_STATE: _of_collection("GetFlushState"),
    Right.QUERY: _of_collection("Query", output_fields=["count(*)"]),
    Right.BACKUP_RBAC: lambda _, __: ("BackupRBAC", milvus_pb2.BackupRBACMetaRequest()),
    # Nothing to restore.
    Right.RESTORE_RBAC: lambda _, __: ("RestoreRBAC", milvus_pb2.RestoreRBACMetaRequest(RBAC_meta={})),
    Right.CREATE_DATABASE: lambda _, __: ("CreateDatabase", milvus_pb2.CreateDatabaseRequest(db_name=NOWHERE)),
    # Without a schema.
    Right.CREATE_COLLECTION: _of_collection("CreateCollection"),
    Right.DROP_COLLECTION: _of_collection("DropCollection"),
    Right.RENAME_COLLECTION: lambda database, name: (
        "RenameCollection",
        milvus_pb2.RenameCollectionRequest(db_name=database, oldName=name, newName=NOWHERE),
    ),
    Right.CREATE_PARTITION: _of_collection("CreatePartition", partition_name=NOWHERE),
    Right.ADD_COLLECTION_FIELD: _of_collection("AddCollectionField"),
    Right.IMPORT: _of_collection("Import", files=[f"{NOWHERE}/"]),
    Right.IMPORT_BINLOG: _of_collection(
        "Import", files=[f"{NOWHERE}/"], options=[common_pb2.KeyValuePair(key="backup", value="true")]
    ),
    Right.CREATE_INDEX: _of_collection("CreateIndex", field_name=NOWHERE),
    Right.LOAD: _of_collection("LoadCollection"),
    Right.CREATE_ALIAS: _of_collection("CreateAlias", alias=NOWHERE),
    Right.DROP_ALIAS: lambda database, _: ("DropAlias", milvus_pb2.DropAliasRequest(db_name=database, alias=NOWHERE)),
}

# Asked to import into a collection that is not there, 2.2 and 2.3 look for it nine times, within 53 s (measured on
# 2.3.5); whom they allow no import they tell at once.
_SECONDS = {Right.IMPORT: 1.0}


def may(call: Callable[..., _Message], right: Right, database: str, name: str = "") -> bool:
    """Return whether the user has a right on collections of any name, or on one that may be read for it.

    `call(name, request, database, seconds=…)` makes a call. Raises `ValueError` for a right that would change the
    collection.
    """
    if name and right not in READING:
        msg = f"{right} cannot be asked for on {name} without using it"
        raise ValueError(msg)
    try:
        seconds = _SECONDS.get(right, CALL_SECONDS)
        place = database if right.is_on_database else ""
        answer = call(*CALLS[right](database, name or NOWHERE), place, seconds=seconds)
        check_permitted(getattr(answer, "status", answer), right)
    except MilvusPermissionError as err:
        # Whom the same call is refused for want of another right was not asked for this one.
        is_other = right is Right.IMPORT_BINLOG and f"Privilege{right}" not in err.message
        return is_other and not may(call, Right.IMPORT, database)
    except MilvusUnavailableError:
        if right not in _SECONDS:
            raise
        # A server that is gone fails the next call as well.
        return True
    except MilvusRequestError:
        # A server that does not know the call asks for no right to it.
        return True
    return True
