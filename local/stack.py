"""The whole stack on one machine: Milvus, with its data in the emulated S3, and the deployed template."""

import json
import platform
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol, Self

from mypy_boto3_stepfunctions.type_defs import DescribeExecutionOutputTypeDef

from local.aws import Ministack
from local.deployment import read_template
from local.milvus import ROOT_CREDENTIALS, Milvus

BUILD_FOLDER = Path(__file__).parent.parent / ".aws-sam" / "build"
MILVUS_BUCKET = "milvus-bucket"
MILVUS_ROOT_PATH = "files"

# 2.3 cannot pause garbage collection. With its management endpoint, each backup would carry a warning of that.
QUIET = {"MilvusManagementUri": ""}


class MilvusServer(Protocol):
    """A running Milvus, as far as a deployment must know it."""

    bucket: str
    root_path: str

    @property
    def uri(self) -> str:
        """Where clients reach it."""

    @property
    def management_uri(self) -> str:
        """Its management endpoint."""

    @property
    def authorization(self) -> bool:
        """Whether it asks for a password."""


class ExecutionTimeoutError(RuntimeError):
    """An execution was still running when the caller's patience ended; it goes on."""


class Deployment:
    """One deployed stack and the Milvus it works for."""

    def __init__(self, ministack: Ministack, milvus: MilvusServer, stack_name: str, outputs: Mapping[str, str]) -> None:
        """Wrap what `deploy` made."""
        self.ministack = ministack
        self.milvus = milvus
        self.stack_name = stack_name
        self.outputs = dict(outputs)

    @property
    def api_url(self) -> str:
        """Address of the API. The stack's output names AWS' own host, which does not resolve here."""
        host, stage = self.outputs["ApiUrl"].removeprefix("https://").split("/")
        return f"{self.ministack.url}/_aws/execute-api/{host.partition('.')[0]}/{stage}"

    def start(self, machine_output_key: str, request: Mapping[str, Any], name: str | None = None) -> str:
        """Start a state machine and return the execution's ARN.

        Args:
            machine_output_key: output of the stack that holds the machine's ARN.
            request: the execution's input.
            name: name of the execution; made up if it is not given.
        """
        execution = self.ministack.client("stepfunctions").start_execution(
            stateMachineArn=self.outputs[machine_output_key],
            name=name or str(uuid.uuid4()),
            input=json.dumps(request),
        )
        return execution["executionArn"]

    def wait(
        self,
        execution_arn: str,
        timeout_seconds: float = 120,
        on_poll: Callable[[DescribeExecutionOutputTypeDef], None] | None = None,
    ) -> DescribeExecutionOutputTypeDef:
        """Return the description of the execution once it has ended, however it ended.

        Args:
            execution_arn: what `start` returned.
            timeout_seconds: when to give up with `ExecutionTimeoutError`.
            on_poll: called with each description while the execution runs, five times a second.
        """
        states = self.ministack.client("stepfunctions")
        deadline = time.monotonic() + timeout_seconds
        while True:
            described = states.describe_execution(executionArn=execution_arn)
            if described["status"] != "RUNNING":
                return described
            if on_poll is not None:
                on_poll(described)
            if time.monotonic() > deadline:
                msg = f"{execution_arn} is still running after {timeout_seconds:.0f} s"
                raise ExecutionTimeoutError(msg)
            time.sleep(0.2)


def deploy(
    ministack: Ministack,
    stack_name: str,
    milvus: MilvusServer,
    parameters: Mapping[str, str] | None = None,
    *,
    build_folder: Path = BUILD_FOLDER,
) -> Deployment:
    """Deploy the built template for a Milvus, under a stack name of its own, or update that stack.

    `parameters` win over the values found here: Milvus's addresses and bucket, a secret if it asks for a
    password, and the host's architecture.
    """
    found = {
        "MilvusUri": milvus.uri,
        "MilvusManagementUri": milvus.management_uri,
        "MilvusBucketName": milvus.bucket,
        "MilvusRootPath": milvus.root_path,
        "MilvusSecretArn": _secret(ministack, stack_name) if milvus.authorization else "",
        "Architecture": {"aarch64": "arm64", "arm64": "arm64"}.get(platform.machine(), "x86_64"),
    }
    declared = read_template(build_folder).get("Parameters", {})
    known = {name: value for name, value in found.items() if name in declared}
    outputs = ministack.deploy(build_folder, known | dict(parameters or {}), stack_name=stack_name)
    return Deployment(ministack, milvus, stack_name, outputs)


