"""Step Functions executions: whether the holder of a claim still runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, override

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from milvus_vault.adapters.aws_errors import BROKEN_BODY, GARBLED, refusal_of
from milvus_vault.adapters.kept import kept
from milvus_vault.ports import Executions

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient


class StepFunctionsExecutions(Executions):
    """The port `Executions` over Step Functions."""

    @override
    def status(self, execution_arn: str) -> str:
        try:
            return kept(_client, "stepfunctions").describe_execution(executionArn=execution_arn)["status"]
        except ClientError as err:
            return "GONE" if refusal_of(err)[0] in {"ExecutionDoesNotExist", "InvalidArn"} else "UNKNOWN"
        except (BotoCoreError, *BROKEN_BODY, *GARBLED):
            return "UNKNOWN"


def _client() -> SFNClient:
    # Without a way to Step Functions a function in a VPC would wait for minutes.
    config = Config(connect_timeout=5, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 3})
    return boto3.session.Session().client("stepfunctions", config=config)
