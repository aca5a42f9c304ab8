"""What the function of the API makes of events that API Gateway does not send."""

from typing import Any

import pytest

from milvus_vault.api.app import Api
from milvus_vault.api.routes import ROUTES
from milvus_vault.api.services import Services
from milvus_vault.errors import InvalidRequestError
from tests.support.lambda_context import Invocation


def no_services() -> Services:
    """Fail the test."""
    pytest.fail("what is refused gets to no service")


@pytest.mark.parametrize(
    "event",
    [
        [],
        {},
        {"httpMethod": "GET", "path": 7},
        {"httpMethod": "GET", "path": "/backups", "headers": []},
        {"httpMethod": "GET", "path": "/backups", "multiValueQueryStringParameters": {"limit": 7}},
        {"httpMethod": "GET", "path": "/backups", "requestContext": "x"},
        {"httpMethod": "POST", "path": "/backups", "body": {}},
    ],
)
def test_what_is_no_event_of_api_gateway_is_refused_by_name(event: Any) -> None:
    with pytest.raises(InvalidRequestError):
        Api(ROUTES, no_services).handle(event, Invocation())


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
def test_a_word_that_is_a_routes_own_is_never_a_name(method: str) -> None:
    event = {"httpMethod": method, "path": "/restores/plan", "requestContext": {}}
    answer = Api(ROUTES, no_services).handle(event, Invocation())
    assert answer["statusCode"] == 405
    assert answer["multiValueHeaders"]["Allow"] == ["POST"]
