"""Aliases of restored collections: created, left where they are, or switched as a restore's last step."""

from collections.abc import Mapping, Sequence

from milvus_vault.archive.contents import ArchivedCollection
from milvus_vault.errors import AliasConflictError, CollectionExistsError
from milvus_vault.model.collections import CollectionName
from milvus_vault.model.readable import with_reason
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
            kept = f"Alias {alias} stays where it is, and is not given to {name}: another collection has that name."
            warnings.append(with_reason(kept, err.message))
        else:
            given.append(alias)
    return given, warnings
