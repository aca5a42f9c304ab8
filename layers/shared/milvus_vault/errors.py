"""Every failure that Milvus Vault names.

A leaf class is the contract: Lambda reports an exception to Step Functions by class name, so the name
is what Retry and Catch match on, what a failed execution shows, and what `docs/errors.md` (generated
from this file) explains. Raise a leaf with a message that names the object concerned, and a hint that
tells the operator what to do.
"""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from difflib import get_close_matches
from typing import ClassVar

from milvus_vault.untrusted import encodable

_HINT = "\nHint: "
# Of several messages.
_TOLD = 5
_NAMED = re.compile(r"`([a-z_]+|[A-Z]+ /[a-z_/{}]+)(: [a-z]+)?`")


def with_hint(message: str, hint: str) -> str:
    """Return an error as one text: the message, and the hint on a line of its own where there is one."""
    return f"{message}{_HINT}{hint}" if hint else message


def split_hint(text: str) -> tuple[str, str]:
    """Return message and hint of an error that was one text; the hint is empty where there is none."""
    message, _, hint = text.partition(_HINT)
    return message, hint


def shared_hint(hints: Iterable[str]) -> str:
    """Return the hint of several failures as one: what all of them say, or none where they differ."""
    different = set(hints)
    return different.pop() if len(different) == 1 else ""


# How like a name has to be to one that is not there: less, and `stop` would be offered for `restor`.
_NEAR = 0.7


def did_you_mean(name: str, there: Collection[str], *, within: str = "") -> str:
    """Return what a hint asks of a name that is not there: whether one that is near was meant; nothing if none is.

    Args:
        name: The name that was given.
        there: The names that there are, of which the nearest three are told, the nearest first.
        within: What stands before all of them where they are told, such as a database and a dot.
    """
    near = get_close_matches(name, there, cutoff=_NEAR)
    return f"Did you mean {' or '.join(f"'{within}{one}'" for one in near)}?" if near else ""


def renamed(text: str, name_of: Callable[[str, str], str]) -> str:
    """Return a message or a hint in which what the API calls so has other names.

    Fields and routes are in backquotes there, a field with its value where that matters: `load: false`.

    Args:
        text: The message or the hint.
        name_of: Returns the other name of a field or a route, given with its value (`: false`, or nothing), in place
            of both; nothing where it has none.
    """
    return _NAMED.sub(lambda found: name_of(found[1], found[2] or "") or found[0], text)


class VaultError(Exception):
    """Base of every named failure; never raised itself.

    `str(error)` is `with_hint(message, hint)`.
    """

    retryable: ClassVar[bool] = False
    """Whether the state machines run the task again (with the same input) after this error."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        # A message quotes what was given, and any log and document must take it.
        self.message, self.hint = encodable(message), encodable(hint)
        super().__init__(with_hint(self.message, self.hint))


def together(refusals: Sequence[VaultError]) -> VaultError:
    """Return several refusals of one request as one, by the name of the first, so that none comes after another.

    Its message has the first five of their messages, its hint what all of them advise.
    """
    first, *others = refusals
    if not others:
        return first
    messages = list(dict.fromkeys(refusal.message for refusal in refusals))
    said = [*messages[:_TOLD], *([f"and {len(messages) - _TOLD} more"] if len(messages) > _TOLD else [])]
    return type(first)("; ".join(said), hint=" ".join(dict.fromkeys(refusal.hint for refusal in refusals)).strip())


# --- requests and settings ------------------------------------------------------------------------


class InvalidRequestError(VaultError):
    """The request has an unknown field, a value that is not allowed, or options that exclude each other."""


class NameConflictError(VaultError):
    """Renaming would give a collection its own name again, or bring two sources onto one target."""


class EmptySelectionError(VaultError):
    """The selection matches neither a collection nor a database: there is nothing to restore."""


class SettingsError(VaultError):
    """A function's environment lacks a value or holds one that cannot be used."""


class WorkingFileError(VaultError):
    """A run's working file cannot be read; it was damaged or written by another release."""


class DiskFullError(VaultError):
    """A function's disk has no room for what it has to compare."""


class RunTakenOverError(VaultError):
    """A later execution with the same input has taken the run over, and this one may change nothing any more."""


# --- Milvus ---------------------------------------------------------------------------------------


class MilvusUnavailableError(VaultError):
    """Milvus cannot be reached, is not ready, or limits the rate of requests."""

    retryable = True


