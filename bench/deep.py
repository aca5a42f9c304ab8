"""Measure how fast logs are checked for deep verification, beside reading their payloads with `pyarrow.parquet` alone.

    PYTHONPATH=layers/shared:. python -m bench.deep [--megabytes 32] [--large 1024]

Speed is megabytes of the object for a CPU second, the best of several turns, both in turn. Memory is that of another
process, which checks one log of `--large` MB that is mapped from a file: what it has resident and belongs to no file
(`RssAnon` of /proc), looked at every few milliseconds.
"""

import argparse
import json
import random
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bench.cutting import BEGUN, enveloped, objects, parquet
from milvus_vault.binlogs.checking import ExpectedLog, check_log
from milvus_vault.model.collections import CollectionSchema, FieldSchema, KeyValue
from milvus_vault.model.objects import DELTA_LOG, INSERT_LOG

_DIMENSIONS = 128
_LOOK_SECONDS = 0.002


def _field(number: int, name: str, data_type: int, element_type: int = 0, **params: int) -> FieldSchema:
    pairs = tuple(KeyValue(key=key, value=str(value)) for key, value in params.items())
    return FieldSchema(
        field_id=number,
        name=name,
        data_type=data_type,
        is_primary_key=name == "key",
        element_type=element_type,
        type_params=pairs,
    )


FIELDS = (
    _field(100, "key", 5),
    _field(101, "text", 21, max_length=256),
    _field(102, "vector", 101, dim=_DIMENSIONS),
    _field(103, "document", 23),
    _field(104, "numbers", 22, 5, max_capacity=100),
    _field(105, "words", 104),
    _field(106, "half", 102, dim=_DIMENSIONS),
)
SCHEMA = CollectionSchema(name="bench", fields=FIELDS)
TEXT_SCHEMA = CollectionSchema(name="bench", fields=(_field(100, "key", 21, max_length=256),))


def expected(field_id: int, kind: str = INSERT_LOG, schema: CollectionSchema = SCHEMA) -> ExpectedLog:
    """Return what a log of this benchmark must be."""
    return ExpectedLog(kind, 1, 2, 3, field_id, 0, schema, 2 * BEGUN)


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits in each byte
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*found, number))


def _array(numbers: Sequence[int]) -> bytes:
    packed = b"".join(map(_varint, numbers))
    inner = b"\x0a" + _varint(len(packed)) + packed
    return b"\x1a" + _varint(len(inner)) + inner


def _document(chance: random.Random, row: int) -> bytes:
    document = {
        "title": f"chapter {row} of {chance.randrange(10**6)}",
        "tags": [chance.choice(("red", "green", "blue")), str(chance.randrange(1000))],
        "price": chance.random() * 100,
        "source": {"page": chance.randrange(500), "hash": f"{chance.getrandbits(256):064x}"},
    }
    return json.dumps(document, separators=(",", ":")).encode()


