"""Vector fields that were added when there were rows already (milvus#53361): older rows are imported before them."""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
from pymilvus import DataType, MilvusClient

from milvus_vault.adapters.executions import StepFunctionsExecutions
from milvus_vault.adapters.milvus import MilvusDatabase
from milvus_vault.adapters.milvus_calls import MilvusCall
from milvus_vault.adapters.milvus_rest import RestImporter
from milvus_vault.errors import MilvusPermissionError, VersionUnsupportedError
from milvus_vault.model.rights import Right
from milvus_vault.restore.imports import Imports
from milvus_vault.restore.journal import Journal
from milvus_vault.restore.submission import Submission
from tests.compatibility.features import Feature
from tests.restore.conftest import Deploy
from tests.restore.servers import start_server
from tests.support.importing import Gate, jobs, quick
from tests.support.milvus_server.versions import NEWEST
from tests.support.quick_s3 import QuickS3
from tests.support.restoring import Restoring, staged_keys

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

VERSION = NEWEST
ROWS = 10
QUICK: dict[str, Any] = {"durations": quick(VERSION), "speed": 600}
BY_THEMSELVES = {"FOLD_SEGMENT_BYTES": "0"}


@pytest.fixture(scope="module")
def generations(quick_s3: QuickS3) -> Iterator[Restoring]:
    """A server with rows of three generations, with a backup of the name `generations`."""
    with ExitStack() as running:
        source = filled(partial(start_server, quick_s3, running), ["later"], ["last"])
        source.back_up("generations")
        yield source


class Killed(BaseException):
    """An execution is gone, and its clean-up with it."""


def filled(deploy: Deploy, *added: Sequence[str], dynamic: bool = False) -> Restoring:
    """Return a server with a collection of rows, to which fields were added in turn, with more rows after each."""
    source = deploy(VERSION, **QUICK)
    client = MilvusClient(source.server.uri)
    schema = client.create_schema(auto_id=False, enable_dynamic_field=dynamic)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    client.create_collection("c", schema=schema)
    there: list[str] = []
    for generation, names in enumerate(((), *added)):
        for name in names:
            add(client, name)
        there += names
        client.insert("c", [row(100 * generation + number, there) for number in range(ROWS)])
        client.flush("c")
    index(client, "v")
    client.load_collection("c")
    client.close()
    source.milvus.settle()
    return source


def add(client: MilvusClient, name: str) -> None:
    """Add a vector field with an index, or where its name says so one of numbers."""
    if name.startswith("n"):
        client.add_collection_field("c", name, DataType.INT64, nullable=True)
    else:
        client.add_collection_field("c", name, DataType.FLOAT_VECTOR, dim=2, nullable=True)
        index(client, name)


def index(client: MilvusClient, name: str) -> None:
    """Create an index of a vector field."""
    params = client.prepare_index_params()
    params.add_index(name, index_type="FLAT", metric_type="L2", index_name=f"by_{name}")
    client.create_index("c", params)


def row(number: int, names: Iterable[str]) -> dict[str, Any]:
    """Return a row with a value in each field."""
    more = {name: number if name.startswith("n") else [number, 1.0] for name in names}
    return {"id": number, "v": [number, 0.5]} | more


def by_key(restoring: Restoring) -> dict[Any, dict[int, Any]]:
    """Return the live rows by their keys."""
    columns = restoring.server.live_rows("default", "c")
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return {each[100]: {number: value for number, value in each.items() if number >= 100} for each in rows}


def described(restoring: Restoring) -> Any:
    """Return fields, indexes and load of the collection as a client sees them."""
    client = MilvusClient(restoring.server.uri)
    fields = client.describe_collection("c")["fields"]
    found = (fields, sorted(client.list_indexes("c")), client.get_load_state("c"))
    client.close()
    return found


