"""Make docs/s3-habits.md: habits of S3, what of the product needs them, and what AWS and other servers answer.

All of it is in tests/contract/s3_habits.yaml, which tests/contract/test_s3_habits.py holds to the servers.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

RECORD = Path(__file__).parents[1] / "tests" / "contract" / "s3_habits.yaml"

_HEADING = """\
# Habits of S3: see tests/support/s3_habits.py, whose functions have the same names, and docs/s3-habits.md.
# A server that is not named answers as AWS. `python -m tests.support.s3_habits SERVER` writes what a server answers.
"""

SERVERS = ("ministack", "moto", "seaweedfs", "versitygw")

_NAMES = {"ministack": "ministack", "moto": "moto", "seaweedfs": "SeaweedFS", "versitygw": "versitygw"}

_INTRODUCTION = """\
What S3 answers where the product depends on it, and a few habits beside these. No part of this has run in a real AWS
account. What AWS answers is from its page that is named, and in {recorded} of {count} rows also from what AWS gave the
tests of LocalStack, which keep the answers of a real account (`tests/aws/services/s3`, most of them of February 2026);
the test is named.

Four servers are asked the same: {versions}. `=` is the answer of AWS.
`make test` asks them again; versitygw only where a compiler of Go can build it, or it is on the `PATH`. Where no server
answers as AWS, and something of the product needs it, a test gives the code AWS' answer, and is named in the row. moto
lies within the process: `not asked` is what takes an address.

As AWS answer, of {count}: {counts}. What needs a habit is named by the
methods of `ObjectStore`, which [s3.py](../layers/shared/milvus_vault/adapters/s3.py) carries out. *nothing*: it is here
to be known.
"""


class Habit(BaseModel):
    """One habit, as the record has it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    group: str
    asks: str
    needs: str = ""
    """What of the product depends on it; empty where nothing does, by now."""
    aws: str
    source: str
    """The title of the page of AWS that it is from."""
    recorded: str = ""
    """The test of LocalStack, in tests/aws/services/s3, whose record of an AWS account has it; most are of 2026."""
    servers: dict[str, str] = {}
    """The answers that are others than AWS'."""
    test: str = ""
    """The test that gives the code AWS' answer; it must be there where no server gives it, and something needs it."""


class Record(BaseModel):
    """tests/contract/s3_habits.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    versions: dict[str, str]
    habits: dict[str, Habit]


def read_record() -> Record:
    """Return the record."""
    return Record.model_validate(yaml.safe_load(RECORD.read_text()))


def write_record(record: Record) -> None:
    """Write the record."""
    found = record.model_dump(exclude_defaults=True)
    RECORD.write_text(_HEADING + yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=118))


def habits_document(record: Record, heading: str) -> str:
    """Return the document, below a line that says that it is made."""
    habits = record.habits
    counts = {server: sum(1 for habit in habits.values() if server not in habit.servers) for server in SERVERS}
    introduction = _INTRODUCTION.format(
        count=len(habits),
        recorded=sum(1 for habit in habits.values() if habit.recorded),
        versions=", ".join(f"{_NAMES[server]} {record.versions[server]}" for server in SERVERS),
        counts=", ".join(f"{_NAMES[server]} {counts[server]}" for server in SERVERS),
    )
    lines = [heading, "", "# Habits of S3", "", introduction]
    for group in dict.fromkeys(habit.group for habit in habits.values()):
        lines += [f"## {group}", "", *_table({name: one for name, one in habits.items() if one.group == group}), ""]
    return "\n".join(lines).rstrip() + "\n"


def _table(habits: Mapping[str, Habit]) -> Iterator[str]:
    yield f"| what | needed by | AWS | {' | '.join(_NAMES[server] for server in SERVERS)} | from |"
    yield "|---" * (4 + len(SERVERS)) + "|"
    for habit in habits.values():
        answers = (habit.servers.get(server, "=") for server in SERVERS)
        source = "; ".join(text for text in (habit.source, habit.recorded and f"`{habit.recorded}`") if text)
        given = f"; given by `{habit.test.partition('::')[2]}`" if habit.test else ""
        row = (habit.asks, habit.needs or "*nothing*", f"**{habit.aws}**", *answers, source + given)
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
