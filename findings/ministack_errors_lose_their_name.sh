#!/usr/bin/env bash
# Which error a state machine sees on ministack when the handler of a Lambda function raises an exception.
#
# Expected: the name of the exception's class, as on AWS, so that a Catch (or Retry) with that name matches.
# Seen:     `Runtime.HandlerError` whatever was raised. No Catch or Retry by name ever takes place; one of States.ALL
#           does, and a test that only has this one does not notice.
#
# Versions: ministack 1.5.33, boto3 1.43.106, Python 3.13. Runs for a minute, in a temporary folder. Fails if this is no
# longer so.
set -euo pipefail

python=${PYTHON:-python3.13}
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check ministack==1.5.33 boto3==1.43.106

port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
mkdir "$folder/work"
(cd "$folder/work" && exec env GATEWAY_PORT="$port" LAMBDA_EXECUTOR=local "$folder/venv/bin/ministack") \
    > "$folder/server.log" 2>&1 &
server=$!

cat > "$folder/look.py" <<'PYTHON'
import importlib.metadata
import io
import json
import sys
import time
import zipfile

import boto3
import botocore.exceptions

HANDLER = """
class OutOfStockError(Exception):
    pass


def handler(event, context):
    raise OutOfStockError("none left")
"""
MACHINE = {
    "StartAt": "Order",
    "States": {
        "Order": {
            "Type": "Task",
            "Resource": None,
            "Catch": [
                {"ErrorEquals": ["OutOfStockError"], "Next": "ByName"},
                {"ErrorEquals": ["States.ALL"], "Next": "ByAny"},
            ],
            "End": True,
        },
        "ByName": {"Type": "Pass", "End": True},
        "ByAny": {"Type": "Pass", "End": True},
    },
}


def client(service):
    return boto3.client(
        service,
        endpoint_url=f"http://127.0.0.1:{sys.argv[1]}",
        region_name="us-east-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )


for _ in range(120):
    try:
        client("s3").list_buckets()
        break
    except botocore.exceptions.EndpointConnectionError:
        time.sleep(0.5)

code = io.BytesIO()
with zipfile.ZipFile(code, "w") as archive:
    archive.writestr("orders.py", HANDLER)
services = {"Service": ["lambda.amazonaws.com", "states.amazonaws.com"]}
trust = [{"Effect": "Allow", "Principal": services, "Action": "sts:AssumeRole"}]
policy = json.dumps({"Version": "2012-10-17", "Statement": trust})
role = client("iam").create_role(RoleName="orders", AssumeRolePolicyDocument=policy)["Role"]["Arn"]
function = client("lambda").create_function(
    FunctionName="orders", Runtime="python3.13", Role=role, Handler="orders.handler", Code={"ZipFile": code.getvalue()}
)
MACHINE["States"]["Order"]["Resource"] = function["FunctionArn"]
steps = client("stepfunctions")
machine = steps.create_state_machine(name="orders", definition=json.dumps(MACHINE), roleArn=role)["stateMachineArn"]
run = steps.start_execution(stateMachineArn=machine)["executionArn"]
for _ in range(120):
    ended = steps.describe_execution(executionArn=run)
    if ended["status"] != "RUNNING":
        break
    time.sleep(0.5)

entered = [event.get("stateEnteredEventDetails") for event in steps.get_execution_history(executionArn=run)["events"]]
names = [state["name"] for state in entered if state]
error = json.loads(ended["output"])["Error"]
print(f"ministack {importlib.metadata.version('ministack')}: {ended['status']}, states {names}, error {error}")
sys.exit(0 if (names[-1], error) == ("ByAny", "Runtime.HandlerError") else 1)
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$port" || { tail -5 "$folder/server.log"; exit 1; }
