"""The secret of a deployment: what it may hold, and that nothing tells what it holds."""

import json
import traceback
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from cryptography.hazmat.primitives import serialization
from moto import mock_aws

from milvus_vault.adapters.milvus_access import NOBODY, ClientTls
from milvus_vault.adapters.milvus_secret import MilvusSecret, read_access
from milvus_vault.errors import MilvusSecretError
from tests.support.certificates import Authority

HIDDEN = "Open-Sesame"


@pytest.fixture(autouse=True)
def _cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def store(text: str) -> str:
    """Store a secret, and return its ARN."""
    return boto3.client("secretsmanager").create_secret(Name="milvus", SecretString=text)["ARN"]


def encrypted(key: Path) -> str:
    """Return a key with a passphrase."""
    loaded = serialization.load_pem_private_key(key.read_bytes(), None)
    form = serialization.PrivateFormat.PKCS8
    return loaded.private_bytes(
        serialization.Encoding.PEM, form, serialization.BestAvailableEncryption(HIDDEN.encode())
    ).decode()


def test_without_a_secret_there_are_no_credentials() -> None:
    assert read_access("") == NOBODY


def test_user_and_password_are_a_token_of_both() -> None:
    access = read_access(store('{"username": "root", "password": "Milvus"}'))
    assert (access.token, access.username, access.tls) == ("root:Milvus", "root", ClientTls())


@pytest.mark.parametrize("token", ["root:Milvus", "an-api-key"])
def test_a_token_is_taken_as_it_is(token: str) -> None:
    access = read_access(store(json.dumps({"token": token})))
    assert (access.token, access.username) == (token, "")


def test_certificates_need_no_credentials(authority: Authority) -> None:
    certificate, key = (path.read_text() for path in authority.make("client"))
    content = {
        "ca_pem": authority.pem,
        "client_certificate_pem": certificate,
        "client_key_pem": key,
        "tls_server_name": "milvus.internal",
    }
    access = read_access(store(json.dumps(content)))
    assert access.tls == ClientTls(authority.pem, certificate, key, "milvus.internal")
    assert access.token == ""
    assert [found["subject"] for found in access.tls.context("h2").get_ca_certs()] == [
        ((("commonName", "authority"),),)
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"username": "root"}, "'username' is there without 'password'"),
        ({"password": HIDDEN}, "'password' is there without 'username'"),
        ({"token": HIDDEN, "username": "root", "password": HIDDEN}, "'token' and 'username' with 'password' exclude"),
        ({"token": HIDDEN, "password": HIDDEN}, "'token' and 'username' with 'password' exclude"),
        ({"token": f"root:{HIDDEN}\n"}, "'token' has a line feed"),
        ({"username": "root", "password": f"{HIDDEN}\r\n"}, "'password' has a line feed"),
        ({"user": "root", "password": HIDDEN}, 'the key "user" is not known'),
        ({"username": "root", "password": 17}, '"password": Input should be a valid string'),
        ({"ca_pem": HIDDEN}, "'ca_pem' is no certificate in PEM"),
        ({"ca_pem": f"-----BEGIN CERTIFICATE----- {HIDDEN} -----END CERTIFICATE-----"}, "it has no line breaks"),
        ({"client_key_pem": HIDDEN}, "'client_key_pem' is there without 'client_certificate_pem'"),
        ({"client_certificate_pem": HIDDEN}, "'client_certificate_pem' is there without 'client_key_pem'"),
        ({"client_certificate_pem": HIDDEN, "client_key_pem": HIDDEN}, "'client_certificate_pem' is no certificate"),
        ({"tls_server_name": f"https://{HIDDEN}"}, '"tls_server_name": it is the name of a host alone'),
    ],
)
def test_what_cannot_be_used_is_named_and_not_quoted(content: dict[str, object], message: str) -> None:
    refused(json.dumps(content), message)


@pytest.mark.parametrize("text", ["", HIDDEN, f'"{HIDDEN}"', f'["{HIDDEN}"]', f'{{"password": "{HIDDEN}"'])
def test_a_secret_that_is_no_json_object_is_named_and_not_quoted(text: str) -> None:
    refused(text or " ", "it is not a JSON object")


@pytest.mark.parametrize("content", [{"username": "root", "password": "ö" * 30_000}, {"token": "x" * 60_000}])
def test_what_no_header_takes_is_named_and_not_quoted(content: dict[str, str]) -> None:
    with pytest.raises(MilvusSecretError, match="is longer than 4096 bytes") as caught:
        read_access(store(json.dumps(content, ensure_ascii=False)))

    assert len(str(caught.value)) < 500


def test_a_key_must_be_that_of_the_certificate(authority: Authority) -> None:
    certificate, key = authority.make("one")[0].read_text(), authority.make("other")[1].read_text()
    content = {"client_certificate_pem": certificate, "client_key_pem": key}
    refused(json.dumps(content), "'client_key_pem' is not the key of 'client_certificate_pem'", hidden=key)


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked_for_it(authority: Authority) -> None:
    certificate, key = authority.make("client")
    content = {"client_certificate_pem": certificate.read_text(), "client_key_pem": encrypted(key)}
    refused(json.dumps(content), "'client_key_pem' is no private key in PEM without a passphrase")


def refused(text: str, message: str, hidden: str = HIDDEN) -> None:
    """Expect a secret to be refused, and nothing of it to be told."""
    with pytest.raises(MilvusSecretError, match=message) as caught:
        read_access(store(text))
    told = "".join(traceback.format_exception(caught.value)) + caught.value.hint
    assert hidden not in told
    assert caught.value.__cause__ is None


def test_a_secret_that_is_not_there_is_named() -> None:
    arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:gone"
    with pytest.raises(MilvusSecretError, match=f"the secret {arn} cannot be read"):
        read_access(arn)


def test_a_secret_of_bytes_is_refused() -> None:
    arn = boto3.client("secretsmanager").create_secret(Name="bytes", SecretBinary=b"{}")["ARN"]
    with pytest.raises(MilvusSecretError, match="cannot be read: KeyError"):
        read_access(arn)


def test_neither_secret_nor_access_shows_what_it_holds(authority: Authority) -> None:
    certificate, key = (path.read_text() for path in authority.make("client"))
    secrets = [
        MilvusSecret(token=HIDDEN),
        MilvusSecret(username="root", password=HIDDEN),
        MilvusSecret(client_certificate_pem=certificate, client_key_pem=key),
    ]
    for secret in secrets:
        for shown in (repr(secret), str(secret), repr(secret.access())):
            assert HIDDEN not in shown
            assert "PRIVATE KEY" not in shown


def test_the_file_that_a_key_is_read_from_is_private_and_gone_at_once(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    certificate, key = (path.read_text() for path in authority.make("client"))
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    modes = []
    write = Path.write_text

    def look(path: Path, text: str) -> int:
        written = write(path, text)
        modes.append((path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777, path.parent.parent))
        return written

    monkeypatch.setattr(Path, "write_text", look)
    ClientTls("", certificate, key).context("h2")
    assert modes == [(0o600, 0o700, folder)]
    assert list(folder.iterdir()) == []
