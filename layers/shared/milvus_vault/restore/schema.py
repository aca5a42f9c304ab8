"""How a collection is made so that its fields get the numbers that they have in the backup.

Milvus numbers fields itself: from 100 on in the order of the request, then the hidden field of dynamic values,
then structs with their fields. A field that was added later comes after all of them, so it has to be added later
again.
"""

from collections.abc import Iterator, Set
from typing import NamedTuple

from milvus_vault.errors import FieldIdMismatchError
from milvus_vault.model.collections import (
    FIRST_FIELD,
    CollectionName,
    CollectionSchema,
    FieldSchema,
    KeyValue,
    StructArraySchema,
)
from milvus_vault.model.versions import FUNCTION_CHECK_SINCE

NAMED_IN_MESSAGE = 5

_NO_FUNCTION_CHECK = KeyValue(key="disable_func_runtime_check", value="true")


def added_fields(schema: CollectionSchema, name: CollectionName, *, since: int = 0) -> tuple[str, ...]:
    """Return the names of the fields that were added after the collection was made, in their order.

    With `since` the field of this number and all after it are among them, since there are rows that are older. Raises
    `FieldIdMismatchError` where no new collection could have these numbers, since fields were dropped.
    """
    fields = sorted((field for field in schema.fields if not field.is_dynamic), key=lambda field: field.field_id)
    wanted = field_numbers(schema)
    most = sum(field.field_id < since for field in fields) if since else len(fields)
    for count in range(most, 0, -1):
        names = [field.name for field in fields]
        if dict(_numbered(schema, names[:count], names[count:])) == wanted:
            return tuple(names[count:])
    taken = set(wanted.values())
    missing = [str(number) for number in range(FIRST_FIELD, max(taken, default=FIRST_FIELD)) if number not in taken]
    msg = (
        f"{name} had fields that were dropped (numbers free: {', '.join(missing)}), and no new collection can be alike"
    )
    raise FieldIdMismatchError(
        msg, hint="Leave this collection out, or copy it to a new one in the source and back that up."
    )


def can_be_added(schema: CollectionSchema, since: int) -> bool:
    """Return whether a new collection can be made without the field of this number and all after it, and get them."""
    try:
        return bool(added_fields(schema, CollectionName(database="", name=schema.name), since=since))
    except FieldIdMismatchError:
        return False


def field_numbers(schema: CollectionSchema) -> dict[str, int]:
    """Return the number of each field by its name, those of structs and of their fields included."""
    numbers = {field.name: field.field_id for field in schema.fields if not field.is_dynamic}
    for struct in schema.struct_array_fields:
        numbers[struct.name] = struct.field_id
        numbers |= {_full_name(struct, field): field.field_id for field in struct.fields}
    return numbers


def check_alike(
    wanted: CollectionSchema,
    found: CollectionSchema,
    name: CollectionName,
    *,
    without: Set[str] = frozenset(),
    is_new: bool = False,
) -> None:
    """Raise `FieldIdMismatchError` unless a collection's fields take the backup's rows as they are.

    Binlogs are matched by the numbers of fields. If a field had another type or dimension, Milvus would misread its
    values, and a field that cannot be null has no place for nulls.

    Args:
        wanted: What the rows were written by.
        found: What the server says of the collection.
        name: The collection's name.
        without: Fields that are added later.
        is_new: Whether the server has just made it, so that it knows no better: it leaves out in silence what is newer.
    """
    numbers = {field: number for field, number in field_numbers(wanted).items() if field not in without}
    different = sorted({*numbers.items()} ^ {*field_numbers(found).items()}, key=lambda pair: pair[1])
    words = [f"{field} ({number})" for field, number in different]
    hint = "Fields were added or dropped since the source was made; make the target alike, and use `skip_create`."
    if not words:
        there = _shapes(found)
        lacking = {field: shape.lacking_in(there[field]) for field, shape in _shapes(wanted).items() if field in there}
        words = [f"{field} ({what})" for field, what in lacking.items() if what]
        hint = "Restore into a newer Milvus, which knows such fields." if is_new else "Make the target alike."
    if words:
        msg = f"the fields of {name} are not the backup's; they differ in {', '.join(words[:NAMED_IN_MESSAGE])}"
        raise FieldIdMismatchError(msg, hint=hint)


class _Shape(NamedTuple):
    """What a field's values depend on."""

    data_type: int
    element_type: int
    dimension: str
    is_nullable: bool

    def lacking_in(self, other: "_Shape") -> str:
        """Return in words why values of this shape have no place in a field of another one; empty if they have."""
        if (self.data_type, self.element_type) != (other.data_type, other.element_type):
            return "its type"
        if self.dimension != other.dimension:
            return f"{other.dimension} instead of {self.dimension} dimensions"
        return "it cannot be null" if self.is_nullable and not other.is_nullable else ""


def _shapes(schema: CollectionSchema) -> dict[str, _Shape]:
    """Return the shape of each field by its name; of a struct whether it can be null, which is its fields' too."""
    shapes = {field.name: _shape(field) for field in schema.fields if not field.is_dynamic}
    shapes |= {struct.name: _Shape(0, 0, "", struct.nullable) for struct in schema.struct_array_fields}
    return shapes


def _shape(field: FieldSchema) -> _Shape:
    dimension = next((item.value for item in field.type_params if item.key == "dim"), "")
    return _Shape(field.data_type, field.element_type, dimension, field.nullable)


def _full_name(struct: StructArraySchema, field: FieldSchema) -> str:
    """Return a struct's field's name as 2.6 tells it; an archive may have the short one."""
    return field.name if field.name.startswith(f"{struct.name}[") else f"{struct.name}[{field.name}]"


def _numbered(schema: CollectionSchema, created: list[str], added: list[str]) -> Iterator[tuple[str, int]]:
    """Yield the number that each field gets if some are created with the collection, and the others added."""
    number = FIRST_FIELD
    for name in created:
        yield name, number
        number += 1
    number += schema.enable_dynamic_field
    for struct in schema.struct_array_fields:
        yield struct.name, number
        number += 1
        for field in struct.fields:
            yield _full_name(struct, field), number
            number += 1
    for name in added:
        yield name, number
        number += 1


def without_function_check(
    schema: CollectionSchema, properties: tuple[KeyValue, ...], server: tuple[int, int, int]
) -> tuple[KeyValue, ...]:
    """Return the properties to create a collection with: a service that is down must not stop a restore."""
    if not schema.functions or server < FUNCTION_CHECK_SINCE:
        return properties
    return (*(item for item in properties if item.key != _NO_FUNCTION_CHECK.key), _NO_FUNCTION_CHECK)
