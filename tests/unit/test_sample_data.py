"""The sample changes by as much as the documents say."""

from typing import Any

import pytest

from local import sample_data


class Client:
    """A Milvus that remembers what it was asked to do."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.added: set[int] = set()
        self.deleted: set[int] = set()

    def insert(self, _: str, rows: list[dict[str, Any]], partition_name: str) -> None:
        """Remember new rows."""
        assert partition_name == "english"
        self.added |= {row["id"] for row in rows}

    def delete(self, _: str, ids: list[int], partition_name: str) -> None:
        """Remember deleted rows."""
        assert partition_name == "english"
        self.deleted |= set(ids)

    def flush(self, _: str) -> None:
        """Do nothing."""


def test_a_change_adds_200_rows_and_deletes_50_that_live(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client()
    monkeypatch.setattr(sample_data, "MilvusClient", lambda **_: client)
    sample_data.change("http://nowhere")
    assert (len(client.added), min(client.added)) == (200, sample_data.ARTICLES)
    assert len(client.deleted) == 50
    assert client.deleted.isdisjoint(sample_data.DELETED_ARTICLES)
    # Of three numbers, the second is in this partition.
    assert {number % 3 for number in client.deleted} == {1}
