"""What a backup records of one collection: its settings, partitions and objects. No data is read."""

from collections.abc import Callable, Iterable

from milvus_vault.archive.contents import ArchivedCollection, ArchivedPartition
from milvus_vault.archive.layout import INSERT_LOG, BackupLayout, log_of
from milvus_vault.archive.reader import not_held, read_collection, recorded_objects
from milvus_vault.catalogue.describe import open_backup
from milvus_vault.catalogue.differences import settings_of
from milvus_vault.errors import AnswerTimeoutError
from milvus_vault.model.objects import ArchivedObject
from milvus_vault.model.resources import BackedUpPartition, CollectionDetails, ObjectCount, ObjectKinds, Setting
from milvus_vault.ports import ObjectStore

_LOOKED_AT_BETWEEN = 4096
"""Objects between two looks at the clock: some 20 ms."""


def describe_collection(
    store: ObjectStore, bucket: str, layout: BackupLayout, name: str, *, has_time: Callable[[], bool]
) -> CollectionDetails:
    """Return what a backup holds of a collection, `<database>.<name>`.

    It takes four requests, and a second for 60,000 objects.

    Raises:
        BackupNotFoundError: There is no commit marker.
        BackupDamagedError: A document or the object list is missing, or is not what was written.
        BackupFormatError: It is in a format that cannot be read.
        CollectionNotFoundError: The backup does not hold it.
        AnswerTimeoutError: Its objects cannot be counted while `has_time`.
    """
    opened = open_backup(store, bucket, layout)
    names = [f"{one.database}.{one.name}" for one in opened.description.collections]
    if name not in names:
        failures = {f"{one.database}.{one.name}": one.error for one in opened.description.failures}
        raise not_held(layout.name, name, names, failures.get(name, ""))
    number = names.index(name)
    summary, entry = opened.description.collections[number], opened.metadata.collections[number]
    found = entry if isinstance(entry, ArchivedCollection) else read_collection(store, bucket, layout, entry)

    def check() -> None:
        if not has_time():
            msg = f"counting the {summary.object_count:,} objects of {name} in backup '{layout.name}' takes too long"
            raise AnswerTimeoutError(msg, hint="The backup itself tells how many there are, and their size.")

    objects = _by_kind(recorded_objects(store, bucket, layout, found), check)
    return CollectionDetails(
        **summary.model_dump(),
        collection_id=found.collection_id,
        load_state=found.load_state.value,
        replicas=found.replicas,
        resource_groups=found.resource_groups,
        moment_doubt=found.moment_doubt,
        settings=tuple(
            Setting(kind=kind, name=name, value=dict(value))
            for kind, items in settings_of(found)
            for name, value in items.items()
        ),
        partitions=tuple(map(_partition, found.partitions)),
        objects=objects,
    )


def _partition(partition: ArchivedPartition) -> BackedUpPartition:
    return BackedUpPartition(
        name=partition.name,
        row_count=partition.row_count,
        segment_count=len(partition.segments),
        is_loaded=partition.is_loaded,
    )


def _by_kind(objects: Iterable[ArchivedObject], check: Callable[[], None]) -> ObjectKinds:
    counts = {True: [0, 0], False: [0, 0]}
    for number, item in enumerate(objects):
        if number % _LOOKED_AT_BETWEEN == 0:
            check()
        count = counts[log_of(item).kind == INSERT_LOG]
        count[0] += 1
        count[1] += item.size_bytes
    inserts, deletes = (ObjectCount(object_count=count[0], size_bytes=count[1]) for count in counts.values())
    return ObjectKinds(insert_logs=inserts, delta_logs=deletes)
