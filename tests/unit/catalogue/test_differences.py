"""How two collections differ, by what is recorded of them alone."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvus_vault.archive.contents import ArchivedCollection
from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.reader import read_archive
from milvus_vault.catalogue.differences import (
    SettingsComparison,
    compare_objects,
    compare_partitions,
    compare_settings,
    mirrored,
    sum_of,
)
from milvus_vault.model.base import Model
from milvus_vault.model.collections import CollectionLayout, CollectionSchema, FieldSchema, KeyValue
from milvus_vault.model.objects import ArchivedObject
from milvus_vault.model.resources import ObjectCount, SettingDiff
from tests.unit.archive.samples import BUCKET, PREFIX, new_store, sample_contents, write_backup


def sample() -> ArchivedCollection:
    """Return a collection with all that one can have."""
    store, layout = new_store(), BackupLayout(PREFIX, "b")
    write_backup(store, layout, sample_contents(layout))
    return read_archive(store, BUCKET, layout).collections[0]


RICH = sample()


def with_schema(change: Callable[[CollectionSchema], dict[str, Any]]) -> ArchivedCollection:
    """Return the sample with another schema."""
    schema = changed(RICH.layout.collection_schema, **change(RICH.layout.collection_schema))
    return replace(RICH, layout=changed(RICH.layout, collection_schema=schema))


def changed[M: Model](model: M, **fields: Any) -> M:
    """Return a model with other fields."""
    return model.model_copy(update=fields)


def settings(b: ArchivedCollection, *, whole: tuple[bool, bool] = (True, True)) -> SettingsComparison:
    """Return how another collection differs from the sample."""
    return compare_settings(RICH, b, is_a_whole=whole[0], is_b_whole=whole[1])


def with_layout(**fields: Any) -> ArchivedCollection:
    """Return the sample with another layout."""
    layout: CollectionLayout = changed(RICH.layout, **fields)
    return replace(RICH, layout=layout)


PRICE = FieldSchema(field_id=120, name="price", data_type=5, nullable=True)
SHORTER = KeyValue(key="max_length", value="32")


@pytest.mark.parametrize(
    ("b", "differences"),
    [
        (RICH, []),
        (
            with_schema(lambda schema: {"fields": (*schema.fields, PRICE)}),
            [("field", "price", "added", {}, {"field_id": "120", "data_type": "5", "nullable": "true"})],
        ),
        (
            with_schema(lambda s: {"fields": tuple(f for f in s.fields if f.name != "tags")}),
            [("field", "tags", "removed", {"field_id": "103", "data_type": "22", "element_type": "21"}, {})],
        ),
        (
            with_schema(
                lambda s: {
                    "fields": tuple(
                        changed(f, type_params=(SHORTER,), nullable=False) if f.name == "title" else f for f in s.fields
                    )
                }
            ),
            [
                (
                    "field", "title", "changed",
                    {"type_params": "max_length=64", "nullable": "true"}, {"type_params": "max_length=32"},
                )
            ],
        ),
        (
            with_schema(lambda _: {"functions": ()}),
            [
                (
                    "function", "bm25", "removed",
                    {
                        "function_type": "1", "input_field_names": "title", "output_field_names": "sparse",
                        "params": "b=0.75",
                    },
                    {},
                )
            ],
        ),
        (
            with_schema(lambda s: {"struct_array_fields": tuple(changed(x, fields=()) for x in s.struct_array_fields)}),
            [("field", "pages[text]", "removed", {"field_id": "111", "data_type": "22"}, {})],
        ),
        (
            with_schema(lambda _: {"description": "", "enable_dynamic_field": False}),
            [
                (
                    "collection", "", "changed",
                    {"description": RICH.layout.collection_schema.description, "enable_dynamic_field": "true"}, {},
                )
            ],
        ),
        (with_layout(shards=4), [("collection", "", "changed", {"shards": "2"}, {"shards": "4"})]),
        (
            with_layout(properties=(KeyValue(key="collection.ttl.seconds", value="60"),)),
            [("property", "collection.ttl.seconds", "changed", {"value": "3600"}, {"value": "60"})],
        ),
        (replace(RICH, aliases=("current", "next")), [("alias", "next", "added", {}, {})]),
        (
            replace(RICH, indexes=(changed(RICH.indexes[0], index_id=1, field_name="title"),)),
            [("index", "by_title", "changed", {"field_name": "sparse"}, {"field_name": "title"})],
        ),
        # Numbers that Milvus gives, and orders that say nothing, are no difference.
        (replace(RICH, indexes=(changed(RICH.indexes[0], index_id=1, params=RICH.indexes[0].params[::-1]),)), []),
        (with_schema(lambda schema: {"fields": schema.fields[::-1]}), []),
    ],
)  # fmt: skip
def test_what_differs_of_the_settings_is_named(b: ArchivedCollection, differences: list[tuple[Any, ...]]) -> None:
    found = settings(b)
    assert [(d.kind, d.name, d.change, d.a, d.b) for d in found.differences] == differences
    assert found.unknown == ()
    back = compare_settings(b, RICH, is_a_whole=True, is_b_whole=True)
    turned = {"added": "removed", "removed": "added", "changed": "changed"}
    assert list(back.differences) == [
        SettingDiff.model_validate({"kind": d.kind, "name": d.name, "change": turned[d.change], "a": d.b, "b": d.a})
        for d in found.differences
    ]


def test_a_schema_that_differs_in_what_only_milvus_reads_is_not_said_to_be_equal() -> None:
    found = settings(with_layout(schema_proto=b"other"))
    assert (found.differences, found.unknown) == ((), ("something of the schema that only Milvus reads",))


def test_what_another_tool_has_nothing_of_is_not_known() -> None:
    bare = replace(
        with_schema(
            lambda s: {
                "functions": (), "properties": (),
                "fields": tuple(changed(f, nullable=False, default_value=None) for f in s.fields if not f.is_dynamic),
            }
        ),
        aliases=(),
    )  # fmt: skip
    bare = replace(bare, layout=changed(bare.layout, properties=(), schema_proto=None))
    found = settings(bare, whole=(True, False))
    assert found.differences == ()
    assert found.unknown == (
        "field title: default_value", "field title: nullable", "functions", "properties", "aliases",
    )  # fmt: skip
    assert compare_settings(bare, RICH, is_a_whole=False, is_b_whole=True) == found
    # What it has proves that it has a place for it.
    has_one = replace(bare, aliases=("other",))
    assert [(d.kind, d.name, d.change) for d in settings(has_one, whole=(True, False)).differences] == [
        ("alias", "current", "removed"),
        ("alias", "other", "added"),
    ]


def test_partitions_are_compared_by_name_and_those_of_one_collection_by_id() -> None:
    default, north = RICH.partitions
    other = replace(RICH, partitions=(replace(default, partition_id=1), replace(north, name="south")))
    assert compare_partitions(RICH, other) == (("south",), ("north",), ("_default",))
    assert compare_partitions(RICH, replace(other, collection_id=7)) == (("south",), ("north",), ())


def item(key: str, size_bytes: int = 10, etag: str = "e", checksum: str = "") -> ArchivedObject:
    """Return an object; where it is stored says nothing."""
    return ArchivedObject(f"somewhere/{id(key)}", key, size_bytes, etag, checksum)


@pytest.mark.parametrize(
    ("b", "expected"),
    [
        (item("k", etag="e"), "shared"),
        (item("k", etag="f"), "only_in_b"),
        (item("k", etag="f", checksum="CRC64NVME:x"), "shared"),
        (item("k", etag="f", checksum="CRC64NVME:y"), "only_in_b"),
        (item("k", etag="", checksum="CRC64NVME:x"), "shared"),
        (item("k", etag="", checksum=""), "unknown"),
        (item("k", size_bytes=11), "only_in_b"),
        (item("l"), "only_in_b"),
    ],
)
def test_objects_are_the_same_if_key_and_size_are_and_etag_or_checksum(b: ArchivedObject, expected: str) -> None:
    found = compare_objects([item("k", checksum="CRC64NVME:x")], [b])
    assert getattr(found, expected) == ObjectCount(object_count=1, size_bytes=b.size_bytes)


OBJECTS = st.lists(
    st.builds(
        item, st.sampled_from("abcd"), st.integers(0, 2), st.sampled_from(["", "e", "f"]), st.sampled_from(["", "x:y"])
    ),
    max_size=12,
)


def total(*counts: ObjectCount) -> tuple[int, int]:
    """Return how many objects and bytes counts have together."""
    return sum(count.object_count for count in counts), sum(count.size_bytes for count in counts)


@given(OBJECTS, OBJECTS)
def test_a_comparison_is_the_mirror_of_the_other_one_and_counts_each_object_once(
    a: list[ArchivedObject], b: list[ArchivedObject]
) -> None:
    found = compare_objects(a, b)
    assert compare_objects(b, a) == mirrored(found)
    assert total(found.shared, found.unknown, found.only_in_a) == (len(a), sum(item.size_bytes for item in a))
    assert total(found.shared, found.unknown, found.only_in_b) == (len(b), sum(item.size_bytes for item in b))
    assert sum_of([found, mirrored(found)]).only_in_a == sum_of([mirrored(found), found]).only_in_b


@given(OBJECTS)
def test_nothing_differs_from_itself(a: list[ArchivedObject]) -> None:
    by_place = {(item.source_key, item.size_bytes): item for item in a}.values()
    found = compare_objects(by_place, by_place)
    assert total(found.only_in_a, found.only_in_b) == (0, 0)
    assert found.unknown.object_count == sum(not (item.etag or item.checksum) for item in by_place)
