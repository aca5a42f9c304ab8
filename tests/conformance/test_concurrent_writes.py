"""What a server does while clients write: flushes that cut deletes later than rows, requests on their way, compactions.

Seen on the real 2.3.5 and 2.5.27 under writes, or in the source; nothing of it is in the facts.
"""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from tests.conformance.asking import Milvus, base_fields, numbers, status, vectors
from tests.conformance.conftest import Running, Start
from tests.support.milvus_server.catalog import FLUSHED, L0, Collection
from tests.support.milvus_server.segment_files import by_field, read_deletes, read_rows
from tests.support.milvus_server.values import TIMESTAMP, Columns
from tests.support.milvus_server.versions import NEWER, VERSIONS

pytestmark = pytest.mark.tools("milvus")

NAME = "c"
ROWS = 20
UPSERTED = range(5)
LONG_FLUSH = {"flush": 20.0, "flush_limit": 0.0}
# The draws of seed 0 are 0.64 and 0.27 of it: so long is an insert on its way, and the upsert after it.
IN_FLIGHT_SECONDS = 1.5
STAMPED_EARLY = tuple(number for number, version in VERSIONS.items() if version.stamps_early)
MOMENTS = 4
KEYS = 30

type Row = tuple[int, int]
"""Key and timestamp."""


def _until(is_right: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not is_right():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.01)


def _upsert(milvus: Milvus, keys: range) -> int:
    fields = [numbers("id", keys), vectors("v", len(keys))]
    answer = milvus.must("Upsert", collection_name=NAME, num_rows=len(keys), fields_data=fields)
    return int(answer.timestamp)


def _collection(running: Running) -> Collection:
    return running.server.core.catalog.collection("default", NAME)


def _is_flushed(milvus: Milvus, timestamp: int) -> bool:
    return bool(milvus.must("GetFlushState", collection_name=NAME, flush_ts=timestamp).flushed)


def _live(running: Running) -> list[Row]:
    columns = running.server.live_rows("default", NAME)
    return sorted(zip(_numbers(columns, 100), _numbers(columns, TIMESTAMP), strict=True))


def _numbers(columns: Columns, number: int) -> list[int]:
    return [value for value in columns.get(number, []) if isinstance(value, int)]


@dataclass
class Files:
    """What the files of the segments hold that are listed at one moment."""

    rows: list[tuple[int, str, int, int]] = field(default_factory=list)
    """Segment, channel, key, timestamp."""
    deletes: list[tuple[int, str, int, int]] = field(default_factory=list)
    """Likewise; those at level 0 have no segment."""

    def alive(self, until: int) -> list[Row]:
        """Return the rows that were there at a timestamp, as far as these files know."""
        of_key: dict[int, list[tuple[int, str, int]]] = {}
        for home, channel, key, timestamp in self.deletes:
            if timestamp <= until:
                of_key.setdefault(key, []).append((home, channel, timestamp))
        found = []
        for segment, channel, key, timestamp in self.rows:
            reaching = [time for home, other, time in of_key.get(key, []) if home in {0, segment} and other == channel]
            if max(reaching, default=0) <= timestamp <= until:
                found.append((key, timestamp))
        return sorted(found)


def _files(running: Running) -> Files:
    core, files = running.server.core, Files()
    with core.lock:
        flushed = _collection(running).of_state(FLUSHED)
        listed = [(segment, segment.logs.keys(core.root, segment.place)) for segment in flushed]
    for segment, keys in listed:
        if logs := [key for key in keys if "/insert_log/" in key]:
            columns = read_rows(core.objects, by_field(logs))
            rows = zip(_numbers(columns, 100), _numbers(columns, TIMESTAMP), strict=True)
            files.rows += [(segment.segment_id, segment.channel, key, time) for key, time in rows]
        home = 0 if segment.level == L0 and core.version.has_l0 else segment.segment_id
        deletes = read_deletes(core.objects, [key for key in keys if "/delta_log/" in key])
        files.deletes += [(home, segment.channel, key, time) for key, time in deletes if isinstance(key, int)]
    return files


