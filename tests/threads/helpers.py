"""What the tests of several themes need."""

from typing import Any

from pymilvus import MilvusClient

from tests.support.restoring import Restoring


def client_of(restoring: Restoring, database: str = "default") -> MilvusClient:
    """Return a client of the server."""
    return MilvusClient(restoring.server.uri, db_name=database)


def live(restoring: Restoring, name: str, database: str = "default", partition: str | None = None) -> dict[Any, Any]:
    """Return the live rows by key: values by the number of their field."""
    columns = restoring.server.live_rows(database, name, *([partition] if partition else []))
    keys = columns.get(100, [])
    return {key: {number: values[i] for number, values in columns.items() if number > 1} for i, key in enumerate(keys)}


def names_in(restoring: Restoring) -> set[str]:
    """Return the full names of all collections of the server."""
    catalog = restoring.server.core.catalog
    return {f"{found.name}.{name}" for found in catalog.databases.values() for name in found.collections}
