"""Check that a backup's objects and documents are all there, and are the ones that were written."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from milvus_vault.archive.contents import ArchivedCollection
from milvus_vault.archive.layout import INSERT_LOG, BackupLayout, log_of
from milvus_vault.archive.object_table import ObjectTable
from milvus_vault.archive.pool import is_pooled
from milvus_vault.archive.segment_logs import lacking
from milvus_vault.errors import BackupDamagedError, ObjectArchivedError
from milvus_vault.model.collections import ALL_PARTITIONS
from milvus_vault.model.objects import ARCHIVED_HINT, ArchivedObject
from milvus_vault.model.readable import first_of
from milvus_vault.ports import ObjectStore
from milvus_vault.spans import list_in_spans

OTHER_ETAGS_HINT = (
    "Sizes are right and ETags are others, as after a copy in parts or to a bucket under KMS. If the backup was copied,"
    " repair it, which compares the content: `POST /backups/{name}/repair`. Else bring the"
    " objects back from a copy or an older version of them, or leave the collection out."
)


@dataclass(frozen=True, slots=True)
class ObjectCheck:
    """How a collection's objects differ from its object list; keys are full keys in the backup's bucket."""

    missing: list[str] = field(default_factory=list)
    wrong_size: list[str] = field(default_factory=list)
    changed: dict[str, str] = field(default_factory=dict)
    """Of the right size, but with another ETag, which is the value; only where one was recorded."""
    extra: list[str] = field(default_factory=list)
    """Not in the list. They damage nothing, but an import in place would take them, too."""
    archived: list[str] = field(default_factory=list)
    """As they were, but in an archive class of S3, where nothing can read them."""
    torn: list[str] = field(default_factory=list)
    """What is wrong with segments that cannot be whole even if all listed objects are there."""

    @property
    def is_damaged(self) -> bool:
        """Return whether an object that the backup needs is not as it was."""
        return bool(self.missing or self.wrong_size or self.changed or self.torn)


def check_objects(
    store: ObjectStore,
    bucket: str,
    layout: BackupLayout,
    collection: ArchivedCollection,
    objects: Iterable[ArchivedObject],
) -> ObjectCheck:
    """Compare a collection's objects with one listing of its folders, whatever the order of either.

    What else lies in a folder that backups share is not looked at. Where `objects` are a table, what was found of them
    is noted there. Raises what listing does, and what making such a table raises.
    """
    table = objects if isinstance(objects, ObjectTable) else ObjectTable(objects)
    check = ObjectCheck(torn=list(_torn(collection, table)))
    # Of milvus-backup's files one alone names them, and what is missing there nothing else proves.
    level_zero = f"{layout.collection_folders(collection.collection_id)[1]}{ALL_PARTITIONS}/"
    # In the order of their keys, in which the table is asked for them most quickly.
    for folder in sorted(layout.folders_of(collection.collection_id, table)):
        for listed in list_in_spans(store, bucket, folder, table.keys_evenly):
            recorded = table.find(listed.key)
            if recorded is None:
                if is_pooled(listed.key):
                    continue
                check.extra.append(listed.key)
                if collection.object_list is None and listed.key.startswith(level_zero):
                    check.torn.append(f"{listed.key} is of deletes that the metadata does not name")
                continue
            is_readable = False
            if recorded.size_bytes != listed.size_bytes:
                check.wrong_size.append(listed.key)
            elif recorded.etag and recorded.etag != listed.etag:
                check.changed[listed.key] = listed.etag
            elif listed.archive_class:
                check.archived.append(f"{listed.key} ({listed.archive_class})")
            else:
                is_readable = True
            table.note(recorded, listed.etag if is_readable else None)
    check.missing.extend(table.missing())
    return check


def _torn(collection: ArchivedCollection, objects: Iterable[ArchivedObject]) -> Iterator[str]:
    """Yield what is wrong with segments by their own lists: Milvus would import nothing of them, or fail midway."""
    inserts: defaultdict[int, Counter[int]] = defaultdict(Counter)
    deletes: Counter[int] = Counter()
    for item in objects:
        key = log_of(item)
        if key.kind == INSERT_LOG:
            inserts[key.segment_id][key.field_id] += 1
        else:
            deletes[key.segment_id] += 1
    for segment in collection.segments:
        number = segment.segment_id
        if lack := lacking(collection.layout.collection_schema, segment, inserts[number], deletes[number]):
            yield f"segment {number} is torn: {lack}"


def raise_if_damaged(collection: ArchivedCollection, check: ObjectCheck) -> None:
    """Return if the backup has all objects of the collection as they were.

    Raises:
        BackupDamagedError: It has not; the message names the first objects.
        ObjectArchivedError: It has, but some cannot be read.
    """
    if not check.is_damaged:
        if check.archived:
            msg = f"{len(check.archived)} object(s) of collection {collection.name} are archived: "
            raise ObjectArchivedError(msg + first_of(check.archived), hint=ARCHIVED_HINT)
        return
    wrong = {"missing": check.missing, "of another size": check.wrong_size, "changed": list(check.changed)}
    counts = ", ".join(f"{len(keys)} {how}" for how, keys in wrong.items() if keys)
    counts = ", ".join(filter(None, (counts, f"{len(check.torn)} torn segment(s)" if check.torn else "")))
    named = [*check.torn, *(f"{key} ({how})" for how, keys in wrong.items() for key in keys)]
    msg = f"objects of collection {collection.name} are damaged: {counts}: {first_of(named)}"
    if len(check.changed) == len(named):
        raise BackupDamagedError(msg, hint=OTHER_ETAGS_HINT)
    raise BackupDamagedError(
        msg, hint="Bring the objects back from a copy or an older version of them, or leave the collection out."
    )
