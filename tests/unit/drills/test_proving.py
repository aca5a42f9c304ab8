"""Comparing real archives with a Milvus that holds what they hold, but for one thing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest

from milvus_vault.archive.reader import find_collection
from milvus_vault.drills.proving import Comparison, DrillProof
from milvus_vault.drills.working_files import (
    PLAN,
    DrilledCollection,
    DrillPlan,
    ProvenCollection,
    Restored,
    proven_name,
)
from milvus_vault.errors import LoadFailedError
from milvus_vault.model.collections import CollectionName, FieldSchema, IndexDescription, KeyValue
from milvus_vault.model.messages_drill import ProveDrillResult
from milvus_vault.model.requests import DrillRequest
from milvus_vault.ports import IndexProgress, Neighbour
from milvus_vault.rows import WRITTEN_AT, Selection, read_rows
from milvus_vault.workspace import Workspace
from tests.unit.archive.samples import BUCKET, PREFIX, golden_layout, golden_store

NOW = datetime(2026, 11, 30, tzinfo=UTC)
TARGET = CollectionName(database="scratch", name="drill_0")
store_of = cache(golden_store)

type Row = dict[str, Any]


@dataclass
class Copy:
    """A collection in Milvus: its rows by partition, with the values that a query returns."""

    key: str
    partitions: dict[str, dict[Any, Row]]
    indexes: dict[str, str]
    """Metric by field."""
    near: Sequence[Neighbour] = ()
    """What a search among all rows finds; none: the row whose vector it is."""
    own_score: float = 0.0
    loses: set[str] = field(default_factory=set)
    """Fields by which no search finds anything."""
    searched: list[str] = field(default_factory=list)
    percent: int | None = 100
    """How much of it is loaded, None: not all of its partitions are."""
    has_loaded_partitions: bool = False
    """Whether, while not all of them are, some are loaded."""
    asked: int = 0
    """How often it was to be loaded."""

    @property
    def rows(self) -> dict[Any, Row]:
        return {key: row for rows in self.partitions.values() for key, row in rows.items()}

    def list_indexes(self, database: str, name: str) -> tuple[IndexDescription, ...]:
        assert (database, name) == (TARGET.database, TARGET.name)
        return tuple(
            IndexDescription(index_id=1, name=of, field_name=of, params=(KeyValue(key="metric_type", value=metric),))
            for of, metric in self.indexes.items()
        )

    def create_index(self, database: str, name: str, index: IndexDescription) -> None:
        assert (database, name) == (TARGET.database, TARGET.name)
        self.indexes[index.field_name] = index.param("metric_type")

    def index_progress(self, database: str, name: str) -> IndexProgress:
        return IndexProgress((database, name) == (TARGET.database, TARGET.name))

    def load_percent(self, database: str, name: str, partitions: Sequence[str] = ()) -> int | None:
        assert (database, name) == (TARGET.database, TARGET.name)
        assert list(partitions) in (["_default"], [])
        return self.percent if partitions or self.percent is not None or not self.has_loaded_partitions else 100

    def release(self, database: str, name: str) -> None:
        assert (database, name) == (TARGET.database, TARGET.name)
        assert self.has_loaded_partitions
        self.has_loaded_partitions = False

    def request_load(
        self,
        database: str,
        name: str,
        *,
        replicas: int,
        partitions: Sequence[str] = (),
        resource_groups: Sequence[str] = (),
    ) -> None:
        assert (database, name, replicas) == (TARGET.database, TARGET.name, 1)
        assert (partitions, resource_groups) == ((), ())
        self.asked += 1

    def count_query_nodes(self, resource_group: str) -> int:
        raise AssertionError(resource_group)

    def count_rows(self, database: str, name: str, partitions: Sequence[str] = ()) -> int:
        assert (database, name) == (TARGET.database, TARGET.name)
        return sum(len(rows) for of, rows in self.partitions.items() if not partitions or of in partitions)

    def rows_by_key(
        self, database: str, name: str, key: str, keys: Sequence[Any], fields: Sequence[str]
    ) -> list[Mapping[str, object]]:
        assert (database, name, key) == (TARGET.database, TARGET.name, self.key)
        return [{name: self.rows[one][name] for name in fields} for one in keys if one in self.rows]

    def nearest(
        self, database: str, name: str, index: IndexDescription, field: FieldSchema, vector: object, *,
        limit: int, of_key: tuple[str, Any] | None = None,
    ) -> list[Neighbour]:  # fmt: skip
        assert (database, name, index.field_name) == (TARGET.database, TARGET.name, field.name)
        self.searched.append(index.field_name)
        if index.field_name in self.loses:
            return []
        if of_key:
            return [Neighbour(of_key[1], self.own_score)]
        if self.near:
            return list(self.near)
        return [Neighbour(key, 0.0) for key, row in self.rows.items() if row[index.field_name] == vector][:limit]


def as_queried(row: Row, json_fields: set[str]) -> Row:
    return {name: value.encode() if name in json_fields and value is not None else value for name, value in row.items()}


@dataclass
class World:
    """A collection of a golden archive, and its copy."""

    archive: str
    name: CollectionName
    copy: Copy
    row_count: int = 1000
    now: datetime = NOW
    lifetime: int | None = None
    """Seconds that rows of the collection live; None: for ever."""

    @property
    def plan(self) -> DrillPlan:
        """The plan of a drill of the collection."""
        return DrillPlan(
            request=DrillRequest(backup_name=self.archive, row_count=self.row_count),
            execution_arn="arn:aws:states:x:y:execution:drill:a",
            started_at=NOW,
            backup_name=self.archive,
            backup_finished_at=None,
            milvus="here",
            milvus_version="2.3.5",
            database=TARGET.database,
            seed=1,
            collections=(DrilledCollection(source=self.name, target=TARGET, size_bytes=0),),
            collection_total=1,
        )

    def compare(self) -> ProvenCollection:
        """Return what the comparison finds."""
        store, layout = golden_store(self.archive), golden_layout(self.archive)
        run = Workspace(store, BUCKET, PREFIX, "drill-a-1")
        archived = find_collection(store, BUCKET, layout, self.name)
        if self.lifetime is not None:
            properties = (KeyValue(key="collection.ttl.seconds", value=str(self.lifetime)),)
            archived = replace(archived, layout=archived.layout.model_copy(update={"properties": properties}))
        comparison = Comparison(run, self.plan, 0, archived, self.copy, self.now)
        assert comparison.count(lambda: 900.0)
        return comparison.compare()


def world(archive: str, name: str) -> World:
    """Return a collection of a golden archive, and a copy that is the same."""
    database, _, collection = name.partition(".")
    full, store, layout = CollectionName(database=database, name=collection), store_of(archive), golden_layout(archive)
    archived = find_collection(store, BUCKET, layout, full)
    schema = archived.layout.collection_schema
    key = next(one.name for one in schema.fields if one.is_primary_key)
    json_fields = {one.name for one in schema.fields if one.data_type == 23}
    partitions = {}
    for partition in archived.partitions:
        batches = read_rows(store, BUCKET, layout, full, Selection(partition=partition.name)).batches
        rows = [as_queried(row, json_fields) for batch in batches for row in batch.to_pylist()]
        partitions[partition.name] = {row[key]: row for row in rows}
    indexes = {index.field_name: index.param("metric_type") for index in archived.indexes}
    return World(archive, full, Copy(key, partitions, {name: metric for name, metric in indexes.items() if metric}))


@pytest.fixture
def all_types() -> World:
    """A collection of a real 2.3 with each of its types."""
    return world("golden_057", "default.all_types")


@pytest.mark.parametrize(
    "name", ["default.all_types", "default.by_name", "books.tenants", "books.layers", "books.empty"]
)
def test_nothing_differs_where_nothing_is_changed(name: str) -> None:
    same = world("golden_057", name)
    found = same.compare()
    assert (found.differences, found.warnings) == ((), ())
    assert found.row_count == found.compared_count == len(same.copy.rows)
    assert found.searched_count == (3 if same.copy.rows else 0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("flag", None), ("i8", 100), ("i64", 1), ("f32", 0.1), ("f64", 0.1), ("doc", b'{"wrong": 1}'), ("txt", "wrong"),
        ("ints", [9]), ("strs", ["wrong"]), ("vec", None),
    ],
)  # fmt: skip
def test_a_value_that_is_another_one_is_told_by_key_and_field(all_types: World, name: str, value: object) -> None:
    key, row = next(item for item in all_types.copy.rows.items() if item[1][name] not in (None, value))
    row[name] = [*row[name][:-1], row[name][-1] + 1.0] if name == "vec" else value

    (difference,) = all_types.compare().differences

    assert difference.startswith(f"default.all_types id {key} field {name}: ")
    assert "wrong" not in difference


def test_a_long_key_is_told_in_short() -> None:
    one = world("golden_057", "default.by_name")
    archived = find_collection(golden_store(one.archive), BUCKET, golden_layout(one.archive), one.name)
    run = Workspace(golden_store(one.archive), BUCKET, PREFIX, "drill-a-1")
    comparison = Comparison(run, one.plan, 0, archived, one.copy, NOW)
    assert len(comparison.named("k" * 65_535)) < 120
    assert "'brief'" in comparison.named("brief")


def test_of_many_rows_a_sample_of_that_size_is_compared_and_all_are_counted(all_types: World) -> None:
    all_types.row_count = 7
    found = all_types.compare()
    assert (found.compared_count, found.row_count) == (7, len(all_types.copy.rows))


@pytest.mark.parametrize(
    ("metric", "own_score", "is_right"),
    [
        ("L2", 0.5, True), ("L2", 1.0, True), ("L2", 1.5, False),
        ("HAMMING", 1.5, False), ("JACCARD", 0.5, True),
        ("COSINE", 1.5, True), ("COSINE", 0.5, False),
        # The same by float32, in another order of adding.
        ("L2", 1.000001, True), ("COSINE", 0.999999, True), ("L2", 1.001, False), ("COSINE", 0.999, False),
        ("IP", 0.5, True), ("IP", 1.5, True),
    ],
)  # fmt: skip
def test_a_row_that_is_not_among_the_nearest_has_to_be_as_near_as_the_last_of_them(
    metric: str, own_score: float, *, is_right: bool
) -> None:
    one = world("golden_057", "books.layers")
    one.copy.indexes, one.copy.own_score = {"v": metric}, own_score
    one.copy.near = [Neighbour(-1, 1.0)]
    found = one.compare()
    assert bool(found.differences) is not is_right
    assert found.searched_count == (3 if is_right else 0)


def test_a_search_that_finds_nothing_is_told() -> None:
    one = world("golden_057", "books.layers")
    one.copy.loses = {"v"}
    differences = one.compare().differences
    assert differences
    assert all("a search for its vector v does not find it" in text for text in differences)


def test_rows_that_have_expired_may_be_missing_and_are_not_counted_as_compared_but_none_may_be_too_many() -> None:
    one = world("golden_057", "books.layers")
    one.lifetime = 60
    (rows,) = one.copy.partitions.values()
    key, row = rows.popitem()
    found = one.compare()
    assert (found.differences, found.compared_count) == ((), len(rows))
    warning = f"books.layers has a time to live: 1 of its {len(rows) + 1} rows have expired, and did not come back"
    assert found.warnings == (warning,)

    rows |= {key: row, key + 10**6: row}
    found = one.compare()
    assert found.differences == (f"books.layers has {len(rows)} rows instead of {len(rows) - 1}",)
    assert found.warnings == ()


@pytest.mark.parametrize("lifetime", [10**9, -1, 0])
def test_rows_that_have_not_expired_must_not_be_missing(lifetime: int) -> None:
    one = world("golden_057", "books.layers")
    one.lifetime = lifetime
    (rows,) = one.copy.partitions.values()
    key, _ = rows.popitem()
    found = one.compare()
    assert found.differences == (
        f"books.layers has {len(rows)} rows instead of {len(rows) + 1}",
        f"books.layers id {key}: the row is missing",
    )
    assert (found.compared_count, found.warnings) == (len(rows), ())


def test_of_rows_of_which_some_have_expired_the_others_have_to_be_there() -> None:
    one = world("golden_057", "books.layers")
    batches = read_rows(
        store_of(one.archive), BUCKET, golden_layout(one.archive), one.name, Selection(with_timestamps=True)
    ).batches
    written = {row["id"]: row[WRITTEN_AT] >> 18 for batch in batches for row in batch.to_pylist()}
    oldest, newest = min(written.values()), max(written.values())
    # Those of the newest second have a minute left, but for the margin of an hour, and the others none.
    assert newest - oldest > 0
    one.now = datetime.fromtimestamp(newest / 1000, UTC) + timedelta(days=1)
    one.lifetime = 86_400 + 2 * 3600
    (rows,) = one.copy.partitions.values()
    rows.clear()
    found = one.compare()
    assert found.compared_count == 0
    assert found.differences[0] == f"books.layers has 0 rows instead of {len(written)}"
    assert len(found.differences) == 100

    one.now += timedelta(hours=1)
    assert one.compare().differences == ()


@dataclass
class Loading(Copy):
    """A copy that Milvus does not load at once."""

    percent: int | None = None


def test_what_is_not_indexed_and_not_loaded_is_before_it_is_compared_and_not_waited_for_without_end() -> None:
    one = world("golden_057", "books.growing")
    assert one.copy.indexes == {}
    copy = Loading(one.copy.key, one.copy.partitions, {})
    store = golden_store(one.archive)
    run, plan = Workspace(store, BUCKET, PREFIX, "drill-a-1"), one.plan
    run.write(PLAN, plan)
    restored = Restored(started_at=NOW, finished_at=NOW)

    def prove(seconds: float) -> ProveDrillResult:
        now = NOW + timedelta(seconds=seconds)
        return DrillProof(run, plan, restored, copy, now, lambda: 900.0).prove()

    assert prove(100) == ProveDrillResult(is_done=False, proven_count=0, wait_seconds=10)
    assert (copy.asked, copy.indexes) == (1, {"v": "L2"})
    copy.percent = 50
    assert prove(3600).wait_seconds == 60
    with pytest.raises(LoadFailedError, match="is not loaded 1 h 0 min after it was asked for"):
        prove(3601)
    copy.percent = 100
    assert prove(3700) == ProveDrillResult(is_done=True, proven_count=1, wait_seconds=0)
    assert copy.asked == 1
    assert run.read(proven_name(0), ProvenCollection).differences == ()


@dataclass
class ManyLoading(Loading):
    """A copy that stands for many collections, and counts what is asked of them."""

    asked_of: list[str] = field(default_factory=list)
    loaded: set[str] = field(default_factory=set)

    def list_indexes(self, database: str, name: str) -> tuple[IndexDescription, ...]:
        self.asked_of.append(name)
        return super().list_indexes(database, TARGET.name)

    def index_progress(self, database: str, name: str) -> IndexProgress:
        return IndexProgress(bool(database and name))

    def load_percent(self, database: str, name: str, partitions: Sequence[str] = ()) -> int | None:
        assert (database, list(partitions)) in ((TARGET.database, ["_default"]), (TARGET.database, []))
        return 100 if name in self.loaded else None

    def request_load(
        self,
        database: str,
        name: str,
        *,
        replicas: int,
        partitions: Sequence[str] = (),
        resource_groups: Sequence[str] = (),
    ) -> None:
        assert (database, replicas) == (TARGET.database, 1)
        assert (partitions, resource_groups) == ((), ())
        self.loaded.add(name)

    def count_rows(self, database: str, name: str, partitions: Sequence[str] = ()) -> int:
        assert name
        return super().count_rows(database, TARGET.name, partitions)

    def rows_by_key(
        self, database: str, name: str, key: str, keys: Sequence[Any], fields: Sequence[str]
    ) -> list[Mapping[str, object]]:
        assert name
        return super().rows_by_key(database, TARGET.name, key, keys, fields)

    def nearest(
        self, database: str, name: str, index: IndexDescription, field: FieldSchema, vector: object, *,
        limit: int, of_key: tuple[str, Any] | None = None,
    ) -> list[Neighbour]:  # fmt: skip
        assert name
        return super().nearest(database, TARGET.name, index, field, vector, limit=limit, of_key=of_key)


def test_of_many_collections_a_bounded_number_is_asked_for_before_some_are_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = world("golden_057", "books.growing")
    copy = ManyLoading(one.copy.key, one.copy.partitions, {"v": "L2"})
    store = golden_store(one.archive)
    run = Workspace(store, BUCKET, PREFIX, "drill-a-1")
    manifests: list[str] = []
    chunks = store.chunks

    def watched(bucket: str, key: str, etag: str = "") -> Iterator[bytes]:
        manifests.extend([key] if "full_meta.json" in key else [])
        return chunks(bucket, key, etag)

    monkeypatch.setattr(store, "chunks", watched)
    many = tuple(
        DrilledCollection(
            source=one.name, target=CollectionName(database=TARGET.database, name=f"drill_{number}"), size_bytes=0
        )
        for number in range(100)
    )
    plan = one.plan.model_copy(update={"collections": many})
    left = [900.0]

    def prove() -> ProveDrillResult:
        return DrillProof(run, plan, Restored(started_at=NOW, finished_at=NOW), copy, NOW, lambda: left[0]).prove()

    assert prove() == ProveDrillResult(is_done=False, proven_count=0, wait_seconds=1)
    assert copy.asked_of == [f"drill_{number}" for number in range(32)]
    # Once for all collections.
    assert len(manifests) == 1
    # Where time runs short, nothing more is begun, and what was begun is done.
    left[0] = 100.0
    assert prove() == ProveDrillResult(is_done=False, proven_count=1, wait_seconds=0)
    left[0] = 900.0
    done = prove()
    assert (done.is_done, done.proven_count, done.wait_seconds) == (False, 32, 0)
    while not done.is_done:
        done = prove()
    assert done.proven_count == 100


def test_it_is_waited_for_a_collection_since_the_last_one_was_compared() -> None:
    one = world("golden_057", "books.growing")
    copy = ManyLoading(one.copy.key, one.copy.partitions, {"v": "L2"}, loaded={"drill_0"})
    run = Workspace(golden_store(one.archive), BUCKET, PREFIX, "drill-a-1")
    (first,) = one.plan.collections
    second = first.model_copy(update={"target": CollectionName(database=TARGET.database, name="drill_1")})
    plan = one.plan.model_copy(update={"collections": (first, second)})

    def prove(hours: float) -> ProveDrillResult:
        copy.loaded.discard("drill_1")
        restored, now = Restored(started_at=NOW, finished_at=NOW), NOW + timedelta(hours=hours)
        return DrillProof(run, plan, restored, copy, now, lambda: 900.0).prove()

    assert prove(5).proven_count == 1
    assert prove(6) == ProveDrillResult(is_done=False, proven_count=1, wait_seconds=1)
    assert prove(7).wait_seconds == 60
    with pytest.raises(LoadFailedError):
        prove(7.1)
