"""The function that looks at Milvus, invoked by another one."""

from typing import Any, override

import boto3
from botocore.config import Config

from milvus_vault.adapters.aws_errors import service_errors
from milvus_vault.adapters.kept import kept
from milvus_vault.errors import AnswerTimeoutError, ServiceRequestError, VaultError, leaf_named, split_hint
from milvus_vault.model.messages import InspectMilvusRequest
from milvus_vault.ports import Inspector
from milvus_vault.untrusted import read_json

_SERVICE = "Lambda"
# The function has 25 s, and API Gateway waits for 29. No retry: there is no time for one.
_CONFIG = Config(connect_timeout=2, read_timeout=27, retries={"mode": "standard", "total_max_attempts": 1})


class LambdaInspector(Inspector):
    """The port `Inspector` over a Lambda function."""

    def __init__(self, function_name: str) -> None:
        self._client = kept(lambda: boto3.session.Session().client("lambda", config=_CONFIG), "lambda")
        self._function_name = function_name

    @override
    def inspect(self, request: InspectMilvusRequest) -> dict[str, Any]:
        with service_errors(_SERVICE):
            answer = self._client.invoke(FunctionName=self._function_name, Payload=request.model_dump_json().encode())
            body = answer["Payload"].read()
        try:
            payload = read_json(body.decode())
        except ValueError:
            payload = None
        if not isinstance(payload, dict):
            msg = "the function that looks at Milvus answers with something that is no JSON object"
            raise ServiceRequestError(msg, hint="See its log.")
        found = payload.get("found")
        if "FunctionError" in answer or not isinstance(found, dict):
            raise _error(str(payload.get("errorType", "")), str(payload.get("errorMessage", "")))
        return found


def _error(name: str, text: str) -> VaultError:
    """Return the error that the function raised."""
    message, hint = split_hint(text)
    try:
        return leaf_named(name)(message, hint=hint)
    except KeyError:
        pass
    if "timed out" in text.lower() or name == "Sandbox.Timedout":
        return AnswerTimeoutError(
            "looking at Milvus and its bucket took longer than an answer of the API may take",
            hint="Ask for fewer collections at a time.",
        )
    return ServiceRequestError(f"the function that looks at Milvus failed: {name}: {text}", hint="See its log.")
