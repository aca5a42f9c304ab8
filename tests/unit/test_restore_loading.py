"""Replicas and resource groups of restored collections, by what the target has."""

from typing import Any, override

import pytest

from milvus_vault.errors import MilvusPermissionError, ResourceGroupError
from milvus_vault.model.collections import DEFAULT_RESOURCE_GROUP, LoadState
from milvus_vault.model.requests import RestoreRequest
from milvus_vault.restore.loading import Loading, LoadPlanner
from tests.support.memory_database import InMemoryDatabase
from tests.unit.test_restore_aliases import archived


def planner(nodes: dict[str, int], **request: Any) -> LoadPlanner:
    """Return who plans for a target with so many query nodes by resource group."""
    chosen = RestoreRequest.model_validate({"backup_name": "b", **request})
    return LoadPlanner(chosen, InMemoryDatabase(query_nodes=nodes))


def test_a_collection_gets_as_many_replicas_as_there_were() -> None:
    loads = planner({DEFAULT_RESOURCE_GROUP: 3})
    assert (loads.plan(archived("a", replicas=2)), list(loads.warnings())) == (
        Loading(2),
        [],
    )


def test_one_replica_in_the_default_group_asks_nothing() -> None:
    assert planner({}).plan(archived("a")) == Loading(1)


def test_fewer_nodes_are_made_do_with_and_told() -> None:
    loads = planner({DEFAULT_RESOURCE_GROUP: 2})
    assert loads.plan(archived("a", replicas=3)) == Loading(2)
    (warning,) = loads.warnings()
    assert "default.a" in warning


def test_replicas_that_were_asked_for_must_fit() -> None:
    with pytest.raises(ResourceGroupError, match="3 replicas"):
        planner({DEFAULT_RESOURCE_GROUP: 2}, replicas=3).plan(archived("a"))


def test_recorded_groups_are_kept_where_they_have_nodes() -> None:
    collection = archived("a", replicas=2, resource_groups=("fast", "slow"))
    assert planner({"fast": 1, "slow": 1}).plan(collection) == Loading(2, ("fast", "slow"))


def test_a_recorded_group_that_is_not_there_gives_way_to_the_default() -> None:
    loads = planner({DEFAULT_RESOURCE_GROUP: 1})
    assert loads.plan(archived("a", resource_groups=("fast",))) == Loading(1)
    (warning,) = loads.warnings()
    assert warning.startswith("Resource group fast is not there or has no query node")


def test_a_group_that_was_asked_for_must_have_nodes() -> None:
    with pytest.raises(ResourceGroupError, match="new, which has no query node"):
        planner({}, resource_groups={"fast": "new"}).plan(archived("a", resource_groups=("fast",)))


def test_who_may_not_ask_for_nodes_is_believed() -> None:
    class Silent(InMemoryDatabase):
        @override
        def count_query_nodes(self, resource_group: str) -> int:
            raise MilvusPermissionError("no", hint="")

    loads = LoadPlanner(RestoreRequest(backup_name="b"), Silent())
    assert loads.plan(archived("a", replicas=4)) == Loading(4)


@pytest.mark.parametrize("request_", [{"load": False}, {"restore_index": False}, {}])
def test_what_is_not_to_be_loaded_asks_for_no_nodes(request_: dict[str, bool]) -> None:
    state = LoadState.LOADED if request_ else LoadState.NOT_LOADED
    assert planner({}, **request_).plan(archived("a", replicas=2, load_state=state)) == Loading(2)
