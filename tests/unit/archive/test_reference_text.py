"""Metadata of milvus-backup is read while it comes, wherever the pieces end."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvus_vault.archive import json_reader
from milvus_vault.archive.reference_messages import BackupMessage, parse_message
from milvus_vault.archive.reference_text import Shape, read_outline

SHAPE: Shape = {"collections": {"partitions": {"segments": None}, "level_zero": None}}

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
_SEGMENTS = st.none() | st.lists(_JSON, max_size=4)
_PARTITIONS = st.lists(st.fixed_dictionaries({"segments": _SEGMENTS}, optional={"segment": _JSON}), max_size=3)
_COLLECTIONS = st.lists(
    st.fixed_dictionaries({"name": st.text()}, optional={"partitions": _PARTITIONS, "level_zero": _SEGMENTS}),
    max_size=3,
)
_FILES = st.fixed_dictionaries({"version": _JSON}, optional={"collections": _COLLECTIONS, "more": _JSON})


def pieces(text: str, size: int) -> Iterator[bytes]:
    """Yield a text in pieces of so many bytes."""
    body = text.encode()
    return (body[start : start + size] for start in range(0, len(body), size))


def put_back(value: Any, arrays: list[list[Any]]) -> Any:
    """Return a collection, or all, with its segments."""
    for member in ("segments", "level_zero"):
        if isinstance(value.get(member), int):
            value[member] = arrays[value[member]]
    for member in ("collections", "partitions"):
        for item in value.get(member, ()):
            put_back(item, arrays)
    return value


@given(file=_FILES, size=st.integers(1, 40), indent=st.none() | st.integers(0, 3), ascii_only=st.booleans())
def test_a_file_is_its_outline_and_its_segments_whatever_its_pieces(
    file: dict[str, Any], size: int, indent: int | None, ascii_only: bool
) -> None:
    text = json.dumps(file, indent=indent, ensure_ascii=ascii_only)
    outline, arrays = read_outline(pieces(text, size), SHAPE, lambda _, segment: json.loads(segment))
    assert put_back(outline, arrays) == file


def test_each_segment_is_told_with_its_place() -> None:
    text = '{"collections": [{}, {"partitions": [{"segments": [1, {"a": [2]}]}], "level_zero": ["x"]}]}'
    told: list[tuple[str, str]] = []
    read_outline(pieces(text, 7), SHAPE, lambda where, segment: told.append((where, segment)))
    assert told == [
        ("collections.1.partitions.0.segments.0", "1"),
        ("collections.1.partitions.0.segments.1", '{"a": [2]}'),
        ("collections.1.level_zero.0", '"x"'),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "7",
        "{",
        '{"a": 1',
        '{"a" 1}',
        '{"a": 1,}',
        "{,}",
        '{7: "a"}',
        '{"a": 1} {}',
        '{"a": nul}',
        '{"a": "x',
        '{"collections": [{"level_zero": [1, 2}]}',
        '{"collections": [{"level_zero": [1,]}]}',
        '{"collections": [{"level_zero": 0}]}',
        '{"collections": [{"level_zero": {}}]}',
        '{"collections": [' + '{"partitions": [' * 2,
        '{"a": ' + "[" * 100_000,
    ],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_what_is_no_such_text_is_refused(text: str, size: int) -> None:
    with pytest.raises(ValueError, match=r"file|nests|array|end"):
        read_outline(pieces(text, size), SHAPE, lambda _, segment: segment)


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(ValueError, match="utf-8"):
        read_outline([b'{"a": "', b"\xc3"], SHAPE, lambda _, segment: segment)


def test_a_value_without_an_end_is_not_read_to_the_end_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_reader, "MOST_CHARACTERS", 1000)
    asked = 0

    def endless() -> Iterator[bytes]:
        nonlocal asked
        yield b'{"collections": [{"level_zero": [{"a": "'
        while True:
            asked += 100
            yield b"a" * 100

    with pytest.raises(ValueError, match="no end within 1000 characters"):
        read_outline(endless(), SHAPE, lambda _, segment: segment)
    assert asked < 4000


def test_what_nests_too_deeply_as_a_whole_alone_is_refused_as_well() -> None:
    # The deepest that is read as a value by itself lies in an object more.
    for depth in range(9_900, 10_000):
        with pytest.raises(ValueError, match=r"nests too deeply|recursion limit"):
            parse_message(BackupMessage, b'{"a":' + b"[" * depth + b"]" * depth + b"}")
