"""What every function has around its work: from event to request, from result to JSON, and errors by their names."""

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ValidationError

from milvus_vault import runtime
from milvus_vault.errors import BackupExistsError, InvalidRequestError
from milvus_vault.model.base import Model
from milvus_vault.model.requests import BackupRequest, PruneRequest, RestoreRequest, VerifyRequest
from milvus_vault.runtime import explain, read_request, task
from tests.support.faults import cases, hard_values
from tests.support.lambda_context import Invocation

# An event that does not fit is not counted.
pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

EVENT: dict[str, Any] = {"run": "nightly", "round": 1}


class Request(Model):
    """A request."""

    run: str
    round: int = Field(ge=1)


class Result(Model):
    """A result, with what JSON has no type for."""

    round: int
    made_at: datetime
    names: tuple[str, ...] = ()


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[dict[str, Any]]]:
    """Return the log's entries so far."""
    lines: list[str] = []

    class Stream:
        """Where the log goes meanwhile."""

        @staticmethod
        def write(text: str) -> None:
            lines.extend(text.splitlines())

        @staticmethod
        def flush() -> None:
            """Everything is there already."""

    monkeypatch.setattr(runtime.logger.registered_handler, "stream", Stream())
    return lambda: [json.loads(line) for line in lines]


@task
def double(request: Request) -> Result:
    """Return a result."""
    return Result(round=request.round * 2, made_at=datetime(2026, 1, 2, tzinfo=UTC), names=("a", "b"))


@task
def refuse(request: Request) -> Result:
    """Fail as a task does."""
    msg = f"backup '{request.run}' exists"
    raise BackupExistsError(msg, hint="Take another name.")


def test_the_event_becomes_the_request_and_the_result_json() -> None:
    assert double(EVENT, Invocation()) == {
        "round": 2,
        "made_at": "2026-01-02T00:00:00Z",
        "names": ["a", "b"],
    }


def test_the_result_can_be_written_as_json() -> None:
    assert json.loads(json.dumps(double(EVENT, Invocation()))) == double(EVENT, Invocation())


def test_a_function_that_wants_the_context_gets_it() -> None:
    @task
    def timed(request: Request, context: LambdaContext) -> Result:
        left = context.get_remaining_time_in_millis()
        return Result(round=request.round + left, made_at=datetime.now(UTC))

    answer = timed(EVENT, Invocation())
    assert isinstance(answer, dict)
    assert answer["round"] == 900_001


