"""Calls about the server itself, its databases and its resource groups."""

from pymilvus.grpc_gen import milvus_pb2

from tests.support.milvus_server import refusals
from tests.support.milvus_server.calls.table import Call, answers, as_dict, pairs
from tests.support.milvus_server.catalog import Database
from tests.support.milvus_server.compaction import drop_collection
from tests.support.milvus_server.refusals import DISK_QUOTA, UNEXPECTED, Refusal, invalid
from tests.support.milvus_server.values import Message

_HEALTHY = 1
_COORDINATORS = ("root", "query", "data")
_OLD_NODE = (
    "stack trace: /go/src/github.com/milvus-io/milvus/pkg/tracer/stack_trace.go:51 github.com/milvus-io/milvus/pkg/"
    "tracer.StackTrace\n/go/src/github.com/milvus-io/milvus/internal/util/grpcclient/client.go:575 github.com/"
    "milvus-io/milvus/internal/util/grpcclient.(*ClientBase).Call: node not match[expectedNodeID=1][actualNodeID=7]"
)
_DATABASE_LIMIT = 801
_DENY_TO_WRITE = milvus_pb2.QuotaState.Value("DenyToWrite")


@answers("GetVersion")
def get_version(call: Call, _: Message, answer: Message) -> None:
    """Tell the version."""
    answer.version = call.core.version.answer


@answers("Connect")
def connect(call: Call, _: Message, answer: Message) -> None:
    """Tell what a client asks first."""
    answer.server_info.build_tags = call.core.version.answer
    answer.server_info.deploy_mode = "STANDALONE"
    answer.identifier = call.core.clock.new_id()


@answers("CheckHealth")
def check_health(call: Call, _: Message, answer: Message) -> None:
    """Say that all is well, and which limits are reached."""
    answer.isHealthy = not call.core.faults.names_old_nodes
    if not answer.isHealthy:
        answer.reasons.extend([_OLD_NODE] * len(_COORDINATORS))
        return
    if call.core.faults.over_disk_quota:
        answer.quota_states.append(_DENY_TO_WRITE)
        answer.reasons.append(DISK_QUOTA)


@answers("GetComponentStates")
def get_component_states(_: Call, __: Message, answer: Message) -> None:
    """Say that the proxy is well."""
    answer.state.stateCode = _HEALTHY


@answers("AllocTimestamp")
def alloc_timestamp(call: Call, _: Message, answer: Message) -> None:
    """Return the time."""
    answer.timestamp = call.core.clock.timestamp() - (call.core.faults.time_runs_back << 18)


@answers("ListDatabases")
def list_databases(call: Call, _: Message, answer: Message) -> None:
    """List the databases."""
    for database in call.core.catalog.databases.values():
        answer.db_names.append(database.name)
        answer.created_timestamp.append(database.created)


@answers("CreateDatabase")
def create_database(call: Call, request: Message, _: Message) -> None:
    """Create a database."""
    databases = call.core.catalog.databases
    refusals.check_name(call.core.version, "database name", request.db_name)
    if request.db_name in databases:
        raise invalid(call.core.version, f"database already exist: {request.db_name}")
    if len(databases) >= call.core.settings.most_databases:
        reason = f"exceeded the limit number of database[limit={call.core.settings.most_databases}]"
        raise Refusal(_DATABASE_LIMIT, reason)
    properties = as_dict(request.properties) if call.core.version.at_least(2, 4) else {}
    created = Database(call.core.clock.new_id(), request.db_name, properties, call.core.clock.timestamp())
    databases[request.db_name] = created


@answers("DescribeDatabase")
def describe_database(call: Call, request: Message, answer: Message) -> None:
    """Tell a database's properties."""
    database = call.core.catalog.database(call.database(request))
    answer.db_name, answer.dbID, answer.created_timestamp = database.name, database.database_id, database.created
    answer.properties.extend(pairs(database.properties))


@answers("AlterDatabase")
def alter_database(call: Call, request: Message, _: Message) -> None:
    """Change a database's properties."""
    properties = call.core.catalog.database(request.db_name).properties
    properties |= as_dict(request.properties)
    for key in request.delete_keys:
        properties.pop(key, None)


@answers("DropDatabase")
def drop_database(call: Call, request: Message, _: Message) -> None:
    """Drop an empty database."""
    catalog = call.core.catalog
    if request.db_name not in catalog.databases:
        return
    if catalog.databases[request.db_name].collections:
        raise Refusal(UNEXPECTED, "can not drop database: not empty")
    for collection in catalog.databases.pop(request.db_name).collections.values():
        drop_collection(call.core, collection)


@answers("ListResourceGroups")
def list_resource_groups(call: Call, _: Message, answer: Message) -> None:
    """List the resource groups."""
    answer.resource_groups.extend(call.groups)


@answers("CreateResourceGroup")
def create_resource_group(call: Call, request: Message, _: Message) -> None:
    """Create a resource group."""
    call.groups[request.resource_group] = request.config


@answers("UpdateResourceGroups")
def update_resource_groups(call: Call, request: Message, _: Message) -> None:
    """Change resource groups."""
    for name, config in request.resource_groups.items():
        _group(call, name)
        call.groups[name] = config


@answers("DropResourceGroup")
def drop_resource_group(call: Call, request: Message, _: Message) -> None:
    """Drop a resource group."""
    call.groups.pop(request.resource_group, None)


@answers("DescribeResourceGroup")
def describe_resource_group(call: Call, request: Message, answer: Message) -> None:
    """Tell a resource group's limits and how many replicas are in it."""
    config = _group(call, request.resource_group)
    group = answer.resource_group
    group.name, group.capacity = request.resource_group, config.requests.node_num
    group.num_available_node = config.requests.node_num
    group.config.CopyFrom(config)
    for collection in call.core.catalog.collections():
        if collection.load and request.resource_group in collection.load.resource_groups:
            group.num_loaded_replica[collection.name] = collection.load.replicas


def _group(call: Call, name: str) -> Message:
    if name not in call.groups:
        raise Refusal(300, f"resource group not found[rg={name}]")
    return call.groups[name]
