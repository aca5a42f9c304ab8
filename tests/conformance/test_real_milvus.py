"""The real 2.3.5 still answers what it answered when its facts were written, and does what the test server does."""

from collections.abc import Iterator

import pytest
from pymilvus import MilvusClient

from local.aws import Ministack
from local.milvus import Milvus as RealMilvus
from milvus_vault.adapters.milvus import connect
from milvus_vault.adapters.milvus_access import MilvusAccess
from milvus_vault.errors import CollectionExistsError
from milvus_vault.model.collections import DEFAULT_RESOURCE_GROUP
from milvus_vault.model.rights import READING, Right
from tests.conformance.asking import Milvus, base_fields
from tests.conformance.comparing import ask, flat, known
from tests.conformance.questions import SCENARIOS

VERSION = "2.3.5"
SETTLE_SECONDS = 2
POLL_SECONDS = 0.2


@pytest.fixture(scope="module")
def milvus(ministack: Ministack) -> Iterator[Milvus]:
    s3 = ministack.client("s3")
    with RealMilvus(s3.meta.endpoint_url, bucket="conformance-real") as server:
        yield Milvus(
            server.uri, server.management_uri, s3, server.bucket, server.root_path, SETTLE_SECONDS, POLL_SECONDS
        )


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_real_server_answers_as_it_did(milvus: Milvus, scenario: str) -> None:
    assert flat(ask(milvus, scenario)) == flat(known(VERSION)[scenario])


def test_to_ask_for_rights_changes_nothing(milvus: Milvus) -> None:
    milvus.make("asked", *base_fields())
    with connect(milvus.uri) as database:

        def state() -> object:
            names = {name: database.list_collections(name) for name in database.list_databases()}
            return names, database.list_aliases("default"), milvus.must("ListCredUsers").usernames

        before = state()
        assert all(database.may(right, "default") for right in Right)
        assert all(database.may(right, "default", "asked") for right in READING)
        assert state() == before


def test_query_nodes_are_counted(milvus: Milvus) -> None:
    with connect(milvus.uri) as database:
        assert database.count_query_nodes(DEFAULT_RESOURCE_GROUP) == 1
        assert database.count_query_nodes("nowhere") == 0


def test_an_alias_is_taken_from_another_collection_only_if_that_is_asked_for(milvus: Milvus) -> None:
    for name in ("first", "second"):
        milvus.make(name, *base_fields())
    with connect(milvus.uri) as database:
        database.create_alias("default", "first", "moved")
        with pytest.raises(CollectionExistsError):
            database.create_alias("default", "second", "moved")
        for _ in range(2):
            database.create_alias("default", "second", "moved", take=True)
        assert database.list_aliases("default", "first") == frozenset()
        assert database.list_aliases("default", "second") == {"moved"}


def test_rights_are_told_from_their_lack(ministack: Ministack) -> None:
    endpoint = ministack.client("s3").meta.endpoint_url
    # What everybody may, and what 2.3 has no calls for.
    free = {Right.DESCRIBE_COLLECTION, Right.INDEX_DETAIL}
    later = {Right.BACKUP_RBAC, Right.RESTORE_RBAC, Right.ADD_COLLECTION_FIELD}
    with RealMilvus(endpoint, bucket="conformance-rights", authorization=True) as server:
        root = MilvusClient(server.uri, token="root:Milvus")
        root.create_user("ann", "Secret-pw1")
        root.create_role("role")
        root.grant_role("ann", "role")
        with connect(server.uri, MilvusAccess("ann:Secret-pw1", "ann")) as database:
            lacking = {right for right in Right if not database.may(right, "default")}
            assert lacking == set(Right) - free - later
            for right in lacking:
                kind = "Collection" if right.is_on_collections else "Global"
                root.grant_privilege("role", kind, str(right), "*")
            assert [right for right in Right if not database.may(right, "default")] == []
