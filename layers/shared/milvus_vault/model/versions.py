"""Milvus versions, which backup may be restored into which server, and what came with which version.

The matrix is the one that milvus-backup publishes (2.2, 2.3 and 2.4 to 2.4 and 2.5; 2.5 to 2.5), drawn on
by the same rule to `NEWEST`: a backup goes to a server of the same or a newer minor version, from 2.4 on.
"""

import re
from typing import NamedTuple

from milvus_vault.errors import VersionUnsupportedError

OLDEST_SOURCE = (2, 2)
OLDEST_TARGET = (2, 4)
NEWEST = (2, 6)


def line_text(minor_line: tuple[int, int]) -> str:
    """Return a minor line as people write it: `2.6`."""
    return ".".join(map(str, minor_line))


KNOWN = f"{line_text(OLDEST_SOURCE)} to {line_text(NEWEST)}"
"""The versions that can be backed up, as messages name them."""

MATRIX_BEGIN = line_text(OLDEST_TARGET)
"""The version before which a target takes `allow_version`."""

# From then on FlushAll says for each channel up to where it has flushed.
_FLUSH_ALL_SINCE = (2, 6, 11)

# Whose answer to Flush has `coll_flush_ts` (milvus-proto/go-api v2.3.1).
_FLUSH_TIMES_SINCE = (2, 3, 1)

# `2.6-20260404-31fb3fc` is the head of a branch: newer than each of its releases.
BRANCH_HEAD_PATCH = 9999

# From then on there are databases.
_DATABASES_SINCE = (2, 2, 9)

# From then on imports are jobs of many files, reached by REST as well, and deletes lie in segments of their own.
_IMPORT_JOBS_SINCE = (2, 4)

# From then on one node writes each channel's log, and stamps what it writes.
_STREAMING_SINCE = (2, 6)

# From 2.5.13 on a query leaves out rows that have expired (milvus#42086, #42103); before, only a compaction did.
_HIDES_EXPIRED_SINCE = (2, 5)

# From then on fields are added to collections that have rows.
_ADDED_FIELDS_SINCE = (2, 6)

# Patches of 2.6 get a right of its own for imports of binlogs, 3.0 too: which ones is not known yet.
_IMPORT_BINLOG_SINCE = (2, 6)

# From then on rights are granted without a type of object, and those of the server on all databases.
_GRANTS_V2_SINCE = (2, 5)

# From then on the end of an import is a hybrid timestamp, and milliseconds are refused. Before, it is told in
# milliseconds, and a hybrid timestamp leaves nothing out. By the release notes of 2.5.6 and 2.4.24
# (milvus-io/milvus#40333, #40334), of which the second is a repair of an older line.
_HYBRID_ENDS_SINCE = (2, 5, 6)
_HYBRID_ENDS_IN_2_4_SINCE = (2, 4, 24)

FUNCTION_CHECK_SINCE = (2, 6, 8)
"""From then on Milvus asks services that functions use, as models of text, whether they answer, unless told not to."""

PACKED_VERSION = 2
"""The storage version from which on a log holds a group of columns, of which an import must be told."""

NEWEST_STORAGE_VERSION = 2
"""What a segment is made of from version 3 on is told by a manifest of its own."""

NEWER_STORAGE = "Milvus 2.6.7 and newer write storage version 3 where common.storage.useLoonFFI is true"

# Newer than all, so that it is refused where a version is too new and never taken for an old one.
_UNKNOWN_MAJOR = 99

# At the beginning or after the name: numbers elsewhere may be those of a cloud's own release, or of a host.
_NUMBER = r"(\d{1,9})"
_RELEASE = re.compile(rf"(?:^|Milvus )v?{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?!\d)", re.ASCII)
_BRANCH = re.compile(rf"(?:^|Milvus )v?{_NUMBER}\.{_NUMBER}(?![\d.])", re.ASCII)


class ServerVersion(NamedTuple):
    """A Milvus version, ordered. Compare `minor_line` where patches do not matter."""

    major: int
    minor: int
    patch: int
    text: str = ""
    """The version as the server spells it."""

    @property
    def minor_line(self) -> tuple[int, int]:
        """Return (major, minor)."""
        return (self.major, self.minor)

    @property
    def is_known(self) -> bool:
        """Return whether the server's spelling names a version at all."""
        return self.major < _UNKNOWN_MAJOR

    def __str__(self) -> str:
        """Return the version as the server spells it."""
        return self.text or (f"{self.major}.{self.minor}.{self.patch}" if self.is_known else "unknown")


