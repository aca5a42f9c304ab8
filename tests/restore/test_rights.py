"""A restricted user: what a restore lacks is named before anything is made, and to be granted that is enough."""

import re
from typing import Any

import pytest

from milvus_vault.adapters.milvus_access import MilvusAccess
from milvus_vault.adapters.milvus_imports import GrpcImporter
from milvus_vault.errors import MilvusPermissionError
from tests.compatibility.features import Feature
from tests.restore.conftest import Deploy
from tests.restore.test_aliases import backup_of, with_backup
from tests.support.golden_rows import GOLDEN
from tests.support.milvus_server.rbac import Grant, encrypt
from tests.support.milvus_server.versions import ALL, NEWER
from tests.support.restoring import Restoring

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

ARCHIVES = {"2.3.5": "golden_0516", "2.4.23": "golden_2_4", "2.5.27": "golden_2_5", "2.6.19": "golden_2_6"}
PASSWORD = "Secret-1"


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the functions log in as a user without rights."""
    found = MilvusAccess(f"operator:{PASSWORD}", "operator")
    monkeypatch.setattr("milvus_vault.connection.read_access", lambda _: found)


def deployed(deploy: Deploy, version: str) -> tuple[Restoring, dict[str, Any]]:
    """Return a server that asks who calls, with an archive, and a request for it."""
    restoring = deploy(version, authorization=True)
    name = _archive(deploy, restoring, version)
    rbac = restoring.server.service.rbac
    rbac.users["operator"], rbac.roles["role"] = encrypt(PASSWORD), ""
    rbac.members.add(("operator", "role"))
    return restoring, {"backup_name": name, "allow_version": True}


def _archive(deploy: Deploy, restoring: Restoring, version: str) -> str:
    """Return an archive of the version; of 2.2 there is no golden one."""
    if version not in ARCHIVES:
        source, _ = with_backup(deploy, version)
        return backup_of(source)
    restoring.upload(GOLDEN / ARCHIVES[version])
    return ARCHIVES[version]


def refusal(restoring: Restoring, request: dict[str, Any]) -> set[tuple[str, str]]:
    """Return the rights, with their databases, for lack of which a restore is refused."""
    before = repr(vars(restoring.server.core.catalog))
    with pytest.raises(MilvusPermissionError) as caught:
        restoring.restore(request)
    assert repr(vars(restoring.server.core.catalog)) == before
    return named_rights(caught.value.message)


def named_rights(message: str) -> set[tuple[str, str]]:
    """Return the rights, with their databases, that the message of a refusal names."""
    listed = message.partition("the run needs: ")[2].partition("\n")[0].split("; ")
    found = [re.fullmatch(r"(.*) in database (\w+)", part) for part in listed]
    return {(right, part[2]) for part in found if part for right in part[1].split(", ")}


def grant(restoring: Restoring, rights: set[tuple[str, str]]) -> None:
    """Let the user do it."""
    with restoring.server.core.lock:
        for right, database in rights:
            restoring.server.service.rbac.grants.add(Grant("role", "Collection", "*", right, "root", database))


@pytest.mark.feature(Feature.RESTORE_RIGHTS)
@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize("version", ALL)
def test_the_rights_that_a_refusal_names_are_all_that_it_takes(deploy: Deploy, version: str) -> None:
    restoring, request = deployed(deploy, version)
    lacking = refusal(restoring, request)
    assert {"CreateCollection", "Import", "CreateIndex"} <= {right for right, _ in lacking}
    grant(restoring, lacking)
    report = restoring.restore(request)
    assert report["status"] == "complete", [found["message"] for found in report["collections"]]
    # To replace what is there takes more only where aliases go with it.
    again = request | {"drop_existing": True}
    if any(found.aliases for found in restoring.server.core.catalog.databases.values()):
        more = refusal(restoring, again)
        assert {right for right, _ in more} == {"DropAlias"} | ({"CreateAlias"} - {right for right, _ in lacking})
        grant(restoring, more)
    report = restoring.restore(again)
    assert report["status"] == "complete", [found["message"] for found in report["collections"]]


@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize("version", ALL)
def test_the_rights_that_refusals_of_a_drill_name_are_all_that_it_takes(deploy: Deploy, version: str) -> None:
    restoring, request = deployed(deploy, version)
    request["database"] = "drilled"
    for rights in ({"Search", "DropDatabase"}, {"CreateCollection", "Import"}):
        result = restoring.drill(request)
        lacking = named_rights(result["cause"])
        assert (result["error"], rights - {right for right, _ in lacking}) == ("MilvusPermissionError", set())
        grant(restoring, lacking)
    result = restoring.drill(request)
    assert (result["status"], result["cause"]) == ("proven", "")
    assert "drilled" not in restoring.server.core.catalog.databases


@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize("version", ARCHIVES)
def test_without_rows_indexes_and_aliases_fewer_rights_are_asked_for(deploy: Deploy, version: str) -> None:
    restoring, request = deployed(deploy, version)
    request |= {"meta_only": True, "restore_index": False, "restore_aliases": False}
    lacking = refusal(restoring, request)
    assert not {right for right, _ in lacking} & {"Import", "CreateIndex", "Load", "Query", "CreateAlias", "DropAlias"}
    grant(restoring, lacking)
    report = restoring.restore(request)
    assert report["status"] == "complete", [found["message"] for found in report["collections"]]


@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize("version", NEWER)
@pytest.mark.parametrize("more", [{"GetImportProgress"}, {"GetImportProgress", "ListImport"}])
def test_who_may_not_follow_jobs_by_rest_imports_by_grpc(
    deploy: Deploy, monkeypatch: pytest.MonkeyPatch, version: str, more: set[str]
) -> None:
    restoring, request = deployed(deploy, version)
    grant(restoring, {(right, "default") for right in more})
    grant(restoring, refusal(restoring, request))
    by_grpc = []
    start_import = GrpcImporter.start_import

    def start_and_note(importer: GrpcImporter, *arguments: Any) -> str | None:
        by_grpc.append(arguments)
        return start_import(importer, *arguments)

    monkeypatch.setattr(GrpcImporter, "start_import", start_and_note)
    report = restoring.restore(request)
    assert report["status"] == "complete", [found["message"] for found in report["collections"]]
    assert bool(by_grpc) == (more != {"GetImportProgress", "ListImport"})


@pytest.mark.thread("milvus#51894", "milvus-backup#1183")
@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize("more", [set(), {"GetImportProgress", "ListImport"}])
def test_where_binlogs_take_a_right_of_their_own_it_is_asked_for(deploy: Deploy, more: set[str]) -> None:
    restoring = deploy("2.6.19", authorization=True, guards_binlogs=True)
    restoring.upload(GOLDEN / ARCHIVES["2.6.19"])
    rbac = restoring.server.service.rbac
    rbac.users["operator"], rbac.roles["role"] = encrypt(PASSWORD), ""
    rbac.members.add(("operator", "role"))
    request = {"backup_name": ARCHIVES["2.6.19"], "collections": ["gold.layers"]}
    grant(restoring, {(right, "*") for right in more})
    grant(restoring, refusal(restoring, request))
    assert refusal(restoring, request) == {("ImportBinlog", "gold")}
    grant(restoring, {("ImportBinlog", "*")})
    report = restoring.restore(request)
    assert report["status"] == "complete", [found["message"] for found in report["collections"]]


@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize("version", ["2.4.23"])
def test_users_take_rights_of_their_own(deploy: Deploy, version: str) -> None:
    restoring, request = deployed(deploy, version)
    request |= {"collections": ["gold.layers"], "rbac": True}
    lacking = refusal(restoring, request)
    assert {("BackupRBAC", "default"), ("RestoreRBAC", "default")} <= lacking
    grant(restoring, lacking)
    report = restoring.restore(request)
    assert report["status"] == "complete", [found["message"] for found in report["collections"]]
    assert "ann" in restoring.server.service.rbac.users
