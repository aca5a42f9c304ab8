"""VerifyBackup: compare a backup's documents with their digests, and its objects with its lists of them.

At the level `quick` that is all. Otherwise it then writes down which objects CheckObjects is to look at one by one, and
concludes when that is done.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import islice
from typing import NamedTuple

from milvus_vault.archive.check import ObjectCheck, check_objects
from milvus_vault.archive.contents import ArchivedCollection, list_bytes
from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.object_table import ObjectTable
from milvus_vault.archive.pool import is_pooled
from milvus_vault.archive.reader import (
    check_backup_exists,
    document_pieces,
    read_archive,
    read_manifest,
    stored_objects,
)
from milvus_vault.archive.remains import deleted_meanwhile, marker_etag
from milvus_vault.archive.sealing import seal
from milvus_vault.archive.tombstones import check_not_being_deleted
from milvus_vault.catalogue import Catalogue
from milvus_vault.catalogue.entries import CatalogueKeys
from milvus_vault.claims import CLAIM, Claims
from milvus_vault.errors import BackupDamagedError, with_hint
from milvus_vault.model.messages_verify import VerifyBackupResult
from milvus_vault.model.readable import first_of, size
from milvus_vault.model.requests import VerifyOptions, VerifyRequest
from milvus_vault.model.resources import Verification
from milvus_vault.parallel import LISTS_AT_A_TIME, LISTS_AT_A_TIME_BYTES, each
from milvus_vault.pool.doubts import Doubt, PoolDoubts
from milvus_vault.pool.references import listed_by
from milvus_vault.ports import Executions
from milvus_vault.verifying.contents import Comparison, ContentComparison
from milvus_vault.verifying.locks import lock_to_prove, unlocked_documents
from milvus_vault.verifying.planning import (
    MAX_READ_BYTES,
    are_missing,
    conclude,
    damaged_items,
    looked_at,
    newest_of,
    plan_checks,
    write_collection,
)
from milvus_vault.verifying.repair import BackupRepair, Repaired
from milvus_vault.verifying.working_files import (
    BATCHES,
    MAX_PROBLEMS,
    PROGRESS,
    CheckedBatch,
    CheckItem,
    VerifyProgress,
)
from milvus_vault.workspace import Workspace

# How many problems the cause of a failed run names, and how many losses its result.
_NAMED = 5
_LOST_NAMED = 100

# Collections of a million objects take minutes to list; between two the time that is left is looked at.
STOP_SECONDS = 300

# Collections that are listed again at most where a call dies.
_NOTED_AT_A_TIME = 100


@dataclass(frozen=True, slots=True)
class BackupVerification:
    """The check of one backup by one execution."""

    run: Workspace
    layout: BackupLayout
    executions: Executions
    execution_arn: str
    seconds_left: Callable[[], float]
    now: datetime
    options: VerifyOptions = field(default_factory=VerifyOptions)
    check_count: int = 0
    """How often the batches were given to CheckObjects."""

    def verify(self) -> VerifyProgress:
        """Check as much as there is time for, going on where the call before ended. Safe to repeat.

        Where objects are to be looked at one by one, it is done once CheckObjects has looked at them.

        Raises:
            BackupNotFoundError: There is no such backup, or it is being deleted.
            BackupFormatError: It is in a format that cannot be read.
            CheckIncompleteError: CheckObjects ended again and again before it had looked at all objects.
        """
        progress = self.run.find(PROGRESS, VerifyProgress) or self._begin()
        if progress.is_done:
            return progress
        if progress.batch_count is None:
            progress, is_listed = self._list(progress)
            if not is_listed:
                return progress
            if self.options.level == "quick":
                return self._end(progress)
            progress = self._plan(progress)
        return self._conclude(progress)

    def _list(self, progress: VerifyProgress) -> tuple[VerifyProgress, bool]:
        """Return what the listings show as far as there is time, and whether what follows may begin."""
        store, bucket = self.run.store, self.run.bucket
        try:
            archive = read_archive(store, bucket, self.layout)
        except BackupDamagedError as err:
            return self._end(progress.model_copy(update={"problems": (*progress.problems, err.message)})), False
        check = partial(self._check, progress, self._doubts.read() if progress.is_incremental else {})
        rest = list(enumerate(archive.collections))[progress.next_collection :]
        totals = {"etags_compared": archive.has_checksums, "collections_total": len(archive.collections)}
        progress = progress.model_copy(update=totals)
        if not progress.next_collection:
            # What is to be listed is told from the beginning on.
            self.run.write(PROGRESS, progress)
        found = each(
            check,
            rest,
            threads=LISTS_AT_A_TIME,
            weight=lambda numbered: list_bytes(numbered[1]),
            max_weight=LISTS_AT_A_TIME_BYTES,
        )
        for number, listed in enumerate(found, start=1):
            progress = progress.model_copy(
                update={
                    "next_collection": progress.next_collection + 1,
                    "object_count": progress.object_count + listed.object_count,
                    "size_bytes": progress.size_bytes + listed.size_bytes,
                    "problems": (*progress.problems, *listed.problems)[:MAX_PROBLEMS],
                    "archived": (*progress.archived, *listed.archived)[:MAX_PROBLEMS],
                    "to_check": progress.to_check + listed.to_check,
                    "too_large": progress.too_large + listed.too_large,
                    "doubts": {**progress.doubts, **listed.doubts} if listed.doubts else progress.doubts,
                }
            )
            is_short = number < len(rest) and self.seconds_left() < STOP_SECONDS
            if is_short or number == len(rest) or number % _NOTED_AT_A_TIME == 0:
                self.run.write(PROGRESS, progress)
            if is_short:
                return progress, False
        return progress, self.options.level == "quick" or self.seconds_left() >= STOP_SECONDS

    def _begin(self) -> VerifyProgress:
        """Claim the run, so that nobody sweeps it away, and check the documents that belong to no collection."""
        store, bucket = self.run.store, self.run.bucket
        claims = Claims(store, self.executions, bucket, execution_arn=self.execution_arn, run=self.run.run)
        claims.take_own(self.run.key(CLAIM))
        problems = []
        etag = marker_etag(store, bucket, self.layout) or ""
        try:
            manifest = read_manifest(store, bucket, self.layout)
        except BackupDamagedError as err:
            return VerifyProgress(problems=(err.message,), marker_etag=etag)
        for expected in manifest.documents if manifest else ():
            try:
                # That of milvus-backup which names all objects has some 150 bytes of each.
                deque(document_pieces(store, bucket, self.layout, expected), maxlen=0)
            except BackupDamagedError as err:
                problems.append(err.message)
        lock = None
        if manifest and self.options.level != "quick":
            lock = lock_to_prove(store, bucket, self.layout, manifest.lock, self.now)
        if manifest and lock:
            problems += islice(unlocked_documents(store, bucket, self.layout, manifest, lock), MAX_PROBLEMS)
        last = self._last()
        earlier = last if last and not (manifest and last.verified_at < manifest.finished_at) else None
        damaged = earlier.damaged_contents if earlier else {}
        return VerifyProgress(
            problems=tuple(problems),
            known_damage={key: text for key, text in damaged.items() if not is_pooled(key)},
            begun_at=self.now,
            marker_etag=etag,
            last_run=last.run if last else "",
            objects_total=sum(entry.object_count for entry in manifest.collections) if manifest else None,
            is_incremental=manifest is not None and manifest.is_incremental,
            next_position=earlier.next_position if earlier else 0,
            newest=newest_of(manifest),
            lock=lock,
        )

    def _last(self) -> Verification | None:
        """Return the last verification of a backup of this name, if there is one that can be read."""
        try:
            return Catalogue(self.run.store, self.run.bucket, self.run.prefix).verification(self.layout.name)
        except ValueError:
            return None

    @property
    def _doubts(self) -> PoolDoubts:
        return PoolDoubts(self.run.store, self.run.bucket, self.run.prefix)

    def _check(
        self, progress: VerifyProgress, doubts: Mapping[str, Doubt], numbered: tuple[int, ArchivedCollection]
    ) -> "_Listed":
        """Compare a collection's objects with a listing, and write down those that are to be looked at one by one."""
        index, collection = numbered
        store, bucket = self.run.store, self.run.bucket
        try:
            objects = ObjectTable(stored_objects(store, bucket, self.layout, collection))
        except BackupDamagedError as err:
            return _Listed(problems=(err.message,))
        with closing(objects):
            return self._compare(progress, doubts, index, collection, objects)

    def _compare(
        self,
        progress: VerifyProgress,
        doubts: Mapping[str, Doubt],
        index: int,
        collection: ArchivedCollection,
        objects: ObjectTable,
    ) -> "_Listed":
        store, bucket = self.run.store, self.run.bucket
        check = check_objects(store, bucket, self.layout, collection, objects)
        found = _Listed(
            object_count=objects.count,
            size_bytes=objects.size_bytes,
            problems=tuple(_problems(collection, check)),
            archived=tuple(f"{collection.name}: {key} is archived" for key in check.archived[:MAX_PROBLEMS]),
            doubts={key: doubt for key, doubt in doubts.items() if objects.find(key)},
        )
        if self.options.level == "quick":
            return found
        items = write_collection(
            self.run,
            self.layout,
            self.options.level,
            index,
            collection,
            objects.noted(),
            newest=progress.newest,
            doubts=found.doubts,
            has_lock=progress.lock is not None,
        )
        if self.options.level == "deep":
            found = found._replace(too_large=sum(1 for item in objects if item.size_bytes > MAX_READ_BYTES))
        return found._replace(to_check=items)

    def _plan(self, progress: VerifyProgress) -> VerifyProgress:
        """Write down in which batches the objects are looked at."""
        planned = plan_checks(
            self.run,
            self.layout,
            self.options,
            begin=progress.next_position,
            always=progress.known_damage.keys() | progress.doubts.keys(),
            lock=progress.lock,
        )
        update: dict[str, object] = {"batch_count": len(planned.batches), "batches": planned.batches}
        if self.options.level == "deep":
            update["next_position"] = planned.next_position
        progress = progress.model_copy(update=update)
        self.run.write(PROGRESS, progress)
        return progress

    def _conclude(self, progress: VerifyProgress) -> VerifyProgress:
        """End once all batches were looked at; until then the batches are still to be given to CheckObjects."""
        count = progress.batch_count or 0
        if are_missing(self.run, self.layout, count, self.check_count):
            return progress
        found = conclude(self.run, self.layout, count)
        is_deep = self.options.level == "deep"
        damaged = list(damaged_items(self.run, count))
        listing = self._sharers(item.key for item, _ in damaged)
        texts = {item.key: _shared(text, listing.get(item.key, ())) for item, text in damaged}
        doubts, settled = progress.doubts, frozenset[str]()
        if is_deep:
            settled = self._read_again(progress, found)
            doubts = self._change_doubts(progress, settled, damaged, listing, texts)
        return self._end(
            progress.model_copy(
                update={
                    "checked": found.model_copy(
                        update={
                            "digests": {},
                            "archived": (),
                            "unlocked": (),
                            "damaged": {key: texts[key] for key in found.damaged},
                        }
                    ),
                    # At another level it stays, see `_damaged_contents`.
                    "known_damage": {
                        key: text
                        for key, text in progress.known_damage.items()
                        if not (is_deep and key in settled | texts.keys())
                    },
                    "doubts": doubts,
                    "problems": (*progress.problems, *(texts[key] for key in found.damaged), *found.unlocked)[
                        :MAX_PROBLEMS
                    ],
                    "archived": (*progress.archived, *found.archived)[:MAX_PROBLEMS],
                }
            ),
            settled - texts.keys(),
        )

    def _read_again(self, progress: VerifyProgress, found: CheckedBatch) -> frozenset[str]:
        """Return which objects that were known to be damaged were looked at, if nothing was in the way of reading.

        What is wrong with a segment shows only where all of its logs are read.
        """
        known = progress.known_damage.keys() | progress.doubts.keys()
        is_all_read = not (progress.archived or found.archived)
        return looked_at(self.run, progress.batch_count or 0, known) if is_all_read else frozenset()

    def _change_doubts(
        self,
        progress: VerifyProgress,
        read: Collection[str],
        damaged: Sequence[tuple[CheckItem, str]],
        listing: Mapping[str, Sequence[str]],
        texts: Mapping[str, str],
    ) -> dict[str, Doubt]:
        """Write down what was found of objects of the pool; return the doubts that stay as they were.

        A doubt is settled where its object was read as it should be.
        """
        new = {
            item.key: Doubt(
                problem=texts[item.key],
                found_at=self.now,
                found_by=self.layout.name,
                listed_by=(self.layout.name, *listing.get(item.key, ())),
                digest=item.digest,
            )
            for item, _ in damaged
            if is_pooled(item.key)
        }
        known = progress.doubts.keys() - new.keys()
        self._doubts.change(new, {key: progress.doubts[key] for key in known.intersection(read)})
        return {key: progress.doubts[key] for key in known.difference(read)}

    def _sharers(self, keys: Iterable[str]) -> Mapping[str, Sequence[str]]:
        """Return the names of the other backups that list some objects of the pool."""
        pooled = [key for key in keys if is_pooled(key)]
        names = Catalogue(self.run.store, self.run.bucket, self.run.prefix).sharing() if pooled else frozenset[str]()
        return listed_by(
            self.run.store,
            self.run.bucket,
            self.run.prefix,
            names - {self.layout.name},
            pooled,
            lambda: self.seconds_left() >= STOP_SECONDS,
        )

    def _end(self, progress: VerifyProgress, settled: Collection[str] = ()) -> VerifyProgress:
        """Write down what was found; `settled` are objects of which known damage was not found again."""
        other = self._ended_meanwhile(progress)
        if other is not None:
            found_again = _damaged_contents(self.options, progress)
            # What was known before it has carried on.
            known = {
                key: text
                for key, text in other.damaged_contents.items()
                if not (is_pooled(key) or key in settled or key in found_again)
            }
            progress = progress.model_copy(update={"known_damage": known})
        if other is not None and other.status == "damaged":
            # It may have looked at what this one had looked at already.
            mended = tuple(text for key, text in other.damaged_contents.items() if key in settled)
            found = [text for text in other.problems if not text.startswith(mended)]
            earlier = [f"{text} (found by {other.run}, which ended meanwhile)" for text in found]
        else:
            earlier = [f"{text} (found by an earlier deep verification)" for text in progress.known_damage.values()]
        problems = [*progress.problems, *earlier]
        problems += [doubt.of_another for doubt in progress.doubts.values()]
        self._check_stays(progress)
        ended = progress.model_copy(update={"is_done": True, "problems": tuple(dict.fromkeys(problems))[:MAX_PROBLEMS]})
        # Once: what another one finds after that stays when this one is called again.
        self._remember(ended)
        self.run.write(PROGRESS, ended)
        return ended

    def _remember(self, found: VerifyProgress) -> None:
        """Write what was found into the catalogue, in place of an earlier verification."""
        damaged = _damaged_contents(self.options, found) | found.known_damage
        damaged |= {key: doubt.problem for key, doubt in found.doubts.items()}
        verification = Verification(
            **found.verified(self.options),
            verified_at=self.now,
            status=found.status,
            run=self.run.run,
            problems=found.found,
            damaged_contents=dict(islice(damaged.items(), MAX_PROBLEMS)),
            next_position=found.next_position,
        )
        key = CatalogueKeys(self.run.prefix).verification(self.layout.name)
        self.run.store.put(self.run.bucket, key, seal(verification))

    def _ended_meanwhile(self, progress: VerifyProgress) -> Verification | None:
        """Return the verification that was remembered since this one began."""
        last = self._last() if progress.last_run is not None else None
        return last if last and last.run not in {progress.last_run, self.run.run} else None

    def _check_stays(self, progress: VerifyProgress) -> None:
        """Return if it is still this backup: what is missing may just have been deleted, or what is there be another's.

        Raises `BackupNotFoundError`.
        """
        store, bucket = self.run.store, self.run.bucket
        check_not_being_deleted(store, bucket, self.run.prefix, self.layout.name)
        check_backup_exists(store, bucket, self.layout)
        etag = marker_etag(store, bucket, self.layout)
        if etag and progress.marker_etag and etag != progress.marker_etag:
            raise deleted_meanwhile(self.layout.name)


