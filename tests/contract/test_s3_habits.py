"""Servers answer the habits of S3 as the record says; where none answers as AWS, a test gives the code AWS' answer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import s3_habits
from tests.support.s3_habits import HABITS, Server
from tests.support.versitygw import needs_versitygw
from tools.habits import SERVERS, read_record

ROOT = Path(__file__).parents[2]
RECORD = read_record()
HERE = [pytest.param(name, marks=[needs_versitygw] if name == "versitygw" else []) for name in SERVERS]


@pytest.fixture(scope="module", params=HERE)
def asked(request: pytest.FixtureRequest) -> Iterator[tuple[Server, Any]]:
    """Each of the servers in turn, and a client of it."""
    name = request.param
    if name in {"ministack", "seaweedfs"}:
        server = s3_habits.server_of(request.getfixturevalue(name))
        yield server, s3_habits.prepare(server)
    else:
        with s3_habits.running(name) as server:
            yield server, s3_habits.prepare(server)


@pytest.mark.parametrize("habit", HABITS)
def test_a_server_answers_as_it_is_on_record(asked: tuple[Server, Any], habit: str) -> None:
    server, s3 = asked
    known = RECORD.habits[habit]

    assert s3_habits.ask(server, s3, habit) == known.servers.get(server.name, known.aws)


@pytest.mark.parametrize("server", HERE)
def test_the_record_is_of_the_version_that_is_installed(server: str) -> None:
    assert RECORD.versions[server] == s3_habits.version_of(server)


def test_each_habit_is_on_record_and_each_answer_another_than_aws() -> None:
    assert [*RECORD.habits] == [*HABITS]
    for habit in RECORD.habits.values():
        assert set(habit.servers) <= set(SERVERS)
        assert habit.aws not in habit.servers.values()


@pytest.mark.parametrize("name", HABITS)
def test_what_no_server_answers_and_something_needs_is_given_by_a_test(name: str) -> None:
    habit = RECORD.habits[name]
    is_answered = set(SERVERS) - set(habit.servers)

    assert habit.test or is_answered or not habit.needs
    if habit.test:
        path, _, test = habit.test.partition("::")
        assert f"def {test}(" in (ROOT / path).read_text()
