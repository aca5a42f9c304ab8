"""Milvus' answers to our errors.

A call can fail in three ways: the gRPC status says so, the answer's `code` does (2.3 on), or only its older
`error_code`. Numbers are those of Milvus' `merr` package, as real servers of 2.3 to 2.6 answered.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc

from milvus_vault.errors import (
    CollectionExistsError,
    CollectionNotFoundError,
    DatabaseNotFoundError,
    MilvusAuthenticationError,
    MilvusPermissionError,
    MilvusRequestError,
    MilvusUnavailableError,
    VaultError,
    WrongRootPathError,
)

NOT_FOUND = 100
INDEX_NOT_FOUND = 700
JOB_NOT_FOUND = {2100, 2101}  # up to 2.5, from 2.6 on; 2100 is whatever goes wrong with an import

# Not ready, unavailable, memory or disk or rate limits, node offline: they pass.
_PASSING = {1, 2, 5, 8, 9, 901}
_DATABASE_NOT_FOUND = 800
_NOT_PERMITTED = 1401
_COLLECTION_TAKEN, _ALIAS_TAKEN = 1601, 1602
# 2.2 has no code for it.
_ALIAS_WORDS = "alias exists and already aliased"
_NAME_WORDS = ("duplicated new collection name", "collection already exists with same name")
_GROUP_NOT_FOUND = 300
# 2.2 says the first, 2.3 the second with the key of its etcd, and newer ones the third.
_JOB_GONE_WORDS = ("import task id doesn't exist", "meta/importtask/", "cannot find")
_LEGACY_COLLECTION_NOT_FOUND = 4
_LEGACY_RATE_LIMIT = 49
# And: another node, not ready, becoming the leader, data coordinator away.
_LEGACY_PASSING = {_LEGACY_RATE_LIMIT, 50, 56, 57, 100}
_NOT_LOADED = {101, 201}  # a collection, a partition
_NOT_LOADED_LEGACY_WORDS = "has not been loaded"
_BUSY_WORDS = "rate limit"
_RATE_LIMITED = 8
# A server takes 1,024 import jobs at a time, up to 2.3 65,536. The code is that of all that goes wrong with them.
_FULL_WORDS = ("number of jobs has reached the limit", "import task queue max size", _BUSY_WORDS)
# A proxy that starts, or whose coordinators do, answers UNKNOWN or "unexpected"; a connection that broke in a call does
# with words of gRPC. "node not match": another process than that of the session that etcd still has.
_PASSING_WORDS = (
    _BUSY_WORDS,
    "not ready",
    "service unavailable",
    "node not match",
    "stream removed",
    "rst_stream",
    "connection reset",
    "broken pipe",
    "socket closed",
)
# Frames of Go between a message and its cause: `stack trace: /a/b.go:51 github.com/c.D\n/e/f.go:9 g.H: cause`.
_STACK_TRACE = re.compile(r"stack trace:(?:\s*/\S+\.go:\d+\s+\S+)+\s*")
_NOTHING_TO_IMPORT = "no binlog to import"

UNREACHABLE_HINT = (
    "Check MilvusUri, that Milvus runs, and that the functions' subnets and security groups let them reach it."
)
CREDENTIALS_HINT = "Correct username and password, or the token, in the secret that MilvusSecretArn names."
STAGED_ELSEWHERE_HINT = (
    "Set MilvusBucketName to minio.bucketName of the target Milvus' settings, and let Milvus' role list and read it."
)
_SPELLING_HINT = "Check the spelling; names are case sensitive."
STARTING_HINT = "The server is busy or starting; the task is tried again."
PERMISSION_HINT = "Grant the user the privileges listed in docs/operations.md, or the role 'admin'."


@dataclass(frozen=True, slots=True)
class Answer:
    """The status of an answer that came by another way than gRPC."""

    code: int
    reason: str
    error_code: int = 0


def one_line(reason: str) -> str:
    """Return a reason of Milvus' as one line, without the frames of Go that may be in it."""
    return " ".join(_STACK_TRACE.sub("", reason).split())


def _passes(reason: str) -> bool:
    return any(words in reason.lower() for words in _PASSING_WORDS)


def from_rpc(err: grpc.RpcError, call: str, uri: str) -> VaultError:
    """Return our error for a call that failed on its way."""
    status = err.code() if isinstance(err, grpc.Call) else grpc.StatusCode.UNKNOWN
    details = one_line((err.details() if isinstance(err, grpc.Call) else None) or str(err))
    if status is grpc.StatusCode.UNAUTHENTICATED:
        return MilvusAuthenticationError(
            f"Milvus at {uri} refuses the credentials: {details}",
            hint=CREDENTIALS_HINT,
        )
    if status is grpc.StatusCode.PERMISSION_DENIED:
        return MilvusPermissionError(
            f"{call} is not allowed to this Milvus user: {details}",
            hint=PERMISSION_HINT,
        )
    if status in {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.ABORTED,
    }:
        return MilvusUnavailableError(f"{call} at {uri} got no answer: {details}", hint=UNREACHABLE_HINT)
    if _passes(details):
        return MilvusUnavailableError(f"{call} at {uri} failed: {status.name}: {details}", hint=STARTING_HINT)
    return MilvusRequestError(f"{call} at {uri} failed: {status.name}: {details}")


