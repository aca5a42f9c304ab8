"""Actors that use one pool at the same time, and take turns request by request.

Each runs in a thread of its own, which waits at each request until it is its turn. Of an execution that has ended the
thread goes on where nobody kills it, as the functions of a stopped execution do.
"""

import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import batched

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.manifest import (
    POOL_FORMAT_VERSION,
    CollectionDocument,
    Manifest,
    Source,
    digest,
    entry_of,
    read_object_list,
    write_object_list,
)
from milvus_vault.archive.pool import PooledKey, PoolLayout, content_of, group_of, is_pooled, parse_pooled_key
from milvus_vault.archive.reader import find_manifest
from milvus_vault.archive.reference_writer import marker_file
from milvus_vault.archive.remains import is_there
from milvus_vault.archive.tombstones import tombstone_key
from milvus_vault.backup.export import ExportPreparation
from milvus_vault.catalogue import Catalogue
from milvus_vault.claims import CLAIM, RUNNING, ClaimHeldError, Claims, check_owner
from milvus_vault.copying.working_files import read_items
from milvus_vault.errors import (
    BackupDamagedError,
    BackupNotFoundError,
    ObjectChangedError,
    ObjectNotFoundError,
    RunTakenOverError,
    VaultError,
)
from milvus_vault.model.locks import ObjectLock
from milvus_vault.model.names import attempt_of, backup_run
from milvus_vault.model.objects import (
    ArchivedObject,
    BucketSettings,
    CopiedObject,
    CopyItem,
    CopyJob,
    ListedObject,
    UnfinishedUpload,
)
from milvus_vault.model.requests import ExportRequest, PruneRequest
from milvus_vault.pool.condemned import read_condemned
from milvus_vault.pool.sharing import Place, Pool
from milvus_vault.pool.users import PoolUse
from milvus_vault.ports import ObjectStore
from milvus_vault.retention.delete import BackupDeletion
from milvus_vault.retention.pool_sweep import PoolSweep
from milvus_vault.retention.working_files import Deletion, PrunePlan
from milvus_vault.workspace import Workspace
from tests.support.memory_store import InMemoryObjectStore

BUCKET, MILVUS, PREFIX = "backups", "milvus", "nightly"
SOURCE = Source(milvus_version="v2.5.27", bucket=MILVUS, root_path="files")
JOB = CopyJob(source_bucket=MILVUS, destination_bucket=BUCKET)
BEGIN = datetime(2026, 11, 22, 3, tzinfo=UTC)
NIGHT = timedelta(days=1)
GRACE = timedelta(hours=12)

# An object of each segment, and of two collections.
OBJECTS = {1: (10, 11, 12), 2: (20,)}

# S3 lists 1,000 a request. Few, so that much happens between two.
_PAGE = 2


class KilledError(BaseException):
    """The actor is no more."""


class Actor:
    """Something that goes on by one request whenever it is its turn."""

    def __init__(self, arn: str, work: Callable[["SteppedStore"], None], store: InMemoryObjectStore) -> None:
        """Begin, up to the first request."""
        self.arn = arn
        self.is_over = False
        self.error: BaseException | None = None
        self._is_killed = False
        self.next = ("", "")
        """Operation and key of the request that it is about to make."""
        self._go, self._arrived = threading.Semaphore(0), threading.Semaphore(0)
        self._work = work
        self._store = SteppedStore(store, self.gate)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._arrived.acquire()

    def gate(self, operation: str, key: str) -> None:
        """Wait for the turn to make a request."""
        self.next = operation, key
        if not self._is_killed:
            self._arrived.release()
            self._go.acquire()
        if self._is_killed:
            # Others of its threads may wait, too.
            self._go.release()
            raise KilledError

    def step(self, count: int = 1) -> None:
        """Let it make some requests."""
        for _ in range(count):
            if self.is_over:
                return
            self._go.release()
            self._arrived.acquire()

    def until(self, operation: str, part: str) -> None:
        """Let it go on until it is about to make a request of a key with this part in it."""
        while not (self.next[0] == operation and part in self.next[1]):
            assert not self.is_over, (operation, part)
            self.step()

    def kill(self) -> None:
        """Let it make no request any more."""
        if not self.is_over:
            self._is_killed = True
            self._go.release()
            self._thread.join()

    def _run(self) -> None:
        try:
            with suppress(KilledError):
                self._work(self._store)
        except (VaultError, LossError) as err:
            # What the product says, and what its world finds: `World.step` raises it again in the test's own thread.
            self.error = err
        finally:
            # Anything else is a fault of a test. It ends the thread here, which pytest tells of, and the test there.
            self.error = self.error or sys.exception()
            self.is_over = True
            self._arrived.release()


