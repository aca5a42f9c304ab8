"""Calls about collections, partitions and aliases."""

from tests.support.milvus_server import refusals, schemas
from tests.support.milvus_server.calls.table import Call, answers, as_dict, pairs
from tests.support.milvus_server.catalog import DEFAULT_PARTITION, FLUSHED, Collection, Partition
from tests.support.milvus_server.compaction import drop_collection as drop_files
from tests.support.milvus_server.compaction import drop_partition as drop_files_of_partition
from tests.support.milvus_server.refusals import INVALID, UNEXPECTED, Refusal, invalid
from tests.support.milvus_server.values import Message

_DEFAULT_KEY_PARTITIONS = {False: 64, True: 16}  # up to 2.3, and from 2.4 on
_IN_MEMORY = 1  # milvus.ShowType


@answers("CreateCollection")
def create_collection(call: Call, request: Message, _: Message) -> None:
    """Create a collection."""
    version = call.core.version
    database = call.core.catalog.database(call.database(request))
    name = request.collection_name
    refusals.check_name(version, "collection name", name)
    if request.shards_num > call.core.settings.most_shards:
        reason = f"maximum shards's number should be limited to {call.core.settings.most_shards}"
        raise Refusal(UNEXPECTED, reason)
    if name in database.aliases:
        raise refusals.alias_taken(version, database.name, name, database.aliases[name], name)
    schema = schemas.accept(version, request.schema)
    shards = request.shards_num or 1
    properties = as_dict(request.properties)
    if call.core.faults.loses_services:
        schemas.ask_services(schema, properties)
    if name in database.collections:
        schema.name = name
        there = database.collections[name]
        # One with a dynamic field never equals itself.
        if schema.fields == there.schema.fields and shards == there.shards and not schema.enable_dynamic_field:
            return
        raise invalid(version, f"create duplicate collection with different parameters, collection: {name}")
    schema.name = name
    created = Collection(
        collection_id=call.core.clock.new_id(),
        database=database.name,
        name=name,
        schema=schema,
        shards=shards,
        consistency=request.consistency_level,
        properties=properties | dict(version.extra_properties),
        created=call.core.clock.timestamp(),
    )
    if created.partition_key is None:
        names = [DEFAULT_PARTITION]
    else:
        number = request.num_partitions or _DEFAULT_KEY_PARTITIONS[version.at_least(2, 4)]
        names = [f"{DEFAULT_PARTITION}_{index}" for index in range(number)]
    for partition in names:
        _add_partition(call, created, partition)
    database.collections[name] = created


def _add_partition(call: Call, collection: Collection, name: str) -> None:
    collection.partitions[name] = Partition(call.core.clock.new_id(), name, call.core.clock.timestamp())


@answers("DropCollection")
def drop_collection(call: Call, request: Message, _: Message) -> None:
    """Drop a collection; one that is not there is no error."""
    version = call.core.version
    database = call.core.catalog.databases.get(call.database(request))
    if database is None or request.collection_name not in database.collections:
        return
    collection = database.collections[request.collection_name]
    aliases = call.core.catalog.aliases_of(collection)
    if aliases and version.keeps_aliased:
        reason = (
            f"unable to drop the collection [{collection.name}] because it has associated aliases "
            f"[{' '.join(aliases)}], please remove all aliases before dropping the collection"
        )
        raise invalid(version, reason)
    del database.collections[collection.name]
    drop_files(call.core, collection)


@answers("HasCollection")
def has_collection(call: Call, request: Message, answer: Message) -> None:
    """Tell whether there is such a collection."""
    try:
        call.collection(request)
    except Refusal:
        return
    answer.value = True


@answers("ShowCollections")
def show_collections(call: Call, request: Message, answer: Message) -> None:
    """List the collections of a database."""
    for collection in call.core.catalog.database(call.database(request)).collections.values():
        if request.type == _IN_MEMORY and collection.load is None:
            continue
        answer.collection_names.append(collection.name)
        answer.collection_ids.append(collection.collection_id)
        answer.created_timestamps.append(collection.created)
        answer.shards_num.append(collection.shards)


@answers("DescribeCollection")
def describe_collection(call: Call, request: Message, answer: Message) -> None:
    """Tell all of a collection."""
    version = call.core.version
    collection = call.collection(request, described=True)
    answer.schema.CopyFrom(schemas.shown(collection.schema))
    if version.at_least(2, 5):
        answer.schema.properties.extend(pairs(collection.properties))
    if version.at_least(2, 6):
        answer.schema.dbName = collection.database
    answer.collectionID = collection.collection_id
    # By an alias, 2.4 and 2.5 answer with that.
    by_alias = version.at_least(2, 4) and not version.at_least(2, 6) and request.collection_name
    answer.collection_name = request.collection_name if by_alias else collection.name
    answer.db_name = collection.database
    answer.shards_num, answer.num_partitions = collection.shards, len(collection.partitions)
    answer.consistency_level = collection.consistency
    answer.created_timestamp = answer.update_timestamp = collection.created
    answer.properties.extend(pairs(collection.properties))
    answer.virtual_channel_names.extend(collection.channels)
    answer.physical_channel_names.extend(channel.rpartition("_")[0] for channel in collection.channels)
    if not version.hides_new_aliases:
        answer.aliases.extend(call.core.catalog.aliases_of(collection))


