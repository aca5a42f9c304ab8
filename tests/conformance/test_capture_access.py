"""Users, roles and rights of a server: in a backup that asks for them, and in no other."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from local.aws import Ministack
from milvus_vault.adapters.milvus import connect
from milvus_vault.adapters.milvus_access import MilvusAccess
from milvus_vault.archive.layout import BackupLayout
from milvus_vault.errors import MilvusPermissionError, VersionUnsupportedError
from milvus_vault.model.collections import CollectionLayout, CollectionSchema, FieldSchema, KeyValue
from milvus_vault.model.rbac import Rbac, RbacUser
from tests.compatibility.features import Feature
from tests.conformance.asking import base_fields
from tests.conformance.conftest import Running, Start
from tests.conformance.test_capture import ALL, NAME, WITH_L0, Open, backups
from tests.support.capturing import Backups
from tests.support.milvus_server.rbac import Grant, encrypt

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
@pytest.mark.parametrize("version", WITH_L0)
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


@pytest.mark.parametrize("version", WITH_L0)
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
@pytest.mark.parametrize("version", ["2.2.16", "2.3.5"])
def test_a_server_that_does_not_tell_its_users_is_refused_by_name(start: Start, backups: Open, version: str) -> None:
    running = start(version)
    running.milvus.make(NAME, *base_fields())
    taken = backups(running)
    with pytest.raises(VersionUnsupportedError, match="users and roles"):
        taken.prepare("b", include_rbac=True)
    assert list(taken.store.list_objects(taken.bucket, "")) == []


@contextmanager
def _as(running: Running, user: RbacUser, ministack: Ministack) -> Iterator[Backups]:
    with connect(running.server.uri, MilvusAccess(token=f"{user.name}:{user.password_hash}")) as database:
        yield Backups(running.server, database, ministack.client("s3"))


@pytest.mark.parametrize("version", WITH_L0)
def test_a_user_who_may_not_see_them_is_refused_before_anything_is_done(
    start: Start, ministack: Ministack, version: str
) -> None:
    running = start(version, authorization=True)
    root, ann = (RbacUser(name=name, password_hash=text) for name, text in (("root", "Milvus"), ("ann", "Secret-1")))
    with running.server.core.lock:
        running.server.service.rbac.users["ann"] = encrypt("Secret-1")
    with _as(running, root, ministack) as taken:
        assert taken.database.backup_rbac().users[0].name == "ann"
    with _as(running, ann, ministack) as taken:
        with pytest.raises(MilvusPermissionError):
            taken.prepare("b", include_rbac=True)
        assert list(taken.store.list_objects(taken.bucket, "")) == []


@pytest.mark.feature(Feature.MAY_FLUSH)
@pytest.mark.parametrize("version", ALL)
def test_a_user_who_may_not_flush_is_told_before_a_backup_is_begun(
    start: Start, ministack: Ministack, version: str
) -> None:
    running = start(version, authorization=True)
    with running.server.core.lock:
        running.server.service.rbac.users["ann"] = encrypt("Secret-1")
    users = {"root": "Milvus", "ann": "Secret-1"}
    for name, is_allowed in (("root", True), ("ann", False)):
        with _as(running, RbacUser(name=name, password_hash=users[name]), ministack) as taken:
            assert taken.database.may_flush("default") == is_allowed


@pytest.mark.feature(Feature.FEW_RIGHTS)
@pytest.mark.parametrize("version", ALL)
def test_a_user_with_just_the_rights_of_the_manual_can_back_up(
    start: Start, ministack: Ministack, version: str
) -> None:
    running = start(version, authorization=True)
    rbac, names = running.server.service.rbac, ("Flush", "GetFlushState", "GetLoadState", "ListAliases", "Query")
    with running.server.core.lock:
        rbac.users["ann"] = encrypt("Secret-1")
        rbac.roles["backup"] = ""
        rbac.members.add(("ann", "backup"))
        rbac.grants |= {Grant("backup", "Collection", "*", name, "root", "default") for name in names}
    with _as(running, RbacUser(name="root", password_hash="Milvus"), ministack) as taken:
        schema = CollectionSchema(
            name=NAME,
            fields=(
                FieldSchema(field_id=100, name="id", data_type=5, is_primary_key=True),
                FieldSchema(field_id=101, name="v", data_type=101, type_params=(KeyValue(key="dim", value="4"),)),
            ),
        )
        layout = CollectionLayout(collection_schema=schema, shards=1, consistency_level=2)
        taken.database.create_collection("default", NAME, layout)
    with _as(running, RbacUser(name="ann", password_hash="Secret-1"), ministack) as taken:
        manifest = taken.take("b", gc_pause=False)
    assert manifest.failures == ()
    # Neither FlushAll nor DescribeDatabase: each is done without.
    assert manifest.flush_all is None
    assert any("properties of database default" in warning for warning in manifest.warnings) == (version >= "2.4")
