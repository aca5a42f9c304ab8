"""What AWS' SDK raises, and what the errors of services other than S3 are called here."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, FlexibleChecksumError, HTTPClientError
from botocore.parsers import ResponseParserError
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

BROKEN_BODY = (HTTPError, HTTPException, ConnectionError, HTTPClientError, FlexibleChecksumError)
"""What reading a body raises when the connection breaks midway: the SDK has answered by then, and does not retry."""

GARBLED = (ValueError, TypeError, AttributeError, LookupError, RecursionError, ResponseParserError)
"""What the SDK, and we after it, raise for answers that are not the service's, found by trying thousands: a time that
is none, an error with the checksum of an object, a redirect of the request that asks where to go, a member that is
missing or of another type."""


def refusal_of(err: ClientError) -> tuple[str, str]:
    """Return the code and the message of a refusal; empty ones where it was garbled, and says nothing."""
    told = err.response.get("Error", {})
    return str(told.get("Code", "")), str(told.get("Message", ""))


@contextmanager
def service_errors(service: str) -> Iterator[None]:
    """Raise boto3's errors as `ServiceUnavailableError` or `ServiceRequestError`, which name the service.

    An answer is taken apart inside, so that one which is not the service's has a name as well.
    """
    try:
        yield
    except ClientError as err:
        code, text = refusal_of(err)
        status = err.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in _PASSING_CODES or "Throttl" in code or status >= _SERVER_ERROR:
            msg = f"{service} does not answer {err.operation_name}: {code}: {text}"
            raise ServiceUnavailableError(msg, hint="Try again in a minute.") from err
        msg = f"{service} refuses {err.operation_name}: {code}: {text}"
        is_denied = "AccessDenied" in code or "Authorization" in code
        hint = "The function's role lacks a right." if is_denied else "The message is the service's own."
        raise ServiceRequestError(msg, hint=hint) from err
    except (BotoCoreError, *BROKEN_BODY) as err:
        msg = f"{service} cannot be reached: {err}"
        raise ServiceUnavailableError(msg, hint="Try again in a minute.") from err
    except GARBLED as err:
        msg = f"{service} answers with something that is not its own: {type(err).__name__}: {err}"
        hint = "It was cut off, or something else answers there. Try again in a minute."
        raise ServiceUnavailableError(msg, hint=hint) from err