@contextmanager
def _meanwhile[Result](work: Callable[[], Result]) -> Iterator[Future[Result]]:
    with ThreadPoolExecutor(1) as hand:
        yield hand.submit(work)


@pytest.mark.parametrize("version", list(VERSIONS))
def test_of_an_upsert_after_the_sealing_the_flush_writes_the_deletes_and_not_the_rows(
    start: Start, version: str
) -> None:
    running = start(version, LONG_FLUSH)
    milvus = running.milvus
    milvus.make(NAME, *base_fields())
    milvus.insert(NAME, range(ROWS))
    flushed = milvus.must("Flush", collection_names=[NAME]).coll_flush_ts[NAME]
    upserted = _upsert(milvus, UPSERTED)
    assert not _is_flushed(milvus, flushed)
    _until(lambda: _is_flushed(milvus, flushed))
    files, live = _files(running), _live(running)
    assert flushed < upserted
    assert {(key, time) for _, _, key, time in files.deletes} == {(key, upserted) for key in UPSERTED}
    assert sorted(key for _, _, key, _ in files.rows) == list(range(ROWS))
    assert upserted not in {time for *_, time in files.rows}
    # All would be lost that was upserted; a cut at the flush gives them as they were.
    assert sorted(key for key, _ in files.alive(2**64)) == list(range(len(UPSERTED), ROWS))
    assert sorted(key for key, _ in files.alive(flushed)) == list(range(ROWS))
    assert sorted(key for key, _ in live) == list(range(ROWS))
    milvus.flush(NAME)
    milvus.settle()
    assert _live(running) == live == _files(running).alive(2**64)


@pytest.mark.parametrize("version", [version for version in STAMPED_EARLY if version != "2.2.16"])
def test_an_upsert_stamped_before_a_flush_can_have_its_rows_in_the_segment_after_it(start: Start, version: str) -> None:
    running = start(version, {"flush_limit": 0.0}, in_flight=IN_FLIGHT_SECONDS)
    milvus = running.milvus
    milvus.make(NAME, *base_fields())
    milvus.insert(NAME, range(ROWS))
    with _meanwhile(partial(_upsert, milvus, UPSERTED)) as upsert:
        _until(lambda: _collection(running).in_flight)
        flushed = milvus.must("Flush", collection_names=[NAME]).coll_flush_ts[NAME]
        time.sleep(running.server.seconds(2 * VERSIONS[version].durations.flush))
        assert not upsert.done()
        assert not _is_flushed(milvus, flushed)
        upserted = upsert.result()
    assert upserted < flushed
    _until(lambda: _is_flushed(milvus, flushed))
    files = _files(running)
    assert {(key, time) for _, _, key, time in files.deletes} == {(key, upserted) for key in UPSERTED}
    assert upserted not in {time for *_, time in files.rows}
    # The flush's own timestamp is no cut that keeps what was there.
    assert sorted(key for key, _ in files.alive(flushed)) == list(range(len(UPSERTED), ROWS))
    assert sorted(key for key, _ in files.alive(upserted - 1)) == list(range(ROWS))
    assert sorted(key for key, _ in _live(running)) == list(range(ROWS))


def test_a_flush_of_2_2_does_not_wait_for_requests_on_their_way(start: Start) -> None:
    running = start("2.2.16", in_flight=IN_FLIGHT_SECONDS)
    milvus = running.milvus
    milvus.make(NAME, *base_fields())
    milvus.insert(NAME, range(ROWS))
    with _meanwhile(partial(_upsert, milvus, UPSERTED)) as upsert:
        _until(lambda: _collection(running).in_flight)
        milvus.flush(NAME)
        assert not upsert.done()
    assert sorted(key for key, _ in _live(running)) == list(range(ROWS))


