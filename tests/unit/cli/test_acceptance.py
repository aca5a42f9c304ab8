"""The command `acceptance`: what it refuses at once, what it asks, and what it tells."""

import io
import json
from pathlib import Path

import pytest

from milvus_vault.acceptance import account as accounts
from milvus_vault.acceptance import trying
from milvus_vault.acceptance.items import Item, Need, failed, not_possible, passed
from milvus_vault.cli.session import Session
from milvus_vault.client import Door, VaultClient
from milvus_vault.client import discovery as doors
from milvus_vault.client.caller import Caller
from milvus_vault.errors import ServiceUnavailableError
from tests.support.fake_api import FakeApi, backup, problem, run
from tests.unit.acceptance.conftest import GoodAccount
from tests.unit.cli.conftest import Cli

ITEMS = (
    Item("well", 1, "It is well.", lambda _: passed("all of it"), frozenset({Need.WRITES})),
    Item("elsewhere", 2, "It is elsewhere.", lambda _: not_possible("not in this account", "Use another one.")),
)
BROKEN = Item("broken", 3, "It is not broken.", lambda _: failed("alice broke backups", "Mend it."))


@pytest.fixture(autouse=True)
def deployed(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> GoodAccount:
    """Let a stack be found that has the fake API, and no Milvus."""
    account = GoodAccount()
    door = Door(api.url, Caller(lambda: account.session), "stack", "vault")
    monkeypatch.setattr("milvus_vault.client.find_door", lambda **_: door)
    monkeypatch.setattr(accounts, "Account", lambda *_: account)
    monkeypatch.setattr(Session, "vault", lambda _: VaultClient(api.url, account.session))
    monkeypatch.setattr(trying, "items", lambda: ITEMS)
    return account


def test_what_was_found_is_a_table(cli: Cli) -> None:
    done = cli("acceptance", "--yes")
    assert done.code == 0
    lines = [line.split() for line in done.out.splitlines()]
    assert ["well", "passed"] in [line[:2] for line in lines]
    assert "not in this account" in done.out
    assert "Use another one." in done.out
    assert "2 passed, 0 failed, 1 not possible here" in done.out  # with the cleaning up


def test_as_json_it_is_one_document(cli: Cli) -> None:
    document = cli("-o", "json", "acceptance", "--yes").document
    assert [(one["name"], one["verdict"]) for one in document["items"]] == [
        ("well", "passed"), ("elsewhere", "not_possible"), ("clean_up", "passed")
    ]  # fmt: skip
    assert document["is_ok"]


def test_a_failure_is_an_exit_code_and_its_report_has_no_names(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(trying, "items", lambda: (*ITEMS, BROKEN))
    file = tmp_path / "acceptance.json"
    done = cli("acceptance", "--yes", "--save", str(file))
    assert done.code == 1
    assert "alice broke backups" in done.out
    told = {one["name"]: one for one in json.loads(file.read_text())["items"]}
    assert told["broken"]["evidence"] == "<name> broke <name>"
    assert told["broken"]["hint"] == "Mend it."


def test_it_says_what_it_costs_and_makes_nothing_where_the_answer_is_no(
    api: FakeApi, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    done = cli("acceptance")
    assert done.code == 130
    assert "400 state transitions: 3 cents, 15 minutes" in done.err
    assert "4 of these runs fail and 2 are stopped" in done.err
    assert "Nothing was made." in done.err
    assert api.asked == []


def test_on_the_local_stack_it_costs_nothing_and_redrives_none(
    deployed: GoodAccount, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    monkeypatch.setattr(type(deployed), "is_local", True)
    told = cli("acceptance").err
    assert "400 state transitions: nothing to pay on the local stack, 2 minutes" in told
    assert "4 of these runs fail and 1 is stopped" in told


def test_where_nothing_is_made_nothing_is_asked(api: FakeApi, cli: Cli) -> None:
    done = cli("acceptance", "--read-only")
    assert done.code == 0
    assert "only reading was asked for" in done.out
    assert api.asked == []


@pytest.mark.parametrize("collection", ["shop.*", "a,b"])
def test_what_is_not_one_collection_is_refused(collection: str, api: FakeApi, cli: Cli) -> None:
    done = cli("acceptance", "--yes", "--collection", collection)
    assert done.code == 2
    assert "is not one collection" in done.err
    assert api.asked == []


def test_a_collection_that_is_not_there_is_refused_before_anything_is_made(api: FakeApi, cli: Cli) -> None:
    api.answers.append(problem("CollectionNotFoundError", "collection 'default.no' does not exist", 404))
    done = cli("acceptance", "--yes", "--collection", "no")
    assert done.code == 4
    assert [asked.path for asked in api.asked] == ["/live/estimate"]


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_made(
    api: FakeApi, cli: Cli, tmp_path: Path
) -> None:
    done = cli("acceptance", "--yes", "--save", str(tmp_path / "no" / "x.json"))
    assert done.code == 2
    assert "cannot write" in done.err
    assert api.asked == []


def test_an_address_alone_names_no_stack(cli: Cli, monkeypatch: pytest.MonkeyPatch, api: FakeApi) -> None:
    monkeypatch.setattr("milvus_vault.client.find_door", doors.find_door)
    done = cli("acceptance", "--yes")
    assert done.code == 2
    assert "--stack" in done.err
    assert api.asked == []


LEFT = "vault_acceptance_0a1b2c3d_"


@pytest.mark.parametrize("words", ["acceptance", "acceptance --clean-up"])
def test_without_a_terminal_nobody_is_asked_and_nothing_is_done(
    words: str, api: FakeApi, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    api.backups = {LEFT: backup(LEFT)}
    done = cli(*words.split())
    assert done.code == 2
    assert "without being asked for, and here is no terminal to ask on\nhint: Give --yes." in done.err
    assert removed(api) == []


def removed(api: FakeApi) -> list[str]:
    return [f"{asked.method} {asked.path}" for asked in api.asked if asked.method != "GET"]


@pytest.mark.parametrize("answer", [False, True])
def test_the_question_names_what_cleaning_up_removes(
    answer: bool, api: FakeApi, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: answer)
    names = [f"{LEFT}{number:02}" for number in range(12)]
    api.backups = {name: backup(name) for name in (*names, "nightly")}
    api.runs["backup-9"] = [run("backup-9", "running", backup_name=f"{LEFT}full")]
    done = cli("acceptance", "--clean-up")
    assert f"12 backups: {names[0]}, " in done.err
    assert f"{names[9]} and 2 more" in done.err
    assert "1 runs that go on: backup-9" in done.err
    assert "whoever began it" in done.err
    assert "nightly" not in done.err
    assert removed(api) == (["DELETE /live/runs/backup-9", "POST /live/prune"] if answer else [])
    assert ("Nothing was removed." in done.err) is not answer
    assert done.code == (1 if answer else 130)
    # What nobody may remove at once is said, too.
    assert ("Objects of incremental backups go from the pool with the daily prune." in done.err) is answer


def test_where_nothing_is_left_nobody_is_asked(api: FakeApi, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: pytest.fail("it asks"))
    assert "collections were not looked at" in cli("acceptance", "--clean-up").err
    assert removed(api) == []


def test_what_cannot_be_listed_at_first_is_not_removed_without_a_question(
    cli: Cli, deployed: GoodAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    deleted: list[str] = []
    answers = [ServiceUnavailableError("S3 does not answer")]

    def keys(_: str, prefix: str) -> list[str]:
        if ".datasets/" in prefix:
            if answers:
                raise answers.pop()
            return [f"{prefix}{LEFT}dataset/rows.parquet"]
        return []

    monkeypatch.setattr(deployed, "keys", keys)
    monkeypatch.setattr(deployed, "delete", lambda _, found: deleted.extend(found))
    done = cli("acceptance", "--clean-up")
    assert "objects of datasets: they cannot be listed now" in done.err
    assert (done.code, deleted) == (130, [])
    assert "Nothing was removed." in done.err


def test_cleaning_up_is_no_reading(api: FakeApi, cli: Cli) -> None:
    api.backups = {f"{LEFT}full": backup(f"{LEFT}full")}
    done = cli("acceptance", "--clean-up", "--read-only", "--yes")
    assert done.code == 2
    assert "--read-only changes nothing" in done.err
    assert api.asked == []


def test_what_one_left_that_was_killed_is_removed(api: FakeApi, cli: Cli) -> None:
    name = "vault_acceptance_0a1b2c3d_full"
    api.backups = {name: backup(name), "nightly": backup("nightly")}
    done = cli("-o", "json", "acceptance", "--clean-up", "--yes")
    # There is no Milvus to look for collections in, which is said.
    assert done.code == 1
    assert "collections were not looked at" in done.document["problems"][0]
    assert [asked.body["backup_names"] for asked in api.asked if asked.path.endswith("/prune")] == [[name]]


def test_on_a_terminal_only_failures_have_more_than_a_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trying, "items", lambda: (BROKEN, *ITEMS))
    for name, value in {"FORCE_COLOR": "1", "TERM": "dumb", "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)
    lines = [line.rstrip() for line in cli("acceptance", "--yes").out.splitlines()]
    assert lines[:2] == ["✓ well: all of it", "- elsewhere: not in this account"]
    assert lines[3:5] == ["✗ broken: alice broke backups", "  took 0.0 s. Mend it."]
