"""What every function has around its work: validation, logging with correlation, metrics.

    @task
    def handler(request: PlanCopyRequest) -> PlanCopyResult: ...

is a Lambda handler that takes the event as `request`, and returns the result as JSON.
"""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import cast, get_type_hints

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError

from milvus_vault.errors import InvalidRequestError, VaultError
from milvus_vault.model.words import wrong_fields

logger = Logger()
metrics = Metrics(namespace="MilvusVault", service="milvus-vault")

type Json = dict[str, "Json"] | list["Json"] | str | int | float | bool | None
type LambdaHandler = Callable[[dict[str, Json], LambdaContext], Json]


def explain(error: ValidationError, what: str, *, document: str = "docs/requests.md") -> InvalidRequestError:
    """Return the error that tells a user what is wrong with a request, field by field, and where it is described."""
    wrong = [f"{field or what}: {text}" for field, text in wrong_fields(error)]
    return InvalidRequestError(
        f"the {what} is not valid: {'; '.join(wrong)}", hint=f"The fields and their defaults are in {document}."
    )


def _validate[Request: BaseModel](model: type[Request], event: object) -> Request:
    return read_request(model, event, "request")


def read_request[Request: BaseModel](model: type[Request], given: object, what: str) -> Request:
    """Return what was given as a model.

    Raises `InvalidRequestError`, which names each wrong field, and for what no document of ours could hold: half of a
    character, or what nests too deeply.
    """
    try:
        request = model.model_validate(given)
        request.model_dump_json()
    except ValidationError as err:
        raise explain(err, what) from err
    except (PydanticSerializationError, UnicodeError, RecursionError) as err:
        msg = f"the {what} has half of a character in it, or nests too deeply"
        raise InvalidRequestError(msg, hint="Give it as JSON in UTF-8, with the fields of docs/requests.md.") from err
    return request


def task[Request: BaseModel, Result: BaseModel](
    function: Callable[[Request], Result] | Callable[[Request, LambdaContext], Result],
) -> LambdaHandler:
    """Make a Lambda handler of a function from one model to another.

    The event is validated into the function's first parameter (`InvalidRequestError` where it does not
    fit); the function gets the Lambda context too if it has a second one. A `VaultError` is logged with
    its class name and raised: its name is what the state machine acts on.
    """
    model: type[Request] = get_type_hints(function)[next(iter(inspect.signature(function).parameters))]
    wants_context = len(inspect.signature(function).parameters) > 1

    def call(request: Request, context: LambdaContext) -> Result:
        arguments = (request, context) if wants_context else (request,)
        return cast("Callable[..., Result]", function)(*arguments)

    @wraps(function)
    @logger.inject_lambda_context(clear_state=True)
    @metrics.log_metrics
    def handler(event: dict[str, Json], context: LambdaContext) -> Json:
        try:
            request = _validate(model, event)
            if run := getattr(request, "run", ""):
                logger.set_correlation_id(str(run))
            result = call(request, context)
        except VaultError as err:
            logger.exception("failed", error_name=type(err).__name__, error_message=err.message, hint=err.hint)
            metrics.add_metric(name=type(err).__name__, unit=MetricUnit.Count, value=1)
            raise
        metrics.add_metric(name="TasksSucceeded", unit=MetricUnit.Count, value=1)
        dumped: Json = result.model_dump(mode="json")
        return dumped

    return handler
