#!/usr/bin/env bash
# What moto does with a PutObject whose checksum is not that of its content.
#
# Expected: a checksum in the request (ChecksumCRC32, ChecksumSHA256, Content-MD5) that is of other content fails with
#           BadDigest (400), as on S3, and nothing is written.
# Seen:     all three answer 200 and the content is kept, so that a test of a program that sends what it did not check
#           passes.
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
import hashlib
import sys
import zlib
from base64 import b64encode

import boto3
import moto
from botocore.exceptions import ClientError

OTHER = b"other content"
WRONG = {
    "ChecksumCRC32": zlib.crc32(OTHER).to_bytes(4),
    "ChecksumSHA256": hashlib.sha256(OTHER).digest(),
    "ContentMD5": hashlib.md5(OTHER).digest(),
}

seen = {}
with moto.mock_aws():
    s3 = boto3.client(
        "s3", region_name="us-east-1", aws_access_key_id="testing", aws_secret_access_key="testing"
    )
    s3.create_bucket(Bucket="bucket")
    for name, digest in WRONG.items():
        try:
            s3.put_object(Bucket="bucket", Key=name, Body=b"content", **{name: b64encode(digest).decode()})
        except ClientError as err:
            seen[name] = err.response["Error"]["Code"]
        else:
            seen[name] = s3.get_object(Bucket="bucket", Key=name)["Body"].read().decode()

print(f"moto {moto.__version__}: {seen}")
sys.exit(0 if set(seen.values()) == {"content"} else 1)
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
