"""Deletes are composed before they are copied: once, whoever repeats it, and only those that the backup lists."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from milvus_vault.claims import CLAIM, Claim
from milvus_vault.copying.batches import BatchLimits
from milvus_vault.copying.engine import copy_batch
from milvus_vault.copying.plan import plan_copy
from milvus_vault.copying.verify import verify_copy
from milvus_vault.copying.working_files import CopyPart, CopyTarget, read_target, write_job, write_target
from milvus_vault.errors import (
    BackupDamagedError,
    RunTakenOverError,
    VaultError,
    WorkingFileError,
)
from milvus_vault.model.collections import LoadState
from milvus_vault.model.names import attempt_of
from milvus_vault.model.objects import ArchivedObject, CopyJob
from milvus_vault.model.requests import RestoreRequest
from milvus_vault.restore import cutting
from milvus_vault.restore.cleanup import CleanUp
from milvus_vault.restore.cutting import Cutting
from milvus_vault.restore.staging import CollectionImport, FoldLimits
from milvus_vault.restore.working_files import (
    COMPOSED,
    PLAN,
    Cut,
    RestorePlan,
    Target,
    composed_folder,
    cut_done_name,
    cut_name,
    target_name,
)
from milvus_vault.source import MilvusStorage
from milvus_vault.workspace import Workspace
from tests.support.memory_store import InMemoryObjectStore
from tests.support.milvus_server import binlog
from tests.support.milvus_server.binlog import Delete
from tests.unit.binlogs.logs import NOW, write_bare_columns, write_objects
from tests.unit.test_restore_aliases import layout, name
from tests.unit.test_restore_staging import collection, delete, insert, segment

ARN, NEXT = (f"arn:aws:states:eu-west-1:1:execution:restore:{name}" for name in ("first", "next"))
VAULT, MILVUS = "vault", "milvus"
STAGING = "staging/restore-b-0123456789ab/"
SEGMENTS, LOGS = 5, 6
ALWAYS = FoldLimits(copies=0, segment_bytes=10**9)
CLEANED = f"{STAGING}0/"


class Killed(BaseException):
    """The function's process is gone."""


class Folded:
    """A restore of one collection: five segments with rows, and six logs of deletes of level 0 in two forms."""

    def __init__(self) -> None:
        # As under KMS: each write gives another ETag, so that nothing may be written twice.
        self.store = InMemoryObjectStore(VAULT, MILVUS, has_random_etags=True)
        self.run = Workspace(self.store, VAULT, "", "restore-b-0123456789ab")
        self.deletes: list[Delete] = []
        numbers, logs = range(1, SEGMENTS + 1), range(90, 90 + LOGS)
        self.objects = [self._put(insert(number), b"rows") for number in numbers]
        for number in logs:
            own: list[Delete] = [(number, NOW + number), (7, NOW + number)]
            self.deletes += own
            write = write_bare_columns if number == logs[-1] else write_objects
            self.objects.append(self._put(delete(number), write(own)))
        self.collection = collection([*map(segment, numbers), *(segment(number, rows=0) for number in logs)])
        self.begin(ARN)

    def _put(self, item: ArchivedObject, body: bytes) -> ArchivedObject:
        self.store.put(VAULT, item.stored_key, body)
        etag = self.store.get_with_etag(VAULT, item.stored_key)[1]
        return ArchivedObject(item.stored_key, item.source_key, len(body), etag)

    def begin(self, arn: str) -> None:
        """Do what PrepareRestore does of an execution."""
        self.arn, self.attempt = arn, attempt_of(arn)
        claim = Claim(execution_arn=arn, run=self.run.run, claimed_at=datetime.now(UTC))
        self.run.write(CLAIM, claim)
        self.plan = RestorePlan(
            request=RestoreRequest(backup_name="b"), execution_arn=arn, started_at=datetime.now(UTC), backup_etag="e",
            backup_version="2.5.4", server_version="2.5.4", content_checked=True, is_staged=True,
            staging_folder=STAGING, cuts=(0,), targets=(name("a"),), databases=(),
        )  # fmt: skip
        whole = CollectionImport.of(self.collection, self.objects, ALWAYS, composed=self.run.key(composed_folder(0)))
        sources = whole.sources_staged(CLEANED)
        parts = [CopyPart(prefixes=(pair.insert_prefix, pair.delta_prefix)) for s in sources for pair in s.pairs]
        target = Target(
            index=0, source=name("a"), name=name("a"), collection_id=7, layout=layout(), indexes=(), aliases=(),
            load_state=LoadState.NOT_LOADED, replicas=1, loaded_partitions=(), live_row_count=None, imports=sources,
        )  # fmt: skip
        self.run.write(target_name(0), target)
        write_job(self.run, self.attempt, CopyJob(source_bucket=VAULT, destination_bucket=MILVUS))
        copied = CopyTarget(index=0, name="a", folders=(CLEANED,), parts=tuple(parts))
        write_target(self.run, self.attempt, copied, whole.staged_items(CLEANED))
        self.run.delete([cut_done_name(0)])
        cut = Cut(name=name("a"), end_timestamp=0, is_chosen=False, moment=1, compositions=whole.compositions)
        self.run.write(cut_name(0), cut)
        self.run.write(PLAN, self.plan)

    @property
    def function(self) -> Cutting:
        """CutCollections of the execution that began last."""
        return Cutting(self.run, self.plan, MILVUS, self.arn)

    def copy(self) -> int:
        """Copy all that is to be copied, prove it, and return how many objects that were."""
        found = plan_copy(self.run, self.attempt, 1, BatchLimits(max_objects=100, max_bytes=10**9))
        for number in range(found.batch_count):
            batch = f"copy/{self.attempt}/r1/batch-{number}.jsonl"
            copy_batch(self.run, batch, threads=1, deadline_seconds_left=lambda: 3600.0)
        assert verify_copy(self.run, self.attempt, 1).complete == (0,)
        return found.object_count

    def composed(self) -> dict[str, str]:
        """Return the ETags of what is composed, by key."""
        folder = self.run.key(COMPOSED)
        return {found.key: found.etag for found in self.store.list_objects(VAULT, folder)}

    def check(self) -> None:
        """See that each segment has all deletes beside it, each as often as it was there, in a log of each form."""
        for number in range(1, SEGMENTS + 1):
            folder = f"{CLEANED}delta_log/7/1/1/{number}/"
            logs = [found.key for found in self.store.list_objects(MILVUS, folder)]
            assert len(logs) == 2
            found = [each for key in logs for each in binlog.read_deletes(self.store.get(MILVUS, key))]
            assert Counter(found) == Counter(self.deletes)


