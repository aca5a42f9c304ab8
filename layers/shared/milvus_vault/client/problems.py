"""What an answer that is no success means."""

import json
from http import HTTPStatus

from pydantic import ValidationError

from milvus_vault.errors import ApiAccessDeniedError, ApiUnavailableError, VaultError, leaf_named
from milvus_vault.model.resources import Problem

MAX_QUOTED_CHARACTERS = 200


def error_of(status: int, content: bytes, address: str) -> VaultError:
    """Return the error that an answer stands for: the leaf that its problem document names, where it has one.

    Args:
        status: the answer's status, which is none of success.
        content: its body.
        address: of the API, for the message.
    """
    try:
        problem = Problem.model_validate_json(content, extra="ignore")
    except ValidationError:
        return _error_of_gateway(status, content, address)
    try:
        leaf = leaf_named(problem.error)
    except KeyError:
        message = f"{problem.error or problem.title}: {problem.detail}"
        return ApiUnavailableError(message, hint=problem.hint or "The API may be newer than this client: update it.")
    return leaf(problem.detail, hint=problem.hint)


def _error_of_gateway(status: int, content: bytes, address: str) -> VaultError:
    """Return what an answer of API Gateway itself means, or of whatever else listens at the address."""
    said = _message(content)
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return ApiAccessDeniedError(
            f"the API at {address} refuses this caller: {said}",
            hint="See who you are with 'aws sts get-caller-identity', and that this identity may call "
            "execute-api:Invoke on the API, in its Region.",
        )
    return ApiUnavailableError(
        f"{address} answers with status {status}: {said}",
        hint="See that this is the stack's output ApiUrl, and try again.",
    )


def _message(content: bytes) -> str:
    text = content.decode(errors="replace").strip()
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if isinstance(document, dict):
        text = str(document.get("message") or document.get("Message") or text)
    return text[:MAX_QUOTED_CHARACTERS] or "nothing more is said"
