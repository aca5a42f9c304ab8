"""The validator of state machines finds each of these mistakes, and none in what is right.

They were seeded to choose validators: docs/adr/0032-state-machines-are-validated-in-python.md.
"""

from pathlib import Path
from typing import Any

import pytest
import yaml

from local.validate_asl import findings, load, model_findings, moto_findings
from tests.template.loading import ROOT

MACHINE = """
Comment: One of every kind of state
StartAt: Prepare
TimeoutSeconds: 3600
States:
  Prepare:
    Type: Task
    Resource: ${PrepareFunctionArn}
    Parameters:
      name.$: $.name
      execution_arn.$: $$.Execution.Id
    ResultSelector:
      n.$: $.n
    ResultPath: $.plan
    TimeoutSeconds: 900
    Retry:
      - ErrorEquals: [Lambda.ServiceException, Sandbox.Timedout]
        IntervalSeconds: 2
        MaxAttempts: 6
        BackoffRate: 2
        MaxDelaySeconds: 60
        JitterStrategy: FULL
    Catch:
      - ErrorEquals: [States.ALL]
        ResultPath: $.error
        Next: Fail
    Next: Each
  Each:
    Type: Map
    ItemsPath: $.plan.n
    MaxConcurrency: 4
    ItemSelector:
      i.$: $$.Map.Item.Value
    ItemProcessor:
      ProcessorConfig:
        Mode: INLINE
      StartAt: One
      States:
        One:
          Type: Task
          Resource: ${OneFunctionArn}
          End: true
    ResultPath: null
    Next: Copy
  Copy:
    Type: Map
    ItemReader:
      Resource: arn:${Partition}:states:::s3:getObject
      ReaderConfig:
        InputType: JSON
      Parameters:
        Bucket.$: $.bucket
        Key.$: $.key
    MaxConcurrency: 16
    ToleratedFailurePercentage: 100
    ItemProcessor:
      ProcessorConfig:
        Mode: DISTRIBUTED
        ExecutionType: STANDARD
      StartAt: Batch
      States:
        Batch:
          Type: Task
          Resource: ${BatchFunctionArn}
          End: true
    ResultPath: null
    Next: Both
  Both:
    Type: Parallel
    Branches:
      - StartAt: A
        States:
          A:
            Type: Pass
            Result:
              x: 1
            End: true
      - StartAt: B
        States:
          B:
            Type: Succeed
    ResultPath: $.both
    Next: Wait
  Wait:
    Type: Wait
    Seconds: 5
    Next: Done?
  Done?:
    Type: Choice
    Choices:
      - Variable: $.plan.done
        BooleanEquals: true
        Next: Done
      - And:
          - Variable: $.plan.n
            IsPresent: true
          - Not:
              Variable: $.plan.n
              NumericGreaterThan: 3
        Next: Wait
    Default: Fail
  Fail:
    Type: Fail
    ErrorPath: $.error.Error
    CausePath: $.error.Cause
  Done:
    Type: Succeed
"""

REMOVED = object()

