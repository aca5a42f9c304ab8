"""Items are tried one after the other, whatever becomes of one, and what was made is removed in every case."""

import json
from collections.abc import Callable
from dataclasses import replace
from unittest.mock import Mock

import pytest

from milvus_vault.acceptance import trying
from milvus_vault.acceptance.items import Finding, Item, Need, items, passed
from milvus_vault.acceptance.trial import Trial
from milvus_vault.acceptance.trying import CLEAN_UP, conduct, leftovers
from milvus_vault.client import VaultClient
from milvus_vault.drills.scratch import Scratch
from milvus_vault.errors import ApiUnavailableError, BackupDamagedError, MilvusRequestError
from milvus_vault.model.names import ACCEPTANCE_PREFIX, drill_database, temporary_name, temporary_prefix
from milvus_vault.model.resources import ScheduleSpec
from tests.support.fake_api import FakeApi, backup, problem, run
from tests.unit.acceptance.conftest import GoodAccount

OTHERS = ("nightly", "vault_acceptance_notes", f"{ACCEPTANCE_PREFIX}0a1b2c3")


def one(name: str, does: Callable[[Trial], Finding], *needs: Need, after: str = "") -> Item:
    return Item(name, 1, f"{name}.", does, frozenset(needs), after)


def stop(_: Trial) -> Finding:
    raise KeyboardInterrupt


def break_down(_: Trial) -> Finding:
    msg = "the backup is damaged"
    raise BackupDamagedError(msg, hint="Make another one.")


