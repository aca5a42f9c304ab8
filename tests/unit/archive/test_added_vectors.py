"""Which segments are older than a vector field, and which have lost logs of one."""

import pytest

from milvus_vault.archive.added_vectors import older_segments
from milvus_vault.archive.layout import INSERT_LOG, LogKey
from milvus_vault.model.collections import CollectionName, CollectionSchema, FieldSchema, Segment

FLOAT_VECTOR = 101
NAME = CollectionName(database="default", name="c")
SCHEMA = CollectionSchema(
    name="c",
    fields=(
        FieldSchema(field_id=100, name="id", data_type=5, is_primary_key=True),
        FieldSchema(field_id=101, name="v", data_type=FLOAT_VECTOR),
        FieldSchema(field_id=102, name="later", data_type=FLOAT_VECTOR, nullable=True),
        FieldSchema(field_id=103, name="n", data_type=5, nullable=True),
        FieldSchema(field_id=104, name="last", data_type=FLOAT_VECTOR, nullable=True),
    ),
)


def segment(number: int, storage_version: int = 2) -> Segment:
    """Return a segment of ten rows."""
    return Segment(segment_id=number, partition_id=1, row_count=10, storage_version=storage_version)


def logs(**groups: tuple[int, ...]) -> list[LogKey]:
    """Return a log of each group of segments s1, s2, ..."""
    return [
        LogKey(kind=INSERT_LOG, collection_id=9, partition_id=1, segment_id=int(name[1:]), field_id=group, log_id=1)
        for name, numbers in groups.items()
        for group in numbers
    ]


def test_segments_with_all_vectors_are_none() -> None:
    assert older_segments(SCHEMA, [segment(1)], logs(s1=(0, 1, 101, 102, 104))) is None


def test_segments_are_older_than_the_first_field_that_any_of_them_lacks() -> None:
    found = older_segments(
        SCHEMA, [segment(1), segment(2), segment(3)], logs(s1=(0, 101), s2=(0, 101, 102), s3=(0, 1, 101, 102, 104))
    )
    assert found is not None
    assert (found.fields, found.segment_ids, found.row_count) == (("later", "last"), (1, 2), 20)
    assert (found.first_field, found.are_whole) == (102, True)
    assert found.of(NAME).startswith("2 segment(s) of default.c with 20 row(s), as 1, are older than")


@pytest.mark.parametrize("there", [(0, 101, 104), (0, 101, 103)], ids=["a vector", "a group of another kind"])
def test_a_segment_with_anything_of_a_field_after_the_one_that_it_lacks_has_lost_logs(there: tuple[int, ...]) -> None:
    found = older_segments(SCHEMA, [segment(1), segment(2)], logs(s1=(0, 101), s2=there))
    assert found is not None
    assert not found.are_whole


@pytest.mark.parametrize(("version", "there"), [(0, (100, 101)), (2, (0, 1, 2))], ids=["by field", "groups by order"])
def test_where_groups_are_not_named_by_vectors_nothing_is_said(version: int, there: tuple[int, ...]) -> None:
    assert older_segments(SCHEMA, [segment(1, version)], logs(s1=there)) is None
