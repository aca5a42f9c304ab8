"""What a role can be allowed to do in Milvus."""

from enum import StrEnum


class Right(StrEnum):
    """A privilege, under the name by which it is granted."""

    DESCRIBE_COLLECTION = "DescribeCollection"
    LIST_ALIASES = "ListAliases"
    SHOW_PARTITIONS = "ShowPartitions"
    INDEX_DETAIL = "IndexDetail"
    GET_LOAD_STATE = "GetLoadState"
    FLUSH = "Flush"
    GET_FLUSH_STATE = "GetFlushState"
    QUERY = "Query"
    SEARCH = "Search"
    BACKUP_RBAC = "BackupRBAC"
    RESTORE_RBAC = "RestoreRBAC"
    CREATE_DATABASE = "CreateDatabase"
    DROP_DATABASE = "DropDatabase"
    CREATE_COLLECTION = "CreateCollection"
    DROP_COLLECTION = "DropCollection"
    RENAME_COLLECTION = "RenameCollection"
    CREATE_PARTITION = "CreatePartition"
    ADD_COLLECTION_FIELD = "AddCollectionField"
    IMPORT = "Import"
    IMPORT_BINLOG = "ImportBinlog"
    """For imports of binlogs and of deletes, beside the other, on servers that know it (milvus-io/milvus#51894)."""
    CREATE_INDEX = "CreateIndex"
    LOAD = "Load"
    RELEASE = "Release"
    CREATE_ALIAS = "CreateAlias"
    """Also for switching one."""
    DROP_ALIAS = "DropAlias"

    @property
    def is_on_collections(self) -> bool:
        """Return whether it is granted on collections, all or by name; else on everything at once."""
        return self in _ON_COLLECTIONS

    @property
    def is_on_database(self) -> bool:
        """Return whether it is looked at for the database that a call is about; else for the default one."""
        return self not in {Right.BACKUP_RBAC, Right.RESTORE_RBAC, Right.CREATE_DATABASE, Right.DROP_DATABASE}

    @property
    def is_on_server(self) -> bool:
        """Return whether from 2.5 on it is granted on all databases or none."""
        return self in {Right.RENAME_COLLECTION, Right.IMPORT_BINLOG} or not self.is_on_database


READING = frozenset({Right.SHOW_PARTITIONS, Right.INDEX_DETAIL, Right.GET_LOAD_STATE, Right.GET_FLUSH_STATE})
"""Those that can be asked for on a collection that is there: nothing is changed by using them."""

_ON_COLLECTIONS = {
    Right.SHOW_PARTITIONS,
    Right.INDEX_DETAIL,
    Right.GET_LOAD_STATE,
    Right.FLUSH,
    Right.GET_FLUSH_STATE,
    Right.QUERY,
    Right.SEARCH,
    Right.CREATE_PARTITION,
    Right.ADD_COLLECTION_FIELD,
    Right.IMPORT,
    Right.CREATE_INDEX,
    Right.LOAD,
    Right.RELEASE,
}
