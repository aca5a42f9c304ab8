"""A deployment whose Milvus is reached by mutual TLS alone, with what its secret holds."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from inspect_milvus.handler import handler as inspect_milvus

from local.aws import Ministack
from milvus_vault.errors import ClientCertificateError, MilvusSecretError
from tests.support.certificates import Authority
from tests.support.golden_rows import GOLDEN, oracle
from tests.support.milvus_server.core import Settings
from tests.support.milvus_server.server import MilvusServer
from tests.support.quick_s3 import QuickS3
from tests.support.restoring import BACKUPS, Restoring

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

ARCHIVE, COLLECTION = "golden_2_4", "gold.layers"
PASSWORD = "Milvus"


@dataclass(frozen=True)
class Encrypted:
    """A deployment, what its secret should hold, and what it is stored in."""

    restoring: Restoring
    content: dict[str, str]
    ministack: Ministack

    def with_secret(self, content: dict[str, str]) -> Restoring:
        """Return the deployment with this in its secret."""
        secrets = self.ministack.client("secretsmanager")
        arn = secrets.create_secret(Name=f"milvus-{id(content)}", SecretString=json.dumps(content))["ARN"]
        return replace(self.restoring, environment={**self.restoring.environment, "MILVUS_SECRET_ARN": arn})


@pytest.fixture
def encrypted(ministack: Ministack, quick_s3: QuickS3, tmp_path: Path) -> Iterator[Encrypted]:
    """A server that takes nobody without a certificate and a password, on any of its ports."""
    authority, s3 = Authority(tmp_path), quick_s3.client()
    with MilvusServer(
        s3.meta.endpoint_url,
        version="2.6.19",
        bucket=f"encrypted-{tmp_path.name}".replace("_", "-"),
        settings=Settings(speed=60, authorization=True),
        tls=authority.make("localhost"),
        client_ca=authority.certificate,
        management_tls=True,
    ) as server:
        environment = {
            "MILVUS_REST_URI": server.rest_uri,
            "MILVUS_MANAGEMENT_URI": server.management_uri,
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": ministack.url,
        }
        certificate, key = (path.read_text() for path in authority.make("client"))
        content = {
            "username": "root",
            "password": PASSWORD,
            "ca_pem": authority.pem,
            "client_certificate_pem": certificate,
            "client_key_pem": key,
            "tls_server_name": "localhost",
        }
        yield Encrypted(Restoring(s3, server, environment), content, ministack)


def told(restoring: Restoring) -> str:
    """Return all that is written of backups and runs."""
    pages = restoring.s3.get_paginator("list_objects_v2").paginate(Bucket=BACKUPS)
    keys = [item["Key"] for page in pages for item in page.get("Contents", []) if "/binlogs/" not in item["Key"]]
    contents = [restoring.s3.get_object(Bucket=BACKUPS, Key=key)["Body"].read() for key in keys]
    return b"\n".join(contents).decode(errors="replace")


def test_it_restores_backs_up_and_tells_nobody_how(encrypted: Encrypted, capsys: pytest.CaptureFixture[str]) -> None:
    restoring = encrypted.with_secret(encrypted.content)
    restoring.upload(GOLDEN / ARCHIVE)
    request = {"backup_name": ARCHIVE, "collections": [COLLECTION], "rename": {COLLECTION: "gold.again"}}
    assert restoring.restore(request)["status"] == "complete"
    rows = sum(len(versions) for found in oracle("2_4")[COLLECTION]["rows"].values() for versions in found)
    assert len(next(iter(restoring.server.live_rows("gold", "again").values()))) == rows
    pauses = list[int]()
    collector = restoring.server.garbage_collection
    pausing = replace(restoring, after={"prepare_backup": lambda: pauses.append(collector.pauses)})
    pausing.back_up("encrypted", gc_pause=True)
    assert [*pauses, collector.pauses] == [1, 0]
    everything = told(restoring) + "".join(capsys.readouterr())
    assert '"backup_name":"encrypted"' in everything.replace(" ", "")
    for hidden in (
        f"root:{PASSWORD}",
        f'"{PASSWORD}"',
        "PRIVATE KEY",
        encrypted.content["client_key_pem"].splitlines()[1],
    ):
        assert hidden not in everything


def test_the_check_says_what_is_in_the_way(encrypted: Encrypted) -> None:
    def verdicts(content: dict[str, str]) -> dict[str, Any]:
        restoring = encrypted.with_secret(content)
        with restoring._in_environment():
            found = restoring._call(inspect_milvus, {"inspection": "check"})["found"]
        return {item["name"]: item for item in found["checks"]}

    right = verdicts(encrypted.content)
    assert right["secret"]["message"] == "the password of root can be read"
    assert right["milvus_connection"]["verdict"] == right["management_endpoint"]["verdict"] == "ok"
    alone = {name: text for name, text in encrypted.content.items() if not name.startswith("client_")}
    barred = verdicts(alone)
    for name in ("milvus_connection", "management_endpoint"):
        assert (barred[name]["verdict"], barred[name]["error"]) == ("failed", ClientCertificateError.__name__)
    wrong = verdicts({"token": PASSWORD, "password": PASSWORD})
    assert (wrong["secret"]["verdict"], wrong["secret"]["error"]) == ("failed", MilvusSecretError.__name__)
    assert wrong["milvus_connection"]["verdict"] == wrong["management_endpoint"]["verdict"] == "skipped"
