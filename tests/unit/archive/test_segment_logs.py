"""What a segment must consist of, by its schema."""

import pytest

from milvus_vault.archive.segment_logs import is_packed, lacking
from milvus_vault.model.collections import CollectionSchema, FieldSchema, Segment, SegmentLevel, StructArraySchema

KEY = FieldSchema(field_id=100, name="id", data_type=5, is_primary_key=True)
VECTOR = FieldSchema(field_id=101, name="v", data_type=101)
EARLY = FieldSchema(field_id=102, name="early", data_type=5, nullable=True)
LATER = FieldSchema(field_id=105, name="later", data_type=5, nullable=True)
IN_STRUCT = FieldSchema(field_id=104, name="s[n]", data_type=22, element_type=5)
SCHEMA = CollectionSchema(
    name="c",
    fields=(KEY, VECTOR, EARLY, LATER),
    struct_array_fields=(StructArraySchema(field_id=103, name="s", fields=(IN_STRUCT,)),),
)
WHOLE = {0: 1, 1: 1, 100: 1, 101: 1, 102: 1, 104: 1}


def lack(logs: dict[int, int], deletes: int = 0, *, can_be_older: bool = True, **fields: object) -> str:
    """Return what a segment of ten rows lacks."""
    segment = Segment.model_validate({"segment_id": 1, "partition_id": 2, "row_count": 10, **fields})
    return lacking(SCHEMA, segment, logs, deletes, can_be_older=can_be_older)


@pytest.mark.parametrize(
    ("missing", "name"),
    [
        (0, "the row IDs"),
        (1, "the timestamps"),
        (100, "field id"),
        (101, "field v"),
        (102, "field early"),
        (104, "field s[n]"),
    ],
)
def test_a_field_without_any_log_is_missed(missing: int, name: str) -> None:
    logs = {number: count for number, count in WHOLE.items() if number != missing}

    assert lack(logs) == f"it has no insert logs of {name}"


@pytest.mark.parametrize("logs", [WHOLE, WHOLE | {105: 1}, dict.fromkeys(WHOLE, 3)])
def test_a_whole_segment_lacks_nothing(logs: dict[int, int]) -> None:
    assert lack(logs) == ""


def test_where_no_field_is_added_later_each_must_have_logs() -> None:
    assert lack(WHOLE, can_be_older=False) == "it has no insert logs of field later"
    assert lack(WHOLE | {105: 1}, can_be_older=False) == ""


def test_each_field_has_as_many_logs_as_the_others() -> None:
    assert lack(WHOLE | {101: 2}) == "it has 2 logs of field 101 and 1 of field 0"


@pytest.mark.parametrize(("row_count", "expected"), [(10, "it has 10 row(s) and no insert logs"), (0, "")])
def test_only_an_empty_segment_has_no_logs(row_count: int, expected: str) -> None:
    assert lack({}, row_count=row_count) == expected


def test_a_packed_segment_has_its_first_group() -> None:
    assert lack({0: 1, 1: 1, 101: 1}, storage_version=2) == ""
    assert lack({1: 1, 101: 1}, storage_version=2) == "it has no insert logs of column group 0"


def test_a_segment_of_deletes_has_some() -> None:
    assert lack({}, level=SegmentLevel.L0, row_count=0) == "it has no delta logs"
    assert lack({}, 1, level=SegmentLevel.L0, row_count=0) == ""


@pytest.mark.parametrize(
    ("groups", "expected"),
    [({0: 1, 1: 1, 101: 1}, True), ({0: 1, 1: 1}, True), ({0: 1}, True), (WHOLE, False)],
    ids=["numbers of both kinds", "counted", "one", "fields"],
)
def test_the_primary_key_tells_groups_from_fields(groups: dict[int, int], expected: bool) -> None:
    assert is_packed(SCHEMA, groups) is expected
