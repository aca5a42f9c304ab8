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
from milvus_vault.restore.schema import (
    added_fields,
    can_be_added,
    check_alike,
    field_numbers,
    without_function_check,
)

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


def _vector(dimension: int) -> FieldSchema:
    return FieldSchema(
        field_id=100, name="100", data_type=101, type_params=(KeyValue(key="dim", value=str(dimension)),)
    )


def _one(field_: FieldSchema) -> CollectionSchema:
    return CollectionSchema(name="c", fields=(field_,))


def _struct(*, nullable: bool) -> CollectionSchema:
    (struct,) = schema(struct=(100, 101)).struct_array_fields
    return CollectionSchema(
        name="c", fields=(), struct_array_fields=(struct.model_copy(update={"nullable": nullable}),)
    )


NULLABLE = _one(field(100).model_copy(update={"nullable": True}))


@pytest.mark.parametrize(
    ("wanted", "found", "words"),
    [
        (_one(field(100)), _one(field(101).model_copy(update={"name": "100"})), r"100 \(100\), 100 \(101\)"),
        (_one(field(100)), _one(field(100).model_copy(update={"data_type": 21})), r"100 \(its type\)"),
        (_one(field(100)), _one(field(100).model_copy(update={"element_type": 5})), r"100 \(its type\)"),
        (_one(_vector(8)), _one(_vector(4)), r"100 \(4 instead of 8 dimensions\)"),
        (NULLABLE, _one(field(100)), r"100 \(it cannot be null\)"),
        (_struct(nullable=True), _struct(nullable=False), r"s \(it cannot be null\)"),
    ],
    ids=["number", "type", "element type", "dimensions", "null", "struct"],
)
def test_a_collection_that_cannot_take_the_rows_as_they_are_is_refused(
    wanted: CollectionSchema, found: CollectionSchema, words: str
) -> None:
    with pytest.raises(FieldIdMismatchError, match=words):
        check_alike(wanted, found, NAME)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [(_one(field(100)), NULLABLE), (_struct(nullable=False), _struct(nullable=True)), (_one(_vector(8)),) * 2],
    ids=["null", "struct", "equal"],
)
def test_one_that_takes_more_is_not(wanted: CollectionSchema, found: CollectionSchema) -> None:
    check_alike(wanted, found, NAME)


def test_fields_that_come_later_are_not_missed() -> None:
    check_alike(schema(100, 101), schema(100), NAME, without={"101"})


def test_who_made_it_otherwise_decides_what_to_do() -> None:
    with pytest.raises(FieldIdMismatchError) as by_the_user:
        check_alike(NULLABLE, _one(field(100)), NAME)
    with pytest.raises(FieldIdMismatchError) as by_the_server:
        check_alike(NULLABLE, _one(field(100)), NAME, is_new=True)
    assert "Make the target alike" in by_the_user.value.hint
    assert "newer Milvus" in by_the_server.value.hint