def check_alike(source: Restoring, target: Restoring) -> None:
    """See that rows, fields, indexes and load are the same, and nothing was imported twice."""
    assert by_key(target) == by_key(source)
    assert described(target) == described(source)
    assert staged_keys(target) == []
    by_collection = Counter((job.collection.collection_id, str(job.files)) for job in jobs(target))
    assert set(by_collection.values()) == {1}


@pytest.mark.parametrize("dynamic", [False, True])
def test_rows_older_than_a_vector_field_are_imported_before_it_is_added(deploy: Deploy, *, dynamic: bool) -> None:
    source = filled(deploy, ["later"], dynamic=dynamic)
    source.back_up(f"one_vector_{dynamic}")
    target = deploy(VERSION, **QUICK)
    gate = Gate(target)
    assert target.restore({"backup_name": f"one_vector_{dynamic}"})["status"] == "complete"
    check_alike(source, target)
    assert [len(together) for together in gate.rounds] == [1, 1]
    # The hidden field's number comes before those of fields that are added.
    number = 103 if dynamic else 102
    assert [by_key(target)[key][number] is None for key in (0, 100)] == [True, False]


def test_no_field_is_added_while_older_rows_are_still_imported(deploy: Deploy, generations: Restoring) -> None:
    target = deploy(VERSION, **QUICK)
    faults, looks = target.server.faults, list[tuple[int, list[str]]]()

    def look() -> None:
        (filled_one,) = target.server.core.catalog.databases["default"].collections.values()
        looks.append((len(jobs(target)), [field.name for field in filled_one.schema.fields]))
        faults.stuck_at_index = len(looks) < 3

    faults.stuck_at_index = True
    target.after = {"advance_restore": look}
    assert target.restore({"backup_name": "generations"})["status"] == "complete"
    assert looks[:3] == [(1, ["id", "v"])] * 3
    assert looks[-1] == (3, ["id", "v", "later", "last"])
    check_alike(generations, target)


def test_a_field_that_no_segment_has_yet_is_added_when_all_rows_are_in(deploy: Deploy) -> None:
    source = filled(deploy)
    client = MilvusClient(source.server.uri)
    add(client, "later")
    client.close()
    source.back_up("all_older")
    target = deploy(VERSION, **QUICK)
    assert target.restore({"backup_name": "all_older"})["status"] == "complete"
    check_alike(source, target)


@pytest.mark.parametrize("way", [{}, BY_THEMSELVES], ids=["folded", "by themselves"])
def test_each_set_of_fields_is_a_round_and_deletes_come_last(deploy: Deploy, way: dict[str, str]) -> None:
    source = filled(deploy, ["later", "n"], ["last", "n2"])
    source.milvus.delete("c", (0, 101, 202))
    source.milvus.flush("c")
    source.back_up(f"generations_{len(way)}")
    target = deploy(VERSION, way, **QUICK)
    gate = Gate(target)
    assert target.restore({"backup_name": f"generations_{len(way)}"})["status"] == "complete"
    check_alike(source, target)
    assert sorted(by_key(target)) == [n for n in (*range(10), *range(100, 110), *range(200, 210)) if n % 101]
    deletes = [[True]] if way else []
    assert [[job.is_level_zero for job in together] for together in gate.rounds] == [[False]] * 3 + deletes


DIES_AFTER = {
    "the start of the first round": (Submission, "start_rows", 1),
    "a look at the jobs of the first round": (Imports, "_ask", 1),
    "a field was added": (MilvusDatabase, "add_fields", 1),
    "all fields were added": (MilvusDatabase, "add_fields", 2),
    "the index of an added field was created": (MilvusDatabase, "create_index", 2),
    "a job of the second round was started": (RestImporter, "start_import", 2),
    "a job of the last round was started": (RestImporter, "start_import", 3),
    "the jobs of the second round were noted": (Journal, "note", 6),
    "the start of the last round was noted": (Journal, "note", 7),
    "the rows were said to be imported": (Imports, "_note_imported", 1),
}


