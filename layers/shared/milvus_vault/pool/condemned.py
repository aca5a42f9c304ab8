"""Objects of the pool that a sweep is about to delete, so that no backup begins to list them.

The list of a group goes through these states, and from one to the next only by a write under the condition that it is
as it was read. Of sweeps at the same time one decides, and the others follow; a late one of a stopped execution comes
to nothing.

    keys                        nobody lists these objects, as far as a first look could tell
    keys, users                 and these attempts may be about to
    keys, users, is_decided     nobody does or ever will: one function deletes them, and others wait for it
    no keys                     they are deleted: the list waits for the next ones

So a list is not removed where it ends, since a late removal would hit the next one.
"""

from milvus_vault.archive.pool import PoolLayout
from milvus_vault.model.base import Model
from milvus_vault.pool.notes import find_note
from milvus_vault.ports import ObjectStore


class Condemned(Model):
    """Objects of one group."""

    turn: str
    """Made up anew for each list: two lists of the same objects have not the same ETag."""
    keys: tuple[str, ...]
    """Below the group's folder: `<segment>/<content>-<attempt>`. None: the list is done with."""
    sizes: tuple[int, ...] = ()
    """Bytes of each."""
    users: tuple[str, ...] | None = None
    """Keys of the notes of the attempts that were there when the list was written, and may list these objects; None:
    nobody has looked yet."""
    is_decided: bool = False
    """Whether no backup lists any of them, nor ever will."""
    deleted_by: str = ""
    """Made up by the one function that deletes them, once that is decided. Empty: it has stopped on its way, and the
    next one may go on. While it may be at work nobody else does: the list stays, and nobody begins to list what a late
    request of it deletes."""


def read_condemned(store: ObjectStore, bucket: str, layout: PoolLayout, group: str) -> tuple[Condemned, str] | None:
    """Return what is condemned of a group, and the list's ETag; None where nothing is.

    Raises `WorkingFileError` for a list that cannot be read: what is in it may go at any time.
    """
    says = "what is about to be deleted of the pool"
    hint = "Bring it back from an older version, or remove it while no prune runs."
    return find_note(store, bucket, layout.condemned(group), Condemned, says=says, hint=hint)
