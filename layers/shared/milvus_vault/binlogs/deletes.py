"""Which keys were deleted when, logs of that without what is too new, and many logs as one.

A delta log has one line for each delete, `key,timestamp` in the oldest ones and a JSON object since, or two columns.
The objects come from Go's encoder: always the same names in the same order, without spaces. All lines at once are taken
apart at fixed places; a log with a line of another form is parsed as any JSON.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from milvus_vault.binlogs import events
from milvus_vault.binlogs.events import Content
from milvus_vault.binlogs.parquet import LONGEST, ParquetFile, is_bare, unreadable, whole
from milvus_vault.binlogs.values import bytes_of
from milvus_vault.errors import BinlogUnreadableError

_TYPES = {5: pa.int64(), 21: pa.string()}
"""By the number that Milvus has for the type of a key."""

_BEFORE_KEY = b'{"pk":'
_BEFORE_TIMESTAMP = b',"ts":'
_END_OF_LINE = re.compile(rb',"ts":([0-9]{1,19})(,"pkType":(5|21)\})\Z')
_PAIR = r"^(?P<key>-?[0-9]{1,19}),(?P<timestamp>[0-9]{1,19})$"
_LONGEST_QUOTE = 80
_NEWEST = (1 << 63) - 1
_SAFE_DIGITS = len(str(_NEWEST)) - 1
_NO_DELETES = "its deletes cannot be read"
_NONE = pa.nulls(0, pa.int64())


@dataclass(frozen=True)
class Deletes:
    """What a delta log says, in its order."""

    keys: pa.Array
    """int64 or string."""
    timestamps: pa.Array
    """int64. A delete removes the rows of its key that are older."""


@dataclass(frozen=True)
class DeltaLog:
    """A delta log, to be put together with others."""

    body: bytes
    files: Sequence[ParquetFile]
    """Of the same columns; none where it cannot be read."""
    rows: Sequence[pa.RecordBatch] = ()
    """As they are written: nothing is taken apart."""
    around: events.Log | None = None
    """The envelope, if it has one."""

    @property
    def size_bytes(self) -> int:
        """Return how much memory it takes."""
        return len(self.body) + sum(int(batch.nbytes) for batch in self.rows)

    def is_like(self, other: "DeltaLog") -> bool:
        """Return whether the deletes of both may stand in one log."""
        if not (self.files and other.files) or (self.around is None) != (other.around is None):
            return False
        return bool(self.files[0].schema.equals(other.files[0].schema))


@dataclass(frozen=True)
class Part:
    """Some rows of a delta log, and what they say. Only what is asked for is taken out of them."""

    rows: pa.RecordBatch
    said: "_Arrays | _UsualLines"

    def __len__(self) -> int:
        """Return how many deletes they are."""
        return int(self.rows.num_rows)

    @property
    def key_type(self) -> pa.DataType:
        """Return of which type the keys are: int64 or string."""
        return self.said.key_type

    def timestamps(self) -> pa.Array:
        """Return hybrid timestamps, int64. Raises `BinlogUnreadableError`."""
        with unreadable(_NO_DELETES):
            return self.said.timestamps()

    def keys(self) -> pa.Array:
        """Return keys, of `key_type`. Raises `BinlogUnreadableError`."""
        with unreadable(_NO_DELETES):
            return self.said.keys()

    def check_keys(self) -> pa.Array | None:
        """Return the keys, or None where they are numbers that were not made of their digits, since all can be.

        Raises `BinlogUnreadableError` as `keys`, in less time.
        """
        with unreadable(_NO_DELETES):
            return self.said.check_keys()

    def count_beyond(self, newest: int) -> int:
        """Return how many deletes have a hybrid timestamp that is newer, or below zero."""
        with unreadable(_NO_DELETES):
            return self.said.count_beyond(newest)


def read_deletes(body: bytes) -> Deletes:
    """Return the deletes of a delta log in any of its forms. Raises `BinlogUnreadableError`."""
    parts = [part for part in each_part(body) if len(part)]
    if len({part.key_type for part in parts}) > 1:
        msg = "its keys are of two types"
        raise BinlogUnreadableError(msg)
    return Deletes(_joined_up(part.keys() for part in parts), _joined_up(part.timestamps() for part in parts))


def _joined_up(arrays: Iterable[pa.Array]) -> pa.Array:
    return pa.concat_arrays(list(arrays) or [_NONE])


def each_part(body: Content, longest: int = LONGEST) -> Iterator[Part]:
    """Yield the deletes of a delta log in parts, of a size that does not matter to memory.

    `longest` is as of `ParquetFile.batches`. Raises `BinlogUnreadableError`.
    """
    payloads = [body] if is_bare(body) else [event.payload for event in delta_log(body).events]
    return chain.from_iterable(_parts(ParquetFile(payload), longest) for payload in payloads)


def cut_deletes(body: bytes, end: int) -> bytes | None:
    """Return a delta log without the deletes whose timestamp is newer than `end`.

    These are the same bytes where none is newer, None where all are, and else another log in the form of this one.
    Keys are not looked at. Raises `BinlogUnreadableError`.
    """
    log = None if is_bare(body) else delta_log(body)
    files = [ParquetFile(event.payload) for event in log.events] if log else [ParquetFile(body)]
    parts = [[(part, part.timestamps()) for part in _parts(file)] for file in files]
    timestamps = _joined_up(of_part for of_file in parts for _, of_part in of_file)
    latest = pa.scalar(min(end, _NEWEST), pa.int64())
    kept = pc.sum(pc.less_equal(timestamps, latest), min_count=0).as_py()
    if kept == len(timestamps):
        return body
    if not kept:
        return None
    cuts = [_cut(file, of_file, latest) for file, of_file in zip(files, parts, strict=True)]
    if not log:
        return cuts[0][0]
    left = [
        event.with_payload(payload, last) for event, (payload, last) in zip(log.events, cuts, strict=True) if payload
    ]
    return events.cut(log, left, (kept, len(timestamps)))


def open_deletes(body: bytes) -> DeltaLog:
    """Return a delta log with its rows, or without where it cannot be read, as one that is encrypted."""
    try:
        around = None if is_bare(body) else delta_log(body)
        files = [ParquetFile(event.payload) for event in around.events] if around else [ParquetFile(body)]
        rows = [batch for file in files for batch in file.batches()]
    except BinlogUnreadableError:
        return DeltaLog(body, ())
    is_alike = all(file.schema.equals(files[0].schema) for file in files)
    return DeltaLog(body, files, rows, around) if is_alike else DeltaLog(body, ())


def compose_deletes(logs: Sequence[DeltaLog]) -> Iterator[tuple[int, bytes]]:
    """Yield logs that together hold the deletes of some: one for each form that these have.

    Each with the position of the first log of its form. Keys and timestamps stay as they are written. So does a log
    that no other is like, and one that cannot be read, which only Milvus can judge.
    """
    left = list(enumerate(logs))
    while left:
        (first, log), *others = left
        alike = [log, *(other for _, other in others if log.is_like(other))]
        left = [(position, other) for position, other in others if not log.is_like(other)]
        yield first, _composed(alike) if len(alike) > 1 else log.body


def _composed(logs: Sequence[DeltaLog]) -> bytes:
    """Return a log with the deletes of some that are like each other."""
    payload = logs[0].files[0].write(rows for log in logs for rows in log.rows)
    around = [log.around for log in logs if log.around]
    return events.join(around, payload) if around else payload


def _cut(file: ParquetFile, parts: Sequence[tuple[Part, pa.Array]], latest: pa.Scalar) -> tuple[bytes, int]:
    """Return a file of what is no newer, empty where all is, and the last timestamp in it."""
    last, left = 0, []
    for part, timestamps in parts:
        stays = pc.less_equal(timestamps, latest)
        left.append(part.rows.filter(stays))
        last = max(last, pc.max(timestamps.filter(stays)).as_py() or 0)
    return (file.write(left) if any(len(rows) for rows in left) else b""), last


def delta_log(body: Content) -> events.Log:
    """Return the events of a delta log, which are of deletes only. Raises `BinlogUnreadableError`."""
    log = events.read(body)
    for event in log.events:
        if event.kind != events.Kind.DELETES:
            msg = f"it has an event of kind {event.kind} among its deletes"
            raise BinlogUnreadableError(msg)
    return log


def _parts(file: ParquetFile, longest: int = LONGEST) -> Iterator[Part]:
    # Lines are looked at here: most of them are ASCII as a matter of their form.
    for rows in file.batches(longest=longest, full=len(file.names) > 1):
        with unreadable(_NO_DELETES):
            part = Part(rows, _of_lines(rows.column(0)) if rows.num_columns == 1 else _of_columns(rows))
        yield part


@dataclass(frozen=True)
class _Arrays:
    """Deletes of which everything was read already."""

    all_timestamps: pa.Array
    all_keys: pa.Array

    @property
    def key_type(self) -> pa.DataType:
        return self.all_keys.type

    def timestamps(self) -> pa.Array:
        return self.all_timestamps

    def keys(self) -> pa.Array:
        return self.all_keys

    check_keys = keys

    def count_beyond(self, newest: int) -> int:
        return count_beyond(self.all_timestamps, newest)


def count_beyond(timestamps: pa.Array, newest: int) -> int:
    """Return how many hybrid timestamps are newer, or below zero."""
    beyond = pc.or_(pc.greater(timestamps, min(newest, _NEWEST)), pc.less(timestamps, 0))
    return int(pc.sum(beyond, min_count=0).as_py())


def _of_columns(rows: pa.RecordBatch) -> _Arrays:
    kinds = [field.type for field in rows.schema]
    if len(kinds) != 2 or kinds[0] not in _TYPES.values() or kinds[1] != pa.int64():  # noqa: PLR2004 - key and time
        msg = f"its columns are of the types {', '.join(map(str, kinds))}"
        raise BinlogUnreadableError(msg)
    return _Arrays(all_timestamps=whole(rows.column(1), "timestamps"), all_keys=whole(rows.column(0), "keys"))


def _of_lines(lines: pa.Array) -> "_Arrays | _UsualLines":
    if lines.type != pa.string():
        msg = f"its only column is of type {lines.type}"
        raise BinlogUnreadableError(msg)
    whole(lines, "deletes")
    if (found := _of_usual_objects(lines)) is not None:
        return found
    lines.validate(full=True)
    if pc.any(pc.starts_with(lines, "{")).as_py():
        return _of_any_objects(lines)
    pairs = pc.extract_regex(lines, _PAIR)
    if pairs.null_count:
        raise BinlogUnreadableError(_no_delete(lines, pc.is_null(pairs)))
    return _Arrays(pairs.field("timestamp").cast(pa.int64()), pairs.field("key").cast(pa.int64()))


@dataclass(frozen=True)
class _UsualLines:
    """Lines that are all as Go's encoder writes them, with timestamps of one length."""

    text: pa.Array
    """Of bytes."""
    digits: pa.Array
    """Of the timestamps, and digits alone."""
    digit_count: int
    key_type: pa.DataType
    before: int
    """Bytes before the key, and after it: of quotes, too."""
    after: int

    def timestamps(self) -> pa.Array:
        return self.digits.cast(pa.int64())

    def count_beyond(self, newest: int) -> int:
        latest = str(newest)
        if len(latest) > self.digit_count:
            return 0
        if len(latest) < self.digit_count:
            return count_beyond(self.timestamps(), newest)
        # Numbers of as many digits are in the order of their texts, which takes a quarter of making them numbers.
        return int(pc.sum(pc.greater(self.digits, latest), min_count=0).as_py())

    def keys(self) -> pa.Array:
        if self.key_type == pa.string():
            return _texts(self.text, self.before, self.after)
        return self._numbers().cast(pa.int64())

    def check_keys(self) -> pa.Array | None:
        if self.key_type == pa.string():
            return self.keys()
        numbers = self._numbers()
        lengths = pc.min_max(pc.binary_length(numbers)).as_py()
        # Digits alone, of which there is one at least and no more than any number of eight bytes may have.
        is_any_number = lengths["min"] > 0 and lengths["max"] <= _SAFE_DIGITS and _are_digits(numbers)
        return None if is_any_number else numbers.cast(pa.int64())

    def _numbers(self) -> pa.Array:
        """Return the digits of keys, of which some may have a sign before them, or be none at all."""
        literals = _slice(self.text, self.before, -self.after)
        # pyarrow takes hexadecimal numbers, too. It refuses a text without any digit.
        if not _are_digits(literals):
            is_number = pc.ascii_is_decimal(pc.ascii_ltrim(literals, "-"))
            if not pc.all(is_number).as_py():
                raise BinlogUnreadableError(_no_delete(literals, pc.invert(is_number)))
        return literals


