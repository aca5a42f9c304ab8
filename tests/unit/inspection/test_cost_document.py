"""The bills of docs/cost.md are what `estimate` says of such instances, and its prices those of the program."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import override

import pytest

from milvus_vault.copying.parts import MIB
from milvus_vault.inspection.collections import InspectedMilvus
from milvus_vault.inspection.estimate import estimate_backup
from milvus_vault.model.collections import CollectionLayout, CollectionSchema
from milvus_vault.model.objects import ListedObject
from milvus_vault.model.prices import PRICES, Price
from milvus_vault.model.requests import BackupRequest
from milvus_vault.source import MilvusStorage
from tests.support.memory_database import InMemoryDatabase
from tests.support.memory_store import InMemoryObjectStore
from tools.prices import question, table

DOCUMENT = (Path(__file__).parents[3] / "docs" / "cost.md").read_text()


class StoreOfLargeObjects(InMemoryObjectStore):
    """Says of each object that it has so many bytes."""

    def __init__(self, bucket: str, size_bytes: int) -> None:
        super().__init__(bucket)
        self.size_bytes = size_bytes

    @override
    def list_objects(self, bucket: str, prefix: str, *, after: str = "") -> Iterator[ListedObject]:
        return (
            replace(found, size_bytes=self.size_bytes) for found in super().list_objects(bucket, prefix, after=after)
        )


def rows() -> dict[str, list[str]]:
    """Return the columns of the three instances by the first word of their row."""
    lines = DOCUMENT.partition("## Three bills by hand")[2].partition("## Prices")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return {re.split(r"\W", first)[0]: rest for first, *rest in cells if first}


def number(text: str) -> float:
    """Return the last number of a cell."""
    return float(re.findall(r"[\d,.]*\d", text)[-1].replace(",", ""))


@pytest.mark.parametrize(
    ("column", "collections", "objects", "size_mib"), [(0, 10, 40, 5), (1, 20, 2000, 100), (2, 1, 500, 1024)]
)
def test_an_estimate_is_the_bill_by_hand(column: int, collections: int, objects: int, size_mib: int) -> None:
    store, database = StoreOfLargeObjects("milvus", size_mib * MIB), InMemoryDatabase()
    for index in range(collections):
        layout = CollectionLayout(
            collection_schema=CollectionSchema(name=f"c{index}", fields=()), shards=1, consistency_level=0
        )
        collection = database.create_collection("default", f"c{index}", layout)
        database.insert_row("default", f"c{index}", {}, {})
        database.flush("default", f"c{index}", timeout_seconds=1)
        for log in range(objects):
            store.put("milvus", f"files/insert_log/{collection}/1/{collection}/100/{log}", b"")
    found = estimate_backup(InspectedMilvus(database, store, MilvusStorage("milvus", "files")), BackupRequest())
    said = {name: cells[column] for name, cells in rows().items()}
    assert number(said["collections"]) == found.collection_count == collections
    assert said["objects"].startswith(f"{objects:,} of {size_mib if size_mib < 1024 else 1} ")
    assert number(said["copies"]) == found.copy_requests
    assert number(said["listings"]) == found.list_requests
    requests = found.copy_requests + found.list_requests
    assert said["requests"] == f"{requests:,}: **${found.request_cost_usd:.4f}**"
    assert number(said["GB"]) == pytest.approx(found.size_bytes / 2**30, abs=0.001)
    assert number(said["storage"]) == pytest.approx(found.storage_cost_usd_per_month, abs=0.005)


def test_the_document_has_the_prices_of_the_program() -> None:
    assert table() in DOCUMENT


@pytest.mark.parametrize("price", PRICES, ids=lambda price: price.usage)
def test_each_price_can_be_looked_at_again(price: Price) -> None:
    assert price.page.startswith("https://aws.amazon.com/")
    assert question(price).endswith(f"Value={price.usage}")
    assert f"--service-code {price.service} " in question(price)
