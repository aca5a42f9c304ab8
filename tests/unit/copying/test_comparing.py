"""What a target has to hold beside what is there, compared as a dictionary would."""

import os
import random
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvus_vault import tables
from milvus_vault.copying.comparing import TargetItems
from milvus_vault.copying.records import Records
from milvus_vault.copying.working_files import CopyRecord, copied_name, records_body
from milvus_vault.errors import DiskFullError, WorkingFileError
from milvus_vault.model.objects import CopiedObject, CopyItem, CopyJob, ListedObject
from milvus_vault.ports import ObjectStore
from milvus_vault.workspace import Workspace
from tests.support.faults import cases
from tests.support.memory_store import InMemoryObjectStore

ROUND = "copy/a/r1"
FOLDERS = ("f/", "ü日/")
KEYS = st.sampled_from(FOLDERS).flatmap(lambda folder: st.text('ab"\\\0é', max_size=3).map(folder.__add__))
ETAGS = st.sampled_from(["e1", "e2", "e3", ""])
SIZES = st.sampled_from([0, 1, 2**40])
STATUSES = st.sampled_from(["copied", "missing"])


@dataclass
class Listing:
    """A store of which there is one listing."""

    objects: Sequence[ListedObject]

    def list_objects(self, bucket: str, prefix: str, *, after: str = "") -> Iterator[ListedObject]:
        """Return what is below a prefix, in the order in which it was given."""
        assert (bucket, after) == ("there", "")
        return iter([listed for listed in self.objects if listed.key.startswith(prefix)])


@st.composite
def records(draw: st.DrawFn) -> list[CopyRecord]:
    """Return what batches recorded."""
    return [
        CopyRecord(key, "copied", draw(ETAGS.filter(bool)), draw(st.sampled_from(["", "MD5:x"])), draw(ETAGS))
        if draw(STATUSES) == "copied"
        else CopyRecord(key, "missing", "", "", draw(ETAGS))
        for key in draw(st.lists(KEYS, max_size=8))
    ]


def written(found: Sequence[CopyRecord], store: InMemoryObjectStore | None = None) -> tuple[Workspace, list[str]]:
    """Return a run with the records, in files of two."""
    run = Workspace(store or InMemoryObjectStore("backups"), "backups", "prefix", "run")
    names = []
    for number, start in enumerate(range(0, len(found), 2)):
        names.append(copied_name(ROUND, number, 2, 0, 100))
        run.write_bytes(names[-1], records_body(found[start : start + 2]))
    return run, names


@cases(200)
@given(
    items=st.lists(st.builds(CopyItem, st.just("source"), KEYS, SIZES, ETAGS), unique_by=lambda item: item.key),
    listed=st.lists(st.builds(ListedObject, KEYS, SIZES, ETAGS.filter(bool)), unique_by=lambda found: found.key),
    copied=records(),
    is_shared=st.booleans(),
    lists_objects=st.booleans(),
    in_use=st.sampled_from([(), ("f/a",)]),
    order=st.randoms(use_true_random=False),
)
def test_finds_what_a_dictionary_finds_whatever_the_order(
    items: list[CopyItem],
    listed: list[ListedObject],
    copied: list[CopyRecord],
    is_shared: bool,
    lists_objects: bool,
    in_use: tuple[str, ...],
    order: random.Random,
) -> None:
    run, names = written(copied)
    order.shuffle(listed)
    job = CopyJob(source_bucket="here", destination_bucket="there", lists_objects=lists_objects)
    made = Records(run, names, checksums=lists_objects, lost_in=ROUND)
    found = TargetItems(iter(items), "default.a")

    store = cast("ObjectStore", Listing(listed))
    found.compare(store, job, made, FOLDERS, in_use, is_shared=is_shared)

    known = {(record.key, record.etag): record for record in copied if record.status == "copied"}
    by_key = {item.key: item for item in items}

    def is_copy(there: ListedObject) -> bool:
        item, record = by_key[there.key], known.get((there.key, there.etag))
        is_same = there.etag == item.source_etag or there.key.startswith(in_use)
        is_recorded = record is not None and record.source_etag == item.source_etag
        return there.size_bytes == item.size_bytes and (is_same or is_recorded)

    right = {there.key: there for there in listed if there.key in by_key and is_copy(there)}
    assert list(found.missing()) == [item for item in items if item.key not in right]
    assert [one.key for one in found.there()] == [item.key for item in items if item.key in right]
    for one in found.there():
        record = known.get((one.key, right[one.key].etag))
        checksum = record.checksum if record and lists_objects else ""
        assert one == CopiedObject(one.key, right[one.key].etag, checksum)
    assert found.count() == (len(right), sum(there.size_bytes for there in right.values()))
    surplus = {there.key for there in listed if there.key not in by_key and not there.key.startswith(in_use)}
    told = list(found.surplus(2))
    assert {key for some in told for key in some} == (set() if is_shared else surplus)
    assert all(len(some) <= 2 for some in told)
    assert found.surplus_count == (0 if is_shared else len(surplus))
    assert {item.key for item in items if made.is_lost(item.key)} == by_key.keys() & {
        record.key for record in copied if record.status != "copied"
    }
    if lists_objects:
        assert made.have_any(found.keys()) == bool(by_key.keys() & {key for key, _ in known})


