"""Clients are made once for each environment."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from time import sleep

import boto3
import pytest

from milvus_vault.adapters.kept import kept
from milvus_vault.adapters.s3 import S3ObjectStore


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that no other test has."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test_kept")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


def test_a_store_is_made_once_for_each_number_of_connections() -> None:
    store = S3ObjectStore.shared(4)

    assert S3ObjectStore.shared(4) is store
    assert S3ObjectStore.shared(5) is not store
    assert S3ObjectStore.connect(4) is not store


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_ACCESS_KEY_ID", "other"),
        ("AWS_SECRET_ACCESS_KEY", "other"),
        ("AWS_SESSION_TOKEN", "other"),
        ("AWS_DEFAULT_REGION", "eu-west-1"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
    ],
)
def test_another_environment_has_another_store(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = S3ObjectStore.shared(4)

    with monkeypatch.context() as changed:
        changed.setenv(name, value)
        assert S3ObjectStore.shared(4) is not store
    assert S3ObjectStore.shared(4) is store


def test_the_store_of_an_environment_goes_where_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for port in ("1", "2"):
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        assert S3ObjectStore.shared().client.meta.endpoint_url == f"http://127.0.0.1:{port}"


def test_threads_that_ask_at_once_get_the_same() -> None:
    made: list[object] = []
    together = Barrier(8)

    def make() -> object:
        sleep(0.02)
        made.append(object())
        return made[-1]

    def ask(_: int) -> object:
        together.wait()
        return kept(make, "threads")

    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(ask, range(8)))

    assert found == set(made)
    assert len(made) == 1


def test_what_cannot_be_made_is_tried_again() -> None:
    def fail() -> object:
        msg = "no credentials"
        raise OSError(msg)

    with pytest.raises(OSError, match="no credentials"):
        kept(fail, "failing")
    assert kept(lambda: "made", "failing") == "made"


def test_a_store_is_no_client_of_the_default_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)

    S3ObjectStore.shared(6)

    assert boto3.DEFAULT_SESSION is None