class MilvusSecretError(VaultError):
    """The secret with Milvus' credentials and certificates cannot be read, or holds what cannot be used."""


class MilvusTlsError(VaultError):
    """One side speaks TLS and the other one does not, or they do not agree on how."""


class MilvusCertificateError(VaultError):
    """Milvus' certificate cannot be trusted: it has expired, another name, or an unknown authority."""


class ClientCertificateError(VaultError):
    """Milvus asks for a client certificate, and there is none or one that it refuses."""


class MilvusAuthenticationError(VaultError):
    """Milvus refuses the user, the password or the token."""


class MilvusPermissionError(VaultError):
    """The Milvus user lacks a privilege that this work needs."""


class MilvusRequestError(VaultError):
    """Milvus refuses a call for a reason of its own, which the message quotes."""


class VersionUnsupportedError(VaultError):
    """The server's version cannot be backed up, or cannot take a backup made on another version."""


class DatabaseNotFoundError(VaultError):
    """A database named in the selection does not exist."""


class CollectionNotFoundError(VaultError):
    """A collection named in the selection does not exist, or was dropped meanwhile."""


class FlushTimeoutError(VaultError):
    """A collection's rows were not flushed within the time allowed."""


class ServerClockError(VaultError):
    """Milvus' timestamps do not go on: what it stamps now is older than what it stamped before."""


# --- object storage -------------------------------------------------------------------------------


class StorageThrottledError(VaultError):
    """S3 asks to slow down for longer than one invocation can wait."""

    retryable = True


class StorageUnavailableError(VaultError):
    """S3 does not answer, or answers with an error of its own."""

    retryable = True


class StorageAccessDeniedError(VaultError):
    """S3 or KMS refuses access to a bucket or an object."""


class BucketNotFoundError(VaultError):
    """A bucket does not exist."""


class BucketNotLockableError(VaultError):
    """A lock is asked for, and the bucket has no Object Lock."""


class LockRefusedError(VaultError):
    """An object is locked in another mode, which S3 does not change into the one that is asked for."""


class ObjectNotFoundError(VaultError):
    """An object does not exist."""


class ObjectChangedError(VaultError):
    """An object is not the one that was listed: its ETag differs."""


class ObjectArchivedError(VaultError):
    """An object lies in an archive class of S3, where it cannot be read or copied until it is restored from there."""


class StorageRequestError(VaultError):
    """S3 refuses a request for a reason of its own, which the message quotes."""


class ConditionalWriteUnsupportedError(VaultError):
    """The S3 of the backup bucket overwrites objects in spite of a condition, which shared objects rest on."""


class WrongRootPathError(VaultError):
    """The bucket and root path are not where this Milvus keeps its data."""


# --- backups --------------------------------------------------------------------------------------


class BackupExistsError(VaultError):
    """The backup name is taken: by a backup that is complete, partial or damaged."""


class BackupInProgressError(VaultError):
    """Another execution is working on the backup of this name."""


class CopyInProgressError(VaultError):
    """Another execution copies an incremental backup to the same place: copies into a pool stand in line."""

    retryable = True


class BackupNotFoundError(VaultError):
    """No backup of this name: its commit marker is not there."""


class BackupDamagedError(VaultError):
    """A part of the backup is missing, has another size or content, or cannot be read."""


class MomentOutOfRangeError(VaultError):
    """The time that a restore is asked for does not lie in the backup."""


class BinlogUnreadableError(VaultError):
    """A file of Milvus' rows or deletes is not what its place says, is not whole, or is encrypted."""


class BackupFormatError(VaultError):
    """The backup is in a format that this release cannot read."""


class BackupPartialError(VaultError):
    """The backup is published, but lacks at least one collection; the others can be restored."""


class VerificationNotStartedError(VaultError):
    """The backup is published, but the verification that its request asks for could not be started."""


class CopyNotStartedError(VaultError):
    """The backup is published, but the copy to another place that its request asks for could not be started."""


class BackupFailedError(VaultError):
    """Nothing is published: collections failed, for different reasons or where all were asked for."""


class SourceChangedError(VaultError):
    """A collection kept changing: its segments were replaced faster than they could be copied, or it lost its name."""


class SegmentTornError(VaultError):
    """A segment in Milvus' bucket lacks objects or has stray ones, though Milvus goes on naming it."""


class CopyUnfinishedError(VaultError):
    """A batch of copies ran out of time; what is done is recorded, and a retry goes on from there."""

    retryable = True


class CopyIncompleteError(VaultError):
    """After the last round the destination still lacks objects, or holds them with another content."""


