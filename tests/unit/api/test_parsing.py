"""From a request of API Gateway to what a route takes."""

import base64
import json

import pytest

from milvus_vault.api.parsing import arguments
from milvus_vault.api.routes import ROUTES
from milvus_vault.errors import InvalidRequestError

POST_RESTORE = next(found for found in ROUTES if found.method == "POST" and found.path == "/restores")


def test_a_body_in_base64_is_read() -> None:
    body = base64.b64encode(json.dumps({"backup_name": "nightly"}).encode()).decode()

    found = arguments(POST_RESTORE, {"body": body, "isBase64Encoded": True}, {})

    assert found["body"].backup_name == "nightly"


@pytest.mark.parametrize("path_value", ["daily 2026 (a+b)", "daily%202026%20%28a%2Bb%29"])
def test_a_name_in_a_path_is_read_whether_a_gateway_has_decoded_it_or_not(path_value: str) -> None:
    get_backup = next(found for found in ROUTES if found.method == "GET" and found.path == "/backups/{name}")

    assert arguments(get_backup, {}, {"name": path_value})["name"] == "daily 2026 (a+b)"


@pytest.mark.parametrize("body", ["{}", "a", "\u00fc", "====", "\ud83d", "YQ==YQ=="])
def test_a_body_that_is_no_base64_is_refused_by_name(body: str) -> None:
    with pytest.raises(InvalidRequestError):
        arguments(POST_RESTORE, {"body": body, "isBase64Encoded": True}, {})
