"""Locked backups of a protocol server, through the handlers within their roles. They are restored as any others."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from milvus_vault.errors import BucketNotLockableError
from tests.restore.servers import Filled
from tests.support.restoring import PREFIX, Restoring, objects_of

pytestmark = [
    pytest.mark.filterwarnings("ignore:No application metrics to publish"),
    pytest.mark.parametrize("version", ["2.5.27"]),
]


def locks(restoring: Restoring, keys: set[str]) -> set[tuple[str, datetime]]:
    """Return how objects are locked."""
    found = (restoring.s3.get_object_retention(Bucket=restoring.backups, Key=key)["Retention"] for key in keys)
    return {(retention["Mode"], retention["RetainUntilDate"]) for retention in found}


def lock_of(restoring: Restoring, name: str) -> tuple[str, datetime]:
    """Return what a manifest says of the lock."""
    found = restoring.manifest(name)["lock"]
    return found["mode"].upper(), datetime.fromisoformat(found["until"])


def made_of(restoring: Restoring, name: str) -> set[str]:
    """Return the keys of a backup's documents and objects."""
    documents = objects_of(restoring, f"{PREFIX}/{name}/")
    found = set(documents)
    for key in (key for key in documents if "/vault/objects/" in key):
        body = restoring.s3.get_object(Bucket=restoring.backups, Key=key)["Body"].read().decode()
        found |= {line.split('"')[1] for line in body.splitlines()}
    return found


def test_each_has_its_lock_and_what_they_share_the_longest(filled: Filled) -> None:
    restoring = filled.restoring
    restoring.environment = {"BACKUP_BUCKET_NAME": f"locked-{filled.named('x').replace('_', '-')}"}
    restoring.s3.create_bucket(Bucket=restoring.backups, ObjectLockEnabledForBucket=True)
    begun = datetime.now(UTC)

    def back_up(name: str, days: int, **request: Any) -> str:
        name = filled.named(name)
        terms = {"days": days, "mode": "compliance"}
        restoring.back_up(name, started_at=begun.isoformat(), collections=["default.books"], lock=terms, **request)
        return name

    full = back_up("full", 2)
    first, second, third = (back_up(f"night_{days}", days, mode="incremental") for days in (8, 40, 4))

    until = begun + timedelta(days=2)
    assert locks(restoring, made_of(restoring, full)) == {lock_of(restoring, full)}
    assert timedelta(0) <= lock_of(restoring, full)[1] - until <= timedelta(seconds=1)
    pooled = {key for key in made_of(restoring, first) if "/.pool/" in key}
    assert pooled == {key for key in made_of(restoring, third) if "/.pool/" in key} != set()
    assert locks(restoring, pooled) == {lock_of(restoring, second)}
    for name in (first, second, third):
        assert locks(restoring, made_of(restoring, name) - pooled) == {lock_of(restoring, name)}
    others = set(objects_of(restoring, f"{PREFIX}/.")) - pooled
    for key in others:
        with pytest.raises(restoring.s3.exceptions.ClientError, match="NoSuchObjectLockConfiguration"):
            restoring.s3.get_object_retention(Bucket=restoring.backups, Key=key)

    restoring.restore({"backup_name": second, "collections": ["default.books"], "suffix": "_locked"})


def test_a_bucket_without_object_lock_is_refused_before_anything_is_written(filled: Filled) -> None:
    restoring = filled.restoring
    name = filled.named("refused")
    with pytest.raises(BucketNotLockableError, match=restoring.backups):
        restoring.back_up(name, lock={"days": 1})
    assert not objects_of(restoring, f"{PREFIX}/{name}/")
    assert not objects_of(restoring, f"{PREFIX}/.runs/backup-{name}/")
