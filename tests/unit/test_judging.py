"""The judge of restored collections finds each way in which one can be wrong, and nothing in one that is right."""

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.support.judging import Restored, Violation, judge, state_at
from tests.support.writing import Kind, Operation

STARTED, ENDED = 3.5, 9.5


def at(second: float) -> int:
    """Return the server's timestamp of a second of the log's clock."""
    return 1_000_000 + int(second * 1000) << 18


def operation(number: int, kind: Kind, keys: Sequence[int], collection: str = "c") -> Operation:
    """Return an operation that is sent in the second of its number, and gets its timestamp 0.1 s later."""
    return Operation(number, collection, kind, tuple(keys), number, number + 0.2, at(number + 0.1))


# The backup begins between 3 and 4, and its moment is between 5 and 6.
LOG = [
    operation(1, "insert", range(6)),
    operation(2, "upsert", [0, 1]),
    operation(3, "delete", [2]),
    operation(4, "upsert", [1, 3]),
    operation(5, "insert", [10, 11]),
    operation(6, "upsert", [3, 4]),
    operation(7, "delete", [5]),
    operation(8, "insert", [20, 21]),
    operation(10, "upsert", [0, 1]),
]
MOMENT = at(5.5)
RIGHT = {0: 2, 1: 4, 3: 4, 4: 1, 5: 1, 10: 5, 11: 5}


def judged(rows: dict[int, int], moment: int | None = MOMENT, *, more: Sequence[tuple[int, int]] = ()) -> list[str]:
    """Return what is wrong with a restored collection."""
    pairs = (*rows.items(), *more)
    moments = {} if moment is None else {"c": moment}
    return [
        str(found) for found in judge(LOG, {"c": Restored(pairs, len(pairs))}, moments, started=STARTED, ended=ENDED)
    ]


def test_the_state_at_the_moment_is_right() -> None:
    assert state_at(LOG, MOMENT) == RIGHT
    assert judged(RIGHT) == []


def test_an_operation_of_just_the_moment_belongs_to_it() -> None:
    assert judged(RIGHT, at(5.1)) == []
    assert judged(RIGHT, at(5.1) - 1) != []


def test_a_lost_insert_is_missing() -> None:
    found = judged({key: number for key, number in RIGHT.items() if number != 5})
    assert found == ["missing: c: of insert 5 to c, 0.400 s before the moment, 2 of 2 keys should show and do not"]


def test_a_lost_upsert_whose_old_rows_are_there_is_missing() -> None:
    (found,) = judged(RIGHT | {1: 2, 3: 1})
    assert found.startswith("missing: c: of upsert 4")


def test_a_lost_delete_is_missing() -> None:
    (found,) = judged(RIGHT | {2: 1})
    assert found.startswith("missing: c: of delete 3")


def test_half_of_an_insert_is_torn() -> None:
    (found,) = judged({key: number for key, number in RIGHT.items() if key != 11})
    assert found.startswith("torn: c: of insert 5 to c, 0.400 s before the moment, 1 of 2 keys")


def test_keys_that_only_the_delete_half_of_an_upsert_has_reached_are_torn() -> None:
    (found,) = judged({key: number for key, number in RIGHT.items() if key not in {3, 4}})
    assert found.startswith("torn: c: of upsert 6 to c, 0.600 s after the moment, 2 of 2 keys have lost their rows to ")


def test_the_insert_half_of_an_upsert_beside_the_old_row_is_doubled() -> None:
    (found,) = judged(RIGHT, more=[(4, 6)])
    assert found.startswith("doubled: c: of upsert 6")


def test_rows_that_were_imported_twice_are_doubled() -> None:
    (found,) = judged(RIGHT, more=[(10, 5), (11, 5)])
    assert found.startswith("doubled: c: of insert 5 to c, 0.400 s before the moment, 2 of 2 keys")


def test_more_rows_than_are_shown_are_doubled() -> None:
    rows = Restored(tuple(RIGHT.items()), len(RIGHT) + 1)
    (found,) = judge(LOG, {"c": rows}, {"c": MOMENT}, started=STARTED, ended=ENDED)
    assert found.fault == "doubled"


@pytest.mark.parametrize(
    ("rows", "named"),
    [(RIGHT | {3: 6, 4: 6}, "upsert 6"), (RIGHT | {20: 8, 21: 8}, "insert 8")],
)
def test_what_came_after_the_moment_is_too_new(rows: dict[int, int], named: str) -> None:
    (found,) = judged(rows)
    assert found.startswith(f"too new: c: of {named}")


def test_a_delete_that_came_after_the_moment_is_too_new() -> None:
    (found,) = judged({key: number for key, number in RIGHT.items() if key != 5})
    assert found.startswith("too new: c: of delete 7")


def test_half_of_what_came_after_the_moment_is_torn() -> None:
    (found,) = judged(RIGHT | {3: 6})
    assert found.startswith("torn: c: of upsert 6")


