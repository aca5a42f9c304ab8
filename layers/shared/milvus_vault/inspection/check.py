"""Whether all that a backup or a restore needs is there: each thing with a verdict of its own.

What is found is true of the role and the network of the function that looks, which are those of the functions that
talk to Milvus.
"""

import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from itertools import islice

from milvus_vault.archive.layout import RUNS_FOLDER, join
from milvus_vault.backup.prepare import check_source_version
from milvus_vault.backup.rights import backup_rights
from milvus_vault.errors import MilvusRequestError, VaultError
from milvus_vault.inspection.segments import LOOKED_AT, unfit_collections
from milvus_vault.model.collections import DEFAULT_DATABASE, CollectionName
from milvus_vault.model.names import TEMPORARY_PREFIX
from milvus_vault.model.objects import ARCHIVED_HINT
from milvus_vault.model.readable import number_of
from milvus_vault.model.requests import BackupRequest
from milvus_vault.model.resources import CheckItem, CheckReport
from milvus_vault.model.rights import Right
from milvus_vault.model.versions import ServerVersion, can_restore, check_target_version
from milvus_vault.ports import Access, GarbageCollector, ObjectStore, Schemas, Server, VectorDatabase
from milvus_vault.restore.rights import all_restore_rights
from milvus_vault.rights import Places, by_database, grant_hint, in_words, missing_rights
from milvus_vault.source import MilvusStorage, StoredCollections, all_collections, prove_storage

# One page of a listing.
LISTED_OBJECTS = 1000

PROBE = b"Milvus Vault was here to see whether it may write. It deletes this at once."


