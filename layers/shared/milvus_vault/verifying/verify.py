"""VerifyBackup: compare a backup's documents with their digests, and its objects with its lists of them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import batched
from typing import Literal

from milvus_vault.archive.check import ObjectCheck, check_objects
from milvus_vault.archive.contents import ArchivedCollection
from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.reader import check_backup_exists, read_archive, read_document, read_manifest, read_objects
from milvus_vault.archive.sealing import seal
from milvus_vault.archive.tombstones import check_not_being_deleted
from milvus_vault.catalogue import Catalogue
from milvus_vault.catalogue.entries import CatalogueKeys
from milvus_vault.claims import CLAIM, Claims
from milvus_vault.errors import BackupDamagedError
from milvus_vault.model.base import Model
from milvus_vault.model.messages_verify import VerifyBackupResult
from milvus_vault.model.readable import first_of
from milvus_vault.model.requests import VerifyRequest
from milvus_vault.model.resources import Verification
from milvus_vault.parallel import REQUESTS_AT_A_TIME, each
from milvus_vault.ports import Executions
from milvus_vault.verifying.contents import Comparison, ContentComparison
from milvus_vault.verifying.repair import BackupRepair, Repaired
from milvus_vault.workspace import Workspace

PROGRESS = "verified.json"

MAX_PROBLEMS = 100

# How many problems the cause of a failed run names, and how many losses its result.
_NAMED = 5
_LOST_NAMED = 100

# Collections of a million objects take minutes to list; between two the time that is left is looked at.
STOP_SECONDS = 300


class VerifyProgress(Model):
    """What is checked so far: the documents, and the first of the collections."""

    next_collection: int = 0
    is_done: bool = False
    object_count: int = 0
    size_bytes: int = 0
    content_checked: bool = False
    problems: tuple[str, ...] = ()
    archived: tuple[str, ...] = ()
    """The first hundred objects that are as they were, and cannot be read where they lie."""

    @property
    def status(self) -> Literal["intact", "damaged", "archived"]:
        """Return what the backup is to be called."""
        if self.problems:
            return "damaged"
        return "archived" if self.archived else "intact"

    @property
    def error(self) -> str:
        """Return the error under which the run ends, or an empty text."""
        return {"damaged": "BackupDamagedError", "archived": "ObjectArchivedError"}.get(self.status, "")

    @property
    def found(self) -> tuple[str, ...]:
        """Return the first hundred things that are not as they should be."""
        return (*self.problems, *self.archived)[:MAX_PROBLEMS]


@dataclass(frozen=True, slots=True)
class BackupVerification:
    """The check of one backup by one execution."""

    run: Workspace
    layout: BackupLayout
    executions: Executions
    execution_arn: str
    seconds_left: Callable[[], float]

    def verify(self) -> VerifyProgress:
        """Check as much as there is time for, going on where the call before ended. Safe to repeat.

        Raises:
            BackupNotFoundError: There is no such backup, or it is being deleted.
            BackupFormatError: It is in a format that cannot be read.
        """
        progress = self.run.find(PROGRESS, VerifyProgress) or self._begin()
        if progress.is_done:
            return progress
        store, bucket = self.run.store, self.run.bucket
        try:
            archive = read_archive(store, bucket, self.layout)
        except BackupDamagedError as err:
            return self._end(progress.model_copy(update={"problems": (*progress.problems, err.message)}))
        rest = archive.collections[progress.next_collection :]
        progress = progress.model_copy(update={"content_checked": archive.has_checksums})
        for some in batched(rest, REQUESTS_AT_A_TIME, strict=False):
            if self.seconds_left() < STOP_SECONDS:
                return progress
            for object_count, size_bytes, problems, archived in each(self._check, some):
                progress = progress.model_copy(
                    update={
                        "next_collection": progress.next_collection + 1,
                        "object_count": progress.object_count + object_count,
                        "size_bytes": progress.size_bytes + size_bytes,
                        "problems": (*progress.problems, *problems)[:MAX_PROBLEMS],
                        "archived": (*progress.archived, *archived)[:MAX_PROBLEMS],
                    }
                )
            self.run.write(PROGRESS, progress)
        return self._end(progress)

    def _begin(self) -> VerifyProgress:
        """Claim the run, so that nobody sweeps it away, and check the documents that belong to no collection."""
        store, bucket = self.run.store, self.run.bucket
        claims = Claims(store, self.executions, bucket, execution_arn=self.execution_arn, run=self.run.run)
        claims.take_own(self.run.key(CLAIM))
        problems = []
        try:
            manifest = read_manifest(store, bucket, self.layout)
        except BackupDamagedError as err:
            return VerifyProgress(problems=(err.message,))
        for expected in manifest.documents if manifest else ():
            try:
                read_document(store, bucket, self.layout, expected)
            except BackupDamagedError as err:
                problems.append(err.message)
        return VerifyProgress(problems=tuple(problems))

    def _check(self, collection: ArchivedCollection) -> tuple[int, int, list[str], list[str]]:
        """Return the number and the bytes of a collection's objects, what is wrong with them, and what is archived."""
        store, bucket = self.run.store, self.run.bucket
        try:
            objects = read_objects(store, bucket, self.layout, collection)
        except BackupDamagedError as err:
            return 0, 0, [err.message], []
        check = check_objects(store, bucket, self.layout, collection, objects)
        archived = [f"{collection.name}: {key} is archived" for key in check.archived[:MAX_PROBLEMS]]
        size_bytes = sum(item.size_bytes for item in objects)
        return len(objects), size_bytes, list(_problems(collection, check)), archived

    def _end(self, progress: VerifyProgress) -> VerifyProgress:
        if progress.problems:
            # What is missing may just have been deleted.
            check_not_being_deleted(self.run.store, self.run.bucket, self.run.prefix, self.layout.name)
            check_backup_exists(self.run.store, self.run.bucket, self.layout)
        ended = progress.model_copy(update={"is_done": True, "problems": tuple(dict.fromkeys(progress.problems))})
        self.run.write(PROGRESS, ended)
        return ended


