"""However many objects there are, no more than some pages of them are held."""

import json
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from tempfile import TemporaryFile
from typing import IO, cast

import pytest

from milvus_vault.archive.check import check_objects
from milvus_vault.archive.contents import ArchivedCollection, ArchivedPartition, ArchivedSegment
from milvus_vault.archive.layout import BackupLayout, parse_log_key
from milvus_vault.archive.manifest import CollectionDocument, Source
from milvus_vault.archive.object_table import ObjectTable
from milvus_vault.archive.other_etags import OtherEtags, read_other_etags
from milvus_vault.archive.reference_messages import BackupMessage, read_message
from milvus_vault.archive.reference_translate import translate_collection
from milvus_vault.archive.reference_writer import FILES, FULL_META, CollectionTexts
from milvus_vault.archive.sealing import seal_pieces
from milvus_vault.backup.moment import evidence_of
from milvus_vault.backup.segments import Listing, StoredSegment, capture_objects
from milvus_vault.copying.batches import BatchLimits
from milvus_vault.copying.comparing import TargetItems
from milvus_vault.copying.records import Records
from milvus_vault.copying.working_files import CopyTarget, read_items, write_target, write_verified
from milvus_vault.lines import row_line
from milvus_vault.model.collections import (
    CollectionDescription,
    CollectionLayout,
    CollectionName,
    CollectionSchema,
    FieldSchema,
    LoadState,
    Partition,
    Segment,
    SegmentLevel,
    SegmentLogs,
)
from milvus_vault.model.objects import ArchivedObject, CopiedObject, CopyItem, CopyJob, ListedObject
from milvus_vault.model.requests import VerifyOptions
from milvus_vault.parallel import each
from milvus_vault.pool.sharing import Pool
from milvus_vault.ports import ObjectStore, Segments
from milvus_vault.restore.staging import CollectionImport, FoldLimits
from milvus_vault.restore.staging_legacy import LegacyImport
from milvus_vault.source import MilvusStorage
from milvus_vault.verifying.planning import plan_checks
from milvus_vault.workspace import Workspace
from tests.support.memory_store import InMemoryObjectStore
from tests.support.verified import read_verified

FEW, MANY = 1_000, 5_000
OBJECTS_OF_A_SEGMENT = 50
WRITTEN_AT = datetime(2026, 11, 30, tzinfo=UTC)


def objects(count: int) -> Iterator[ListedObject]:
    """Yield so many objects of a collection."""
    for number in range(count):
        key = f"files/insert_log/7/8/{number // OBJECTS_OF_A_SEGMENT}/100/{number}"
        yield ListedObject(key, number, f"{number:032x}", WRITTEN_AT)


def description(name: str, schema: CollectionSchema) -> CollectionDescription:
    """Return what Milvus tells of the collection."""
    return CollectionDescription(
        collection_id=7,
        name=CollectionName(database="default", name=name),
        schema_proto=b"",
        collection_schema=schema,
        shards=1,
        consistency_level=1,
        properties=(),
        partitions=(Partition(partition_id=8, name="_default"),),
        indexes=(),
        aliases=(),
        load_state=LoadState.NOT_LOADED,
    )


class Made:
    """A store that lists what it makes up."""

    def __init__(self, count: int) -> None:
        self._count = count

    def list_objects(self, bucket: str, prefix: str, *, after: str = "") -> Iterator[ListedObject]:
        """Yield copies of the objects."""
        assert (bucket, prefix) == ("there", "files/")
        listed = objects(self._count)
        if after:
            next(found for found in listed if found.key == after)
        return listed


def archived(count: int) -> Iterator[ArchivedObject]:
    """Yield so many objects as a backup lists them."""
    layout = BackupLayout("nightly", "b")
    for listed in objects(count):
        key = parse_log_key(listed.key)
        assert key is not None
        yield ArchivedObject(layout.log(key), listed.key, listed.size_bytes, listed.etag)


