"""How often, and in which resource groups, restored collections are loaded."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from milvus_vault.archive.contents import ArchivedCollection
from milvus_vault.errors import InvalidRequestError, MilvusPermissionError, ResourceGroupError
from milvus_vault.model.collections import DEFAULT_RESOURCE_GROUP, CollectionName
from milvus_vault.model.requests import ANY_GROUP, RestoreRequest
from milvus_vault.ports import Loads

_NAMED = 5
_FEWER_NODES = "fewer query nodes than there were replicas, and these collections have fewer replicas now"


class Loading(NamedTuple):
    """How a collection is to be loaded."""

    replicas: int
    resource_groups: tuple[str, ...] = ()
    """None: Milvus' default group. One: all replicas there. More: one for each replica."""


def check_replicas(wanted: int | Mapping[str, int] | None, chosen: Sequence[CollectionName]) -> None:
    """Raise `InvalidRequestError` where replicas are wanted of a collection that is not restored."""
    there = {str(name) for name in chosen} | {f"{name.database}.*" for name in chosen}
    for name in wanted if isinstance(wanted, Mapping) else ():
        if name not in there:
            msg = f"`replicas` names {name}, which is not among the collections to restore"
            raise InvalidRequestError(msg, hint=f"To be restored are: {_listed(map(str, chosen))}.")


def check_loading(request: RestoreRequest, chosen: Sequence[ArchivedCollection]) -> None:
    """Raise `InvalidRequestError` where a mapping names collections or groups that the backup does not have."""
    check_replicas(request.replicas, [collection.name for collection in chosen])
    groups = {group for collection in chosen for group in collection.resource_groups}
    for group in request.resource_groups:
        if group not in groups | {ANY_GROUP}:
            msg = f"`resource_groups` names {group}, and no collection of the backup was loaded there"
            known = f"Recorded are: {_listed(sorted(groups))}" if groups else "None are recorded"
            raise InvalidRequestError(msg, hint=f"{known}; '{ANY_GROUP}' stands for any.")


@dataclass(slots=True)
class LoadPlanner:
    """Decides for each collection, by what the backup recorded, the request, and what the target has."""

    request: RestoreRequest
    database: Loads
    _nodes: dict[str, int | None] = field(default_factory=dict)
    _found: dict[str, list[CollectionName]] = field(default_factory=lambda: defaultdict(list))

    def plan(self, collection: ArchivedCollection) -> Loading:
        """Return how a collection is to be loaded. Raises `ResourceGroupError` where that was asked for and cannot be.

        What was only recorded gives way to what is there, with a warning.
        """
        asked = replicas_of(self.request, collection.name)
        replicas = asked or max(1, collection.replicas)
        if not (collection.load_state.is_wanted and self.request.load and self.request.restore_index):
            return Loading(replicas)
        groups = _spread(self._groups(collection) or [DEFAULT_RESOURCE_GROUP], replicas)
        if groups != [DEFAULT_RESOURCE_GROUP]:
            groups = self._fitting(collection.name, groups, is_asked=asked is not None)
        if len(set(groups)) > 1:
            return Loading(len(groups), tuple(groups))
        return Loading(len(groups), () if groups[0] == DEFAULT_RESOURCE_GROUP else (groups[0],))

    def warnings(self) -> Iterator[str]:
        """Yield what could not be as it was."""
        for reason, names in self._found.items():
            yield f"{reason}: {_listed(map(str, names))}."

    def _groups(self, collection: ArchivedCollection) -> list[str]:
        """Return the group of each replica; empty where none is recorded or asked for."""
        mapping = self.request.resource_groups
        recorded = collection.resource_groups or ((DEFAULT_RESOURCE_GROUP,) if ANY_GROUP in mapping else ())
        groups = []
        for group in recorded:
            new = mapping.get(group, mapping.get(ANY_GROUP))
            if new is not None and self._node_count(new) == 0:
                msg = f"{collection.name} cannot be loaded into resource group {new}, which has no query node"
                raise ResourceGroupError(msg, hint="Create the group and give it nodes, or name another one.")
            if new is None and group != DEFAULT_RESOURCE_GROUP and not self._node_count(group):
                reason = f"Resource group {group} is not there or has no query node, and the default group is used"
                self._warn(reason, collection.name)
                new = DEFAULT_RESOURCE_GROUP
            groups.append(new or group)
        return groups

    def _fitting(self, name: CollectionName, groups: Sequence[str], *, is_asked: bool) -> list[str]:
        """Return the groups of as many replicas as there are nodes for: each takes one."""
        fitting: list[str] = []
        for group, count in Counter(groups).items():
            nodes = self._node_count(group)
            if nodes is None or count <= nodes:
                fitting += [group] * count
                continue
            if is_asked:
                msg = f"{name} cannot have {count} replicas in resource group {group}, which has {nodes} query node(s)"
                raise ResourceGroupError(msg, hint="Ask for fewer, or give the group more nodes.")
            self._warn(f"Resource group {group} has {_FEWER_NODES}", name)
            fitting += [group] * nodes
        return fitting or [DEFAULT_RESOURCE_GROUP]

    def _warn(self, reason: str, name: CollectionName) -> None:
        if name not in self._found[reason]:
            self._found[reason].append(name)

    def _node_count(self, group: str) -> int | None:
        """Return how many nodes a group has, 0 where it is not there, None where this user may not ask."""
        if group not in self._nodes:
            try:
                self._nodes[group] = self.database.count_query_nodes(group)
            except MilvusPermissionError:
                self._nodes[group] = None
        return self._nodes[group]


def replicas_of(request: RestoreRequest, name: CollectionName) -> int | None:
    """Return how many replicas are asked for: for a collection, its database, or all."""
    if not isinstance(request.replicas, Mapping):
        return request.replicas
    return request.replicas.get(str(name), request.replicas.get(f"{name.database}.*"))


def _spread(groups: Sequence[str], replicas: int) -> list[str]:
    """Return a group for each of so many replicas; evenly, where they are not as many as before."""
    if len(groups) == replicas:
        return list(groups)
    distinct = sorted(set(groups))
    return [distinct[number % len(distinct)] for number in range(replicas)]


def _listed(names: Iterator[str] | Sequence[str]) -> str:
    texts = list(names)
    more = f" and {len(texts) - _NAMED} more" if len(texts) > _NAMED else ""
    return f"{', '.join(texts[:_NAMED])}{more}"
