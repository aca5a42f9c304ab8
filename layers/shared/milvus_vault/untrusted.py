"""What comes from outside as JSON, made into what every encoding, log and document takes.

JSON can say half of a character (a lone surrogate) and nest as deeply as it likes; Python takes the first and dies of
the second. Everybody who may start an execution by hand can send either.
"""

import json

_DEPTH = 100
"""No document of ours nests deeper than ten."""

_TOO_DEEP = "..."


def encodable(text: str) -> str:
    """Return a text with a question mark in place of each half of a character."""
    return text.encode("utf-8", "replace").decode()


def whole(value: object, depth: int = _DEPTH) -> object:
    """Return a value of JSON with whole characters, cut off where it nests deeper than any document of ours."""
    if isinstance(value, str):
        return encodable(value)
    if not isinstance(value, dict | list | tuple):
        return value
    if not depth:
        return _TOO_DEEP
    if isinstance(value, dict):
        return {whole(key, depth): whole(item, depth - 1) for key, item in value.items()}
    return [whole(item, depth - 1) for item in value]


def read_json(text: str) -> object:
    """Return what a text says in JSON. Raises `ValueError` for one that is none, or nests too deeply to be read."""
    try:
        return whole(json.loads(text))
    except RecursionError as err:
        msg = "it nests too deeply"
        raise ValueError(msg) from err