def column(number: int, size: int) -> pa.Array:
    """Return the column of a field, of about that many bytes."""
    chance = random.Random(1)
    makers: dict[int, Callable[[], pa.Array]] = {
        100: lambda: pa.array(chance.sample(range(2**62), size // 8)),
        101: lambda: pa.array([f"document/{chance.getrandbits(100):025x}/é" for _ in range(size // 36)]),
        102: lambda: _vectors(4, struct.pack(f"<{size // 4}f", *(chance.random() for _ in range(size // 4)))),
        103: lambda: pa.array([_document(chance, row) for row in range(size // 170)], pa.binary()),
        104: lambda: pa.array([_array(chance.choices(range(2**31), k=20)) for _ in range(size // 100)], pa.binary()),
        105: lambda: pa.array([_sparse(chance) for _ in range(size // 240)], pa.binary()),
        106: lambda: _vectors(2, chance.randbytes(size)),
    }
    return makers[number]()


def _vectors(width: int, content: bytes) -> pa.Array:
    size = width * _DIMENSIONS
    return pa.Array.from_buffers(pa.binary(size), len(content) // size, [None, pa.py_buffer(content)])


def _sparse(chance: random.Random) -> bytes:
    indices = sorted(chance.sample(range(30_000), 30))
    return b"".join(struct.pack("<If", index, chance.random()) for index in indices)


def cpu_seconds(turns: int, *works: Callable[[], object]) -> list[float]:
    """Return the CPU seconds of the fastest turn of each, done in turn."""
    best = [float("inf")] * len(works)
    for _ in range(turns):
        for place, work in enumerate(works):
            begun = time.process_time()
            work()
            best[place] = min(best[place], time.process_time() - begun)
    return best


def _read(payload: bytes) -> pa.Table:
    return pq.read_table(pa.BufferReader(payload), use_threads=False)


def speed(megabytes: int, turns: int) -> None:
    """Print what it takes to check logs, and to read them."""
    logs: list[tuple[str, bytes, bytes, ExpectedLog]] = []
    for field in FIELDS:
        number = field.field_id
        payload = parquet({str(number): column(number, megabytes << 20)})
        logs.append((field.name, enveloped(payload, 1, number, field.data_type), payload, expected(number)))
    count = (megabytes << 20) // 60
    numbers = [BEGUN + 7919 * row for row in range(count)]
    for name, keys, schema in (
        ("deletes of numbers", numbers, SCHEMA),
        ("deletes of texts", [f"document/{number}/é" for number in numbers], TEXT_SCHEMA),
    ):
        log = objects(keys)
        logs.append((name, log, log[log.index(b"PAR1") :], expected(0, DELTA_LOG, schema)))
    print(f"{'':22}{'MB':>8}{'in memory':>12}{'check, MB/s':>14}{'read, MB/s':>14}{'ratio':>8}")
    sums = [0.0, 0.0, 0.0]
    for name, log, payload, of_log in logs:
        content = pa.py_buffer(log)
        found = check_log(content, of_log)
        if found.problems:
            sys.exit(f"{name}: {found.problems}")
        table = _read(payload)
        checking, reading = cpu_seconds(turns, partial(check_log, content, of_log), partial(_read, payload))
        size = len(log) / 1e6
        sums = [total + part for total, part in zip(sums, (size, checking, reading), strict=True)]
        print(_line(name, size, table.nbytes / 1e6, checking, reading))
    print(_line("all of them", sums[0], 0, sums[1], sums[2]))


def _line(name: str, size: float, in_memory: float, checking: float, reading: float) -> str:
    return (
        f"{name:22}{size:8.1f}{in_memory:12.1f}{size / checking:14.0f}{size / reading:14.0f}{reading / checking:8.2f}"
    )


def write_large(path: Path, number: int, megabytes: int) -> None:
    """Write a log of one field, one row group, of at least that many MB."""
    values = column(number, 32 << 20)
    payload = path.with_suffix(".parquet")
    schema = pa.schema([(str(number), values.type)])
    written = 0
    # One row group, as Milvus writes it: what is not of one piece is put together before it is written.
    with pq.ParquetWriter(payload, schema, compression="none", store_schema=False, use_dictionary=False) as writer:
        chunks = []
        while written < megabytes << 20:
            chunks.append(values)
            written += values.nbytes
        rows = sum(map(len, chunks))
        writer.write_table(pa.Table.from_arrays([pa.chunked_array(chunks)], schema=schema), row_group_size=rows)
    field = next(item for item in FIELDS if item.field_id == number)
    path.write_bytes(enveloped(payload.read_bytes(), 1, number, field.data_type))
    payload.unlink()


def _anonymous_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) << 10
    return 0


def check_mapped(path: Path, number: int) -> None:
    """Check a log in this process and print the most memory that it has taken."""
    most = [before := _anonymous_bytes()]
    is_done = threading.Event()

    def look() -> None:
        while not is_done.wait(_LOOK_SECONDS):
            most.append(_anonymous_bytes())

    looking = threading.Thread(target=look)
    looking.start()
    with pa.memory_map(str(path)) as file:
        found = check_log(file.read_buffer(), expected(number))
    is_done.set()
    looking.join()
    if found.problems:
        sys.exit(str(found.problems))
    print(f"{max(most) / 2**20:.0f} MiB at most, {before / 2**20:.0f} before, {found.row_count:,} rows")


def memory(megabytes: int) -> None:
    """Print the most memory that the check of one large log takes, by field."""
    for number in (102, 103, 101, 105):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "log"
            write_large(path, number, megabytes)
            name = next(item.name for item in FIELDS if item.field_id == number)
            print(f"one log of {name}, {path.stat().st_size / 1e6:,.0f} MB: ", end="", flush=True)
            subprocess.run([sys.executable, "-m", "bench.deep", "--check", str(path), str(number)], check=True)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=32, help="of values in each log (0: no speed)")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument(
        "--large", type=int, default=1024, help="MB of the log whose check's memory is measured (0: none)"
    )
    parser.add_argument(
        "--check", nargs=2, metavar=("FILE", "FIELD"), help="check one log and print the memory it takes"
    )
    options = parser.parse_args()
    if options.check:
        check_mapped(Path(options.check[0]), int(options.check[1]))
        return
    if options.megabytes:
        speed(options.megabytes, options.turns)
    if options.large:
        memory(options.large)


if __name__ == "__main__":
    main()
