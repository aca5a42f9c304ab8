"""How objects are cut into batches."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from milvus_vault.copying.batches import BatchLimits, PlannedItem, cut_batches
from milvus_vault.model.objects import CopyItem

sizes = st.lists(st.integers(0, 1000), max_size=200)
limits = st.builds(BatchLimits, max_objects=st.integers(1, 20), max_bytes=st.integers(1, 3000))


def planned(sizes: list[int]) -> list[PlannedItem]:
    """Return items of the given sizes, with keys that tell their order."""
    return [PlannedItem(CopyItem(f"s{n}", f"k{n:03}", size, ""), n % 3) for n, size in enumerate(sizes)]


@given(sizes, limits)
def test_puts_each_object_into_one_batch_and_keeps_their_order(sizes: list[int], limits: BatchLimits) -> None:
    items = planned(sizes)

    batches = list(cut_batches(items, limits))

    assert [item for batch in batches for item in sorted(batch, key=lambda p: p.item.key)] == items


@given(sizes, limits)
def test_keeps_to_the_limits_but_for_an_object_that_exceeds_them_alone(sizes: list[int], limits: BatchLimits) -> None:
    for batch in cut_batches(planned(sizes), limits):
        assert 1 <= len(batch) <= limits.max_objects
        assert len(batch) == 1 or sum(item.size_bytes for item in batch) <= limits.max_bytes


@given(sizes, limits)
def test_makes_no_batch_that_would_have_fitted_into_the_one_before(sizes: list[int], limits: BatchLimits) -> None:
    batches = list(cut_batches(planned(sizes), limits))

    for one, two in pairwise(batches):
        first = min(two, key=lambda p: p.item.key)
        full = len(one) == limits.max_objects
        assert full or sum(item.size_bytes for item in one) + first.size_bytes > limits.max_bytes


@given(sizes, limits)
def test_begins_each_batch_with_its_largest_objects(sizes: list[int], limits: BatchLimits) -> None:
    for batch in cut_batches(planned(sizes), limits):
        found = [item.size_bytes for item in batch]
        assert found == sorted(found, reverse=True)
