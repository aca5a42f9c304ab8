"""A copy job in memory, for the tests of the copy machine."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from milvus_vault.copying.batches import BatchLimits
from milvus_vault.copying.engine import copy_batch
from milvus_vault.copying.plan import plan_copy
from milvus_vault.copying.verify import verify_copy
from milvus_vault.copying.working_files import (
    CURRENT,
    BatchResult,
    CopyCheck,
    CopyPlan,
    CopyTarget,
    write_job,
    write_target,
)
from milvus_vault.model.objects import CopyItem, CopyJob
from milvus_vault.workspace import Workspace
from tests.support.memory_store import InMemoryObjectStore

SOURCE, BACKUPS = "milvus", "backups"
LIMITS = BatchLimits(max_objects=4, max_bytes=1000)
AN_HOUR = 3600.0


def folder_of(target: int) -> str:
    """Return the folder of a target's objects in the destination."""
    return f"nightly/binlogs/insert_log/{target}/"


@dataclass
class Job:
    """A run whose objects of each target are the numbers 0, 1, 2 ... as text, and a short way to its steps."""

    store: InMemoryObjectStore
    attempt: str = "first"
    sizes: dict[int, int] = field(default_factory=dict)
    """Objects of each target, by index."""

    @property
    def run(self) -> Workspace:
        """The run's working files."""
        return Workspace(self.store, BACKUPS, "prefix", "nightly")

    def source_key(self, target: int, number: int) -> str:
        """Return where Milvus keeps an object."""
        return f"files/insert_log/{target}/{number}"

    def key(self, target: int, number: int) -> str:
        """Return where an object is copied to."""
        return f"{folder_of(target)}{number}"

    def write_sources(self, **sizes: int) -> None:
        """Put objects into the source, so many for each target, and write the job: `t0=3, t1=5`."""
        self.sizes = {int(name[1:]): size for name, size in sizes.items()}
        for target, size in self.sizes.items():
            for number in range(size):
                self.store.put(SOURCE, self.source_key(target, number), str(number).encode())
            self.list_items(target)
        write_job(self.run, self.attempt, CopyJob(source_bucket=SOURCE, destination_bucket=BACKUPS))

    def list_items(self, target: int) -> None:
        """Write the items of a target from what the source holds now."""
        prefix = f"files/insert_log/{target}/"
        self.write_items(
            target,
            [
                CopyItem(found.key, folder_of(target) + found.key.removeprefix(prefix), found.size_bytes, found.etag)
                for found in self.store.list_objects(SOURCE, prefix)
            ],
        )

    def write_items(self, target: int, items: Iterable[CopyItem]) -> None:
        """Write the items of a target."""
        described = CopyTarget(index=target, name=f"default.c{target}", folders=(folder_of(target),))
        write_target(self.run, self.attempt, described, items)

    def start_again(self, attempt: str) -> None:
        """Begin another attempt with what the source holds now."""
        self.attempt = attempt
        write_job(self.run, attempt, CopyJob(source_bucket=SOURCE, destination_bucket=BACKUPS))
        for target in self.sizes:
            self.list_items(target)

    def plan(self, round_number: int = 1) -> CopyPlan:
        """Plan a round."""
        return plan_copy(self.run, self.attempt, round_number, LIMITS)

    def copy(self, round_number: int = 1, threads: int = 4, seconds_left: float = AN_HOUR) -> list[BatchResult]:
        """Copy all batches of a round."""
        plan = self.run.read(CURRENT, CopyPlan)
        assert plan.round_number == round_number
        return [
            copy_batch(
                self.run,
                f"copy/{self.attempt}/r{round_number}/batch-{number}.jsonl",
                threads=threads,
                deadline_seconds_left=lambda: seconds_left,
            )
            for number in range(plan.batch_count)
        ]

    def verify(self, round_number: int = 1) -> CopyCheck:
        """Verify a round."""
        return verify_copy(self.run, self.attempt, round_number)

    def copied_bodies(self) -> dict[str, bytes]:
        """Return what lies in the destination besides the working files."""
        return {key: o.body for key, o in self.store.buckets[BACKUPS].items() if not key.startswith("prefix/.runs/")}

    def expected_bodies(self) -> dict[str, bytes]:
        """Return what should lie there."""
        return {self.key(t, n): str(n).encode() for t, size in self.sizes.items() for n in range(size)}
