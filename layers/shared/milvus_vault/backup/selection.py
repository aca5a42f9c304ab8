"""Which collections a request means."""

from collections.abc import Callable, Sequence

from milvus_vault.errors import CollectionNotFoundError, DatabaseNotFoundError, EmptySelectionError
from milvus_vault.model.collections import CollectionName
from milvus_vault.model.names import TEMPORARY_PREFIX


def select_collections(
    selectors: Sequence[str] | None, databases: Sequence[str], collections_of: Callable[[str], Sequence[str]]
) -> list[CollectionName]:
    """Return the collections that the selectors name, each once, in the order of database and name.

    `None` selects all. Collections of a restore that is under way are left out of `db.*` and of all. Raises
    `DatabaseNotFoundError`, `CollectionNotFoundError` or `EmptySelectionError`.
    """
    chosen: set[tuple[str, str]] = set()
    for selector in selectors if selectors is not None else [f"{database}.*" for database in databases]:
        database, _, name = selector.partition(".")
        if database not in databases:
            msg = f"database '{database}' of '{selector}' does not exist"
            raise DatabaseNotFoundError(msg, hint=f"There are: {', '.join(databases) or 'none'}.")
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
            msg = f"collection '{selector}' does not exist"
            raise CollectionNotFoundError(
                msg,
                hint=f"'{database}' has {len(there)}. Names are case sensitive; aliases do not count.",
            )
    if not chosen:
        what = ", ".join(selectors) if selectors is not None else "everything"
        msg = f"the selection ({what}) matches no collection"
        raise EmptySelectionError(msg, hint="Create a collection first, or correct 'collections'.")
    return [CollectionName(database=database, name=name) for database, name in sorted(chosen)]
