"""Where exports may go, and what they keep away from."""

from dataclasses import replace

import prepare_backup.handler as prepare_backup
import pytest
from pydantic import ValidationError

from bench.instance import ENVIRONMENT
from milvus_vault.adapters.s3 import S3ObjectStore
from milvus_vault.backup.places import ExportPlaces, Place
from milvus_vault.errors import InvalidRequestError
from milvus_vault.model.requests import ExportPlace, ExportRequest
from milvus_vault.source import MilvusStorage
from tests.support.lambda_context import Invocation
from tests.support.memory_store import InMemoryObjectStore

PLACES = ExportPlaces(
    own=Place(bucket="backups", prefix="team/vault"),
    milvus=MilvusStorage("milvus", "files"),
    staging_prefix="staging",
    bucket="archive",
    prefix="exports",
)


KEY = "arn:aws:kms:eu-west-1:222222222222:key/a"
ROLE = "arn:aws:iam::222222222222:role/writes"
FAR = replace(PLACES, own_region="us-east-1", region="eu-west-1", role_arn=ROLE, kms_key_arn=KEY)
NEAR = replace(PLACES, own_region="us-east-1")


def find(places: ExportPlaces, name: str = "night", **to: str) -> Place | None:
    """Return where an export goes."""
    return places.find(ExportRequest(backup_name="night", export_name=name, to=ExportPlace(**to)))


def test_an_export_lies_beside_the_other_backups_unless_another_place_is_asked_for() -> None:
    assert PLACES.find(ExportRequest(backup_name="night", export_name="for_them")) is None


@pytest.mark.parametrize(
    ("to", "place"),
    [
        ({}, ("backups", "exports")),
        ({"prefix": "exports"}, ("backups", "exports")),
        ({"prefix": "exports/a/b"}, ("backups", "exports/a/b")),
        ({"bucket": "backups"}, ("backups", "exports")),
        ({"bucket": "archive"}, ("archive", "exports")),
        ({"bucket": "archive", "prefix": "exports/a"}, ("archive", "exports/a")),
    ],
)
def test_what_is_left_out_is_the_backup_bucket_and_the_prefix_for_exports(
    to: dict[str, str], place: tuple[str, str]
) -> None:
    assert find(PLACES, **to) == Place(bucket=place[0], prefix=place[1])


