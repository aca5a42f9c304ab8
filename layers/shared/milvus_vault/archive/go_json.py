"""JSON as Go's encoder writes it over structs.

Compact, members in the order of the struct, `<`, `>`, `&` and two line separators escaped, and members of no
value (0, false, empty) left out, except a few that milvus-backup always writes.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from json.encoder import encode_basestring

# Written even where they are zero or false.
_ALWAYS_PRESENT = frozenset({"has_index", "log_size", "size", "state_code"})

_SPECIAL = re.compile("[<>&\u2028\u2029]")


class Encoded(str):
    """A text that is JSON already; empty where the value is to be left out."""

    __slots__ = ()


type Value = Encoded | str | int | Sequence[str] | Sequence[int] | Mapping[str, str]


def message(members: Mapping[str, Value]) -> Encoded:
    """Return a struct, without its members of no value."""
    present = (f'"{key}":{_encode(value)}' for key, value in members.items() if value or key in _ALWAYS_PRESENT)
    return Encoded(f"{{{','.join(present)}}}")


def array(items: Iterable[Encoded]) -> Encoded:
    """Return an array of structs, or no value where there is none."""
    joined = ",".join(items)
    return Encoded(f"[{joined}]" if joined else "")


def _encode(value: Value) -> str:
    # Texts and numbers by themselves: a million objects have three each.
    if isinstance(value, Encoded):
        return value
    if isinstance(value, str):
        return _encode_text(value)
    if isinstance(value, int):
        return str(value).lower() if isinstance(value, bool) else str(value)
    if isinstance(value, Mapping):
        # Go writes the keys of a map in order.
        return f"{{{','.join(f'{_encode_text(key)}:{_encode_text(value[key])}' for key in sorted(value))}}}"
    return f"[{','.join(_encode(item) for item in value)}]"


def _encode_text(text: str) -> str:
    return _SPECIAL.sub(lambda found: f"\\u{ord(found[0]):04x}", encode_basestring(text))
