"""Lines of contents in pieces."""

from hypothesis import given
from hypothesis import strategies as st

from milvus_vault.lines import split_lines


@given(st.lists(st.binary(max_size=4).map(lambda some: some.replace(b"\1", b"\n"))))
def test_lines_are_those_of_the_whole(pieces: list[bytes]) -> None:
    lines = b"".join(pieces).split(b"\n")
    assert list(split_lines(pieces)) == (lines if lines[-1] else lines[:-1])
