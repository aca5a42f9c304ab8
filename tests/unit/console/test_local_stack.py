"""A console that outlives the local stack it was started for says what became of that."""

import pytest

from milvus_vault.client import VaultClient
from milvus_vault.client.local_state import LocalState
from milvus_vault.console import app
from milvus_vault.errors import ApiUnavailableError
from tests.support.fake_api import FakeApi
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


def test_one_that_does_not_answer_where_it_was_is_none_of_them(browser: Browser) -> None:
    browser.enter()
    assert "Look at the network" in browser.get("/schedules").text


def test_the_local_stack_says_nothing_of_another_api(stacks: list[LocalState], request: pytest.FixtureRequest) -> None:
    stacks[:] = [local("http://127.0.0.1:1")]
    browser: Browser = request.getfixturevalue("browser")
    browser.enter()
    assert "Look at the network" in browser.get("/schedules").text
