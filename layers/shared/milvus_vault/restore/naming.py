"""Which collections are restored, and under which names."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from milvus_vault.archive.contents import Archive
from milvus_vault.backup.selection import select_collections, select_databases
from milvus_vault.errors import EmptySelectionError, InvalidRequestError, NameConflictError
from milvus_vault.model.collections import CollectionName
from milvus_vault.model.requests import RestoreRequest
from milvus_vault.restore.working_files import TargetDatabase

# Milvus' own rule for collections, aliases and databases of 2.2 to 2.6 (proxy.maxNameLength is 255), checked before
# anything is claimed, copied or imported. A dollar sign it takes in names of roles and users alone.
_LONGEST_NAME = 255
_NAME = re.compile(rf"[A-Za-z_][A-Za-z0-9_]{{0,{_LONGEST_NAME - 1}}}")
_SHOWN = 40


class Targets(NamedTuple):
    """What becomes of what is selected of a backup."""

    collections: dict[CollectionName, CollectionName]
    """In the order of the names in the backup."""
    empty_databases: dict[str, str]
    """Databases of which the backup holds no collection, which are restored by themselves."""


def resolve_targets(
    request: RestoreRequest, archived: Iterable[CollectionName], databases: Iterable[str] = ()
) -> Targets:
    """Return the target of each selected collection of a backup, and of each database that has none in it.

    With skip_create, which makes nothing, there are no such databases. Raises `CollectionNotFoundError`,
    `DatabaseNotFoundError` or `EmptySelectionError` for a selection that the backup does not hold,
    `InvalidRequestError` for a renaming of something that is not restored or a name that Milvus takes for no collection
    or database, and `NameConflictError` for a renaming that changes nothing or brings two collections onto one target.
    """
    selected, empty = _select(request, archived, databases)
    _check_renames(request, selected, empty)
    targets = {source: _target(request, source) for source in selected}
    for source, target in targets.items():
        _check_name("collection", target.name, str(source))
        _check_name("database", target.database, str(source))
    moved = {database: _target_database(request, database) for database in empty}
    for database, name in moved.items():
        _check_name("database", name, f"{database}.*")
    _check_distinct(targets)
    return Targets(targets, moved)


def _select(
    request: RestoreRequest, archived: Iterable[CollectionName], databases: Iterable[str]
) -> tuple[list[CollectionName], list[str]]:
    """Return what is selected: collections, and databases of which the backup holds none."""
    names: dict[str, list[str]] = {database: [] for database in databases}
    for collection in archived:
        names.setdefault(collection.database, []).append(collection.name)
    selected = select_collections(
        request.collections, sorted(names), lambda database: names[database], where=f"backup '{request.backup_name}'"
    )
    empty = [
        database
        for database in select_databases(request.collections, names)
        if not names[database] and not request.skip_create
    ]
    if not selected and not empty:
        what = ", ".join(request.collections) if request.collections is not None else "everything"
        msg = f"the selection ({what}) matches no collection of the backup, and no database"
        raise EmptySelectionError(msg, hint="Correct `collections`, or restore another backup.")
    return selected, empty


def _check_distinct(targets: Mapping[CollectionName, CollectionName]) -> None:
    by_target: dict[CollectionName, list[CollectionName]] = defaultdict(list)
    for source, target in targets.items():
        by_target[target].append(source)
    for target, sources in by_target.items():
        if len(sources) > 1:
            msg = f"{' and '.join(map(str, sources))} would both be restored as {target}"
            raise NameConflictError(msg, hint="Give one of them another name in `rename`, or restore only one.")


def _target(request: RestoreRequest, source: CollectionName) -> CollectionName:
    """Return the new name: the collection's own rule, or its database's, or the suffix."""
    if new := request.rename.get(str(source)):
        database, _, name = new.partition(".")
        return CollectionName(database=database, name=name)
    return CollectionName(database=_target_database(request, source.database), name=source.name + request.suffix)


def _target_database(request: RestoreRequest, source: str) -> str:
    return request.rename.get(f"{source}.*", source).removesuffix(".*")


def _check_name(what: str, name: str, source: str) -> None:
    if not _NAME.fullmatch(name):
        shown = ascii(name if len(name) <= _LONGEST_NAME else f"{name[:_SHOWN]}…")
        msg = f"{source} cannot be restored: Milvus takes no {what} of the name {shown}"
        raise InvalidRequestError(
            msg,
            hint=(
                "A name begins with a letter or an underscore, goes on with letters, digits and underscores, and has"
                f" at most {_LONGEST_NAME} characters, with `suffix`. Correct `suffix` or `rename`."
            ),
        )


def _check_renames(request: RestoreRequest, selected: list[CollectionName], empty: list[str]) -> None:
    databases = {*(name.database for name in selected), *empty}
    there = {str(name) for name in selected} | {f"{database}.*" for database in databases}
    for old, new in request.rename.items():
        if old == new:
            msg = f"`rename` gives {old} its own name"
            raise NameConflictError(msg, hint="Leave it out: without a rule a collection keeps its name.")
        if old not in there:
            msg = f"`rename` names {old}, which is not among the collections to restore"
            named = [*sorted(map(str, selected)), *(f"{database}.*" for database in empty)]
            raise InvalidRequestError(msg, hint=f"To be restored are: {', '.join(named[:10])}.")


def target_databases(archive: Archive, targets: Targets) -> Iterator[TargetDatabase]:
    """Yield the databases of the targets; one gets the properties that the first source's database had."""
    filled = {target.database: source.database for source, target in reversed(targets.collections.items())}
    empty = {target: source for source, target in targets.empty_databases.items() if target not in filled}
    described = {database.name: database.properties for database in archive.database_descriptions}
    for name, source in sorted((filled | empty).items()):
        yield TargetDatabase(name=name, properties=described.get(source, ()), is_empty=name in empty)