class SteppedStore:
    """A store whose requests wait for their turn. Listings come in small pages, each a request; so do deletions."""

    def __init__(self, store: InMemoryObjectStore, gate: Callable[[str, str], None]) -> None:
        """Put a gate before a store."""
        self._store = store
        self._gate = gate

    def check_bucket(self, bucket: str) -> None:
        """Return if the bucket exists."""
        self._store.check_bucket(bucket)

    def bucket_settings(self, bucket: str) -> BucketSettings:
        """Return what guards the bucket."""
        return self._store.bucket_settings(bucket)

    def list_objects(self, bucket: str, prefix: str, *, after: str = "") -> Iterator[ListedObject]:
        """Yield every object below the prefix, page by page: what comes or goes meanwhile may be seen or not."""
        last = after
        while True:
            self._gate("list", prefix)
            objects = self._store.buckets[bucket]
            keys = sorted(key for key in objects if key.startswith(prefix) and key > last)
            page = [(key, objects[key]) for key in keys[:_PAGE]]
            for key, found in page:
                yield ListedObject(key, len(found.body), found.etag, found.modified_at)
            if len(keys) <= _PAGE:
                return
            last = keys[_PAGE - 1]

    def list_folders(self, bucket: str, prefix: str) -> Iterator[str]:
        """Yield the names directly below a prefix."""
        self._gate("list", prefix)
        yield from list(self._store.list_folders(bucket, prefix))

    def get(self, bucket: str, key: str) -> bytes:
        """Return an object's content."""
        self._gate("get", key)
        return self._store.get(bucket, key)

    def get_with_etag(self, bucket: str, key: str) -> tuple[bytes, str]:
        """Return an object's content and ETag."""
        self._gate("get", key)
        return self._store.get_with_etag(bucket, key)

    def modified_at(self, bucket: str, key: str) -> datetime | None:
        """Return when an object was written."""
        self._gate("get", key)
        return self._store.modified_at(bucket, key)

    def chunks(self, bucket: str, key: str, etag: str = "") -> Iterator[bytes]:
        """Yield the content."""
        self._gate("get", key)
        return self._store.chunks(bucket, key, etag)

    def checksum(self, bucket: str, key: str, etag: str) -> str:
        """Return the checksum."""
        self._gate("get", key)
        return self._store.checksum(bucket, key, etag)

    def has_md5_etag(self, bucket: str, key: str, etag: str) -> bool:
        """Return whether the ETag is the MD5."""
        self._gate("get", key)
        return self._store.has_md5_etag(bucket, key, etag)

    def has_object_lock(self, bucket: str) -> bool:
        """Return whether objects can be locked."""
        return self._store.has_object_lock(bucket)

    def lock(self, bucket: str, key: str, lock: ObjectLock) -> None:
        """Lock an object."""
        self._gate("lock", key)
        self._store.lock(bucket, key, lock)

    def lock_of(self, bucket: str, key: str) -> ObjectLock | None:
        """Return the lock of an object."""
        self._gate("get", key)
        return self._store.lock_of(bucket, key)

    def put(
        self, bucket: str, key: str, body: bytes, *, content_type: str = "", lock: ObjectLock | None = None
    ) -> None:
        """Write an object."""
        self._gate("put", key)
        self._store.put(bucket, key, body, content_type=content_type, lock=lock)

    def put_in_parts(self, bucket: str, key: str, parts: Iterable[bytes]) -> None:
        """Write an object of its parts."""
        self._gate("put", key)
        self._store.put_in_parts(bucket, key, parts)

    def link(self, bucket: str, key: str, seconds: int) -> str:
        """Return a link."""
        return self._store.link(bucket, key, seconds)

    def put_if_absent(self, bucket: str, key: str, body: bytes, *, lock: ObjectLock | None = None) -> bool:
        """Write an object unless the key is taken."""
        self._gate("put", key)
        return self._store.put_if_absent(bucket, key, body, lock=lock)

    def put_if_unchanged(
        self, bucket: str, key: str, body: bytes, etag: str, *, lock: ObjectLock | None = None
    ) -> bool:
        """Replace an object if it has this ETag."""
        self._gate("put", key)
        return self._store.put_if_unchanged(bucket, key, body, etag, lock=lock)

    def copy(self, job: CopyJob, item: CopyItem) -> CopiedObject:
        """Copy an object."""
        self._gate("copy", item.key)
        return self._store.copy(job, item)

    def delete(self, bucket: str, keys: Iterable[str]) -> None:
        """Delete objects."""
        for some in batched(keys, _PAGE, strict=False):
            self._gate("delete", some[0])
            self._store.delete(bucket, some)

    def list_uploads(self, bucket: str, prefix: str) -> Iterator[UnfinishedUpload]:
        """Yield unfinished uploads."""
        return self._store.list_uploads(bucket, prefix)

    def abort_upload(self, bucket: str, upload: UnfinishedUpload) -> None:
        """Abort an upload."""
        self._store.abort_upload(bucket, upload)


