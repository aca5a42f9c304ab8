"""Whatever a request looks like, the API answers as its OpenAPI document says, and never with a fault of its own."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import HealthCheck, Phase, settings
from pymilvus import DataType, MilvusClient
from requests import PreparedRequest
from requests.auth import AuthBase
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from local.clients import REGION
from local.stack import LocalStack
from milvus_vault.api.openapi import openapi_document
from milvus_vault.api.routes import ROUTES
from tests import tiers
from tests.support.vault_runs import succeed

pytest_plugins = ["schemathesis.pytest.plugin"]

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
]

# Without the signature among its parameters: every request here has a good one.
_DOCUMENT = {name: part for name, part in openapi_document(ROUTES).items() if name != "security"}
schema = schemathesis.openapi.from_dict(_DOCUMENT)


class Signature(AuthBase):
    """Signs a request as API Gateway asks for."""

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Return the request with its signature."""
        signed = AWSRequest(request.method, request.url, headers={}, data=request.body)
        SigV4Auth(Credentials("test", "test"), "execute-api", REGION).add_auth(signed)
        request.headers.update(dict(signed.headers))
        return request


@pytest.fixture(scope="module")
def api_url(stack: LocalStack) -> Iterator[str]:
    """Yield the address of an API with one collection and one backup behind it."""
    deployment = stack.deploy("described", stack.milvus)
    client = MilvusClient(stack.milvus_uri)
    fields = client.create_schema(auto_id=False)
    fields.add_field("id", DataType.INT64, is_primary=True)
    fields.add_field("vector", DataType.FLOAT_VECTOR, dim=4)
    client.create_collection("described_books", schema=fields, num_shards=1)
    request = {"backup_name": "first", "collections": ["default.described_books"], "meta_only": True}
    succeed(deployment, "Backup", request)
    yield deployment.api_url
    client.drop_collection("described_books")
    client.close()


@schema.parametrize()
@settings(
    settings.get_profile(tiers.OF_ROUTES),
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_as_described(case: schemathesis.Case[Any], api_url: str) -> None:
    if isinstance(case.body, dict):
        # Nothing that starts work: the name is taken, and schedules are off. tests/e2e/test_api.py starts runs.
        if case.path == "/backups":
            case.body["backup_name"] = "first"
        if case.path == "/schedules/{name}" and isinstance(case.body.get("enabled", True), bool):
            case.body["enabled"] = False
    case.call_and_validate(base_url=api_url, auth=Signature(), checks=CHECKS, timeout=30)
