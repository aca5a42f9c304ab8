"""Which server may take which backup."""

from milvus_vault.errors import VersionUnsupportedError
from milvus_vault.model.versions import (
    KNOWN,
    NEWEST,
    OLDEST_SOURCE,
    OLDEST_TARGET,
    ServerVersion,
    can_restore,
    is_older,
    line_text,
)


def check_target_version(backup: ServerVersion, target: ServerVersion, *, allow_version: bool) -> None:
    """Raise `VersionUnsupportedError` unless the matrix, or `allow_version`, lets the backup go to the server."""
    for who, version in (("the backup", backup), ("the target", target)):
        if not version.is_known:
            msg = f"the version of {who} is '{version.text}', which names no release; only {KNOWN} are known"
            raise VersionUnsupportedError(msg, hint="Restore a backup of a released Milvus into a released Milvus.")
    if is_older(target, backup):
        msg = f"a backup of Milvus {backup} cannot be restored into Milvus {target}, which is older"
        raise VersionUnsupportedError(msg, hint="Restore into a server of the same or a newer minor version.")
    if not OLDEST_SOURCE <= backup.minor_line <= NEWEST or not OLDEST_SOURCE <= target.minor_line <= NEWEST:
        msg = f"a backup of Milvus {backup} cannot be restored into Milvus {target}; only {KNOWN} are known"
        raise VersionUnsupportedError(msg, hint="See the version matrix in README.md.")
    if not can_restore(backup, target) and not allow_version:
        oldest = line_text(OLDEST_TARGET)
        msg = f"restoring a backup of Milvus {backup} into Milvus {target} is not in the version matrix, which begins"
        msg += f" at {oldest}"
        raise VersionUnsupportedError(msg, hint=f"Set `allow_version` to restore into one before {oldest}.")