@pytest.mark.parametrize(
    ("to", "words"),
    [
        ({"bucket": "milvus"}, "does not export to bucket milvus"),
        ({"bucket": "other"}, "does not export to bucket other"),
        ({"prefix": "exported"}, "to the folder exports and below, and not to exported"),
        ({"bucket": "archive", "prefix": "team/vault"}, "and not to team/vault"),
    ],
)
def test_a_place_that_the_stack_does_not_name_is_refused(to: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        find(PLACES, **to)


@pytest.mark.parametrize(
    ("places", "to"),
    [
        (FAR, {"bucket": "archive", "bucket_region": "eu-west-1", "role_arn": ROLE, "kms_key_arn": KEY}),
        (FAR, {"bucket_region": "us-east-1"}),
        (NEAR, {"bucket": "archive", "bucket_region": "us-east-1"}),
    ],
)
def test_region_role_and_key_may_be_those_that_the_stack_has(places: ExportPlaces, to: dict[str, str]) -> None:
    assert find(places, **to) == Place(bucket=to.get("bucket", "backups"), prefix="exports")


@pytest.mark.parametrize(
    ("places", "to", "said", "hint"),
    [
        (FAR, {"bucket_region": "us-east-1"}, "`bucket_region`: for bucket archive this deployment has eu-west-1, and ",
         "with ExportRegion=us-east-1:"),
        (NEAR, {"bucket_region": "eu-west-1"}, "has us-east-1, and not eu-west-1", "with ExportRegion=eu-west-1:"),
        (NEAR, {"role_arn": ROLE}, f"`role_arn`: for bucket archive this deployment has none, and not {ROLE}",
         f"with ExportRoleArn={ROLE}:"),
        (FAR, {"role_arn": f"{ROLE}2"}, f"has {ROLE}, and not {ROLE}2", f"with ExportRoleArn={ROLE}2:"),
        (NEAR, {"kms_key_arn": KEY}, "`kms_key_arn`: for bucket archive this deployment has none",
         f"with ExportKmsKeyArn={KEY}:"),
        (FAR, {"bucket": "backups", "kms_key_arn": KEY}, "for bucket backups this deployment has none",
         f"with ExportBucketName and ExportKmsKeyArn={KEY}:"),
    ],
)  # fmt: skip
def test_another_region_role_or_key_than_the_stack_has_is_refused_with_the_parameter_to_set(
    places: ExportPlaces, to: dict[str, str], said: str, hint: str
) -> None:
    with pytest.raises(InvalidRequestError, match=said) as refused:
        find(places, **{"bucket": "archive", **to})
    assert hint in str(refused.value.hint)


def test_who_asks_for_a_place_that_the_stack_does_not_name_is_told_all_that_it_takes() -> None:
    with pytest.raises(InvalidRequestError) as refused:
        find(PLACES, bucket="other")
    words = ("ExportBucketName=other", "ExportRegion", "ExportRoleArn", "ExportKmsKeyArn", "docs/operations.md")
    assert all(word in str(refused.value.hint) for word in words)
    with pytest.raises(InvalidRequestError) as refused:
        find(PLACES, prefix="other/folder")
    assert "name it as one: s3://other" in str(refused.value.hint)


@pytest.mark.parametrize(
    ("exports", "to", "name", "whose"),
    [
        (("backups", "team/vault"), {}, "night", "where the backups of this deployment lie"),
        (("backups", "team/vault"), {"prefix": "team/vault/below"}, "night", "where the backups"),
        # The folder of the export would be the backup prefix, or around it.
        (("backups", "team"), {}, "vault", "where the backups"),
        (("milvus", "files"), {"bucket": "milvus"}, "night", "Milvus' own"),
        (("milvus", "files"), {"bucket": "milvus", "prefix": "files/insert_log"}, "night", "Milvus' own"),
        (("milvus", "staging"), {"bucket": "milvus", "prefix": "staging/a"}, "night", "where restores stage objects"),
    ],
)
def test_what_is_ours_or_milvus_own_is_refused_whatever_the_stack_names(
    exports: tuple[str, str], to: dict[str, str], name: str, whose: str
) -> None:
    places = replace(PLACES, bucket=exports[0], prefix=exports[1])
    with pytest.raises(InvalidRequestError, match=whose):
        find(places, name, **to)


def test_a_folder_around_what_is_milvus_own_is_refused() -> None:
    places = replace(PLACES, bucket="milvus", milvus=MilvusStorage("milvus", "exports/night/files"))
    with pytest.raises(InvalidRequestError, match="Milvus' own"):
        find(places, "night", bucket="milvus")


def test_beside_the_backup_prefix_is_apart_from_it() -> None:
    assert find(replace(PLACES, prefix="team"), "vaults") == Place(bucket="backups", prefix="team")
    in_archive = Place(bucket="archive", prefix="team/vault")
    assert find(replace(PLACES, prefix="team/vault"), bucket="archive") == in_archive


@pytest.mark.parametrize(
    ("places", "to"),
    [
        (replace(PLACES, own=Place(bucket="backups", prefix="")), {}),
        (replace(PLACES, bucket="milvus", milvus=MilvusStorage("milvus", "")), {"bucket": "milvus"}),
    ],
)
def test_where_a_whole_bucket_is_taken_nothing_goes_there(places: ExportPlaces, to: dict[str, str]) -> None:
    with pytest.raises(InvalidRequestError, match="is not apart from"):
        find(places, **to)


@pytest.mark.parametrize(
    "prefix", ["", "/", "/a", "a/", "a//b", ".pool", "a/.runs", "a/.catalogue/b", "a/..", "a b", "ä", "a*", "x" * 257]
)
def test_a_prefix_that_is_none_is_refused(prefix: str) -> None:
    with pytest.raises(ValidationError):
        ExportPlace(prefix=prefix)


@pytest.mark.parametrize("bucket", ["", "ab", "A-bucket", "a/b", "-ab", "ab-", "a_b", "arn:aws:s3:::b", "x" * 64])
def test_a_bucket_that_is_none_is_refused(bucket: str) -> None:
    with pytest.raises(ValidationError):
        ExportPlace(bucket=bucket)


@pytest.mark.parametrize("to", [None, ExportPlace(), ExportPlace(bucket="archive", prefix="exports/night")])
def test_a_backup_may_be_copied_where_a_copy_may_go_or_not_at_all(to: ExportPlace | None) -> None:
    PLACES.check_copy("night", to)


@pytest.mark.filterwarnings("ignore:No application metrics to publish")
@pytest.mark.parametrize(
    ("to", "words"),
    [
        ({"bucket": "other"}, "`copy_to`: this deployment does not export to bucket other"),
        ({"prefix": "nightly"}, "`copy_to`: this deployment exports to the folder exports and below"),
    ],
)
def test_a_backup_that_is_to_be_copied_where_nothing_may_go_is_refused_before_anything_is_written(
    to: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    store = InMemoryObjectStore("backups")
    monkeypatch.setattr(S3ObjectStore, "shared", lambda *_: store)
    execution = {
        "arn": "arn:aws:states:us-east-1:000000000000:execution:backup:n",
        "started_at": "2026-01-01T00:00:00Z",
    }

    with pytest.raises(InvalidRequestError, match=words):
        prepare_backup.handler({"execution": {**execution}, "request": {"copy_to": {**to}}}, Invocation())

    assert store.buckets == {"backups": {}}