def parse_version(text: str) -> ServerVersion:
    """Return the version that a server's answer names.

    Accepts a leading `v`, suffixes (`v2.3.5-lite`), four parts, branch heads (`2.6-20260404-31fb3fc`) and
    "Compatible with Milvus 2.6". Anything else, such as `master-2026…`, counts as newer than all, and `is_known` tells
    it from a release: who asks for a version has a better message than this one would have.
    """
    spelled = text.strip()
    if found := _RELEASE.search(spelled):
        return ServerVersion(int(found[1]), int(found[2]), int(found[3]), text)
    if found := _BRANCH.search(spelled):
        return ServerVersion(int(found[1]), int(found[2]), BRANCH_HEAD_PATCH, text)
    return ServerVersion(_UNKNOWN_MAJOR, 0, 0, text)


def can_back_up(server: ServerVersion) -> bool:
    """Return whether the matrix knows this server as a source."""
    return OLDEST_SOURCE <= server.minor_line <= NEWEST


def can_restore(backup: ServerVersion, target: ServerVersion) -> bool:
    """Return whether the matrix lets a backup of one version go to a server of another."""
    return (
        OLDEST_SOURCE <= backup.minor_line <= NEWEST
        and OLDEST_TARGET <= target.minor_line <= NEWEST
        and backup.minor_line <= target.minor_line
    )


def is_older(target: ServerVersion, backup: ServerVersion) -> bool:
    """Return whether the target is of an older minor version than the backup's server was."""
    return target.minor_line < backup.minor_line


def has_databases(server: ServerVersion) -> bool:
    """Return whether a server has databases; before, all collections are in one."""
    return (server.major, server.minor, server.patch) >= _DATABASES_SINCE


def has_flush_all(server: ServerVersion) -> bool:
    """Return whether one call can flush a whole server, and says up to where."""
    return (server.major, server.minor, server.patch) >= _FLUSH_ALL_SINCE


def tells_flush_times(server: ServerVersion) -> bool:
    """Return whether a flush of a collection says its timestamp, and not the second alone."""
    return (server.major, server.minor, server.patch) >= _FLUSH_TIMES_SINCE


def stamps_in_order(server: ServerVersion) -> bool:
    """Return whether a request gets its timestamp when it is written to the log, and not some time before."""
    return server.minor_line >= _STREAMING_SINCE


def has_import_jobs(server: ServerVersion) -> bool:
    """Return whether imports are jobs of many files, which REST can reach; before, only gRPC starts one of a pair."""
    return server.minor_line >= _IMPORT_JOBS_SINCE


def adds_fields(server: ServerVersion) -> bool:
    """Return whether a collection with rows can get further fields, of which its older segments have no logs."""
    return server.minor_line >= _ADDED_FIELDS_SINCE


def hides_expired(server: ServerVersion) -> bool:
    """Return whether queries leave out rows that have expired, maybe by a setting that no collection tells of."""
    return server.minor_line >= _HIDES_EXPIRED_SINCE


def may_guard_binlogs(server: ServerVersion) -> bool:
    """Return whether to import binlogs may take the right ImportBinlog there."""
    return server.minor_line >= _IMPORT_BINLOG_SINCE


def grants_without_type(server: ServerVersion) -> bool:
    """Return whether rights are granted without a type of object, and those of the server on all databases."""
    return server.minor_line >= _GRANTS_V2_SINCE


def ends_imports_in_hybrid(server: ServerVersion) -> bool:
    """Return whether the end of an import is told as a hybrid timestamp, and not in milliseconds."""
    release = (server.major, server.minor, server.patch)
    return release >= _HYBRID_ENDS_SINCE or _HYBRID_ENDS_IN_2_4_SINCE <= release < (2, 5)


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
        msg = f"restoring a backup of Milvus {backup} into Milvus {target} is not in the version matrix, which begins"
        msg += f" at {MATRIX_BEGIN}"
        raise VersionUnsupportedError(msg, hint=f"Set `allow_version` to restore into a server before {MATRIX_BEGIN}.")
