"""Lines of contents in pieces."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvus_vault.lines import parse_row, row_line, split_lines


@given(st.lists(st.binary(max_size=4).map(lambda some: some.replace(b"\1", b"\n"))))
def test_lines_are_those_of_the_whole(pieces: list[bytes]) -> None:
    lines = b"".join(pieces).split(b"\n")
    assert list(split_lines(pieces)) == (lines if lines[-1] else lines[:-1])


@given(st.tuples(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x7f")), st.integers()))
def test_a_row_is_the_line_that_json_makes_of_it(row: tuple[str, int]) -> None:
    """As lists were written before, which have digests."""
    line = row_line(row)
    assert line == json.dumps(row, separators=(",", ":")).encode() + b"\n"
    assert parse_row(line, (str, int)) == [*row]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[",
        b'["a"]',
        b'["a",1,2]',
        b'["a","1"]',
        b'["a",1.0]',
        b'["a",true]',
        b'["a",1] x',
        b'{"a":1}',
        b'["\xff",1]',
        b"[" * 100000,
        b'["\\ud800",1]',
        b'["a",1],["a",1]',
    ],
)
def test_a_line_of_something_else_is_no_row(line: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of JSON, or ours
        parse_row(line, (str, int))
