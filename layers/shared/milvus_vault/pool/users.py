"""Notes of the attempts that use the pool, so that nothing goes which one of them is about to list.

An attempt writes its note, then reads which objects are condemned, then lists the pool. A sweep condemns objects, then
reads the notes. So of an attempt and a sweep at least one sees the other: the sweep waits for the attempts whose notes
it finds, and those that come later pass the condemned by.

A note has one more use: it is the fence between an attempt that publishes and a sweep that takes it for dead. Both
change the note under the condition that it is as they read it, so that one of them loses.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from milvus_vault.archive.pool import PoolLayout
from milvus_vault.errors import ConditionalWriteUnsupportedError, RunTakenOverError
from milvus_vault.model.base import Model
from milvus_vault.model.names import attempt_of
from milvus_vault.pool.notes import find_note
from milvus_vault.ports import ObjectStore
from milvus_vault.workspace import Workspace


class PoolUser(Model):
    """An attempt that may list objects of the pool in the backup that it makes."""

    run: str
    execution_arn: str
    state: Literal["working", "publishing", "void"] = "working"
    """`publishing`: its lists are written, and count as those of a backup. `void`: it may not publish any more."""


def read_user(store: ObjectStore, bucket: str, key: str) -> tuple[PoolUser, str] | None:
    """Return a note and its ETag; None where there is none.

    Raises `WorkingFileError` for one that cannot be read: whose it is may be about to list anything.
    """
    hint = "Remove it while no incremental backup runs."
    return find_note(store, bucket, key, PoolUser, says="who uses the pool", hint=hint)


@dataclass(frozen=True, slots=True)
class PoolUse:
    """One attempt's use of the pool."""

    run: Workspace
    execution_arn: str

    @property
    def _key(self) -> str:
        return PoolLayout(self.run.prefix).user(self.run.run, attempt_of(self.execution_arn))

    def begin(self) -> None:
        """Write the note, before anything is read of the pool. Safe to repeat.

        Raises `ConditionalWriteUnsupportedError` where S3 writes in spite of a condition: nothing would hold then.
        """
        store, bucket = self.run.store, self.run.bucket
        body = self._body("working")
        # The first writes it. Of the others one may find it gone, which another function of this execution has removed;
        # the first that is refused proves the condition.
        if all(store.put_if_absent(bucket, self._key, body) for _ in range(3)) or store.put_if_unchanged(
            bucket, self._key, body, "none"
        ):
            msg = f"the S3 of bucket {bucket} overwrites an object in spite of a condition (If-None-Match, If-Match)"
            raise ConditionalWriteUnsupportedError(msg, hint="Make full backups, or use an S3 with conditional writes.")

    def publish(self, has_published: Callable[[], bool] = lambda: False) -> None:
        """Note that the lists are written and the marker follows. Safe to repeat.

        Args:
            has_published: Whether another function of this execution has written the marker; it has ended the use then.

        Raises `RunTakenOverError` where the attempt was taken for dead: objects that it lists may be gone.
        """
        store, bucket = self.run.store, self.run.bucket
        found = read_user(store, bucket, self._key)
        if found is None:
            if not has_published():
                raise self._taken_for_dead()
            return
        note, etag = found
        if note.state == "void":
            raise self._taken_for_dead()
        if note.state == "working" and not store.put_if_unchanged(bucket, self._key, self._body("publishing"), etag):
            # A sweep has made it void, or another function of this execution publishes.
            self.publish(has_published)

    def end(self) -> None:
        """Remove the note, once the marker is written."""
        self.run.store.delete(self.run.bucket, [self._key])

    def _body(self, state: Literal["working", "publishing"]) -> bytes:
        note = PoolUser(run=self.run.run, execution_arn=self.execution_arn, state=state)
        return note.model_dump_json().encode()

    def _taken_for_dead(self) -> RunTakenOverError:
        msg = f"execution {self.execution_arn} was taken for dead, and objects that its backup shares may be gone"
        return RunTakenOverError(msg, hint="Start it again with the same input.")
