"""What is refused, under which name, and that nothing is left of it but a failure record."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pymilvus import MilvusClient

from local.stack import Deployment, LocalStack
from tests.support.library import drop, fill
from tests.support.tampering import Json, StoredBackup, upload_golden
from tests.support.vault_runs import Failure, Stack, fail, listing, succeed

DATABASE = "refused"
BACKUP = "refused"
BOOKS, DRAFTS = f"{DATABASE}.books", f"{DATABASE}.drafts"

BACKUP_REQUESTS: list[tuple[str, Json, str, str]] = [
    ("a misspelt field", {"colections": [BOOKS]}, "InvalidRequestError", "colections: unknown field"),
    ("a wrong type", {"meta_only": "perhaps"}, "InvalidRequestError", "meta_only"),
    ("a name with a blank", {"backup_name": "my backup"}, "InvalidRequestError", "backup_name"),
    ("a selector without a database", {"collections": ["books"]}, "InvalidRequestError", "<database>.<collection>"),
    ("no selector at all", {"collections": []}, "InvalidRequestError", "collections"),
    ("a taken name", {"backup_name": BACKUP, "collections": [BOOKS]}, "BackupExistsError", "exists already"),
    ("an unknown database", {"collections": ["nowhere.books"]}, "DatabaseNotFoundError", "'nowhere'"),
    ("an unknown collection", {"collections": [f"{DATABASE}.Books"]}, "CollectionNotFoundError", "'refused.Books'"),
    ("an empty database", {"collections": ["refused_empty.*"]}, "EmptySelectionError", "refused_empty.*"),
]

RESTORE_REQUESTS: list[tuple[str, Json, str, str]] = [
    ("no backup name", {}, "InvalidRequestError", "backup_name: Field required"),
    ("a misspelt field", {"backup_name": BACKUP, "sufix": "_x"}, "InvalidRequestError", "sufix: unknown field"),
    (
        "suffix and rename",
        {"backup_name": BACKUP, "suffix": "_x", "rename": {BOOKS: f"{DATABASE}.b"}},
        "InvalidRequestError",
        "'suffix' and 'rename'",
    ),
    (
        "drop_existing and skip_create",
        {"backup_name": BACKUP, "drop_existing": True, "skip_create": True},
        "InvalidRequestError",
        "exclude each other",
    ),
    (
        "load without indexes",
        {"backup_name": BACKUP, "restore_index": False, "load": True},
        "InvalidRequestError",
        "load",
    ),
    ("a rename to itself", {"backup_name": BACKUP, "rename": {BOOKS: BOOKS}}, "NameConflictError", "its own name"),
    (
        "two sources onto one target",
        {"backup_name": BACKUP, "rename": {BOOKS: DRAFTS}},
        "NameConflictError",
        "would both be restored",
    ),
    (
        "a rename of what is not restored",
        {"backup_name": BACKUP, "collections": [BOOKS], "rename": {DRAFTS: f"{DATABASE}.x"}},
        "InvalidRequestError",
        "not among the collections",
    ),
    ("an unknown backup", {"backup_name": "never_made", "suffix": "_x"}, "BackupNotFoundError", "never_made"),
    (
        "an unknown collection",
        {"backup_name": BACKUP, "collections": [f"{DATABASE}.nothing"]},
        "CollectionNotFoundError",
        "refused.nothing",
    ),
    ("a target that exists", {"backup_name": BACKUP}, "CollectionExistsError", "refused.books"),
    (
        "a target that is an alias",
        {"backup_name": BACKUP, "collections": [DRAFTS], "rename": {DRAFTS: f"{DATABASE}.shelf"}},
        "CollectionExistsError",
        "an alias",
    ),
    (
        "skip_create without a target",
        {"backup_name": BACKUP, "suffix": "_x", "skip_create": True},
        "CollectionNotFoundError",
        "skip_create",
    ),
    (
        "skip_create into rows",
        {"backup_name": BACKUP, "collections": [BOOKS], "skip_create": True},
        "CollectionExistsError",
        "empty collections",
    ),
    (
        "a backup without its marker",
        {"backup_name": "refused_unmarked", "suffix": "_x"},
        "BackupNotFoundError",
        "unfinished",
    ),
    ("a damaged marker", {"backup_name": "refused_marker", "suffix": "_x"}, "BackupDamagedError", "backup_meta.json"),
    ("a damaged manifest", {"backup_name": "refused_manifest", "suffix": "_x"}, "BackupDamagedError", "manifest.json"),
    (
        "a damaged description",
        {"backup_name": "refused_document", "suffix": "_x"},
        "BackupDamagedError",
        "collections/",
    ),
    ("a damaged object list", {"backup_name": "refused_list", "suffix": "_x"}, "BackupDamagedError", "objects/"),
    ("a newer format", {"backup_name": "refused_newer", "suffix": "_x"}, "BackupFormatError", "format"),
    ("a newer server's backup", {"backup_name": "refused_25", "suffix": "_x"}, "VersionUnsupportedError", "older"),
    (
        "a truncated archive of the other tool",
        {"backup_name": "refused_golden"},
        "BackupDamagedError",
        "full_meta.json",
    ),
    ("the other tool's unfinished run", {"backup_name": "golden_rbac"}, "BackupNotFoundError", "golden_rbac"),
]


@pytest.fixture(scope="module")
def filled(stack: LocalStack) -> Iterator[LocalStack]:
    """Yield the stack with a database, a backup of it, and damaged copies of that backup."""
    fill(stack.milvus_uri, DATABASE)
    MilvusClient(stack.milvus_uri).create_database("refused_empty")
    succeed(stack, "Backup", {"backup_name": BACKUP, "collections": [f"{DATABASE}.*"]})
    backup = StoredBackup(stack, BACKUP)
    unmarked = backup.copy("refused_unmarked")
    unmarked.delete(unmarked.layout.marker)
    for name, part in (("refused_marker", "marker"), ("refused_manifest", "manifest")):
        copy = backup.copy(name)
        copy.truncate(getattr(copy.layout, part))
    number = backup.collection_id(BOOKS)
    copy = backup.copy("refused_document")
    copy.flip_a_byte(copy.layout.collection_document(number))
    copy = backup.copy("refused_list")
    copy.flip_a_byte(copy.layout.object_list(number))
    backup.copy("refused_newer", _newer_format)
    backup.copy("refused_25", _newer_server)
    golden = upload_golden(stack, "golden_0516", "refused_golden")
    golden.truncate(golden.layout.meta("full_meta.json"))
    upload_golden(stack, "golden_rbac")
    yield stack
    drop(stack.milvus_uri, DATABASE)
    drop(stack.milvus_uri, "refused_empty")


def _newer_format(manifest: Json) -> None:
    manifest["format_version"] = 99


def _newer_server(manifest: Json) -> None:
    manifest["source"]["milvus_version"] = "v2.5.0"


@pytest.mark.parametrize(("request_", "error", "words"), [pytest.param(*c[1:], id=c[0]) for c in BACKUP_REQUESTS])
def test_a_backup_is_refused_by_name_and_leaves_nothing(
    filled: LocalStack, request_: Json, error: str, words: str
) -> None:
    _check_refusal(filled, "Backup", request_, error, words)


@pytest.mark.parametrize(("request_", "error", "words"), [pytest.param(*c[1:], id=c[0]) for c in RESTORE_REQUESTS])
def test_a_restore_is_refused_by_name_and_leaves_nothing(
    filled: LocalStack, request_: Json, error: str, words: str
) -> None:
    _check_refusal(filled, "Restore", {"allow_version": True} | request_, error, words)


def test_a_restore_into_a_server_outside_the_matrix_is_refused(filled: LocalStack) -> None:
    request = {"backup_name": BACKUP, "suffix": "_x"}
    _check_refusal(filled, "Restore", request, "VersionUnsupportedError", "allow_version")


def test_a_milvus_that_does_not_answer_is_named(filled: LocalStack) -> None:
    nowhere = _deploy(filled, "nowhere", MilvusUri="http://127.0.0.1:9")
    _check_refusal(nowhere, "Backup", {"collections": [BOOKS]}, "MilvusUnavailableError", "127.0.0.1:9")


def test_a_wrong_password_is_named(filled: LocalStack) -> None:
    guarded = filled.add_milvus("refused-guarded", "files", authorization=True)
    secrets = filled.client("secretsmanager")
    wrong = secrets.create_secret(Name="wrong", SecretString=json.dumps({"username": "root", "password": "wrong"}))
    deployment = filled.deploy("wrong-password", guarded, {"MilvusSecretArn": wrong["ARN"]})
    failure = fail(deployment, "Backup", {})
    assert failure.error == "MilvusAuthenticationError"
    assert "Hint:" in failure.cause
    assert '"wrong"' not in failure.cause
    guarded.stop()


def test_a_milvus_bucket_that_does_not_exist_is_named(filled: LocalStack) -> None:
    deployment = _deploy(filled, "no-milvus-bucket", MilvusBucketName="not-there-at-all")
    failure = fail(deployment, "Backup", {"collections": [BOOKS]})
    assert (failure.error, "not-there-at-all" in failure.cause) == ("BucketNotFoundError", True)


def test_a_backup_bucket_that_does_not_exist_is_named(filled: LocalStack) -> None:
    deployment = _deploy(filled, "no-backup-bucket", BackupBucketName="neither-is-this-one")
    failure = fail(deployment, "Backup", {"collections": [BOOKS]})
    # The failure record cannot be written there either; that must not hide the name.
    assert (failure.error, "neither-is-this-one" in failure.cause) == ("BucketNotFoundError", True)


def test_a_root_path_that_is_not_milvus_own_is_named(filled: LocalStack) -> None:
    deployment = _deploy(filled, "wrong-root", MilvusRootPath="somewhere")
    _check_refusal(deployment, "Backup", {"collections": [BOOKS]}, "WrongRootPathError", "somewhere/insert_log/")
    request = {"backup_name": BACKUP, "suffix": "_x", "allow_version": True}
    _check_refusal(deployment, "Restore", request, "WrongRootPathError", "somewhere/insert_log/")


def _deploy(stack: LocalStack, name: str, **parameters: str) -> Deployment:
    """Deploy a stack of its own with other parameters, on the first one's backups unless they say otherwise."""
    shared = {name: stack.outputs[name] for name in ("BackupBucketName", "BackupPrefix")}
    return stack.deploy(name, stack.milvus, shared | parameters)


