"""What the errors of AWS services other than S3 are called here."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from milvus_vault.errors import ServiceRequestError, ServiceUnavailableError

# An API call has 29 s in all, and in a VPC without a way to a service a function would wait for minutes.
CONFIG = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})

# Beside those that speak of throttling: KMSThrottlingException, EC2ThrottledException, ThrottlingException.
_PASSING_CODES = frozenset(
    {
        "ConflictException",
        "ExecutionLimitExceeded",
        "RequestLimitExceeded",
        "ResourceConflictException",
        "SnapStartNotReadyException",
        "TooManyRequestsException",
    }
)
_SERVER_ERROR = 500


@contextmanager
def service_errors(service: str) -> Iterator[None]:
    """Raise boto3's errors as `ServiceUnavailableError` or `ServiceRequestError`, which name the service."""
    try:
        yield
    except ClientError as err:
        code, text = err.response["Error"]["Code"], err.response["Error"].get("Message", "")
        status = err.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in _PASSING_CODES or "Throttl" in code or status >= _SERVER_ERROR:
            msg = f"{service} does not answer {err.operation_name}: {code}: {text}"
            raise ServiceUnavailableError(msg, hint="Try again in a minute.") from err
        msg = f"{service} refuses {err.operation_name}: {code}: {text}"
        is_denied = "AccessDenied" in code or "Authorization" in code
        hint = "The function's role lacks a right." if is_denied else "The message is the service's own."
        raise ServiceRequestError(msg, hint=hint) from err
    except (BotoCoreError, HTTPError) as err:
        msg = f"{service} cannot be reached: {err}"
        raise ServiceUnavailableError(msg, hint="Try again in a minute.") from err
