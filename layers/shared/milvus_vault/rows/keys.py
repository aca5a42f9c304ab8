"""Which rows are meant, by their primary keys."""

import ast
import re
from dataclasses import dataclass
from typing import Self

from milvus_vault.errors import InvalidRequestError

SUPPORTED = "Expressions are `KEY in [1, 2]` and `KEY == 1`, of the primary key; texts are in quotes: `KEY in ['a']`."

_EXPRESSION = re.compile(r"\s*([A-Za-z_]\w*)\s*(==|in\b)\s*(.+)", re.DOTALL | re.ASCII)


@dataclass(frozen=True, slots=True)
class KeysIn:
    """The rows with these primary keys."""

    field: str
    """Name of the primary key."""
    keys: tuple[int | str, ...]

    @classmethod
    def parse(cls, expression: str) -> Self:
        """Return what an expression of Milvus' language means. Raises `InvalidRequestError` for all but `SUPPORTED`."""
        found = _EXPRESSION.fullmatch(expression)
        try:
            value = ast.literal_eval(found[3].strip()) if found else None
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            value = None
        keys = value if found and found[2] == "in" else [value]
        if not found or not isinstance(keys, list) or not all(type(key) in {int, str} for key in keys):
            msg = f"rows cannot be selected by the expression '{expression}'"
            raise InvalidRequestError(msg, hint=SUPPORTED)
        return cls(found[1], tuple(keys))
