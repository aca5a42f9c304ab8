"""Collections to try a backup on, and a way to tell whether they came back as they were."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from pymilvus import DataType, MilvusClient

NAMES = ("default.articles", "default.drafts", "shop.customers", "shop.orders")
ARTICLES = 50_000
DIMENSIONS = 128
INSERTED_AT_ONCE = 5_000
DELETED_ARTICLES = list(range(0, 1000, 7))
SEARCHES = 5
CONSISTENCY = "Strong"


def fill(uri: str) -> list[str]:
    """Create the sample collections in a Milvus, and return their full names.

    `default.articles` has 50,000 rows of 128 dimensions in three partitions, with deleted and upserted rows, a
    dynamic field and an alias; `shop.customers` has text keys and binary vectors; `shop.orders` has generated
    keys, a partition key, JSON and arrays; `default.drafts` is empty and was never loaded.
    """
    default = MilvusClient(uri=uri)
    if "shop" not in default.list_databases():
        default.create_database("shop")
    shop = MilvusClient(uri=uri, db_name="shop")
    rng = np.random.default_rng(7)
    _articles(default, rng)
    _customers(shop, rng)
    _orders(shop, rng)
    schema = default.create_schema(auto_id=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=8)
    default.create_collection("drafts", schema=schema)
    return list(NAMES)


def _articles(client: MilvusClient, rng: np.random.Generator) -> None:
    schema = client.create_schema(auto_id=False, enable_dynamic_field=True, description="Articles in two languages")
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("title", DataType.VARCHAR, max_length=200)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIMENSIONS)
    client.create_collection("articles", schema=schema, num_shards=2, consistency_level=CONSISTENCY)
    for partition in ("english", "german"):
        client.create_partition("articles", partition)
    vectors = rng.random((ARTICLES, DIMENSIONS), dtype=np.float32)
    names = ("_default", "english", "german")
    for first in range(0, ARTICLES, INSERTED_AT_ONCE):
        numbers = range(first, first + INSERTED_AT_ONCE)
        for offset, name in enumerate(names):
            rows = [_article(i, vectors[i]) for i in numbers if i % len(names) == offset]
            client.insert("articles", rows, partition_name=name)
    client.flush("articles")
    index = client.prepare_index_params()
    # With nprobe equal to nlist a search looks everywhere, so that equal data gives equal results.
    index.add_index("vector", index_type="IVF_FLAT", metric_type="L2", params={"nlist": 64}, index_name="by_vector")
    client.create_index("articles", index)
    client.load_collection("articles")
    client.delete("articles", ids=DELETED_ARTICLES)
    client.upsert("articles", [_article(i, vectors[i], "second edition") for i in range(30_000, 30_300, 9)])
    client.create_alias("articles", "current_articles")


def change(uri: str) -> None:
    """Add 200 rows to one partition of `default.articles`, and delete 50 live ones: 150 live rows more."""
    client = MilvusClient(uri=uri)
    numbers = range(ARTICLES, ARTICLES + 200)
    vectors = np.random.default_rng(17).random((len(numbers), DIMENSIONS), dtype=np.float32)
    rows = [_article(number, vector, "new") for number, vector in zip(numbers, vectors, strict=True)]
    client.insert("articles", rows, partition_name="english")
    # Of three numbers, the second is one of this partition.
    living = (number for number in range(1, ARTICLES, 3) if number not in DELETED_ARTICLES)
    client.delete("articles", ids=list(islice(living, 50)), partition_name="english")
    client.flush("articles")


def _article(number: int, vector: np.ndarray, edition: str = "first edition") -> dict[str, Any]:
    title = f"Article {number}"
    return {"id": number, "title": title, "vector": vector.tolist(), "edition": edition, "stars": number % 5}


def _customers(client: MilvusClient, rng: np.random.Generator) -> None:
    schema = client.create_schema(auto_id=False)
    schema.add_field("email", DataType.VARCHAR, is_primary=True, max_length=64)
    schema.add_field("age", DataType.INT8)
    schema.add_field("bits", DataType.BINARY_VECTOR, dim=64)
    client.create_collection("customers", schema=schema, num_shards=1)
    client.create_partition("customers", "vip")
    for partition in ("_default", "vip"):
        rows = [{"email": f"{partition}{i}@example.org", "age": i % 100, "bits": rng.bytes(8)} for i in range(1000)]
        client.insert("customers", rows, partition_name=partition)
    client.flush("customers")
    index = client.prepare_index_params()
    index.add_index("bits", index_type="BIN_FLAT", metric_type="HAMMING", index_name="by_bits")
    client.create_index("customers", index)
    client.load_collection("customers")
    client.delete("customers", ids=[f"vip{i}@example.org" for i in range(50)])


def _orders(client: MilvusClient, rng: np.random.Generator) -> None:
    schema = client.create_schema(auto_id=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("customer", DataType.VARCHAR, max_length=64, is_partition_key=True)
    schema.add_field("items", DataType.ARRAY, element_type=DataType.INT32, max_capacity=8)
    schema.add_field("details", DataType.JSON)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=16)
    client.create_collection("orders", schema=schema, num_partitions=4, num_shards=1)
    rows = [
        {
            "customer": f"customer {i % 23}",
            "items": list(range(i % 6)),
            "details": {"total": i / 4, "gift": i % 3 == 0},
            "vector": rng.random(16, dtype=np.float32).tolist(),
        }
        for i in range(2000)
    ]
    client.insert("orders", rows)
    client.flush("orders")
    index = client.prepare_index_params()
    index.add_index("vector", index_type="FLAT", metric_type="IP", index_name="by_vector")
    client.create_index("orders", index)
    client.load_collection("orders")


@dataclass(slots=True)
class Fingerprint:
    """What is compared of a collection before and after; each entry is one line of the demo's table."""

    findings: dict[str, Any] = field(default_factory=dict)

    def differences(self, other: "Fingerprint") -> Iterator[tuple[str, Any, Any, bool]]:
        """Yield name, own finding, the other's, and whether they are equal."""
        for name, mine in self.findings.items():
            theirs = other.findings.get(name)
            yield name, mine, theirs, _is_equal(mine, theirs)