def test_refuses_two_items_of_one_key_by_name() -> None:
    items = [CopyItem(f"source{number}", f"f/{number % 2}", 1, "e") for number in range(3)]

    with pytest.raises(WorkingFileError, match=r"target default\.a has two items of the key f/0"):
        TargetItems(items, "default.a")


def test_a_disk_that_is_full_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    make = tables.open_tables

    def small(schema: str) -> sqlite3.Connection:
        return make(f"PRAGMA max_page_count = 20; {schema}")

    monkeypatch.setattr("milvus_vault.copying.comparing.open_tables", small)

    with pytest.raises(DiskFullError, match="the disk of the function is full") as caught:
        TargetItems((CopyItem("source", f"f/{number}", 1, "e" * 32) for number in range(10_000)), "default.a")
    assert "EphemeralStorage" in caught.value.hint


def test_tables_leave_nothing_behind_on_the_disk_where_small_ones_need_none() -> None:
    def unnamed() -> int:
        """Return how many files this process has open that have no name any more."""
        return sum(os.path.realpath(file).endswith("(deleted)") for file in Path("/proc/self/fd").iterdir())

    before, files = unnamed(), []
    for count in (50, 100_000):
        found = TargetItems((CopyItem("source", f"f/{number}", 1, "e" * 32) for number in range(count)), "default.a")
        assert sum(1 for _ in found.missing()) == count
        files.append(unnamed() - before)
        found.close()
        assert unnamed() == before
    assert files == [0, 1]


class TestRecords:
    """When records are read."""

    def test_none_is_read_where_all_etags_are_those_of_the_sources(self) -> None:
        run, names = written([CopyRecord("f/a", "copied", "e1", "", "e1")], store := InMemoryObjectStore("backups"))
        made = Records(run, names, checksums=False)

        assert made.is_copy(CopyItem("s", "f/a", 1, "e1"), ListedObject("f/a", 1, "e1"))
        assert not made.is_copy(CopyItem("s", "f/a", 2, "e1"), ListedObject("f/a", 1, "e1"))

        assert store.requests["get"] == 0

    def test_each_file_is_read_once(self) -> None:
        store = InMemoryObjectStore("backups")
        run, names = written([CopyRecord(f"f/{number}", "copied", "k", "", "e1") for number in range(6)], store)
        made = Records(run, names, checksums=False)

        for number in range(6):
            assert made.is_copy(CopyItem("s", f"f/{number}", 1, "e1"), ListedObject(f"f/{number}", 1, "k"))

        assert store.requests["get"] == len(names)

    def test_of_a_batch_the_most_complete_file_counts(self) -> None:
        run, _ = written([])
        short, long = (copied_name(ROUND, 0, number, 0, 100) for number in (1, 2))
        run.write_bytes(short, records_body([CopyRecord("f/a", "copied", "k1", "", "e")]))
        run.write_bytes(long, records_body([CopyRecord("f/a", "copied", "k2", "", "e")]))
        made = Records(run, [short, long, "copy/a/job.json"], checksums=False)

        item = CopyItem("s", "f/a", 1, "e")
        assert made.is_copy(item, ListedObject("f/a", 1, "k2"))
        assert not made.is_copy(item, ListedObject("f/a", 1, "k1"))
