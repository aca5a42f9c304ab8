"""Which collections and databases a request means."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from milvus_vault.errors import CollectionNotFoundError, DatabaseNotFoundError, did_you_mean
from milvus_vault.model.collections import CollectionName
from milvus_vault.model.names import TEMPORARY_PREFIX


def select_collections(
    selectors: Sequence[str] | None,
    databases: Sequence[str],
    collections_of: Callable[[str], Collection[str]],
    *,
    where: str = "Milvus",
) -> list[CollectionName]:
    """Return the collections that the selectors name, each once, in the order of database and name.

    `None` selects all. Collections of a restore that is under way are left out of `db.*` and of all. There are none
    where all that is selected is databases without any. Raises `DatabaseNotFoundError` or `CollectionNotFoundError`,
    which say `where` it was looked for.
    """
    chosen: set[tuple[str, str]] = set()
    for selector in selectors if selectors is not None else [f"{database}.*" for database in databases]:
        database, _, name = selector.partition(".")
        if database not in databases:
            msg = f"database '{database}' of '{selector}' does not exist in {where}"
            there_are = f"There are: {', '.join(databases) or 'none'}."
            raise DatabaseNotFoundError(msg, hint=did_you_mean(database, databases) or there_are)
        try:
            there = collections_of(database)
        except DatabaseNotFoundError:
            if selectors is None:
                continue  # dropped since all were listed
            raise
        if name == "*":
            chosen.update((database, found) for found in there if not found.startswith(TEMPORARY_PREFIX))
        elif name in there:
            chosen.add((database, name))
        else:
            msg = f"collection '{selector}' does not exist in {where}"
            raise CollectionNotFoundError(msg, hint=_near(database, name, there))
    return [CollectionName(database=database, name=name) for database, name in sorted(chosen)]


def ids_of(names: Iterable[CollectionName], collections_of: Callable[[str], Mapping[str, int]]) -> list[int]:
    """Return the ID of the collection that has each of some names now; 0 where none has, though it may be an alias."""
    there: dict[str, Mapping[str, int]] = {}
    for name in (wanted := list(names)):
        if name.database not in there:
            try:
                there[name.database] = collections_of(name.database)
            except DatabaseNotFoundError:
                there[name.database] = {}
    return [there[name.database].get(name.name, 0) for name in wanted]


def _near(database: str, name: str, there: Collection[str]) -> str:
    """Return which collections of a database may have been meant, and else why a name may not be among them."""
    shown = [one for one in there if not one.startswith(TEMPORARY_PREFIX)]
    counted = f"'{database}' has {len(there)}. Names are case sensitive; aliases do not count."
    return did_you_mean(name, shown, within=f"{database}.") or counted


def select_databases(selectors: Sequence[str] | None, databases: Iterable[str]) -> list[str]:
    """Return the databases that the selectors name as a whole, sorted; they may have no collection."""
    return sorted(database for database in databases if selectors is None or f"{database}.*" in selectors)