class _Listed(NamedTuple):
    """What a listing shows of a collection."""

    object_count: int = 0
    size_bytes: int = 0
    problems: tuple[str, ...] = ()
    archived: tuple[str, ...] = ()
    to_check: int = 0
    """Objects that can be looked at one by one."""
    too_large: int = 0
    doubts: Mapping[str, Doubt] = {}


def _shared(text: str, names: Sequence[str]) -> str:
    """Return what is wrong with an object, with the names of the other backups that list it."""
    return f"{text} (it is also listed by {first_of(names, _NAMED)})" if names else text


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
    check_count: int = 0,
) -> VerifyBackupResult:
    """Mend a backup's metadata where asked to, check the backup, and remember what was found. Safe to repeat.

    It does as much as there is time for, and goes on where the call before ended: the result says whether it is done,
    and whether objects are to be given to CheckObjects first, which `check_count` counts.

    Raises:
        BackupNotFoundError: There is no such backup, or it is being deleted.
        BackupFormatError: It is in a format that cannot be read.
        BackupInProgressError: It is to be mended, and an execution works on it.
        RunTakenOverError: It is to be mended, and this execution was stopped, and another one works on it since.
        BackupDamagedError: It is to be mended, and nothing is left to mend it from.
        CheckIncompleteError: CheckObjects ended again and again before it had looked at all objects.
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
    found = VerifyProgress()
    if compared.is_done:
        found = BackupVerification(
            run=run,
            layout=layout,
            executions=executions,
            execution_arn=execution_arn,
            seconds_left=seconds_left,
            now=now,
            options=request,
            check_count=check_count,
        ).verify()
    return _result(run, request, found, repaired, compared, check_count)


def _result(
    run: Workspace,
    request: VerifyRequest,
    found: VerifyProgress,
    repaired: Repaired,
    compared: Comparison,
    check_count: int,
) -> VerifyBackupResult:
    name = request.backup_name
    mended = (*repaired.mended, *_proven(compared.proven_count))
    said = [*mended, *(f"lost: {lost}" for lost in repaired.lost), *found.found]
    listed = first_of(said, _NAMED + len(mended) + len(repaired.lost), separator="; ")
    has_batches = not found.is_done and found.batch_count is not None
    return VerifyBackupResult(
        **found.result(request).model_dump(exclude={"warnings", "mended", "lost"}),
        is_done=found.is_done,
        run=run.run,
        has_batches=has_batches,
        bucket=run.bucket if has_batches else "",
        batches_key=run.key(BATCHES) if has_batches else "",
        check_count=check_count + has_batches,
        error=found.error,
        cause=with_hint(f"backup '{name}' is {found.status}: {listed}", found.hint) if found.error else "",
        warnings=_warnings(found),
        mended=mended,
        lost=repaired.lost[:_LOST_NAMED],
    )


def _proven(count: int) -> tuple[str, ...]:
    """Return what to say of objects whose ETags were noted."""
    return (f"{count} object(s) have another ETag and the content that was recorded: that is noted",) if count else ()


def _warnings(found: VerifyProgress) -> tuple[str, ...]:
    limit = size(MAX_READ_BYTES)
    return (f"{found.too_large} object(s) of more than {limit} were not read",) if found.too_large else ()


def _damaged_contents(options: VerifyOptions, found: VerifyProgress) -> dict[str, str]:
    """Return what was found that is kept until the objects are read again: what a checksum tells is not of contents."""
    return found.checked.damaged if options.level == "deep" else {}
