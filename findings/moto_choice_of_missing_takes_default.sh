#!/usr/bin/env bash
# What a Choice of a state machine does in moto's interpreter where the variable that it asks about is not in the input.
#
# Expected: the execution fails with States.Runtime, as on AWS: a variable that a rule compares has to be there, unless
#           `IsPresent` asks about it first.
# Seen:     it takes the Default, so that a definition with a misspelt path passes all tests.
#
# Versions: moto 5.2.5, boto3 1.43.106, Python 3.13. Runs for some seconds, in a temporary folder. Fails if this is no
# longer so.
set -euo pipefail

python=${PYTHON:-python3.13}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'moto[stepfunctions]==5.2.5' boto3==1.43.106

cat > "$folder/look.py" <<'PYTHON'
import importlib.metadata
import json
import os
import sys
import time

os.environ |= {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}

import boto3
from moto import mock_aws

MACHINE = {
    "StartAt": "IsLarge",
    "States": {
        "IsLarge": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.cuont", "NumericGreaterThan": 10, "Next": "Large"}],
            "Default": "Small",
        },
        "Large": {"Type": "Pass", "Result": "large", "End": True},
        "Small": {"Type": "Pass", "Result": "small", "End": True},
    },
}

with mock_aws(config={"stepfunctions": {"execute_state_machine": True}}):
    iam, steps = boto3.client("iam"), boto3.client("stepfunctions")
    statement = {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    role = iam.create_role(RoleName="sorter", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    made = steps.create_state_machine(name="sorter", definition=json.dumps(MACHINE), roleArn=role)
    run = steps.start_execution(stateMachineArn=made["stateMachineArn"], input=json.dumps({"count": 100}))
    for _ in range(60):
        ended = steps.describe_execution(executionArn=run["executionArn"])
        if ended["status"] != "RUNNING":
            break
        time.sleep(0.5)
    print(f"moto {importlib.metadata.version('moto')}: {ended['status']} with {ended.get('output')}, of a path that is missing")
    sys.exit(0 if ended["status"] == "SUCCEEDED" and "small" in ended["output"] else 1)
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
