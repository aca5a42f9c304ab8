"""Users, rights, and encrypted connections, as seen on real servers with authorization on."""

import base64
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
from pymilvus import MilvusClient
from pymilvus.grpc_gen import milvus_pb2, milvus_pb2_grpc

from tests.conformance.asking import Fact, Milvus, base_fields, status
from tests.conformance.conftest import Start
from tests.support.certificates import Authority
from tests.support.milvus_server.versions import NEWER, OBSERVED

pytestmark = pytest.mark.tools("milvus")

NAME = "c"


def _call(uri: str, token: str, name: str, request: Any) -> Fact:
    """Return OK or the code with which gRPC refuses."""
    with grpc.insecure_channel(uri.removeprefix("http://")) as channel:
        stub = milvus_pb2_grpc.MilvusServiceStub(channel)
        metadata = (("authorization", base64.b64encode(token.encode()).decode()),) if token else ()
        try:
            getattr(stub, name)(request, metadata=metadata, timeout=10)
        except grpc.RpcError as err:
            return status(err)
    return "OK"


@pytest.mark.parametrize("version", OBSERVED)
def test_a_server_with_authorization_asks_who_calls(start: Start, version: str) -> None:
    uri = start(version, authorization=True).server.uri
    listing = milvus_pb2.ListDatabasesRequest()
    for token in ("", "root:wrong", "nobody:Milvus"):
        assert _call(uri, token, "ListDatabases", listing) == "UNAUTHENTICATED"
    assert _call(uri, "root:Milvus", "ListDatabases", listing) == "OK"
    if version != "2.3.5":
        path = f"{uri}/v2/vectordb/collections/list"
        answers = [
            requests.post(path, json={}, headers={"Authorization": f"Bearer {token}"}, timeout=5).status_code
            for token in ("root:wrong", "root:Milvus")
        ]
        assert answers == [401, 200]


@pytest.mark.parametrize("version", OBSERVED)
def test_a_user_without_rights_sees_segments_and_is_refused_only_at_the_flush(start: Start, version: str) -> None:
    uri = start(version, authorization=True).server.uri
    client = MilvusClient(uri, token="root:Milvus")
    client.create_collection(NAME, dimension=4)
    client.create_user("ann", "Secret-pw1")
    asked: dict[str, tuple[Any, str]] = {
        "DescribeCollection": (milvus_pb2.DescribeCollectionRequest(collection_name=NAME), "OK"),
        "GetPersistentSegmentInfo": (milvus_pb2.GetPersistentSegmentInfoRequest(collectionName=NAME), "OK"),
        "DescribeIndex": (milvus_pb2.DescribeIndexRequest(collection_name=NAME), "OK"),
        "Flush": (milvus_pb2.FlushRequest(collection_names=[NAME]), "PERMISSION_DENIED"),
        "FlushAll": (milvus_pb2.FlushAllRequest(), "PERMISSION_DENIED"),
        "GetFlushState": (milvus_pb2.GetFlushStateRequest(collection_name=NAME), "PERMISSION_DENIED"),
        "GetLoadState": (milvus_pb2.GetLoadStateRequest(collection_name=NAME), "PERMISSION_DENIED"),
        "Import": (milvus_pb2.ImportRequest(collection_name=NAME), "PERMISSION_DENIED"),
    }
    found = {name: _call(uri, "ann:Secret-pw1", name, request) for name, (request, _) in asked.items()}
    assert found == {name: expected for name, (_, expected) in asked.items()}
    client.create_role("flusher")
    client.grant_privilege("flusher", "Collection", "Flush", "*")
    client.grant_role("ann", "flusher")
    assert _call(uri, "ann:Secret-pw1", "Flush", asked["Flush"][0]) == "OK"


def _users(milvus: Milvus) -> None:
    password = base64.b64encode(b"Secret-pw1").decode()
    for user in ("ann", "anna"):
        milvus.must("CreateCredential", username=user, password=password)
    milvus.must("CreateRole", entity={"name": "reader"})
    milvus.must("OperateUserRole", username="ann", role_name="reader")
    grant = {
        "role": {"name": "reader"},
        "object": {"name": "Collection"},
        "object_name": "*",
        "grantor": {"privilege": {"name": "Search"}},
    }
    milvus.must("OperatePrivilege", entity=grant)
    milvus.must("CreatePrivilegeGroup", group_name="looking")
    milvus.must("OperatePrivilegeGroup", group_name="looking", privileges=[{"name": "Query"}])