@answers("RenameCollection")
def rename_collection(call: Call, request: Message, _: Message) -> None:
    """Give a collection another name, and perhaps another database."""
    refusals.check_name(call.core.version, "collection name", request.newName)
    old = call.core.catalog.database(call.database(request))
    new = call.core.catalog.database(request.newDBName or old.name)
    collection = call.core.catalog.collection(old.name, request.oldName)
    if request.newName in new.collections:
        reason = f"duplicated new collection name {new.name}:{request.newName} with other collection name or alias"
        raise invalid(call.core.version, reason)
    if request.newName in new.aliases:
        raise Refusal(UNEXPECTED, f"cannot rename collection to an existing alias: {request.newName}")
    for alias in call.core.catalog.aliases_of(collection):
        old.aliases[alias] = request.newName
    new.collections[request.newName] = old.collections.pop(collection.name)
    collection.name = collection.schema.name = request.newName
    collection.database = new.name


@answers("AlterCollection")
def alter_collection(call: Call, request: Message, _: Message) -> None:
    """Change a collection's properties."""
    properties = call.collection(request).properties
    properties |= as_dict(request.properties)
    for key in request.delete_keys:
        properties.pop(key, None)


@answers("AlterCollectionField")
def alter_collection_field(call: Call, request: Message, _: Message) -> None:
    """Change a field's parameters."""
    collection = call.collection(request)
    field = next((item for item in collection.schema.fields if item.name == request.field_name), None)
    if field is None:
        raise Refusal(INVALID, f"field not found[field={request.field_name}]: invalid parameter")
    changed = as_dict(field.type_params) | as_dict(request.properties)
    field.ClearField("type_params")
    field.type_params.extend(pairs({k: v for k, v in changed.items() if k not in request.delete_keys}))


@answers("AddCollectionField")
def add_collection_field(call: Call, request: Message, _: Message) -> None:
    """Add a field; rows that are there read its default."""
    schemas.add_field(call.collection(request).schema, request.schema)


@answers("GetCollectionStatistics")
def get_collection_statistics(call: Call, request: Message, answer: Message) -> None:
    """Count the rows of flushed segments, deleted ones among them."""
    rows = sum(segment.rows for segment in call.collection(request).of_state(FLUSHED))
    answer.stats.add(key="row_count", value=str(rows))


@answers("CreatePartition")
def create_partition(call: Call, request: Message, _: Message) -> None:
    """Create a partition."""
    collection = call.collection(request)
    if collection.partition_key is not None:
        raise invalid(call.core.version, "disable create partition if partition key mode is used")
    if request.partition_name in collection.partitions:
        if call.core.version.at_least(2, 4):
            return
        raise Refusal(UNEXPECTED, f"partition name = {request.partition_name} already exists")
    _add_partition(call, collection, request.partition_name)


@answers("DropPartition")
def drop_partition(call: Call, request: Message, _: Message) -> None:
    """Drop a partition with its rows."""
    collection = call.collection(request)
    partition = collection.partitions.pop(request.partition_name, None)
    if partition is not None:
        drop_files_of_partition(call.core, collection, partition.partition_id)


@answers("HasPartition")
def has_partition(call: Call, request: Message, answer: Message) -> None:
    """Tell whether there is such a partition."""
    answer.value = request.partition_name in call.collection(request).partitions


@answers("ShowPartitions")
def show_partitions(call: Call, request: Message, answer: Message) -> None:
    """List the partitions."""
    collection = call.collection(request)
    loaded = collection.load.partitions if collection.load else set()
    if request.type == _IN_MEMORY and not collection.load:
        raise refusals.not_loaded(call.core.version, collection.name)
    for partition in collection.partitions.values():
        if request.type == _IN_MEMORY and partition.name not in loaded:
            continue
        answer.partition_names.append(partition.name)
        answer.partitionIDs.append(partition.partition_id)
        answer.created_timestamps.append(partition.created)


@answers("CreateAlias")
def create_alias(call: Call, request: Message, _: Message) -> None:
    """Give a collection another name; again is no error."""
    refusals.check_name(call.core.version, "collection alias", request.alias)
    collection = call.collection(request)
    database = call.core.catalog.database(collection.database)
    if request.alias in database.collections:
        # 2.2 has words alone, by which the adapter knows it.
        words = f"collection name [{request.alias}] conflicts with an existing collection"
        older = f"cannot create alias, collection already exists with same name: {request.alias}"
        raise Refusal(1601, words if call.core.version.at_least(2, 3) else older)
    if database.aliases.setdefault(request.alias, collection.name) != collection.name:
        raise refusals.alias_taken(
            call.core.version, database.name, request.alias, database.aliases[request.alias], collection.name
        )


@answers("AlterAlias")
def alter_alias(call: Call, request: Message, _: Message) -> None:
    """Give an alias to another collection."""
    collection = call.collection(request)
    aliases = call.core.catalog.database(collection.database).aliases
    if request.alias not in aliases:
        raise Refusal(1600, f"alias not found[database={collection.database}][alias={request.alias}]")
    aliases[request.alias] = collection.name


@answers("DropAlias")
def drop_alias(call: Call, request: Message, _: Message) -> None:
    """Take an alias away; one that is not there is no error."""
    call.core.catalog.database(call.database(request)).aliases.pop(request.alias, None)


@answers("ListAliases")
def list_aliases(call: Call, request: Message, answer: Message) -> None:
    """List the aliases of a collection, or of all in a database."""
    answer.db_name, answer.collection_name = call.database(request), request.collection_name
    if request.collection_name:
        answer.aliases.extend(call.core.catalog.aliases_of(call.collection(request)))
        return
    for collection in call.core.catalog.database(answer.db_name).collections.values():
        answer.aliases.extend(call.core.catalog.aliases_of(collection))


@answers("DescribeAlias")
def describe_alias(call: Call, request: Message, answer: Message) -> None:
    """Tell which collection has an alias."""
    database = call.core.catalog.database(call.database(request))
    if database.aliases.get(request.alias) not in database.collections:
        raise Refusal(1600, f"alias not found[database={database.name}][alias={request.alias}]")
    answer.db_name, answer.alias = database.name, request.alias
    answer.collection = database.aliases[request.alias]