def collection(count: int) -> ArchivedCollection:
    """Return the collection that a backup has so many objects of."""
    segments = tuple(
        ArchivedSegment(number, 8, number, 1, SegmentLevel.L1, 0) for number in range(count // OBJECTS_OF_A_SEGMENT)
    )
    return ArchivedCollection(
        name=CollectionName(database="default", name="a"),
        collection_id=7,
        layout=CollectionLayout(collection_schema=CollectionSchema(name="a", fields=()), shards=1, consistency_level=1),
        indexes=(),
        aliases=(),
        load_state=LoadState.NOT_LOADED,
        replicas=0,
        partitions=(ArchivedPartition(8, "_default", is_loaded=False, segments=segments),),
        l0_segments=(),
        live_row_count=None,
        object_list=None,
    )


class Copied:
    """A store that lists the objects of a backup."""

    def __init__(self, count: int) -> None:
        self._count = count

    def list_objects(self, bucket: str, prefix: str, *, after: str = "") -> Iterator[ListedObject]:
        """Yield those below a prefix."""
        assert (bucket, after) == ("backups", "")
        for one in archived(self._count):
            if one.stored_key.startswith(prefix):
                yield ListedObject(one.stored_key, one.size_bytes, one.etag)


def check(count: int) -> None:
    """Compare so many objects of a backup with a listing."""
    table, store = ObjectTable(archived(count)), cast("ObjectStore", Copied(count))
    found = check_objects(store, "backups", BackupLayout("nightly", "b"), collection(count), table)
    assert not found.missing
    assert not found.wrong_size
    assert all(etag for _, etag in table.noted())


def stage(count: int) -> None:
    """Say of so many objects what to stage and to import."""
    whole = CollectionImport.of(collection(count), archived(count), FoldLimits(64, 2**28))
    assert sum(1 for _ in whole.staged_items("staging/")) == count
    assert sum(source.row_count for source in whole.sources_staged("staging/")) == count // OBJECTS_OF_A_SEGMENT


def stage_partitions(count: int) -> None:
    """Say it for a server that takes whole partitions."""
    whole = LegacyImport.of(collection(count), archived(count), copies=64, composed="")
    assert sum(1 for _ in whole.staged_items("staging/")) == count


def describe(count: int) -> None:
    """Write what milvus-backup's files have of so many objects."""
    segments = [
        Segment(segment_id=number, partition_id=8, row_count=1) for number in range(count // OBJECTS_OF_A_SEGMENT)
    ]
    described = description("a", CollectionSchema(name="a", fields=()))
    document = CollectionDocument(description=described, segments=tuple(segments))
    with ExitStack() as stack:
        files: dict[str, IO[bytes]] = {name: stack.enter_context(TemporaryFile()) for name in FILES}
        CollectionTexts("run-1", document, archived(count)).write(files)
        assert files[FULL_META].tell() > 50 * count


def metadata(count: int) -> Iterator[bytes]:
    """Yield `full_meta.json` of a collection of so many objects."""
    yield b'{"milvus_version":"v2.5.20","collection_backups":[{"collection_id":7,"collection_name":"a","schema":'
    yield b'{"fields":[]},"partition_backups":[{"partition_id":8,"partition_name":"_default","segment_backups":['
    for number in range(count // OBJECTS_OF_A_SEGMENT):
        logs = [{"log_path": f"files/insert_log/7/8/{number}/100/{n}", "log_size": n} for n in range(1, 51)]
        segment = {"segment_id": number, "num_of_rows": 1, "binlogs": [{"fieldID": 100, "binlogs": logs}]}
        yield (b"," if number else b"") + json.dumps(segment).encode()
    yield b"]}]}]}"


def read_metadata(count: int) -> None:
    """Read what milvus-backup tells of so many objects."""
    message, _ = read_message(BackupMessage, metadata(count))
    found = translate_collection(BackupLayout("nightly", "b"), message.collection_backups[0])
    assert len(found.listed_objects) == sum(1 for _ in found.listed_objects) == count
    assert len(found.segments) == count // OBJECTS_OF_A_SEGMENT


def note(count: int) -> None:
    """Note, write and read other ETags of so many objects, whose document comes in pieces."""
    noted = OtherEtags()
    noted.note((listed.key, (listed.etag, "here")) for listed in objects(count))
    written = cast("ObjectStore", Written(seal_pieces(noted.document())))
    found = read_other_etags(written, "backups", BackupLayout("nightly", "b"))
    assert len(found) == sum(1 for _ in found) == count


class Written:
    """A store that has one object, and tells it once."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def chunks(self, *_: str) -> Iterator[bytes]:
        """Yield it."""
        return self._pieces


def compare(count: int) -> None:
    """Compare so many objects with what is to be there."""
    run = Workspace(InMemoryObjectStore("backups"), "backups", "prefix", "run")
    items = (CopyItem(o.key, o.key, o.size_bytes, o.etag) for o in objects(count))
    found = TargetItems(items, "default.a")
    job = CopyJob(source_bucket="here", destination_bucket="there")
    found.compare(cast("ObjectStore", Made(count)), job, Records(run, [], checksums=True), ["files/"])
    assert sum(1 for _ in found.there()) == count
    assert not any(found.missing())


def capture(count: int) -> None:
    """Take so many logs of a collection in, and read them by segment."""
    listing = Listing()
    for listed in objects(count):
        key = parse_log_key(listed.key)
        assert key is not None
        listing.add(key, listed)
    segments = [StoredSegment(listing, number, has_deletes=False) for number in listing.partitions]
    assert sum(len(segment.read().all()) for segment in segments) == count


FIELDS_WITH_LOGS = (0, 1, 100)
LOGS_OF_A_FIELD = 20
DELETES_OF_A_SEGMENT = 190
LOGS_OF_A_SEGMENT = len(FIELDS_WITH_LOGS) * LOGS_OF_A_FIELD + DELETES_OF_A_SEGMENT


class Telling:
    """A Milvus that names the logs of its segments, most of them of deletes, and the store where they lie."""

    def __init__(self, count: int) -> None:
        self._segments = range(count // LOGS_OF_A_SEGMENT)

    def list_segments(self, *_: str) -> list[Segment]:
        """Return all segments."""
        return [Segment(segment_id=number, partition_id=8, row_count=1) for number in self._segments]

    def describe_segments(self, database: str, collection_id: int, segments: Sequence[int]) -> dict[int, SegmentLogs]:
        """Return the logs of segments."""
        assert (database, collection_id) == ("default", 7)
        inserts = [(field, log) for field in FIELDS_WITH_LOGS for log in range(LOGS_OF_A_FIELD)]
        return {n: SegmentLogs("v0", frozenset(inserts), frozenset(range(DELETES_OF_A_SEGMENT))) for n in segments}

    def list_objects(self, bucket: str, prefix: str, **_: str) -> Iterator[ListedObject]:
        """Yield the logs below the folder of inserts or of deletes."""
        assert bucket == "milvus"
        names = [f"{field}/{log}" for field in FIELDS_WITH_LOGS for log in range(LOGS_OF_A_FIELD)]
        if "delta_log" in prefix:
            names = [f"{log}" for log in range(DELETES_OF_A_SEGMENT)]
        for number in self._segments:
            for name in names:
                yield ListedObject(f"{prefix}8/{number}/{name}", 1, f"{number:032x}", WRITTEN_AT)


def take_in(count: int) -> None:
    """Find out of what a collection of so many objects is made, and what of it proves its moment."""
    there = Telling(count)
    schema = CollectionSchema(name="a", fields=(FieldSchema(field_id=100, name="key", data_type=5),))
    later = WRITTEN_AT + timedelta(days=1)
    described = description("a", schema)
    found = capture_objects(
        cast("Segments", there), cast("ObjectStore", there), MilvusStorage("milvus", "files"), described, later
    )
    stored = ((listed, listed.key) for listed in found.objects)
    assert not evidence_of(stored, {}, (), since=later, is_settled=True).rows
    assert sum(1 for _ in found.objects) == count
    assert found.is_told


def look_up(count: int) -> None:
    """Look so many objects up in a pool."""
    source = Source(milvus_version="v2.3.5", bucket="milvus", root_path="files")
    pool = Pool(InMemoryObjectStore("backups"), "backups", "nightly", source, "aaaaaaaa", ())
    assert sum(1 for place in pool.places(7, objects(count)) if not place.shared) == count


class Items:
    """A store that has a list of what is to be looked at, and keeps nothing that is written."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.written = 0

    def list_objects(self, bucket: str, prefix: str) -> Iterator[ListedObject]:
        """Yield the list."""
        assert bucket == "backups"
        yield ListedObject(f"{prefix}0.jsonl", 2**30, "etag")

    def chunks(self, *_: str) -> Iterator[bytes]:
        """Yield its lines."""
        for one in archived(self._count):
            yield row_line((0, one.stored_key, one.etag, one.etag, one.size_bytes, one.source_key, "", ""))

    def put(self, *_: object) -> None:
        """Forget a document."""

    def put_in_parts(self, *names_and_parts: Iterator[bytes]) -> None:
        """Count the objects of a batch."""
        *_, parts = names_and_parts
        self.written += sum(part.count(b"\n") for part in parts)


def plan_verification(count: int) -> None:
    """Say in which batches so many objects are looked at."""
    store = Items(count)
    run = Workspace(cast("ObjectStore", store), "backups", "nightly", "verify-run")
    options = VerifyOptions(level="checksum")
    planned = plan_checks(run, BackupLayout("nightly", "b"), options, begin=0, always=())
    assert sum(batch.object_count for batch in planned.batches) == store.written == count


@pytest.mark.parametrize(
    "work",
    [plan_verification, compare, capture, take_in, look_up, check, stage, stage_partitions, describe, read_metadata],
)
def test_what_is_held_does_not_grow_with_the_objects(
    work: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def listed(store: ObjectStore, bucket: str, prefix: str, _: object) -> Iterator[ListedObject]:
        return store.list_objects(bucket, prefix)

    # Spans hold some pages, 120 at most (`spans.py`), and more of a longer listing until then.
    monkeypatch.setattr("milvus_vault.copying.comparing.list_in_spans", listed)
    monkeypatch.setattr("milvus_vault.archive.check.list_in_spans", listed)
    monkeypatch.setattr("milvus_vault.backup.segments.list_in_spans", listed)
    monkeypatch.setattr("milvus_vault.backup.segments._TOLD_TOGETHER", 2)
    # Some batches are held while they are written.
    monkeypatch.setattr("milvus_vault.verifying.planning.CHECKSUM_LIMITS", BatchLimits(50, 2**63))
    monkeypatch.setattr("milvus_vault.verifying.planning.each", partial(each, threads=1))
    monkeypatch.setattr("milvus_vault.archive.other_etags._PIECE_BYTES", 1000)
    monkeypatch.setattr("milvus_vault.archive.other_etags._TOGETHER", 100)

    peaks = []
    work(FEW)  # what is made once
    for count in (FEW, MANY):
        tracemalloc.start()
        work(count)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # An object that is held takes 300 bytes at least; a segment, of which numbers are held, some hundred.
    assert (peaks[1] - peaks[0]) / (MANY - FEW) < 30


def test_lists_are_written_and_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("milvus_vault.copying.working_files._PIECE_BYTES", 1000)
    store = InMemoryObjectStore("backups")
    run = Workspace(store, "backups", "prefix", "run")
    pieces: list[int] = []
    written = store.put_in_parts

    def put_in_parts(bucket: str, key: str, parts: Iterator[bytes]) -> None:
        all_of_it = list(parts)
        pieces.extend(map(len, all_of_it))
        written(bucket, key, all_of_it)

    monkeypatch.setattr(store, "put_in_parts", put_in_parts)
    items = [CopyItem(o.key, f"there/{o.key}", o.size_bytes, o.etag) for o in objects(100)]

    write_target(run, "a", CopyTarget(index=0, name="default.a", folders=("there/",)), iter(items))
    write_verified(run, "a", 0, (CopiedObject(item.key, item.source_etag) for item in items))

    assert list(read_items(run, "a", 0)) == items
    assert list(read_verified(run, "a", 0)) == [item.key for item in items]
    assert len(pieces) > 10
    assert max(pieces) < 1200
