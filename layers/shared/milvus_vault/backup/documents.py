"""PublishBackup: write the documents of the collections, section by section.

What a section holds is written down when its documents are there, with what milvus-backup's files are to have of it: so
a call that is repeated goes on with the next section, and no file has to be held in memory to be written. Of a backup
with few collections, which are a part of one section, nothing is written down: to write them again takes a second.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import IO, NamedTuple

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.manifest import (
    LISTED_OBJECT_BYTES,
    CollectionDocument,
    CollectionEntry,
    ListTotals,
    entry_by,
    object_lines,
    read_object,
)
from milvus_vault.archive.object_table import ObjectTable, Recorded
from milvus_vault.archive.other_etags import are_comparable
from milvus_vault.archive.pool import copied_by
from milvus_vault.archive.reference_writer import FILES, CollectionTexts
from milvus_vault.backup.captured import Found
from milvus_vault.backup.locking import STOP_SECONDS, ListedObjects
from milvus_vault.backup.streamed import put_streamed
from milvus_vault.backup.working_files import (
    BackupPlan,
    CapturedCollection,
    Section,
    Snapshot,
    captured_name,
    exported_name,
    section_name,
    section_text_name,
    sections_folder,
    shared_name,
    snapshot_name,
)
from milvus_vault.claims import check_owner
from milvus_vault.copying.working_files import read_items, verified_objects
from milvus_vault.errors import BackupDamagedError, WorkingFileError
from milvus_vault.model.objects import ArchivedObject
from milvus_vault.parallel import LISTS_AT_A_TIME, LISTS_AT_A_TIME_BYTES, SMALL_REQUESTS_AT_A_TIME, begun, do_each, each
from milvus_vault.tables import room_on_disk
from milvus_vault.workspace import Workspace

# A repeated call writes at most the documents of one section again; of 100 collections that is a second.
_SECTION_COLLECTIONS = 100
_SECTION_BYTES = 8 * 1024**2

# Texts of a section that are in memory, of each file; 10,000 parts of an upload, the most there are, are 80 GiB.
_HELD_BYTES = _PIECE_BYTES = 8 * 1024**2

# Sections of a file that are read ahead of the one that is written.
_SECTIONS_AT_A_TIME = 4


class _Written(NamedTuple):
    """A collection whose documents are written."""

    entry: CollectionEntry
    shared_count: int
    shared_bytes: int
    texts: CollectionTexts | None
    """None: the backup has no files in milvus-backup's format."""


def _new_texts() -> dict[str, IO[bytes]]:
    return {file: SpooledTemporaryFile(_HELD_BYTES) for file in FILES}


@dataclass(slots=True)
class _Open:
    """A section that is being written."""

    first: int
    entries: list[CollectionEntry] = field(default_factory=list)
    shared_count: int = 0
    shared_bytes: int = 0
    texts: dict[str, IO[bytes]] = field(default_factory=_new_texts)
    """Those of a large collection lie on the function's disk."""

    def add(self, written: _Written) -> None:
        self.entries.append(written.entry)
        self.shared_count += written.shared_count
        self.shared_bytes += written.shared_bytes
        if written.texts is not None:
            with room_on_disk(), closing(written.texts.objects):
                written.texts.write(self.texts)

    @property
    def is_full(self) -> bool:
        size_bytes = sum(text.tell() for text in self.texts.values())
        return len(self.entries) >= _SECTION_COLLECTIONS or size_bytes >= _SECTION_BYTES

    def text(self, file: str) -> Iterator[bytes]:
        """Yield what a file is to have of it, in pieces."""
        self.texts[file].seek(0)
        return iter(partial(self.texts[file].read, _PIECE_BYTES), b"")

    def close(self) -> None:
        """Give the disk's space back."""
        for file in self.texts.values():
            file.close()

    def section(self) -> Section:
        return Section(
            first=self.first,
            entries=tuple(self.entries),
            shared_count=self.shared_count,
            shared_bytes=self.shared_bytes,
        )


