"""Whatever the bytes are, there is a result or the one error, and no memory is taken on the word of a header."""

import tracemalloc
from collections.abc import Callable

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from milvus_vault.binlogs import compose_deletes, cut_deletes, open_deletes, read_deletes, read_timestamps
from milvus_vault.errors import BinlogUnreadableError
from tests.support.golden_rows import objects_of
from tests.support.milvus_server import binlog
from tests.unit.binlogs.logs import NOW, Written, logs, parquet, write_old_objects, write_two_events

_WORKS: tuple[Callable[[bytes], object], ...] = (
    read_deletes,
    read_timestamps,
    lambda body: cut_deletes(body, NOW + 1),
    lambda body: cut_deletes(body, -1),
)
_MIB = 1024**2


def survives(body: bytes) -> None:
    """See that the one error is raised, if any. What is composed is no damage: what cannot be read stays as it is."""
    composed = dict(compose_deletes([open_deletes(body), open_deletes(body)]))
    assert body in composed.values() or [*composed] == [0]
    for work in _WORKS:
        try:
            work(body)
        except BinlogUnreadableError:
            continue


def _real_logs() -> list[bytes]:
    found = []
    for archive in ("golden_0516", "golden_2_4", "golden_2_5", "golden_2_6"):
        objects = objects_of(archive)
        found += [objects.get(key) for key in objects.keys("delta_log/")[:3]]
        found += [objects.get(key) for key in objects.keys("insert_log/") if key.split("/")[-2] in {"0", "1"}][:8]
    return found


real_logs = st.sampled_from(_real_logs())


@given(st.one_of(st.binary(), st.binary().map(lambda body: binlog._MAGIC.pack(binlog._MAGIC_NUMBER) + body)))
@example(b"")
@example(b"PAR1")
@example(b"PAR1" + b"\xff" * 8 + b"PAR1")
def test_any_bytes(body: bytes) -> None:
    survives(body)


@given(real_logs, st.data())
def test_real_logs_with_wrong_bytes(body: bytes, data: st.DataObject) -> None:
    damaged = bytearray(body)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    survives(bytes(damaged))


@given(logs, st.data())
def test_logs_of_every_form_with_wrong_bytes(log: Written, data: st.DataObject) -> None:
    damaged = bytearray(log.body)
    damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    survives(bytes(damaged))


@given(real_logs, st.data())
def test_real_logs_that_are_cut_off_are_not_read_as_whole(body: bytes, data: st.DataObject) -> None:
    shorter = body[: data.draw(st.integers(0, len(body) - 1))]
    for work in _WORKS:
        with pytest.raises(BinlogUnreadableError):
            work(shorter)


@given(st.binary(max_size=3000))
def test_an_envelope_around_anything(payload: bytes) -> None:
    whole = write_old_objects([(1, NOW)])
    survives(whole[: whole.index(b"PAR1")] + payload)
    survives(binlog._write(binlog.Place(1, 2, 3), 1, 5, {}, 1, payload, [NOW], names_fields=True))


def test_lengths_that_no_log_has_take_no_memory() -> None:
    whole = write_old_objects([(1, NOW), (2, NOW + 1)])
    (_, _, length, _) = binlog._HEADER.unpack_from(whole, 4)
    tracemalloc.start()
    for position in (4 + 9, 4 + length + 9, 4 + 17 + 52 + 8):
        for claimed in (0, 1, 0x7FFFFFFF, 0xFFFFFFFF):
            damaged = bytearray(whole)
            damaged[position : position + 4] = claimed.to_bytes(4, "little")
            with pytest.raises(BinlogUnreadableError):
                read_deletes(bytes(damaged))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < _MIB


def test_a_log_that_unpacks_to_more_than_any_log_has_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("milvus_vault.binlogs.parquet._MOST_BYTES", 10 * _MIB)
    body = parquet({"val": pa.array(["x" * 60_000] * 1_000)})
    assert len(body) < _MIB
    with pytest.raises(BinlogUnreadableError, match="more than 10,485,760 bytes of values are in one log"):
        read_deletes(body)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "it does not begin as a log of Milvus does"),
        (write_old_objects([(1, NOW)])[:20], "it ends within the event at byte 4"),
        (write_old_objects([(1, NOW)])[:108], "it ends after its descriptor"),
        (write_old_objects([(1, NOW)])[:-1], r"the event at byte 108 has \d+ bytes, and the log ends after"),
        (write_two_events([(1, NOW), (2, NOW)])[:-30], r"the event at byte \d+ has \d+ bytes, and the log ends after"),
        (b"PAR1", "not a whole Parquet file: "),
    ],
)
def test_what_is_wrong_is_named(body: bytes, said: str) -> None:
    with pytest.raises(BinlogUnreadableError, match=said):
        read_deletes(body)