# What is wrong, where, with which value there, and words of the finding.
FAULTS: list[tuple[str, str, object, str]] = [
    ("no StartAt", "StartAt", REMOVED, "StartAt: Field required"),
    ("StartAt names no state", "StartAt", "Prepair", "machine: not one of the states here: Prepair"),
    ("no States", "States", REMOVED, "States: Field required"),
    ("no state in States", "States", {}, "States: Dictionary should have at least 1 item after validation, not 0"),
    ("unknown field of the machine", "Timeout", 5, "Timeout: Extra inputs are not permitted"),
    (
        "StartAt of a branch names no state",
        "States/Both/Branches/0/StartAt",
        "X",
        "States/Both/Parallel/Branches/0: not one of the states here: X",
    ),
    (
        "StartAt of a Map's processor names no state",
        "States/Each/ItemProcessor/StartAt",
        "X",
        "States/Each/Map/ItemProcessor: not one of the states here: X",
    ),
    ("no Next and no End", "States/Prepare/Next", REMOVED, "States/Prepare/Task: exactly one of Next, End, not 0"),
    ("Next and End", "States/Prepare/End", True, "States/Prepare/Task: exactly one of Next, End, not 2"),
    (
        "End is false",
        "States/Both/Branches/0/States/A/End",
        False,
        "States/Both/Parallel/Branches/0/States/A/Pass/End: Input should be True",
    ),
    ("Next names no state", "States/Prepare/Next", "Nowhere", "machine: not one of the states here: Nowhere"),
    (
        "Next leaves its Map",
        "States/Each/ItemProcessor/States/One",
        {"Type": "Pass", "Next": "Done"},
        "States/Each/Map/ItemProcessor: not one of the states here: Done",
    ),
    ("Next into a branch", "States/Wait/Next", "A", "machine: not one of the states here: A"),
    (
        "a state that nothing leads to",
        "States/Lost",
        {"Type": "Pass", "Next": "Done"},
        "machine: nothing leads to Lost",
    ),
    (
        "a state inside a branch that nothing leads to",
        "States/Both/Branches/0/States/Lost",
        {"Type": "Pass", "End": True},
        "States/Both/Parallel/Branches/0: nothing leads to Lost",
    ),
    (
        "two states of one name at different levels",
        "States/Both/Branches/0",
        {"StartAt": "Wait", "States": {"Wait": {"Type": "Pass", "End": True}}},
        "two states are called Wait",
    ),
    ("no Type", "States/Wait/Type", REMOVED, "States/Wait: Unable to extract tag"),
    ("unknown Type", "States/Wait/Type", "Sleep", "States/Wait: Input tag 'Sleep' found"),
    (
        "unknown field of a state",
        "States/Prepare/TimeoutSecond",
        5,
        "States/Prepare/Task/TimeoutSecond: Extra inputs are not permitted",
    ),
    (
        "field of another type of state",
        "States/Wait/Retry",
        [{"ErrorEquals": ["States.ALL"]}],
        "States/Wait/Wait/Retry: Extra inputs are not permitted",
    ),
    (
        "ResultPath on a Wait",
        "States/Wait/ResultPath",
        "$.x",
        "States/Wait/Wait/ResultPath: Extra inputs are not permitted",
    ),
    ("Next on a Succeed", "States/Done/Next", "Wait", "States/Done/Succeed/Next: Extra inputs are not permitted"),
    ("End on a Choice", "States/Done?/End", True, "States/Done?/Choice/End: Extra inputs are not permitted"),
    ("Next on a Choice", "States/Done?/Next", "Done", "States/Done?/Choice/Next: Extra inputs are not permitted"),
    ("Task without Resource", "States/Prepare/Resource", REMOVED, "States/Prepare/Task/Resource: Field required"),
    (
        "Resource that is no ARN",
        "States/Prepare/Resource",
        "dummy",
        "States/Prepare/Task/Resource: dummy is no ARN of what runs",
    ),
    (
        "TimeoutSeconds of 0",
        "States/Prepare/TimeoutSeconds",
        0,
        "States/Prepare/Task/TimeoutSeconds: Input should be greater than or equal to 1",
    ),
    (
        "TimeoutSeconds as text",
        "States/Prepare/TimeoutSeconds",
        "900",
        "States/Prepare/Task/TimeoutSeconds: Input should be a valid integer",
    ),
    (
        "TimeoutSeconds negative",
        "States/Prepare/TimeoutSeconds",
        -1,
        "States/Prepare/Task/TimeoutSeconds: Input should be greater than or equal to 1",
    ),
    (
        "HeartbeatSeconds above TimeoutSeconds",
        "States/Prepare/HeartbeatSeconds",
        1000,
        "States/Prepare/Task: HeartbeatSeconds must be below TimeoutSeconds",
    ),
    (
        "TimeoutSeconds and TimeoutSecondsPath",
        "States/Prepare/TimeoutSecondsPath",
        "$.x",
        "States/Prepare/Task/TimeoutSecondsPath: Extra inputs are not permitted",
    ),
    (
        "Retry without ErrorEquals",
        "States/Prepare/Retry/0/ErrorEquals",
        REMOVED,
        "States/Prepare/Task/Retry/0/ErrorEquals: Field required",
    ),
    (
        "ErrorEquals empty",
        "States/Prepare/Retry/0/ErrorEquals",
        [],
        "States/Prepare/Task/Retry/0/ErrorEquals: List should have at least 1 item after validation, not 0",
    ),
    (
        "ErrorEquals as text",
        "States/Prepare/Retry/0/ErrorEquals",
        "States.ALL",
        "States/Prepare/Task/Retry/0/ErrorEquals: Input should be a valid list",
    ),
    (
        "States.ALL beside others in Retry",
        "States/Prepare/Retry/0/ErrorEquals",
        ["States.ALL", "X"],
        "States/Prepare/Task/Retry: States.ALL must stand alone",
    ),
    (
        "an error of States that does not exist",
        "States/Prepare/Retry/0/ErrorEquals",
        ["States.TimeOut"],
        "States/Prepare/Task/Retry: States.TimeOut does not exist",
    ),
    (
        "BackoffRate below 1",
        "States/Prepare/Retry/0/BackoffRate",
        0.5,
        "States/Prepare/Task/Retry/0/BackoffRate: Input should be greater than or equal to 1",
    ),
    (
        "IntervalSeconds of 0",
        "States/Prepare/Retry/0/IntervalSeconds",
        0,
        "States/Prepare/Task/Retry/0/IntervalSeconds: Input should be greater than or equal to 1",
    ),
    (
        "MaxAttempts negative",
        "States/Prepare/Retry/0/MaxAttempts",
        -1,
        "States/Prepare/Task/Retry/0/MaxAttempts: Input should be greater than or equal to 0",
    ),
    (
        "MaxAttempts as text",
        "States/Prepare/Retry/0/MaxAttempts",
        "3",
        "States/Prepare/Task/Retry/0/MaxAttempts: Input should be a valid integer",
    ),
    (
        "MaxDelaySeconds not above IntervalSeconds",
        "States/Prepare/Retry/0/MaxDelaySeconds",
        1,
        "States/Prepare/Task/Retry/0: MaxDelaySeconds must be above IntervalSeconds",
    ),
    (
        "unknown JitterStrategy",
        "States/Prepare/Retry/0/JitterStrategy",
        "SOME",
        "States/Prepare/Task/Retry/0/JitterStrategy: Input should be 'FULL' or 'NONE'",
    ),
    (
        "unknown field of a Retry",
        "States/Prepare/Retry/0/MaxAttempt",
        2,
        "States/Prepare/Task/Retry/0/MaxAttempt: Extra inputs are not permitted",
    ),
    (
        "Retry on a Pass",
        "States/Both/Branches/0/States/A/Retry",
        [{"ErrorEquals": ["States.ALL"]}],
        "States/Both/Parallel/Branches/0/States/A/Pass/Retry: Extra inputs are not permitted",
    ),
    (
        "Catch on a Choice",
        "States/Done?/Catch",
        [{"ErrorEquals": ["States.ALL"], "Next": "Fail"}],
        "States/Done?/Choice/Catch: Extra inputs are not permitted",
    ),
    (
        "Catch without ErrorEquals",
        "States/Prepare/Catch/0/ErrorEquals",
        REMOVED,
        "States/Prepare/Task/Catch/0/ErrorEquals: Field required",
    ),
    ("Catch without Next", "States/Prepare/Catch/0/Next", REMOVED, "States/Prepare/Task/Catch/0/Next: Field required"),
    ("Catch to nowhere", "States/Prepare/Catch/0/Next", "Nowhere", "machine: not one of the states here: Nowhere"),
    (
        "States.ALL not last in Catch",
        "States/Prepare/Catch/1",
        {"ErrorEquals": ["X"], "Next": "Fail"},
        "States/Prepare/Task/Catch: States.ALL must be the last",
    ),
    (
        "unknown field of a Catch",
        "States/Prepare/Catch/0/MaxAttempts",
        2,
        "States/Prepare/Task/Catch/0/MaxAttempts: Extra inputs are not permitted",
    ),
    (
        "ResultPath of a Catch is no path",
        "States/Prepare/Catch/0/ResultPath",
        "error",
        "States/Prepare/Task/Catch/0/ResultPath: error is no path to one place in the input",
    ),
    ("Choice without Choices", "States/Done?/Choices", REMOVED, "States/Done?/Choice/Choices: Field required"),
    (
        "Choices empty",
        "States/Done?/Choices",
        [],
        "States/Done?/Choice/Choices: List should have at least 1 item after validation, not 0",
    ),
    ("Default names no state", "States/Done?/Default", "Nowhere", "machine: not one of the states here: Nowhere"),
    ("rule without Next", "States/Done?/Choices/0/Next", REMOVED, "States/Done?/Choice/Choices/0/Next: Field required"),
    (
        "rule whose Next names no state",
        "States/Done?/Choices/0/Next",
        "Nowhere",
        "machine: not one of the states here: Nowhere",
    ),
    (
        "rule without Variable",
        "States/Done?/Choices/0/Variable",
        REMOVED,
        "States/Done?/Choice/Choices/0: a Variable with one comparison, or one of And, Or, Not",
    ),
    (
        "Variable that is no path",
        "States/Done?/Choices/0/Variable",
        "plan.done",
        "States/Done?/Choice/Choices/0/Variable: plan.done is no path",
    ),
    (
        "rule without a comparison",
        "States/Done?/Choices/0/BooleanEquals",
        REMOVED,
        "States/Done?/Choice/Choices/0: a Variable with one comparison, or one of And, Or, Not",
    ),
    (
        "rule with two comparisons",
        "States/Done?/Choices/0/StringEquals",
        "x",
        "States/Done?/Choice/Choices/0: a Variable with one comparison, or one of And, Or, Not",
    ),
    (
        "unknown comparison",
        "States/Done?/Choices/0",
        {"Variable": "$.x", "BooleanEqual": True, "Next": "Done"},
        "States/Done?/Choice/Choices/0: BooleanEqual is no comparison with True",
    ),
    (
        "comparison with a value of another type",
        "States/Done?/Choices/0/BooleanEquals",
        "true",
        "States/Done?/Choice/Choices/0: BooleanEquals is no comparison with 'true'",
    ),
    (
        "a Next inside And",
        "States/Done?/Choices/1/And/0/Next",
        "Done",
        "States/Done?/Choice/Choices/1/And/0: a Variable with one comparison, or one of And, Or, Not",
    ),
    (
        "an empty And",
        "States/Done?/Choices/1/And",
        [],
        "States/Done?/Choice/Choices/1/And: List should have at least 1 item after validation, not 0",
    ),
    (
        "unknown comparison inside Not",
        "States/Done?/Choices/1/And/1/Not",
        {"Variable": "$.x", "NumericGreater": 3},
        "States/Done?/Choice/Choices/1/And/1/Not: NumericGreater is no comparison with 3",
    ),
    (
        "rule without Variable inside And",
        "States/Done?/Choices/1/And/0",
        {"IsPresent": True},
        "States/Done?/Choice/Choices/1/And/0: a Variable with one comparison, or one of And, Or, Not",
    ),
    (
        "Map without ItemProcessor",
        "States/Each/ItemProcessor",
        REMOVED,
        "States/Each/Map/ItemProcessor: Field required",
    ),
    (
        "Map with Iterator and ItemProcessor",
        "States/Each/Iterator",
        {"StartAt": "Old", "States": {"Old": {"Type": "Succeed"}}},
        "States/Each/Map/Iterator: Extra inputs are not permitted",
    ),
    (
        "processor without StartAt",
        "States/Each/ItemProcessor/StartAt",
        REMOVED,
        "States/Each/Map/ItemProcessor/StartAt: Field required",
    ),
    (
        "processor without States",
        "States/Each/ItemProcessor/States",
        REMOVED,
        "States/Each/Map/ItemProcessor/States: Field required",
    ),
    (
        "unknown Mode",
        "States/Each/ItemProcessor/ProcessorConfig/Mode",
        "PARALLEL",
        "States/Each/Map/ItemProcessor/ProcessorConfig/Mode: Input should be 'INLINE' or 'DISTRIBUTED'",
    ),
    (
        "distributed without ExecutionType",
        "States/Copy/ItemProcessor/ProcessorConfig/ExecutionType",
        REMOVED,
        "States/Copy/Map/ItemProcessor/ProcessorConfig: ExecutionType belongs to DISTRIBUTED, and DISTRIBUTED needs it",
    ),
    (
        "unknown ExecutionType",
        "States/Copy/ItemProcessor/ProcessorConfig/ExecutionType",
        "FAST",
        "States/Copy/Map/ItemProcessor/ProcessorConfig/ExecutionType: Input should be 'STANDARD' or 'EXPRESS'",
    ),
    (
        "ItemReader in an inline Map",
        "States/Each/ItemReader",
        {"Resource": "arn:aws:states:::s3:getObject", "Parameters": {}},
        "States/Each/Map: for distributed Maps: ItemReader",
    ),
    (
        "ToleratedFailurePercentage in an inline Map",
        "States/Each/ToleratedFailurePercentage",
        5,
        "States/Each/Map: for distributed Maps: ToleratedFailurePercentage",
    ),
    (
        "ToleratedFailurePercentage above 100",
        "States/Copy/ToleratedFailurePercentage",
        101,
        "States/Copy/Map/ToleratedFailurePercentage: Input should be less than or equal to 100",
    ),
    (
        "MaxConcurrency negative",
        "States/Each/MaxConcurrency",
        -1,
        "States/Each/Map/MaxConcurrency: Input should be greater than or equal to 0",
    ),
    (
        "MaxConcurrency as text",
        "States/Each/MaxConcurrency",
        "4",
        "States/Each/Map/MaxConcurrency: Input should be a valid integer",
    ),
    ("ItemsPath that is no path", "States/Each/ItemsPath", "plan", "States/Each/Map/ItemsPath: plan is no path"),
    (
        "ItemSelector and Parameters",
        "States/Each/Parameters",
        {"a": 1},
        "States/Each/Map: one of ItemSelector, Parameters, not both",
    ),
    (
        "unknown field of a Map",
        "States/Each/MaxConcurency",
        1,
        "States/Each/Map/MaxConcurency: Extra inputs are not permitted",
    ),
    (
        "ItemReader without Resource",
        "States/Copy/ItemReader/Resource",
        REMOVED,
        "States/Copy/Map/ItemReader/Resource: Field required",
    ),
    (
        "unknown InputType",
        "States/Copy/ItemReader/ReaderConfig/InputType",
        "YAML",
        "States/Copy/Map/ItemReader/ReaderConfig/InputType: Input should be 'CSV', 'JSON', 'JSONL' or 'MANIFEST'",
    ),
    ("Parallel without Branches", "States/Both/Branches", REMOVED, "States/Both/Parallel/Branches: Field required"),
    (
        "Branches empty",
        "States/Both/Branches",
        [],
        "States/Both/Parallel/Branches: List should have at least 1 item after validation, not 0",
    ),
    (
        "branch without StartAt",
        "States/Both/Branches/0/StartAt",
        REMOVED,
        "States/Both/Parallel/Branches/0/StartAt: Field required",
    ),
    (
        "Wait without a time",
        "States/Wait/Seconds",
        REMOVED,
        "States/Wait/Wait: exactly one of Seconds, SecondsPath, Timestamp, TimestampPath, not 0",
    ),
    (
        "Wait with two times",
        "States/Wait/SecondsPath",
        "$.x",
        "States/Wait/Wait: exactly one of Seconds, SecondsPath, Timestamp, TimestampPath, not 2",
    ),
    ("Seconds as text", "States/Wait/Seconds", "5", "States/Wait/Wait/Seconds: Input should be a valid integer"),
    (
        "Seconds negative",
        "States/Wait/Seconds",
        -5,
        "States/Wait/Wait/Seconds: Input should be greater than or equal to 0",
    ),
    (
        "Seconds with a fraction",
        "States/Wait/Seconds",
        1.5,
        "States/Wait/Wait/Seconds: Input should be a valid integer",
    ),
    (
        "Timestamp that is none",
        "States/Wait",
        {"Type": "Wait", "Timestamp": "tomorrow", "Next": "Done?"},
        "States/Wait/Wait/Timestamp: Input should be a valid datetime",
    ),
    ("Error and ErrorPath", "States/Fail/Error", "X", "States/Fail/Fail: one of Error, ErrorPath, not both"),
    (
        "Cause that is no text",
        "States/Fail",
        {"Type": "Fail", "Error": "X", "Cause": 5},
        "States/Fail/Fail/Cause: Input should be a valid string",
    ),
    ("ErrorPath that is no path", "States/Fail/ErrorPath", "error", "States/Fail/Fail/ErrorPath: error is no path"),
    ("Next on a Fail", "States/Fail/Next", "Done", "States/Fail/Fail/Next: Extra inputs are not permitted"),
    (
        "InputPath on a Fail",
        "States/Fail/InputPath",
        "$.x",
        "States/Fail/Fail/InputPath: Extra inputs are not permitted",
    ),
    (
        "ResultPath that is no path",
        "States/Prepare/ResultPath",
        "plan",
        "States/Prepare/Task/ResultPath: plan is no path to one place in the input",
    ),
    (
        "ResultPath with a filter",
        "States/Prepare/ResultPath",
        "$.plan[*]",
        "States/Prepare/Task/ResultPath: $.plan[*] is no path to one place in the input",
    ),
    (
        "ResultPath into the context",
        "States/Prepare/ResultPath",
        "$$.x",
        "States/Prepare/Task/ResultPath: $$.x is no path to one place in the input",
    ),
    ("InputPath that is no path", "States/Prepare/InputPath", "x", "States/Prepare/Task/InputPath: x is no path"),
    (
        "InputPath with a bracket open",
        "States/Prepare/InputPath",
        "$.x[0",
        "States/Prepare/Task/InputPath: $.x[0 is no path",
    ),
    ("OutputPath that is no path", "States/Prepare/OutputPath", "x", "States/Prepare/Task/OutputPath: x is no path"),
    (
        "parameter .$ that is no path",
        "States/Prepare/Parameters/name.$",
        "name",
        "States/Prepare/Task/Parameters: name.$ holds neither a path nor an intrinsic function: name",
    ),
    (
        "parameter .$ that is no text",
        "States/Prepare/Parameters/name.$",
        5,
        "States/Prepare/Task/Parameters: name.$ holds neither a path nor an intrinsic function: 5",
    ),
    (
        "path without .$ is taken as it is",
        "States/Prepare/Parameters/name",
        "$.name",
        "States/Prepare/Task/Parameters: name holds the text $.name: the name of a path ends with .$",
    ),
    (
        "parameter .$ with a bracket open",
        "States/Prepare/Parameters/name.$",
        "$.name[0",
        "States/Prepare/Task/Parameters: name.$ holds neither a path nor an intrinsic function: $.name[0",
    ),
    (
        "parameter .$ with a path of nothing",
        "States/Prepare/Parameters/name.$",
        "$.",
        "States/Prepare/Task/Parameters: name.$ holds neither a path nor an intrinsic function: $.",
    ),
    (
        "unknown field of the context",
        "States/Prepare/Parameters/x.$",
        "$$.Execution.Arn",
        "States/Prepare/Task/Parameters: x.$ holds neither a path nor an intrinsic function: $$.Execution.Arn",
    ),
    (
        "unknown intrinsic function",
        "States/Prepare/Parameters/x.$",
        "States.Concat('a', 'b')",
        "States/Prepare/Task/Parameters: x.$ holds neither a path nor an intrinsic function: States.Concat('a', 'b')",
    ),
    (
        "intrinsic function with a bracket open",
        "States/Prepare/Parameters/x.$",
        "States.Format('{}', $.a",
        "States/Prepare/Task/Parameters: x.$ holds neither a path nor an intrinsic function: States.Format('{}', $.a",
    ),
    (
        "ResultSelector .$ that is no path",
        "States/Prepare/ResultSelector/n.$",
        "n",
        "States/Prepare/Task/ResultSelector: n.$ holds neither a path nor an intrinsic function: n",
    ),
    (
        "ItemSelector .$ that is no path",
        "States/Each/ItemSelector/i.$",
        "i",
        "States/Each/Map/ItemSelector: i.$ holds neither a path nor an intrinsic function: i",
    ),
    ("QueryLanguage unknown", "QueryLanguage", "JMESPath", "QueryLanguage: Extra inputs are not permitted"),
    (
        "Arguments with JSONPath",
        "States/Prepare/Arguments",
        {"a": 1},
        "States/Prepare/Task/Arguments: Extra inputs are not permitted",
    ),
    (
        "a variable that nobody assigns",
        "States/Prepare/Parameters/x.$",
        "$nothing",
        "States/Prepare/Task/Parameters: x.$ holds neither a path nor an intrinsic function: $nothing",
    ),
    (
        "Assign of a name that is none",
        "States/Prepare/Assign",
        {"1x": 1},
        "States/Prepare/Task/Assign: Extra inputs are not permitted",
    ),
    ("Comment that is no text", "Comment", 5, "Comment: Input should be a valid string"),
    (
        "States.ALL not last in Retry",
        "States/Prepare/Retry",
        [{"ErrorEquals": ["States.ALL"]}, {"ErrorEquals": ["X"]}],
        "States/Prepare/Task/Retry: States.ALL must be the last",
    ),
    ("name of a state longer than 80", f"States/{'x' * 81}", {"Type": "Succeed"}, "should have at most 80 characters"),
]


