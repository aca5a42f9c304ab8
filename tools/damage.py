"""Damage logs at random, and count what of it deep verification finds.

    PYTHONPATH=layers/shared:. python -m tools.damage [--count 4000] [--first 1]

A damage is drawn by its number alone, from the golden archives and from logs that the tests' own server wrote. Whether
it changed anything is decided without the code that is tested: by the bytes of the envelope, and by what
`pyarrow.parquet` reads of the payload. The digest is the MD5 of the content beside the recorded one, which is the ETag
of an object in one piece. Structure is what `check_log` and `check_segment` say without it, as for an archive that has
no digests.
"""

import argparse
import hashlib
import io
import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache

import pyarrow as pa
import pyarrow.parquet as pq

from milvus_vault.archive.layout import INSERT_LOG, LogKey
from milvus_vault.binlogs.checking import check_log, check_segment
from tests.support.checked_logs import GOLDEN, WRITTEN, Log, logs_of

_MAGIC = b"PAR1"
_AT_A_TIME = 200
_SECONDS = 300  # for so many
_SHOWN = 20

type Chance = random.Random


@dataclass(frozen=True, slots=True)
class Damage:
    """What is done to a log."""

    number: int
    what: str
    log: Log
    content: bytes


@dataclass(frozen=True, slots=True)
class Verdict:
    """What comes of a damage."""

    number: int
    what: str
    form: str
    has_changed: bool
    """Whether anything in its envelope or its rows is another than before."""
    has_other_rows: bool
    """Whether its rows are, or cannot be read."""
    by_digest: bool
    by_structure: bool
    said: str = ""


def _flip(log: Log, chance: Chance) -> bytes:
    content = bytearray(log.content)
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    return bytes(content)


def _burst(log: Log, chance: Chance) -> bytes:
    start = chance.randrange(len(log.content))
    size = min(chance.randint(2, 64), len(log.content) - start)
    return log.content[:start] + chance.randbytes(size) + log.content[start + size :]


def _zeros(log: Log, chance: Chance) -> bytes:
    """Return it with a block of zeros, as a disk that lost a sector has it."""
    start = chance.randrange(len(log.content)) // 512 * 512
    size = min(512, len(log.content) - start)
    return log.content[:start] + bytes(size) + log.content[start + size :]


def _truncated(log: Log, chance: Chance) -> bytes:
    return log.content[: chance.randrange(1, len(log.content))]


def _empty(_: Log, __: Chance) -> bytes:
    return b""


def _other(log: Log, chance: Chance, fits: Callable[[Log], bool]) -> bytes:
    found = [other for other in logs_of(log.archive) if other.content != log.content and fits(other)]
    return chance.choice(found).content if found else log.content


def _same_size_here(log: Log, chance: Chance) -> bytes:
    size, collection = len(log.content), log.key.collection_id
    return _other(log, chance, lambda other: len(other.content) == size and other.key.collection_id == collection)


def _same_size_elsewhere(log: Log, chance: Chance) -> bytes:
    size, collection = len(log.content), log.key.collection_id
    return _other(log, chance, lambda other: len(other.content) == size and other.key.collection_id != collection)


def _of_another_segment(log: Log, chance: Chance) -> bytes:
    place = (log.key.kind, log.key.collection_id, log.key.field_id)
    return _other(
        log,
        chance,
        lambda other: (
            (other.key.kind, other.key.collection_id, other.key.field_id) == place
            and other.key.segment_id != log.key.segment_id
        ),
    )


def _of_another_field(log: Log, chance: Chance) -> bytes:
    segment, field = log.key.segment_id, log.key.field_id
    return _other(log, chance, lambda other: other.key.segment_id == segment and other.key.field_id != field)


def _rewritten(log: Log, change: Callable[[pa.Table], pa.Table]) -> bytes:
    """Return it with other rows in a payload that is whole, as an older version of it would be."""
    start = log.content.index(_MAGIC)
    table = pq.read_table(io.BytesIO(log.content[start:]), use_threads=False)
    sink = io.BytesIO()
    pq.write_table(change(table), sink, compression="zstd", store_schema=False)
    payload = sink.getvalue()
    if not start:
        return payload
    header = bytearray(log.content[:start])
    length, following = len(header[-33:]) + len(payload), start + len(payload)
    header[-24:-20] = length.to_bytes(4, "little")
    if header[-20:-16] != b"\xff" * 4:
        header[-20:-16] = following.to_bytes(4, "little")
    return bytes(header) + payload


def _fewer_rows(log: Log, chance: Chance) -> bytes:
    return _rewritten(log, lambda table: table.slice(0, chance.randrange(table.num_rows)))


def _other_rows(log: Log, _: Chance) -> bytes:
    return _rewritten(log, lambda table: table.take(pa.array(range(table.num_rows - 1, -1, -1))))


KINDS: dict[str, Callable[[Log, Chance], bytes]] = {
    "one bit": _flip,
    "up to 64 bytes": _burst,
    "a block of zeros": _zeros,
    "cut off": _truncated,
    "empty": _empty,
    "another log of the collection, same size": _same_size_here,
    "a log of another collection, same size": _same_size_elsewhere,
    "the same field of another segment": _of_another_segment,
    "another field of the segment": _of_another_field,
    "an older version, fewer rows": _fewer_rows,
    "an older version, as many rows": _other_rows,
}
_WEIGHTS = {"one bit": 5, "up to 64 bytes": 3, "a log of another collection, same size": 3}


