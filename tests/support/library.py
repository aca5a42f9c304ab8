"""A small database to back up, lose and restore, and all that must come back of it.

`books` has two partitions with rows, deleted rows, an alias, and is loaded; `drafts` has an index, but is not
loaded.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pymilvus import DataType, MilvusClient

BOOKS, NOVELS, DRAFTS = 70, 50, 30
DELETED = (3, 11, 71, 118)


@dataclass(frozen=True, slots=True)
class Contents:
    """What there is in a database."""

    collections: tuple[str, ...]
    aliases: tuple[str, ...]
    """Of `books`."""
    indexes: tuple[str, ...]
    """Of `books`."""
    is_loaded: Mapping[str, bool]
    counts: Mapping[str, int]
    """`count(*)` of each collection, and of each partition of `books`."""
    rows: Mapping[str, tuple[str, ...]]
    """Every row of each collection, by key: one that is there twice is there twice."""

    def of(self, *names: str) -> "Contents":
        """Return what there would be with only some of the collections."""
        has_books = "books" in names
        return Contents(
            collections=names,
            aliases=self.aliases if has_books else (),
            indexes=self.indexes if has_books else (),
            is_loaded={name: self.is_loaded[name] for name in names},
            counts={name: count for name, count in self.counts.items() if name.partition("/")[0] in names},
            rows={name: self.rows[name] for name in names},
        )


def fill(uri: str, database: str) -> None:
    """Create the database and its two collections."""
    MilvusClient(uri).create_database(database)
    client = MilvusClient(uri, db_name=database)
    for name in ("books", "drafts"):
        create(client, name)
    client.create_partition("books", "novels")
    client.insert("books", rows(range(BOOKS)))
    client.insert("books", rows(range(BOOKS, BOOKS + NOVELS)), partition_name="novels")
    client.insert("drafts", rows(range(DRAFTS)))
    for name in ("books", "drafts"):
        client.flush(name)
    client.load_collection("books")
    client.delete("books", ids=list(DELETED))
    client.create_alias("books", "shelf")


def create(client: MilvusClient, name: str) -> None:
    """Create a collection, with an index."""
    schema = client.create_schema(auto_id=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("title", DataType.VARCHAR, max_length=64)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=4)
    client.create_collection(name, schema=schema, num_shards=1, consistency_level="Strong")
    index = client.prepare_index_params()
    index.add_index("vector", index_type="FLAT", metric_type="L2", index_name="by_vector")
    client.create_index(name, index)


def rows(numbers: range, edition: str = "") -> list[dict[str, Any]]:
    """Return rows for either collection."""
    return [
        {"id": n, "title": f"Volume {n}{edition}", "vector": [n / 8, n % 7, n % 5, float(len(edition))]}
        for n in numbers
    ]


def look(uri: str, database: str) -> Contents:
    """Return what there is. A collection that is not loaded is loaded to be read, and released again."""
    client = MilvusClient(uri, db_name=database)
    names = sorted(client.list_collections())
    counts, found, is_loaded = {}, {}, {}
    for name in names:
        is_loaded[name] = client.get_load_state(name)["state"].name == "Loaded"
        if not is_loaded[name]:
            client.load_collection(name)
        counts[name] = _count(client, name)
        for partition in client.list_partitions(name) if name == "books" else ():
            counts[f"{name}/{partition}"] = _count(client, name, partition)
        listed = client.query(name, "id >= 0", output_fields=["*"], consistency_level="Strong")
        found[name] = tuple(sorted(f"{row['id']:04} {row['title']} {list(row['vector'])}" for row in listed))
        if not is_loaded[name]:
            client.release_collection(name)
    return Contents(
        collections=tuple(names),
        aliases=tuple(sorted(client.describe_collection("books")["aliases"])) if "books" in names else (),
        indexes=tuple(sorted(client.list_indexes("books"))) if "books" in names else (),
        is_loaded=is_loaded,
        counts=counts,
        rows=found,
    )


def drop(uri: str, database: str) -> None:
    """Drop the database with all that is in it; one that does not exist is no error."""
    root = MilvusClient(uri)
    if database not in root.list_databases():
        return
    client = MilvusClient(uri, db_name=database)
    for name in client.list_collections():
        for alias in client.describe_collection(name)["aliases"]:
            client.drop_alias(alias)
        client.drop_collection(name)
    root.drop_database(database)


def _count(client: MilvusClient, name: str, partition: str | None = None) -> int:
    partitions = [partition] if partition else None
    counted = client.query(name, "", output_fields=["count(*)"], partition_names=partitions, consistency_level="Strong")
    return int(counted[0]["count(*)"])