class Warned(Exception):  # noqa: N818 - no failure
    """A check found something that somebody should know of, and that stops nothing."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Deployment:
    """What is looked at."""

    store: ObjectStore
    bucket: str
    prefix: str
    storage: MilvusStorage
    staging_prefix: str
    read_secret: Callable[[], str]
    """Reads the credentials, and returns what to say of them."""
    connect: Callable[[], AbstractContextManager[VectorDatabase]]
    open_garbage_collector: Callable[[], GarbageCollector | None]
    """Returns None where no management endpoint is configured. Asked after the secret could be read."""


@dataclass(slots=True)
class _Findings:
    """The verdicts so far."""

    items: list[CheckItem] = field(default_factory=list)

    def check(self, name: str, look: Callable[[], str]) -> bool:
        """Look at one thing, and note the verdict; return whether it is not failed."""
        try:
            self.items.append(CheckItem(name=name, verdict="ok", message=look()))
        except Warned as found:
            self.items.append(CheckItem(name=name, verdict="warning", message=found.message, hint=found.hint))
        except VaultError as err:
            self.items.append(
                CheckItem(name=name, verdict="failed", message=err.message, error=type(err).__name__, hint=err.hint)
            )
            return False
        return True

    def skip(self, names: tuple[str, ...], why: str) -> None:
        """Note things that cannot be looked at."""
        self.items += [CheckItem(name=name, verdict="skipped", message=why) for name in names]


# What only a Milvus that answers can tell.
_ASKED = (
    "source_version",
    "target_version",
    "collections",
    "describe_collection",
    "backup_rights",
    "restore_rights",
    "root_path",
    "segments",
    "limits",
    "leftovers",
)


def check_deployment(deployment: Deployment) -> CheckReport:
    """Return a verdict on each thing; one that fails never hides the others."""
    findings = _Findings()
    version: ServerVersion | None = None
    if findings.check("milvus_bucket", lambda: _list(deployment.store, deployment.storage.bucket)):
        findings.check("milvus_objects", lambda: _objects(deployment))
    else:
        findings.skip(("milvus_objects",), "the bucket cannot be listed")
    findings.check("staging_folder", lambda: _staging(deployment))
    findings.check("backup_bucket", lambda: _list(deployment.store, deployment.bucket))
    findings.check("backup_bucket_write", lambda: _probe(deployment))
    findings.check("backup_bucket_settings", lambda: _settings(deployment))
    has_secret = findings.check("secret", deployment.read_secret)
    with ExitStack() as stack:
        connected: list[tuple[VectorDatabase, ServerVersion]] = []

        def connect() -> str:
            database = stack.enter_context(deployment.connect())
            server = database.server_version()
            connected.append((database, server))
            return f"Milvus {server} answers"

        if not has_secret:
            findings.skip(("milvus_connection", *_ASKED), "there are no credentials to connect with")
        elif not findings.check("milvus_connection", connect):
            findings.skip(_ASKED, "Milvus cannot be asked")
        else:
            database, version = connected[0]
            _ask(deployment, findings, database, version)
    if not has_secret:
        findings.skip(("management_endpoint",), "there are no credentials to connect with")
    elif (collector := deployment.open_garbage_collector()) is None:
        findings.skip(("management_endpoint",), "none is configured: garbage collection goes on during backups")
    else:
        findings.check("management_endpoint", lambda: _pause(collector))
    return CheckReport(
        is_ok=all(item.verdict != "failed" for item in findings.items),
        milvus_version=str(version) if version else None,
        checks=tuple(findings.items),
    )


def _ask(deployment: Deployment, findings: _Findings, database: VectorDatabase, server: ServerVersion) -> None:
    findings.check("source_version", lambda: _source_version(server))
    findings.check("target_version", lambda: _target_version(server))
    names: list[CollectionName] = []

    def list_all() -> str:
        databases = database.list_databases()
        names.extend(all_collections(database, databases))
        return f"{number_of(len(databases), 'database')} with {number_of(len(names), 'collection')}"

    if not findings.check("collections", list_all):
        findings.skip(
            ("describe_collection", "backup_rights", "restore_rights", "root_path", "segments", "leftovers"),
            "the collections cannot be listed",
        )
        findings.check("limits", lambda: _limits(database))
        return
    findings.check("describe_collection", lambda: _describe(database, names))
    places = {DEFAULT_DATABASE: [], **by_database(names)}
    findings.check("backup_rights", lambda: _rights(database, server, backup_rights(BackupRequest()), places))
    # Restored collections have names that nobody could have granted rights on.
    anywhere: Places = dict.fromkeys(places, ())
    findings.check("restore_rights", lambda: _rights(database, server, all_restore_rights(server), anywhere))
    findings.check("root_path", lambda: _prove(deployment, database, names))
    findings.check("segments", lambda: _segments(deployment, database, names))
    findings.check("limits", lambda: _limits(database))
    findings.check("leftovers", lambda: _leftovers(names))


def _list(store: ObjectStore, bucket: str) -> str:
    store.check_bucket(bucket)
    return f"s3://{bucket} can be listed"


def _objects(deployment: Deployment) -> str:
    """Look at the oldest collections' objects, since those are what a lifecycle rule moves first."""
    folder = deployment.storage.insert_logs()
    looked_at = list(islice(deployment.store.list_objects(deployment.storage.bucket, folder), LISTED_OBJECTS))
    if archived := [listed for listed in looked_at if listed.archive_class]:
        msg = (
            f"{len(archived)} of the first {len(looked_at)} objects below s3://{deployment.storage.bucket}/{folder} are"
            f" archived, as {archived[0].key} ({archived[0].archive_class})"
        )
        raise Warned(msg, ARCHIVED_HINT)
    return f"none of the first {len(looked_at)} objects below s3://{deployment.storage.bucket}/{folder} is archived"


def _staging(deployment: Deployment) -> str:
    folder = join(deployment.staging_prefix) + "/"
    next(deployment.store.list_objects(deployment.storage.bucket, folder), None)
    return f"s3://{deployment.storage.bucket}/{folder} can be listed"


def _probe(deployment: Deployment) -> str:
    key = join(deployment.prefix, RUNS_FOLDER, "checks", f"{uuid.uuid4()}.txt")
    deployment.store.put(deployment.bucket, key, PROBE)
    deployment.store.get(deployment.bucket, key)
    deployment.store.delete(deployment.bucket, [key])
    return f"s3://{deployment.bucket}/{key} was written, read and deleted"


