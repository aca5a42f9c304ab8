"""Where Milvus keeps its data."""

import pytest

from milvus_vault.errors import ObjectArchivedError
from milvus_vault.model.collections import CollectionName
from milvus_vault.model.objects import ListedObject
from milvus_vault.source import MilvusStorage

STORAGE = MilvusStorage(bucket="milvus", root_path="files")
NAME = CollectionName(database="lib", name="books")


def test_names_the_first_object_that_lies_in_glacier() -> None:
    objects = [ListedObject(f"files/insert_log/1/2/3/4/{n}", 1, "e", None, "GLACIER" if n else "") for n in range(3)]

    with pytest.raises(ObjectArchivedError) as caught:
        STORAGE.check_readable(NAME, objects)

    assert caught.value.message == (
        "2 object(s) of lib.books are archived, as s3://milvus/files/insert_log/1/2/3/4/1 (GLACIER)"
    )


@pytest.mark.parametrize(("root", "folder"), [("", "insert_log/7/"), ("files/", "files/insert_log/7/")])
def test_milvus_folders_may_lie_at_the_top_of_its_bucket(root: str, folder: str) -> None:
    assert MilvusStorage(bucket="milvus", root_path=root).insert_logs(7) == folder


def test_takes_what_can_be_read() -> None:
    STORAGE.check_readable(NAME, [ListedObject("files/insert_log/1/2/3/4/5", 1, "e")])