def test_each_segment_gets_all_deletes_in_a_log_of_each_form_that_is_read_and_written_once() -> None:
    folded = Folded()
    asked: list[str] = []
    folded.store.before = lambda operation, _, key: asked.append(f"{operation} {key}")
    folded.function.cut_all()
    folded.store.before = lambda *_: None
    writes = Counter(each for each in asked if each.startswith("put"))
    # And what of them is written, the items and the target of the copy, and that it is done.
    assert len(writes) == writes.total() == 2 + 4
    assert sorted(each for each in asked if "delta_log" in each) == [
        f"get {item.stored_key}" for item in folded.objects if "delta_log" in item.stored_key
    ]
    assert folded.copy() == SEGMENTS * (1 + 2)
    folded.check()


def test_a_part_of_the_collection_ends_with_the_deletes_that_were_composed_for_it() -> None:
    folded = Folded()
    folded.function.cut_all()
    (part,) = read_target(folded.run, folded.attempt, 0).parts
    assert part.ends_at == SEGMENTS * (1 + 2)


def test_killed_before_any_of_its_writes_and_called_again_it_leaves_the_same() -> None:
    for kill in range(10):
        folded, writes = Folded(), 0

        def die(operation: str, *_: str, kill: int = kill) -> None:
            nonlocal writes
            if operation.startswith("put"):
                writes += 1
                if writes > kill:
                    raise Killed

        folded.store.before = die
        try:
            folded.function.cut_all()
        except Killed:
            folded.store.before = lambda *_: None
            first = folded.composed()
            folded.function.cut_all()
            assert first.items() <= folded.composed().items()
        else:
            assert kill == 6  # two logs, what of them is written, items and target of the copy, and that it is done
            break
        folded.copy()
        folded.check()


def test_calls_that_end_for_want_of_time_come_to_an_end_together() -> None:
    folded = Folded()

    def die(operation: str, _: str, key: str) -> None:
        if operation.startswith("put") and "/items/" in key:
            raise Killed

    folded.store.before = die
    with pytest.raises(Killed):
        folded.function.cut_all()
    asked: list[str] = []
    folded.store.before = lambda operation, _, key: asked.append(key) if operation.startswith("get") else None
    folded.function.cut_all()
    folded.store.before = lambda *_: None
    assert not [key for key in asked if "delta_log" in key]
    folded.copy()
    folded.check()