def _check_refusal(stack: Stack, machine: Any, request: Json, error: str, words: str) -> None:
    """Run a machine that must refuse its request, and see what it says and leaves."""
    before = _everything(stack)

    failure = fail(stack, machine, request)

    assert (failure.error, words in failure.cause) == (error, True), failure
    assert "Hint:" in failure.cause
    assert _everything(stack) == before
    record = json.loads(_failure_record(stack, failure))
    assert (record["error"], json.loads(record["request"])) == (error, request)


def _everything(stack: Stack) -> dict[str, Any]:
    """Return all objects of both buckets but failure records, and all collections of Milvus."""
    prefix, bucket = stack.outputs["BackupPrefix"], stack.outputs["BackupBucketName"]
    failures = f"{prefix}/.runs/failures/"
    root = MilvusClient(stack.milvus.uri)
    return {
        "backups": {key: etag for key, etag in listing(stack, bucket).items() if not key.startswith(failures)},
        "staged": listing(stack, stack.milvus.bucket, "milvus-vault-staging/"),
        "collections": {
            database: sorted(MilvusClient(stack.milvus.uri, db_name=database).list_collections())
            for database in root.list_databases()
        },
    }


def _failure_record(stack: Stack, failure: Failure) -> bytes:
    key = f"{stack.outputs['BackupPrefix']}/.runs/failures/{failure.execution}.json"
    bucket = stack.outputs["BackupBucketName"]
    body: bytes = stack.ministack.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    return body
