"""Asks Milvus for rights, by calls that change nothing whether they are allowed or not; and users and roles.

Milvus looks at rights before anything else is. A call that is allowed then fails, since nothing can have the name
that it is about: no name of Milvus begins with a digit. Limits of rates are counted by collection.
"""

from collections.abc import Callable, Mapping
from typing import override

from pymilvus.grpc_gen import common_pb2, milvus_pb2

from milvus_vault.adapters.milvus_calls import CALL_SECONDS, Message, MilvusClient
from milvus_vault.adapters.milvus_errors import check, check_permitted
from milvus_vault.adapters.milvus_rbac import ALL_PRIVILEGES, grant_to_proto, rbac_from_proto, rbac_to_proto
from milvus_vault.adapters.milvus_reading import ServerClient
from milvus_vault.errors import (
    MilvusPermissionError,
    MilvusRequestError,
    MilvusUnavailableError,
    VersionUnsupportedError,
)
from milvus_vault.model.rbac import Rbac
from milvus_vault.model.rights import READING, Right
from milvus_vault.ports import Access

NOWHERE = "0_asked_for_by_milvus_vault"


def _of_collection(call: str, **fields: object) -> Callable[[str, str], tuple[str, Message]]:
    """Return what makes a call's request for a collection of a database."""
    return lambda database, name: (
        call,
        getattr(milvus_pb2, f"{call}Request")(db_name=database, collection_name=name, **fields),
    )


CALLS: Mapping[Right, Callable[[str, str], tuple[str, Message]]] = {
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
    Right.SEARCH: _of_collection("Search"),
    Right.BACKUP_RBAC: lambda _, __: ("BackupRBAC", milvus_pb2.BackupRBACMetaRequest()),
    # Nothing to restore.
    Right.RESTORE_RBAC: lambda _, __: ("RestoreRBAC", milvus_pb2.RestoreRBACMetaRequest(RBAC_meta={})),
    Right.CREATE_DATABASE: lambda _, __: ("CreateDatabase", milvus_pb2.CreateDatabaseRequest(db_name=NOWHERE)),
    Right.DROP_DATABASE: lambda _, __: ("DropDatabase", milvus_pb2.DropDatabaseRequest(db_name=NOWHERE)),
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
    Right.RELEASE: _of_collection("ReleaseCollection"),
    Right.CREATE_ALIAS: _of_collection("CreateAlias", alias=NOWHERE),
    Right.DROP_ALIAS: lambda database, _: ("DropAlias", milvus_pb2.DropAliasRequest(db_name=database, alias=NOWHERE)),
}

# Asked to import into a collection that is not there, 2.2 and 2.3 look for it nine times, within 53 s (measured on
# 2.3.5); whom they allow no import they tell at once.
_SECONDS = {Right.IMPORT: 1.0}


class AccessClient(MilvusClient, Access):
    """The calls about rights, and about users and roles."""

    @override
    def may(self, right: Right, database: str, name: str = "") -> bool:
        if name and right not in READING:
            msg = f"{right} cannot be asked for on {name} without using it"
            raise ValueError(msg)
        try:
            seconds = _SECONDS.get(right, CALL_SECONDS)
            place = database if right.is_on_database else ""
            answer = self._call(*CALLS[right](database, name or NOWHERE), place, seconds=seconds)
            check_permitted(getattr(answer, "status", answer), right)
        except MilvusPermissionError as err:
            # Whom the same call is refused for want of another right was not asked for this one.
            is_other = right is Right.IMPORT_BINLOG and f"Privilege{right}" not in err.message
            return is_other and not self.may(Right.IMPORT, database)
        except MilvusUnavailableError:
            if right not in _SECONDS:
                raise
            # A server that is gone fails the next call as well.
            return True
        except MilvusRequestError:
            # A server that does not know the call asks for no right to it.
            return True
        return True

    @override
    def backup_rbac(self) -> Rbac:
        answer = self._call("BackupRBAC", milvus_pb2.BackupRBACMetaRequest(), optional=True)
        if answer is None:
            server = ServerClient(self._call).server_version()
            msg = f"Milvus {server} does not tell its users and roles; 2.4.10 and newer do"
            raise VersionUnsupportedError(
                msg,
                hint="Leave out `include_rbac` (of a backup) or `rbac` (of a restore), or upgrade Milvus.",
            )
        check(answer.status, "BackupRBAC", self._call.uri)
        return rbac_from_proto(answer.RBAC_meta)

    @override
    def restore_rbac(self, rbac: Rbac) -> None:
        # Up to 2.6.14 RestoreRBAC garbles grants of all privileges, or refuses them.
        of_all = tuple(grant for grant in rbac.grants if grant.privilege == ALL_PRIVILEGES)
        others = rbac.model_copy(update={"grants": tuple(grant for grant in rbac.grants if grant not in of_all)})
        if others != Rbac():
            request = milvus_pb2.RestoreRBACMetaRequest(RBAC_meta=rbac_to_proto(others))
            check(self._call("RestoreRBAC", request), "RestoreRBAC", self._call.uri)
        for grant in of_all:
            granting = milvus_pb2.OperatePrivilegeRequest(entity=grant_to_proto(grant))
            check(self._call("OperatePrivilege", granting), "OperatePrivilege", f"role {grant.role}")