def test_the_handler_keeps_the_functions_name_and_words() -> None:
    assert (double.__name__, double.__doc__) == ("double", "Return a result.")


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (EVENT | {"rond": 1}, "rond: unknown field"),
        ({"round": 1}, "run: is missing"),
        (EVENT | {"round": 0}, "round: should be greater than or equal to 1"),
        (EVENT | {"round": "first"}, "round: should be a whole number"),
    ],
)
def test_an_event_that_does_not_fit_is_an_invalid_request_that_names_the_field(
    event: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        double(event, Invocation())
    assert words in caught.value.message


def test_all_wrong_fields_are_named_at_once() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        double({"round": 0, "more": 1}, Invocation())
    assert all(name in caught.value.message for name in ("run: ", "round: ", "more: unknown field"))


@pytest.mark.parametrize(
    "request_given",
    [
        {"backup_name": "b", "rename": {"a.b": "a.\ud83d"}},
        {"backup_name": "b", "suffix": "\ud83d"},
        {"backup_name": "b", "\ud83d": 1},
        {"backup_name": "b", "x" * 70_000: 1},
    ],
)
def test_a_request_with_half_of_a_character_is_refused_by_name(request_given: dict[str, object]) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read_request(RestoreRequest, request_given, "restore request")

    assert len(str(caught.value).encode()) < 1000


def test_an_event_that_nests_too_deeply_is_refused_by_name() -> None:
    class AnyRequest(Model):
        request: Any

    nested: object = "x"
    for _ in range(900):
        nested = [nested]

    with pytest.raises(InvalidRequestError, match="nests too deeply"):
        read_request(AnyRequest, {"request": nested}, "request")


@cases(150)
@given(st.sampled_from([BackupRequest, RestoreRequest, VerifyRequest, PruneRequest]), st.data())
def test_whatever_is_asked_for_is_a_request_or_refused(model: type[BaseModel], data: st.DataObject) -> None:
    fields = st.sampled_from(list(model.model_fields))
    asked_for = data.draw(hard_values | st.dictionaries(fields, hard_values, max_size=4))

    with suppress(InvalidRequestError):
        read_request(model, asked_for, "request").model_dump_json()


def test_the_work_of_an_event_that_does_not_fit_is_not_begun() -> None:
    begun = []

    @task
    def work(request: Request) -> Result:
        begun.append(request)
        return Result(round=1, made_at=datetime.now(UTC))

    with pytest.raises(InvalidRequestError):
        work({}, Invocation())
    assert begun == []


def test_a_named_error_is_raised_as_it_is_since_its_class_name_is_the_contract() -> None:
    with pytest.raises(BackupExistsError) as caught:
        refuse(EVENT, Invocation())
    assert type(caught.value).__name__ == "BackupExistsError"


def test_a_named_error_is_logged_with_its_message_its_hint_and_the_run(
    logged: Callable[[], list[dict[str, Any]]],
) -> None:
    with pytest.raises(BackupExistsError):
        refuse(EVENT, Invocation())
    (entry,) = logged()
    assert entry["level"] == "ERROR"
    assert entry["error_name"] == "BackupExistsError"
    assert entry["error_message"] == "backup 'nightly' exists"
    assert entry["hint"] == "Take another name."
    assert entry["correlation_id"] == "nightly"
    assert entry["function_request_id"] == "request"


def counted(text: str) -> list[dict[str, Any]]:
    """Return the metrics that were printed."""
    return [json.loads(line) for line in text.splitlines() if "_aws" in line]


def test_a_named_error_is_counted_under_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BackupExistsError):
        refuse(EVENT, Invocation())
    (entry,) = counted(capsys.readouterr().out)
    assert entry["BackupExistsError"] == [1.0]
    assert "TasksSucceeded" not in entry


def test_a_success_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    double(EVENT, Invocation())
    (entry,) = counted(capsys.readouterr().out)
    assert entry["TasksSucceeded"] == [1.0]
    assert entry["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "MilvusVault"


def test_one_invocations_run_is_not_in_the_next_ones_log(logged: Callable[[], list[dict[str, Any]]]) -> None:
    class Nameless(Model):
        """A request that belongs to no run."""

    @task
    def speak(request: Nameless) -> Result:  # noqa: ARG001 - tasks take a request
        runtime.logger.info("here")
        return Result(round=1, made_at=datetime.now(UTC))

    with pytest.raises(BackupExistsError):
        refuse(EVENT, Invocation())
    speak({}, Invocation())
    assert logged()[-1]["message"] == "here"
    assert "correlation_id" not in logged()[-1]


def test_a_bug_is_raised_as_it_is() -> None:
    @task
    def broken(request: Request) -> Result:
        return Result(round=request.round // 0, made_at=datetime.now(UTC))

    with pytest.raises(ZeroDivisionError):
        broken(EVENT, Invocation())


def explained(model: type[BaseModel], value: object) -> InvalidRequestError:
    """Return how it is explained that a value is no such model."""
    with pytest.raises(ValidationError) as caught:
        model.model_validate(value)
    return explain(caught.value, "restore request")


def test_an_explanation_names_the_place_inside_a_list() -> None:
    error = explained(RestoreRequest, {"backup_name": "x", "collections": ["db.a", "b"]})
    assert "collections.1: 'b' is not '<database>.<collection>' or '<database>.*'" in error.message


def test_an_explanation_of_the_whole_names_the_whole() -> None:
    error = explained(RestoreRequest, {"backup_name": "x", "suffix": "_y", "rename": {"db.a": "db.b"}})
    assert error.message == (
        "the restore request is not valid: restore request: `suffix` and `rename` exclude each other"
    )
    assert error.hint


def test_an_explanation_does_not_show_pydantics_own_words() -> None:
    error = explained(RestoreRequest, {"backup_name": "x", "max_shard": 1})
    assert "Value error" not in str(error)
    assert "extra" not in str(error).lower()
