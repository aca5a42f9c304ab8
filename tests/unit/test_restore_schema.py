"""In which order fields must be made to get the numbers that they have in a backup."""

import pytest

from milvus_vault.errors import FieldIdMismatchError
from milvus_vault.model.collections import (
    CollectionName,
    CollectionSchema,
    FieldSchema,
    FunctionSchema,
    KeyValue,
    StructArraySchema,
)
from milvus_vault.restore.schema import added_fields, can_be_added, field_numbers, without_function_check

NAME = CollectionName(database="default", name="c")
TTL = KeyValue(key="collection.ttl.seconds", value="60")
OFF = KeyValue(key="disable_func_runtime_check", value="true")
EMBEDDING = FunctionSchema(name="f", function_id=1, function_type=2)


def schema(*numbers: int, dynamic: bool = False, struct: tuple[int, ...] = ()) -> CollectionSchema:
    """Return a schema whose fields are called by their numbers."""
    structs = [field(number) for number in struct]
    return CollectionSchema(
        name="c",
        fields=tuple(field(number) for number in numbers),
        enable_dynamic_field=dynamic,
        struct_array_fields=(
            (StructArraySchema(field_id=struct[0], name="s", fields=tuple(structs[1:])),) if struct else ()
        ),
    )


def field(number: int) -> FieldSchema:
    """Return a field."""
    return FieldSchema(field_id=number, name=str(number), data_type=5)


@pytest.mark.parametrize(
    ("given", "added"),
    [
        (schema(100, 101, 102), ()),
        (schema(100, 101, dynamic=True), ()),
        (schema(100, 101, 103, 104, dynamic=True), ("103", "104")),
        (schema(100, 101, struct=(102, 103)), ()),
        (schema(100, 101, dynamic=True, struct=(103, 104)), ()),
        (schema(100, 104, dynamic=True, struct=(102, 103)), ("104",)),
    ],
)
def test_fields_after_the_hidden_one_are_added_later(given: CollectionSchema, added: tuple[str, ...]) -> None:
    assert added_fields(given, NAME) == added


@pytest.mark.parametrize(
    "given", [schema(100, 102), schema(100, 101, 104, dynamic=True), schema(101, 102), schema(100, struct=(102, 103))]
)
def test_a_dropped_field_is_refused_with_the_numbers_that_are_free(given: CollectionSchema) -> None:
    with pytest.raises(
        FieldIdMismatchError, match=r"default\.c had fields that were dropped \(numbers free: 10"
    ) as err:
        added_fields(given, NAME)
    assert "copy it to a new one" in err.value.hint


@pytest.mark.parametrize(
    ("given", "since", "added"),
    [
        (schema(100, 101, 102, 103), 102, ("102", "103")),
        (schema(100, 101, 103, 104, dynamic=True), 104, ("103", "104")),
        (schema(100, 101, 102), 103, ()),
    ],
)
def test_fields_since_a_number_are_added_later_though_they_could_be_made_at_once(
    given: CollectionSchema, since: int, added: tuple[str, ...]
) -> None:
    assert added_fields(given, NAME, since=since) == added
    assert can_be_added(given, since) is bool(added)


def test_a_field_before_the_hidden_one_cannot_be_added_later() -> None:
    assert not can_be_added(schema(100, 101, dynamic=True), 101)
    assert not can_be_added(schema(100, 101, struct=(102, 103)), 101)


def test_fields_of_structs_are_numbered_by_their_full_names() -> None:
    short, full = schema(100, struct=(101, 102)), schema(100)
    named = StructArraySchema(field_id=101, name="s", fields=(FieldSchema(field_id=102, name="s[102]", data_type=5),))
    full = full.model_copy(update={"struct_array_fields": (named,)})
    assert field_numbers(short) == field_numbers(full) == {"100": 100, "s": 101, "s[102]": 102}


def test_functions_are_not_run_while_a_collection_is_made() -> None:
    with_function = schema(100).model_copy(update={"functions": (EMBEDDING,)})
    assert without_function_check(with_function, (TTL,), (2, 6, 8)) == (TTL, OFF)
    assert without_function_check(with_function, (TTL, OFF), (2, 6, 19)) == (TTL, OFF)
    assert without_function_check(with_function, (TTL,), (2, 6, 7)) == (TTL,)
    assert without_function_check(schema(100), (TTL,), (2, 6, 19)) == (TTL,)
