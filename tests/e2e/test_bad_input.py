"""What is refused, under which name, and that nothing is left of it but a failure record.

All cases run in one fixture, a few at a time; what is in the buckets and in Milvus is compared before and after.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest

from local.stack import Deployment, LocalStack
from tests.support.milvus_data import Sample, client_of, collections_of, drop_databases, import_jobs, make
from tests.support.selecting import selected
from tests.support.tampering import Json, StoredBackup, upload_golden
from tests.support.vault_runs import Ended, Machine, Stack, listing, run
from tests.tiers import parameters

DATABASE = "refused"
BACKUP = "refused"
BOOKS, DRAFTS, MAGAZINES = (f"{DATABASE}.{name}" for name in ("books", "drafts", "magazines"))
COLLECTIONS = [
    Sample("books", aliases=("shelf",)),
    Sample("drafts", is_loaded=False),
    Sample("magazines", has_text_key=True, rows=0),
]

# Parameters of the deployments that cannot work, by their names.
BROKEN = {
    "nowhere": {"MilvusUri": "http://127.0.0.1:9"},
    "no-milvus-bucket": {"MilvusBucketName": "not-there-at-all"},
    "no-backup-bucket": {"BackupBucketName": "neither-is-this-one"},
    "wrong-root": {"MilvusRootPath": "somewhere/else"},
}


@dataclass(frozen=True, slots=True)
class Case:
    """A request that must be refused."""

    machine: Machine
    request: Any
    error: str
    words: str
    """Some of what the cause must say."""
    deployment: str = ""
    """One of `BROKEN`; empty: the one that works."""


def backup(request: Any, error: str, words: str, deployment: str = "") -> Case:
    """Return a case of the backup machine."""
    return Case("Backup", request, error, words, deployment)


def restore(request: Json, error: str, words: str, deployment: str = "") -> Case:
    """Return a case of the restore machine, of the sound backup unless the request names another."""
    return Case("Restore", {"backup_name": BACKUP, "allow_version": True, **request}, error, words, deployment)


def restore_copy(name: str, error: str, words: str) -> Case:
    """Return a case of the restore machine for a damaged copy, whose names in Milvus are free."""
    return restore({"backup_name": f"refused_{name}", "suffix": "_x"}, error, words)


REQUESTS = {
    "no object": backup(["books"], "InvalidRequestError", "should be an object"),
    "a misspelt field": backup({"colections": [BOOKS]}, "InvalidRequestError", "colections: unknown field"),
    "a wrong type": backup({"meta_only": "perhaps"}, "InvalidRequestError", "meta_only: "),
    "an unknown mode": backup({"mode": "quick"}, "InvalidRequestError", "mode: "),
    "a name with a blank": backup({"backup_name": "my backup"}, "InvalidRequestError", "backup_name: "),
    "a selector without a database": backup(
        {"collections": ["books"]}, "InvalidRequestError", "'books' is not '<database>.<collection>'"
    ),
    "no selector at all": backup({"collections": []}, "InvalidRequestError", "collections: "),
    "two mistakes": backup({"mode": "quick", "gc_pause": 7}, "InvalidRequestError", "gc_pause: "),
    "a taken name": backup({"backup_name": BACKUP, "collections": [BOOKS]}, "BackupExistsError", "'refused' exists"),
    "an unknown database": backup({"collections": ["nowhere.books"]}, "DatabaseNotFoundError", "'nowhere'"),
    "an unknown collection": backup(
        {"collections": [f"{DATABASE}.Books"]}, "CollectionNotFoundError", "'refused.Books'"
    ),
    "an alias for a collection": backup({"collections": [f"{DATABASE}.shelf"]}, "CollectionNotFoundError", "aliases"),
    "no name of a backup": Case("Restore", {"suffix": "_x"}, "InvalidRequestError", "backup_name: is missing"),
    "a misspelt field of a restore": restore({"sufix": "_x"}, "InvalidRequestError", "sufix: unknown field"),
    "no shards": restore({"max_shards": 0, "suffix": "_x"}, "InvalidRequestError", "max_shards: "),
    "suffix and rename": restore(
        {"suffix": "_x", "rename": {BOOKS: f"{DATABASE}.b"}}, "InvalidRequestError", "`suffix` and `rename`"
    ),
    "drop_existing and skip_create": restore(
        {"drop_existing": True, "skip_create": True}, "InvalidRequestError", "`drop_existing` and `skip_create`"
    ),
    "load without indexes": restore(
        {"restore_index": False, "load": True, "suffix": "_x"},
        "InvalidRequestError",
        "`load: true` and `restore_index: false`",
    ),
    "a rename of a collection to a database": restore(
        {"rename": {BOOKS: "elsewhere.*"}}, "InvalidRequestError", f"{BOOKS} -> elsewhere.*"
    ),
    "a rename of what is not restored": restore(
        {"collections": [BOOKS], "rename": {DRAFTS: f"{DATABASE}.x"}}, "InvalidRequestError", DRAFTS
    ),
    "a rename to itself": restore({"rename": {BOOKS: BOOKS}}, "NameConflictError", "its own name"),
    "two sources onto one target": restore(
        {"rename": {BOOKS: DRAFTS}}, "NameConflictError", f"{BOOKS} and {DRAFTS} would both"
    ),
    "an unknown backup": restore({"backup_name": "never_made"}, "BackupNotFoundError", "never_made"),
    "a collection that is not in the backup": restore(
        {"collections": [f"{DATABASE}.nothing"]}, "CollectionNotFoundError", "refused.nothing"
    ),
    "a database that is not in the backup": restore(
        {"collections": ["nowhere.*"]}, "DatabaseNotFoundError", "'nowhere'"
    ),
    "a target that exists": restore({}, "CollectionExistsError", f"the target has {BOOKS}, {DRAFTS} already"),
    "a target that is an alias": restore(
        {"collections": [DRAFTS], "rename": {DRAFTS: f"{DATABASE}.shelf"}},
        "CollectionExistsError",
        "refused.shelf (an alias)",
    ),
    "an alias to be replaced": restore(
        {"collections": [DRAFTS], "rename": {DRAFTS: f"{DATABASE}.shelf"}, "drop_existing": True},
        "CollectionExistsError",
        "refused.shelf (an alias)",
    ),
    "skip_create without a target": restore(
        {"suffix": "_x", "skip_create": True}, "CollectionNotFoundError", "refused.books_x does not"
    ),
    "skip_create into rows": restore(
        {"collections": [BOOKS], "skip_create": True}, "CollectionExistsError", "refused.books has 20 row(s)"
    ),
    "skip_create into other fields": restore(
        {"collections": [BOOKS], "rename": {BOOKS: MAGAZINES}, "skip_create": True},
        "FieldIdMismatchError",
        "text_key (100)",
    ),
    "a server outside the matrix": Case(
        "Restore", {"backup_name": BACKUP, "suffix": "_x"}, "VersionUnsupportedError", "allow_version"
    ),
    "a backup of a newer server": restore_copy("newer_server", "VersionUnsupportedError", "v2.5.0"),
    "a backup without its marker": restore_copy("unmarked", "BackupDamagedError", "has lost its marker"),
    "a damaged marker": restore_copy("marker", "BackupDamagedError", "meta/backup_meta.json"),
    "a damaged manifest": restore_copy("manifest", "BackupDamagedError", "meta/vault/manifest.json"),
    "a missing manifest": restore_copy("no_manifest", "BackupDamagedError", "meta/vault/manifest.json is missing"),
    "a damaged description": restore_copy("description", "BackupDamagedError", "meta/vault/collections/"),
    "a damaged object list": restore_copy("list", "BackupDamagedError", "meta/vault/objects/"),
    "a newer format": restore_copy("newer_format", "BackupFormatError", "format version 99"),
    "a truncated archive of milvus-backup": restore_copy("golden", "BackupDamagedError", "full_meta.json"),
    "an unfinished archive of milvus-backup": restore_copy("golden_rbac", "BackupNotFoundError", "is missing"),
}
DEPLOYMENTS = {
    "Milvus does not answer": backup(
        {"collections": [BOOKS]}, "MilvusUnavailableError", "http://127.0.0.1:9", "nowhere"
    ),
    "Milvus' bucket does not exist": backup(
        {"collections": [BOOKS]}, "BucketNotFoundError", "not-there-at-all", "no-milvus-bucket"
    ),
    "a restore's bucket does not exist": restore(
        {"suffix": "_x"}, "BucketNotFoundError", "not-there-at-all", "no-milvus-bucket"
    ),
    "the root path is not Milvus'": backup(
        {"collections": [BOOKS]}, "WrongRootPathError", "/somewhere/else/insert_log/", "wrong-root"
    ),
    "a restore's root path is not Milvus'": restore(
        {"suffix": "_x"}, "WrongRootPathError", "/somewhere/else/insert_log/", "wrong-root"
    ),
    "the backup bucket does not exist": backup(
        {"collections": [BOOKS]}, "BucketNotFoundError", "Nor could this be recorded", "no-backup-bucket"
    ),
}
CASES = REQUESTS | DEPLOYMENTS
# Another case is refused in the same line of code, or test_requests.py, test_selection.py, test_naming.py or
# test_restore_targets.py of tests/unit/ ask the same; that Milvus does not answer, test_api.py.
ALSO = {
    "a misspelt field",
    "a wrong type",
    "an unknown mode",
    "a name with a blank",
    "a selector without a database",
    "no selector at all",
    "an unknown database",
    "an alias for a collection",
    "no name of a backup",
    "a misspelt field of a restore",
    "no shards",
    "drop_existing and skip_create",
    "load without indexes",
    "a rename of a collection to a database",
    "a rename of what is not restored",
    "a rename to itself",
    "a database that is not in the backup",
    "a target that is an alias",
    "skip_create without a target",
    "a damaged marker",
    "a damaged description",
    "Milvus does not answer",
    "Milvus' bucket does not exist",
    "a restore's bucket does not exist",
    "a restore's root path is not Milvus'",
}
# It takes a minute to give up: the others run meanwhile.
SLOW = "Milvus does not answer"
UNRECORDED = "the backup bucket does not exist"


class Traces(NamedTuple):
    """What a refusal must not change; the backup bucket may get failure records."""

    backups: dict[str, str]
    others: dict[str, str]
    """Objects in Milvus' bucket that are not Milvus' own."""
    collections: set[str]
    import_jobs: set[int]


class Refusals(NamedTuple):
    """How each case ended, and what there was before and after all of them."""

    ended: dict[str, Ended]
    before: Traces
    after: Traces


@pytest.fixture(scope="module")
def refusals(stack: LocalStack, request: pytest.FixtureRequest) -> Iterator[Refusals]:
    """Make a backup and damaged copies of it, and run the cases of the selected tests."""
    uri, chosen = stack.milvus_uri, selected(request, "name")
    try:
        make(uri, DATABASE, COLLECTIONS)
        selection = {"backup_name": BACKUP, "collections": [BOOKS, DRAFTS]}
        assert run(stack, "Backup", selection).output["collection_count"] == 2
        _damage_copies(stack)
        shared = {name: stack.outputs[name] for name in ("BackupBucketName", "BackupPrefix")}
        deployments: dict[str, Deployment | LocalStack] = {
            name: stack.deploy(f"refusing-{name}", stack.milvus, shared | parameters)
            for name, parameters in BROKEN.items()
            if any(CASES[case].deployment == name for case in chosen)
        }

        def run_case(name: str) -> Ended:
            case = CASES[name]
            return run(deployments.get(case.deployment, stack), case.machine, case.request)

        before = _traces(stack)
        with ThreadPoolExecutor(1) as aside, ThreadPoolExecutor(2) as pool:
            running = {name: (aside if name == SLOW else pool).submit(run_case, name) for name in chosen}
            ended = {name: case.result() for name, case in running.items()}
        yield Refusals(ended, before, _traces(stack))
    finally:
        drop_databases(uri, DATABASE)


def _damage_copies(stack: LocalStack) -> None:
    sound = StoredBackup(stack, BACKUP)
    number = sound.collection_id(BOOKS)

    def copy(name: str) -> StoredBackup:
        return sound.copy(f"refused_{name}")

    unmarked = copy("unmarked")
    unmarked.delete(unmarked.layout.marker)
    marker = copy("marker")
    marker.truncate(marker.layout.marker)
    manifest = copy("manifest")
    manifest.flip_a_byte(manifest.layout.manifest)
    no_manifest = copy("no_manifest")
    no_manifest.delete(no_manifest.layout.manifest)
    description = copy("description")
    description.truncate(description.layout.collection_document(number))
    objects = copy("list")
    objects.flip_a_byte(objects.layout.object_list(number))
    sound.copy("refused_newer_format", lambda manifest: manifest.update(format_version=99))
    sound.copy("refused_newer_server", lambda manifest: manifest["source"].update(milvus_version="v2.5.0"))
    golden = upload_golden(stack, "golden_0516", "refused_golden")
    golden.truncate(golden.layout.meta("full_meta.json"))
    upload_golden(stack, "golden_rbac", "refused_golden_rbac")


def _traces(stack: Stack) -> Traces:
    milvus = stack.milvus
    own = f"{milvus.root_path}/"
    return Traces(
        backups=listing(stack, stack.outputs["BackupBucketName"]),
        others={key: etag for key, etag in listing(stack, milvus.bucket).items() if not key.startswith(own)},
        collections=collections_of(milvus.uri),
        import_jobs=import_jobs(milvus.uri),
    )


def _record_key(stack: LocalStack, ended: Ended, kind: str = "failures") -> str:
    return f"{stack.outputs['BackupPrefix']}/.runs/{kind}/{ended.execution}.json"


@pytest.mark.parametrize("name", parameters(CASES, ALSO))
def test_it_is_refused_by_name_and_says_what_and_where_and_what_to_do(refusals: Refusals, name: str) -> None:
    failure = refusals.ended[name].failure

    assert failure.error == CASES[name].error
    assert CASES[name].words in failure.cause
    assert "Hint: " in failure.cause


@pytest.mark.parametrize("name", parameters([name for name in CASES if name != UNRECORDED], ALSO))
def test_a_record_is_left_that_says_why_and_of_what(refusals: Refusals, stack: LocalStack, name: str) -> None:
    ended = refusals.ended[name]
    s3 = stack.client("s3")
    answer = s3.get_object(Bucket=stack.outputs["BackupBucketName"], Key=_record_key(stack, ended))
    record = json.loads(answer["Body"].read())

    assert (record["error"], record["cause"]) == (ended.error, ended.cause)
    assert record["machine"] == CASES[name].machine.lower()
    assert json.loads(record["request"]) == CASES[name].request


def test_nothing_is_left_in_the_buckets_but_the_records(refusals: Refusals, stack: LocalStack) -> None:
    records = {_record_key(stack, ended) for name, ended in refusals.ended.items() if name != UNRECORDED}
    changed = {key for key, _ in refusals.before.backups.items() ^ refusals.after.backups.items()}

    # Which run an execution was is written down as soon as it is known, which is before it is refused.
    executions = {_record_key(stack, ended, "executions") for ended in refusals.ended.values()}
    assert records <= changed <= records | executions
    assert refusals.after.others == refusals.before.others


def test_milvus_has_seen_no_import_and_no_new_collection(refusals: Refusals, stack: LocalStack) -> None:
    assert refusals.after.import_jobs == refusals.before.import_jobs
    assert refusals.after.collections == refusals.before.collections
    with client_of(stack.milvus_uri, DATABASE) as client:
        assert len(client.query("books", "key >= 0", consistency_level="Strong")) == COLLECTIONS[0].rows
