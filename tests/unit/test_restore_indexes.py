"""Indexes as Milvus takes them, which is not as it tells them."""

import pytest

from milvus_vault.model.collections import IndexDescription, KeyValue
from milvus_vault.restore.indexes import to_create


def index(name: str, **params: str) -> IndexDescription:
    pairs = tuple(KeyValue(key=key, value=value) for key, value in params.items())
    return IndexDescription(index_id=1, name=name, field_name="doc", params=pairs)


@pytest.mark.parametrize("name", ["doc", "_by_1", "A"])
def test_a_name_that_a_user_can_give_is_kept(name: str) -> None:
    assert to_create(index(name)).name == name


@pytest.mark.parametrize("name", ["doc/a/b", "clips[frame]", "doc/", "1st", "öl"])
def test_a_name_that_milvus_alone_can_give_is_left_to_it(name: str) -> None:
    assert to_create(index(name)).name == ""


@pytest.mark.parametrize(("told", "taken"), [("marisa-trie", "Trie"), ("Ascending", "STL_SORT"), ("HNSW", "HNSW")])
def test_types_have_the_names_that_newer_servers_know(told: str, taken: str) -> None:
    assert to_create(index("i", index_type=told, metric_type="L2")) == index("i", index_type=taken, metric_type="L2")