def test_the_log_of_2_6_gives_a_timestamp_to_what_has_arrived(start: Start) -> None:
    running = start("2.6.19", {"flush_limit": 0.0}, in_flight=IN_FLIGHT_SECONDS)
    milvus = running.milvus
    milvus.make(NAME, *base_fields())
    milvus.insert(NAME, range(ROWS))
    with _meanwhile(partial(_upsert, milvus, UPSERTED)) as upsert:
        time.sleep(IN_FLIGHT_SECONDS / 15)
        answer = milvus.flush(NAME)
        assert not upsert.done()
        assert upsert.result() > answer.coll_flush_ts[NAME]


@pytest.mark.parametrize("version", STAMPED_EARLY)
def test_a_query_at_strong_consistency_waits_for_requests_on_their_way(start: Start, version: str) -> None:
    running = start(version, in_flight=IN_FLIGHT_SECONDS)
    milvus = running.milvus
    milvus.make(NAME, *base_fields())
    params = [{"key": "index_type", "value": "FLAT"}, {"key": "metric_type", "value": "L2"}]
    milvus.must("CreateIndex", collection_name=NAME, field_name="v", extra_params=params)
    milvus.must("LoadCollection", collection_name=NAME)
    milvus.settle()

    def count(**options: Any) -> int:
        answer = milvus.must("Query", collection_name=NAME, output_fields=["count(*)"], **options)
        return int(answer.fields_data[0].scalars.long_data.data[0])

    with _meanwhile(partial(milvus.insert, NAME, range(ROWS))):
        _until(lambda: _collection(running).in_flight)
        assert count(guarantee_timestamp=1) == 0
        assert count() == ROWS


@pytest.mark.parametrize("version", NEWER)
def test_checkpoints_of_a_flush_are_those_before_it_on_a_busy_channel_and_move_on_on_an_idle_one(
    start: Start, version: str
) -> None:
    milvus = start(version, {"flush_limit": 0.0}).milvus
    milvus.make(NAME, *base_fields())

    def flush() -> tuple[int, int]:
        answer = milvus.flush(NAME)
        (position,) = answer.channel_cps.values()
        return answer.coll_flush_ts[NAME], position.timestamp

    def write() -> tuple[int, int]:
        first = _upsert(milvus, range(ROWS))
        return first, _upsert(milvus, range(ROWS))

    first_row, _ = write()
    first, before_first = flush()
    assert before_first < first_row < first
    idle, told = flush()
    assert first < told <= idle
    row, last_row = write()
    busy, told = flush()
    assert idle <= told < row < last_row < busy
    milvus.delete(NAME, range(3))
    busy, told = flush()
    assert told < busy
    if version == "2.5.27":
        row, _ = write()
        (result,) = milvus.must("FlushAll").flush_results[0].collection_results
        assert busy <= result.channel_cps[next(iter(result.channel_cps))].timestamp < row < result.flush_ts


@pytest.mark.parametrize("version", list(VERSIONS))
def test_a_server_compacts_by_itself_and_drops_what_was_deleted_for_good(start: Start, version: str) -> None:
    running = start(version, {"flush_limit": 0.0}, compacts_every=10.0)
    milvus = running.milvus
    milvus.make(NAME, *base_fields())
    milvus.insert(NAME, range(ROWS))
    milvus.flush(NAME)
    before = set(milvus.keys(f"{milvus.root}/insert_log/"))
    _upsert(milvus, UPSERTED)
    milvus.delete(NAME, range(10, ROWS))
    milvus.flush(NAME)
    _until(lambda: [info.num_rows for info in milvus.infos(NAME)] == [10])
    (info,) = milvus.infos(NAME)
    files = _files(running)
    assert files.deletes == []
    assert sorted(key for _, _, key, _ in files.rows) == list(range(10))
    assert _live(running) == files.alive(2**64)
    assert before < set(milvus.keys(f"{milvus.root}/insert_log/"))
    time.sleep(running.server.seconds(30))
    assert milvus.infos(NAME) == [info], "what is clean is left alone"