@pytest.mark.parametrize("version", NEWER)
def test_users_come_back_from_their_backup_with_their_passwords(start: Start, version: str) -> None:
    milvus, target = start(version).milvus, start(version, authorization=True)
    _users(milvus)
    meta = milvus.must("BackupRBAC").RBAC_meta
    assert {user.user for user in meta.users} == {"ann", "anna"}
    assert all(user.password.startswith("$2a$10$") for user in meta.users)
    # What real servers do with a user whose name begins another's.
    assert [role.name for user in meta.users if user.user == "ann" for role in user.roles] == ["reader", ""]
    root = MilvusClient(target.server.uri, token="root:Milvus")
    assert root.list_users() == ["root"]
    request = milvus_pb2.RestoreRBACMetaRequest(RBAC_meta=meta)
    assert _call(target.server.uri, "root:Milvus", "RestoreRBAC", request) == "OK"
    assert sorted(root.list_users()) == ["ann", "anna", "root"]
    assert root.describe_user("ann")["roles"] == ("reader",)
    listing = milvus_pb2.ListDatabasesRequest()
    assert _call(target.server.uri, "ann:Secret-pw1", "ListDatabases", listing) == "OK"


@pytest.mark.parametrize("version", NEWER)
def test_nothing_is_restored_where_one_user_or_role_is_there(start: Start, version: str) -> None:
    milvus = start(version).milvus
    _users(milvus)
    meta = milvus.must("BackupRBAC").RBAC_meta
    milvus.must("DeleteCredential", username="anna")
    refused = status(milvus.call("RestoreRBAC", RBAC_meta=meta))
    assert "already exists" in refused[1]
    assert list(milvus.must("ListCredUsers").usernames) == ["ann", "root"]


def test_resource_groups_decide_on_how_many_replicas_there_can_be(start: Start) -> None:
    milvus = start("2.5.27").milvus
    milvus.make(NAME, *base_fields())
    params = [{"key": "index_type", "value": "FLAT"}, {"key": "metric_type", "value": "L2"}]
    milvus.must("CreateIndex", collection_name=NAME, field_name="v", extra_params=params)
    groups = {"resource_groups": ["a", "b"], "replica_number": 2}
    assert status(milvus.call("LoadCollection", collection_name=NAME, **groups)) != "OK"
    for name in ("a", "b"):
        limits = {"requests": {"node_num": 1}, "limits": {"node_num": 1}}
        milvus.must("CreateResourceGroup", resource_group=name, config=limits)
    milvus.must("LoadCollection", collection_name=NAME, **groups)
    replicas = milvus.must("GetReplicas", collection_name=NAME).replicas
    assert sorted(replica.resource_group_name for replica in replicas) == ["a", "b"]
    assert sorted(milvus.must("ListResourceGroups").resource_groups) == ["__default_resource_group", "a", "b"]


def _version_by_tls(port: str, authority: bytes, certificate: tuple[Path, Path] | None) -> str:
    chain, key = (path.read_bytes() for path in certificate) if certificate else (None, None)
    credentials = grpc.ssl_channel_credentials(authority, key, chain)
    with grpc.secure_channel(f"localhost:{port}", credentials) as channel:
        request = milvus_pb2.GetVersionRequest()
        return str(milvus_pb2_grpc.MilvusServiceStub(channel).GetVersion(request, timeout=5).version)


def test_with_tls_rest_has_a_port_of_its_own(start: Start, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = start("2.5.27", tls=authority.make("localhost")).server
    port, rest_port = (uri.rpartition(":")[2] for uri in (server.uri, server.rest_uri))
    assert _version_by_tls(port, authority.certificate.read_bytes(), None) == "2.5.27"
    path = "https://localhost:{}/v2/vectordb/collections/list"
    verify = str(authority.certificate)
    assert requests.post(path.format(rest_port), json={}, verify=verify, timeout=5).json()["code"] == 0
    with pytest.raises(requests.ConnectionError):
        requests.post(path.format(port), json={}, verify=verify, timeout=5)


def test_mutual_tls_takes_only_clients_with_a_certificate(start: Start, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = start("2.6.19", tls=authority.make("localhost"), client_ca=authority.certificate).server
    port, trusted = server.uri.rpartition(":")[2], authority.certificate.read_bytes()
    assert _version_by_tls(port, trusted, authority.make("client")) == "2.6.19"
    with pytest.raises(grpc.RpcError):
        _version_by_tls(port, trusted, None)
