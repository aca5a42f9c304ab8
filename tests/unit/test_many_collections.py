"""Many collections: nobody asks for one after the other, and a call that dies is gone on with."""

import copy
import json
import re
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import override

import pytest

from bench.counting_store import Bucket, CountingStore
from bench.instance import ENVIRONMENT
from bench.many_collections import Deployment
from milvus_vault.adapters.executions import StepFunctionsExecutions
from milvus_vault.backup import documents, streamed
from milvus_vault.model.locks import ObjectLock
from milvus_vault.restore import prepare
from tests.support.lambda_context import LateInvocation

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

COLLECTIONS = 8
NOTED = 2
"""Collections between two notes of how far a call is."""
TOGETHER = 4
"""Collections that have to be in flight at a time."""


class DiedError(BaseException):
    """The function's process is gone: nothing of its code runs any more."""


class Store(CountingStore):
    """A store that knows who asks for what, and lets nobody ask for anything once he has died."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()
        """Requests, as `PUT <key>`."""
        self.parts: dict[str, list[int]] = {}
        """Bytes of the parts of what was written in parts, by key."""
        self.dies_at = 0
        """Number of the request at which the caller dies; 0: he lives."""
        self.meets: re.Pattern[str] | None = None
        """Requests of which some have to be there at a time, or none is answered."""
        self._barrier = threading.Barrier(TOGETHER, timeout=20)

    def begin(self, *, dies_at: int = 0, meets: str = "") -> None:
        """Count anew."""
        self.asked.clear()
        self.dies_at = dies_at
        self.meets = re.compile(meets) if meets else None

    def _ask(self, what: str, key: str) -> None:
        with self._lock:
            self.asked[f"{what} {key}"] += 1
            is_dead = 0 < self.dies_at <= self.asked.total()
        if is_dead:
            raise DiedError
        if self.meets and self.meets.search(f"{what} {key}"):
            self._barrier.wait()

    @override
    def get_with_etag(self, bucket: str, key: str) -> tuple[bytes, str]:
        self._ask("GET", key)
        return super().get_with_etag(bucket, key)

    @override
    def put(
        self, bucket: str, key: str, body: bytes, *, content_type: str = "", lock: ObjectLock | None = None
    ) -> None:
        self._ask("PUT", key)
        super().put(bucket, key, body, content_type=content_type, lock=lock)

    @override
    def put_if_absent(self, bucket: str, key: str, body: bytes, *, lock: ObjectLock | None = None) -> bool:
        self._ask("PUT", key)
        return super().put_if_absent(bucket, key, body, lock=lock)

    @override
    def lock(self, bucket: str, key: str, lock: ObjectLock) -> None:
        self._ask("LOCK", key)
        super().lock(bucket, key, lock)

    @override
    def put_in_parts(self, bucket: str, key: str, parts: Iterable[bytes]) -> None:
        there = list(parts)
        self.parts[key] = [len(part) for part in there]
        super().put_in_parts(bucket, key, there)

    @override
    def delete(self, bucket: str, keys: Iterable[str]) -> None:
        self._ask("DELETE", bucket)
        super().delete(bucket, keys)

    def written(self, pattern: str) -> list[str]:
        """Return the keys that were written and match, each as often as it was."""
        return [key[4:] for key in self.asked.elements() if key.startswith("PUT ") and re.search(pattern, key)]


@pytest.fixture
def deployment(monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    """A deployment whose functions note how far they are after each second collection."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(documents, "_SECTION_COLLECTIONS", NOTED)
    monkeypatch.setattr(prepare, "_NOTED_AT_A_TIME", NOTED)
    store = Store()
    deployment = Deployment(store, COLLECTIONS, objects=10)
    with deployment.in_place():
        yield deployment


def store_of(deployment: Deployment) -> Store:
    """Return the store."""
    assert isinstance(deployment.store, Store)
    return deployment.store


def buckets(store: Store) -> dict[str, Bucket]:
    """Return all that lies in the store."""
    return store._buckets


