"""Collections that the acceptance makes in Milvus, and removes again.

The only module of what users install that speaks to Milvus: it needs pymilvus, which they may not have.
"""

import contextlib
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from milvus_vault.errors import MilvusRequestError, MilvusUnavailableError, ScratchInUseError
from milvus_vault.model.readable import first_of

ROWS = 1000
INSTALL = "'pip install .[acceptance]'"
"""What brings pymilvus, within a clone."""
_DIMENSIONS = 8
_TIMEOUT_SECONDS = 15.0
_CONSISTENCY = "Strong"


class Scratch:
    """A Milvus, as far as the items change it: only collections whose names begin with `prefix`."""

    def __init__(self, uri: str, prefix: str, *, token: str = "", marked: str = "") -> None:
        """Connect.

        Args:
            uri: where Milvus answers by gRPC.
            prefix: with which the names of all collections begin.
            token: `user:password` or an API key; empty: Milvus asks for none.
            marked: a text that each row has, and that may be found nowhere but in rows.

        Raises:
            MilvusUnavailableError: pymilvus is not installed, or Milvus does not answer.
            MilvusRequestError: It refuses, for example the credentials.
        """
        self.prefix = prefix
        self._marked = marked
        try:
            import grpc  # noqa: PLC0415 - what pymilvus does not catch of it
            import pymilvus  # noqa: PLC0415 - what users install does not bring it
        except ImportError as err:
            msg = "pymilvus is not installed here"
            raise MilvusUnavailableError(msg, hint=f"{INSTALL} in the clone brings it.") from err
        self._module: Any = pymilvus
        # It hands on as they are, for example, PERMISSION_DENIED and UNIMPLEMENTED.
        self._errors: tuple[type[Exception], ...] = (pymilvus.MilvusException, grpc.RpcError)
        with self._asked("connect", uri):
            self._client: Any = pymilvus.MilvusClient(uri=uri, token=token, timeout=_TIMEOUT_SECONDS)
        self._uri, self._token = uri, token

    def make(self, name: str) -> None:
        """Make a collection of `ROWS` rows, flushed, indexed and loaded."""
        full = self.prefix + name
        types = self._module.DataType
        with self._asked("make a collection"):
            schema = self._client.create_schema(auto_id=False)
            schema.add_field("id", types.INT64, is_primary=True)
            schema.add_field("version", types.INT64)
            schema.add_field("note", types.VARCHAR, max_length=200)
            schema.add_field("vector", types.FLOAT_VECTOR, dim=_DIMENSIONS)
            index = self._client.prepare_index_params()
            index.add_index("vector", index_type="FLAT", metric_type="L2")
            self._client.create_collection(
                full, schema=schema, index_params=index, num_shards=1, consistency_level=_CONSISTENCY
            )
            self._client.insert(full, self._rows(0))
            self._client.flush(full)

    def _rows(self, version: int) -> list[dict[str, object]]:
        vector = [float(version)] * _DIMENSIONS
        return [{"id": i, "version": version, "note": self._marked, "vector": vector} for i in range(ROWS)]

    def versions(self, name: str) -> tuple[int, set[int]]:
        """Return how many rows a collection has, and of which upserts they are."""
        full = self.prefix + name
        with self._asked("count rows"):
            found = self._client.query(
                full, "id >= 0", output_fields=["version"], limit=16_384, consistency_level=_CONSISTENCY
            )
        return len(found), {int(row["version"]) for row in found}

    def databases(self) -> list[str]:
        """Return the names of the databases."""
        with self._asked("list databases"):
            return [str(name) for name in self._client.list_databases()]

    def drop_database(self, name: str, prefixes: tuple[str, ...]) -> None:
        """Drop a database with those of its collections whose names begin with one of the prefixes.

        Raises `ScratchInUseError` where something else is in it: then that stays, and the database with it.
        """
        with self._asked("drop a database"):
            within: Any = self._module.MilvusClient(
                uri=self._uri, token=self._token, db_name=name, timeout=_TIMEOUT_SECONDS
            )
            others = []
            for collection in map(str, within.list_collections()):
                if collection.startswith(prefixes):
                    within.drop_collection(collection)
                else:
                    others.append(collection)
            within.close()
            if not others:
                self._client.drop_database(name)
        if others:
            msg = f"scratch database {name} is not dropped: no drill made its {first_of(others)}"
            raise ScratchInUseError(msg, hint="Move or drop them; the next drill then drops the database.")

    @contextmanager
    def upserts(self, name: str) -> Iterator[None]:
        """Upsert all rows of a collection meanwhile, again and again, each time with the next version."""
        ended = threading.Event()

        def write() -> None:
            version = 1
            while not ended.wait(0.05):
                # What breaks a writer breaks the item that looks at its rows.
                with contextlib.suppress(*self._errors):
                    self._client.upsert(self.prefix + name, self._rows(version))
                version += 1

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        try:
            yield
        finally:
            ended.set()
            writer.join()

    def collections(self) -> list[str]:
        """Return the names of all collections of the database `default`, with the prefix where they have it."""
        with self._asked("list collections"):
            return [str(name) for name in self._client.list_collections()]

    def drop(self, names: Iterable[str]) -> None:
        """Drop collections by their whole names."""
        with self._asked("drop collections"):
            for name in names:
                self._client.drop_collection(name)

    @contextmanager
    def _asked(self, what: str, uri: str = "") -> Iterator[None]:
        try:
            yield
        except self._errors as err:
            text = re.sub(r"\s+", " ", str(err))[:300]
            if uri:
                msg = f"Milvus at {uri} cannot be reached from here: {text}"
                raise MilvusUnavailableError(msg, hint="Run this where Milvus can be reached.") from err
            msg = f"Milvus refuses to {what}: {text}"
            raise MilvusRequestError(msg, hint="The message is Milvus' own.") from err