class CheckIncompleteError(VaultError):
    """Not all objects of a backup were looked at: the function that does it was ended before it could say why."""


class BackupLockedError(VaultError):
    """The backup is locked by S3 Object Lock, so that it cannot be deleted before the lock ends."""


class BackupHeldError(VaultError):
    """The backup has a hold, so that it cannot be deleted."""


class BackupInUseError(VaultError):
    """A running restore or export reads the backup, so that it cannot be deleted now."""


class BackupNotExportableError(VaultError):
    """The backup cannot be exported so: it lacks collections, is milvus-backup's already, or has no rows to export."""


class DatasetExistsError(VaultError):
    """The name of a dataset is taken in its place, by another one or by what is none."""


class DatasetIncompleteError(VaultError):
    """Not all rows of a dataset were written: the function that does it was ended before it could say why."""


class PruneFailedError(VaultError):
    """At least one backup that should be deleted could not be; the others are gone."""


# --- restores -------------------------------------------------------------------------------------


class CollectionExistsError(VaultError):
    """A collection or alias of the target's name exists already."""


class AliasConflictError(VaultError):
    """An alias cannot be switched: it is a collection's name, another database's, or would have two collections."""


class TargetClaimedError(VaultError):
    """Another restore that is still running owns the target."""


class ResourceGroupError(VaultError):
    """A resource group that was asked for is not in the target, or has too few query nodes."""


class FieldIdMismatchError(VaultError):
    """The target's fields have other IDs, types or dimensions than the backup's, or have no place for its nulls."""


class ImportFailedError(VaultError):
    """Milvus gave up an import job; the message quotes its reason."""


class ImportStalledError(VaultError):
    """No import job of a restore has got further for six hours."""


class RowCountMismatchError(VaultError):
    """The restored collection does not hold the rows that the backup holds."""


class IndexFailedError(VaultError):
    """Milvus gave up building an index of a restored collection."""


class LoadFailedError(VaultError):
    """A restored collection could not be loaded as it was."""


class DatabaseExistsError(VaultError):
    """A database has the name that a drill was to give its scratch database."""


class ScratchInUseError(VaultError):
    """A drill's scratch database holds collections that no drill made, so that it is not dropped."""


class DrillFailedError(VaultError):
    """What a drill restored is not what the backup holds."""


class RestorePartialError(VaultError):
    """At least one collection was not restored; the others are complete."""


class RestoreFailedError(VaultError):
    """No collection was restored, for more than one reason."""


# --- runs, schedules and the API ------------------------------------------------------------------


class RunNotFoundError(VaultError):
    """Step Functions knows no execution of this ID; it forgets them after 90 days."""


class RunEndedError(VaultError):
    """The run cannot be stopped, since it has ended."""


class RunStoppedError(VaultError):
    """Somebody stopped the run before it ended."""


class RunTimedOutError(VaultError):
    """The run took longer than its state machine allows."""


class IdempotencyConflictError(VaultError):
    """The idempotency key was used for another request before."""


class ScheduleNotFoundError(VaultError):
    """There is no schedule of this name."""


class ScheduleManagedError(VaultError):
    """The schedule comes from the stack's parameters, and is changed by deploying the stack again."""


class ServiceUnavailableError(VaultError):
    """An AWS service other than S3 does not answer, or limits the rate of requests."""


class ServiceRequestError(VaultError):
    """An AWS service other than S3 refuses a request for a reason of its own, which the message quotes."""


class AnswerTimeoutError(VaultError):
    """What was asked for takes longer than one answer of the API may take."""


class RouteNotFoundError(VaultError):
    """The API has no such path, or the path has no such method."""


# --- the client and the CLI -----------------------------------------------------------------------


class ApiNotFoundError(VaultError):
    """Neither a stack, nor an address, nor a running local stack tells where the API is."""


class ApiUnavailableError(VaultError):
    """The API cannot be reached, or does not answer as Milvus Vault's API does."""


class ApiAccessDeniedError(VaultError):
    """The caller's AWS credentials are missing, or may not call the API."""


class WaitTimeoutError(VaultError):
    """The run was still going on when the time to wait for it was over; it goes on."""


class LocalStackError(VaultError):
    """The local stack could not be started, found or stopped."""


def leaf_named(name: str) -> type[VaultError]:
    """Return the leaf of a name; raises `KeyError` for a name that is none."""
    return {leaf.__name__: leaf for leaf in VaultError.__subclasses__()}[name]