def draw(number: int) -> Damage:
    """Return a damage. Some leave the log as it was, where there is no other to take its place."""
    chance = random.Random(number)  # noqa: S311 - the same each time
    logs = logs_of(chance.choice((*GOLDEN, *WRITTEN)))
    forms = sorted({log.form for log in logs})
    form = chance.choice(forms)
    log = chance.choice([log for log in logs if log.form == form])
    what = chance.choices(list(KINDS), [_WEIGHTS.get(kind, 1) for kind in KINDS])[0]
    return Damage(number, what, log, KINDS[what](log, chance))


def _changes(before: bytes, after: bytes) -> tuple[bool, bool]:
    """Return whether anything of a log, and whether its rows are others, by other code than what is tested.

    What is no envelope of the same length is other rows as well.
    """
    start = before.index(_MAGIC)
    payload = after[start:]
    if len(before) - start == len(payload) and before[start:] == payload:
        return True, False
    try:
        was, became = pq.ParquetFile(io.BytesIO(before[start:])), pq.ParquetFile(io.BytesIO(payload))
        is_same_schema = was.schema_arrow.equals(became.schema_arrow, check_metadata=True)
        has_other_rows = was.read(use_threads=False).columns != became.read(use_threads=False).columns
    except (pa.ArrowException, OSError, ValueError):
        return True, True
    return before[:start] != after[:start] or not is_same_schema or has_other_rows, has_other_rows


@cache
def _row_counts(archive: str) -> dict[LogKey, int]:
    return {log.key: check_log(pa.py_buffer(log.content), log.expected).row_count for log in logs_of(archive)}


def judge(damage: Damage) -> Verdict:
    """Return what comes of a damage."""
    log = damage.log
    found = check_log(pa.py_buffer(damage.content), log.expected)
    problems = found.problems
    if not problems and log.key.kind == INSERT_LOG:
        rows = {
            (other.key.field_id, other.key.log_id): _row_counts(log.archive)[other.key]
            for other in logs_of(log.archive)
            if other.key.kind == INSERT_LOG and other.key.segment_id == log.key.segment_id
        }
        rows[log.key.field_id, log.key.log_id] = found.row_count
        problems = check_segment(log.segment_rows, rows)
    by_digest = _md5(damage.content) != _md5(log.content)
    return Verdict(
        damage.number,
        damage.what,
        log.form,
        *_changes(log.content, damage.content),
        by_digest,
        bool(problems),
        "; ".join(problems),
    )


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def judge_all(numbers: range) -> list[Verdict]:
    """Return what comes of these damages, where there are such."""
    damages = [damage for damage in map(draw, numbers) if damage.content != damage.log.content]
    return [judge(damage) for damage in damages]


def judge_apart(numbers: range) -> Iterator[Verdict]:
    """Yield what comes of damages that are judged in processes of their own, since one may end or hang its process."""
    for first in range(numbers.start, numbers.stop, _AT_A_TIME):
        some = "--judge", f"{first}", f"{min(first + _AT_A_TIME, numbers.stop)}"
        command = [sys.executable, "-m", "tools.damage", *some]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=_SECONDS)  # noqa: S603 - this program
        yield from (Verdict(**found) for found in json.loads(done.stdout))


def table(verdicts: list[Verdict]) -> str:
    """Return the counts by form and kind of damage, as docs/reliability.md has them."""
    counts = Counter((verdict.form, verdict.what) for verdict in verdicts)
    lines = [
        "| object | damage | tried | changed anything | found by digest | by structure | other rows | by structure |",
        "|---|---|---|---|---|---|---|---|",
    ]
    order = {what: place for place, what in enumerate(KINDS)}
    for form, what in sorted(counts, key=lambda pair: (pair[0], order[pair[1]])):
        lines.append(_line(form, what, [one for one in verdicts if (one.form, one.what) == (form, what)]))
    lines.append(_line("all", "all", verdicts))
    return "\n".join(lines)


def _line(form: str, what: str, verdicts: list[Verdict]) -> str:
    changed = [verdict for verdict in verdicts if verdict.has_changed]
    by_digest, by_structure = sum(v.by_digest for v in changed), sum(v.by_structure for v in changed)
    rows = [verdict for verdict in changed if verdict.has_other_rows]
    counts = (len(verdicts), len(changed), by_digest, by_structure, len(rows), sum(v.by_structure for v in rows))
    return f"| {form} | {what} | {' | '.join(f'{count:,}' for count in counts)} |"


def main() -> None:
    """Damage logs and print the table. Ends with 1 where a digest has not found what changed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=4000, help="damages to try")
    parser.add_argument("--first", type=int, default=1, help="the first damage's number")
    parser.add_argument("--judge", type=int, nargs=2, metavar=("FIRST", "END"), help="print some verdicts as JSON")
    given = parser.parse_args()
    if given.judge:
        print(json.dumps([asdict(verdict) for verdict in judge_all(range(*given.judge))]))
        return
    verdicts = list(judge_apart(range(given.first, given.first + given.count)))
    print(table(verdicts))
    unseen = [verdict for verdict in verdicts if verdict.has_other_rows and not verdict.by_structure]
    for verdict in unseen[:_SHOWN]:
        print(f"not by structure: {verdict.number}, {verdict.form}, {verdict.what}")
    sys.exit(any(verdict.has_changed and not verdict.by_digest for verdict in verdicts))


if __name__ == "__main__":
    main()
