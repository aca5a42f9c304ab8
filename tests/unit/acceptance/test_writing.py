"""Items that make something, each with an answer that must fail it."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from itertools import count
from typing import Any
from unittest.mock import Mock

import pytest

from milvus_vault.acceptance.account import FUNCTION, Entered, Execution
from milvus_vault.acceptance.items import Finding, items
from milvus_vault.acceptance.trial import Trial
from milvus_vault.client import VaultClient
from milvus_vault.model.resources import Run, Started
from tests.support.fake_api import FakeApi, backup, run
from tests.unit.acceptance.conftest import BEGAN, TOPIC, GoodAccount

BY_NAME = {one.name: one for one in items()}
NAME = "vault_acceptance_0a1b2c3d_"


@pytest.fixture
def writing(api: FakeApi, account: GoodAccount) -> Trial:
    """Return a trial that writes, with an existing collection."""
    vault = VaultClient(api.url, account.session)
    return Trial(vault, account, NAME, "marked-1", may_write=True, selected="default.small", began=BEGAN)


def found(name: str, trial: Trial) -> Finding:
    return BY_NAME[name].run(trial)


def ends(account: GoodAccount, monkeypatch: pytest.MonkeyPatch, *ended: tuple[str, str]) -> None:
    """Let executions end so, one after the other."""
    left = [Execution(f"arn:{number}", *how, "", {}) for number, how in enumerate(ended)]
    started = count()
    monkeypatch.setattr(account, "start", lambda *_: f"arn:{next(started)}")
    monkeypatch.setattr(account, "wait", lambda *_: left.pop(0))


@pytest.mark.parametrize(
    ("name", "ended", "verdict"),
    [
        ("error_names", [("FAILED", "InvalidRequestError"), ("FAILED", "BackupNotFoundError")], "passed"),
        ("error_names", [("FAILED", "States.BranchFailed"), ("FAILED", "BackupNotFoundError")], "failed"),
        ("error_names", [("FAILED", "InvalidRequestError"), ("SUCCEEDED", "")], "failed"),
        ("backup_exists", [("FAILED", "BackupExistsError")], "passed"),
        ("backup_exists", [("TIMED_OUT", "States.Timeout")], "failed"),
        ("claims", [("FAILED", "BackupInProgressError"), ("SUCCEEDED", "")], "passed"),
        ("claims", [("SUCCEEDED", ""), ("SUCCEEDED", "")], "failed"),
    ],
)
def test_executions_must_end_by_their_names(
    name: str, ended: list[tuple[str, str]], verdict: str, account: GoodAccount, writing: Trial,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    ends(account, monkeypatch, *ended)
    monkeypatch.setattr(account, "keys", lambda *_: ["failures/0.json", "failures/1.json"])
    assert found(name, writing).verdict == verdict


@pytest.mark.parametrize("records", [[], ["failures/last-month.json", "failures/1.json"]])
def test_without_a_failure_record_of_these_executions_the_names_are_not_enough(
    records: list[str], account: GoodAccount, writing: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends(account, monkeypatch, ("FAILED", "InvalidRequestError"), ("FAILED", "BackupNotFoundError"))
    monkeypatch.setattr(account, "keys", lambda *_: records)
    assert "no failure record" in found("error_names", writing).evidence


def line(key: str, size: int, etag: str, checksum: str) -> str:
    return json.dumps([key, "files/1", size, etag, checksum])


@pytest.mark.parametrize(
    ("recorded", "said"),
    [
        (line("a/1", 10, "e", "CRC64NVME:x"), ""),
        (line("a/1", 10, "e", ""), ""),
        (line("a/1", 11, "e", ""), "has 10 bytes, not 11"),
        (line("a/1", 10, "f", ""), "another ETag"),
        (line("a/1", 10, "e", "CRC64NVME:y"), "another CRC64NVME"),
        (line("a/1", 10, "e", "SHA256:x"), "another SHA256"),
    ],
)
def test_what_was_recorded_of_copies_must_be_what_s3_tells(
    recorded: str, said: str, account: GoodAccount, writing: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: Mapping[str, Any] = {"ContentLength": 10, "ETag": '"e"', "ChecksumCRC64NVME": "x"}
    monkeypatch.setattr(account, "keys", lambda *_: ["objects/1.jsonl"])
    monkeypatch.setattr(account, "read", lambda *_: recorded.encode())
    monkeypatch.setattr(account, "head", lambda *_: told)
    finding = found("checksums", writing)
    assert (finding.verdict == "failed") is bool(said)
    assert said in finding.evidence


def test_a_marker_must_be_encrypted_with_the_stack_s_key(
    account: GoodAccount, writing: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = account.stack.parameters["KmsKeyArn"]
    for told, verdict in (
        ({"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key, "BucketKeyEnabled": True}, "passed"),
        ({"ServerSideEncryption": "AES256"}, "failed"),
    ):
        monkeypatch.setattr(account, "head", lambda *_, told=told: told)
        assert found("encryption", writing).verdict == verdict


def test_a_password_or_a_row_in_a_log_fails_and_is_not_quoted(
    account: GoodAccount, writing: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.stack = account.stack.__class__(
        "vault", "CREATE_COMPLETE", {"MilvusSecretArn": "arn"}, account.stack.outputs, account.stack.resources
    )
    monkeypatch.setattr(account, "secret", lambda _: {"username": "root", "password": "hunter2"})
    lines = {f"{NAME}full": 9, "marked-1": 0, "hunter2": 0}
    monkeypatch.setattr(account, "log_lines", lambda *_: lines)
    assert found("rows_are_in_no_log", writing).evidence == "looked for a text of the rows, the password"
    lines |= {"hunter2": 2}
    finding = found("rows_are_in_no_log", writing)
    assert (finding.verdict, finding.evidence) == ("failed", "2 lines have the password")
    # Milvus' default password is in the name of our metrics, which each function logs.
    monkeypatch.setattr(account, "secret", lambda _: {"username": "root", "password": "Milvus"})
    assert found("rows_are_in_no_log", writing).evidence == "looked for a text of the rows"


def test_a_search_that_finds_nothing_at_all_proves_nothing(
    account: GoodAccount, writing: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trial, "until", lambda *_: False)
    monkeypatch.setattr(account, "log_lines", lambda _, texts, __: dict.fromkeys(texts, 0))
    assert found("rows_are_in_no_log", writing).verdict == "not_possible"


def test_maps_must_have_done_all_of_their_items(
    account: GoodAccount, writing: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = {"total": 3, "succeeded": 3, "failed": 0, "aborted": 0, "timedOut": 0}
    for changed, verdict in (({}, "passed"), ({"succeeded": 2, "failed": 1}, "failed"), ({"succeeded": 2}, "failed")):
        monkeypatch.setattr(account, "map_runs", lambda *_, changed=changed: [counts | changed])
        assert found("distributed_maps", writing).verdict == verdict
    monkeypatch.setattr(account, "map_runs", lambda *_: [])
    assert found("distributed_maps", writing).verdict == "not_possible"


def test_more_transitions_than_were_foreseen_fail(
    account: GoodAccount, writing: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account, "executions_since", lambda *_: ["arn"])
    assert found("transitions", writing).evidence.startswith(
        "117 transitions of 400 foreseen, 45 calls of functions, 0.29 cents"
    )
    monkeypatch.setattr(account, "entered", lambda _: Entered(100, 5))
    assert found("transitions", writing).verdict == "failed"


@pytest.mark.parametrize(
    ("calls", "milliseconds", "verdict", "said"),
    [
        ((40, 60, 100, 0), (0, 0, 0, 300_000), "passed", "200 calls by the state machines of 200 foreseen, 600 GB"),
        ((40, 60, 301, 0), (0, 0, 0, 0), "failed", "401 calls"),
        ((40, 0, 0, 0), (300_000, 300_000, 1000, 0), "failed", "1202 GB-seconds of 600"),
        ((0, 0, 0, 0), (0, 0, 0, 0), "not_possible", "has counted no call"),
    ],
)
def test_the_time_of_functions_is_what_was_foreseen(
    calls: tuple[int, ...], milliseconds: tuple[int, ...], verdict: str, said: str, account: GoodAccount,
    writing: Trial, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    told = {"Invocations": calls, "Duration": milliseconds}
    monkeypatch.setattr(account, "sums", lambda _, wanted, __: [float(n) for n in told[wanted[0][0]]])
    monkeypatch.setattr(Trial, "until", lambda _, __, look: look())
    finding = found("function_time", writing)
    assert (finding.verdict, said in finding.evidence) == (verdict, True), finding.evidence


def test_calls_of_the_api_are_told_and_not_judged(
    account: GoodAccount, writing: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.stack = replace(account.stack, resources={**account.stack.resources, "ApiFunction": (FUNCTION, "api")})
    monkeypatch.setattr(
        account, "sums", lambda _, wanted, __: [9000.0 * (d["FunctionName"] == "api") for _, d in wanted]
    )
    monkeypatch.setattr(account, "function", lambda _: ("Active", "arm64", 1))
    assert "0 calls by the state machines" in found("function_time", writing).evidence
    assert "9000 calls by the API" in found("function_time", writing).evidence


def test_cloudwatch_has_counted_once_it_has_the_calls_by_the_machines_whatever_the_api_was_asked(
    account: GoodAccount, writing: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.stack = replace(account.stack, resources={**account.stack.resources, "ApiFunction": (FUNCTION, "api")})
    monkeypatch.setattr(account, "executions_since", lambda *_: ["arn"])
    looks: list[bool] = []
    monkeypatch.setattr(Trial, "until", lambda _, __, look: looks.append(look()))
    # Of nine machines, each of which has had five functions called.
    for by_machines in (44.0, 45.0):
        counts = {"api": 9000.0, "vault-PlanCopyFunction": by_machines}
        monkeypatch.setattr(
            account,
            "sums",
            lambda _, wanted, __, counts=counts: [counts.get(where["FunctionName"], 0.0) for _, where in wanted],
        )
        found("function_time", writing)
    assert looks == [False, True]


@pytest.mark.parametrize(
    ("filtered", "counts", "verdict", "said"),
    [
        ("", (), "not_possible", "no request metrics"),
        ("all", (0, 0, 0), "not_possible", "has counted no request"),
        ("all", (1000, 0, 400), "passed", "1400 requests of 1500 foreseen, 0.70 cents"),
        ("all", (1, 0, 400), "failed", "1 PUTs were counted"),
        ("all", (2000, 1, 1000), "failed", "3001 requests, 1500 foreseen"),
    ],
)
def test_the_requests_that_s3_counted_are_those_that_were_foreseen(
    filtered: str, counts: tuple[int, ...], verdict: str, said: str, account: GoodAccount, writing: Trial,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(account, "request_filter", lambda *_: filtered)
    monkeypatch.setattr(account, "sums", lambda *_: [float(n) for n in counts])
    monkeypatch.setattr(Trial, "until", lambda _, __, look: look())
    finding = found("requests", writing)
    assert (finding.verdict, said in finding.evidence) == (verdict, True), finding.evidence


def test_an_estimate_that_is_not_what_was_copied_fails(writing: Trial) -> None:
    told = writing.vault.estimate()
    result = {"object_count": told.object_count, "size_bytes": told.size_bytes}
    writing.runs.append(run("backup-1", result=result))
    assert found("estimate_is_right", writing).verdict == "passed"
    writing.runs[:] = [run("backup-1", result=result | {"object_count": 1})]
    assert "1 objects were copied" in found("estimate_is_right", writing).evidence


@pytest.mark.parametrize(
    ("before", "set_to"),
    [
        ("OK", ["ALARM", "OK"]),
        ("INSUFFICIENT_DATA", ["ALARM", "INSUFFICIENT_DATA"]),
        ("ALARM", ["OK", "ALARM", "ALARM"]),
    ],
)
def test_an_alarm_that_tells_nobody_fails_and_is_set_back_to_what_it_was(
    before: str, set_to: list[str], account: GoodAccount, writing: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = [before]
    monkeypatch.setattr(account, "set_alarm", lambda _, state, __: states.append(state))
    monkeypatch.setattr(account, "alarm", lambda _: (states[-1], [TOPIC]))
    told: list[tuple[str, str]] = [("Action", f"Successfully executed action {TOPIC}")]
    asked: list[datetime] = []

    def history(_: str, since: datetime) -> list[tuple[str, str]]:
        asked.append(since)
        return told

    monkeypatch.setattr(account, "alarm_history", history)
    assert found("alarm_is_set_off", writing).verdict == "passed"
    told[:] = [("Action", f"Failed to execute action {TOPIC}")]
    monkeypatch.setattr(Trial, "until", lambda _, __, look: look())
    assert found("alarm_is_set_off", writing).verdict == "failed"
    assert states[1:] == set_to * 2
    assert set(asked) == {writing.began}


def test_the_schedule_comes_late_and_what_it_makes_does_not_stay(api: FakeApi, writing: Trial) -> None:
    assert found("schedules_are_made", writing).verdict == "passed"
    assert api.schedules[f"{NAME}minutes"].request.expire_after == "1d"
    # It would make runs beside those of other items.
    order = [one.name for one in items() if not one.is_manual]
    assert order.index("schedules_are_made") > max(order.index(name) for name in order if not BY_NAME[name].is_late)


def test_an_existing_collection_is_not_restored_beside_itself(api: FakeApi, writing: Trial) -> None:
    assert found("restore", writing).verdict == "not_possible"
    assert api.asked == []


def test_a_dry_run_that_deletes_fails_and_another_acceptance_may_clean_up_meanwhile(
    api: FakeApi, writing: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_another = "vault_acceptance_99999999_full"
    api.backups = {name: backup(name) for name in ("nightly", f"{NAME}full", of_another)}
    waited = writing.wait
    deleted = [of_another]

    def delete_meanwhile(_: Trial, started: Started) -> Run:
        for name in deleted:
            api.backups.pop(name, None)
        return waited(started)

    monkeypatch.setattr(Trial, "wait", delete_meanwhile)
    assert found("prune_would", writing).verdict == "passed"
    deleted[:] = ["nightly", f"{NAME}full"]
    assert "2 backups are gone" in found("prune_would", writing).evidence


def test_times_are_told_by_kind(writing: Trial) -> None:
    writing.runs += [run("backup-1"), run("backup-2")]
    assert found("times", writing).evidence == "backup 12.0 to 12.0 s"


@pytest.mark.parametrize(
    ("ended", "verdict"),
    [
        ([("ABORTED", ""), ("SUCCEEDED", "")], "passed"),
        ([("ABORTED", ""), ("FAILED", "States.Runtime")], "failed"),
        ([("SUCCEEDED", "")], "not_possible"),
    ],
)
def test_a_stopped_execution_that_is_redriven_must_succeed(
    ended: list[tuple[str, str]], verdict: str, account: GoodAccount, writing: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    redriven: list[str] = []
    ends(account, monkeypatch, *ended)
    monkeypatch.setattr(account, "stop", lambda _: None)
    monkeypatch.setattr(account, "redrive", redriven.append)
    assert found("redrive", writing).verdict == verdict
    assert len(redriven) == len(ended) - 1


def test_a_run_that_is_stopped_must_say_so_and_be_done_when_started_again(
    api: FakeApi, account: GoodAccount, writing: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account, "stop", lambda _: None)
    outcomes = [("stopped", "RunStoppedError"), ("succeeded", ""), ("failed", "RunTimedOutError"), ("succeeded", "")]
    left = iter(outcomes)

    def ended(_: Trial, started: Started) -> Run:
        status, error = next(left)
        return run(started.id, status, error=error)

    monkeypatch.setattr(Trial, "wait", ended)
    assert found("stop_and_start_again", writing).verdict == "passed"
    assert "the stopped run is told as failed RunTimedOutError" in found("stop_and_start_again", writing).evidence
    assert len([asked for asked in api.asked if asked.path == "/live/backups"]) == len(outcomes)
    # Copies of others go on.
    left = iter(outcomes)
    monkeypatch.setattr(account, "children_running", lambda _, parent, __: [parent])
    assert found("stop_and_start_again", writing).evidence == "1 copies go on"


def test_of_what_is_left_of_drills_only_that_of_this_one_counts(
    api: FakeApi, account: GoodAccount, writing: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, other = "vault_drill_0a1b2c3d4e5f", "vault_drill_a1b2c3d4e5f0"
    drilled = run("drill-1", result={"row_count": 1, "compared_count": 1, "database": own})
    notes: dict[str, bytes | None] = {"scratch/1": b'{"execution_arn": "arn:other"}', "scratch/2": None}
    databases = ["default", other]
    api.backups = {f"{NAME}full": backup(f"{NAME}full")}
    monkeypatch.setattr(Trial, "wait", lambda *_: drilled)
    monkeypatch.setattr(account, "keys", lambda _, prefix: list(notes) if prefix.endswith("/scratch/") else [])
    monkeypatch.setattr(account, "find", lambda _, key: notes[key])
    writing.scratch = Mock(databases=lambda: databases)
    assert found("drill", writing).verdict == "passed"
    databases.append(own)
    assert found("drill", writing).evidence == "its scratch database is left"
    databases.remove(own)
    notes["scratch/2"] = json.dumps({"execution_arn": drilled.execution_arn}).encode()
    assert found("drill", writing).evidence == "the note of its scratch database is left"