class Maker:
    """One attempt to make an incremental backup, as the functions of the backup machine do."""

    def __init__(
        self, world: "World", store: ObjectStore, arn: str, name: str, logs: Mapping[int, Sequence[int]]
    ) -> None:
        """Name the attempt's execution, the backup, and the segments to be in it by collection."""
        self.world, self.store, self.arn, self.name, self.logs = world, store, arn, name, logs
        self.run = Workspace(store, BUCKET, PREFIX, backup_run(name))
        self.layout = BackupLayout(PREFIX, name)
        self.use = PoolUse(self.run, arn)
        self.attempt = attempt_of(arn)
        bases = tuple(base for base in world.names if base != name)
        self.pool = Pool(store, BUCKET, PREFIX, SOURCE, self.attempt, bases)

    def make(self) -> None:
        """Make the backup, or give up where another one is at it."""
        claims = Claims(self.store, self.world, BUCKET, execution_arn=self.arn, run=self.run.run)
        try:
            claims.take(self.run.key(CLAIM))
        except ClaimHeldError:
            return
        if is_there(self.store, BUCKET, self.layout.marker):
            return
        self.store.delete(BUCKET, [tombstone_key(PREFIX, self.name)])
        self.begin()
        with suppress(RunTakenOverError):
            self.publish(self.capture())

    def begin(self) -> None:
        """Say that the pool is used."""
        self.use.begin()

    def capture(self) -> Mapping[int, Sequence[ArchivedObject]]:
        """Share what is in the pool, and copy the rest."""
        return {number: [self.copied(place) for place in self.places(number)] for number in self.logs}

    def places(self, number: int) -> Sequence[Place]:
        """Return where the objects of a collection lie, or are to lie."""
        return list(self.pool.places(number, [self.world.listed(number, log) for log in self.logs[number]]))

    def condemned_keys(self, number: int) -> frozenset[str]:
        """Return what is condemned of a collection."""
        found = read_condemned(self.store, BUCKET, PoolLayout(PREFIX), _group(number))
        return frozenset(found[0].keys) if found else frozenset()

    def there(self, number: int) -> Sequence[ListedObject]:
        """Return what a listing shows of a collection in the pool."""
        return list(self.store.list_objects(BUCKET, PoolLayout(PREFIX).folder(_group(number))))

    def choose(self, number: int, condemned: frozenset[str], there: Sequence[ListedObject]) -> Sequence[Place]:
        """Return what `places` does, by what was looked up before."""
        found: dict[str, ListedObject] = {}
        for item in there:
            pooled = parse_pooled_key(item.key)
            if pooled and str(pooled).partition("/")[2] not in condemned:
                found[pooled.content] = item
        places = []
        for log in self.logs[number]:
            listed = self.world.listed(number, log)
            content = content_of(MILVUS, listed)
            copy = found.get(content)
            shared = ArchivedObject(copy.key, listed.key, copy.size_bytes, copy.etag) if copy else None
            own = PoolLayout(PREFIX).key(PooledKey(_group(number), log, content, self.attempt))
            places.append(Place(listed, copy.key if copy else own, shared))
        return places

    def copied(self, place: Place) -> ArchivedObject:
        """Return the object of a place, once it is there."""
        if place.shared:
            return place.shared
        listed = place.listed
        item = CopyItem(listed.key, place.key, listed.size_bytes, listed.etag)
        self.world.stall(self.arn, item)
        done = self.store.copy(JOB, item)
        return ArchivedObject(done.key, listed.key, listed.size_bytes, done.etag, done.checksum)

    def publish(self, contents: Mapping[int, Sequence[ArchivedObject]]) -> None:
        """Write the lists, then the note, then the marker."""
        manifest, body = self.write_lists(contents)
        self.use.publish()
        self.commit(manifest, body)
        self.use.end()

    def write_lists(self, contents: Mapping[int, Sequence[ArchivedObject]]) -> tuple[Manifest, bytes]:
        """Write the documents, except the marker."""
        entries = []
        for number, objects in contents.items():
            check_owner(self.run, self.attempt)
            document = document_of(number)
            written = document.model_dump_json().encode()
            listed = write_object_list(sorted(objects, key=lambda item: item.stored_key))
            self.store.put(BUCKET, self.layout.collection_document(number), written)
            self.store.put(BUCKET, self.layout.object_list(number), listed)
            entries.append(entry_of(self.layout, document, written, listed))
        manifest = Manifest(
            format_version=POOL_FORMAT_VERSION,
            backup_name=self.name,
            backup_id=self.attempt,
            created_by="a test",
            execution_arn=self.arn,
            started_at=BEGIN,
            finished_at=BEGIN,
            mode="incremental",
            source=SOURCE,
            databases=(),
            collections=tuple(entries),
            object_count=sum(entry.object_count for entry in entries),
            size_bytes=sum(entry.size_bytes for entry in entries),
        )
        body = manifest.model_dump_json().encode()
        check_owner(self.run, self.attempt)
        self.store.put(BUCKET, self.layout.manifest, body)
        return manifest, body

    def commit(self, manifest: Manifest, body: bytes) -> None:
        """Write the marker."""
        check_owner(self.run, self.attempt)
        marker = marker_file(manifest, body)
        if self.store.put_if_absent(BUCKET, self.layout.marker, marker):
            return
        etag = self.store.get_with_etag(BUCKET, self.layout.marker)[1]
        try:
            if find_manifest(self.store, BUCKET, self.layout) is not None:
                return
        except BackupDamagedError:
            check_owner(self.run, self.attempt)
            self.store.put_if_unchanged(BUCKET, self.layout.marker, marker, etag)


