"""Rows that were deleted, and inserted again, before a backup."""

import pytest

from tests.restore.conftest import Deploy
from tests.support.milvus_server.versions import ALL
from tests.threads.helpers import client_of, live

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")


@pytest.mark.thread("milvus#29122", "milvus#29162", "milvus-backup#265", "milvus-backup#316")
@pytest.mark.parametrize("version", ALL)
def test_what_was_deleted_stays_away_and_what_was_inserted_again_is_there_once(deploy: Deploy, version: str) -> None:
    source = deploy(version)
    client = client_of(source)
    client.create_collection("c", dimension=2, auto_id=False)
    client.insert("c", [{"id": number, "vector": [number, 0.5]} for number in range(20)])
    client.flush("c")
    client.delete("c", ids=list(range(10)))
    client.insert("c", [{"id": number, "vector": [number, 1.5]} for number in range(5)])
    client.flush("c")
    client.delete("c", ids=[4, 19])
    client.close()
    name = f"deletes_{version.replace('.', '_')}"
    source.back_up(name)

    target = deploy(version)
    report = target.restore({"backup_name": name, "allow_version": True})

    assert [found["message"] for found in report["collections"]] == [""]
    assert sorted(live(target, "c")) == [0, 1, 2, 3, *range(10, 19)]
    assert live(target, "c") == live(source, "c")
    assert report["collections"][0]["row_count"] == 13
