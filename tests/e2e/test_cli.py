"""A newcomer in a terminal: everything that README promises, each in one command, on one local stack."""

import json
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pymilvus import MilvusClient

from local import clients
from tests.support import vault_runs
from tests.support.terminal import PROGRAM, REPOSITORY, Session, Terminal

SAMPLE_ROWS = 54_034

# The emulator asks nobody who he is.
ANYBODY = {"access_key": "test", "secret_key": "test"}


# The words of the command line are in tests/unit/cli/test_commands.py as well, and what the API does in test_api.py.
also_apart = pytest.mark.thorough


class Newcomer(Terminal):
    """Somebody with a terminal, and scripts."""

    def script(self, *arguments: str) -> Any:
        """Return the one document that a command writes where there is no terminal."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command for its JSON."""
        return subprocess.run(
            [*PROGRAM, "--output", "json", *arguments],
            env=self.environment, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=240,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def fire(self, schedule: str) -> None:
        """Let a schedule's time come, and wait until its backup has ended, and what that starts."""
        url = self.script("local", "status")["aws_url"]
        execution = vault_runs.fire(partial(clients.create, endpoint_url=url, **ANYBODY), schedule)
        assert self.type("watch", f"backup-{execution.rpartition(':')[2]}").code == 0
        deadline = time.monotonic() + 120
        while self.script("runs", "--status", "running")["items"]:
            assert time.monotonic() < deadline


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Newcomer]:
    """Start the local stack by the command line; stop it, and see that nothing of it is left."""
    state_home = tmp_path_factory.mktemp("state")
    somebody = Newcomer(state_home)
    started = somebody.type("local", "up", "--sample", timeout_seconds=420)
    try:
        assert started.code == 0, started.screen
        assert "milvus-vault create -n first --wait" in started.screen
        pid = somebody.script("local", "status")["pid"]
        yield somebody
    finally:
        stopped = somebody.type("local", "down")
    assert stopped.code == 0, stopped.screen
    assert not list(state_home.iterdir())
    assert has_ended(pid)


