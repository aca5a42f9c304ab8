"""Fixtures of the copy machine's tests."""

import pytest

from milvus_vault.copying import engine
from tests.support.memory_store import InMemoryObjectStore
from tests.unit.copying.job import BACKUPS, SOURCE, Job


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> Job:
    """A job without targets, whose waits after S3's own failures are short."""
    monkeypatch.setattr(engine, "UNAVAILABLE_WAIT_SECONDS", 0.001)
    return Job(InMemoryObjectStore(SOURCE, BACKUPS))
