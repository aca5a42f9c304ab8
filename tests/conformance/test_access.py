"""Users, rights, and encrypted connections, as seen on real servers with authorization on."""

import base64
import datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pymilvus import MilvusClient
from pymilvus.grpc_gen import milvus_pb2, milvus_pb2_grpc

from tests.conformance.asking import Fact, Milvus, base_fields, status
from tests.conformance.conftest import Start

NAME = "c"
ALL = ["2.3.5", "2.4.23", "2.5.27", "2.6.19"]
_OTHER_USES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "encipher_only",
    "decipher_only",
)
WITH_BACKUP = ["2.4.23", "2.5.27", "2.6.19"]


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


@pytest.mark.parametrize("version", ALL)
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


@pytest.mark.parametrize("version", ALL)
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


@pytest.mark.parametrize("version", WITH_BACKUP)
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


@pytest.mark.parametrize("version", WITH_BACKUP)
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


class _Authority:
    """Makes certificates for loopback, all signed by one key."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
        self.certificate = self._write("authority.pem", self._sign("authority", self._key, is_authority=True))

    def make(self, name: str) -> tuple[Path, Path]:
        """Return a certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        text = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return self._write(f"{name}.pem", self._sign(name, key)), self._write(f"{name}.key", text)

    def _write(self, name: str, content: bytes) -> Path:
        (self._folder / name).write_bytes(content)
        return self._folder / name

    def _sign(self, name: str, key: ec.EllipticCurvePrivateKey, *, is_authority: bool = False) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        )
        if is_authority:
            uses = dict.fromkeys(_OTHER_USES, False) | {"key_cert_sign": True, "crl_sign": True}
            builder = builder.add_extension(x509.KeyUsage(**uses), critical=True)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _version_by_tls(port: str, authority: bytes, certificate: tuple[Path, Path] | None) -> str:
    chain, key = (path.read_bytes() for path in certificate) if certificate else (None, None)
    credentials = grpc.ssl_channel_credentials(authority, key, chain)
    with grpc.secure_channel(f"localhost:{port}", credentials) as channel:
        request = milvus_pb2.GetVersionRequest()
        return str(milvus_pb2_grpc.MilvusServiceStub(channel).GetVersion(request, timeout=5).version)


def test_grpc_and_rest_share_one_encrypted_port(start: Start, tmp_path: Path) -> None:
    authority = _Authority(tmp_path)
    uri = start("2.5.27", tls=authority.make("localhost")).server.uri
    assert uri.startswith("https://")
    port = uri.rpartition(":")[2]
    assert _version_by_tls(port, authority.certificate.read_bytes(), None) == "2.5.27"
    path = f"https://localhost:{port}/v2/vectordb/collections/list"
    assert requests.post(path, json={}, verify=str(authority.certificate), timeout=5).json()["code"] == 0


def test_mutual_tls_takes_only_clients_with_a_certificate(start: Start, tmp_path: Path) -> None:
    authority = _Authority(tmp_path)
    server = start("2.6.19", tls=authority.make("localhost"), client_ca=authority.certificate).server
    port, trusted = server.uri.rpartition(":")[2], authority.certificate.read_bytes()
    assert _version_by_tls(port, trusted, authority.make("client")) == "2.6.19"
    with pytest.raises(grpc.RpcError):
        _version_by_tls(port, trusted, None)
