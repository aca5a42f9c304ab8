"""Whether the Milvus user may do all that a run will need: asked before anything is done.

Milvus answers most questions to anybody, so that a missing right would show in the middle of a run.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from milvus_vault.errors import MilvusPermissionError
from milvus_vault.model.collections import DEFAULT_DATABASE, CollectionName
from milvus_vault.model.rights import READING, Right
from milvus_vault.model.versions import ServerVersion, grants_without_type
from milvus_vault.ports import Access

_ANY = "*"

type Places = Mapping[str, Sequence[str]]
"""Collections by database, for rights that may be granted by name; none: such rights are needed on any."""


def by_database(names: Iterable[CollectionName]) -> dict[str, list[str]]:
    """Return collections by database."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(name.database, []).append(name.name)
    return found


type Missing = Mapping[str, Sequence[Right]]
"""Rights by database."""


def check_rights(database: Access, server: ServerVersion, rights: Sequence[Right], places: Places) -> None:
    """Raise `MilvusPermissionError`, which names all rights that are missing and how to grant them."""
    if missing := missing_rights(database, rights, places):
        msg = f"this Milvus user lacks rights that the run needs: {in_words(missing)}"
        raise MilvusPermissionError(msg, hint=grant_hint(server, missing))


def missing_rights(database: Access, rights: Sequence[Right], places: Places) -> dict[str, list[Right]]:
    """Return those of the rights that the user lacks, by database."""
    on_databases = [right for right in rights if right.is_on_database]
    found = {place: _missing(database, on_databases, place, names) for place, names in places.items()}
    elsewhere = _missing(database, [right for right in rights if not right.is_on_database], DEFAULT_DATABASE, ())
    if elsewhere:
        found[DEFAULT_DATABASE] = [*found.get(DEFAULT_DATABASE, []), *elsewhere]
    return {place: lacking for place, lacking in found.items() if lacking}


def _missing(database: Access, rights: Sequence[Right], place: str, names: Sequence[str]) -> list[Right]:
    """Return those of the rights that the user has neither on all collections nor on each of those named.

    Rights that change something cannot be asked for by name; where that to ask for the state of a flush was granted by
    name, so was that to flush.
    """
    lacking = [right for right in rights if not database.may(right, place)]
    by_name = {
        right
        for right in lacking
        if names and right in READING and all(database.may(right, place, name) for name in names)
    }
    if Right.GET_FLUSH_STATE in by_name:
        by_name.add(Right.FLUSH)
    return [right for right in lacking if right not in by_name]


def in_words(missing: Missing) -> str:
    """Return what is missing in which database."""
    return "; ".join(f"{', '.join(lacking)} in database {place}" for place, lacking in missing.items())


def grant_hint(server: ServerVersion, missing: Missing) -> str:
    """Return how the rights are granted with pymilvus."""
    grants = [text for place, rights in missing.items() for text in _grants(server, place, rights)]
    return f"As an administrator: {'; '.join(dict.fromkeys(grants))}. Or give the user the role 'admin'."


def _grants(server: ServerVersion, place: str, rights: Sequence[Right]) -> Iterator[str]:
    """Yield calls, each for all rights that are granted alike."""
    calls: dict[str, list[Right]] = {}
    for right in rights:
        kind = "Collection" if right.is_on_collections else "Global"
        if grants_without_type(server):
            call = f"grant_privilege_v2(ROLE, P, '*', db_name='{_ANY if right.is_on_server else place}')"
        else:
            call = f"grant_privilege(ROLE, '{kind}', P, '*', db_name='{place}')"
        calls.setdefault(call, []).append(right)
    for call, alike in calls.items():
        yield f"{call} for P in {', '.join(alike)}"
