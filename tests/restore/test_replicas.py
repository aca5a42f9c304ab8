"""A replica of a backup, whose objects have other ETags, is refused until a repair has compared their content."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from verify_backup.handler import handler as verify_backup

from milvus_vault.errors import BackupDamagedError
from tests.restore.servers import BOOKS, Filled
from tests.support.restoring import BACKUPS, Restoring, objects_of

type Call = Callable[[Callable[..., Any], dict[str, Any]], dict[str, Any]]


def copy_in_parts(restoring: Restoring, key: str) -> None:
    """Write an object anew with the same content, as a copy in parts does: it gets another ETag."""
    s3, size = restoring.s3, restoring.s3.head_object(Bucket=BACKUPS, Key=key)["ContentLength"]
    upload = s3.create_multipart_upload(Bucket=BACKUPS, Key=key)["UploadId"]
    part = s3.upload_part_copy(
        Bucket=BACKUPS,
        Key=key,
        UploadId=upload,
        PartNumber=1,
        CopySource={"Bucket": BACKUPS, "Key": key},
        CopySourceRange=f"bytes=0-{size - 1}",
    )
    etag = part["CopyPartResult"]["ETag"]
    s3.complete_multipart_upload(
        Bucket=BACKUPS, Key=key, UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]}
    )


def check(call: Call, name: str, *, repair: bool) -> dict[str, Any]:
    """Return the result of a verification."""
    arn = f"arn:aws:states:us-east-1:000000000000:execution:vault-verify:{uuid.uuid4()}"
    execution = {"arn": arn, "started_at": "2026-01-01T00:00:00Z"}
    return call(verify_backup, {"execution": execution, "request": {"backup_name": name, "repair": repair}})


@pytest.mark.parametrize("version", ["2.3.5", "2.6.19"])
def test_it_is_restored_once_it_was_compared(filled: Filled, version: str) -> None:
    restoring, name = filled.restoring, filled.named("replica")
    restoring.back_up(name)
    logs = objects_of(restoring, f"team/{name}/binlogs/")
    for key in logs:
        copy_in_parts(restoring, key)

    with pytest.raises(BackupDamagedError, match="changed") as caught:
        restoring.restore({"backup_name": name, "suffix": "_replica", "allow_version": version == "2.3.5"})
    assert "repair it, which compares the content" in caught.value.hint
    with restoring.functions() as call:
        assert check(call, name, repair=False)["status"] == "damaged"
        repaired = check(call, name, repair=True)
        assert (repaired["status"], repaired["error"]) == ("intact", "")
        assert repaired["mended"] == [
            f"{len(logs)} object(s) have another ETag and the content that was recorded: that is noted"
        ]
        assert check(call, name, repair=False)["status"] == "intact"

    report = restoring.restore({"backup_name": name, "suffix": "_replica", "allow_version": version == "2.3.5"})

    assert report["status"] == "complete"
    assert filled.keys("books_replica") == BOOKS
