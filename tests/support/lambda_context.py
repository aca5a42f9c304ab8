"""What Lambda tells a handler about its invocation."""

from typing import override

from aws_lambda_powertools.utilities.typing import LambdaContext


class Invocation(LambdaContext):
    """An invocation with 15 minutes left."""

    def __init__(self) -> None:
        """Name the function."""
        self._function_name = "function"
        self._memory_limit_in_mb = 1024
        self._invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:function"
        self._aws_request_id = "request"

    @staticmethod
    @override
    def get_remaining_time_in_millis() -> int:
        return 900_000


class LateInvocation(Invocation):
    """An invocation that is nearly over, with a second left."""

    @staticmethod
    @override
    def get_remaining_time_in_millis() -> int:
        return 1_000
