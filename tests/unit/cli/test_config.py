"""Deployments are kept by name, and --deployment leads to them."""

import os
from pathlib import Path

import pytest

from milvus_vault.client.deployments import deployments_path
from tests.support.fake_api import FakeApi
from tests.unit.cli.conftest import Cli

pytestmark = pytest.mark.usefixtures("api")


def test_a_deployment_is_added_used_listed_and_forgotten(
    api: FakeApi, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MILVUS_VAULT_URL")
    assert "No deployment has a name yet" in cli("config", "list").out

    assert cli("config", "add", "prod", "--url", api.url, "--region", "eu-west-1").code == 0
    added = cli("-o", "json", "config", "add", "test", "--stack", "vault-test", "--profile", "me")
    prod = {"name": "prod", "url": api.url, "stack": "", "region": "eu-west-1", "profile": ""}
    test = {"name": "test", "url": "", "stack": "vault-test", "region": "", "profile": "me"}
    assert added.document == {"deployments": [prod, test]}
    assert api.url in cli("config", "list").out

    assert cli("list", "--deployment", "prod").code == 0
    monkeypatch.setenv("MILVUS_VAULT_DEPLOYMENT", "prod")
    assert cli("list").code == 0

    assert cli("-o", "json", "config", "remove", "prod").document == {"deployments": [test]}
    missing = cli("list")
    assert (missing.code, "there is no deployment 'prod'" in missing.err) == (7, True)
    assert cli("config", "remove", "prod").code == 7


@pytest.mark.parametrize("given", [[], ["--url", "https://a", "--stack", "b"], ["--deployment", "other"]])
def test_it_is_a_stack_or_an_address(cli: Cli, given: list[str]) -> None:
    refused = cli("config", "add", "prod", *given)
    assert (refused.code, "either a stack or an address" in refused.err) == (2, True)
    assert not deployments_path().exists()


def test_a_file_that_cannot_be_read_is_not_replaced(cli: Cli) -> None:
    deployments_path().parent.mkdir(parents=True)
    deployments_path().write_text("{")
    refused = cli("config", "add", "prod", "--stack", "vault")
    assert (refused.code, str(deployments_path()) in refused.err) == (7, True)
    assert deployments_path().read_text() == "{"


def test_a_folder_that_cannot_be_written_is_named(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    refused = cli("config", "add", "prod", "--stack", "vault")
    assert refused.code == 7, refused.err
    assert "cannot be read: Not a directory" in refused.err
    monkeypatch.setenv("XDG_CONFIG_HOME", "/proc/x")
    refused = cli("config", "add", "prod", "--stack", "vault")
    assert refused.code == 2
    assert f"cannot write {deployments_path()}: " in refused.err
    assert "hint: See that you may write there. XDG_CONFIG_HOME" in refused.err


def test_two_names_for_one_api_are_refused(cli: Cli) -> None:
    refused = cli("list", "--stack", "vault", "--deployment", "prod")
    assert (refused.code, "--stack and --deployment exclude each other" in refused.err) == (2, True)
    assert os.environ["MILVUS_VAULT_URL"]


def test_an_address_that_is_none_is_not_kept(cli: Cli) -> None:
    refused = cli("config", "add", "prod", "--url", "abc")
    assert (refused.code, "'abc' is no address" in refused.err) == (7, True)
    assert not deployments_path().exists()
