#!/usr/bin/env bash
# What IAM's SimulatePrincipalPolicy answers on ministack where it is asked about two resources at once.
#
# Expected: a result for each resource, as IAM's API reference says: allowed for the one that the role's policy names,
#           denied for the other.
# Seen:     one result, of the first resource alone. A test that asks for a list of resources sees no denial.
#
# Versions: ministack 1.5.33, boto3 1.43.106, Python 3.13. Runs for some seconds, in a temporary folder. Fails if this is
# no longer so.
set -euo pipefail

python=${PYTHON:-python3.13}
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check ministack==1.5.33 boto3==1.43.106

port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
mkdir "$folder/work"
(cd "$folder/work" && exec env GATEWAY_PORT="$port" "$folder/venv/bin/ministack") > "$folder/server.log" 2>&1 &
server=$!

cat > "$folder/look.py" <<'PYTHON'
import importlib.metadata
import json
import sys
import time

import boto3
import botocore.exceptions

iam = boto3.client(
    "iam",
    endpoint_url=f"http://127.0.0.1:{sys.argv[1]}",
    region_name="us-east-1",
    aws_access_key_id="testing",
    aws_secret_access_key="testing",
)
for _ in range(120):
    try:
        iam.list_roles()
        break
    except botocore.exceptions.EndpointConnectionError:
        time.sleep(0.5)

OURS, THEIRS = (f"arn:aws:states:us-east-1:000000000000:stateMachine:{name}" for name in ("ours", "theirs"))
statement = {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}
trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
role = iam.create_role(RoleName="starter", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
allowed = {"Effect": "Allow", "Action": "states:StartExecution", "Resource": OURS}
policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
iam.put_role_policy(RoleName="starter", PolicyName="start", PolicyDocument=policy)

answer = iam.simulate_principal_policy(
    PolicySourceArn=role, ActionNames=["states:StartExecution"], ResourceArns=[OURS, THEIRS]
)
found = [(one["EvalResourceName"].rpartition(":")[2], one["EvalDecision"]) for one in answer["EvaluationResults"]]
print(f"ministack {importlib.metadata.version('ministack')}: asked of 2 resources, answered {found}")
sys.exit(0 if found == [("ours", "allowed")] else 1)
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$port" || { tail -5 "$folder/server.log"; exit 1; }
