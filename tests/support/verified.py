"""What the list of a complete target's objects says, by key."""

from milvus_vault.copying.working_files import verified_objects
from milvus_vault.workspace import Workspace


def read_verified(run: Workspace, attempt: str, index: int) -> dict[str, tuple[str, str]]:
    """Return ETag and checksum of each object of a complete target, by key."""
    return {found.key: (found.etag, found.checksum) for found in verified_objects(run, attempt, index)}