def _secret(ministack: Ministack, stack_name: str) -> str:
    secrets = ministack.client("secretsmanager")
    name = f"{stack_name}-milvus"
    try:
        return secrets.create_secret(Name=name, SecretString=json.dumps(ROOT_CREDENTIALS))["ARN"]
    except secrets.exceptions.ResourceExistsException:
        return secrets.describe_secret(SecretId=name)["ARN"]


class LocalStack:
    """ministack, a Milvus and a deployment; more of either on demand.

    A context manager. `milvus` and `deployment` are the first ones; `add_milvus` and `deploy` add others on
    the same ministack, for a restore into another Milvus or a template with other parameters.
    """

    def __init__(
        self,
        parameters: Mapping[str, str] | None = None,
        *,
        build_folder: Path = BUILD_FOLDER,
        wait_scale: float = 1.0,
        enforce_policies: bool = False,
        port: int | None = None,
        milvus_settings: Mapping[str, object] | None = None,
    ) -> None:
        """Describe the stack; nothing runs before it is entered.

        Args:
            parameters: template parameters beside those that say where Milvus is.
            build_folder: what `sam build` made.
            wait_scale: see `Ministack`.
            enforce_policies: see `Ministack`.
            port: port of ministack; a free one is found if it is not given.
            milvus_settings: settings of the first Milvus, by dotted name.
        """
        self._parameters = dict(parameters or {})
        self._build_folder = build_folder
        self._milvus_settings = milvus_settings
        self._running = ExitStack()
        self.ministack = Ministack(port=port, wait_scale=wait_scale, enforce_policies=enforce_policies)
        self.client = self.ministack.client
        self.milvus: Milvus
        self.deployment: Deployment

    def __enter__(self) -> Self:
        """Start both servers and deploy the template."""
        with ExitStack() as unless_deployed:
            unless_deployed.callback(self._running.close)
            self._running.enter_context(self.ministack)
            self.milvus = self.add_milvus(MILVUS_BUCKET, MILVUS_ROOT_PATH, settings=self._milvus_settings)
            self.deployment = self.deploy("milvus-vault", self.milvus, self._parameters)
            unless_deployed.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop every server and remove its files."""
        self._running.close()

    def add_milvus(
        self,
        bucket: str,
        root_path: str,
        *,
        authorization: bool = False,
        settings: Mapping[str, object] | None = None,
        data_dir: Path | None = None,
    ) -> Milvus:
        """Start a Milvus with its data in a bucket of this stack; it stops with the stack, if not before."""
        s3 = self.ministack.client("s3")
        s3.create_bucket(Bucket=bucket)
        milvus = Milvus(
            self.ministack.url,
            bucket=bucket,
            root_path=root_path,
            authorization=authorization,
            settings=settings,
            data_dir=data_dir,
        )
        return self._running.enter_context(milvus)

    def deploy(self, stack_name: str, milvus: MilvusServer, parameters: Mapping[str, str] | None = None) -> Deployment:
        """Deploy the built template on this stack's ministack, see `deploy`."""
        return deploy(self.ministack, stack_name, milvus, parameters, build_folder=self._build_folder)

    @property
    def milvus_uri(self) -> str:
        """Where clients reach the first Milvus."""
        return self.milvus.uri

    @property
    def outputs(self) -> dict[str, str]:
        """Outputs of the first deployment."""
        return self.deployment.outputs

    @property
    def api_url(self) -> str:
        """Address of the first deployment's API."""
        return self.deployment.api_url

    def start(self, machine_output_key: str, request: Mapping[str, Any], name: str | None = None) -> str:
        """Start a machine of the first deployment, see `Deployment.start`."""
        return self.deployment.start(machine_output_key, request, name)

    def wait(
        self,
        execution_arn: str,
        timeout_seconds: float = 120,
        on_poll: Callable[[DescribeExecutionOutputTypeDef], None] | None = None,
    ) -> DescribeExecutionOutputTypeDef:
        """Wait for an execution, see `Deployment.wait`."""
        return self.deployment.wait(execution_arn, timeout_seconds, on_poll)
