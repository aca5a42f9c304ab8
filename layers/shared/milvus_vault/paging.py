"""Answers in parts: how much one can hold, and with what the next one goes on."""

import base64
import re
from collections.abc import Iterable

from pydantic import BaseModel
from pydantic_core import to_json

from milvus_vault.errors import InvalidRequestError

ANSWER_BYTES = 5 * 2**20
"""What the items of an answer may take together. Lambda passes on 6 MB; what is told beside them has the rest."""


def answer_bytes(item: object) -> int:
    """Return how many bytes something takes in an answer, which is JSON as a text within JSON."""
    text = to_json(item)
    return len(text) + text.count(b'"') + text.count(b"\\") + len(",")


def fitting(items: Iterable[object], room_bytes: int = ANSWER_BYTES) -> int:
    """Return how many of the first items go into an answer: one at least, where there is any."""
    count = 0
    for item in items:
        room_bytes -= answer_bytes(item)
        if room_bytes < 0 and count:
            break
        count += 1
    return count


def token_of(position: BaseModel) -> str:
    """Return the token for which `position_of` returns this position."""
    return base64.urlsafe_b64encode(position.model_dump_json().encode()).decode()


def position_of[Position: BaseModel](token: str | None, model: type[Position]) -> Position:
    """Return where to go on; without a token, at the beginning. Raises `InvalidRequestError` for one that is none."""
    if token is None:
        return model()
    try:
        return model.model_validate_json(base64.urlsafe_b64decode(token))
    except ValueError as err:
        raise wrong_token(token) from err


def index_of(token: str | None) -> int:
    """Return where to go on in a list that stays as it is, of which a token is a number.

    Raises `InvalidRequestError` for one that is none.
    """
    if token is None:
        return 0
    if not re.fullmatch(r"[0-9]{1,6}", token):
        raise wrong_token(token)
    return int(token)


def wrong_token(token: str) -> InvalidRequestError:
    """Return the error for a token that an answer never gave."""
    msg = f"token '{token[:80]}' is not one of this list"
    return InvalidRequestError(msg, hint="Use next_token of the page before, or none.")