def changed(path: str, value: object) -> dict[str, Any]:
    """Return the machine with another value at a place."""
    machine = load(MACHINE)
    *way, last = [int(name) if name.isdigit() else name for name in path.split("/")]
    part: Any = machine
    for name in way:
        part = part[name]
    if value is REMOVED:
        del part[last]
    elif isinstance(part, list) and last == len(part):
        part.append(value)
    else:
        part[last] = value
    return machine


def test_a_machine_without_a_mistake_has_no_finding() -> None:
    assert list(findings(load(MACHINE))) == []


@pytest.mark.parametrize(("path", "value", "words"), [pytest.param(*fault, id=name) for name, *fault in FAULTS])
def test_a_mistake_is_found(path: str, value: object, words: str) -> None:
    found = list(model_findings(changed(path, value)))
    assert any(words in finding for finding in found), found


def test_states_that_lead_to_each_other_alone_are_found() -> None:
    machine = changed("States/There", {"Type": "Pass", "Next": "Back"})
    machine["States"]["Back"] = {"Type": "Pass", "Next": "There"}
    assert list(model_findings(machine)) == ["machine: nothing leads to Back, There"]


def test_a_loop_without_a_way_out_is_found() -> None:
    machine = changed("States/Wait", {"Type": "Pass", "Next": "Again"})
    machine["States"]["Again"] = {"Type": "Pass", "Next": "Wait"}
    del machine["States"]["Done?"], machine["States"]["Done"]
    assert list(model_findings(machine)) == ["machine: no end is reached from Again, Both, Copy, Each, Wait"]


@pytest.mark.parametrize(
    ("line", "name"),
    [("StartAt: Prepare\n", "StartAt"), ("  Done:\n    Type: Succeed\n", "Done"), ("    Seconds: 5\n", "Seconds")],
)
def test_what_stands_twice_is_found(line: str, name: str) -> None:
    with pytest.raises(yaml.YAMLError, match=f"{name} stands twice"):
        load(MACHINE.replace(line, line + line))


def test_a_substitution_that_is_none_is_found() -> None:
    machine = load(MACHINE.replace("Comment: One", "Comment: ${The-Name} One"))
    assert list(model_findings(machine)) == [
        "a substitution is left: its name has characters that CloudFormation does not substitute"
    ]


@pytest.mark.parametrize("path", sorted((ROOT / "statemachine").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_state_machines_are_valid(path: Path) -> None:
    assert list(model_findings(load(path.read_text()))) == []


def test_moto_finds_what_the_model_does_not_look_at() -> None:
    machine = changed("States/Prepare/Parameters/x.$", "States.ArrayLength()")
    assert list(model_findings(machine)) == []
    assert [finding.partition(" for ")[0] for finding in moto_findings(machine)] == ["moto: Expected 1 argument"]