class UnclaimedSweep(PoolSweep):
    """A sweep that begins, and goes on, whoever has the claim."""

    def _claim(self) -> None:
        pass

    def _check(self) -> None:
        pass


@dataclass
class World:
    """A Milvus, a pool, and who uses it."""

    maker: type[Maker] = Maker
    sweeper: type[PoolSweep] = UnclaimedSweep
    names: tuple[str, ...] = ("r0", "r1", "r2")
    grace: timedelta = GRACE
    stalls: bool = False
    """Whether of each copy another call has stalled, which makes it once more, later."""
    store: InMemoryObjectStore = field(default_factory=lambda: InMemoryObjectStore(BUCKET, MILVUS))
    now: datetime = BEGIN
    actors: list[Actor] = field(default_factory=list)
    sweeps: list[PoolSweep] = field(default_factory=list)
    statuses: dict[str, str] = field(default_factory=dict)
    _made: dict[str, tuple[str, Mapping[int, Sequence[int]]]] = field(default_factory=dict)
    """By execution, what it makes."""
    _count: int = 0

    def __post_init__(self) -> None:
        """Fill the Milvus."""
        self.store.clock = lambda: self.now
        for number, logs in OBJECTS.items():
            for log in logs:
                self.store.put(MILVUS, source_key(number, log), f"rows of {log}".encode())

    def listed(self, number: int, log: int) -> ListedObject:
        """Return an object of the Milvus as a listing shows it."""
        key = source_key(number, log)
        found = self.store.buckets[MILVUS][key]
        return ListedObject(key, len(found.body), found.etag)

    def status(self, execution_arn: str) -> str:
        """Return the status of an execution."""
        return self.statuses[execution_arn]

    def make(self, name: str, logs: Mapping[int, Sequence[int]]) -> Actor:
        """Begin to make a backup."""
        actor = self._begin("backup", lambda store, arn: self.maker(self, store, arn, name, logs).make())
        self._made[actor.arn] = (name, logs)
        return actor

    def redrive(self, arn: str) -> Actor:
        """Begin an execution again, under its own ARN, that has ended before its backup was made."""
        name, logs = self._made[arn]
        self.statuses[arn] = "RUNNING"
        actor = Actor(arn, lambda store: self.maker(self, store, arn, name, logs).make(), self.store)
        self.actors.append(actor)
        return actor

    @property
    def dead(self) -> Sequence[str]:
        """The executions that have ended before their backups were made."""
        return [arn for arn in self._made if self.statuses[arn] == "ABORTED"]

    def sweep(self) -> Actor:
        """Begin to sweep the pool."""

        def work(store: ObjectStore, arn: str) -> None:
            run = Workspace(store, BUCKET, PREFIX, f"prune-{arn}")
            sweep = self.sweeper(run, self, arn, self.grace, lambda: 900.0, threads=1)
            self.sweeps.append(sweep)
            assert sweep.sweep()

        return self._begin("sweep", work)

    def delete(self, name: str) -> Actor:
        """Begin to delete a backup."""

        def work(store: ObjectStore, arn: str) -> None:
            run = Workspace(store, BUCKET, PREFIX, f"prune-{arn}")
            marker = self.store.buckets[BUCKET].get(BackupLayout(PREFIX, name).marker)
            plan = PrunePlan(
                request=PruneRequest(backup_names=(name,)),
                execution_arn=arn,
                started_at=self.now,
                decisions=(),
                deletions=(Deletion(name=name, size_bytes=0, marker_etag=marker.etag if marker else ""),),
            )
            catalogue = Catalogue(store, BUCKET, PREFIX)
            with suppress(RunTakenOverError):
                BackupDeletion(run, plan, 0, catalogue, self, self.now, lambda: 900.0).delete()

        return self._begin("delete", work)

    def export(self, name: str) -> Actor:
        """Begin to export a backup, under a name that nobody else uses."""
        export_name = f"e{self._count}"

        def work(store: ObjectStore, arn: str) -> None:
            run = Workspace(store, BUCKET, PREFIX, backup_run(export_name))
            request = ExportRequest(backup_name=name, export_name=export_name)
            try:
                plan = ExportPreparation(
                    run,
                    request,
                    self,
                    arn,
                    self.now,
                    was_listed=lambda: False,
                    damaged_contents=Catalogue(store, BUCKET, PREFIX).damaged_contents,
                ).prepare()
            except (BackupNotFoundError, BackupDamagedError):
                # Between its marker and its manifest a backup that is being deleted looks damaged.
                return
            for index in range(len(plan.collections) if plan else 0):
                for item in read_items(run, attempt_of(arn), index):
                    self._copy_for_export(store, arn, item)

        return self._begin("export", work)

    def _copy_for_export(self, store: ObjectStore, arn: str, item: CopyItem) -> None:
        try:
            store.copy(CopyJob(source_bucket=BUCKET, destination_bucket=BUCKET), item)
        except (ObjectNotFoundError, ObjectChangedError) as err:
            if self.statuses[arn] == "RUNNING":
                raise LossError(arn, item.source_key) from err

    def stall(self, arn: str, item: CopyItem) -> None:
        """Leave a call behind that makes a copy once more."""
        if self.stalls:

            def work(store: ObjectStore) -> None:
                store.copy(JOB, item)

            self.actors.append(Actor(arn, work, self.store))

    def _begin(self, kind: str, work: Callable[[ObjectStore, str], None]) -> Actor:
        self._count += 1
        arn = f"arn:{kind}:{self._count}"
        self.statuses[arn] = "RUNNING"
        actor = Actor(arn, lambda store: work(store, arn), self.store)
        self.actors.append(actor)
        return actor

    def step(self, actor: Actor, count: int) -> None:
        """Let an actor make some requests."""
        actor.step(count)
        if actor.error is not None:
            raise actor.error
        if actor.is_over and self.statuses[actor.arn] == "RUNNING":
            self.statuses[actor.arn] = "SUCCEEDED"
        self.actors = [each for each in self.actors if not each.is_over]

    def finish(self, actor: Actor) -> None:
        """Let an actor go on to its end."""
        self.step(actor, 100_000)

    def end(self, actor: Actor) -> None:
        """End an actor's execution; what runs of it goes on."""
        if self.statuses[actor.arn] == "RUNNING":
            self.statuses[actor.arn] = "ABORTED"

    def hide(self, actor: Actor, *, is_gone: bool) -> None:
        """Let nobody know any more whether an actor runs, as if it were another stack's; that stack may be gone."""
        self.statuses[actor.arn] = "UNKNOWN"
        if is_gone:
            actor.kill()
            self.actors.remove(actor)

    def pass_night(self) -> None:
        """Let a day pass."""
        self.pass_time(NIGHT)

    def pass_time(self, duration: timedelta) -> None:
        """Let more than an hour pass: no function of an execution that has ended lives so long."""
        self.now += duration
        for actor in self.actors:
            if self.statuses[actor.arn] not in RUNNING:
                actor.kill()
        self.actors = [each for each in self.actors if not each.is_over]

    def close(self) -> None:
        """Kill all that is left."""
        for actor in self.actors:
            actor.kill()
        self.actors = []

    def backups(self, *, with_marker: bool) -> Iterator[tuple[str, Sequence[ArchivedObject]]]:
        """Yield what each readable list of a backup has; of those with a marker only if it is of the manifest there."""
        objects = self.store.buckets[BUCKET]
        for name in self.names:
            layout = BackupLayout(PREFIX, name)
            if layout.manifest not in objects or (with_marker and layout.marker not in objects):
                continue
            body = objects[layout.manifest].body
            manifest = Manifest.model_validate_json(body)
            if with_marker and objects[layout.marker].body != marker_file(manifest, body):
                continue
            for entry in manifest.collections:
                listed = objects.get(layout.root + entry.objects.key)
                if listed and digest(entry.objects.key, listed.body) == entry.objects:
                    yield name, list(read_object_list(listed.body))

    def check(self) -> None:
        """Assert that backups have all objects that they list."""
        objects, sources = self.store.buckets[BUCKET], self.store.buckets[MILVUS]
        for name, listed in self.backups(with_marker=True):
            for item in listed:
                found = objects.get(item.stored_key)
                if found is None or found.body != sources[item.source_key].body:
                    raise LossError(name, item.stored_key)

    def pooled(self) -> set[str]:
        """Return the keys of all objects in the pool."""
        return {key for key in self.store.buckets[BUCKET] if is_pooled(key)}

    def is_condemned(self) -> bool:
        """Return whether anything is condemned."""
        lists = PoolLayout(PREFIX).condemned_lists
        return any(
            b'"keys":[]' not in found.body for key, found in self.store.buckets[BUCKET].items() if key.startswith(lists)
        )


def _group(number: int) -> str:
    return group_of(MILVUS, SOURCE.root_path, number)


class LossError(AssertionError):
    """A backup misses an object."""


def source_key(number: int, log: int) -> str:
    """Return the key of an object of the Milvus."""
    return f"files/insert_log/{number}/1/{log}/100/{log}"


def document_of(number: int) -> CollectionDocument:
    """Return the description of a collection."""
    return CollectionDocument.model_validate(
        {
            "description": {
                "collection_id": number,
                "name": {"database": "default", "name": f"c{number}"},
                "schema_proto": "",
                "collection_schema": {
                    "name": f"c{number}",
                    "fields": [{"field_id": 100, "name": "id", "data_type": 5, "is_primary_key": True}],
                },
                "shards": 1,
                "consistency_level": 2,
                "properties": [],
                "partitions": [{"partition_id": 1, "name": "_default"}],
                "indexes": [],
                "aliases": [],
                "load_state": "NotLoad",
                "replicas": 0,
                "created_timestamp": 1,
                "virtual_channels": [],
                "physical_channels": [],
            },
            "segments": [],
        }
    )
