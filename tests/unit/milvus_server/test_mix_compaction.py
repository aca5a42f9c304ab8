"""What a server merges by itself: the rules of Milvus' policy, one by one. A segment is full with 100 rows."""

import pytest

from tests.support.milvus_server.catalog import L1, Segment
from tests.support.milvus_server.mix_compaction import plans
from tests.support.milvus_server.values import TIMESTAMP

FULL = 100

both_ways = pytest.mark.parametrize("packs", [False, True])


def _segments(rows: list[int], deleted: dict[int, int] | None = None) -> list[Segment]:
    found = [
        Segment(number, 1, 2, "channel", L1, columns={TIMESTAMP: [5] * count}) for number, count in enumerate(rows)
    ]
    for number, count in (deleted or {}).items():
        found[number].add_deletes([(key, 7) for key in range(count)])
    return found


def _planned(
    rows: list[int], deleted: dict[int, int] | None = None, *, packs: bool, is_asked: bool = False
) -> list[list[int]]:
    found = plans(_segments(rows, deleted), FULL, is_asked=is_asked, packs=packs)
    return [sorted(segment.rows for segment in plan) for plan in found]


@both_ways
@pytest.mark.parametrize("rows", [[], [10], [10, 20], [49, 36], [60, 70], [50, 50, 50], [100, 100], [110, 30]])
def test_what_is_not_worth_it_is_left_alone(rows: list[int], packs: bool) -> None:
    assert _planned(rows, packs=packs) == []


@both_ways
def test_three_small_segments_become_one(packs: bool) -> None:
    assert _planned([10, 20, 30], packs=packs) == [[10, 20, 30]]


def test_up_to_2_4_two_small_segments_become_one_that_is_nearly_full() -> None:
    assert _planned([49, 37], packs=False) == [[37, 49]]
    assert _planned([49, 37], packs=True) == []


@pytest.mark.parametrize(("packs", "planned"), [(False, [[10, 10, 40]]), (True, [[10, 10, 40, 40]])])
def test_no_more_is_merged_than_fits_into_a_segment(packs: bool, planned: list[list[int]]) -> None:
    assert _planned([40, 40, 40, 10, 10], packs=packs) == planned


@pytest.mark.parametrize(("packs", "counts"), [(False, [30, 3]), (True, [33])])
def test_up_to_2_4_no_more_than_thirty_are_merged_into_one(packs: bool, counts: list[int]) -> None:
    assert [len(plan) for plan in _planned([1] * 33, packs=packs)] == counts


def test_small_segments_that_fill_one_are_merged_before_the_others_since_2_5() -> None:
    rows = [45, 44, 10, 9, 8, 7]
    assert _planned(rows, packs=True) == [[10, 44, 45], [7, 8, 9]]
    assert _planned(rows, packs=False) == [[7, 8, 9, 10, 45]]


def test_up_to_2_4_a_small_segment_that_is_left_over_goes_to_the_smallest_that_has_room() -> None:
    assert _planned([100, 80, 90, 20], packs=False) == [[20, 80]]
    assert _planned([105, 20], packs=False) == [[20, 105]]
    assert _planned([106, 110, 20], packs=False) == []


def test_since_2_5_small_segments_that_are_left_over_go_to_larger_ones_three_at_a_time() -> None:
    assert _planned([100, 80, 90, 20], packs=True) == []
    assert _planned([100, 80, 90, 10, 10], packs=True) == [[10, 10, 100]]
    assert _planned([106, 110, 10, 10], packs=True) == []
    assert _planned([60, 55, 10], packs=True) == [[10, 55, 60]]
    assert _planned([64, 10, 10], packs=True) == [], "85 of 125 are to be there"
    assert _planned([65, 10, 10], packs=True) == [[10, 10, 65]]
    assert _planned([50, 10, 10], packs=True) == [], "with half of its rows a segment is not small"
    assert _planned([45, 40, 35], packs=True) == [[35, 40, 45]], "they need no larger one"


@both_ways
def test_a_small_segment_that_is_left_over_goes_to_a_plan_that_it_makes_a_little_too_large(packs: bool) -> None:
    assert _planned([49, 24, 24, 24], packs=packs) == [[24, 24, 24, 49]]
    assert _planned([45, 25, 25, 25], packs=packs) == [[25, 25, 45]]


@both_ways
def test_a_segment_with_a_fifth_of_its_rows_deleted_is_written_anew(packs: bool) -> None:
    assert _planned([100, 100], {1: 19}, packs=packs) == []
    assert _planned([100, 100], {1: 20}, packs=packs) == [[100]]
    assert _planned([120, 100], {0: 24}, packs=packs) == [[120]]


@both_ways
def test_a_segment_with_many_deletes_takes_small_ones_along(packs: bool) -> None:
    assert _planned([80, 10, 100], {0: 40}, packs=packs) == [[10, 80]]


@both_ways
def test_a_segment_with_more_than_two_hundred_delta_logs_is_written_anew(packs: bool) -> None:
    (segment,) = _segments([100])
    segment.logs.delta = [*range(200)]
    assert plans([segment], FULL, is_asked=False, packs=packs) == []
    segment.logs.delta.append(200)
    assert plans([segment], FULL, is_asked=False, packs=packs) == [[segment]]


@both_ways
def test_who_asks_gets_every_segment_written_anew(packs: bool) -> None:
    assert _planned([120, 60, 30, 20], is_asked=True, packs=packs) in ([[120], [30, 60], [20]], [[30, 60], [20], [120]])
