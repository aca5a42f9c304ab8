"""What the Milvus user must be allowed: asked for before a run begins, all of it, and without changing anything."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from pymilvus.grpc_gen import common_pb2, milvus_pb2

from milvus_vault.adapters.milvus import MilvusDatabase, connect
from milvus_vault.adapters.milvus_access import MilvusAccess
from milvus_vault.adapters.milvus_rights import CALLS, NOWHERE
from milvus_vault.backup.rights import backup_rights
from milvus_vault.errors import MilvusPermissionError
from milvus_vault.model.collections import CollectionLayout, CollectionSchema, FieldSchema, KeyValue
from milvus_vault.model.requests import BackupRequest
from milvus_vault.model.rights import READING, Right
from milvus_vault.model.versions import parse_version
from milvus_vault.restore.rights import all_restore_rights
from milvus_vault.rights import check_rights, grant_hint, missing_rights
from tests.compatibility.features import Feature
from tests.conformance.conftest import Running, Start
from tests.support.capturing import Backups
from tests.support.milvus_server.rbac import Grant, encrypt
from tests.support.milvus_server.versions import ALL, NEWER
from tests.support.quick_s3 import QuickS3

NAME, PASSWORD = "orders", "Secret-1"
LAYOUT = CollectionLayout(
    collection_schema=CollectionSchema(
        name=NAME,
        fields=(
            FieldSchema(field_id=100, name="id", data_type=5, is_primary_key=True),
            FieldSchema(field_id=101, name="v", data_type=101, type_params=(KeyValue(key="dim", value="4"),)),
        ),
    ),
    shards=1,
    consistency_level=2,
)
# Rights that every server gives everybody.
OF_EVERYBODY = {Right.DESCRIBE_COLLECTION, Right.INDEX_DETAIL}


@dataclass(frozen=True)
class People:
    """A server with a collection, an administrator, and a user with no rights but those of everybody."""

    running: Running
    root: MilvusDatabase
    ann: MilvusDatabase

    def grant(self, rights: Iterable[str], name: str = "*", database: str = "default") -> None:
        """Let the user do something."""
        with self.running.server.core.lock:
            grants = {Grant("role", "Collection", name, right, "root", database) for right in rights}
            self.running.server.service.rbac.grants |= grants


@contextmanager
def people(running: Running) -> Iterator[People]:
    """Connect both of them."""
    rbac = running.server.service.rbac
    with running.server.core.lock:
        rbac.users["ann"], rbac.roles["role"] = encrypt(PASSWORD), ""
        rbac.members.add(("ann", "role"))
    with ExitStack() as stack:
        root, ann = (
            stack.enter_context(connect(running.server.uri, MilvusAccess(f"{name}:{password}", name)))
            for name, password in (("root", "Milvus"), ("ann", PASSWORD))
        )
        root.create_collection("default", NAME, LAYOUT)
        yield People(running, root, ann)


def state(running: Running) -> Any:
    """Return all that a call could have changed."""
    with running.server.core.lock:
        rbac = running.server.service.rbac
        databases = running.server.core.catalog.databases.values()
        collections = [
            (one.name, one.database, [*one.partitions], one.indexes, one.load, one.may_flush_at, one.properties)
            for one in running.server.core.catalog.collections()
        ]
        return repr((collections, [(found.name, found.aliases) for found in databases], vars(rbac)))


@pytest.mark.parametrize("version", ALL)
def test_each_right_is_told_from_its_lack_and_nothing_is_changed_by_asking(start: Start, version: str) -> None:
    running = start(version, authorization=True)
    with people(running) as both:
        before = state(running)
        known = {right for right in Right if running.server.service.has(CALLS[right]("default", NOWHERE)[0])}
        known -= {Right.IMPORT_BINLOG}
        assert {right for right in Right if both.root.may(right, "default")} == {*Right}
        lacking = {right for right in Right if not both.ann.may(right, "default")}
        assert lacking == known - OF_EVERYBODY
        assert state(running) == before
        for right in lacking:
            both.grant([right])
            assert both.ann.may(right, "default"), right
        assert not running.server.core.agenda.failures


@pytest.mark.parametrize("version", ALL)
def test_a_server_without_authorization_allows_everything_and_nothing_is_changed(start: Start, version: str) -> None:
    running = start(version)
    with people(running) as both:
        before = state(running)
        assert missing_rights(both.ann, tuple(Right), {"default": [NAME], "elsewhere": []}) == {}
        assert state(running) == before


def test_each_right_is_granted_under_the_name_that_its_call_asks_for() -> None:
    inputs = {
        method.name: method.input_type for method in milvus_pb2.DESCRIPTOR.services_by_name["MilvusService"].methods
    }
    for right in {*CALLS} - {Right.IMPORT_BINLOG}:
        call = CALLS[right]
        needed = inputs[call("d", "c")[0]].GetOptions().Extensions[common_pb2.privilege_ext_obj]
        assert common_pb2.ObjectPrivilege.Name(needed.object_privilege) == f"Privilege{right}"
        assert (common_pb2.ObjectType.Name(needed.object_type) == "Collection") == right.is_on_collections


def test_the_right_to_import_binlogs_is_told_from_that_to_import(start: Start) -> None:
    running = start("2.6.19", authorization=True, guards_binlogs=True)
    with people(running) as both:
        assert both.root.may(Right.IMPORT_BINLOG, "default")
        # Milvus looks at the other one first, and says nothing of this one.
        assert not both.ann.may(Right.IMPORT, "default")
        both.grant([Right.IMPORT])
        assert both.ann.may(Right.IMPORT, "default")
        missing = missing_rights(both.ann, all_restore_rights(parse_version("2.6.19")), {"default": []})
        assert Right.IMPORT_BINLOG in missing["default"]
        hint = grant_hint(parse_version("2.6.19"), {"default": [Right.IMPORT_BINLOG]})
        assert "grant_privilege_v2(ROLE, P, '*', db_name='*') for P in ImportBinlog" in hint
        both.grant([Right.IMPORT_BINLOG])
        assert not both.ann.may(Right.IMPORT_BINLOG, "default")
        both.grant([Right.IMPORT_BINLOG], database="*")
        assert both.ann.may(Right.IMPORT_BINLOG, "default")


def test_a_server_that_does_not_know_the_right_to_import_binlogs_asks_for_none(start: Start) -> None:
    with people(start("2.6.19", authorization=True)) as both:
        assert both.ann.may(Right.IMPORT_BINLOG, "default")
        both.grant([Right.IMPORT])
        assert both.ann.may(Right.IMPORT_BINLOG, "default")


def test_whom_no_collection_is_shown_is_not_told_of_an_empty_server(start: Start, quick_s3: QuickS3) -> None:
    running = start("2.5.27", authorization=True)
    with people(running) as both:
        both.root.drop_collection("default", NAME)
        taken = Backups(running.server, both.ann, quick_s3.client())
        with pytest.raises(MilvusPermissionError, match=r"lacks rights that the run needs: .*Flush"):
            taken.prepare("b")
        both.grant(set(backup_rights(BackupRequest())) - OF_EVERYBODY)
        assert taken.take("b", gc_pause=False).collections == ()


@pytest.mark.feature(Feature.BACKUP_RIGHTS)
@pytest.mark.parametrize("version", ALL)
def test_all_that_a_backup_lacks_is_named_at_once_and_before_anything_is_done(
    start: Start, quick_s3: QuickS3, version: str
) -> None:
    running = start(version, authorization=True)
    with people(running) as both:
        taken = Backups(running.server, both.ann, quick_s3.client())
        with pytest.raises(MilvusPermissionError) as caught:
            taken.prepare("b")
        for right in (Right.SHOW_PARTITIONS, Right.GET_LOAD_STATE, Right.FLUSH, Right.GET_FLUSH_STATE):
            assert right in caught.value.message
            assert right in caught.value.hint
        assert "in database default" in caught.value.message
        assert ("grant_privilege_v2" in caught.value.hint) == (version >= "2.5")
        assert list(taken.store.list_objects(taken.bucket, "")) == []
        assert running.server.garbage_collection.pauses == 0


@pytest.mark.parametrize("version", NEWER)
def test_a_user_who_may_not_see_users_is_told_where_they_are_to_be_backed_up(
    start: Start, quick_s3: QuickS3, version: str
) -> None:
    with people(start(version, authorization=True)) as both:
        both.grant(set(backup_rights(BackupRequest())) - OF_EVERYBODY)
        taken = Backups(both.running.server, both.ann, quick_s3.client())
        with pytest.raises(MilvusPermissionError, match="needs: BackupRBAC in database default"):
            taken.prepare("b", include_rbac=True)
        assert list(taken.store.list_objects(taken.bucket, "")) == []


@pytest.mark.feature(Feature.FEW_RIGHTS)
@pytest.mark.parametrize("version", ALL)
def test_a_user_with_just_the_rights_that_are_asked_for_can_back_up(
    start: Start, quick_s3: QuickS3, version: str
) -> None:
    running = start(version, authorization=True)
    with people(running) as both:
        both.grant(set(backup_rights(BackupRequest())) - OF_EVERYBODY)
        manifest = Backups(running.server, both.ann, quick_s3.client()).take("b", gc_pause=False)
    assert manifest.failures == ()
    # Neither FlushAll nor DescribeDatabase: each is done without.
    assert manifest.flush_all is None
    assert any("properties of database default" in warning for warning in manifest.warnings) == (version >= "2.4")


@pytest.mark.parametrize("version", ["2.3.5", "2.6.19"])
def test_rights_on_just_the_collections_that_are_backed_up_will_do(
    start: Start, quick_s3: QuickS3, version: str
) -> None:
    running = start(version, authorization=True)
    with people(running) as both:
        both.root.create_collection("default", "other", LAYOUT)
        both.grant([Right.LIST_ALIASES])
        both.grant(set(backup_rights(BackupRequest())) - OF_EVERYBODY, name=NAME)
        taken = Backups(running.server, both.ann, quick_s3.client())
        assert taken.take("b", gc_pause=False, collections=[f"default.{NAME}"]).failures == ()
        with pytest.raises(MilvusPermissionError):
            taken.prepare("both")


def test_a_right_that_changes_something_is_never_asked_for_on_what_is_there(start: Start) -> None:
    with people(start("2.6.19")) as both:
        for right in set(Right) - READING:
            with pytest.raises(ValueError, match="without using it"):
                both.root.may(right, "default", NAME)


def test_rights_are_missing_by_database(start: Start) -> None:
    running = start("2.5.27", authorization=True)
    with people(running) as both:
        both.grant([Right.IMPORT])
        places: dict[str, list[str]] = {"default": [], "shop": []}
        assert missing_rights(both.ann, [Right.IMPORT, Right.CREATE_DATABASE], places) == {
            "shop": [Right.IMPORT],
            "default": [Right.CREATE_DATABASE],
        }
        with pytest.raises(MilvusPermissionError, match=r"Import, .* in database shop"):
            check_rights(both.ann, parse_version("2.5.27"), all_restore_rights(parse_version("2.5.27")), places)


def test_the_hint_is_what_an_administrator_has_to_call() -> None:
    missing = {"shop": [Right.FLUSH, Right.LOAD, Right.RENAME_COLLECTION], "default": [Right.CREATE_DATABASE]}
    old, new = (grant_hint(parse_version(version), missing) for version in ("2.4.23", "2.5.27"))
    assert "grant_privilege(ROLE, 'Collection', P, '*', db_name='shop') for P in Flush, Load;" in old
    assert "grant_privilege(ROLE, 'Global', P, '*', db_name='shop') for P in RenameCollection;" in old
    assert "grant_privilege_v2(ROLE, P, '*', db_name='shop') for P in Flush, Load;" in new
    assert "grant_privilege_v2(ROLE, P, '*', db_name='*') for P in RenameCollection" in new
