"""How two collections differ: their settings, their partitions and their objects. Nothing is read here."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

from milvus_vault.archive.contents import ArchivedCollection
from milvus_vault.model.base import Model
from milvus_vault.model.collections import DYNAMIC_FIELD, FieldSchema, KeyValue
from milvus_vault.model.objects import ArchivedObject
from milvus_vault.model.resources import ObjectCount, ObjectDiff, SettingDiff, SettingKind

type Items = Mapping[str, Mapping[str, str]]
"""Things of one kind by name, each with its members as text; what is empty, zero or false is left out."""

# Every release of milvus-backup records these as a whole: what has none there has none.
_ALWAYS_RECORDED = frozenset({"collection", "field", "index"})

_NO_CONTENT = b"\0" * 8


@dataclass(frozen=True, slots=True)
class SettingsComparison:
    """What differs between the settings of two collections, and what is not recorded of one of them."""

    differences: tuple[SettingDiff, ...]
    unknown: tuple[str, ...]


def compare_settings(
    a: ArchivedCollection, b: ArchivedCollection, *, is_a_whole: bool, is_b_whole: bool
) -> SettingsComparison:
    """Return how the settings of two collections differ: schema, properties, indexes and aliases.

    Load state, replicas and the order of things are no part of it.

    Args:
        a: The one.
        b: The other.
        is_a_whole: Whether all that there was is recorded of it. If not, what it has nothing of is not known: releases
            of milvus-backup differ in what they have a place for.
        is_b_whole: The same of the other.
    """
    differences: list[SettingDiff] = []
    unknown: list[str] = []
    in_b = dict(settings_of(b))
    for kind, items in settings_of(a):
        others = in_b[kind]
        if kind not in _ALWAYS_RECORDED and _is_unknown(items, others, is_a_whole, is_b_whole):
            unknown.append({"property": "properties", "alias": "aliases"}.get(kind, f"{kind}s"))
            continue
        for name in sorted(items.keys() | others.keys()):
            if name not in others:
                differences.append(SettingDiff(kind=kind, name=name, change="removed", a=dict(items[name])))
            elif name not in items:
                differences.append(SettingDiff(kind=kind, name=name, change="added", b=dict(others[name])))
            else:
                left, right, hidden = _members(items[name], others[name], is_a_whole, is_b_whole)
                unknown += [f"{kind} {name}: {member}" if name else member for member in hidden]
                if left or right:
                    differences.append(SettingDiff(kind=kind, name=name, change="changed", a=left, b=right))
    protos = (a.layout.schema_proto, b.layout.schema_proto)
    if not differences and a.name == b.name and None not in protos and protos[0] != protos[1]:
        unknown.append("something of the schema that only Milvus reads")
    return SettingsComparison(tuple(differences), tuple(unknown))


def _is_unknown(a: object, b: object, is_a_whole: bool, is_b_whole: bool) -> bool:
    """Return whether one of two values is not there and may not have been recorded, so that they may be the same."""
    return (not a and bool(b) and not is_a_whole) or (not b and bool(a) and not is_b_whole)


def _members(
    a: Mapping[str, str], b: Mapping[str, str], is_a_whole: bool, is_b_whole: bool
) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """Return what differs of two things, in each of them, and the members of which that is not known."""
    left: dict[str, str] = {}
    right: dict[str, str] = {}
    hidden: list[str] = []
    for member in sorted(a.keys() | b.keys()):
        one, other = a.get(member, ""), b.get(member, "")
        if one == other:
            continue
        if _is_unknown(one, other, is_a_whole, is_b_whole):
            hidden.append(member)
            continue
        left |= {member: one} if one else {}
        right |= {member: other} if other else {}
    return left, right, hidden


def settings_of(collection: ArchivedCollection) -> Iterator[tuple[SettingKind, Items]]:
    """Yield what a collection is, by kind: its schema, properties, indexes and aliases."""
    schema, layout = collection.layout.collection_schema, collection.layout
    itself = {
        "description": schema.description,
        "auto_id": _text(schema.auto_id),
        "enable_dynamic_field": _text(schema.enable_dynamic_field),
        "shards": _text(layout.shards),
        "consistency_level": _text(layout.consistency_level),
    }
    yield "collection", {"": {name: text for name, text in itself.items() if text}}
    fields = {field.name: _texts(field, {"name"}) for field in schema.fields if not _is_hidden(field)}
    for struct in schema.struct_array_fields:
        fields[struct.name] = _texts(struct, {"name", "fields"})
        # Some releases of Milvus tell a field within a struct as `struct[field]`, others without the struct.
        for field in struct.fields:
            short = field.name.removeprefix(f"{struct.name}[").removesuffix("]")
            fields[f"{struct.name}[{short}]"] = _texts(field, {"name"})
    yield "field", fields
    numbers = {"name", "function_id", "input_field_ids", "output_field_ids"}
    yield "function", {function.name: _texts(function, numbers) for function in schema.functions}
    # From 2.5 on the schema has them as well, and milvus-backup records them there.
    properties = {item.key: item.value for item in (*schema.properties, *layout.properties)}
    yield "property", {key: {"value": value} for key, value in properties.items()}
    yield "index", {index.name: _texts(index, {"name", "index_id"}) for index in collection.indexes}
    yield "alias", {alias: {} for alias in collection.aliases}


def _is_hidden(field: FieldSchema) -> bool:
    return field.is_dynamic or field.name == DYNAMIC_FIELD


def _texts(item: Model, without: set[str]) -> dict[str, str]:
    values = {name: _text(getattr(item, name)) for name in type(item).model_fields if name not in without}
    return {name: text for name, text in values.items() if text}


def _text(value: object) -> str:
    """Return a value as text; an empty one for what is empty, zero or false."""
    match value:
        case bytes():
            return value.hex()
        case tuple():
            return ", ".join(sorted(f"{v.key}={v.value}" if isinstance(v, KeyValue) else str(v) for v in value))
        case True:
            return "true"
        case _:
            return str(value) if value else ""


class PartitionComparison(NamedTuple):
    """The partitions of two collections, by name."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    replaced: tuple[str, ...]