def test_another_execution_finds_what_is_composed_and_copied_and_does_neither_again() -> None:
    folded = Folded()
    folded.function.cut_all()
    folded.copy()
    before = folded.composed()
    late = folded.function
    folded.begin(NEXT)
    folded.function.cut_all()
    assert folded.composed() == before
    assert folded.copy() == 0
    folded.check()
    # Nor does a function of the first one that still runs.
    folded.run.delete([cut_done_name(0)])
    with pytest.raises(RunTakenOverError):
        late.cut_all()
    assert folded.composed() == before
    assert folded.copy() == 0


def test_what_goes_on_for_a_collection_after_it_is_done_reads_nothing() -> None:
    folded = Folded()
    folded.function.cut_all()
    before = folded.store.requests.copy()
    folded.function.cut_all()
    assert folded.store.requests - before == {"get": 1}


def _changed(folded: Folded, log: ArchivedObject) -> None:
    folded.store.put(VAULT, log.stored_key, folded.store.get(VAULT, log.stored_key))


def _gone(folded: Folded, log: ArchivedObject) -> None:
    folded.store.delete(VAULT, [log.stored_key])


@pytest.mark.parametrize(("damage", "said"), [(_changed, "changed in the backup"), (_gone, "vanished from the backup")])
def test_a_log_that_is_not_the_backups_any_more_is_refused_by_its_key(
    damage: Callable[[Folded, ArchivedObject], None], said: str
) -> None:
    folded = Folded()
    log = folded.objects[-2]
    damage(folded, log)
    with pytest.raises(BackupDamagedError, match=f"{log.stored_key} {said}"):
        folded.function.cut_all()
    assert folded.composed() == {}


def test_a_log_that_cannot_be_read_is_given_to_milvus_as_it_is_and_costs_the_other_collections_nothing() -> None:
    folded = Folded()
    log = folded.objects[-2]
    body = folded.store.get(VAULT, log.stored_key)[:-9]
    folded.objects[-2] = folded._put(log, body)
    folded.begin(ARN)
    folded.function.cut_all()
    assert folded.copy() == SEGMENTS * (1 + 3)
    staged = [each.key for each in folded.store.list_objects(MILVUS, f"{CLEANED}delta_log/")]
    assert [folded.store.get(MILVUS, key) for key in staged].count(body) == SEGMENTS


def test_a_composed_log_that_vanishes_is_named_before_anything_is_copied() -> None:
    folded = Folded()

    def lose(operation: str, _: str, key: str) -> None:
        if operation == "list_objects" and COMPOSED in key:
            folded.store.delete(VAULT, [*folded.store.buckets[VAULT].keys() & {next(iter(composed))}])

    composed: list[str] = []
    folded.function.cut_all()
    composed += folded.composed()
    folded.run.delete([cut_done_name(0)])
    folded.begin(ARN)
    folded.store.before = lose
    with pytest.raises(WorkingFileError, match=COMPOSED):
        folded.function.cut_all()


def test_items_that_nobody_composed_are_never_taken_for_complete() -> None:
    folded = Folded()
    with pytest.raises((AssertionError, VaultError)):
        folded.copy()


def test_the_clean_up_removes_what_was_composed_and_nothing_else_of_the_run() -> None:
    folded = Folded()
    folded.function.cut_all()
    folded.copy()
    before = set(folded.run.names())
    storage = MilvusStorage(bucket=MILVUS, root_path="files")
    assert CleanUp(folded.run, folded.plan, storage, ARN).remove_staged_objects() == SEGMENTS * (1 + 2)
    assert {found.partition("/")[0] for found in before - set(folded.run.names())} == {"composed"}
    assert folded.composed() == {}


def test_what_an_older_release_wrote_down_to_cut_is_read() -> None:
    old = '{"name": {"database": "default", "name": "a"}, "end_timestamp": 5, "is_chosen": true, "moment": 9}'
    assert Cut.model_validate_json(old).compositions == ()


def test_what_is_large_in_memory_is_composed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    folded = Folded()
    folded.function.cut_all()
    together = len(folded.composed())
    monkeypatch.setattr(cutting, "COMPOSED_IN_MEMORY_BYTES", 1)
    again = Folded()
    again.function.cut_all()
    assert len(again.composed()) == LOGS > together
    again.copy()
    for number in range(1, SEGMENTS + 1):
        folder = f"{CLEANED}delta_log/7/1/1/{number}/"
        logs = [found.key for found in again.store.list_objects(MILVUS, folder)]
        assert len(logs) == LOGS
        found = [each for key in logs for each in binlog.read_deletes(again.store.get(MILVUS, key))]
        assert Counter(found) == Counter(again.deletes)
