"""What deep verifications wrote down of the contents of objects that nothing else tells.

The ETag of an object in parts or under KMS is none of its content, and of another tool's archive nobody recorded one.
The first deep verification of such an object is the baseline: it writes a digest, and the later ones compare theirs.
"""

from collections.abc import Mapping

from milvus_vault.archive.contents import ArchivedCollection
from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.sealing import is_sealed, seal, unseal
from milvus_vault.catalogue.entries import CatalogueKeys
from milvus_vault.errors import ObjectNotFoundError
from milvus_vault.model.base import Model
from milvus_vault.ports import ObjectStore


class ContentDigests(Model):
    """The document, one for each collection that has such objects."""

    object_list: str
    """SHA-256 of the collection's object list: a backup that was made anew under the name has another. Empty where the
    backup is another tool's."""
    objects: dict[str, str]
    """SHA-256 by key below `binlogs/`, or from `.pool/` on."""


def read_digests(
    store: ObjectStore, bucket: str, layout: BackupLayout, collection: ArchivedCollection
) -> Mapping[str, str]:
    """Return the SHA-256 of contents, by key as in `ContentDigests`.

    Nothing where there is no such document, or one that rots or is of another backup: the next verification is the
    baseline then.
    """
    try:
        body = store.get(bucket, _key(layout, collection))
        found = ContentDigests.model_validate_json(unseal(body)) if is_sealed(body) else None
    except (ObjectNotFoundError, ValueError):
        return {}
    return found.objects if found is not None and found.object_list == _object_list(collection) else {}


def write_digests(
    store: ObjectStore,
    bucket: str,
    layout: BackupLayout,
    collection: ArchivedCollection,
    objects: Mapping[str, str],
) -> None:
    """Write the document in place of the one that is there."""
    document = ContentDigests(object_list=_object_list(collection), objects=dict(objects))
    store.put(bucket, _key(layout, collection), seal(document))


def _key(layout: BackupLayout, collection: ArchivedCollection) -> str:
    return f"{CatalogueKeys(layout.prefix).digests(layout.name)}{collection.collection_id}.json"


def _object_list(collection: ArchivedCollection) -> str:
    return collection.object_list.sha256 if collection.object_list else ""