def has_ended(pid: int) -> bool:
    """Tell whether a process has ended, whether or not somebody has asked how."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.fixture(scope="module")
def first(newcomer: Newcomer) -> Session:
    """Return the session in which the first backup was made."""
    return newcomer.type("create", "-n", "first", "--wait")


def test_starting_it_twice_changes_nothing(newcomer: Newcomer) -> None:
    before = newcomer.script("local", "status")
    again = newcomer.type("local", "up")
    assert again.code == 0
    assert "It runs already" in again.screen
    assert newcomer.script("local", "status") == before


@also_apart
def test_it_can_be_checked_whether_all_is_there(newcomer: Newcomer) -> None:
    shown = newcomer.type("check")
    assert shown.code == 0
    assert "✓" in shown.screen
    assert newcomer.script("check")["is_ok"]


@also_apart
def test_collections_and_what_a_backup_would_take_are_shown(newcomer: Newcomer) -> None:
    shown = newcomer.type("collections", "--sizes")
    assert shown.code == 0
    assert "default.articles" in shown.screen
    estimated = newcomer.type("estimate", "--filter", "shop.*")
    assert estimated.code == 0
    assert "USD" in estimated.screen
    assert newcomer.script("estimate")["row_count"] >= 54_000  # those that Milvus has flushed


def test_a_backup_is_followed_by_bars_to_its_end(first: Session) -> None:
    assert first.code == 0
    assert first.showed("━━━━")
    assert first.showed("0 of 4")
    assert first.showed("running")
    assert "backup of first succeeded" in first.screen
    assert "4 collections" in first.screen


def test_the_backup_is_listed_and_described(newcomer: Newcomer, first: Session) -> None:
    assert first.code == 0
    listed = newcomer.type("list")
    assert any("first" in line and "complete" in line for line in listed.screen.splitlines())
    described = newcomer.type("get", "first")
    assert "default.articles" in described.screen
    assert f"{SAMPLE_ROWS:,} rows" in described.screen
    assert newcomer.script("get", "first")["row_count"] == SAMPLE_ROWS
    assert [item["name"] for item in newcomer.script("list")["items"]][-1] == "first"


def test_rows_are_read_out_of_the_backup(newcomer: Newcomer, first: Session) -> None:
    assert first.code == 0
    asked = ("rows", "first", "shop.customers", "--limit", "3")
    lines = [json.loads(line) for line in newcomer.run(*asked).stdout.splitlines()]
    assert len(lines) == 3
    key = next(iter(lines[0]))
    again = newcomer.run(*asked[:3], "--where", f"{key} == {lines[1][key]!r}")
    assert [json.loads(line) for line in again.stdout.splitlines()] == lines[1:2]


def test_where_nobody_looks_changes_are_lines(newcomer: Newcomer, first: Session) -> None:
    assert first.code == 0
    done = subprocess.run(
        [*PROGRAM, "create", "-n", "in_a_file", "-c", "shop.customers", "--wait"],
        env=newcomer.environment, cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=240,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert len(lines) == len(set(lines))
    assert any("1/1 collections" in line for line in lines)
    assert "\x1b" not in done.stdout


@also_apart
def test_json_is_one_document_beside_progress(newcomer: Newcomer, first: Session) -> None:
    assert first.code == 0
    done = newcomer.run("create", "-n", "as_json", "--collections", "shop.customers", "--wait")
    assert done.returncode == 0
    assert json.loads(done.stdout)["result"]["backup_name"] == "as_json"
    assert "succeeded" in done.stderr


def test_a_name_that_is_taken_is_refused_with_a_hint(newcomer: Newcomer, first: Session) -> None:
    assert first.code == 0
    refused = newcomer.type("create", "-n", "first")
    assert refused.code == 5
    assert "error: backup 'first' exists already" in refused.screen
    assert "hint:" in refused.screen
    assert json.loads(newcomer.run("create", "-n", "first").stdout)["error"] == "BackupExistsError"


def test_ctrl_c_leaves_the_run_going_and_it_can_be_watched_and_stopped(newcomer: Newcomer, first: Session) -> None:
    assert first.code == 0
    left = newcomer.type("create", "-n", "left_alone", "--wait", interrupt_at="backup of left_alone")
    assert left.code == 130
    assert "The run goes on" in left.screen
    run_id = next(item["id"] for item in newcomer.script("runs", "--kind", "backup")["items"])
    assert run_id in left.screen

    watched = newcomer.type("watch", run_id)
    assert watched.code == 0
    assert "backup of left_alone succeeded" in watched.screen

    started = newcomer.script("create", "-n", "stopped_early")
    assert newcomer.type("stop", started["id"]).code == 0
    ended = newcomer.type("watch", started["id"])
    assert ended.code == 1
    assert "stopped" in ended.screen
    assert newcomer.type("stop", started["id"]).code == 5
    assert any(line["id"] == started["id"] for line in newcomer.script("runs", "--status", "stopped")["items"])


@also_apart
def test_a_wait_that_is_too_short_ends_without_the_run(newcomer: Newcomer, first: Session) -> None:
    assert first.code == 0
    done = newcomer.type("create", "-n", "patience", "-c", "shop.customers", "--wait", "--timeout", "0.5")
    assert done.code == 8
    assert newcomer.type("watch").code == 0


def test_a_restore_brings_collections_back_under_other_names(newcomer: Newcomer, first: Session) -> None:
    assert first.code == 0
    restored = newcomer.type("restore", "first", "-s", "_again", "-c", "shop.*", "--allow-version", "--wait")
    assert restored.code == 0, restored.screen
    assert restored.showed("shop.orders → shop.orders_again")
    uri = newcomer.script("local", "status")["milvus_uri"]
    assert {"customers_again", "orders_again"} <= set(MilvusClient(uri=uri, db_name="shop").list_collections())
    refused = newcomer.type("restore", "first", "-c", "shop.*", "--allow-version")
    assert refused.code == 5
    assert "error: the target has shop.customers, shop.orders already" in refused.screen


@also_apart
def test_a_backup_is_verified(newcomer: Newcomer, first: Session) -> None:
    assert first.code == 0
    verified = newcomer.type("verify", "first", "--wait")
    assert verified.code == 0, verified.screen
    assert "intact" in newcomer.type("get", "first").screen


def test_its_report_can_be_read(newcomer: Newcomer, first: Session, tmp_path: Path) -> None:
    assert first.code == 0
    assert newcomer.type("report", "first", "--save", str(tmp_path / "report.html")).code == 0
    assert "default.articles" in (tmp_path / "report.html").read_text()
    assert "http" in newcomer.type("report", "first").screen


@also_apart
def test_a_held_backup_is_not_deleted_and_a_question_is_asked_first(newcomer: Newcomer, first: Session) -> None:
    assert first.code == 0
    newcomer.script("create", "-n", "short_lived", "-c", "shop.customers", "--wait")
    assert newcomer.type("hold", "short_lived", "--reason", "wait").code == 0
    assert newcomer.type("delete", "short_lived", "--yes").code == 5
    assert newcomer.type("hold", "short_lived", "--lift").code == 0

    question = "Type its name to delete it"
    assert newcomer.type("delete", "short_lived", answers={question: "another"}).code == 130
    assert newcomer.script("get", "short_lived")["status"] == "complete"
    assert newcomer.run("delete", "short_lived").returncode == 2

    deleted = newcomer.type("delete", "short_lived", "--wait", answers={question: "short_lived"})
    assert deleted.code == 0, deleted.screen
    gone = newcomer.type("get", "short_lived")
    assert gone.code == 4
    assert "error: " in gone.screen


def test_a_schedule_keeps_the_last_one(newcomer: Newcomer, first: Session) -> None:
    assert first.code == 0
    made = newcomer.type("schedule", "put", "often", "rate(1 day)", "-c", "shop.customers", "--keep-last", "1")
    assert made.code == 0, made.screen
    assert "last 1" in newcomer.type("schedule", "list").screen
    assert newcomer.script("schedule", "get", "often")["retention"]["keep_last"] == 1

    for _ in range(2):
        newcomer.fire("often")
    assert newcomer.type("schedule", "delete", "often").code == 0
    assert len(newcomer.script("list", "--schedule", "often")["items"]) == 1
    assert newcomer.type("schedule", "get", "often").code == 4


@also_apart
def test_a_prune_says_why_before_it_deletes(newcomer: Newcomer, first: Session) -> None:
    assert first.code == 0
    explained = newcomer.type("prune", "--dry-run")
    assert explained.code == 0, explained.screen
    assert any("first" in line and "keep" in line for line in explained.screen.splitlines())
    assert newcomer.type("prune", "--wait").code == 0
    assert newcomer.script("get", "first")["name"] == "first"


def test_without_the_local_stack_the_same_commands_say_what_to_do(newcomer: Newcomer, tmp_path: Path) -> None:
    elsewhere = Newcomer(tmp_path)
    assert newcomer.environment["XDG_STATE_HOME"] != elsewhere.environment["XDG_STATE_HOME"]
    lost = elsewhere.type("list")
    assert lost.code == 7
    assert "milvus-vault local up" in lost.screen
    assert elsewhere.type("local", "status").code == 4
    assert elsewhere.type("local", "down").code == 0
    assert not list(tmp_path.iterdir())


def test_ctrl_c_while_it_starts_leaves_nothing(tmp_path: Path) -> None:
    hasty = Newcomer(tmp_path)
    assert hasty.type("local", "up", interrupt_at="Start Milvus").code == 130
    assert hasty.type("local", "status").code == 4
    assert hasty.type("local", "down").code == 0
    assert not list(tmp_path.iterdir())
