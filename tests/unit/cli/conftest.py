"""The command line in this process, against a fake API."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from milvus_vault.cli.main import run
from milvus_vault.client import waiting
from tests.support.fake_api import FakeApi


@dataclass
class Finished:
    """What a command line did."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document that it wrote."""
        return json.loads(self.out)


Cli = Callable[..., Finished]


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeApi]:
    """Run a fake API that the environment names, and no local stack."""
    monkeypatch.setattr(waiting, "FIRST_POLL_SECONDS", 0.01)
    with FakeApi() as running:
        monkeypatch.setenv("MILVUS_VAULT_URL", running.url)
        monkeypatch.delenv("MILVUS_VAULT_STACK", raising=False)
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        yield running


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Return a function that runs a command line."""

    def call(*arguments: str) -> Finished:
        code = run(arguments)
        captured = capsys.readouterr()
        return Finished(code, captured.out, captured.err)

    return call
