#!/usr/bin/env bash
# What moto does with a copy that is to take place only if its source is still the same.
#
# Expected: CopyObject and UploadPartCopy with a CopySourceIfMatch that is not the source's ETag fail with
#           PreconditionFailed (412), as on S3, and nothing is written. moto does so for the If-Match of GetObject.
# Seen:     both copy the new content and answer 200, so that a test of a program that must not mix two versions of an
#           object passes for a program that mixes them.
#
# Versions: moto 5.2.5, boto3 1.43.106, Python 3.13. Runs for twenty seconds, in a temporary folder. Fails if this is no
# longer so.
set -euo pipefail

python=${PYTHON:-python3.13}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'moto[s3]==5.2.5' boto3==1.43.106

cat > "$folder/look.py" <<'PYTHON'
import sys

import boto3
import moto
from botocore.exceptions import ClientError


def outcome(call, **arguments):
    try:
        call(Bucket="bucket", **arguments)
    except ClientError as err:
        return err.response["Error"]["Code"]
    return "done"


with moto.mock_aws():
    s3 = boto3.client(
        "s3", region_name="us-east-1", aws_access_key_id="testing", aws_secret_access_key="testing"
    )
    s3.create_bucket(Bucket="bucket")
    first = s3.put_object(Bucket="bucket", Key="source", Body=b"first")["ETag"]
    s3.put_object(Bucket="bucket", Key="source", Body=b"second")
    upload = s3.create_multipart_upload(Bucket="bucket", Key="parts")["UploadId"]
    source = {"CopySource": "bucket/source", "CopySourceIfMatch": first}
    got = outcome(s3.get_object, Key="source", IfMatch=first)
    copied = outcome(s3.copy_object, Key="copy", **source)
    part = outcome(s3.upload_part_copy, Key="parts", UploadId=upload, PartNumber=1, **source)
    body = s3.get_object(Bucket="bucket", Key="copy")["Body"].read() if copied == "done" else b""

print(f"moto {moto.__version__}: GetObject {got}, CopyObject {copied} ({body!r}), UploadPartCopy {part}")
sys.exit(0 if (got, copied, part, body) == ("PreconditionFailed", "done", "done", b"second") else 1)
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
