"""Collections made in Milvus: what pymilvus raises has a name, and what was half made is removed."""

from collections.abc import Callable
from unittest.mock import Mock

import grpc
import pymilvus
import pytest

from milvus_vault.acceptance import trying
from milvus_vault.acceptance.items import Item, Need, passed
from milvus_vault.acceptance.scratch import Scratch
from milvus_vault.acceptance.trial import Trial
from milvus_vault.acceptance.trying import conduct
from milvus_vault.errors import MilvusRequestError, MilvusUnavailableError, ScratchInUseError

PREFIX = "vault_acceptance_0a1b2c3d_"
NOT_ALLOWED = grpc.RpcError("PERMISSION_DENIED")


class FakeMilvus:
    """pymilvus' client, as far as it is used; each method that `refuses` names raises its error."""

    refuses: dict[str, Exception]
    collections: list[str]
    databases: dict[str, list[str]]

    def __init__(self, db_name: str = "", **_: object) -> None:
        """Connect."""
        self._call("connect")
        if db_name:
            self.collections = self.databases[db_name]

    def _call(self, method: str) -> None:
        if method in self.refuses:
            raise self.refuses[method]

    def create_schema(self, **_: object) -> Mock:
        return Mock()

    def prepare_index_params(self) -> Mock:
        return Mock()

    def create_collection(self, name: str, **_: object) -> None:
        self._call("create_collection")
        self.collections.append(name)

    def insert(self, *_: object) -> None:
        self._call("insert")

    def flush(self, _: str) -> None:
        self._call("flush")

    def list_collections(self) -> list[str]:
        self._call("list_collections")
        return list(self.collections)

    def drop_collection(self, name: str) -> None:
        self._call("drop_collection")
        self.collections.remove(name)

    def query(self, *_: object, **__: object) -> list[dict[str, int]]:
        self._call("query")
        return []

    def list_databases(self) -> list[str]:
        self._call("list_databases")
        return []

    def drop_database(self, name: str) -> None:
        self._call("drop_database")
        assert self.databases.pop(name) == []

    def close(self) -> None:
        """End it."""


@pytest.fixture
def milvus(monkeypatch: pytest.MonkeyPatch) -> type[FakeMilvus]:
    """Put a Milvus into pymilvus' place."""
    monkeypatch.setattr(FakeMilvus, "refuses", {}, raising=False)
    monkeypatch.setattr(FakeMilvus, "collections", ["theirs"], raising=False)
    monkeypatch.setattr(
        FakeMilvus, "databases", {"vault_drill_1": ["drill_a", "vault_restoring_b"], "theirs": ["c"]}, raising=False
    )
    monkeypatch.setattr(pymilvus, "MilvusClient", FakeMilvus)
    return FakeMilvus


ERRORS = [NOT_ALLOWED, pymilvus.MilvusException(1, "no")]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    ("method", "ask"),
    [
        ("insert", lambda scratch: scratch.make("rows")),
        ("query", lambda scratch: scratch.versions("rows")),
        ("list_databases", lambda scratch: scratch.databases()),
        ("list_collections", lambda scratch: scratch.collections()),
        ("drop_collection", lambda scratch: scratch.drop(["theirs"])),
        ("drop_database", lambda scratch: scratch.drop_database("vault_drill_1", ("drill_", "vault_"))),
    ],
)
def test_what_milvus_refuses_has_a_name(
    method: str, ask: Callable[[Scratch], object], error: Exception, milvus: type[FakeMilvus]
) -> None:
    scratch = Scratch("http://milvus:19530", PREFIX)
    milvus.refuses[method] = error
    with pytest.raises(MilvusRequestError, match="Milvus refuses to"):
        ask(scratch)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_milvus_that_cannot_be_reached_has_a_name(error: Exception, milvus: type[FakeMilvus]) -> None:
    milvus.refuses["connect"] = error
    with pytest.raises(MilvusUnavailableError, match="http://milvus:19530"):
        Scratch("http://milvus:19530", PREFIX)


def test_a_collection_whose_rows_were_refused_is_removed_and_no_other(
    trial: Trial, milvus: type[FakeMilvus], monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(given: Trial, *_: object) -> None:
        given.scratch = Scratch("http://milvus:19530", given.name)

    monkeypatch.setattr(trying, "connect_scratch", connect)
    looked = Item("looked", 1, "It is.", lambda _: passed("well"), frozenset({Need.COLLECTION}))
    monkeypatch.setattr(trying, "items", lambda: (looked,))
    trial.may_write = True
    milvus.refuses["insert"] = NOT_ALLOWED
    report = conduct(trial)
    assert milvus.collections == ["theirs"]
    assert report.items[0].verdict == "not_possible"
    assert "PERMISSION_DENIED" in report.items[0].evidence


def test_a_database_is_dropped_with_all_that_a_drill_made_in_it_and_no_other(milvus: type[FakeMilvus]) -> None:
    Scratch("http://milvus:19530", PREFIX).drop_database("vault_drill_1", ("drill_", "vault_restoring_"))
    assert (milvus.databases, milvus.collections) == ({"theirs": ["c"]}, ["theirs"])


def test_what_no_drill_made_stays_and_its_database_with_it(milvus: type[FakeMilvus]) -> None:
    milvus.databases["vault_drill_1"].append("guest")
    with pytest.raises(ScratchInUseError, match="vault_drill_1 is not dropped: no drill made its guest"):
        Scratch("http://milvus:19530", PREFIX).drop_database("vault_drill_1", ("drill_", "vault_restoring_"))
    assert milvus.databases == {"vault_drill_1": ["guest"], "theirs": ["c"]}