@pytest.mark.parametrize("row", [(30, 5), (0, 99)])
def test_a_row_of_no_operation_is_foreign(row: tuple[int, int]) -> None:
    (found,) = judged(RIGHT | dict([row]))
    assert found.startswith("foreign: ")


def test_a_moment_before_the_start_lacks_what_was_acknowledged() -> None:
    (found,) = judged(state_at(LOG, at(2.5)), at(2.5))
    assert found.startswith("missing: c: 1 operations were acknowledged before the backup began")


def test_a_moment_after_the_end_has_what_was_sent_later() -> None:
    (found,) = judged(state_at(LOG, at(11)), at(11))
    assert found.startswith("too new: c: 1 operations were sent after the backup had ended")


def test_without_a_moment_the_nearest_prefix_is_compared() -> None:
    said = "no moment: c: the backup does not tell its moment"
    assert judged(state_at(LOG, at(7.5)), None) == [said]
    without = {key: number for key, number in state_at(LOG, at(7.5)).items() if key != 4}
    assert [text.partition(":")[0] for text in judged(without, None)] == ["no moment", "torn"]


def test_a_collection_that_shares_the_moment_and_is_elsewhere_is_wrong() -> None:
    log = [*LOG, operation(9, "insert", [1], "d")]
    rows = {"c": Restored(tuple(RIGHT.items()), len(RIGHT)), "d": Restored(((1, 9),), 1)}
    (found,) = judge(log, rows, dict.fromkeys(rows, MOMENT), started=STARTED, ended=ENDED)
    assert (found.fault, found.text[:2]) == ("too new", "d:")
    assert judge(log, rows, {"c": MOMENT, "d": at(9.5)}, started=STARTED, ended=ENDED) == []


def test_timestamps_that_are_no_order_of_the_operations_are_told() -> None:
    late = Operation(11, "d", "insert", (1,), 11, 11.2, at(4))
    (found,) = judge([*LOG, late], {}, {}, started=STARTED, ended=ENDED)
    assert (found.fault, found.text.partition(",")[0]) == (
        "clock",
        "insert 11 to d was sent after upsert 10 to c was acknowledged",
    )


def undated(log: Sequence[Operation]) -> list[Operation]:
    """Return a log of a server that does not tell when it deleted."""
    return [replace(done, timestamp=0) if done.kind == "delete" else done for done in log]


def test_a_delete_without_a_timestamp_has_its_place_among_the_others() -> None:
    log = [*undated(LOG), operation(9, "insert", [40])]
    for moment, right in ((at(5.5), True), (at(2.5), False)):
        rows = Restored(tuple(RIGHT.items()), len(RIGHT))
        assert (judge(log, {"c": rows}, {"c": moment}, started=STARTED, ended=ENDED) == []) == right
    doubtful = {key: number for key, number in RIGHT.items() if key != 5}
    (found,) = judge(log, {"c": Restored(tuple(doubtful.items()), 6)}, {"c": MOMENT}, started=STARTED, ended=ENDED)
    assert found.fault == "too new"


def test_one_that_may_be_on_either_side_of_the_moment_is_there_as_a_whole_or_not_at_all() -> None:
    log = undated([operation(1, "insert", range(6)), operation(2, "delete", [1, 2]), operation(3, "insert", [9])])
    before, after = dict.fromkeys(range(6), 1), dict.fromkeys((0, 3, 4, 5), 1)
    for rows, faults in ((before, []), (after, []), (after | {1: 1}, ["torn"])):
        restored = {"c": Restored(tuple(rows.items()), len(rows))}
        found = judge(log, restored, {"c": at(2.5)}, started=1.5, ended=ENDED)
        assert [violation.fault for violation in found] == faults


@pytest.mark.parametrize("seed", range(20))
def test_any_state_but_that_of_the_moment_is_wrong(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - the same each time
    kinds: list[Kind] = ["insert", "upsert", "upsert", "delete"]
    log, unused = [operation(1, "insert", range(20))], 20
    for number in range(2, 30):
        kind = chance.choice(kinds)
        keys = range(unused, unused + 3) if kind == "insert" else chance.sample(range(unused), 4)
        unused += 3 if kind == "insert" else 0
        log.append(operation(number, kind, keys))
    moment = at(15.5)
    right = state_at(log, moment)

    def wrong(rows: dict[int, int]) -> list[Violation]:
        restored = {"c": Restored(tuple(rows.items()), len(rows))}
        return judge(log, restored, {"c": moment}, started=STARTED, ended=40)

    assert wrong(right) == []
    for other in (state_at(log, at(14.5)), state_at(log, at(16.5))):
        assert bool(wrong(other)) == (other != right)
    assert (
        judge(undated(log), {"c": Restored(tuple(right.items()), len(right))}, {"c": moment}, started=0, ended=40) == []
    )
    for key in right:
        assert wrong({other: number for other, number in right.items() if other != key})