def unreachable(uri: str, seconds: float) -> VaultError:
    """Return the error for a server that takes no connection."""
    return MilvusUnavailableError(f"no connection to Milvus at {uri} within {seconds:.0f} s", hint=UNREACHABLE_HINT)


def is_alias_taken(status: Any) -> bool:
    """Return whether a call was refused since another collection has the alias."""
    return getattr(status, "code", 0) == _ALIAS_TAKEN or _ALIAS_WORDS in status.reason


def is_no_resource_group(status: Any) -> bool:
    """Return whether a call was refused since there is no resource group of the name."""
    words = ("resource group not found", "resource group doesn't exist")
    return getattr(status, "code", 0) == _GROUP_NOT_FOUND or any(text in status.reason for text in words)


def is_not_loaded(status: Any) -> bool:
    """Return whether an answer says that a collection or a partition is not loaded; 2.2 has only words for it."""
    return status.code in _NOT_LOADED or (not status.code and _NOT_LOADED_LEGACY_WORDS in status.reason)


def takes_no_more_jobs(status: Any) -> bool:
    """Return whether an import was refused, and not started, since there are too many already or it came too soon."""
    is_limited = status.code == _RATE_LIMITED or status.error_code == _LEGACY_RATE_LIMIT
    return is_limited or any(words in status.reason.lower() for words in _FULL_WORDS)


def is_job_gone(status: Any) -> bool:
    """Return whether an answer says that there is no such import job, or none any more."""
    has_failed = bool(status.code or status.error_code)
    return has_failed and any(words in status.reason for words in _JOB_GONE_WORDS)


def check_permitted(status: Any, what: str) -> None:
    """Raise `MilvusPermissionError` where an answer says that a right is missing, as most say by gRPC's own status."""
    if getattr(status, "code", 0) == _NOT_PERMITTED:
        raise MilvusPermissionError(f"{what}: {one_line(status.reason)}", hint=PERMISSION_HINT)


@contextmanager
def understood(call: str, subject: str) -> Iterator[None]:
    """Raise `MilvusRequestError` where an answer by which all is well lacks something, or says what nobody knows."""
    try:
        yield
    except (LookupError, ValueError) as err:
        msg = f"{call} of {subject}: the answer is not one of Milvus' as far as it is known: {err}"
        raise MilvusRequestError(msg, hint="Check that MilvusUri is Milvus' own, and its version supported.") from err


def _is_no_collection(status: Any, code: int) -> bool:
    return code == NOT_FOUND or (not code and status.error_code == _LEGACY_COLLECTION_NOT_FOUND)


def _is_no_database(status: Any, code: int) -> bool:
    words = status.reason
    return code == _DATABASE_NOT_FOUND or ("database" in words and "not found" in words and "collection" not in words)


def _is_name_taken(status: Any, code: int) -> bool:
    return code == _COLLECTION_TAKEN or is_alias_taken(status) or any(words in status.reason for words in _NAME_WORDS)


def _is_passing(status: Any, code: int) -> bool:
    return code in _PASSING or status.error_code in _LEGACY_PASSING or _passes(status.reason)


def check(status: Any, call: str, subject: str) -> None:
    """Raise our error where an answer's status is not success. `subject` names the object concerned."""
    code = getattr(status, "code", 0)
    if code or status.error_code:
        check_permitted(status, f"{call} of {subject}")
        raise _refusal(status, code, call, subject)


def _refusal(status: Any, code: int, call: str, subject: str) -> VaultError:
    """Return our error for what an answer says went wrong; the first that fits."""
    number = code or status.error_code
    text = f"{call} of {subject}: {one_line(status.reason) or 'no reason given'} (code {number})"
    if _is_no_collection(status, code):
        return CollectionNotFoundError(f"collection {subject} does not exist", hint=_SPELLING_HINT)
    if _is_no_database(status, code):
        return DatabaseNotFoundError(f"the database of {subject} does not exist", hint=_SPELLING_HINT)
    if _is_name_taken(status, code):
        return CollectionExistsError(text, hint="Choose another name, or drop what has it.")
    if _NOTHING_TO_IMPORT in status.reason:
        return WrongRootPathError(f"{text}; it looks into its own bucket", hint=STAGED_ELSEWHERE_HINT)
    if _is_passing(status, code):
        return MilvusUnavailableError(text, hint=STARTING_HINT)
    return MilvusRequestError(text)
