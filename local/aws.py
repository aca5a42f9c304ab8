"""The AWS side of the stack: ministack, which runs the template, the state machines and the handlers."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, overload, override

from mypy_boto3_cloudformation import CloudFormationClient
from mypy_boto3_lambda import LambdaClient
from mypy_boto3_s3 import S3Client
from mypy_boto3_secretsmanager import SecretsManagerClient
from mypy_boto3_stepfunctions import SFNClient

from local import clients, deployment
from local.processes import LOOPBACK, Server, fetch, free_ports, host_environment

_ARTIFACTS_BUCKET = "local-artifacts"

RIGHTS = "MINISTACK_RIGHTS"
"""The variable of the environment that names a file, to which an emulator adds the rights that roles have given."""


class Ministack(Server):
    """One emulator of AWS on loopback, with the patches of `ministack_patches`."""

    name = "ministack"

    def __init__(
        self,
        *,
        port: int | None = None,
        enforce_policies: bool = False,
        wait_scale: float = 1.0,
        lambda_concurrency: int = 16,
        log_level: str = "WARNING",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Describe the server.

        Args:
            port: port of all services; a free one is found if it is not given.
            enforce_policies: check what each function does against its execution role. The roles of state
                machines are not checked.
            wait_scale: factor on Wait states and on the pauses of Retry; 0 skips them.
            lambda_concurrency: workers at a time, each of about 62 MB; beyond it an invocation is throttled.
            log_level: how much ministack logs.
            environment: more variables, for ministack and every function.
        """
        super().__init__()
        self._port = port or free_ports()
        self._variables = {
            "GATEWAY_PORT": str(self._port),
            # The default is every interface, and it runs any code it is given.
            "BIND_HOST": LOOPBACK,
            "LOG_LEVEL": log_level,
            RIGHTS: os.environ.get(RIGHTS, ""),
            "AUTH": str(enforce_policies).lower(),
            "SFN_WAIT_SCALE": str(wait_scale),
            "LAMBDA_ACCOUNT_CONCURRENCY": str(lambda_concurrency),
            # Workers of 70 to 250 MB stay for later calls, as on AWS; for the 5 minutes of the default they would take
            # too much memory after many at once.
            "LAMBDA_WARM_TTL_SECONDS": "120",
            # Listeners on all interfaces, for services that nothing here uses.
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            # From here on for the functions, which inherit all of it.
            "AWS_ENDPOINT_URL": self.url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_SDK_UA_APP_ID": "milvus-vault-local",
            "AWS_XRAY_SDK_ENABLED": "false",
            "POWERTOOLS_TRACE_DISABLED": "1",
            "POWERTOOLS_METRICS_NAMESPACE": "MilvusVault",
            **(environment or {}),
        }

    @property
    def url(self) -> str:
        """Endpoint of every service."""
        return f"http://{LOOPBACK}:{self._port}"

    @overload
    def client(self, service: Literal["s3"]) -> S3Client: ...
    @overload
    def client(self, service: Literal["stepfunctions"]) -> SFNClient: ...
    @overload
    def client(self, service: Literal["lambda"]) -> LambdaClient: ...
    @overload
    def client(self, service: Literal["cloudformation"]) -> CloudFormationClient: ...
    @overload
    def client(self, service: Literal["secretsmanager"]) -> SecretsManagerClient: ...
    @overload
    def client(self, service: str) -> Any: ...
    def client(self, service: str) -> Any:
        """Return a boto3 client of the service, of this server and independent of the host's settings."""
        return clients.create(service, self.url, access_key="test", secret_key="test")  # noqa: S106 - the emulator's own

    def deploy(
        self, build_folder: Path, parameters: Mapping[str, str] | None = None, *, stack_name: str = "milvus-vault"
    ) -> dict[str, str]:
        """Create or update a stack from what `sam build` made, and return its outputs.

        Args:
            build_folder: the folder with the built `template.yaml`.
            parameters: values of the template's parameters.
            stack_name: name of the stack; stacks of different names live side by side.
        """
        s3 = self.client("s3")
        s3.create_bucket(Bucket=_ARTIFACTS_BUCKET)
        template = deployment.package(build_folder, s3, _ARTIFACTS_BUCKET)
        return deployment.deploy(self.client("cloudformation"), template, stack_name, parameters or {})

    @override
    def _command(self) -> Sequence[str]:
        # -P: without it the script's folder comes first on sys.path, and `milvus` is local/milvus.py.
        return [sys.executable, "-P", str(Path(__file__).parent / "ministack_patches.py")]

    @override
    def _prepare(self) -> None:
        self._temporary.mkdir()

    @override
    def _environment(self) -> Mapping[str, str]:
        return host_environment(HOME=str(self.folder), TMPDIR=str(self._temporary), **self._variables)

    @property
    def _temporary(self) -> Path:
        # Workers unpack about 18 MB each into TMPDIR and leave it there; here it goes away with the folder.
        return self.folder / "tmp"

    @override
    def _is_ready(self) -> bool:
        return fetch(f"{self.url}/_ministack/health") is not None