def compare_partitions(a: ArchivedCollection, b: ArchivedCollection) -> PartitionComparison:
    """Return which partitions only one of two collections has; and of one collection, which have another ID."""
    left = {partition.name: partition.partition_id for partition in a.partitions}
    right = {partition.name: partition.partition_id for partition in b.partitions}
    is_same = a.collection_id == b.collection_id
    return PartitionComparison(
        added=tuple(sorted(right.keys() - left.keys())),
        removed=tuple(sorted(left.keys() - right.keys())),
        replaced=tuple(sorted(n for n in left.keys() & right.keys() if is_same and left[n] != right[n])),
    )


class _Tally:
    def __init__(self) -> None:
        self.objects, self.size_bytes = 0, 0

    def add(self, item: ArchivedObject) -> None:
        self.objects += 1
        self.size_bytes += item.size_bytes

    def count(self, *without: "_Tally") -> ObjectCount:
        """Return it, without some that are part of it."""
        return ObjectCount(
            object_count=self.objects - sum(one.objects for one in without),
            size_bytes=self.size_bytes - sum(one.size_bytes for one in without),
        )


def compare_objects(
    a: Iterable[ArchivedObject],
    b: Iterable[ArchivedObject],
    source_of: Callable[[ArchivedObject], str] = lambda item: item.source_key,
) -> ObjectDiff:
    """Return how many objects two collections share, see `ObjectDiff`; their buckets are said to be the same.

    What it takes is 190 bytes for each object of `a`: of `b` one object at a time is looked at. So give the shorter
    list first, and mirror what comes of it where that is the other one.

    Args:
        a: Objects of the one; of several with one source and size the first counts.
        b: Those of the other.
        source_of: What names the object in Milvus' storage.
    """
    # 16 bytes of a hash in place of a key of a hundred, and 16 of ETag and checksum: as objects of Python twice 49,
    # and up to 91 for the slot in the table.
    held: dict[bytes, bytes] = {}
    in_a, in_b, shared, unknown = _Tally(), _Tally(), _Tally(), _Tally()
    for item in a:
        in_a.add(item)
        held.setdefault(_place(source_of(item), item.size_bytes), _content(item))
    for item in b:
        in_b.add(item)
        content = held.pop(_place(source_of(item), item.size_bytes), None)
        if content is None:
            continue
        is_same = _is_same(content, _content(item))
        if is_same is None:
            unknown.add(item)
        elif is_same:
            shared.add(item)
    return ObjectDiff(
        only_in_a=in_a.count(shared, unknown),
        only_in_b=in_b.count(shared, unknown),
        shared=shared.count(),
        unknown=unknown.count(),
    )


def mirrored(diff: ObjectDiff) -> ObjectDiff:
    """Return the comparison the other way round."""
    return ObjectDiff(only_in_a=diff.only_in_b, only_in_b=diff.only_in_a, shared=diff.shared, unknown=diff.unknown)


def sum_of(diffs: Iterable[ObjectDiff]) -> ObjectDiff:
    """Return several comparisons as one."""
    found = list(diffs)
    return ObjectDiff(
        only_in_a=_sum(diff.only_in_a for diff in found),
        only_in_b=_sum(diff.only_in_b for diff in found),
        shared=_sum(diff.shared for diff in found),
        unknown=_sum(diff.unknown for diff in found),
    )


def _sum(counts: Iterable[ObjectCount]) -> ObjectCount:
    found = list(counts)
    return ObjectCount(
        object_count=sum(one.object_count for one in found), size_bytes=sum(one.size_bytes for one in found)
    )


def _place(source: str, size_bytes: int) -> bytes:
    return blake2b(f"{size_bytes} {source}".encode(), digest_size=16).digest()


def _content(item: ArchivedObject) -> bytes:
    return _mark(item.etag) + _mark(item.checksum)


def _mark(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=8).digest() if text else _NO_CONTENT


def _is_same(a: bytes, b: bytes) -> bool | None:
    """Return whether two objects of one key and size are one; None where they have nothing to compare.

    An equal ETag or an equal checksum proves it. They differ where both have one of them, and neither is equal.
    """
    pairs = [(a[:8], b[:8]), (a[8:], b[8:])]
    known = [one == other for one, other in pairs if _NO_CONTENT not in (one, other)]
    return any(known) if known else None
