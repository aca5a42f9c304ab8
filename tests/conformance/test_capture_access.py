"""Users, roles and rights of a server: in a backup that asks for them, and in no other."""

import base64
import json

import pytest

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.errors import VersionUnsupportedError
from milvus_vault.model.rbac import Rbac
from tests.compatibility.features import Feature
from tests.conformance.asking import base_fields
from tests.conformance.conftest import Running, Start
from tests.conformance.test_capture import NAME, Open, backups
from tests.support.capturing import Backups
from tests.support.milvus_server.versions import NEWER, OLDER

__all__ = ["backups"]


def _password(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _people(running: Running) -> None:
    """Make two users, one of whose names begins the other's, a role, a group, and a grant of it."""
    milvus = running.milvus
    milvus.make(NAME, *base_fields())
    for user in ("ann", "anna"):
        milvus.must("CreateCredential", username=user, password=_password("Secret-1"))
    milvus.must("CreateRole", entity={"name": "reader"})
    milvus.must("OperateUserRole", username="ann", role_name="reader")
    milvus.must("CreatePrivilegeGroup", group_name="looking")
    milvus.must("OperatePrivilegeGroup", group_name="looking", privileges=[{"name": "Query"}, {"name": "Search"}])
    entity = {"role": {"name": "reader"}, "object": {"name": "Collection"}, "object_name": NAME, "db_name": "default"}
    milvus.must("OperatePrivilege", entity=entity | {"grantor": {"privilege": {"name": "looking"}}})


def _marker(taken: Backups) -> dict[str, object]:
    body = taken.store.get(taken.bucket, BackupLayout("backups", "b").marker)
    found: dict[str, object] = json.loads(body)["vault"]
    return found


def _hash_of(found: Rbac, name: str) -> str:
    return next(user.password_hash for user in found.users if user.name == name)


@pytest.mark.feature(Feature.BACKUP_RBAC)
@pytest.mark.parametrize("version", NEWER)
def test_users_roles_grants_and_groups_are_recorded_where_they_are_asked_for(
    start: Start, backups: Open, version: str
) -> None:
    running = start(version)
    _people(running)
    taken = backups(running)

    manifest = taken.take("b", include_rbac=True)

    found = taken.archive("b").rbac
    assert found is not None
    # The role without a name, which the server tells of one of them, is none.
    assert [(user.name, user.roles) for user in found.users] == [("ann", ("reader",)), ("anna", ())]
    assert _hash_of(found, "ann").startswith("$2a$")
    assert [role.name for role in found.roles] == ["reader"]
    (grant,) = found.grants
    assert (grant.role, grant.object_type, grant.object_name, grant.privilege) == (
        "reader",
        "Collection",
        NAME,
        "looking",
    )
    assert [(group.name, group.privileges) for group in found.privilege_groups] == [("looking", ("Query", "Search"))]
    assert manifest.holds_secrets
    assert _marker(taken)["holds_secrets"] is True


@pytest.mark.parametrize("version", NEWER)
def test_nothing_of_them_is_anywhere_in_another_backup_nor_left_in_working_files(
    start: Start, backups: Open, version: str
) -> None:
    running = start(version)
    _people(running)
    taken = backups(running)
    secret = _hash_of(taken.database.backup_rbac(), "ann").encode()

    assert not taken.take("b").holds_secrets
    assert _places_of(taken, secret) == []
    assert "holds_secrets" not in _marker(taken)

    taken.take("secret", include_rbac=True)
    layout = BackupLayout("backups", "secret")
    assert _places_of(taken, secret) == sorted([layout.meta("full_meta.json"), layout.rbac])


def _places_of(taken: Backups, secret: bytes) -> list[str]:
    store = taken.store
    keys = [listed.key for listed in store.list_objects(taken.bucket, "")]
    return sorted(key for key in keys if secret in store.get(taken.bucket, key))


@pytest.mark.feature(Feature.BACKUP_RBAC)
@pytest.mark.parametrize("version", OLDER)
def test_a_server_that_does_not_tell_its_users_is_refused_by_name(start: Start, backups: Open, version: str) -> None:
    running = start(version)
    running.milvus.make(NAME, *base_fields())
    taken = backups(running)
    with pytest.raises(VersionUnsupportedError, match="users and roles"):
        taken.prepare("b", include_rbac=True)
    assert list(taken.store.list_objects(taken.bucket, "")) == []