@dataclass(frozen=True, slots=True)
class Sections:
    """All collections of a backup, whose documents are written."""

    noted: Sequence[Section]
    """Those whose end is written down."""
    last: _Open
    """What came after them, and may be nothing."""
    texts_of: Callable[[Section, str], Iterator[bytes]]

    @property
    def all(self) -> Sequence[Section]:
        """Return them in their order."""
        return (*self.noted, self.last.section())

    def texts(self, file: str) -> Iterator[Iterable[bytes]]:
        """Yield what one of milvus-backup's files is to have of them, in their order, of each in pieces."""
        yield from each(lambda section: begun(self.texts_of(section, file)), self.noted, threads=_SECTIONS_AT_A_TIME)
        yield self.last.text(file)


@dataclass(frozen=True, slots=True)
class Documents:
    """The documents of the collections of one backup, as one execution publishes it."""

    run: Workspace
    plan: BackupPlan
    layout: BackupLayout
    attempt: str
    last_round: int

    def write(self, found: Found, seconds_left: Callable[[], float]) -> Sections | None:
        """Write those that are not written; return None where time ran short. Called again, it goes on."""
        noted = self._noted() if found.is_noted else []
        collections = found.captured.collections
        current = _Open(noted[-1].end if noted else 0)
        for written in each(
            self._write_collection,
            collections[current.first :],
            threads=LISTS_AT_A_TIME,
            weight=list_bytes,
            max_weight=LISTS_AT_A_TIME_BYTES,
        ):
            current.add(written)
            if current.is_full:
                section = current.section()
                if not noted:
                    self.run.write(captured_name(self.attempt, self.last_round), found.captured)
                self._note(section, current)
                current.close()
                noted.append(section)
                current = _Open(section.end)
                if section.end < len(collections) and seconds_left() < STOP_SECONDS:
                    return None
        return Sections(noted, current, self._text)

    def _noted(self) -> list[Section]:
        """Return the sections whose end is written down, in their order, as far as none is missing."""
        found = {
            section.first: section
            for section in each(
                lambda first: self.run.read(section_name(self.attempt, self.last_round, first), Section),
                sorted(self.run.numbers(sections_folder(self.attempt, self.last_round))),
                threads=SMALL_REQUESTS_AT_A_TIME,
            )
        }
        sections: list[Section] = []
        while section := found.get(sections[-1].end if sections else 0):
            sections.append(section)
        return sections

    def _note(self, section: Section, written: _Open) -> None:
        """Write down what a section holds, when its documents are there."""

        def write(file: str) -> None:
            name = section_text_name(self.attempt, self.last_round, section, file)
            self.run.write_in_parts(name, written.text(file))

        if not self.plan.is_incremental:
            do_each(write, FILES)
        self.run.write(section_name(self.attempt, self.last_round, section.first), section)

    def _text(self, section: Section, file: str) -> Iterator[bytes]:
        name = section_text_name(self.attempt, self.last_round, section, file)
        return self.run.store.chunks(self.run.bucket, self.run.key(name))

    def _write_collection(self, collection: CapturedCollection) -> _Written:
        """Write a collection's description and its object list."""
        check_owner(self.run, self.attempt)
        name = snapshot_name(self.attempt, collection.index)
        document = self.run.read(name, Snapshot).document
        if document is None:
            msg = f"snapshot {name} had a document, and has none"
            raise WorkingFileError(msg, hint="Delete the run's folder and start the run again.")
        if self.plan.is_incremental:
            listed = listed_objects(self.run, self.plan, self.attempt, collection)
            with closing(listed.table):
                entry = self._put(document, listed)
            return _Written(entry, listed.before.object_count, listed.before.size_bytes, None)
        objects = _copied_objects(self.run, self.plan, self.attempt, collection)
        texts = CollectionTexts(self.plan.backup_id, document, objects)
        return _Written(self._put(document, texts.objects), 0, 0, texts)

    def _put(self, document: CollectionDocument, objects: Iterable[ArchivedObject]) -> CollectionEntry:
        number, body = document.description.collection_id, document.model_dump_json().encode()
        destination, lock, totals = self.plan.destination(self.run), self.plan.lock, ListTotals()
        destination.store.put(destination.bucket, self.layout.collection_document(number), body, lock=lock)

        def counted() -> Iterator[ArchivedObject]:
            for item in objects:
                totals.add(item)
                yield item

        key = self.layout.object_list(number)
        written = put_streamed(destination, key, key.removeprefix(self.layout.root), object_lines(counted()), lock)
        return entry_by(self.layout, document, body, written, totals)


