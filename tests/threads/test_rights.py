"""Users, roles and grants: each as it was, beside those that are there; and users who may not do everything."""

import pytest

from tests.restore.conftest import Deploy
from tests.support.golden_rows import GOLDEN
from tests.support.milvus_server.rbac import Grant, Rbac, encrypt
from tests.support.milvus_server.versions import NEWER
from tests.support.restoring import Restoring
from tests.threads.helpers import client_of

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

EVERYTHING = Grant("owner", "Global", "*", "*", "root", "*")
READING = Grant("reader", "Collection", "c", "Query", "root", "default")


def people() -> Rbac:
    """Return two users with a role each, and a role that nobody has."""
    rbac = Rbac()
    rbac.users |= {name: encrypt(name) for name in ("ann", "bob")}
    rbac.roles |= dict.fromkeys(("owner", "reader", "unused"), "")
    rbac.members |= {("ann", "owner"), ("bob", "reader")}
    rbac.grants = {EVERYTHING, READING}
    return rbac


def restored(deploy: Deploy, version: str, name: str, *, there: Rbac | None = None, garbles: bool = False) -> Restoring:
    """Back up a server with these people, and restore into one where some may be already."""
    source = deploy(version)
    vars(source.server.service.rbac).update(vars(people()))
    client = client_of(source)
    client.create_collection("c", dimension=2)
    client.close()
    backup = f"{name}_{version.replace('.', '_')}"
    source.back_up(backup, include_rbac=True)
    target = deploy(version)
    target.server.faults.garbles_wildcards = garbles
    if there is not None:
        vars(target.server.service.rbac).update(vars(there))
    assert target.restore({"backup_name": backup, "rbac": True})["status"] == "complete"
    return target


@pytest.mark.thread("milvus-backup#404", "milvus-backup#471")
@pytest.mark.parametrize("version", NEWER)
def test_each_user_has_the_roles_of_before_and_no_others(deploy: Deploy, version: str) -> None:
    rbac = restored(deploy, version, "roles").server.service.rbac
    assert rbac.members == people().members
    assert rbac.users == people().users
    assert set(rbac.roles) == set(people().roles)


@pytest.mark.thread("milvus#48963", "milvus#48978")
@pytest.mark.parametrize("version", NEWER)
def test_a_grant_of_everything_comes_back_as_it_was_where_milvus_garbles_it(deploy: Deploy, version: str) -> None:
    rbac = restored(deploy, version, "wildcards", garbles=True).server.service.rbac
    assert rbac.grants == {EVERYTHING, READING}


@pytest.mark.thread("milvus-backup#488", "milvus-backup#515")
@pytest.mark.parametrize("version", NEWER)
def test_grants_that_are_there_already_stop_no_restore(deploy: Deploy, version: str) -> None:
    there = people()
    del there.users["bob"]
    there.members.discard(("bob", "reader"))
    rbac = restored(deploy, version, "there", there=there).server.service.rbac
    assert rbac.grants == {EVERYTHING, READING}
    assert rbac.members == people().members


@pytest.mark.thread("milvus#45709")
@pytest.mark.parametrize("version", NEWER)
def test_where_rest_tells_the_state_of_imports_to_an_admin_alone_grpc_is_asked(deploy: Deploy, version: str) -> None:
    restoring = deploy(version)
    restoring.upload(GOLDEN / "golden_2_4")
    restoring.server.faults.admins_see_imports = True
    assert restoring.restore({"backup_name": "golden_2_4"})["status"] == "complete"
