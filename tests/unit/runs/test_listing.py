from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvus_vault.errors import InvalidRequestError
from milvus_vault.model.resources import RunStatus
from milvus_vault.runs.listing import list_runs
from tests.support.fake_machines import FakeMachines, machines

FIRST = datetime.fromisoformat("2026-11-22T03:00:00Z")


def states_with(kinds: list[str]) -> FakeMachines:
    """Return one execution for each kind, a second apart."""
    states = FakeMachines()
    for number, kind in enumerate(kinds):
        states.add(kind, f"e{number}", FIRST + timedelta(seconds=number))
    return states


def names(states: FakeMachines, *, limit: int, status: RunStatus | None = None, interrupt: bool = False) -> list[str]:
    """Return the IDs of all runs, page by page; `interrupt` starts one between two pages."""
    found: list[str] = []
    token = None
    while True:
        page = list_runs(machines(states), limit=limit, token=token, status=status)
        assert len(page.items) <= limit
        found += [run.id for run in page.items]
        token = page.next_token
        if token is None:
            return found
        if interrupt:
            states.add("backup", f"new{len(found)}", FIRST + timedelta(days=1, seconds=len(found)))


@given(
    st.lists(st.sampled_from(["backup", "restore", "verify", "prune", "export", "drill"]), max_size=30),
    st.integers(1, 7),
)
def test_pages_put_together_are_all_runs_newest_first(kinds: list[str], limit: int) -> None:
    newest_first = [f"{kind}-e{number}" for number, kind in reversed(list(enumerate(kinds)))]
    assert names(states_with(kinds), limit=limit) == newest_first


def test_more_runs_than_one_page_of_step_functions_are_all_found() -> None:
    kinds = ["backup", "prune"] * 150
    assert len(set(names(states_with(kinds), limit=100))) == 300


@given(st.lists(st.sampled_from(["backup", "restore"]), min_size=1, max_size=20), st.integers(1, 4))
def test_a_run_that_starts_between_two_pages_shifts_nothing(kinds: list[str], limit: int) -> None:
    newest_first = [f"{kind}-e{number}" for number, kind in reversed(list(enumerate(kinds)))]
    found = names(states_with(kinds), limit=limit, interrupt=True)
    assert [name for name in found if "-e" in name] == newest_first


def test_partial_and_failed_runs_are_told_apart() -> None:
    states = FakeMachines()
    for number in range(30):
        error = "BackupPartialError" if number % 3 else "StorageAccessDeniedError"
        states.add("backup", f"e{number}", FIRST + timedelta(seconds=number), "FAILED", error)
    assert names(states, limit=4, status="failed") == [f"backup-e{n}" for n in range(29, -1, -1) if n % 3 == 0]
    assert len(names(states, limit=100, status="partial")) == 20


def test_each_run_on_a_page_costs_one_call() -> None:
    states = states_with(["backup"] * 100)
    list_runs(machines(states), limit=20)
    assert states.described == 20


def test_each_run_says_which_backup_and_schedule_and_why_it_failed() -> None:
    states = FakeMachines()
    inputs = {
        "backup": ('{"backup_name": "b", "schedule": {"name": "nightly"}}', "b", "nightly"),
        "restore": ('{"backup_name": "b", "suffix": "_x"}', "b", None),
        "verify": ('{"backup_name": "b"}', "b", None),
        "prune": ('{"backup_names": ["b"], "export_name": "c"}', "b", None),
        "export": ('{"backup_name": "b", "export_name": "c"}', "b", None),
    }
    for number, (kind, (text, _, _)) in enumerate(inputs.items()):
        states.add(kind, "e", FIRST + timedelta(seconds=number), "FAILED", "ImportFailedError", text)
    found = {run.kind: (run.backup_name, run.schedule) for run in list_runs(machines(states), limit=9).items}
    assert found == {kind: told[1:] for kind, told in inputs.items()}
    exports = {run.kind: run.export_name for run in list_runs(machines(states), limit=9).items}
    assert exports == dict.fromkeys(inputs) | {"export": "c"}
    assert {run.error for run in list_runs(machines(states), limit=9).items} == {"ImportFailedError"}


@pytest.mark.parametrize("text", ["[]", "3", "{", '{"schedule": 3, "backup_names": 3}', '{"backup_names": [1, 2]}'])
def test_an_input_that_says_nothing_hides_no_run(text: str) -> None:
    states = FakeMachines()
    for number, kind in enumerate(("backup", "prune", "verify")):
        states.add(kind, "e", FIRST + timedelta(seconds=number), given=text)
    assert len(list_runs(machines(states), limit=9).items) == 3


@pytest.mark.parametrize("token", ["x", "bnVsbA==", "ä"])
def test_a_token_that_is_none_is_refused(token: str) -> None:
    with pytest.raises(InvalidRequestError):
        list_runs(machines(FakeMachines()), limit=1, token=token)
