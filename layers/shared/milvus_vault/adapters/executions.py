"""Step Functions executions: whether the holder of a claim still runs."""

import boto3
from botocore.exceptions import ClientError


class StepFunctionsExecutions:
    """The port `Executions` over Step Functions."""

    def status(self, execution_arn: str) -> str:
        """Return RUNNING, SUCCEEDED, FAILED, TIMED_OUT, ABORTED, PENDING_REDRIVE, GONE or UNKNOWN.

        GONE: Step Functions knows no such execution (it forgets them after 90 days). UNKNOWN: it may
        not be asked, as for an execution of another stack.
        """
        try:
            return boto3.client("stepfunctions").describe_execution(executionArn=execution_arn)["status"]
        except ClientError as err:
            return "GONE" if err.response["Error"]["Code"] in {"ExecutionDoesNotExist", "InvalidArn"} else "UNKNOWN"
