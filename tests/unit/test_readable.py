"""Numbers, sizes, lengths of time and lists, as people read them everywhere."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvus_vault.model.readable import count, duration, first_of, number_of, rate, share, shortened, size

PACKAGE = Path(__file__).parents[2] / "layers" / "shared" / "milvus_vault"


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"), (1000, "1,000 B"), (1023, "1,023 B"), (1023.7, "1.0 KiB"), (1024, "1.0 KiB"),
        (1024**2 - 1, "1.0 MiB"), (1024**2 - 52_000, "973.2 KiB"), (42_000_000, "40.1 MiB"), (5 * 1024**3, "5.0 GiB"),
        (1024**6, "1,024.0 PiB"), (None, "-"),
    ],
)  # fmt: skip
def test_sizes_are_in_binary_units(size_bytes: float | None, text: str) -> None:
    assert size(size_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"), (59.4, "59 s"), (59.7, "1 min 0 s"), (185, "3 min 5 s"), (3599.6, "1 h 0 min"),
        (7500, "2 h 5 min"), (90_000, "1 d 1 h"), (-1, "0 s"), (None, "-"),
    ],
)  # fmt: skip
def test_a_length_of_time_is_in_its_two_largest_units(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_nothing_is_a_dash() -> None:
    assert count(None) == share(0, 0) == rate(None) == "-"


def test_numbers_have_commas_nouns_and_shares() -> None:
    assert (count(50_000), number_of(1, "row"), number_of(2000, "row")) == ("50,000", "1 row", "2,000 rows")
    assert (share(1, 8), rate(1.5 * 1024**2)) == ("12.5 %", "1.5 MiB/s")


@pytest.mark.parametrize(
    ("number", "commas", "semicolons"),
    [
        (0, "", ""),
        (1, "0", "0"),
        (3, "0, 1, 2", "0; 1; 2"),
        (4, "0, 1, 2 and 1 more", "0; 1; 2; and 1 more"),
        (2003, "0, 1, 2 and 2,000 more", "0; 1; 2; and 2,000 more"),
    ],
)
def test_the_first_of_many_are_named_and_the_others_counted(number: int, commas: str, semicolons: str) -> None:
    assert first_of(range(number), 3) == commas
    assert first_of(range(number), 3, separator="; ") == semicolons


@given(st.text(st.characters(exclude_characters="…")), st.integers(min_value=2, max_value=40))
def test_a_name_is_cut_to_its_length_and_keeps_both_ends(text: str, length: int) -> None:
    short = shortened(text, length)

    assert len(short) == min(len(text), length)
    head, ellipsis, tail = short.partition("…")
    assert bool(ellipsis) == (len(text) > length)
    assert text.startswith(head)
    assert text.endswith(tail)
    assert abs(len(head) - len(tail)) <= 1 or not ellipsis


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nobody_else_writes_sizes(path: Path) -> None:
    if path.name != "readable.py":
        assert not re.search(r"\"[KMGT]iB\"", path.read_text())


@pytest.mark.parametrize("template", sorted(PACKAGE.rglob("*.j2")), ids=lambda path: path.name)
def test_no_page_has_a_noun_in_the_plural_behind_a_count(template: Path) -> None:
    counts = re.findall(r"\|\s*(?:count|length)\s*\}\}\s+[a-z]+s\b.*", template.read_text())
    assert counts == []