def _is_equal(one: Any, other: Any) -> bool:
    """Compare, with distances to 6 digits: how rows are spread over segments changes the order of float32 sums."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-5, abs_tol=1e-6)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_is_equal, one, other))
    return bool(one == other)


def fingerprint(uri: str, full_name: str) -> Fingerprint:
    """Return what can be seen of a collection: counts, rows, filters, deleted keys, searches, indexes, aliases."""
    database, _, name = full_name.partition(".")
    client = MilvusClient(uri=uri, db_name=database)
    found = Fingerprint()
    found.findings["partitions"] = sorted(client.list_partitions(name))
    found.findings["indexes"] = sorted(client.list_indexes(name))
    found.findings["load state"] = str(client.get_load_state(name)["state"])
    if "Loaded" not in found.findings["load state"]:
        return found
    found.findings["rows"] = _count(client, name)
    if name != "orders":  # Milvus refuses to count by partition where a key spreads the rows
        for partition in found.findings["partitions"]:
            found.findings[f"rows in {partition}"] = _count(client, name, [partition])
    {"articles": _look_at_articles, "customers": _look_at_customers, "orders": _look_at_orders}[name](client, found)
    return found


def _look_at_articles(client: MilvusClient, found: Fingerprint) -> None:
    found.findings["alias"] = sorted(client.list_aliases("articles")["aliases"])
    found.findings["rows by key"] = _rows(client, "articles", "id in [1, 2, 3, 12, 299, 30000, 49999]", "id")
    found.findings["dynamic field filter"] = _keys(client, "articles", 'edition == "second edition"', "id")
    found.findings["deleted keys"] = _keys(client, "articles", f"id in {json.dumps(DELETED_ARTICLES)}", "id")
    queries = np.random.default_rng(11).random((SEARCHES, DIMENSIONS), dtype=np.float32).tolist()
    found.findings["search top 10"] = _search(client, "articles", queries, "vector", {"nprobe": 64})


def _look_at_customers(client: MilvusClient, found: Fingerprint) -> None:
    found.findings["rows by key"] = _rows(client, "customers", 'email in ["vip60@example.org"]', "email")
    found.findings["deleted keys"] = _keys(client, "customers", 'email in ["vip1@example.org"]', "email")
    generator = np.random.default_rng(13)
    # Hamming distances are small integers, so that ties are common: compare distances, not keys.
    hits = client.search("customers", [generator.bytes(8) for _ in range(SEARCHES)], limit=10, anns_field="bits")
    found.findings["search top 10"] = [[float(hit["distance"]) for hit in result] for result in hits]


def _look_at_orders(client: MilvusClient, found: Fingerprint) -> None:
    found.findings["rows by key"] = _rows(client, "orders", 'customer == "customer 5"', "id")
    found.findings["JSON filter"] = _keys(client, "orders", 'details["gift"] == true', "id")
    queries = np.random.default_rng(17).random((SEARCHES, 16), dtype=np.float32).tolist()
    found.findings["search top 10"] = _search(client, "orders", queries, "vector", {})


def _count(client: MilvusClient, name: str, partitions: list[str] | None = None) -> int:
    rows = client.query(name, "", output_fields=["count(*)"], partition_names=partitions, consistency_level=CONSISTENCY)
    return int(rows[0]["count(*)"])


def _rows(client: MilvusClient, name: str, expression: str, key: str) -> list[str]:
    rows = client.query(name, expression, output_fields=["*"], consistency_level=CONSISTENCY)
    return [json.dumps(row, default=str, sort_keys=True) for row in sorted(rows, key=lambda row: row[key])]


def _keys(client: MilvusClient, name: str, expression: str, key: str) -> list[Any]:
    rows = client.query(name, expression, output_fields=[key], consistency_level=CONSISTENCY)
    return sorted(row[key] for row in rows)


def _search(
    client: MilvusClient, name: str, queries: list[list[float]], vector_field: str, params: dict[str, int]
) -> list[list[tuple[Any, float]]]:
    results = client.search(
        name,
        queries,
        limit=10,
        anns_field=vector_field,
        search_params={"params": params},
        consistency_level=CONSISTENCY,
    )
    return [[(hit["id"], float(hit["distance"])) for hit in result] for result in results]