def _of_usual_objects(lines: pa.Array) -> _UsualLines | None:
    """Take lines apart that are all as Go's encoder writes them, with timestamps of one length; None for others."""
    text = lines.cast(pa.binary())
    end = _END_OF_LINE.search(text[0].as_py()) if len(text) else None
    if not end:
        return None
    digits, rest, kind = end.groups()
    key_type = _TYPES[int(kind)]
    quote = b'"' if key_type == pa.string() else b""
    begin, middle = _BEFORE_KEY + quote, quote + _BEFORE_TIMESTAMP
    before, after = len(begin), len(quote) + len(end[0])
    if not (
        pc.min(pc.binary_length(text)).as_py() >= before + after
        and text[0].as_py().startswith(begin)
        and _stands_between(text, after, middle)
        and _stands_between(text, len(rest), rest + begin)
        and (last := text[-1].as_py()[-after:]).startswith(middle)
        and last.endswith(rest)
        and _are_digits(timestamps := _slice(text, -len(digits) - len(rest), -len(rest)))
    ):
        return None
    return _UsualLines(text, timestamps, len(digits), key_type, before, after)


def _stands_between(lines: pa.Array, size: int, what: bytes) -> bool:
    """Return whether that is to be read from so many bytes before the end of each line on, but the last.

    Lines lie one behind the other, so that it may go on in the next one, and texts that begin there need no copy.
    """
    if len(lines) == 1:
        return True
    starts, _ = bytes_of(lines)
    moved = pc.subtract(starts[1:], pa.scalar(size, pa.int32()))
    turned = pa.Array.from_buffers(pa.binary(), len(lines) - 1, [None, moved.buffers()[1], lines.buffers()[2]])
    return bool(pc.all(pc.starts_with(turned, what)).as_py())


