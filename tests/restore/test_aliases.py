"""Aliases after a restore: where they are, and that readers change over as the last step and at once."""

from typing import Any

import pytest
from inspect_milvus.handler import handler as inspect_milvus

from milvus_vault.adapters.milvus import MilvusDatabase
from milvus_vault.errors import AliasConflictError
from milvus_vault.model.readable import warning_parts
from milvus_vault.restore.aliases import give_aliases
from tests.compatibility.features import Feature
from tests.conformance.asking import Milvus, base_fields
from tests.restore.conftest import Deploy
from tests.support.milvus_server.versions import ALL
from tests.support.restoring import Restoring

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

NAME, ALIAS, ROWS = "orders", "live", 7


def with_backup(deploy: Deploy, version: str, **options: Any) -> tuple[Restoring, Milvus]:
    """Return a server whose loaded collection has an alias and a backup, and what asks it."""
    restoring = deploy(version, **options)
    milvus = restoring.milvus
    milvus.make(NAME, *base_fields())
    milvus.insert(NAME, range(ROWS))
    milvus.flush(NAME)
    params = [{"key": "index_type", "value": "FLAT"}, {"key": "metric_type", "value": "L2"}]
    milvus.must("CreateIndex", collection_name=NAME, field_name="v", extra_params=params)
    milvus.must("LoadCollection", collection_name=NAME)
    milvus.must("CreateAlias", collection_name=NAME, alias=ALIAS)
    restoring.back_up(backup_of(restoring))
    return restoring, milvus


def backup_of(restoring: Restoring) -> str:
    """Return a name that no other test gives a backup."""
    return f"of_{restoring.server.bucket.replace('-', '_')}"


def request(restoring: Restoring, **options: Any) -> dict[str, Any]:
    """Return a request for that backup."""
    return {"backup_name": backup_of(restoring), "allow_version": True, **options}


def planned(restoring: Restoring, **options: Any) -> tuple[list[str], list[str]]:
    """Return the aliases that a plan foretells of the collection, and what it warns of."""
    with restoring.functions() as call:
        found = call(inspect_milvus, {"inspection": "plan", "restore": request(restoring, **options)})["found"]
    (collection,) = found["plan"]["collections"]
    assert found["refused"] == []
    return collection["aliases"], found["plan"]["warnings"]


