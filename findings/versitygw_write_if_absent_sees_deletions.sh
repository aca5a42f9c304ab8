#!/usr/bin/env bash
# What versitygw does with PutObject and If-None-Match `*` for a key that was deleted in a bucket with versions.
#
# Expected: as on S3, and as its own GetObject has it, nothing is there, so that it is written.
# Seen:     PreconditionFailed (412). Who writes a key only if it is not there can never write one that was deleted.
#
# Versions: github.com/versity/versitygw v1.8.0 (Go module), boto3 1.43.106, Python 3.13. Needs Go; builds for minutes and
# runs for seconds, in a temporary folder, on a file system with extended attributes. Fails if this is no longer so.
set -euo pipefail

python=${PYTHON:-python3.13}
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check boto3==1.43.106
GOFLAGS=-modcacherw GOPATH="$folder/go" GOCACHE="$folder/cache" GOBIN="$folder/bin" \
    go install github.com/versity/versitygw/cmd/versitygw@v1.8.0

port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
mkdir "$folder/data" "$folder/versions"
ROOT_ACCESS_KEY_ID=testing ROOT_SECRET_ACCESS_KEY=testing-secret "$folder/bin/versitygw" --port "127.0.0.1:$port" \
    posix --versioning-dir "$folder/versions" "$folder/data" > "$folder/server.log" 2>&1 &
server=$!

cat > "$folder/look.py" <<'PYTHON'
import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

s3 = boto3.client(
    "s3",
    endpoint_url=f"http://127.0.0.1:{sys.argv[1]}",
    region_name="us-east-1",
    aws_access_key_id="testing",
    aws_secret_access_key="testing-secret",
    config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
)


def outcome(call, **arguments):
    try:
        answer = call(Bucket="bucket", **arguments)
    except ClientError as err:
        return f"{err.response['ResponseMetadata']['HTTPStatusCode']} {err.response['Error']['Code']}"
    return str(answer["ResponseMetadata"]["HTTPStatusCode"])


for _ in range(120):
    try:
        s3.create_bucket(Bucket="bucket")
        break
    except (BotoCoreError, ClientError):
        time.sleep(0.5)

s3.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
s3.put_object(Bucket="bucket", Key="rows", Body=b"deleted rows")
s3.delete_object(Bucket="bucket", Key="rows")
got = outcome(s3.get_object, Key="rows")
written = outcome(s3.put_object, Key="rows", Body=b"new rows", IfNoneMatch="*")
print(f"versitygw v1.8.0: GetObject {got}, PutObject if absent {written}")
sys.exit(0 if (got, written) == ("404 NoSuchKey", "412 PreconditionFailed") else 1)
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$port" || { tail -5 "$folder/server.log"; exit 1; }
