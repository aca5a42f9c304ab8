"""The indexes of a restored collection."""

import re
from collections.abc import Container
from typing import Final

from milvus_vault.errors import MilvusRequestError
from milvus_vault.model.collections import IndexDescription, KeyValue
from milvus_vault.ports import Indexes
from milvus_vault.restore.working_files import Target

# Names that servers of 2.2 gave to their scalar indexes; newer ones no longer know how to build those.
_RENAMED: Final = {"marisa-trie": "Trie", "Ascending": "STL_SORT"}

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def create_missing_indexes(database: Indexes, target: Target, name: str, *, without: Container[str] = ()) -> None:
    """Create those indexes of a target that the collection of this name lacks; Milvus builds them by itself.

    Not those of fields that it is still without. One that Milvus refuses keeps no other from being created. Raises
    `MilvusRequestError` with all that are refused.
    """
    there = {index.name for index in database.list_indexes(target.name.database, name)}
    refusals: list[MilvusRequestError] = []
    for index in target.indexes:
        if index.name not in there and index.field_name not in without:
            try:
                database.create_index(target.name.database, name, to_create(index))
            except MilvusRequestError as err:
                refusals.append(err)
    if refusals:
        raise MilvusRequestError("; ".join(err.message for err in refusals), hint=refusals[0].hint)


def to_create(index: IndexDescription) -> IndexDescription:
    """Return an index as Milvus takes it, which is not always as Milvus tells it.

    Milvus names what nobody named by itself: `doc/a/b` an index of a path in JSON, `clips[frame]` one of a field of
    structs. It refuses such names from others, and gives the same ones again where there is none.
    """
    name = index.name if _NAME.fullmatch(index.name) else ""
    params = tuple(
        KeyValue(key=item.key, value=_RENAMED.get(item.value, item.value)) if item.key == "index_type" else item
        for item in index.params
    )
    return index.model_copy(update={"name": name, "params": params})
