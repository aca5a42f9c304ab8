"""Calls about indexes, and about what is in memory."""

import re

from tests.support.milvus_server import refusals
from tests.support.milvus_server.calls.table import DEFAULT_GROUP, Call, answers, as_dict, pairs
from tests.support.milvus_server.catalog import FLUSHED, L0, Collection, Index, Load
from tests.support.milvus_server.refusals import INVALID, UNEXPECTED, Refusal, invalid
from tests.support.milvus_server.values import VECTORS, Message

_FINISHED, _IN_PROGRESS = 3, 2  # common.IndexState
_NOT_EXIST, _NOT_LOADED, _LOADING, _LOADED = 0, 1, 2, 3  # common.LoadState
_NO_INDEX = 700
_COLLECTION_GONE = 100
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@answers("CreateIndex")
def create_index(call: Call, request: Message, _: Message) -> None:
    """Create an index; an equal one that is there is no error."""
    collection = call.collection(request)
    fields = {field.name for field in collection.schema.fields}
    for struct in collection.schema.struct_array_fields:
        fields |= {f"{struct.name}[{field.name}]" for field in struct.fields}
    field_name = request.field_name
    if field_name not in fields and not any(field.is_dynamic for field in collection.schema.fields):
        raise Refusal(UNEXPECTED, f"cannot create index on non-exist field: {field_name}")
    params = as_dict(request.extra_params)
    if request.index_name and not _NAME.fullmatch(request.index_name):
        rule = "Index name can only contain numbers, letters, and underscores."
        raise invalid(call.core.version, f"Invalid index name: {request.index_name}. {rule}")
    if request.index_name and request.index_name == call.core.faults.refused_index:
        raise invalid(call.core.version, f"invalid index params of {request.index_name}")
    name = request.index_name or field_name + _path(params.get("json_path", ""))
    there = collection.indexes.get(name)
    if there is not None:
        if there.field_name == field_name and there.params == params:
            return
        raise Refusal(UNEXPECTED, "CreateIndex failed: at most one distinct index is allowed per field")
    now = call.core.clock.now()
    collection.indexes[name] = Index(call.core.clock.new_id(), name, field_name, params, now)


def _path(json_path: str) -> str:
    """Return what a path of JSON adds to the name of an index that nobody named: `doc['a'][0]` adds `/a/0`."""
    return "".join(f"/{key}" for key in re.findall(r"\['?([^'\]]*)'?\]", json_path))


@answers("DropIndex")
def drop_index(call: Call, request: Message, _: Message) -> None:
    """Drop an index, not while the collection is loaded."""
    collection = call.collection(request)
    index = collection.indexes.get(request.index_name or request.field_name)
    if index is not None and collection.load is not None and _is_vector(collection, index.field_name):
        raise Refusal(UNEXPECTED, "index cannot be dropped, collection is loaded, please release it first")
    collection.indexes.pop(request.index_name or request.field_name, None)


@answers("AlterIndex")
def alter_index(call: Call, request: Message, _: Message) -> None:
    """Change an index' parameters."""
    index = call.collection(request).indexes.get(request.index_name)
    if index is None:
        raise Refusal(_NO_INDEX, f"index not found[index={request.index_name}]")
    index.params |= as_dict(request.extra_params)
    for key in request.delete_keys:
        index.params.pop(key, None)


@answers("DescribeIndex")
def describe_index(call: Call, request: Message, answer: Message) -> None:
    """Tell of indexes and how far they are built."""
    collection = call.collection(request)
    for index in collection.indexes.values():
        if request.index_name not in {"", index.name} or request.field_name not in {"", index.field_name}:
            continue
        total, done = indexed_rows(call, collection, index)
        answer.index_descriptions.add(
            index_name=index.name,
            indexID=index.index_id,
            field_name=index.field_name,
            params=pairs(index.params),
            total_rows=total,
            indexed_rows=done,
            pending_index_rows=total - done,
            state=_FINISHED if done == total else _IN_PROGRESS,
        )
    if not answer.index_descriptions:
        raise Refusal(_NO_INDEX, f"index not found[collection={collection.name}]")


@answers("GetIndexState")
def get_index_state(call: Call, request: Message, answer: Message) -> None:
    """Tell whether indexes are built."""
    collection = call.collection(request)
    rows = [indexed_rows(call, collection, index) for index in collection.indexes.values()]
    answer.state = _FINISHED if all(total == done for total, done in rows) else _IN_PROGRESS


@answers("GetIndexBuildProgress")
def get_index_build_progress(call: Call, request: Message, answer: Message) -> None:
    """Tell how far indexes are built."""
    collection = call.collection(request)
    rows = [indexed_rows(call, collection, index) for index in collection.indexes.values()] or [(0, 0)]
    answer.total_rows, answer.indexed_rows = min(rows, key=lambda row: row[1])