def _slice(text: pa.Array, start: int, stop: int) -> pa.Array:
    """Return a part of each text. Where it splits a letter in two, the text is not of the form that was supposed."""
    return pc.binary_slice(text, start, stop).cast(pa.string(), safe=False)


def _buffer(slices: pa.Array) -> pa.Buffer:
    """Return what slices hold, one behind the other, as `_slice` has just made them."""
    return slices.buffers()[2] or pa.py_buffer(b"")


def _content(slices: pa.Array) -> bytes:
    return bytes(_buffer(slices))


def _are_digits(slices: pa.Array) -> bool:
    """Return whether slices have digits alone, or nothing. All bytes at once take a twentieth of asking each slice."""
    found = _buffer(slices)
    span = pc.min_max(pa.Array.from_buffers(pa.uint8(), found.size, [None, found])).as_py()
    return not found.size or (span["min"] >= ord("0") and span["max"] <= ord("9"))


def _texts(text: pa.Array, before: int, after: int) -> pa.Array:
    texts = _slice(text, before, -after)
    content = _content(texts)
    if not content.isascii():
        texts.validate(full=True)
    if b"\\" not in content and b'"' not in content:
        return texts
    # A string ends on its line, because JSON allows none to have a line break in it.
    literals = _joined(_slice(text, before - 1, 1 - after), ",\n")
    keys = pa.array(json.loads(f"[{literals.to_pybytes().decode()}]"), pa.string())
    if len(keys) != len(text):
        msg = f"{len(text):,} of its deletes have {len(keys):,} keys"
        raise BinlogUnreadableError(msg)
    return keys


