"""Aliases of restored collections: created, left where they are, or switched as a restore's last step."""

from collections.abc import Iterable, Mapping, Sequence, Set

from milvus_vault.archive.contents import ArchivedCollection
from milvus_vault.errors import AliasConflictError, CollectionExistsError
from milvus_vault.model.collections import CollectionName
from milvus_vault.model.readable import with_reason
from milvus_vault.model.requests import RestoreRequest
from milvus_vault.parallel import SMALL_REQUESTS_AT_A_TIME, each
from milvus_vault.ports import Maker, Schemas

_HINT = "Leave out `switch_aliases`, restore less at a time, or free the name first."


def check_switches(chosen: Sequence[tuple[ArchivedCollection, CollectionName]], database: Schemas) -> None:
    """Raise `AliasConflictError` for an alias that could not be switched to the collection that is to have it."""
    there = set(database.list_databases())
    concerned = {name.database for pair in chosen for name in (pair[0].name, pair[1])} & there
    aliases = {name: database.list_aliases(name) for name in concerned}
    collections = {name: {*database.list_collections(name)} for name in concerned}
    for _, target in chosen:
        collections.setdefault(target.database, set()).add(target.name)
    owners: dict[tuple[str, str], CollectionName] = {}
    for collection, target in chosen:
        for alias in collection.aliases:
            other = owners.setdefault((target.database, alias), target)
            if other != target:
                msg = f"alias {alias} of database {target.database} cannot be both {other} and {target}"
                raise AliasConflictError(msg, hint=_HINT)
            if alias in collections[target.database]:
                msg = f"alias {alias} cannot be switched to {target}: it is a collection's name in {target.database}"
                raise AliasConflictError(msg, hint=_HINT)
            if _is_elsewhere(alias, collection.name.database, target.database, aliases):
                msg = f"alias {alias} is one of database {collection.name.database}, and cannot be switched to {target}"
                raise AliasConflictError(msg, hint=f"Milvus moves no alias to another database. {_HINT}")


def _is_elsewhere(alias: str, source: str, target: str, aliases: Mapping[str, frozenset[str]]) -> bool:
    """Return whether readers use an alias in the database that the backup was made from, and not in the target's."""
    return source != target and alias in aliases.get(source, ()) and alias not in aliases.get(target, ())


def give_aliases(
    database: Maker, name: CollectionName, aliases: Sequence[str], *, switch: bool
) -> tuple[list[str], list[str]]:
    """Give a collection its aliases; return those that it has then, and warnings about the others.

    One in use elsewhere stays where it is, since somebody reads through it, unless all are to be switched.
    """
    given, warnings = [], []
    for alias in aliases:
        try:
            database.create_alias(name.database, name.name, alias, take=switch)
        except CollectionExistsError as err:
            warnings.append(with_reason(_stays(alias, name), err.message))
        else:
            given.append(alias)
    return given, warnings


def dropped_warnings(aliases: Iterable[str]) -> list[str]:
    """Return a warning for each alias that goes with the collection that is replaced."""
    return [_dropped(alias, "was") for alias in aliases]


def foresee_aliases(
    request: RestoreRequest,
    chosen: Sequence[tuple[ArchivedCollection, CollectionName]],
    replaced: Set[int],
    left_out: Set[int],
    database: Schemas,
) -> list[tuple[list[str], list[str]]]:
    """Return for each collection the aliases that it will get, and the warnings that its restore will give of others.

    `replaced` are the indexes of targets that replace a collection, and `left_out` those of collections that are not
    restored. Milvus is only asked, and not even that where no alias is concerned. Of collections that are to get the
    same alias the first one gets it, as nobody knows which is whole first; of those that switch it that one which has
    it in the backup, whichever is whole first.
    """
    if not replaced and not (request.restore_aliases and any(collection.aliases for collection, _ in chosen)):
        return [([], []) for _ in chosen]
    there = set(database.list_databases())
    places = {target.database for _, target in chosen}
    names = {place: {*database.list_collections(place)} for place in places & there}
    taken = {place: {*names[place], *database.list_aliases(place)} if place in there else set() for place in places}
    switched: dict[tuple[str, str], int] = {}
    for index, (collection, target) in enumerate(chosen):
        if index not in left_out:
            taken[target.database].add(target.name)
            switched |= {(target.database, alias): index for alias in collection.aliases if request.switch_aliases}

    def own(index: int) -> frozenset[str]:
        """Return the aliases of the collection that has the target's name now."""
        target = chosen[index][1]
        is_there = target.name in names.get(target.database, ())
        return database.list_aliases(target.database, target.name) if is_there else frozenset()

    def foresee(index: int, owned: frozenset[str]) -> tuple[list[str], list[str]]:
        collection, target = chosen[index]
        if index in left_out:
            return [], []
        of_replaced = owned if index in replaced else frozenset[str]()
        if not request.restore_aliases:
            return [], [_dropped(alias, "will be") for alias in sorted(of_replaced)]
        handed_on = {alias for alias in of_replaced if switched.get((target.database, alias), index) == index}
        wanted, held = sorted({*collection.aliases, *handed_on}), taken[target.database]
        given = wanted if request.switch_aliases else [one for one in wanted if one in owned or one not in held]
        held.update(given)
        return given, [_stays(one, target) for one in wanted if one not in given]

    return [foresee(*one) for one in enumerate(each(own, range(len(chosen)), threads=SMALL_REQUESTS_AT_A_TIME))]


def _dropped(alias: str, verb: str) -> str:
    return f"Alias {alias} of the replaced collection {verb} dropped with it."


def _stays(alias: str, name: CollectionName) -> str:
    return f"Alias {alias} stays where it is, and is not given to {name}: another collection has that name."
