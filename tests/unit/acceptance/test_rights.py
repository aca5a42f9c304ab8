"""docs/aws-checklist.yaml lists the rights that credentials need: no fewer and no more than `Account` asks by."""

import ast
import inspect
from collections.abc import Iterator

from botocore import xform_name
from botocore.session import get_session

from milvus_vault.acceptance import account
from tools.checklist import checklist

# Where the right has another name than the operation, or there is none to give.
OTHERS = {
    "s3:HeadObject": "s3:GetObject",
    "s3:HeadBucket": "s3:ListBucket",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:GetObjectLockConfiguration": "s3:GetBucketObjectLockConfiguration",
    "s3:ListBucketMetricsConfigurations": "s3:GetMetricsConfiguration",
    "lambda:Invoke": "lambda:InvokeFunction",
    "apigateway:GetAccount": "apigateway:GET",
    "apigateway:GetStages": "apigateway:GET",
    "sts:GetCallerIdentity": "",
}
PREFIXES = {"stepfunctions": "states", "service-quotas": "servicequotas"}

# Of the API's client, and of S3 itself where objects are encrypted by the key of the stack.
BESIDE = {"execute-api:Invoke", "kms:Decrypt"}


def operations(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield service and method of each call to a client of boto3: `self._client(service).method`, or a paginator."""
    named = {
        node.targets[0].id: service
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and (service := client(node.value))
    }
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        asked = node.func.value
        service = client(asked) or (named.get(asked.id, "") if isinstance(asked, ast.Name) else "")
        if service and node.func.attr == "get_paginator":
            yield service, ast.literal_eval(node.args[0])
        elif service:
            yield service, node.func.attr


def client(node: ast.expr) -> str:
    """Return the service of `self._client(service)`; empty for anything else."""
    is_client = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "_client"
    literal = isinstance(node, ast.Call) and bool(node.args) and isinstance(node.args[0], ast.Constant)
    return str(ast.literal_eval(node.args[0])) if isinstance(node, ast.Call) and is_client and literal else ""


def right(service: str, method: str) -> str:
    called = get_session().get_service_model(service).operation_names
    (operation,) = (operation for operation in called if xform_name(operation) == method)
    name = f"{PREFIXES.get(service, service)}:{operation}"
    return OTHERS.get(name, name)


def test_what_is_asked_of_aws_is_what_the_document_says() -> None:
    asked = set(operations(ast.parse(inspect.getsource(account))))
    assert {("logs", "get_query_results"), ("stepfunctions", "list_executions"), ("s3", "delete_object")} <= asked
    needed = {right(*one) for one in asked} - {""}
    listed = {action for actions in checklist().rights.values() for action in actions}
    assert listed - BESIDE == needed
