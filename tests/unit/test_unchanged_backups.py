"""An incremental backup of what is in the pool already: what it costs, and how far it is, through the real handlers."""

from collections.abc import Iterator
from typing import Any

import plan_copy.handler as plan_copy
import prepare_backup.handler as prepare_backup
import publish_backup.handler as publish_backup
import pytest
import snapshot_batch.handler as snapshot_batch
import verify_copy.handler as verify_copy

from bench.counting_store import CountingStore
from bench.incremental import Bench
from bench.instance import DAY, ENVIRONMENT, Json
from milvus_vault.adapters.s3 import S3ObjectStore
from milvus_vault.backup.proof import MomentProof
from milvus_vault.errors import BackupExistsError, BucketNotFoundError, CollectionNotFoundError
from milvus_vault.model.objects import ListedObject
from milvus_vault.model.resources import RunCollection
from milvus_vault.runs.collections import follow_backup
from milvus_vault.workspace import Workspace
from tests.support.lambda_context import Invocation

_FIXED, _A_COLLECTION = 21, 7
"""Of the latter three are listings: of Milvus' logs, of its delta logs, and of the pool, which is the proof."""

# The bench leaves them out.
pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

ARN = "arn:aws:states:us-east-1:000000000000:execution:backup:second"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


def backed_up(collections: int) -> Bench:
    """Return an instance with an incremental backup of a day ago."""
    bench = Bench(collections, 100 * collections, 0)
    bench.back_up("first", mode="incremental")
    bench.forget_runs()
    bench.started_at += DAY
    return bench


@pytest.mark.parametrize("collections", [1, 4])
def test_it_takes_few_requests_that_are_priced(collections: int) -> None:
    found = backed_up(collections).back_up("second", mode="incremental")

    assert (found.copies, found.priced) == (0, _FIXED + _A_COLLECTION * collections)


def test_what_has_changed_takes_a_copy_each_and_little_else() -> None:
    bench = backed_up(1)
    bench.instance.replace(0.2, bench.started_at)

    found = bench.back_up("second", mode="incremental")

    # Written beside: target, items, batch, batches, records and what is verified. Listed: the records, and the copies.
    assert (found.copies, found.priced) == (20, 20 + _FIXED + _A_COLLECTION + 6 + 2)


class Second:
    """A second backup, state by state."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Begin it."""
        self.bench = backed_up(1)
        monkeypatch.setattr(S3ObjectStore, "shared", lambda *_: self.bench.store)
        execution = {"arn": ARN, "started_at": self.bench.started_at.isoformat()}
        request = {"backup_name": "second", "mode": "incremental"}
        begun = self.call(prepare_backup, {"execution": execution, "request": request})
        self.turn = {"run": begun["run"], "attempt": begun["attempt"]}

    def call(self, module: Any, event: Json) -> Json:
        """Call a function."""
        with self.bench.milvus():
            answer: Json = module.handler(event, Invocation())
        return answer

    def snapshot(self, number: int) -> None:
        """Capture the collection in a round, and plan what to copy."""
        self.call(snapshot_batch, self.turn | {"round": number, "batch": 0})
        self.call(plan_copy, self.turn | {"round": number})

    def verify(self, number: int) -> Json:
        """Verify a round."""
        return self.call(verify_copy, self.turn | {"round": number, "purpose": "backup"})

    def followed(self) -> RunCollection:
        """Return how far the collection is."""
        run = Workspace(self.bench.store, "backups", "nightly", self.turn["run"])
        found = follow_backup(run, ARN)
        assert found is not None
        (collection,) = found.first(1)
        return collection


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch) -> Second:
    """A second backup of an instance that nobody has written to."""
    return Second(monkeypatch)


def test_a_collection_of_which_nothing_is_copied_is_done_once_its_round_is_verified(second: Second) -> None:
    assert second.followed().status == "waiting"
    second.snapshot(1)
    assert (second.followed().status, second.followed().objects_total) == ("running", 0)
    assert second.verify(1)["status"] == "complete"
    assert second.followed().status == "done"


