"""The little of Milvus' filter language that backups, restores and their tests use.

Comparisons of fields with constants, `in`, `not in`, `and`, `or`, `not`, and keys of JSON values: all of it is read
as Python is.
"""

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

from tests.support.milvus_server.refusals import INVALID, Refusal

type Row = Mapping[str, Any]
type Filter = Callable[[Row], Any]

_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda value, values: value in values,
    ast.NotIn: lambda value, values: value not in values,
}
_CONSTANTS = {"true": True, "false": False}


def compile_filter(text: str) -> Filter:
    """Return what tells whether a row fits; everything does where there is no text."""
    if not text.strip():
        return lambda _: True
    try:
        return _compile(ast.parse(text.replace("&&", " and ").replace("||", " or ").strip(), mode="eval").body)
    except SyntaxError as err:
        raise _refusal(text) from err


def keys_in(text: str, key: str) -> list[Any] | None:
    """Return the keys that a filter names, where it does no more than that."""
    try:
        node = ast.parse(text.strip(), mode="eval").body
        if not (isinstance(node, ast.Compare) and isinstance(node.left, ast.Name) and node.left.id == key):
            return None
        values = ast.literal_eval(node.comparators[0])
    except (SyntaxError, ValueError):
        return None
    if isinstance(node.ops[0], ast.In):
        return list(values)
    return [values] if isinstance(node.ops[0], ast.Eq) else None


def _compile(node: ast.expr) -> Filter:
    match node:
        case ast.BoolOp():
            parts = [_compile(value) for value in node.values]
            every = all if isinstance(node.op, ast.And) else any
            return lambda row: every(part(row) for part in parts)
        case ast.UnaryOp(op=ast.Not()):
            inner = _compile(node.operand)
            return lambda row: not inner(row)
        case ast.Compare():
            return _comparison(node)
        case ast.Name():
            return lambda row: _CONSTANTS.get(node.id, row.get(node.id))
        case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=key)):
            return lambda row: (row.get(name) or {}).get(key)
    try:
        constant = ast.literal_eval(node)
    except ValueError as err:
        raise _refusal(ast.unparse(node)) from err
    return lambda _: constant


def _comparison(node: ast.Compare) -> Filter:
    operands = [_compile(operand) for operand in (node.left, *node.comparators)]
    compares = [_COMPARISONS[type(op)] for op in node.ops]

    def fits(row: Row) -> bool:
        values = [operand(row) for operand in operands]
        return None not in values and all(compare(values[at], values[at + 1]) for at, compare in enumerate(compares))

    return fits


def _refusal(text: str) -> Refusal:
    return Refusal(INVALID, f"failed to create query plan: cannot parse expression: {text}: invalid parameter")