@pytest.fixture
def writing(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> Trial:
    """Return a trial that writes, with an existing collection, and no Milvus."""
    monkeypatch.setattr(
        trying, "connect_scratch", lambda given, *_: setattr(given, "scratch_problem", "no Milvus here")
    )
    trial.may_write, trial.selected = True, "default.small"
    return trial


def told(trial: Trial, monkeypatch: pytest.MonkeyPatch, *tried: Item) -> dict[str, tuple[str, str]]:
    monkeypatch.setattr(trying, "items", lambda: tried)
    return {found.name: (found.verdict, found.evidence) for found in conduct(trial).items}


def test_an_item_that_fails_has_the_name_of_the_error_and_the_next_is_tried(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = told(trial, monkeypatch, one("a", break_down), one("b", lambda _: passed("well")))
    assert found == {"a": ("failed", "BackupDamagedError: the backup is damaged"), "b": ("passed", "well")}


@pytest.mark.parametrize(
    ("bug", "said"),
    [
        (lambda trial: passed(trial.stack.outputs["Gone"]), "KeyError: 'Gone'"),
        (lambda _: passed(str(int("many"))), "ValueError: invalid literal"),
        (lambda _: passed(json.loads('"*"').Service), "AttributeError: 'str' object"),
    ],
)
def test_an_item_that_does_not_understand_what_it_sees_fails_and_the_next_is_tried(
    bug: Callable[[Trial], Finding], said: str, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = told(trial, monkeypatch, one("a", bug), one("b", lambda _: passed("well")))
    assert found["a"][0] == "failed"
    assert found["a"][1].startswith(said)
    assert found["b"] == ("passed", "well")


def test_what_cannot_be_understood_keeps_nothing_else_from_being_removed(
    api: FakeApi, account: GoodAccount, trial: Trial
) -> None:
    spread(api, trial)
    without = {key: value for key, value in account.stack.outputs.items() if key != "BackupPrefix"}
    account.stack = replace(account.stack, outputs=without)
    assert trial.clean_up() == ["KeyError: 'BackupPrefix'"]
    assert f"{trial.name}minutes" not in left(trial)
    assert [asked.path for asked in api.asked if asked.method == "POST"] == ["/live/prune"]


def test_what_follows_on_a_failure_is_not_possible(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    found = told(trial, monkeypatch, one("a", break_down), one("b", lambda _: passed("well"), after="a"))
    assert found["b"] == ("not_possible", "it looks at what a makes, which failed")


def test_where_only_reading_was_asked_for_nothing_is_made(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    found = told(trial, monkeypatch, one("a", break_down, Need.WRITES))
    assert found == {"a": ("not_possible", "it writes, and only reading was asked for")}


def test_without_milvus_only_what_needs_it_is_left_out(writing: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = (one("a", break_down, Need.MILVUS), one("b", lambda _: passed("well"), Need.COLLECTION))
    found = told(writing, monkeypatch, *tried)
    assert (found["a"], found["b"]) == (("not_possible", "no Milvus here"), ("passed", "well"))
    writing.selected = ""
    assert told(writing, monkeypatch, *tried)["b"] == ("not_possible", "no Milvus here")


def spread(api: FakeApi, trial: Trial) -> None:
    """Let the API have what a trial has made, beside what others have."""
    api.backups = {name: backup(name) for name in (f"{trial.name}full", *OTHERS)}
    for name in (f"{trial.name}minutes", "nightly"):
        trial.vault.put_schedule(name, ScheduleSpec(expression="rate(1 day)"))


def left(trial: Trial) -> set[str]:
    backups, schedules = trial.vault.list_backups(), trial.vault.list_schedules()
    return {*(found.name for found in backups), *(found.name for found in schedules)}


@pytest.mark.parametrize("last", [stop, break_down, lambda _: passed("well")], ids=["Ctrl-C", "failed", "passed"])
def test_whatever_happens_all_that_was_made_is_removed_and_nothing_else(
    last: Callable[[Trial], Finding], api: FakeApi, writing: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(trial: Trial) -> Finding:
        spread(api, trial)
        return passed("made")

    found = told(writing, monkeypatch, one("a", make, Need.WRITES), one("b", last))
    assert found[CLEAN_UP] == ("passed", "nothing of it is left")
    deleted = [asked.body["backup_names"] for asked in api.asked if asked.path.endswith("/prune")]
    assert deleted == [[f"{writing.name}full"]]
    assert "nightly" in left(writing)
    assert f"{writing.name}minutes" not in left(writing)
    assert ("b" in found) is (last is not stop)


def test_after_an_interruption_it_is_not_whole_and_not_ok(writing: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trying, "items", lambda: (one("a", stop),))
    report = conduct(writing)
    assert (report.is_whole, report.is_ok) == (False, False)


def test_what_cannot_be_removed_is_told(api: FakeApi, writing: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    api.backups = {f"{writing.name}full": backup(f"{writing.name}full")}
    api.outcomes["prune"] = {"status": "failed", "error": "PruneFailedError", "message": "no"}
    verdict, evidence = told(writing, monkeypatch)[CLEAN_UP]
    assert verdict == "failed"
    assert f"{writing.name}full" in evidence
    assert "PruneFailedError" in evidence


def test_what_another_trial_left_is_removed_and_nothing_that_is_called_alike(
    api: FakeApi, trial: Trial, account: GoodAccount
) -> None:
    spread(api, trial)
    assert leftovers(VaultClient(api.url, account.session), account).clean_up() == []
    assert [asked.body["backup_names"] for asked in api.asked if asked.path.endswith("/prune")] == [
        [f"{trial.name}full"]
    ]


def test_an_api_that_is_away_fails_the_items_that_ask_it_and_no_other(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> object:
        msg = "the API cannot be reached"
        raise ApiUnavailableError(msg)

    monkeypatch.setattr(trial.vault, "check", refuse)
    found = {one.name: one.verdict for one in conduct(trial).items}
    assert (found["connections"], found["definitions"], found["trust"]) == ("failed", "passed", "passed")


def test_every_item_has_a_name_a_sentence_and_comes_after_what_it_needs() -> None:
    before: set[str] = set()
    for found in items():
        assert found.proves.endswith(".")
        assert found.name not in before
        assert not found.after or found.after in before
        before.add(found.name)


def test_an_item_of_a_run_that_failed_says_why(api: FakeApi, writing: Trial) -> None:
    api.outcomes["backup"] = {"status": "failed", "error": "FlushTimeoutError", "message": "too slow", "hint": "Wait."}
    found = next(one for one in items() if one.name == "backup").run(writing)
    assert (found.verdict, found.hint) == ("failed", "Wait.")
    assert "FlushTimeoutError: too slow" in found.evidence


def test_a_refusal_of_the_api_has_its_name(api: FakeApi, writing: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    backup_item = next(one for one in items() if one.name == "backup")
    api.answers.append(problem("BackupExistsError", "it is there"))
    assert told(writing, monkeypatch, backup_item)["backup"] == ("failed", "BackupExistsError: it is there")


def test_runs_that_go_on_are_stopped(api: FakeApi, trial: Trial) -> None:
    api.runs["backup-9"] = [run("backup-9", "running", backup_name=f"{trial.name}stopped")]
    api.runs["backup-8"] = [run("backup-8", "running", backup_name="nightly")]
    trial.clean_up()
    assert [asked.path for asked in api.asked if asked.method == "DELETE"] == ["/live/runs/backup-9"]


def test_what_makes_more_is_removed_first(api: FakeApi, trial: Trial) -> None:
    spread(api, trial)
    api.runs["backup-9"] = [run("backup-9", "running", backup_name=f"{trial.name}stopped")]
    api.asked.clear()
    assert trial.clean_up() == []
    assert [asked.path for asked in api.asked if asked.method in {"DELETE", "POST"}] == [
        f"/live/schedules/{trial.name}minutes",
        "/live/runs/backup-9",
        "/live/prune",
    ]


def test_more_backups_than_one_prune_takes_are_deleted_by_several(api: FakeApi, trial: Trial) -> None:
    names = [f"{trial.name}{number}" for number in range(1001)]
    api.backups = {name: backup(name) for name in names}
    assert trial.clean_up() == []
    deleted = [asked.body["backup_names"] for asked in api.asked if asked.path.endswith("/prune")]
    assert deleted == [names[:1000], names[1000:]]


def test_what_is_left_of_runs_that_were_stopped_is_said(
    api: FakeApi, writing: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(trial: Trial) -> Finding:
        for kind in ("backup", "drill"):
            api.runs[f"{kind}-9"] = [run(f"{kind}-9", "running", backup_name=f"{trial.name}full")]
        raise KeyboardInterrupt

    verdict, said = told(writing, monkeypatch, one("a", interrupted))[CLEAN_UP]
    assert verdict == "passed"
    assert said.split("; ") == [
        "objects of incremental backups go from the pool with the daily prune",
        "the scratch database of a stopped drill goes with the next drill",
    ]


def test_what_a_stopped_restore_staged_is_removed_and_no_other_s(
    trial: Trial, account: GoodAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, other = (
        f"staging/restore-{trial.name}full-1/2/insert_log",
        f"staging/restore-{ACCEPTANCE_PREFIX}notes-1/2/insert_log",
    )
    deleted: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(account, "keys", lambda bucket, _: [own, other] if bucket == "milvus" else [])
    monkeypatch.setattr(account, "delete", lambda bucket, keys: deleted.append((bucket, list(keys))))
    assert trial.clean_up() == []
    assert deleted == [("milvus", [own])]


RESTORES = "milvus-vault/.runs/restore-"
DRILL_RESTORE = f"restore-{ACCEPTANCE_PREFIX}0a1b2c3d_full-2"


def note(database: str, restore_run: str = DRILL_RESTORE, *, is_made: bool = True, arn: str = "") -> bytes:
    """Return what a drill writes down of its scratch database."""
    scratch = Scratch(
        database=database,
        milvus="m",
        execution_arn=arn,
        collection_prefix="drill_1_",
        restore_run=restore_run,
        is_made=is_made,
    )
    return scratch.model_dump_json().encode()


def interrupted_in_milvus(trial: Trial, account: GoodAccount, monkeypatch: pytest.MonkeyPatch) -> Mock:
    """Let a restore and a drill of the trial have been stopped beside others, and return the Milvus."""
    own, other = f"restore-{trial.name}full-1", "restore-nightly-1"
    keys = [f"{RESTORES}{trial.name}full-1/plan.json", f"{RESTORES}nightly-1/plan.json", *NOTES]
    monkeypatch.setattr(account, "keys", lambda _, prefix: [key for key in keys if key.startswith(prefix)])
    monkeypatch.setattr(account, "find", lambda _, key: NOTES[key])
    collections = [temporary_name(run, 0, 1) for run in (own, other)]
    trial.scratch = Mock(
        collections=lambda: collections, databases=lambda: ["default", "vault_drill_1", "vault_drill_2"]
    )
    return trial.scratch


NOTES = {
    "milvus-vault/.runs/scratch/1.json": note("vault_drill_1"),
    "milvus-vault/.runs/scratch/2.json": note("vault_drill_2", "restore-nightly-2"),
    # Deleted meanwhile.
    "milvus-vault/.runs/scratch/3.json": None,
}


@pytest.mark.parametrize("is_of_any", [False, True])
def test_what_a_stopped_restore_or_drill_left_in_milvus_is_dropped_and_no_other_s(
    is_of_any: bool, trial: Trial, account: GoodAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    milvus = interrupted_in_milvus(trial, account, monkeypatch)
    cleaning = leftovers(trial.vault, account) if is_of_any else trial
    cleaning.scratch = milvus
    temporary = temporary_name(f"restore-{trial.name}full-1", 0, 1)
    assert cleaning.left() == {
        "collections of stopped restores": [temporary],
        "databases of stopped drills": ["vault_drill_1"],
    }
    assert cleaning.clean_up() == []
    milvus.drop.assert_called_once_with([temporary])
    milvus.drop_database.assert_called_once_with("vault_drill_1", ("drill_1_", temporary_prefix(DRILL_RESTORE)))


def test_a_database_that_a_drill_may_not_have_made_is_left(
    trial: Trial, account: GoodAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = drill_database("arn")
    notes = {
        "milvus-vault/.runs/scratch/1.json": note("chosen", is_made=False, arn="arn"),
        "milvus-vault/.runs/scratch/2.json": note(own, is_made=False, arn="arn"),
    }
    monkeypatch.setattr(account, "keys", lambda _, prefix: [key for key in notes if key.startswith(prefix)])
    monkeypatch.setattr(account, "find", lambda _, key: notes[key])
    trial.scratch = Mock(collections=list, databases=lambda: ["chosen", own])
    assert trial.left() == {"databases of stopped drills": [own]}


def test_a_milvus_that_lists_no_databases_is_not_asked_where_no_drill_left_one(
    trial: Trial, account: GoodAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = note("vault_drill_2", "restore-nightly-2")
    monkeypatch.setattr(account, "keys", lambda _, prefix: [prefix + "2.json"] if "scratch" in prefix else [])
    monkeypatch.setattr(account, "find", lambda *_: others)
    refusal = MilvusRequestError("Milvus refuses to list databases: unimplemented")
    trial.scratch = Mock(collections=list, databases=Mock(side_effect=refusal))
    assert trial.clean_up() == []


def test_where_milvus_is_not_reached_it_is_said_what_stays_in_it(api: FakeApi, trial: Trial) -> None:
    for kind in ("restore", "drill"):
        api.runs[f"{kind}-9"] = [run(f"{kind}-9", "running", backup_name=f"{trial.name}full")]
    trial.clean_up()
    assert "vault_restoring_… of a stopped restore are yours to drop" in trial.later()
    assert "goes with the next drill" in trial.later()
    trial.scratch = Mock()
    assert trial.later() == ""


def test_what_a_stopped_backup_had_copied_is_removed(
    trial: Trial, account: GoodAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, others = f"milvus-vault/{trial.name}stopped/binlogs/1", ["milvus-vault/nightly/meta/backup_meta.json"]
    deleted: list[str] = []
    monkeypatch.setattr(account, "keys", lambda _, prefix: [key for key in (own, *others) if key.startswith(prefix)])
    monkeypatch.setattr(account, "delete", lambda _, keys: deleted.extend(keys))
    assert trial.clean_up() == []
    assert deleted == [own]
