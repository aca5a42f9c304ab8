"""Delta logs of every form, made without the product, and what hypothesis draws for them."""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from tests.support.milvus_server import binlog
from tests.support.milvus_server.binlog import Delete, Place
from tests.support.milvus_server.values import Value

PLACE = Place(11, 12, 13)
NOW = 470_643_278_680_162_305
_FIELD_ID = b"PARQUET:field_id"

type Write = Callable[[Sequence[Delete]], bytes]


def parquet(columns: dict[str, pa.Array], *, may_be_null: bool = False, field_ids: bool = False) -> bytes:
    """Return a bare Parquet file."""
    fields = [
        pa.field(name, values.type, may_be_null, {_FIELD_ID: str(number)} if field_ids else None)
        for number, (name, values) in enumerate(columns.items())
    ]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields)), sink, store_schema=field_ids)
    return sink.getvalue()


def _enveloped(payload: bytes, deletes: Sequence[Delete], *, names_fields: bool) -> bytes:
    timestamps = [timestamp for _, timestamp in deletes]
    return binlog._write(PLACE, -1, 20, {}, 2, payload, timestamps, names_fields)


def _go_json(key: Value) -> str:
    """Return a key as Go's encoder writes it."""
    text = json.dumps(key, ensure_ascii=False)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def write_old_objects(deletes: Sequence[Delete]) -> bytes:
    """Return the log that 2.2 to 2.4 write."""
    return binlog.write_delta_log(PLACE, deletes, names_fields=False)


def write_objects(deletes: Sequence[Delete]) -> bytes:
    """Return the log that 2.5 and 2.6 write."""
    return binlog.write_delta_log(PLACE, deletes, names_fields=True)


def write_go_objects(deletes: Sequence[Delete]) -> bytes:
    """Return that log with the escapes of Go's encoder."""
    lines = [
        f'{{"pk":{_go_json(key)},"ts":{timestamp},"pkType":{21 if isinstance(key, str) else 5}}}'
        for key, timestamp in deletes
    ]
    return _enveloped(parquet({"0": pa.array(lines, pa.string())}, may_be_null=True), deletes, names_fields=True)


def write_spaced_objects(deletes: Sequence[Delete]) -> bytes:
    """Return a log of JSON that no Milvus writes: spaces, another order, everything escaped."""
    lines = [
        json.dumps({"pkType": 21 if isinstance(key, str) else 5, "ts": timestamp, "pk": key})
        for key, timestamp in deletes
    ]
    return _enveloped(parquet({"val": pa.array(lines, pa.string())}), deletes, names_fields=False)


def write_pairs(deletes: Sequence[Delete]) -> bytes:
    """Return the log that the first releases of 2.2 read, if not write: keys are numbers."""
    lines = [f"{key!r},{timestamp}" for key, timestamp in deletes]
    return _enveloped(parquet({"val": pa.array(lines, pa.string())}), deletes, names_fields=False)


def _columns(deletes: Sequence[Delete]) -> dict[str, pa.Array]:
    keys = [key for key, _ in deletes]
    kind = pa.string() if keys and isinstance(keys[0], str) else pa.int64()
    return {"pk": pa.array(keys, kind), "ts": pa.array([timestamp for _, timestamp in deletes], pa.int64())}


def write_columns(deletes: Sequence[Delete]) -> bytes:
    """Return a log of two columns in its envelope."""
    return _enveloped(parquet(_columns(deletes)), deletes, names_fields=True)


def write_bare_columns(deletes: Sequence[Delete]) -> bytes:
    """Return a log of two columns of storage version 2."""
    return parquet(_columns(deletes), field_ids=True)


def write_two_events(deletes: Sequence[Delete]) -> bytes:
    """Return a log of two events."""
    half = (len(deletes) + 1) // 2
    first, second = write_old_objects(deletes[:half]), write_old_objects(deletes[half:])
    return first + second[second.index(b"PAR1") - binlog._HEADER.size - binlog._SPAN.size :]


FORMS: tuple[Write, ...] = (
    write_old_objects,
    write_objects,
    write_go_objects,
    write_spaced_objects,
    write_columns,
    write_bare_columns,
    write_two_events,
    write_pairs,
)
FORMS_OF_TEXT = FORMS[:-1]

_awkward = st.sampled_from(
    [
        '"',
        "\\",
        "\n",
        ",",
        '"ts":1',
        '","ts":1,"pkType":21}',
        "<&>",
        "\u2028",
        "\\u003c",
        "é",
        "日本",
        "\0",
        "{",
        "}",
        "😀",
    ]
)
texts = st.lists(st.one_of(_awkward, st.text(max_size=4)), max_size=5).map("".join)
numbers = st.integers(-(2**63), 2**63 - 1)
timestamps = st.one_of(st.integers(NOW, NOW + 9), st.integers(NOW, NOW + 2**40), st.integers(0, 2**63 - 1))
deletes_of_numbers = st.lists(st.tuples(numbers, timestamps), min_size=1, max_size=12)
deletes_of_texts = st.lists(st.tuples(texts, timestamps), min_size=1, max_size=12)


@dataclass(frozen=True)
class Written:
    """A log, and what is in it."""

    body: bytes
    deletes: list[Delete]


logs = st.one_of(
    st.builds(lambda write, deletes: Written(write(deletes), deletes), st.sampled_from(FORMS), deletes_of_numbers),
    st.builds(
        lambda write, deletes: Written(write(deletes), deletes), st.sampled_from(FORMS_OF_TEXT), deletes_of_texts
    ),
)
