"""Measure how fast deletes are read and cut, beside a loop that parses each line with `json.loads`.

    PYTHONPATH=layers/shared python -m bench.cutting --deletes 500000

All figures are CPU seconds for a million deletes, the best of several turns.
"""

import argparse
import io
import json
import resource
import struct
import time
from collections.abc import Callable, Iterable, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from milvus_vault.binlogs import cut_deletes, read_deletes

BEGUN = 470_643_278_680_162_305
MILLION = 1_000_000

type Keys = Sequence[int] | Sequence[str]


def parquet(columns: dict[str, pa.Array]) -> bytes:
    """Return a Parquet file as Milvus writes it."""
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, compression="zstd", store_schema=False)
    return sink.getvalue()


def enveloped(payload: bytes, event_kind: int = 2, field_id: int = -1, data_type: int = 20) -> bytes:
    """Return a log of one event, by default one of deletes, of collection 1, partition 2 and segment 3."""
    extra = b'{"original_size":"1"}'
    described = (
        struct.pack("<qqqqQQi", 1, 2, 3, field_id, 0, 0, data_type)
        + bytes((52, *[16] * 7))
        + struct.pack("<i", len(extra))
    )
    described += extra
    descriptor = struct.pack("<QbiI", 0, 0, 17 + len(described), 21 + len(described)) + described
    event = struct.pack("<QbiIQQ", 0, event_kind, 33 + len(payload), 0xFFFFFFFF, 1, 1)
    return struct.pack("<i", 0xFFFABC) + descriptor + event + payload


def objects(keys: Keys) -> bytes:
    """Return the log of 2.2 to 2.6, with Go's escapes."""
    kind = 21 if isinstance(keys[0], str) else 5
    written = (json.dumps(key, ensure_ascii=False).replace("&", "\\u0026") for key in keys)
    lines = [f'{{"pk":{key},"ts":{BEGUN + row},"pkType":{kind}}}' for row, key in enumerate(written)]
    return enveloped(parquet({"0": pa.array(lines)}))


def pairs(keys: Keys) -> bytes:
    """Return the oldest form."""
    return enveloped(parquet({"val": pa.array([f"{key},{BEGUN + row}" for row, key in enumerate(keys)])}))


def columns(keys: Keys) -> bytes:
    """Return a log of two columns."""
    return parquet({"pk": pa.array(keys), "ts": pa.array(range(BEGUN, BEGUN + len(keys)), pa.int64())})


def _lines(log: bytes) -> Iterable[str]:
    lines: list[str] = pq.read_table(io.BytesIO(log[log.index(b"PAR1") :]), use_threads=False).column(0).to_pylist()
    return lines


def read_line_by_line(log: bytes) -> list[tuple[object, int]]:
    """Do the work of `read_deletes` in a plain loop."""
    return [(found["pk"], found["ts"]) for found in map(json.loads, _lines(log))]


def cut_line_by_line(log: bytes, end: int) -> bytes:
    """Do the work of `cut_deletes` in a plain loop."""
    left = [line for line in _lines(log) if json.loads(line)["ts"] <= end]
    return enveloped(parquet({"0": pa.array(left)}))


def cpu_seconds(work: Callable[[bytes], object], log: bytes, turns: int) -> float:
    """Return the CPU time of the fastest turn."""
    taken = []
    for _ in range(turns):
        begun = time.process_time()
        work(log)
        taken.append(time.process_time() - begun)
    return min(taken)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deletes", type=int, default=500_000, help="in each log (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=5, help="of each measurement (default: %(default)s)")
    options = parser.parse_args()
    count = options.deletes
    numbers = [450_000_000_000_000_000 + 7919 * row for row in range(count)]
    texts = [f"document/{number}/é" for number in numbers]
    links = [f'https://example.com/?a={number}&b="1"' for number in numbers]
    forms: list[tuple[str, bytes, bool]] = [
        ("JSON, numbers", objects(numbers), True),
        ("JSON, texts", objects(texts), True),
        ("JSON, texts with escapes", objects(links), True),
        ("key,timestamp", pairs(numbers), False),
        ("two columns, numbers", columns(numbers), False),
        ("two columns, texts", columns(texts), False),
    ]
    end = BEGUN + count // 2
    print(f"{'':26}{'read':>8}{'cut':>8}{'read, json.loads':>20}{'cut, json.loads':>20}")
    for name, log, is_json in forms:
        works: list[Callable[[bytes], object]] = [read_deletes, lambda log: cut_deletes(log, end)]
        if is_json:
            works += [read_line_by_line, lambda log: cut_line_by_line(log, end)]
        taken = [cpu_seconds(work, log, options.turns) * MILLION / count for work in works]
        print(
            f"{name:26}"
            + "".join(f"{seconds:{width}.2f}" for seconds, width in zip(taken, (8, 8, 20, 20), strict=False))
        )
    print(f"at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB of memory in all")


if __name__ == "__main__":
    main()
