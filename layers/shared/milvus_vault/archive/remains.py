"""What is left of a backup that has lost its marker.

PublishBackup writes these files right before the marker, so a folder that has one of them was a backup, or all but
for a moment. Nobody sweeps it, and no other backup is made in its place: `repair` makes the marker anew.
"""

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.reference_writer import COLLECTION_META, FULL_META, PARTITION_META, SEGMENT_META
from milvus_vault.archive.tombstones import is_being_deleted
from milvus_vault.ports import ObjectStore


def was_published(store: ObjectStore, bucket: str, layout: BackupLayout) -> bool:
    """Return whether a folder has what is written right before a marker: our manifest, or milvus-backup's files.

    Not that of a backup which a prune deletes: there the marker goes first.
    """
    names = (FULL_META, COLLECTION_META, PARTITION_META, SEGMENT_META)
    # Each by itself: the documents of 16,000 collections lie between them.
    for key in (layout.manifest, *(layout.meta(name) for name in names)):
        if any(listed.key == key for listed in store.list_objects(bucket, key)):
            return not is_being_deleted(store, bucket, layout.prefix, layout.name)
    return False
