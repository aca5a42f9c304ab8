"""Random samples of values of which nobody knows how many there are."""

from collections import Counter
from random import Random

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvus_vault.drills.sampling import Reservoir, spread


def sampled(batches: list[int], size: int, seed: int = 1) -> tuple[int | str, ...]:
    """Return a sample of numbers from 0 on, which come in batches of so many."""
    sample, first = Reservoir(size, Random(seed)), 0  # noqa: S311 - a sample, and no secret
    for length in batches:
        sample.add(pa.array(range(first, first + length), pa.int64()))
        first += length
    assert sample.count == first
    return sample.chosen()


@given(batches=st.lists(st.integers(0, 50), max_size=20), size=st.integers(1, 30), seed=st.integers(0, 1000))
def test_a_sample_has_different_values_as_many_as_asked_for_or_all(batches: list[int], size: int, seed: int) -> None:
    found = sampled(batches, size, seed)
    assert len(found) == len(set(found)) == min(size, sum(batches))
    assert set(found) <= set(range(sum(batches)))
    assert found == sampled([1] * sum(batches), size, seed)


@pytest.mark.parametrize("size", [1, 3, 7])
def test_each_value_is_as_likely_to_be_chosen(size: int) -> None:
    rounds, values = 6000, 12
    chosen = Counter(value for seed in range(rounds) for value in sampled([5, 7], size, seed))
    expected = rounds * size / values
    # Five standard deviations of a binomial distribution.
    assert all(abs(chosen[value] - expected) < 5 * expected**0.5 for value in range(values))


@given(counts=st.lists(st.integers(0, 40), min_size=1, max_size=10), size=st.integers(1, 100), seed=st.integers(0, 99))
def test_the_rows_of_a_sample_are_spread_over_all_parts(counts: list[int], size: int, seed: int) -> None:
    shares = spread(counts, size, Random(seed))  # noqa: S311 - as above
    assert sum(shares) == min(size, sum(counts))
    assert all(0 <= share <= count for share, count in zip(shares, counts, strict=True))