def test_its_moment_is_proven_as_well_and_until_then_it_is_not_done(
    second: Second, monkeypatch: pytest.MonkeyPatch
) -> None:
    second.snapshot(1)
    with monkeypatch.context() as doubting:
        doubting.setattr(MomentProof, "_prove", lambda _, index: index)
        assert second.verify(1) == {
            "status": "again",
            "incomplete_count": 1,
            "next": {"number": 2, "batches": [0]},
        }
    assert second.followed().status == "running"
    second.snapshot(2)
    assert second.verify(2)["status"] == "complete"
    assert second.followed().status == "done"


def test_one_that_fails_in_a_later_round_has_failed(second: Second, monkeypatch: pytest.MonkeyPatch) -> None:
    second.snapshot(1)
    monkeypatch.setattr(MomentProof, "_prove", lambda _, index: index)
    second.verify(1)

    def gone(*_: str) -> None:
        raise CollectionNotFoundError("c0000 was dropped", hint="")

    monkeypatch.setattr(second.bench.instance, "describe_collection", gone)
    second.snapshot(2)

    assert (second.followed().status, second.followed().error) == ("failed", "CollectionNotFoundError")


def test_what_had_to_be_copied_in_a_round_and_is_all_there_in_the_next_is_no_target_any_more(
    second: Second,
) -> None:
    bench = second.bench
    bench.instance.replace(0.2, bench.started_at)
    second.snapshot(1)
    target = "nightly/.runs/backup-second/copy/" + second.turn["attempt"] + "/targets/0.json"
    assert target in bench.store.bucket("backups").documents
    assert second.verify(1)["status"] == "again"

    # Another backup of the same moment copies it meanwhile.
    bench.back_up("third", mode="incremental")
    second.snapshot(2)

    assert target not in bench.store.bucket("backups").documents
    assert second.verify(2)["status"] == "complete"
    published = second.call(publish_backup, second.turn | {"round": 2})["published"]
    assert (published["status"], published["object_count"], published["copied_object_count"]) == ("complete", 100, 0)


def test_what_lacks_copies_goes_another_round_and_is_not_judged(
    second: Second, monkeypatch: pytest.MonkeyPatch
) -> None:
    second.bench.instance.replace(0.2, second.bench.started_at)
    second.snapshot(1)
    judged: list[int] = []
    monkeypatch.setattr(MomentProof, "_prove", lambda _, index: judged.append(index))

    assert (second.verify(1)["status"], judged) == ("again", [])


LEFTOVER = "nightly/second/binlogs/insert_log/1/2/3/4/5"


def test_what_an_earlier_full_backup_of_the_name_has_left_is_removed(second: Second) -> None:
    documents = second.bench.store.bucket("backups").documents
    second.snapshot(1)
    second.verify(1)
    second.bench.store.put("backups", LEFTOVER, b"")

    second.call(publish_backup, second.turn | {"round": 1})

    assert LEFTOVER not in documents
    assert "nightly/second/meta/backup_meta.json" in documents


def test_it_is_left_alone_where_somebody_else_has_published_under_the_name_meanwhile(
    second: Second, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = second.bench.store
    second.snapshot(1)
    second.verify(1)
    store.put("backups", LEFTOVER, b"")

    def published_meanwhile(bucket: str, prefix: str) -> Iterator[ListedObject]:
        found = list(CountingStore.list_objects(store, bucket, prefix))
        if prefix.endswith("/binlogs/"):
            store.put("backups", "nightly/second/meta/backup_meta.json", b"{}")
        return iter(found)

    monkeypatch.setattr(store, "list_objects", published_meanwhile)
    with pytest.raises(BackupExistsError):
        second.call(publish_backup, second.turn | {"round": 1})

    assert LEFTOVER in store.bucket("backups").documents


def test_where_nothing_proves_that_milvus_bucket_is_there_it_is_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(1, 0, 0)

    def missing(bucket: str) -> None:
        if bucket == "milvus":
            raise BucketNotFoundError("there is no bucket milvus", hint="")

    monkeypatch.setattr(bench.store, "check_bucket", missing)
    with pytest.raises(BucketNotFoundError, match="milvus"):
        bench.back_up("first", mode="incremental")
