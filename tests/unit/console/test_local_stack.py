"""A console that outlives the local stack it was started for says what became of that."""

import pytest

from milvus_vault.client import VaultClient
from milvus_vault.client.local_state import LocalState
from milvus_vault.console import app
from milvus_vault.errors import ApiUnavailableError
from tests.support.fake_api import FakeApi, backup
from tests.unit.console.conftest import Browser


def local(url: str) -> LocalState:
    return LocalState(pid=1, repository="/", api_url=url, aws_url="", milvus_uri="", stack_name="vault")


@pytest.fixture(autouse=True)
def stacks(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> list[LocalState]:
    """Return the local stack that runs, if one does."""
    running = [local(api.url)]
    monkeypatch.setattr(app, "running_stack", lambda: running[0] if running else None)

    def fail(_: VaultClient) -> object:
        msg = "cannot be reached"
        raise ApiUnavailableError(msg, hint="Look at the network.")

    monkeypatch.setattr(VaultClient, "list_schedules", fail)
    return running


def test_a_local_stack_that_has_moved_is_told(stacks: list[LocalState], browser: Browser) -> None:
    browser.enter()
    stacks[:] = [local("http://127.0.0.1:1")]
    assert "the local stack has another address now" in browser.get("/schedules").text
    stacks.clear()
    assert "no local stack runs" in browser.get("/schedules").text


@pytest.mark.parametrize(
    ("path", "method", "given"),
    [
        ("/schedules", "get_schedule", {"kind": "backup", "name": "nightly", "expression": "rate(1 day)"}),
        ("/backups", "create_backup", {"name": "first"}),
        ("/backups/first/verify", "verify_backup", {}),
        ("/backups/first/restore/plan", "plan_restore", {}),
    ],
)
def test_every_form_tells_it(
    stacks: list[LocalState],
    api: FakeApi,
    browser: Browser,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    method: str,
    given: dict[str, str],
) -> None:
    def fail(*_: object) -> object:
        msg = "cannot be reached"
        raise ApiUnavailableError(msg, hint="Look at the network.")

    api.backups["first"] = backup("first")
    browser.enter()
    monkeypatch.setattr(VaultClient, method, fail)
    stacks[:] = [local("http://127.0.0.1:1")]
    answer = browser.post(path, **given)
    assert (answer.status, "the local stack has another address now" in answer.text) == (409, True)
    # The form is there again.
    assert "<form" in answer.text


def test_one_that_does_not_answer_where_it_was_is_none_of_them(browser: Browser) -> None:
    browser.enter()
    assert "Look at the network" in browser.get("/schedules").text


def test_the_local_stack_says_nothing_of_another_api(stacks: list[LocalState], request: pytest.FixtureRequest) -> None:
    stacks[:] = [local("http://127.0.0.1:1")]
    browser: Browser = request.getfixturevalue("browser")
    browser.enter()
    assert "Look at the network" in browser.get("/schedules").text