def _joined(lines: pa.Array, between: str) -> pa.Buffer:
    return pc.binary_join(pa.ListArray.from_arrays(pa.array([0, len(lines)], pa.int32()), lines), between)[
        0
    ].as_buffer()


def _of_any_objects(lines: pa.Array) -> _Arrays:
    is_object = pc.and_(pc.starts_with(lines, "{"), pc.ends_with(lines, "}"))
    if not pc.all(is_object).as_py():
        raise BinlogUnreadableError(_no_delete(lines, pc.invert(is_object)))
    text = _joined(lines, "\n")
    kinds = _objects(text, {"pkType": pa.int64()}, "ignore").column(0).unique().to_pylist()
    if len(kinds) != 1 or kinds[0] not in _TYPES:
        msg = f"its keys are of the types {kinds}"
        raise BinlogUnreadableError(msg)
    columns = {"pk": _TYPES[kinds[0]], "ts": pa.int64(), "pkType": pa.int64()}
    found = _objects(text, columns, "error")
    if found.num_rows != len(lines):
        msg = f"{len(lines):,} of its lines have {found.num_rows:,} deletes"
        raise BinlogUnreadableError(msg)
    keys, timestamps = (whole(found.column(name).combine_chunks(), name) for name in ("pk", "ts"))
    return _Arrays(timestamps, keys)


def _objects(text: pa.Buffer, columns: dict[str, pa.DataType], unexpected: str) -> pa.Table:
    return pa.json.read_json(
        pa.BufferReader(text),
        read_options=pa.json.ReadOptions(use_threads=False, block_size=text.size + 1),
        parse_options=pa.json.ParseOptions(
            explicit_schema=pa.schema(columns.items()), unexpected_field_behavior=unexpected
        ),
    )


def _no_delete(lines: pa.Array, is_wrong: pa.Array) -> str:
    """Return what to say of the first line that is wrong."""
    line = lines.filter(is_wrong)[0].as_buffer()[:_LONGEST_QUOTE].to_pybytes()
    return f"{pc.sum(is_wrong).as_py():,} of its lines are no deletes, the first of them {line!r}"
