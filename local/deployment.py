"""Deploy what `sam build` made, as `sam deploy` would, in two seconds instead of eight."""

import hashlib
import json
import os
import tempfile
import time
import zipfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

from mypy_boto3_cloudformation import CloudFormationClient
from mypy_boto3_cloudformation.type_defs import StackTypeDef
from mypy_boto3_s3 import S3Client
from samtranslator.yaml_helper import yaml_parse

from local.milvus import CACHE

# Where each type of resource names the local file or folder that belongs to it.
_LOCAL_PATHS = {
    "AWS::Serverless::Function": "CodeUri",
    "AWS::Serverless::LayerVersion": "ContentUri",
    "AWS::Serverless::StateMachine": "DefinitionUri",
}

# How long a zip file is kept that nobody deploys.
_KEPT_SECONDS = 7 * 86400.0


class DeploymentError(RuntimeError):
    """CloudFormation did not create or update the stack; the message lists its reasons."""


def package(build_folder: Path, s3: S3Client, bucket: str) -> str:
    """Upload the built code, layers and state machines, and the template that refers to them; return its URL.

    State machines stay YAML, as `sam package` leaves them.
    """
    template = read_template(build_folder)
    for resource in template["Resources"].values():
        name = _LOCAL_PATHS.get(resource["Type"])
        path = resource.get("Properties", {}).get(name)
        if isinstance(path, str):
            source = build_folder / path
            content = _zip(source) if source.is_dir() else source.read_bytes()
            resource["Properties"][name] = f"s3://{bucket}/{_upload(s3, bucket, content)}"
    # It is longer than the 51,200 bytes that CloudFormation takes in a request.
    key = _upload(s3, bucket, json.dumps(template, default=str).encode())
    return f"{s3.meta.endpoint_url}/{bucket}/{key}"


def _upload(s3: S3Client, bucket: str, content: bytes) -> str:
    key = hashlib.sha256(content).hexdigest()
    s3.put_object(Bucket=bucket, Key=key, Body=content)
    return key


def read_template(build_folder: Path) -> dict[str, Any]:
    """Return the built template, its short forms such as `!Ref` written out."""
    template: dict[str, Any] = yaml_parse((build_folder / "template.yaml").read_text())
    return template


@cache
def _zip(folder: Path) -> bytes:
    """Return the folder as a zip that is the same whenever the folder is, so that its hash is too.

    Kept by the folder's content, for all processes on this machine: to compress the layers takes ten seconds.
    """
    files = [(path, path.relative_to(folder).as_posix()) for path in sorted(folder.rglob("*")) if path.is_file()]
    content = hashlib.sha256()
    for path, name in files:
        body = path.read_bytes()
        content.update(f"{name} {path.stat().st_mode} {len(body)}\n".encode() + body)
    kept = CACHE / "zips" / content.hexdigest()
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        _remove_unused(kept.parent)
        with tempfile.NamedTemporaryFile(dir=kept.parent) as unfinished:
            _write_zip(unfinished, files)
            with suppress(FileExistsError):
                kept.hardlink_to(unfinished.name)
    os.utime(kept)
    return kept.read_bytes()


def _write_zip(file: IO[bytes], files: Iterable[tuple[Path, str]]) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        for path, name in files:
            entry = zipfile.ZipInfo(name)  # dated 1980
            entry.external_attr = path.stat().st_mode << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes(), compresslevel=1)
    file.flush()


def _remove_unused(folder: Path) -> None:
    for kept in folder.iterdir():
        with suppress(FileNotFoundError):
            if time.time() - kept.stat().st_mtime > _KEPT_SECONDS:
                kept.unlink()


def deploy(
    cloudformation: CloudFormationClient,
    template: Mapping[str, Any] | str,
    stack_name: str,
    parameters: Mapping[str, str],
) -> dict[str, str]:
    """Create the stack, or update it if it exists, and return its outputs. A template is given as it is, or by URL."""
    request: Any = {
        "StackName": stack_name,
        **(
            {"TemplateURL": template}
            if isinstance(template, str)
            else {"TemplateBody": json.dumps(template, default=str)}
        ),
        "Capabilities": ["CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
    }
    try:
        cloudformation.create_stack(**request)
    except cloudformation.exceptions.AlreadyExistsException:
        try:
            cloudformation.update_stack(**request)
        except cloudformation.exceptions.ClientError as err:
            if "No updates" not in str(err):
                raise
    stack = _wait(cloudformation, stack_name)
    if stack["StackStatus"] not in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}:
        events = cloudformation.describe_stack_events(StackName=stack_name)["StackEvents"]
        reasons = [
            f"{event['LogicalResourceId']}: {event['ResourceStatusReason']}"
            for event in events
            if event.get("ResourceStatusReason")
        ]
        msg = f"stack {stack_name} is {stack['StackStatus']}: {'; '.join(reversed(reasons))}"
        raise DeploymentError(msg)
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}


def _wait(cloudformation: CloudFormationClient, stack_name: str) -> StackTypeDef:
    while True:
        stack = cloudformation.describe_stacks(StackName=stack_name)["Stacks"][0]
        if not stack["StackStatus"].endswith("IN_PROGRESS"):
            return stack
        time.sleep(0.05)
