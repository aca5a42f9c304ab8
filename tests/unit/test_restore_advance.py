"""Collections of a restore, each brought as far as it goes, on a Milvus in memory whose imports a test lets end."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Self, cast

import pytest

from milvus_vault.copying.batches import BatchLimits
from milvus_vault.copying.engine import copy_batch
from milvus_vault.copying.plan import plan_copy
from milvus_vault.copying.working_files import CopyPart, CopyTarget, write_job, write_target
from milvus_vault.errors import ImportFailedError, MilvusUnavailableError
from milvus_vault.model.collections import ImportJobState, ImportStatus, ImportTask, IndexDescription, LoadState
from milvus_vault.model.names import attempt_of, temporary_name
from milvus_vault.model.objects import CopyItem, CopyJob
from milvus_vault.model.requests import RestoreRequest
from milvus_vault.ports import IndexProgress, VectorDatabase
from milvus_vault.restore.advance import LONGEST_IN_CALL_SECONDS, RESERVE_SECONDS, Advance, Advanced
from milvus_vault.restore.journal import Journal
from milvus_vault.restore.working_files import (
    PLAN,
    Failed,
    ImportPaths,
    ImportSource,
    RestorePlan,
    ServingMoved,
    Target,
    serving_name,
    target_name,
)
from milvus_vault.workspace import Workspace
from tests.support.memory_database import InMemoryDatabase
from tests.support.memory_store import InMemoryObjectStore
from tests.unit.test_restore_aliases import PLACE, layout, name

ARN = "arn:aws:states:eu-west-1:1:execution:restore:mine"
ROWS = 10
VAULT, MILVUS = "vault", "milvus"
AN_HOUR = 3600.0


class Imports:
    """Import jobs by number, which end when they are released; 2.4 and newer take any number at a time."""

    pairs_a_job = 64

    def __init__(self) -> None:
        self.jobs: dict[str, tuple[str, ImportStatus]] = {}
        self.prefixes: dict[str, str] = {}
        """What each job imports."""
        self.unanswered: set[str] = set()

    def start_import(self, _: str, collection: str, task: ImportTask) -> str:
        """Start a job."""
        job_id = str(len(self.jobs))
        self.jobs[job_id] = (collection, ImportStatus.RUNNING)
        self.prefixes[job_id] = "".join(pair.insert_prefix for pair in task.pairs)
        return job_id

    def import_state(self, job_id: str) -> ImportJobState:
        """Return the state of a job."""
        if job_id in self.unanswered:
            raise MilvusUnavailableError("no answer", hint="")
        return ImportJobState(status=self.jobs[job_id][1], row_count=ROWS, percent=50)

    def find_import(self, *_: object) -> None:
        """Find no job."""

    def end(self, *job_ids: str, status: ImportStatus = ImportStatus.COMPLETED) -> None:
        """Let jobs end."""
        for job_id in job_ids:
            self.jobs[job_id] = (self.jobs[job_id][0], status)


class Restore:
    """A restore of some collections of ten rows a pair of prefixes, which are not to be loaded."""

    def __init__(
        self, *names: str, staged: bool = False, started: timedelta = timedelta(), pairs: int = 1, deletes: bool = False
    ) -> None:
        self.store = InMemoryObjectStore(VAULT, MILVUS)
        self.run = Workspace(self.store, VAULT, "", "restore-b-0123456789ab")
        self.database, self.imports = InMemoryDatabase(), Imports()
        self.seconds_left: Callable[[], float] = lambda: AN_HOUR
        self.plan = RestorePlan(
            request=RestoreRequest(backup_name="b"),
            execution_arn=ARN,
            started_at=datetime.now(UTC) - started,
            backup_etag="e",
            backup_version="2.4.4",
            server_version="2.4.4",
            content_checked=True,
            is_staged=staged,
            staging_folder="staging/",
            targets=tuple(name(each) for each in names),
            databases=(),
        )
        self.arn, self.pairs, self.deletes = ARN, pairs, deletes
        self.prepare()

    def prepare(self) -> None:
        """Write down what is to be copied and imported."""
        self.run.write(PLAN, self.plan)
        if self.plan.is_staged:
            write_job(self.run, self.attempt, CopyJob(source_bucket=VAULT, destination_bucket=MILVUS))
        for index, target in enumerate(self.plan.targets):
            prefixes = [f"staging/{index}/{pair}/" for pair in range(self.pairs)]
            document = Target(
                index=index, source=target, name=target, collection_id=index, layout=layout(), indexes=(), aliases=(),
                load_state=LoadState.NOT_LOADED, replicas=1, loaded_partitions=(), live_row_count=ROWS * self.pairs,
                imports=tuple(_source(prefix) for prefix in prefixes),
                deletes=(_deletes(f"staging/{index}/deletes/"),) if self.deletes else (),
            )  # fmt: skip
            self.run.write(target_name(index), document)
            if self.plan.is_staged:
                parts = tuple(CopyPart(prefixes=(prefix,)) for prefix in prefixes)
                where = CopyTarget(index=index, name=str(target), folders=(f"staging/{index}/",), parts=parts)
                # Deletes by themselves are imported last, and copied last.
                folders = [*prefixes, f"staging/{index}/deletes/"] if self.deletes else prefixes
                write_target(self.run, self.attempt, where, [self._item(f"{folder}log") for folder in folders])

    def _item(self, key: str) -> CopyItem:
        self.store.put(VAULT, f"b/{key}", b"rows")
        return CopyItem(f"b/{key}", key, 4, self.store.get_with_etag(VAULT, f"b/{key}")[1])

    def plan_copies(self) -> int:
        """Plan to copy object by object, and return how many are to be copied."""
        return plan_copy(self.run, self.attempt, 1, BatchLimits(max_objects=1, max_bytes=100)).batch_count

    def copy(self, number: int) -> None:
        """Copy one of them."""
        batch = f"copy/{self.attempt}/r1/batch-{number}.jsonl"
        copy_batch(self.run, batch, threads=1, deadline_seconds_left=lambda: AN_HOUR)

    @property
    def attempt(self) -> str:
        """The attempt whose objects are copied."""
        return attempt_of(self.arn)

    @property
    def call(self) -> Advance:
        """A call of the function."""
        database = cast("VectorDatabase", self.database)
        return Advance(self.run, self.plan, database, self.imports, self.arn, 1, self.seconds_left)

    def advance(self) -> Advanced:
        """Bring everything as far as it goes."""
        return self.call.advance()

    @property
    def there(self) -> list[str]:
        """The collections in Milvus, temporary ones as `...`."""
        return sorted(
            "..." if each.startswith("vault_restoring") else each for each in self.database.list_collections(PLACE)
        )


def _source(prefix: str) -> ImportSource:
    paths = ImportPaths(insert_prefix=prefix, delta_prefix="", row_count=ROWS)
    return ImportSource(partition="_default", pairs=(paths,))


def _deletes(prefix: str) -> ImportSource:
    paths = ImportPaths(insert_prefix="", delta_prefix=prefix, row_count=0)
    return ImportSource(partition="", pairs=(paths,), is_deletes=True)


def test_a_collection_gets_its_name_while_another_is_still_imported() -> None:
    restore = Restore("a", "b")
    assert restore.advance() == Advanced(finished=0, failed=0, pending=2, wait_seconds=1)
    assert restore.there == ["...", "..."]
    restore.imports.end("1")
    assert restore.advance().finished == 1
    assert restore.there == ["...", "b"]
    restore.imports.end("0")
    assert restore.advance().is_done
    assert restore.there == ["a", "b"]
    assert len(restore.imports.jobs) == 2


def test_a_collection_is_made_when_its_own_objects_are_staged() -> None:
    restore = Restore("a", "b", staged=True)
    assert restore.advance().pending == 2
    assert restore.there == []
    restore.plan_copies()
    restore.copy(0)
    assert restore.advance().pending == 2
    assert [collection for collection, _ in restore.imports.jobs.values()] == [temporary_name(restore.run.run, 0, 1)]


def test_one_that_fails_costs_the_others_nothing() -> None:
    restore = Restore("a", "b")
    restore.advance()
    restore.imports.end("0", status=ImportStatus.FAILED)
    restore.imports.end("1")
    assert restore.advance() == Advanced(finished=1, failed=1, pending=0, wait_seconds=1)
    failed = Journal(restore.run).find(0, "failed", Failed)
    assert failed is not None
    assert failed.error == ImportFailedError.__name__


def test_where_milvus_answers_for_some_imports_the_others_are_asked_again_and_for_none_the_call_fails() -> None:
    restore = Restore("a", "b")
    restore.advance()
    restore.imports.unanswered = {"0"}
    restore.imports.end("1")
    assert restore.advance().finished == 1
    with pytest.raises(MilvusUnavailableError):
        restore.advance()
    restore.imports.unanswered = set()
    restore.imports.end("0")
    assert restore.advance().is_done


def test_what_a_call_has_no_time_for_is_left_to_the_next() -> None:
    restore = Restore("a", "b", "c")
    left = iter([RESERVE_SECONDS, RESERVE_SECONDS - 1, 0])
    restore.seconds_left = lambda: next(left)
    assert restore.advance() == Advanced(finished=0, failed=0, pending=3, wait_seconds=1)
    assert restore.there == ["..."]
    restore.seconds_left = lambda: AN_HOUR
    restore.advance()
    assert restore.there == ["...", "...", "..."]


def test_the_longer_an_import_has_taken_the_longer_the_next_look_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    class Later(datetime):
        """The clock, when the import has gone on for 200 s."""

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) + timedelta(seconds=200)

    restore = Restore("a")
    assert restore.advance().wait_seconds == 1
    monkeypatch.setattr("milvus_vault.restore.advance.datetime", Later)
    assert restore.advance().wait_seconds == 20


def test_a_call_goes_on_over_short_waits_and_ends_with_the_first_long_one() -> None:
    restore = Restore("a")
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            restore.imports.end("0")

    assert restore.call.advance_for(AN_HOUR, pause).is_done
    assert pauses == [1, 1, 1]
    slow = Restore("a", staged=True, started=timedelta(seconds=10 * LONGEST_IN_CALL_SECONDS + 10))
    assert slow.call.advance_for(AN_HOUR, pause).wait_seconds == LONGEST_IN_CALL_SECONDS + 1
    assert slow.call.advance_for(0, pause).pending == 1
    assert pauses == [1, 1, 1]


class Slow(InMemoryDatabase):
    """A Milvus that is asked some times before an index is built, and before a collection is loaded."""

    steps = 3

    def index_progress(self, database: str, name: str) -> IndexProgress:
        """Return that a row more is indexed with each question, of three."""
        super().index_progress(database, name)
        self.steps -= 1
        return IndexProgress(self.steps <= 0, 3 - max(0, self.steps), 3)

    def load_percent(self, database: str, name: str, partitions: Sequence[str] = ()) -> int | None:
        """Return that it is half loaded first."""
        loaded = super().load_percent(database, name, partitions)
        return loaded if loaded is None or self.steps < -1 else 50


def test_how_far_milvus_indexes_and_loads_is_written_down() -> None:
    restore = Restore("a")
    target = restore.run.read(target_name(0), Target)
    index = IndexDescription(index_id=1, name="i", field_name="v", params=())
    wanted = {"indexes": (index,), "load_state": LoadState.LOADED, "imports": (), "live_row_count": None}
    restore.run.write(target_name(0), target.model_copy(update=wanted))
    restore.database = Slow()
    seen = []
    while not restore.call.advance().is_done:
        served = restore.run.read(serving_name(ARN), ServingMoved)
        seen.append((served.collections[0].indexed_rows, served.collections[0].load_percent))
    assert seen == [(1, None), (2, None), (3, 0), (3, 50)]
    assert served.indexing
    assert served.loading
    assert served.indexing.begun_at <= served.indexing.since <= served.loading.begun_at <= served.loading.since