@pytest.mark.feature(Feature.ADDED_FIELDS, version=VERSION)
@pytest.mark.parametrize("moment", DIES_AFTER)
def test_a_restore_that_is_killed_in_a_round_goes_on_and_imports_no_rows_twice(
    deploy: Deploy, generations: Restoring, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    target = deploy(VERSION, **QUICK)
    owner, method, times = DIES_AFTER[moment]
    work, calls = getattr(owner, method), itertools.count(1)

    def work_and_die(*args: Any, **kwargs: Any) -> Any:
        result = work(*args, **kwargs)
        if next(calls) == times:
            raise Killed
        return result

    with monkeypatch.context() as patch:
        patch.setattr(owner, method, work_and_die)
        patch.setattr(StepFunctionsExecutions, "status", lambda *_: "ABORTED")
        with pytest.raises(Killed):
            target.restore({"backup_name": "generations"})
        patch.setattr(owner, method, work)
        assert target.restore({"backup_name": "generations"})["status"] == "complete"
    check_alike(generations, target)


def test_every_function_may_be_called_twice(deploy: Deploy, generations: Restoring) -> None:
    target = deploy(VERSION, BY_THEMSELVES, **QUICK)
    target.repeats = True
    assert target.restore({"backup_name": "generations"})["status"] == "complete"
    check_alike(generations, target)


def test_a_server_that_takes_one_job_at_a_time_gets_the_rounds_in_order(deploy: Deploy) -> None:
    source = filled(deploy, ["later"], ["last"])
    client = MilvusClient(source.server.uri)
    client.create_partition("c", "p")
    client.insert("c", [row(1000 + number, ["later", "last"]) for number in range(ROWS)], partition_name="p")
    client.close()
    source.back_up("one_at_a_time")
    target = deploy(VERSION, most_import_jobs=1, **QUICK)
    assert target.restore({"backup_name": "one_at_a_time"})["status"] == "complete"
    check_alike(source, target)


def test_a_collection_that_has_the_field_already_is_refused_rows_that_are_older(deploy: Deploy) -> None:
    source = filled(deploy, ["later"])
    source.back_up("into_existing")
    target = deploy(VERSION, **QUICK)
    assert target.restore({"backup_name": "into_existing", "meta_only": True})["status"] == "complete"
    with pytest.raises(VersionUnsupportedError, match="with `skip_create` they are there already") as refused:
        target.restore({"backup_name": "into_existing", "skip_create": True})
    assert "Leave out `skip_create`" in refused.value.hint
    assert (jobs(target), staged_keys(target)) == ([], [])


@pytest.mark.usefixtures("generations")
def test_a_user_who_may_not_add_fields_is_told_before_anything_is_staged(
    deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = deploy(VERSION, **QUICK)
    may = MilvusDatabase.may

    def may_all_but_add(database: MilvusDatabase, right: Right, *place: str) -> bool:
        return right is not Right.ADD_COLLECTION_FIELD and may(database, right, *place)

    monkeypatch.setattr(MilvusDatabase, "may", may_all_but_add)
    with pytest.raises(MilvusPermissionError, match="AddCollectionField in database default"):
        target.restore({"backup_name": "generations"})
    assert (jobs(target), staged_keys(target)) == ([], [])


def test_a_field_of_which_the_answer_was_lost_is_not_added_again(
    deploy: Deploy, generations: Restoring, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = deploy(VERSION, **QUICK)
    call, refusals = MilvusCall.__call__, []

    def call_twice(one: MilvusCall, name: str, request: Any, database: str = "", **how: Any) -> Any:
        answer = call(one, name, request, database, **how)
        if name == "AddCollectionField":
            answer = call(one, name, request, database, **how)
            refusals.append(answer.reason)
        return answer

    monkeypatch.setattr(MilvusCall, "__call__", call_twice)
    assert target.restore({"backup_name": "generations"})["status"] == "complete"
    assert [reason.partition(":")[0] for reason in refusals if "duplicated" in reason] == [
        "duplicated field name later",
        "duplicated field name last",
    ]
    check_alike(generations, target)