def told(collection: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Return the same of a restored collection, without what Milvus said."""
    return collection["aliases"], [warning_parts(warning)[0] for warning in collection["warnings"]]


def aliases(restoring: Restoring, database: str = "default") -> dict[str, str]:
    """Return the collections by alias."""
    return restoring.server.core.catalog.databases[database].aliases


@pytest.mark.parametrize("version", ALL)
def test_an_alias_that_is_in_use_stays_where_it_is_with_a_warning(deploy: Deploy, version: str) -> None:
    restoring, _ = with_backup(deploy, version)
    foretold = planned(restoring, suffix="_new")
    report = restoring.restore(request(restoring, suffix="_new"))
    assert report["status"] == "complete", report["collections"][0]["message"]
    assert aliases(restoring) == {ALIAS: NAME}
    (collection,) = report["collections"]
    assert collection["aliases"] == []
    assert any(f"Alias {ALIAS} stays where it is" in warning for warning in collection["warnings"])
    assert foretold == told(collection)


@pytest.mark.feature(Feature.SWITCHED_ALIASES)
@pytest.mark.parametrize("version", ALL)
def test_an_alias_is_switched_when_the_collection_is_whole_and_not_before(
    deploy: Deploy, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    restoring, _ = with_backup(deploy, version)
    seen = []

    def look_and_give(database: MilvusDatabase, name: Any, names: Any, *, switch: bool) -> Any:
        seen.append((database.load_percent("default", name.name), database.count_rows("default", name.name)))
        assert aliases(restoring) == {ALIAS: NAME}
        return give_aliases(database, name, names, switch=switch)

    monkeypatch.setattr("milvus_vault.restore.finish.give_aliases", look_and_give)
    report = restoring.restore(request(restoring, suffix="_new", switch_aliases=True))
    assert (report["status"], seen) == ("complete", [(100, ROWS)])
    assert aliases(restoring) == {ALIAS: f"{NAME}_new"}
    (collection,) = report["collections"]
    assert (collection["aliases"], collection["warnings"]) == ([ALIAS], [])


@pytest.mark.parametrize("version", ALL)
def test_a_switch_that_is_repeated_does_no_harm(deploy: Deploy, version: str) -> None:
    restoring, _ = with_backup(deploy, version)
    restoring.server.faults.unavailable_names = frozenset({"AlterAlias", "CreateAlias"})
    restoring.server.faults.lost_answers = 2
    assert restoring.restore(request(restoring, suffix="_new", switch_aliases=True))["status"] == "complete"
    assert restoring.server.faults.lost_answers == 0
    assert aliases(restoring) == {ALIAS: f"{NAME}_new"}


@pytest.mark.parametrize("version", ALL)
def test_aliases_of_a_collection_that_is_replaced_are_those_of_its_replacement(deploy: Deploy, version: str) -> None:
    restoring, milvus = with_backup(deploy, version)
    milvus.must("CreateAlias", collection_name=NAME, alias="since")
    old = restoring.server.core.catalog.collection("default", NAME).collection_id
    foretold = planned(restoring, drop_existing=True)
    report = restoring.restore(request(restoring, drop_existing=True))
    assert report["status"] == "complete", report["collections"][0]["message"]
    assert restoring.server.core.catalog.collection("default", NAME).collection_id != old
    assert aliases(restoring) == {ALIAS: NAME, "since": NAME}
    assert foretold == told(report["collections"][0]) == ([ALIAS, "since"], [])


@pytest.mark.parametrize("version", ["2.4.23", "2.6.19"])
def test_aliases_that_nobody_wants_go_with_what_is_replaced_and_are_named(deploy: Deploy, version: str) -> None:
    restoring, _ = with_backup(deploy, version)
    foretold = planned(restoring, drop_existing=True, restore_aliases=False)
    report = restoring.restore(request(restoring, drop_existing=True, restore_aliases=False))
    assert report["status"] == "complete", report["collections"][0]["message"]
    assert aliases(restoring) == {}
    assert report["collections"][0]["warnings"] == [f"Alias {ALIAS} of the replaced collection was dropped with it."]
    assert foretold == ([], [f"Alias {ALIAS} of the replaced collection will be dropped with it."])


@pytest.mark.parametrize("version", ["2.3.5", "2.6.19"])
def test_an_alias_that_cannot_be_switched_is_named_before_anything_is_made(deploy: Deploy, version: str) -> None:
    restoring, milvus = with_backup(deploy, version)
    milvus.must("CreateDatabase", db_name="other")
    refused: list[tuple[dict[str, Any], str]] = [
        ({"rename": {f"default.{NAME}": f"other.{NAME}"}}, "is one of database default"),
        ({"rename": {f"default.{NAME}": f"other.{ALIAS}"}}, "it is a collection's name in other"),
    ]
    for options, message in refused:
        with pytest.raises(AliasConflictError, match=message):
            restoring.restore(request(restoring, switch_aliases=True, **options))
    assert [found.name for found in restoring.server.core.catalog.collections()] == [NAME]
    assert aliases(restoring) == {ALIAS: NAME}
    assert aliases(restoring, "other") == {}


@pytest.mark.parametrize("version", ["2.3.5", "2.6.19"])
def test_an_alias_cannot_be_switched_to_two_collections(deploy: Deploy, version: str) -> None:
    restoring, milvus = with_backup(deploy, version)
    milvus.must("CreateDatabase", db_name="other")
    milvus.make("more", *base_fields(), database="other")
    milvus.must("CreateAlias", db_name="other", collection_name="more", alias=ALIAS)
    both = f"{backup_of(restoring)}_both"
    restoring.back_up(both)
    wanted = request(restoring, switch_aliases=True, rename={"other.*": "default.*", f"default.{NAME}": "default.new"})
    with pytest.raises(AliasConflictError, match="cannot be both"):
        restoring.restore(wanted | {"backup_name": both})
