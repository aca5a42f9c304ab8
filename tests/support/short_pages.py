"""Listings of long folders, in tests whose folders are short."""

from collections.abc import Iterator
from typing import override

import pytest

from milvus_vault import spans
from milvus_vault.model.objects import ListedObject
from tests.support.memory_store import InMemoryObjectStore


class SortedStore(InMemoryObjectStore):
    """A store that lists in the order of S3, and writes down behind which keys it was asked to."""

    def __init__(self, *buckets: str) -> None:
        """Begin with empty buckets."""
        super().__init__(*buckets)
        self.cuts: list[str] = []

    @override
    def list_objects(self, bucket: str, prefix: str, *, after: str = "") -> Iterator[ListedObject]:
        """Yield every object below the prefix, or those behind a key."""
        if after:
            self.cuts.append(after)
        found = sorted(super().list_objects(bucket, prefix), key=lambda listed: listed.key)
        yield from (listed for listed in found if listed.key > after)


def shorten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a page have two objects, so that five are many."""
    monkeypatch.setattr(spans, "PAGE", 2)