def list_bytes(collection: CapturedCollection) -> int:
    """Return about how many bytes the list of a collection's objects has, or the most where that is not known."""
    count = collection.object_count
    return LISTS_AT_A_TIME_BYTES if count is None else count * LISTED_OBJECT_BYTES


def listed_objects(run: Workspace, plan: BackupPlan, attempt: str, collection: CapturedCollection) -> ListedObjects:
    """Return all objects of a collection that the backup is to list of it, those first that were in the pool already.

    Raises `BackupDamagedError` as `check_checksum` does, and as `ObjectTable`.
    """
    if not plan.is_incremental:
        return ListedObjects(ObjectTable(_copied_objects(run, plan, attempt, collection)))
    shared_count, before = 0, ListTotals()

    def objects() -> Iterator[ArchivedObject]:
        nonlocal shared_count
        for item in map(read_object, run.read_lines(shared_name(attempt, collection.index))):
            shared_count += 1
            # What an earlier round of this execution copied is in the pool as well.
            if copied_by(item.stored_key) != attempt:
                before.add(item)
            yield item
        yield from _copied_objects(run, plan, attempt, collection)

    table = ObjectTable(objects())
    # In order, so that a sweep of the pool can go through the lists of many backups side by side.
    return ListedObjects(table, "stored_key", shared_count, before)


def _copied_objects(
    run: Workspace, plan: BackupPlan, attempt: str, collection: CapturedCollection
) -> Iterator[ArchivedObject]:
    """Yield the objects of a collection that were copied, in the order of their items."""
    if plan.request.meta_only or not collection.has_target:
        return
    index = collection.index
    copies = (ArchivedObject(one.key, "", 0, one.etag, one.checksum) for one in verified_objects(run, attempt, index))
    with closing(ObjectTable(copies)) as verified:
        items = read_items(run, attempt, index)
        if plan.export:
            originals = map(read_object, run.read_lines(exported_name(attempt, index)))
            for item, original in zip(items, originals, strict=True):
                yield _exported(original, item.key, verified.proven(item.key))
        else:
            for item in items:
                found = verified.proven(item.key)
                yield ArchivedObject(item.key, item.source_key, item.size_bytes, found.etag, found.checksum)


def _exported(original: ArchivedObject, key: str, copy: Recorded) -> ArchivedObject:
    """Return the copy of an object of a backup as an export lists it: what it is a log of is told by Milvus' key.

    Raises as `check_checksum` does.
    """
    check_checksum(original, copy.checksum)
    return original._replace(stored_key=key, etag=copy.etag, checksum=copy.checksum or original.checksum)


def check_checksum(original: ArchivedObject, checksum: str) -> None:
    """Raise `BackupDamagedError` where S3 computed another checksum of the copy of an object than was recorded."""
    recorded = original.checksum
    if recorded and checksum and recorded != checksum and are_comparable(recorded, checksum):
        msg = f"{original.stored_key} is not what was backed up: its copy has checksum {checksum} instead of {recorded}"
        raise BackupDamagedError(msg, hint="Bring it back from a copy or an older version of it.")
