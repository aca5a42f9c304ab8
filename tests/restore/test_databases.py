"""What has no rows of its own comes back by itself: databases without collections, and grants on them."""

import pytest

from milvus_vault.errors import DatabaseNotFoundError
from tests.compatibility.features import Feature
from tests.conformance.asking import base_fields
from tests.restore.conftest import Deploy
from tests.support.milvus_server.rbac import Grant
from tests.support.restoring import Restoring

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

VERSIONS = ("2.3.5", "2.6.19")
MOST = {"key": "database.max.collections", "value": "7"}


def with_a_hollow_database(deploy: Deploy, version: str) -> Restoring:
    """Return a server with a database in which there is nothing, beside one with a collection."""
    source = deploy(version)
    source.milvus.must("CreateDatabase", db_name="hollow", properties=[MOST])
    source.milvus.make("shelf", *base_fields())
    source.milvus.insert("shelf", range(9))
    return source


def databases(restoring: Restoring) -> dict[str, dict[str, str]]:
    """Return the databases of a server with their properties."""
    return {name: found.properties for name, found in restoring.server.core.catalog.databases.items()}


@pytest.mark.thread("milvus-backup#251")
@pytest.mark.feature(Feature.DATABASES)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_database_without_collections_comes_back_with_its_properties(deploy: Deploy, version: str) -> None:
    source, name = with_a_hollow_database(deploy, version), f"hollow_{version.replace('.', '_')}"
    source.back_up(name)
    properties = databases(source)["hollow"]

    everything = deploy(version)
    report = everything.restore({"backup_name": name, "allow_version": True})
    assert (report["status"], report["empty_databases"]) == ("complete", ["hollow"])
    assert databases(everything)["hollow"] == properties

    alone = deploy(version)
    report = alone.restore(
        {
            "backup_name": name,
            "collections": ["hollow.*"],
            "rename": {"hollow.*": "filled_later.*"},
            "allow_version": True,
        }
    )
    assert (report["status"], report["collections"]) == ("complete", [])
    assert databases(alone) == {"default": {}, "filled_later": properties}
    assert not any(found.collections for found in alone.server.core.catalog.databases.values())


@pytest.mark.parametrize("version", VERSIONS)
def test_a_database_is_not_made_by_itself_where_it_was_not_asked_for(deploy: Deploy, version: str) -> None:
    source, name = with_a_hollow_database(deploy, version), f"narrow_{version.replace('.', '_')}"
    source.back_up(name, collections=["default.shelf"])
    assert source.manifest(name)["databases"] == ["default"]
    with pytest.raises(DatabaseNotFoundError, match="'hollow'"):
        source.restore({"backup_name": name, "collections": ["hollow.*"], "allow_version": True})

    source.back_up(f"all_{name}")
    for request in ({"collections": ["default.*"]}, {"collections": ["default.shelf"]}):
        target = deploy(version)
        report = target.restore({"backup_name": f"all_{name}", "allow_version": True, **request})
        assert (report["status"], report["empty_databases"]) == ("complete", [])
        assert [*databases(target)] == ["default"]
    filled = source.restore({"backup_name": f"all_{name}", "suffix": "_again", "allow_version": True})
    assert filled["status"] == "complete"


@pytest.mark.thread("milvus-backup#251")
@pytest.mark.parametrize("version", VERSIONS)
def test_a_server_without_collections_is_backed_up_and_restored(deploy: Deploy, version: str) -> None:
    source, name = deploy(version), f"new_{version.replace('.', '_')}"
    source.repeats = True
    source.milvus.must("CreateDatabase", db_name="hollow", properties=[MOST])
    source.back_up(name)
    published = source.manifest(name)
    assert (published["collections"], published["databases"]) == ([], ["default", "hollow"])
    assert published["warnings"] == [
        "There is no collection in default, hollow: the backup holds databases and no rows."
    ]

    target = deploy(version)
    report = target.restore({"backup_name": name, "allow_version": True})
    assert (report["status"], report["collections"], report["warnings"]) == ("complete", [], [])
    assert databases(target) == databases(source)


def test_a_database_that_is_refused_costs_no_collection(deploy: Deploy) -> None:
    source = with_a_hollow_database(deploy, "2.5.27")
    source.back_up("refused_database")
    target = deploy("2.5.27", most_databases=1)

    report = target.restore({"backup_name": "refused_database"})

    assert (report["status"], [*databases(target)]) == ("complete", ["default"])
    (warning,) = report["warnings"]
    assert warning.startswith("CreateDatabase of database hollow: ")
    assert warning.endswith("The backup holds no collection of it.")


def test_grants_on_a_database_without_collections_come_back(deploy: Deploy) -> None:
    source = deploy("2.6.19")
    source.milvus.must("CreateDatabase", db_name="hollow")
    rbac = source.server.service.rbac
    rbac.roles["keeper"] = ""
    rbac.grants.add(Grant("keeper", "Global", "*", "CreateCollection", "root", "hollow"))
    source.back_up("granted", include_rbac=True)

    target = deploy("2.6.19")
    assert target.restore({"backup_name": "granted", "rbac": True})["status"] == "complete"

    assert "hollow" in databases(target)
    assert {(grant.role, grant.database) for grant in target.server.service.rbac.grants} == {("keeper", "hollow")}