def _settings(deployment: Deployment) -> str:
    """Say what guards the backup bucket. What cannot be read is no failure: nothing that runs depends on it."""
    found = deployment.store.bucket_settings(deployment.bucket)
    good = {
        "blocks public access": found.blocks_public_access,
        "is not public by its policy": None if found.is_public is None else not found.is_public,
        "takes TLS only": found.takes_tls_only,
        "keeps versions": found.keeps_versions,
        "has Object Lock": found.has_object_lock,
    }
    where = f"s3://{deployment.bucket}"
    unread = [what for what, is_so in good.items() if is_so is None]
    unknown = f"; could not be read whether it {', '.join(unread)}" if unread else ""
    # Few want Object Lock: with it nothing is deleted before its time, by a prune neither.
    if missing := [what for what, is_so in good.items() if is_so is False and what != "has Object Lock"]:
        msg = f"it is not so that {where} {', '.join(missing)}{unknown}"
        raise Warned(msg, "Set the bucket up as the template does for one of its own: see BackupBucket there.")
    said = [what for what, is_so in good.items() if is_so] or ["can be used"]
    return f"{where} {', '.join(said)}{unknown}"


def _source_version(server: ServerVersion) -> str:
    check_source_version(server)
    return f"Milvus {server} can be backed up"


def _target_version(server: ServerVersion) -> str:
    check_target_version(server, server, allow_version=True)
    how = "" if can_restore(server, server) else " with `allow_version`"
    return f"its backups can be restored into Milvus {server}{how}"


def _describe(database: Schemas, names: list[CollectionName]) -> str:
    if not names:
        msg = "there is no collection to describe"
        raise Warned(msg)
    described = database.describe_collection(names[0].database, names[0].name)
    return f"{described.name} can be described"


def _rights(database: Access, server: ServerVersion, rights: Sequence[Right], places: Places) -> str:
    if missing := missing_rights(database, rights, places):
        msg = f"this Milvus user lacks {in_words(missing)}; a run that needs one is refused when it begins"
        raise Warned(msg, grant_hint(server, missing))
    return f"this Milvus user has them: {', '.join(rights)}"


def _prove(deployment: Deployment, database: StoredCollections, names: list[CollectionName]) -> str:
    where = deployment.storage.location
    if not prove_storage(deployment.store, database, deployment.storage, names):
        msg = f"no collection has flushed rows yet, so that {where} cannot be proven to be this Milvus' own"
        raise Warned(msg, "Flush a collection, and check again.")
    return f"{where} is where this Milvus keeps its data"


def _segments(deployment: Deployment, database: StoredCollections, names: list[CollectionName]) -> str:
    unfit = unfit_collections(deployment.store, database, deployment.storage, names)
    looked_at = f"of {len(names)}" if len(names) <= LOOKED_AT else f"of the first {LOOKED_AT}"
    if unfit:
        msg = f"{len(unfit)} {looked_at} collections cannot be backed up, or be restored only in rounds: "
        raise Warned(
            msg + "; ".join(found.message for found in unfit), " ".join(dict.fromkeys(found.hint for found in unfit))
        )
    return f"the segments {looked_at} collections can be backed up and restored"


def _limits(database: Server) -> str:
    health = database.health()
    if health.limits:
        msg = f"Milvus has reached limits: {'; '.join(health.limits)}"
        raise Warned(msg, "See quotaAndLimits of Milvus' settings. A restore asks for no check of the disk quota.")
    if health.warning:
        raise Warned(health.warning, "Wait a while and check again, then see Milvus' log.")
    return "Milvus has reached no limit"


def _leftovers(names: list[CollectionName]) -> str:
    found = [str(name) for name in names if name.name.startswith(TEMPORARY_PREFIX)]
    if found:
        many = number_of(len(found), "collection")
        msg = f"{many} of restores that are running or were stopped: {', '.join(found[:10])}"
        raise Warned(msg, "Start the stopped restores again with the same requests, or drop the collections.")
    return "no restore has left a collection behind"


def _pause(garbage_collector: GarbageCollector) -> str:
    try:
        garbage_collector.pause(1)
    except MilvusRequestError as err:
        msg = f"garbage collection cannot be paused: {err.message}"
        raise Warned(msg, err.hint) from err
    return "garbage collection can be paused"
