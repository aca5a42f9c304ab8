"""`diff` says what has changed, in lines that a small terminal has room for, and what nobody knows."""

import json
from typing import Any

import pytest

from milvus_vault.cli import details
from milvus_vault.model.resources import BackupDiff, ComparedCollection, ObjectDiff
from tests.support.fake_api import BEGAN, Answer, FakeApi, problem
from tests.unit.cli.conftest import Cli
from tests.unit.cli.test_narrow import NAME, screen


def side(name: str) -> dict[str, Any]:
    """Return one of the backups."""
    return {
        "name": name, "created_at": BEGAN, "origin": "milvus-vault", "milvus_version": "2.5.27", "meta_only": False,
        "collection_count": 3, "row_count": 50_000, "object_count": 612, "size_bytes": 42_000_000,
    }  # fmt: skip


def collection(name: str, number: int, **fields: int) -> ComparedCollection:
    """Return a collection in one of the backups."""
    given = {"row_count": 100, "segment_count": 2, "object_count": 12, "size_bytes": 4096} | fields
    return ComparedCollection.model_validate(
        {"database": "shop", "name": name, "collection_id": number, **given}, strict=False
    )


def counts(**fields: int) -> ObjectDiff:
    """Return a comparison of objects, each of 1 KiB."""
    return ObjectDiff.model_validate(
        {name: {"object_count": number, "size_bytes": number * 1024} for name, number in fields.items()}
    )


def found(**fields: Any) -> BackupDiff:
    """Return a comparison with all that there can be in one."""
    settings = [
        {"kind": "field", "name": "price", "change": "added", "b": {"data_type": "5", "nullable": "true"}},
        {"kind": "index", "name": "by_title", "change": "changed", "a": {"params": "M=8"}, "b": {"params": "M=16"}},
        {"kind": "collection", "change": "changed", "a": {"description": "old"}, "b": {}},
        {"kind": "alias", "name": "current", "change": "removed"},
    ]
    given: dict[str, Any] = {
        "a": side("before"), "b": side("after"), "same_source": False, "unchanged_count": 1, "differing_count": 6,
        "databases_added": ("new",), "databases_removed": ("old",), "notes": ("Nobody knows the bucket.",),
        "objects": counts(only_in_a=1, only_in_b=3, shared=600, unknown=8),
        "collections": (
            {
                "change": "changed", "a": collection("orders", 1, live_row_count=90),
                "b": collection("orders", 1, row_count=120, live_row_count=115), "settings": settings,
                "objects": counts(only_in_a=1, only_in_b=3, shared=11), "partitions_added": ("y2026",),
                "partitions_removed": ("y2024",), "partitions_replaced": ("y2025",), "unknown": ("functions",),
            },
            {"change": "renamed", "a": collection("pens", 2), "b": collection("pencils", 2)},
            {"change": "replaced", "a": collection("tags", 3), "b": collection("tags", 4)},
            {"change": "removed", "a": collection("lost", 5), "failure": "SegmentTornError"},
            {"change": "added", "b": collection("fresh", 6), "objects": counts(only_in_b=12)},
            {"change": "unknown", "a": collection("x", 7), "b": collection("x", 7), "objects": counts(unknown=12)},
        ),
    }  # fmt: skip
    return BackupDiff.model_validate(given | fields)


def answer(diff: BackupDiff) -> Answer:
    """Return what the API answers."""
    return Answer(200, diff.model_dump_json().encode())


LINES = """\
- database old
+ database new

~ shop.orders
    rows 100 → 120
    live rows 90 → 115
    only in A: 1 object, 1.0 KiB
    only in B: 3 objects, 3.0 KiB
    shared: 11 objects, 11.0 KiB
    - partition y2024
    + partition y2026
    ~ partition y2025: made anew
    + field price: data_type 5, nullable true
    ~ index by_title: params M=8 → M=16
    ~ description old → none
    - alias current
    ? not known: functions

~ shop.pens → shop.pencils  renamed

~ shop.tags  another collection of this name

- shop.lost  only in A
    100 rows
    not in B, since its backup failed there: SegmentTornError

+ shop.fresh  only in B
    100 rows
    12 objects, 12.0 KiB

? shop.x  nothing is known to differ
    shared or not: 12 objects, 12.0 KiB

1 collection in both without a difference.
! The two are not of one bucket and root path of Milvus.
! Nobody knows the bucket.
"""


def test_a_comparison_in_parts_is_told_as_one(api: FakeApi, cli: Cli) -> None:
    whole = found()
    first = whole.model_copy(update={"collections": whole.collections[:2], "unchanged_count": 0, "next_token": "t"})
    api.answers = [answer(first), answer(whole.model_copy(update={"collections": whole.collections[2:]}))]
    done = cli("diff", "before", "after", "--no-objects")
    assert [asked.query for asked in api.asked] == [{"objects": "false"}, {"objects": "false", "token": "t"}]
    assert done.out.endswith(LINES)


def test_each_difference_is_a_line(api: FakeApi, cli: Cli) -> None:
    api.answers = [answer(found())]
    done = cli("diff", "before", "after")
    asked = api.asked[0]
    assert (done.code, asked.path.endswith("/backups/before/diff/after"), asked.query) == (0, True, {})
    head, _, rest = done.out.partition("- database old")
    assert f"- database old{rest}" == LINES
    for part in ("A  before", "B  after", "612", "40.1 MiB", "only in A", "shared or not  8 objects, 8.0 KiB"):
        assert part in head


def test_as_json_it_is_what_the_api_answers(api: FakeApi, cli: Cli) -> None:
    api.answers = [answer(found())]
    done = cli("diff", "before", "after", "--output", "json")
    assert done.document == json.loads(found().model_dump_json())


def test_without_objects_that_is_said(api: FakeApi, cli: Cli) -> None:
    api.answers = [answer(found(objects=None, collections=(), differing_count=0, same_source=True, notes=()))]
    done = cli("diff", "before", "after", "--no-objects")
    assert api.asked[0].query == {"objects": "false"}
    assert "objects  not compared" in done.out
    told = "1 collection in both without a difference, as far as the documents tell: objects were not compared.\n"
    assert done.out.endswith(told)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_it_has_room_at_any_width(width: int) -> None:
    diff = found(a=side(NAME), b=side(NAME.replace("1a2b", "3c4d")))
    text = screen(width, lambda output: details.diff(output, diff))
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    assert "…" not in text
    for part in (NAME, "40.1 MiB", "shop.pens", "M=16", "SegmentTornError"):
        assert part in " ".join(text.split())


def test_what_cannot_be_compared_has_its_exit_code_and_a_hint_in_options(api: FakeApi, cli: Cli) -> None:
    api.answers = [problem("BackupNotFoundError", "there is no backup nope", 404)]
    assert cli("diff", "a", "nope").code == 4
    api.answers = [problem("BackupDamagedError", "no", 409, "With `objects: false` only their documents are compared.")]
    done = cli("diff", "a", "b")
    assert (done.code, done.out) == (1, "")
    assert "hint: With --no-objects only their documents are compared." in done.err
    assert cli("diff", "a").code == 2
    assert cli("diff", "a", "true").code == 2
