"""Objects of the pool that a sweep is about to delete, so that no backup begins to list them.

A sweep writes a group's list, and removes it only when all of these objects are deleted, or another backup's after all.
"""

from pydantic import ValidationError

from milvus_vault.archive.pool import PoolLayout
from milvus_vault.errors import ObjectNotFoundError, WorkingFileError
from milvus_vault.model.base import Model
from milvus_vault.ports import ObjectStore


class Condemned(Model):
    """Objects of one group."""

    keys: tuple[str, ...]
    """Below the group's folder: `<segment>/<content>-<attempt>`."""
    users: tuple[str, ...] | None = None
    """Keys of the notes of the attempts that were there when the list was written, and may list these objects; None:
    nobody has looked yet."""


def read_condemned(store: ObjectStore, bucket: str, layout: PoolLayout, group: str) -> tuple[Condemned, str] | None:
    """Return what is condemned of a group, and the list's ETag; None where nothing is.

    Raises `WorkingFileError` for a list that cannot be read: what is in it may go at any time.
    """
    key = layout.condemned(group)
    try:
        body, etag = store.get_with_etag(bucket, key)
        return Condemned.model_validate_json(body), etag
    except ObjectNotFoundError:
        return None
    except ValidationError as err:
        msg = f"s3://{bucket}/{key}, which says what is about to be deleted of the pool, cannot be read"
        hint = "Bring it back from an older version, or remove it while no prune runs."
        raise WorkingFileError(msg, hint=hint) from err
