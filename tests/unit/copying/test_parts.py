"""The arithmetic of copies in parts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvus_vault.copying.parts import (
    MAX_OBJECT_BYTES,
    MAX_PART_BYTES,
    MAX_PARTS,
    MIB,
    PART_BYTES,
    part_ranges,
    part_size_for,
)

MIN_PART_BYTES = 5 * MIB  # of all but the last: multipart upload limits, S3 user guide


@given(st.integers(1, MAX_OBJECT_BYTES))
def test_fits_every_object_into_the_limits(object_bytes: int) -> None:
    size = part_size_for(object_bytes)

    assert MIN_PART_BYTES <= size <= MAX_PART_BYTES
    assert -(-object_bytes // size) <= MAX_PARTS
    assert size % MIB == 0


@given(st.integers(1, 300 * 1024 * MIB))
def test_covers_every_byte_once(object_bytes: int) -> None:
    next_byte = 0
    for first, last in part_ranges(object_bytes):
        assert first == next_byte
        assert last >= first
        next_byte = last + 1
    assert next_byte == object_bytes


def test_keeps_the_usual_size_up_to_625_gib() -> None:
    assert part_size_for(MAX_PARTS * PART_BYTES) == PART_BYTES
    assert part_size_for(MAX_PARTS * PART_BYTES + 1) == PART_BYTES + MIB


def test_copies_the_largest_object_in_the_largest_parts() -> None:
    assert part_size_for(MAX_OBJECT_BYTES) == MAX_PART_BYTES


def test_refuses_an_object_that_s3_cannot_store() -> None:
    with pytest.raises(ValueError, match="no object in S3"):
        part_size_for(MAX_OBJECT_BYTES + 1)
