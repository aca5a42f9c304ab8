"""Which collections' moments are proven, and which have to be captured once more: see `judging` for what proves one."""

from collections.abc import Container
from dataclasses import dataclass

from milvus_vault.backup.working_files import PLAN, BackupPlan, Snapshot, Verdict, snapshot_name
from milvus_vault.parallel import SMALL_REQUESTS_AT_A_TIME, each
from milvus_vault.workspace import Workspace


@dataclass(frozen=True, slots=True)
class MomentProof:
    """Proves the moments of collections that are copied, and notes in their snapshots what it found."""

    run: Workspace
    attempt: str
    source_bucket: str
    """Milvus' own."""

    def doubtful(self, lacking: Container[int]) -> tuple[int, ...]:
        """Return which collections have to be captured once more, but for those that lack copies.

        Asked again, it says the same.
        """
        plan = self.run.read(PLAN, BackupPlan)
        indexes = (index for index in range(len(plan.collections)) if index not in lacking)
        return tuple(
            index for index in each(self._prove, indexes, threads=SMALL_REQUESTS_AT_A_TIME) if index is not None
        )

    def _prove(self, index: int) -> int | None:
        snapshot = self.run.find(snapshot_name(self.attempt, index), Snapshot)
        if snapshot is not None and snapshot.verdict is Verdict.CHANGED:
            return index
        if snapshot is None or snapshot.document is None or snapshot.evidence is None:
            return None
        if snapshot.verdict is None:
            # It reads with pyarrow, which takes half a second to load: not in a backup of what nobody writes to, nor in
            # a restore, which runs in the same function.
            from milvus_vault.backup.judging import Judge

            snapshot = Judge(self.run, self.source_bucket).judge(snapshot, snapshot.document, snapshot.evidence)
            self.run.write(snapshot_name(self.attempt, index), snapshot)
        again = {Verdict.COMPACTED, Verdict.UNSETTLED, Verdict.MISCOUNTED}
        if snapshot.round == 1:
            # From the second on a collection is listed by its flush, and finds deletes that a compaction has moved.
            again.add(Verdict.UNDERCOUNTED)
        return index if snapshot.verdict in again else None
