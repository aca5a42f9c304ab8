"""The collections that could be backed up, with what is known of them without a flush."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from milvus_vault.archive.layout import parse_log_key
from milvus_vault.backup.selection import select_collections
from milvus_vault.errors import CollectionNotFoundError
from milvus_vault.model.collections import CollectionName, Segment
from milvus_vault.model.objects import ListedObject
from milvus_vault.model.resources import CollectionInfo, Page
from milvus_vault.paging import wrong_token
from milvus_vault.parallel import each
from milvus_vault.ports import Loads, ObjectStore
from milvus_vault.source import MilvusStorage, StoredCollections

# Each asks Milvus twice; more at a time would be felt by its users.
_AT_A_TIME = 8

_ALL_LOADED = 100


class LoadedCollections(StoredCollections, Loads, Protocol):
    """Which collections there are, in storage and in memory."""


@dataclass(frozen=True, slots=True)
class InspectedMilvus:
    """A Milvus, and where it keeps its data."""

    database: LoadedCollections
    store: ObjectStore
    storage: MilvusStorage

    def select(self, selectors: Sequence[str] | None) -> list[CollectionName]:
        """Return the collections that selectors name, sorted; see `select_collections` for the errors."""
        return select_collections(selectors, self.database.list_databases(), self.database.list_collections)

    def list(
        self, *, limit: int, token: str | None = None, database: str | None = None, sizes: bool = False
    ) -> Page[CollectionInfo]:
        """Return some collections by name, of one database or of all.

        Args:
            limit: how many at most.
            token: `next_token` of the page before.
            database: the database; None: all.
            sizes: also list their objects, which takes a second for some ten thousand of them.

        Raises:
            DatabaseNotFoundError: There is no such database.
            InvalidRequestError: The token is not one of this list.
        """
        names = self.select(None if database is None else [f"{database}.*"])
        after = None if token is None else _read_token(token)
        left = [name for name in names if after is None or (name.database, name.name) > after]
        page, more = left[:limit], left[limit:]
        items = each(lambda name: self._find(name, sizes=sizes), page, threads=_AT_A_TIME)
        return Page(items=tuple(item for item in items if item), next_token=_write_token(page[-1]) if more else None)

    def _find(self, name: CollectionName, *, sizes: bool) -> CollectionInfo | None:
        """Return a collection, or None where it was dropped since it was listed."""
        try:
            segments = self.database.list_segments(name.database, name.name)
            number = self.database.collection_id(name.database, name.name) if sizes else None
            loaded = self.database.load_percent(name.database, name.name)
        except CollectionNotFoundError:
            return None
        objects = None if number is None else list(self.objects(number, segments))
        return CollectionInfo(
            database=name.database,
            name=name.name,
            row_count=sum(segment.row_count for segment in segments),
            size_bytes=None if objects is None else sum(listed.size_bytes for listed in objects),
            object_count=None if objects is None else len(objects),
            segment_count=len(segments),
            is_loaded=loaded == _ALL_LOADED,
        )

    def objects(self, collection_id: int, segments: Sequence[Segment]) -> Iterator[ListedObject]:
        """Yield the objects of a collection's segments; those of segments that were replaced are left out."""
        wanted = {segment.segment_id for segment in segments}
        for folder in (self.storage.insert_logs(collection_id), self.storage.delta_logs(collection_id)):
            for listed in self.store.list_objects(self.storage.bucket, folder):
                key = parse_log_key(listed.key)
                if key and key.segment_id in wanted:
                    yield listed


def _write_token(name: CollectionName) -> str:
    return base64.urlsafe_b64encode(f"{name.database}.{name.name}".encode()).decode()


def _read_token(token: str) -> tuple[str, str]:
    try:
        database, _, name = base64.urlsafe_b64decode(token).decode().partition(".")
    except ValueError as err:
        raise wrong_token(token) from err
    return database, name