@pytest.mark.parametrize("version", NEWER)
def test_deletes_of_level_zero_stay_while_rows_that_they_concern_have_no_file(start: Start, version: str) -> None:
    running = start(version, LONG_FLUSH | {"l0_compaction": 4.0})
    milvus = running.milvus
    milvus.make(NAME, *base_fields())
    flushed = milvus.must("Flush", collection_names=[NAME]).coll_flush_ts[NAME]
    milvus.insert(NAME, range(ROWS))
    milvus.delete(NAME, UPSERTED)
    _until(lambda: _is_flushed(milvus, flushed))
    time.sleep(running.server.seconds(12))
    assert [level for level, *_ in milvus.segments(NAME)] == ["L0"]
    milvus.flush(NAME)
    _until(lambda: [level for level, *_ in milvus.segments(NAME)] == ["L1"])
    assert sorted(key for key, _ in _live(running)) == list(range(len(UPSERTED), ROWS))


@dataclass
class _Writer:
    """A client that upserts and deletes one after the other, with a log of what was acknowledged."""

    milvus: Milvus
    log: list[tuple[int, range, bool]] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        for number in itertools.count():
            if self.stop.is_set():
                return
            first = number * 7 % KEYS
            keys = range(KEYS) if number % 5 == 0 else range(first, min(first + 9, KEYS))
            if number % 4 == 3:
                answer = self.milvus.delete(NAME, keys)
                assert status(answer) == "OK"
                self.log.append((answer.timestamp, keys, False))
            else:
                self.log.append((_upsert(self.milvus, keys), keys, True))

    def state(self, until: int) -> list[Row]:
        """Return what is there after all that has a timestamp up to this one."""
        found: dict[int, int] = {}
        for timestamp, keys, is_upsert in self.log:
            if timestamp <= until:
                for key in keys:
                    found.pop(key, None)
                    if is_upsert:
                        found[key] = timestamp
        return sorted(found.items())


@pytest.mark.parametrize("compacts", [False, True])
@pytest.mark.parametrize("version", list(VERSIONS))
def test_files_cut_at_a_moment_before_their_flush_hold_what_was_there(
    start: Start, version: str, compacts: bool
) -> None:
    longest = 0.02
    durations = {"flush": 1.0, "flush_limit": 0.0, "l0_compaction": 8.0}
    running = start(version, durations, in_flight=longest, compacts_every=3.0 if compacts else 0.0)
    milvus, writer = running.milvus, _Writer(running.milvus)
    milvus.make(NAME, *base_fields(), shards=2)
    taken: list[tuple[int, Files]] = []
    with _meanwhile(writer.run) as writing:
        for _ in range(MOMENTS):
            moment = time.time_ns() // 10**6 << 18
            time.sleep(3 * longest)
            milvus.flush(NAME)
            taken.append((moment, _files(running)))
        writer.stop.set()
        writing.result()
    for moment, files in taken:
        # What a compaction dropped, since later deletes reached it, is not there any more; but nothing else is.
        lacking = set(writer.state(moment)) - set(files.alive(moment))
        assert set(files.alive(moment)) <= set(writer.state(moment))
        assert compacts or not lacking, moment
        assert {key for key, time in lacking} <= {
            key for stamp, keys, _ in writer.log if stamp > moment for key in keys
        }
    milvus.flush(NAME)
    milvus.settle()
    assert _files(running).alive(2**64) == _live(running) == writer.state(2**64)


def test_the_time_is_told_from_2_3_on(start: Start) -> None:
    assert status(start("2.2.16").milvus.call("AllocTimestamp")) == "UNIMPLEMENTED"


@pytest.mark.parametrize("version", [version for version in VERSIONS if version != "2.2.16"])
def test_the_time_that_is_told_can_run_back(start: Start, version: str) -> None:
    running = start(version)
    before = running.milvus.must("AllocTimestamp").timestamp
    running.server.faults.time_runs_back = 5_000
    assert before - running.milvus.must("AllocTimestamp").timestamp > 4_000 << 18
    running.server.faults.time_runs_back = 0
    assert running.milvus.must("AllocTimestamp").timestamp > before