def indexed_rows(call: Call, collection: Collection, index: Index) -> tuple[int, int]:
    """Return the rows there are, and of how many the index is built."""
    now, takes = call.core.clock.now(), call.core.durations.index
    segments = [segment for segment in collection.of_state(FLUSHED) if segment.level != L0]
    built = [segment for segment in segments if max(segment.flushed_at, index.created_at) + takes <= now]
    return sum(segment.rows for segment in segments), sum(segment.rows for segment in built)


def _is_vector(collection: Collection, name: str) -> bool:
    return any(field.name == name and field.data_type in VECTORS for field in collection.schema.fields)


@answers("LoadCollection")
def load_collection(call: Call, request: Message, _: Message) -> None:
    """Bring a collection into memory."""
    collection = call.collection(request)
    _load(call, collection, request, set(collection.partitions))


@answers("LoadPartitions")
def load_partitions(call: Call, request: Message, _: Message) -> None:
    """Bring partitions into memory, beside those that are."""
    collection = call.collection(request)
    names = {collection.partition(name).name for name in request.partition_names}
    _load(call, collection, request, names | (collection.load.partitions if collection.load else set()))


def _load(call: Call, collection: Collection, request: Message, names: set[str]) -> None:
    indexed = {index.field_name for index in collection.indexes.values()}
    vectors = [field.name for field in collection.schema.fields if field.data_type in VECTORS]
    # From 2.4 on every vector needs its index; before, there is only one.
    if not set(vectors) <= indexed:
        raise Refusal(_NO_INDEX, f"index not found[collection={collection.name}]")
    groups = tuple(request.resource_groups) or (DEFAULT_GROUP,)
    replicas = request.replica_number or 1
    missing = [group for group in groups if group not in call.groups]
    if missing:
        raise Refusal(300, f"resource group not found[rg={missing[0]}]")
    if replicas > sum(call.groups[group].requests.node_num for group in groups):
        reason = f"when load {replicas} replica count: resource group node not enough"
        raise Refusal(301, reason)
    if collection.load and collection.load.replicas != replicas:
        raise Refusal(INVALID, f"can't change the replica number for loaded collection[{collection.name}]")
    if collection.load is None or collection.load.partitions != names:
        ready_at = call.core.clock.now() + call.core.durations.load
        added = frozenset(names - collection.load.partitions) if collection.load else frozenset()
        collection.load = Load(names, replicas, ready_at, groups, added, ready_at + call.core.durations.added_load)


@answers("ReleaseCollection")
def release_collection(call: Call, request: Message, _: Message) -> None:
    """Let a collection out of memory."""
    call.collection(request).load = None


@answers("ReleasePartitions")
def release_partitions(call: Call, request: Message, _: Message) -> None:
    """Let partitions out of memory."""
    collection = call.collection(request)
    if collection.load is not None:
        collection.load.partitions -= set(request.partition_names)
        if not collection.load.partitions:
            collection.load = None


@answers("GetLoadState")
def get_load_state(call: Call, request: Message, answer: Message) -> None:
    """Tell whether a collection, or partitions of it, are in memory."""
    try:
        collection = call.collection(request)
    except Refusal as err:
        if err.code != _COLLECTION_GONE:
            raise
        answer.state = _NOT_EXIST
        return
    answer.state = _state(call, collection, list(request.partition_names))


def _state(call: Call, collection: Collection, names: list[str]) -> int:
    load = collection.load
    if load is None or not set(names) <= load.partitions:
        return _NOT_LOADED
    return _LOADED if load.ready_at <= call.core.clock.now() else _LOADING


@answers("GetLoadingProgress")
def get_loading_progress(call: Call, request: Message, answer: Message) -> None:
    """Tell how much of a collection, or of partitions of it, is in memory."""
    collection = call.collection(request)
    state = _state(call, collection, list(request.partition_names))
    if state == _NOT_LOADED:
        raise refusals.not_loaded(call.core.version, collection.name)
    answer.progress = answer.refresh_progress = 100 if state == _LOADED else 50


@answers("GetReplicas")
def get_replicas(call: Call, request: Message, answer: Message) -> None:
    """Tell of a loaded collection's replicas."""
    collection = call.collection(request)
    if collection.load is None:
        raise Refusal(400, f"replica not found[collection={collection.collection_id}]")
    groups = collection.load.resource_groups
    for number in range(collection.load.replicas):
        answer.replicas.add(
            replicaID=number + 1,
            collectionID=collection.collection_id,
            partition_ids=[collection.partitions[name].partition_id for name in sorted(collection.load.partitions)],
            resource_group_name=groups[number % len(groups)],
            node_ids=[number + 1],
        )
