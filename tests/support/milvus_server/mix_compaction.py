"""What a server merges by itself, as `generatePlans` of Milvus' internal/datacoord/compaction_trigger.go says it.

In 2.3 and 2.4 small segments go one by one to whatever has room. Since 2.5 they are packed (milvus#37709,
internal/datacoord/knapsack.go), so that a segment which is nearly full is not written anew for each small one. Milvus
measures segments in bytes from 2.4 on; here it is rows, as in 2.3. Not here: rows that expire, delta logs by their
size, indexes of an older version, and that 2.6 prefers segments with deletes among those of about the same size.
"""

from collections.abc import Sequence

from tests.support.milvus_server.catalog import Segment

SMALL_SHARE = 0.5  # dataCoord.segment.smallProportion
NEARLY_FULL_SHARE = 0.85  # dataCoord.segment.compactableProportion
LARGEST_SHARE = 1.25  # dataCoord.segment.expansionRate
FEWEST = 3  # dataCoord.compaction.min.segment
MOST = 30  # dataCoord.compaction.max.segment, up to 2.4
DELETED_SHARE = 0.2  # dataCoord.compaction.single.ratio.threshold
MOST_DELTA_LOGS = 200  # dataCoord.compaction.single.deltalog.maxnum

type Plan = list[Segment]
"""What becomes one segment."""


def plans(segments: Sequence[Segment], full: int, *, is_asked: bool, packs: bool) -> list[Plan]:
    """Return what is merged of the segments of a partition and a channel.

    `full` is how many rows fill a segment (dataCoord.segment.maxSize). Where somebody asked for a compaction every
    segment is in a plan. Otherwise these are: segments with many deletes, alone or with others; three small segments;
    and small ones that are left over with larger ones that have room for them. `packs` is the way since 2.5.
    """
    largest_first = sorted(segments, key=lambda segment: (-segment.rows, segment.segment_id))
    urgent = [segment for segment in largest_first if is_asked or _has_many_deletes(segment)]
    rest = [segment for segment in largest_first if segment not in urgent]
    small = [segment for segment in rest if segment.rows < SMALL_SHARE * full]
    large = [segment for segment in rest if segment.rows >= SMALL_SHARE * full]
    return (_packed if packs else _filled)(urgent, small, large, full)


def _has_many_deletes(segment: Segment) -> bool:
    return len(segment.every_delete) >= DELETED_SHARE * segment.rows or len(segment.logs.delta) > MOST_DELTA_LOGS


def _filled(urgent: Plan, small: Plan, large: Plan, full: int) -> list[Plan]:
    found: list[Plan] = []
    while urgent:
        plan = [urgent.pop(0)]
        _fill(plan, urgent, full)
        _fill(plan, small, full)
        found.append(plan)
    left: Plan = []
    small.reverse()
    while small:
        plan = [small.pop()]
        _fill(plan, small, full)
        is_worth_it = len(plan) >= FEWEST or (len(plan) > 1 and _rows(plan) > NEARLY_FULL_SHARE * full)
        (found.append if is_worth_it else left.extend)(plan)
    _squeeze(left, found, full)
    for segment in reversed(large):
        plan = [segment]
        for other in reversed(left):
            if _rows(plan) + other.rows <= LARGEST_SHARE * full:
                plan.append(other)
                left.remove(other)
        if len(plan) > 1:
            found.append(plan)
    return found


def _fill(plan: Plan, candidates: Plan, full: int) -> None:
    """Move candidates to a plan, in their order, as long as they do not fill the segment that comes of it."""
    for candidate in list(candidates):
        if len(plan) < MOST and _rows(plan) + candidate.rows < full:
            plan.append(candidate)
            candidates.remove(candidate)


def _packed(urgent: Plan, small: Plan, large: Plan, full: int) -> list[Plan]:
    found: list[Plan] = []
    while plan := _pack(small, full, spare=(1 - NEARLY_FULL_SHARE) * full, fewest=FEWEST):
        found.append(_taken(plan, small))
    while plan := _pack(urgent, full):
        found.append(_taken(plan, urgent) + _taken(_pack(small, full - _rows(plan)), small))
    found += [[segment] for segment in urgent]
    while plan := _pack(small, full, fewest=FEWEST):
        found.append(_taken(plan, small))
    _squeeze(small, found, full)
    spare = (LARGEST_SHARE - NEARLY_FULL_SHARE) * full
    while plan := _pack(small, LARGEST_SHARE * full):
        room = LARGEST_SHARE * full - _rows(plan)
        others = _pack(large, room, spare=spare, fewest=FEWEST - len(plan))
        if not others and (len(plan) < FEWEST or room >= spare):
            break
        found.append(_taken(plan, small) + _taken(others, large))
    return found


def _pack(candidates: Plan, room: float, *, spare: float | None = None, fewest: int = 0) -> Plan:
    """Return candidates that fit, in their order; none where they are too few, or leave more room than is to spare."""
    found: Plan = []
    for candidate in candidates:
        if candidate.rows <= room:
            found.append(candidate)
            room -= candidate.rows
    return found if len(found) >= fewest and (spare is None or room <= spare) else []


def _taken(plan: Plan, candidates: Plan) -> Plan:
    for segment in plan:
        candidates.remove(segment)
    return plan


def _squeeze(small: Plan, found: list[Plan], full: int) -> None:
    """Move the smallest ones to plans that become no larger than a segment may be."""
    for segment in reversed(list(small)):
        plan = next((plan for plan in found if _rows(plan) + segment.rows <= LARGEST_SHARE * full), None)
        if plan is not None and segment.rows < (LARGEST_SHARE - 1) * full:
            plan.append(segment)
            small.remove(segment)


def _rows(plan: Plan) -> int:
    return sum(segment.rows for segment in plan)