def documents_of(store: Store) -> dict[str, bytes]:
    """Return the metadata of the backup, but for what tells the time."""
    found = {key: one.body for key, one in store.bucket("backups").documents.items() if key.startswith("nightly/b/")}
    return {key: body for key, body in found.items() if not re.search(r"report|manifest|backup_meta", key)}


class TestPublishing:
    """PublishBackup."""

    def test_one_that_dies_at_any_request_is_gone_on_with_at_the_section_that_it_was_at(
        self, deployment: Deployment
    ) -> None:
        store = store_of(deployment)
        turn = deployment.copy_all()
        before = copy.deepcopy(buckets(store))
        store.begin()
        expected = deployment.publish(turn)
        requests, whole = store.asked.total(), documents_of(store)
        assert expected["published"]["collection_count"] == COLLECTIONS

        gone_on: set[int] = set()
        for dies_at in range(1, requests + 1):
            store._buckets = copy.deepcopy(before)
            store.begin(dies_at=dies_at)
            with pytest.raises(DiedError):
                deployment.publish(turn)
            has_marker = "nightly/b/meta/backup_meta.json" in store.bucket("backups").documents
            noted = NOTED * sum("/sections/" in key for key in store.bucket("backups").documents)
            store.begin()
            assert deployment.publish(turn)["published"] == expected["published"]
            assert documents_of(store) == whole
            gone_on.add(noted)
            again = [] if has_marker else range(COLLECTIONS - noted)
            assert len(store.written(r"meta/vault/(collections|objects)/")) == 2 * len(again)
        assert {0, COLLECTIONS} < gone_on

    def test_one_that_runs_short_of_time_is_gone_on_with(self, deployment: Deployment) -> None:
        store = store_of(deployment)
        turn = deployment.copy_all()
        store.begin()
        calls = [deployment.publish(turn, LateInvocation()) for _ in range(COLLECTIONS // NOTED)]
        assert [call["is_done"] for call in calls] == [False, False, False, True]
        assert calls[-1]["published"]["status"] == "complete"
        assert {key.rpartition("/")[2] for key in store.written(r"/sections/")} == {
            "0.json",
            "2.json",
            "4.json",
            "6.json",
        }

    def test_what_milvus_backup_reads_is_the_same_in_one_section_and_in_many(
        self, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = store_of(deployment)
        turn = deployment.copy_all()
        before = copy.deepcopy(buckets(store))
        with monkeypatch.context() as patched:
            patched.setattr(streamed, "_PART_BYTES", 1000)
            deployment.publish(turn)
        in_many, (*parts, _) = documents_of(store), store.parts["nightly/b/meta/full_meta.json"]
        assert set(parts) == {1000}
        store._buckets = before
        store.parts.clear()
        monkeypatch.setattr(documents, "_SECTION_COLLECTIONS", 100)

        store.begin()
        deployment.publish(turn)

        assert documents_of(store) == in_many
        assert len(json.loads(in_many["nightly/b/meta/full_meta.json"])["collection_backups"]) == COLLECTIONS
        assert store.written("/publishing/") == []
        assert "nightly/b/meta/full_meta.json" not in store.parts

    @pytest.mark.parametrize(
        "meets",
        [
            r"GET .*/collections/\w+/\d+\.json",
            r"GET .*/items/\d+",
            r"PUT .*vault/collections/",
            r"PUT .*vault/objects/",
        ],
    )
    def test_collections_do_not_wait_for_each_other(self, deployment: Deployment, meets: str) -> None:
        turn = deployment.copy_all()
        store_of(deployment).begin(meets=meets)
        assert deployment.publish(turn)["is_done"]


class TestPreparing:
    """PrepareRestore."""

    @pytest.mark.parametrize("is_one_damaged", [False, True], ids=["all whole", "one left out"])
    def test_one_that_dies_at_any_request_is_gone_on_with_at_the_target_that_it_was_at(
        self, deployment: Deployment, is_one_damaged: bool
    ) -> None:
        store = store_of(deployment)
        deployment.back_up()
        if is_one_damaged:
            backups = store.bucket("backups")
            del backups.objects[min(key for key in backups.objects if "/binlogs/" in key)]
            backups.changed()
        before = copy.deepcopy(buckets(store))
        store.begin()
        expected = deployment.prepare_restore(skip_damaged=is_one_damaged)
        requests, run = store.asked.total(), f"nightly/.runs/{expected['run']}/"
        whole = files_below(store, run)
        assert any(name.endswith("/failed.json") for name in whole) == is_one_damaged

        gone_on: set[int] = set()
        for dies_at in range(1, requests + 1):
            store._buckets = copy.deepcopy(before)
            store.begin(dies_at=dies_at)
            with pytest.raises(DiedError):
                deployment.prepare_restore(skip_damaged=is_one_damaged)
            found = store.bucket("backups").documents.get(f"{run}prepared.json")
            noted = len(json.loads(found.body)["row_counts"]) if found else 0
            store.begin()
            assert deployment.prepare_restore(skip_damaged=is_one_damaged) == expected
            assert files_below(store, run) == whole
            gone_on.add(noted)
            assert len(store.written(r"/target\.json$")) == COLLECTIONS - noted
        assert {0, COLLECTIONS} < gone_on

    def test_step_functions_is_asked_once_about_an_execution_that_has_claimed_many_targets(
        self, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store, asked = store_of(deployment), list[str]()

        def status(_: object, execution_arn: str) -> str:
            asked.append(execution_arn)
            return "SUCCEEDED"

        monkeypatch.setattr(StepFunctionsExecutions, "status", status)
        deployment.back_up()
        deployment.prepare_restore()
        claims = store.bucket("milvus").documents
        held = claims.below("staging/claims/")
        older = {"execution_arn": "other", "run": "restore-b-0", "claimed_at": "2020-01-01T00:00:00Z"}
        other = json.loads(claims[held[0]].body) | older
        for key in held:
            store.put("milvus", key, json.dumps(other).encode())

        deployment.prepare_restore()

        assert (len(held), asked) == (COLLECTIONS, ["other"])

    @pytest.mark.parametrize(
        "meets",
        [r"GET .*vault/collections/", r"GET .*vault/objects/", r"PUT .*/claims/", r"PUT .*/target\.json", r"/items/"],
    )
    def test_collections_do_not_wait_for_each_other(self, deployment: Deployment, meets: str) -> None:
        deployment.back_up()
        store_of(deployment).begin(meets=meets)
        assert deployment.prepare_restore()["collection_count"] == COLLECTIONS


class TestOthers:
    """The other functions that ask for something of each collection."""

    def test_snapshots_that_are_there_are_read_together(self, deployment: Deployment) -> None:
        store_of(deployment).begin(meets=r"GET .*/collections/\w+/\d")
        deployment.copy_all()

    def test_lists_of_objects_are_verified_together(self, deployment: Deployment) -> None:
        deployment.back_up()
        store_of(deployment).begin(meets=r"GET .*vault/objects/")
        deployment.verify()

    def test_objects_are_locked_together_whatever_their_collection(self, deployment: Deployment) -> None:
        terms = {"mode": "governance", "days": 1}
        turn = deployment.copy_all(lock=terms)
        store_of(deployment).begin(meets=r"GET .*/items/\d")
        assert deployment.publish(turn)["is_done"]
        locked = [key for key in store_of(deployment).asked if key.startswith("LOCK ") and "/binlogs/" in key]
        assert len(locked) == 10 * COLLECTIONS
        assert len(store_of(deployment).written(r"/locked\.json$")) == 2

    def test_what_became_of_them_is_read_together(self, deployment: Deployment) -> None:
        deployment.back_up()
        step = deployment.fill_targets()
        store_of(deployment).begin(meets=r"GET .*/target\.json")
        assert deployment.report(step)["status"] == "complete"


def files_below(store: Store, folder: str) -> dict[str, bytes]:
    """Return the documents of a folder, but for the claim, which tells the time."""
    found = store.bucket("backups").documents
    return {key: found[key].body for key in found.below(folder) if not key.endswith("claim.json")}