def _problems(collection: ArchivedCollection, check: ObjectCheck) -> Iterator[str]:
    for how, keys in (
        ("is missing", check.missing),
        ("has another size", check.wrong_size),
        ("changed: it has another ETag", list(check.changed)),
    ):
        for key in keys[:MAX_PROBLEMS]:
            yield f"{collection.name}: {key} {how}"
    for problem in check.torn[:MAX_PROBLEMS]:
        yield f"{collection.name}: {problem}"


def verify_backup(
    run: Workspace,
    request: VerifyRequest,
    *,
    executions: Executions,
    execution_arn: str,
    now: datetime,
    seconds_left: Callable[[], float],
) -> VerifyBackupResult:
    """Mend a backup's metadata where asked to, check the backup, and remember what was found. Safe to repeat.

    It does as much as there is time for, and goes on where the call before ended: the result says whether it is done.

    Raises:
        BackupNotFoundError: There is no such backup, or it is being deleted.
        BackupFormatError: It is in a format that cannot be read.
        BackupInProgressError: It is to be mended, and an execution works on it.
        BackupDamagedError: It is to be mended, and nothing is left to mend it from.
    """
    layout = BackupLayout(run.prefix, request.backup_name)
    repaired, compared = Repaired(), Comparison(is_done=True)
    if request.repair:
        repaired = BackupRepair(
            run=run,
            layout=layout,
            catalogue=Catalogue(run.store, run.bucket, run.prefix),
            executions=executions,
            execution_arn=execution_arn,
            now=now,
        ).repair()
        compared = ContentComparison(run, layout, seconds_left).compare()
    if not compared.is_done:
        return _result(layout.name, VerifyProgress(), repaired, compared)
    found = BackupVerification(
        run=run, layout=layout, executions=executions, execution_arn=execution_arn, seconds_left=seconds_left
    ).verify()
    if found.is_done:
        _record(run, layout.name, found, now)
    return _result(layout.name, found, repaired, compared)


def _result(name: str, found: VerifyProgress, repaired: Repaired, compared: Comparison) -> VerifyBackupResult:
    mended = (*repaired.mended, *_proven(compared.proven_count))
    said = [*mended, *(f"lost: {lost}" for lost in repaired.lost), *found.found]
    listed = first_of(said, _NAMED + len(mended) + len(repaired.lost), separator="; ")
    return VerifyBackupResult(
        is_done=found.is_done,
        backup_name=name,
        status=found.status,
        error=found.error,
        cause=f"backup '{name}' is {found.status}: {listed}" if found.error else "",
        object_count=found.object_count,
        size_bytes=found.size_bytes,
        content_checked=found.content_checked,
        problem_count=len(found.found),
        mended=mended,
        lost=repaired.lost[:_LOST_NAMED],
    )


def _proven(count: int) -> tuple[str, ...]:
    """Return what to say of objects whose ETags were noted."""
    return (f"{count} object(s) have another ETag and the content that was recorded: that is noted",) if count else ()


def _record(run: Workspace, backup_name: str, found: VerifyProgress, now: datetime) -> None:
    """Write what was found into the catalogue, in place of an earlier verification."""
    verification = Verification(
        verified_at=now,
        status=found.status,
        run=run.run,
        object_count=found.object_count,
        size_bytes=found.size_bytes,
        content_checked=found.content_checked,
        problems=found.found,
    )
    key = CatalogueKeys(run.prefix).verification(backup_name)
    run.store.put(run.bucket, key, seal(verification))
