"""Every way through the state machines by two interpreters, which have to enter the same states and ask for the same.

Each walk gives the answers of the functions, and of the machines that are started. From these follow those with errors:
each Task fails by each name that it tries again, once and too often, and by one that nothing names.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise
from types import UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

import pytest
from pydantic import AwareDatetime, BaseModel

from local.validate_asl import model_findings
from tests.support.interpreters import Failure, Script, Trace, answered_by, definition_of, run_ministack, run_moto
from tests.template import test_messages
from tests.template.loading import Data, result_model

type Answers = Mapping[str, tuple[Any, ...]]


def sample(state: str, **fields: Any) -> Any:
    """Return a result of a function, with some fields; the others have any value."""
    return _sample(result_model(state), fields).model_dump(mode="json")


def _sample[Kind: BaseModel](model: type[Kind], fields: Mapping[str, Any]) -> Kind:
    required = {name: field.annotation for name, field in model.model_fields.items() if field.is_required()}
    return model.model_validate({name: _any_of(kind) for name, kind in required.items()} | dict(fields), strict=False)


def _any_of(kind: Any) -> Any:
    if get_origin(kind) is Literal:
        return get_args(kind)[0]
    if get_origin(kind) in {Union, UnionType}:
        return None
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return _sample(kind, {})
    if kind is AwareDatetime:
        return datetime(2026, 11, 30, tzinfo=UTC)
    if get_origin(kind) in {dict, tuple, list}:
        return get_origin(kind)()
    return {bool: False, int: 1, str: "text", float: 1.0}[kind]


OK: tuple[Any, ...] = ({},)
DIED = Failure("States.TaskFailed", "it died")
REFUSED = Failure("StepFunctions.AccessDeniedException", "not allowed")
THERE = Failure("StepFunctions.ExecutionAlreadyExistsException", "there is one")
AGAIN = {"number": 2, "batches": [0]}


def published(**fields: Any) -> tuple[Any, ...]:
    """Return the answers of PublishBackup: at first it is short of time."""
    model = get_args(result_model("PublishBackup").model_fields["published"].annotation)[0]
    done = _sample(model, {"status": "complete", "has_retention": False} | fields)
    return sample("PublishBackup"), sample("PublishBackup", is_done=True, published=done)


PREPARED = sample("PrepareBackup", round={"number": 1, "batches": [0]})
TENDED, RECORDED = (sample("TendPauses"),), (sample("RecordFailure", error="SomeError", cause="some cause"),)
COPY, VERIFY, COMPLETE = (sample("PlanCopy", status=status) for status in ("copy", "verify", "complete"))
PLANNED_AGAIN = sample("PlanCopy", status="again", next=AGAIN)
VERIFIED = sample("VerifyCopy", status="complete", next=AGAIN)
VERIFIED_AGAIN = sample("VerifyCopy", status="again", next=AGAIN)
EXHAUSTED = sample("VerifyCopy", status="exhausted", next=AGAIN)

_BACKUP: Answers = {
    "PrepareBackup": (PREPARED,),
    "SnapshotBatch": (sample("SnapshotBatch"),),
    "PlanCopy": (COMPLETE,),
    "VerifyCopy": (VERIFIED,),
    "CopyObjects": OK,
    "PublishBackup": published(),
    "TendPauses": TENDED,
    "RecordFailure": RECORDED,
}
_CHECK = {"name": "v", "run": "verify-v", "request": {"backup_name": "b"}}
_COPY = {"name": "c", "run": "export-1a2b", "request": {"backup_name": "b", "export_name": "c"}}
_FOLLOWED = published(verification=_CHECK, next_copy=_COPY)
_PREPARED = sample("PrepareRestore", is_staged=True, round={"number": 1, "batches": []})
_RESTORE: Answers = {
    "PrepareRestore": (_PREPARED,),
    "CheckObjects": OK,
    "CutCollections": (sample("CutCollections"),),
    "PlanCopy": (COMPLETE,),
    "CopyObjects": OK,
    "VerifyCopy": (VERIFIED,),
    "AdvanceRestore": (sample("AdvanceRestore"), sample("AdvanceRestore", is_done=True)),
    "ReportRestore": (sample("ReportRestore", status="complete"),),
    "CleanUpRestore": (sample("CleanUpRestore"),),
    "RecordFailure": RECORDED,
}
_EXPORT: Answers = {
    "PrepareExport": (sample("PrepareExport", round={"number": 1, "batches": []}),),
    "PlanCopy": (COMPLETE,),
    "CopyObjects": OK,
    "VerifyCopy": (VERIFIED,),
    "WriteRows": OK,
    "PublishBackup": published(),
    "RecordFailure": RECORDED,
}
_DATASET = _sample(get_args(result_model("PrepareExport").model_fields["dataset"].annotation)[0], {})
_HAS_ROWS = sample("PrepareExport", has_rows=True, is_dataset=True, write_count=1)
_DRILL: Answers = {
    "PrepareDrill": (sample("PrepareDrill"),),
    "Restore": OK,
    "ProveDrill": (
        sample("ProveDrill", wait_seconds=0),
        sample("ProveDrill", wait_seconds=2),
        sample("ProveDrill", is_done=True),
    ),
    "ConcludeDrill": (sample("ConcludeDrill", status="proven"),),
    "RecordFailure": RECORDED,
}
_VERIFY: Answers = {
    "VerifyBackup": (
        sample("VerifyBackup"),
        sample("VerifyBackup", has_batches=True, check_count=1),
        sample("VerifyBackup", is_done=True, status="intact"),
    ),
    "CheckObjects": OK,
    "RecordFailure": RECORDED,
}
_PRUNE: Answers = {
    "PlanPrune": (sample("PlanPrune"),),
    "CarryOutPrune": (sample("CarryOutPrune"), sample("CarryOutPrune", is_done=True, status="complete")),
    "RecordFailure": RECORDED,
}

# By machine; each has the answers that are others than the first's.
WALKS: Mapping[str, Mapping[str, Answers]] = {
    "backup": {
        "a small one": _BACKUP,
        "copies in two rounds": {
            "PlanCopy": (COPY,),
            "VerifyCopy": (VERIFIED_AGAIN, VERIFIED),
        },
        "copies that nobody makes": {"PlanCopy": (COPY,), "VerifyCopy": (EXHAUSTED,), "CopyObjects": (DIED,)},
        "all copies there": {"PlanCopy": (VERIFY,)},
        "a small one again": {"PlanCopy": (PLANNED_AGAIN, COMPLETE)},
        "one that fails": {"PrepareBackup": (Failure("CollectionNotFoundError"),)},
        "published before": {"PrepareBackup": (PREPARED | {"is_published": True},)},
        "metadata alone": {"PrepareBackup": (PREPARED | {"meta_only": True},)},
        "four batches": {"PrepareBackup": (PREPARED | {"round": {"number": 1, "batches": [0, 1, 2, 3, 4]}},)},
        "no batch": {"PrepareBackup": (PREPARED | {"round": {"number": 1, "batches": []}},)},
        "a partial one": {"PublishBackup": published(status="partial", error="SomeError", cause="some")},
        "with retention": {"PublishBackup": published(has_retention=True), "Prune": OK},
        "with retention, and no prune": {"PublishBackup": published(has_retention=True), "Prune": (REFUSED,)},
        "followed by both": {"PublishBackup": _FOLLOWED, "Verify": OK, "Export": OK},
        "followed by both, which are there": {"PublishBackup": _FOLLOWED, "Verify": (THERE,), "Export": (THERE,)},
        "followed by neither": {"PublishBackup": _FOLLOWED, "Verify": (REFUSED,), "Export": (REFUSED,)},
        "followed by no copy": {"PublishBackup": _FOLLOWED, "Verify": OK, "Export": (REFUSED,)},
        "followed by no verification": {"PublishBackup": _FOLLOWED, "Verify": (REFUSED,), "Export": OK},
        "followed by a verification": {
            "PublishBackup": published(verification=_CHECK),
            "Verify": OK,
        },
        "followed by a copy": {"PublishBackup": published(next_copy=_COPY), "Export": OK},
    },
    "restore": {
        "a small one": _RESTORE,
        "copies in two rounds": {"PlanCopy": (COPY,), "VerifyCopy": (VERIFIED_AGAIN, VERIFIED)},
        "copies that nobody makes": {"PlanCopy": (COPY,), "VerifyCopy": (EXHAUSTED,), "CopyObjects": (DIED,)},
        "all copies there": {"PlanCopy": (VERIFY,)},
        "nothing staged": {"PrepareRestore": (_PREPARED | {"is_staged": False},)},
        "contents checked": {
            "PrepareRestore": (_PREPARED | {"has_batches": True, "check_count": 1}, _PREPARED),
        },
        "contents that nobody checks": {
            "PrepareRestore": (_PREPARED | {"has_batches": True, "check_count": 1}, _PREPARED),
            "CheckObjects": (DIED,),
        },
        "cut": {"PrepareRestore": (_PREPARED | {"has_cuts": True},)},
        "a partial one": {"ReportRestore": (sample("ReportRestore", status="partial", error="E", cause="c"),)},
    },
    "export": {
        "a small one": _EXPORT,
        "copies in two rounds": {"PlanCopy": (COPY,), "VerifyCopy": (VERIFIED_AGAIN, VERIFIED)},
        "copies that nobody makes": {"PlanCopy": (COPY,), "VerifyCopy": (EXHAUSTED,), "CopyObjects": (DIED,)},
        "all copies there": {"PlanCopy": (VERIFY,)},
        "one that fails": {"PrepareExport": (Failure("BackupNotFoundError"),)},
        "published before": {"PrepareExport": (sample("PrepareExport", is_published=True),)},
        "metadata alone": {"PrepareExport": (sample("PrepareExport", meta_only=True),)},
        "a dataset": {"PrepareExport": (_HAS_ROWS, sample("PrepareExport", is_dataset=True, dataset=_DATASET))},
        "a dataset that nobody writes": {
            "PrepareExport": (_HAS_ROWS, sample("PrepareExport", is_dataset=True, dataset=_DATASET)),
            "WriteRows": (DIED,),
        },
    },
    "drill": {
        "one that proves": _DRILL,
        "one that does not": {"ConcludeDrill": (sample("ConcludeDrill", status="failed", error="E", cause="c"),)},
        "one without a restore": {"Restore": (DIED,)},
    },
    "verify": {
        "an intact one": _VERIFY,
        "one that fails": {"VerifyBackup": (Failure("BackupNotFoundError"),)},
        "a damaged one": {
            "VerifyBackup": (sample("VerifyBackup", is_done=True, status="damaged", error="E", cause="c"),)
        },
        "contents that nobody checks": {"CheckObjects": (DIED,)},
    },
    "prune": {
        "a complete one": _PRUNE,
        "one that fails": {"PlanPrune": (Failure("BackupNotFoundError"),)},
        "an incomplete one": {
            "CarryOutPrune": (sample("CarryOutPrune", is_done=True, status="failed", error="E", cause="c"),)
        },
    },
    "copy_objects": {"one batch": {"CopyBatch": (sample("CopyBatch"),)}, "two batches": {}},
    "check_objects": {"one batch": {"CheckObjects": (sample("CheckObjects"), sample("CheckObjects", is_done=True))}},
    "write_rows": {"one batch": {"WriteRows": (sample("WriteRows"), sample("WriteRows", is_done=True))}},
}

_GIVEN = {"run": "r", "bucket": "b", "batches_key": "k", "backup_name": "b"}


def script_of(machine: str, walk: str) -> Script:
    """Return the script of a walk."""
    first, *_ = WALKS[machine].values()
    # Of two batches the first to ask would get the first answer: which, nobody knows.
    batches = tuple({"batch": number} for number in range(2 if walk == "two batches" else 1))
    return Script(given=_GIVEN, answers={**first, **WALKS[machine][walk]}, batches=batches)


@cache
def walked(machine: str, walk: str) -> Trace:
    """Return what moto makes of a walk."""
    return run_moto(definition_of(machine), script_of(machine, walk))


def flows(definition: Data, *, is_child: bool = False) -> Iterator[tuple[Data, bool]]:
    """Yield a definition, and those of its branches and Maps, each with whether a distributed Map runs it."""
    yield definition, is_child
    for body in definition["States"].values():
        for branch in body.get("Branches", []):
            yield from flows(branch, is_child=is_child)
        if inner := body.get("ItemProcessor"):
            yield from flows(inner, is_child=is_child or inner["ProcessorConfig"]["Mode"] == "DISTRIBUTED")


# What each of the interpreters does otherwise than AWS, and is left out of the comparison:
#
# * ministack writes no Succeed and no Fail of a branch into the history; AWS writes that every state was entered.
# * Children of a distributed Map have histories of their own on AWS, and in neither a place of their own: what was
#   asked of their functions is compared.
def steps(definition: Data, trace: Trace) -> list[list[str]]:
    """Return the states that were entered, of each flow in their order: branches run beside each other.

    How far one branch had come when another failed is nobody's promise: then only what was around them is returned.
    """
    found = []
    for number, (flow, is_child) in enumerate(flows(definition)):
        ends = {name for name, body in flow["States"].items() if number and body["Type"] in {"Succeed", "Fail"}}
        names = flow["States"].keys() - ends if not is_child else set()
        found.append([name for name in trace.entered if name in names])
    return found[:1] if _broke_off(definition, trace) else found


def _broke_off(definition: Data, trace: Trace) -> bool:
    """Return whether one of several branches failed."""
    return any(
        len(body.get("Branches", [])) > 1 and name in trace.entered and body["Next"] not in trace.entered
        for name, body in definition["States"].items()
    )


def asked(trace: Trace) -> dict[str, Counter[str]]:
    """Return what was asked of each function and machine, whatever the order: items of a Map have none.

    Of causes only whether there is one: where they describe an execution, each has its own words.
    """

    def known(given: Any) -> Any:
        return given | {"cause": bool(given["cause"])} if "cause" in given else given

    return {name: Counter(repr(known(given)) for given in all_given) for name, all_given in trace.asked.items()}


def compare(machine: str, script: Script) -> Trace:
    """Walk by both, and return what moto did, which is what ministack did."""
    definition = definition_of(machine)
    first, last = run_ministack(definition, script), run_moto(definition, script)
    assert "NoAnswerError" not in {first.error, last.error}, (first.error, last.output)
    assert steps(definition, first) == steps(definition, last)
    if not _broke_off(definition, last):
        assert asked(first) == asked(last)
    assert (first.status, first.error) == (last.status, last.error)
    if first.status == "SUCCEEDED":
        assert first.output == last.output
    return last


_ALL = [pytest.param(machine, walk, id=f"{machine}-{walk}") for machine in WALKS for walk in WALKS[machine]]


@pytest.mark.parametrize(("machine", "walk"), _ALL)
def test_both_take_the_same_way(machine: str, walk: str) -> None:
    compare(machine, script_of(machine, walk))


def _errors(body: Data) -> Iterator[tuple[str, tuple[Failure, ...]]]:
    """Yield the ways in which a Task can fail, and what each is called."""
    is_function = ":lambda:" in body["Resource"]
    yield "another", (Failure("SomeOtherError") if is_function else REFUSED,)
    if "sync" in body["Resource"]:
        yield "its execution", (DIED,)
    for entry in body.get("Retry", []):
        # It stands for every error of StartExecution.
        names = [REFUSED.error if name == "States.TaskFailed" else name for name in entry["ErrorEquals"]]
        yield from ((f"once {name}", (Failure(name),)) for name in names)
        # More often than any of them is tried again.
        yield f"always {names[0]}", (Failure(names[0]),) * 100
    for entry in body.get("Catch", []):
        yield from ((f"caught {name}", (Failure(name),)) for name in entry["ErrorEquals"] if name != "States.ALL")


def _failing() -> Iterator[Any]:
    """Yield the ways in which each Task of each machine can fail."""
    for machine in WALKS:
        for state, body in (
            (name, body) for flow, _ in flows(definition_of(machine)) for name, body in flow["States"].items()
        ):
            for case, failures in _errors(body) if body["Type"] == "Task" else ():
                # Lists of names are those of the neighbours: `make test` takes the last of each Task.
                last = body.get("Retry", [{"ErrorEquals": [""]}])[-1]["ErrorEquals"]
                is_thorough = case.startswith(("once", "always")) and not case.endswith((last[-1], f"always {last[0]}"))
                marks = [pytest.mark.thorough] if is_thorough else []
                yield pytest.param(machine, body, failures, id=f"{machine}-{state}-{case}", marks=marks)


@pytest.mark.parametrize(("machine", "body", "failures"), [*_failing()])
def test_both_take_the_same_way_where_a_task_fails(machine: str, body: Data, failures: tuple[Failure, ...]) -> None:
    is_function = ":lambda:" in body["Resource"]
    name = answered_by(body["Resource"] if is_function else body["Parameters"]["StateMachineArn"])
    walk = next(walk for walk in WALKS[machine] if name in walked(machine, walk).asked)
    script = script_of(machine, walk)
    compare(machine, replace(script, answers={**script.answers, name: (*failures, *script.answers[name])}))


def test_the_walks_take_every_way_that_there_is() -> None:
    """Each way from a state to the next, but for those that a failure takes."""
    lost = []
    for machine in WALKS:
        taken = {
            pair
            for walk in WALKS[machine]
            for flow, _ in flows(definition_of(machine))
            for pair in pairwise(name for name in walked(machine, walk).entered if name in flow["States"])
        }
        for flow, is_child in flows(definition_of(machine)):
            ways = {(name, target) for name, body in flow["States"].items() for target in _targets(body)}
            lost += [(machine, *way) for way in sorted(ways - taken) if not is_child]
    assert lost == []


def _targets(body: Data) -> Iterator[str]:
    yield from (rule["Next"] for rule in body.get("Choices", []))
    yield from (body[name] for name in ("Next", "Default") if name in body)


# What AWS documents of the language, asked of both. Where an interpreter is laxer, local/validate_asl.py refuses what
# would pass there alone, or a test does. Pages are of AWS' Step Functions Developer Guide, with the titles they had
# when they were looked up (November 2026), or the specification of the language, which AWS wrote and does not follow in
# all names of errors.
_LANGUAGE = "Amazon States Language (states-language.net/spec.html)"
_RESULT_PATH = "Specifying state output using ResultPath in Step Functions"
_ERRORS = "Handling errors in Step Functions workflows"
_CHOICE = "Choice workflow state"
_PARALLEL = "Parallel workflow state"
_MAP = "Using Map state in Inline mode in Step Functions workflows"
_CONTEXT = "Accessing execution data from the Context object in Step Functions"
_PATHS = "Input and Output Processing in Step Functions"
_INTRINSIC = "Intrinsic functions in Amazon States Language for Step Functions workflows"

_CALL = {"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:123456789012:function:Call", "End": True}
_PASS = {"Type": "Pass", "End": True}
_CAUGHT = [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.failure", "Next": "Next"}]
# What leads nowhere gives null, or is passed by.
MISSING = test_messages.test_every_path_leads_to_something_that_a_task_or_a_catch_has_put_there


class Habit(NamedTuple):
    """A state, and what becomes of an execution that begins with it; the next state passes on what it is given."""

    page: str
    """Where AWS says so, by the title."""
    state: Data
    status: str
    end: Any
    """The output, or the name of the error."""
    lax: Mapping[str, tuple[str, Any]] = {}
    """What an interpreter does instead."""
    refused_by: Any = None
    """The test that refuses a definition which would pass on a laxer interpreter alone; None if its validation does."""


HABITS: Mapping[str, Habit] = {
    "a result takes the place of the input": Habit(_RESULT_PATH, _CALL, "SUCCEEDED", {"a": 1}),
    "ResultPath puts it beside": Habit(
        _RESULT_PATH, _CALL | {"ResultPath": "$.b"}, "SUCCEEDED", {"n": 2, "list": [1, 2, 3], "b": {"a": 1}}
    ),
    "ResultPath null drops it": Habit(
        _RESULT_PATH, _CALL | {"ResultPath": None}, "SUCCEEDED", {"n": 2, "list": [1, 2, 3]}
    ),
    "ResultPath makes the way to its place": Habit(
        _LANGUAGE, _CALL | {"ResultPath": "$.b.c"}, "SUCCEEDED", {"n": 2, "list": [1, 2, 3], "b": {"c": {"a": 1}}}
    ),
    "OutputPath null leaves an empty object": Habit(_LANGUAGE, _CALL | {"OutputPath": None}, "SUCCEEDED", {}),
    "an intrinsic function": Habit(
        _INTRINSIC,
        _PASS | {"Parameters": {"x.$": "States.Format('{} of {}', $.n, States.ArrayLength($.list))"}},
        "SUCCEEDED",
        {"x": "2 of 3"},
    ),
    "the name of the state": Habit(
        _CONTEXT, _PASS | {"Parameters": {"x.$": "$$.State.Name"}}, "SUCCEEDED", {"x": "First"}
    ),
    "a path that leads nowhere": Habit(
        _ERRORS,
        _PASS | {"Parameters": {"x.$": "$.gone"}},
        "FAILED",
        # The page has States.ParameterPathFailure as well. Histories of executions that people show have this one.
        "States.Runtime",
        {"ministack": ("SUCCEEDED", {"x": None})},
        MISSING,
    ),
    "a path of a result that leads nowhere": Habit(
        _ERRORS,
        _CALL | {"OutputPath": "$.gone"},
        "FAILED",
        "States.Runtime",
        {"ministack": ("SUCCEEDED", None)},
        MISSING,
    ),
    "a choice of what is not there": Habit(
        _CHOICE,
        {"Type": "Choice", "Choices": [{"Variable": "$.gone", "NumericEquals": 1, "Next": "Next"}], "Default": "Next"},
        "FAILED",
        "States.Runtime",
        dict.fromkeys(("ministack", "moto"), ("SUCCEEDED", {"n": 2, "list": [1, 2, 3]})),
        MISSING,
    ),
    "an error that is caught takes the place of the input": Habit(
        _ERRORS,
        {
            "Type": "Parallel",
            "Branches": [{"StartAt": "F", "States": {"F": {"Type": "Fail", "Error": "OwnError", "Cause": "c"}}}],
            "Catch": [{"ErrorEquals": ["OwnError"], "Next": "Next"}],
            "End": True,
        },
        "SUCCEEDED",
        {"Error": "OwnError", "Cause": "c"},
    ),
    "States.ALL does not catch States.Runtime": Habit(
        _ERRORS,
        _CALL | {"OutputPath": "$.gone", "Catch": _CAUGHT},
        "FAILED",
        "States.Runtime",
        {"ministack": ("SUCCEEDED", None)},
        MISSING,
    ),
    "whether something is there": Habit(
        _LANGUAGE,
        {"Type": "Choice", "Choices": [{"Variable": "$.gone", "IsPresent": True, "Next": "Bad"}], "Default": "Next"},
        "SUCCEEDED",
        {"n": 2, "list": [1, 2, 3]},
    ),
    "nothing chosen": Habit(
        _CHOICE,
        {"Type": "Choice", "Choices": [{"Variable": "$.n", "NumericEquals": 1, "Next": "Next"}]},
        "FAILED",
        # "A failure to transition out of the state": the language's States.NoChoiceMatched is what AWS does not say.
        "States.Runtime",
        {"ministack": ("FAILED", "States.NoChoiceMatched")},
    ),
    "a comparison of other types is false": Habit(
        _LANGUAGE,
        {"Type": "Choice", "Choices": [{"Variable": "$.n", "StringEquals": "2", "Next": "Bad"}], "Default": "Next"},
        "SUCCEEDED",
        {"n": 2, "list": [1, 2, 3]},
    ),
    "an error of a branch is that of the Parallel": Habit(
        _PARALLEL,
        {
            "Type": "Parallel",
            "Branches": [{"StartAt": "F", "States": {"F": {"Type": "Fail", "Error": "OwnError", "Cause": "c"}}}],
            "Catch": _CAUGHT,
            "End": True,
        },
        "SUCCEEDED",
        {"n": 2, "list": [1, 2, 3], "failure": {"Error": "OwnError", "Cause": "c"}},
    ),
    "an error of an item is that of the Map": Habit(
        _MAP,
        {
            "Type": "Map",
            "ItemsPath": "$.list",
            "ItemProcessor": {
                "ProcessorConfig": {"Mode": "INLINE"},
                "StartAt": "F",
                "States": {"F": {"Type": "Fail", "Error": "OwnError", "Cause": "c"}},
            },
            "Catch": _CAUGHT,
            "End": True,
        },
        "SUCCEEDED",
        {"n": 2, "list": [1, 2, 3], "failure": {"Error": "OwnError", "Cause": "c"}},
    ),
    "results of items are in their order": Habit(
        _MAP,
        {
            "Type": "Map",
            "ItemsPath": "$.list",
            "ItemSelector": {"v.$": "$$.Map.Item.Value", "i.$": "$$.Map.Item.Index", "n.$": "$.n"},
            "ItemProcessor": {"ProcessorConfig": {"Mode": "INLINE"}, "StartAt": "F", "States": {"F": _PASS}},
            "End": True,
        },
        "SUCCEEDED",
        [{"v": 1, "i": 0, "n": 2}, {"v": 2, "i": 1, "n": 2}, {"v": 3, "i": 2, "n": 2}],
    ),
    "results of branches are in their order": Habit(
        _PARALLEL,
        {
            "Type": "Parallel",
            "Branches": [
                {"StartAt": "F", "States": {"F": _PASS | {"Result": 1}}},
                {"StartAt": "G", "States": {"G": _PASS | {"Result": 2}}},
            ],
            "End": True,
        },
        "SUCCEEDED",
        [1, 2],
    ),
    "a slice gives a list": Habit(
        _PATHS,
        _PASS | {"Parameters": {"x.$": "$.list[0:2]"}},
        "SUCCEEDED",
        {"x": [1, 2]},
        {"ministack": ("SUCCEEDED", {"x": None})},
    ),
}


@pytest.mark.parametrize("interpreter", [run_ministack, run_moto])
@pytest.mark.parametrize("habit", HABITS)
def test_a_habit_of_the_language(habit: str, interpreter: Callable[..., Trace]) -> None:
    case = HABITS[habit]
    states = {"First": case.state, "Next": {"Type": "Succeed"}, "Bad": {"Type": "Fail", "Error": "BadError"}}
    definition = {"StartAt": "First", "States": states}
    found = interpreter(definition, Script(given={"n": 2, "list": [1, 2, 3]}, answers={"Call": ({"a": 1},)}))
    end = found.output if found.status == "SUCCEEDED" else found.error
    name = interpreter.__name__.removeprefix("run_")
    assert (found.status, end) == case.lax.get(name, (case.status, case.end))
    if case.lax and case.refused_by is None:
        assert [text for text in model_findings({**definition, "TimeoutSeconds": 60}) if "First" in text]
