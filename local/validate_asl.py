"""Validate state machine files: `python -m local.validate_asl statemachine/*.asl.yaml`.

A model of Amazon States Language, as far as the files use it, and of how states lead to each other; then moto's parser,
for a second opinion. What the language has and the model lacks is refused until somebody adds it. Prints each finding
and ends with 1 if there is any.
"""

import json
import logging
import re
import sys
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, override

import yaml
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser, ASLParserException
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_pascal

# What stands in for a substitution: the first pattern that its name matches says what it holds.
_SUBSTITUTION = re.compile(r"\$\{(\w+)\}")
_DUMMIES = {
    re.compile(r"Arn$"): "arn:aws:lambda:us-east-1:123456789012:function:dummy",
    re.compile(r"^Partition$"): "aws",
    re.compile(r""): "1",
}

# States.* names that a Retry or Catch can match, from the Amazon States Language specification and AWS's
# guide to error handling.
_RESERVED_ERRORS = {
    "States.ALL",
    "States.BranchFailed",
    "States.DataLimitExceeded",
    "States.ExceedToleratedFailureThreshold",
    "States.HeartbeatTimeout",
    "States.Http.Socket",
    "States.IntrinsicFailure",
    "States.ItemReaderFailed",
    "States.NoChoiceMatched",
    "States.ParameterPathFailure",
    "States.Permissions",
    "States.QueryEvaluationError",
    "States.ResultPathMatchFailure",
    "States.ResultWriterFailed",
    "States.Runtime",
    "States.TaskFailed",
    "States.Timeout",
}

_STEP = r"(\.\w+|\[(\d+|\*|'[^']+')\])*$"
_CONTEXT = (
    r"\$\$\.(Execution\.(Id|Input|Name|RedriveCount|RedriveTime|RoleArn|StartTime)|State\.(EnteredTime|Name|RetryCount)"
    r"|StateMachine\.(Id|Name)|Map\.Item\.(Index|Key|Source|Value)|Task\.Token)"
)
_PATH = rf"^(\$|{_CONTEXT}){_STEP}"
_INTRINSIC = re.compile(
    r"^States\.(Array|ArrayContains|ArrayGetItem|ArrayLength|ArrayPartition|ArrayRange|ArrayUnique|Base64Decode"
    r"|Base64Encode|Format|Hash|JsonMerge|JsonToString|MathAdd|MathRandom|StringSplit|StringToJson|UUID)\(.*\)$"
)

_ORDERS = ("Equals", "GreaterThan", "GreaterThanEquals", "LessThan", "LessThanEquals")
_COMPARISONS: Mapping[str, type | tuple[type, ...]] = {
    **{f"{kind}{order}": str for kind in ("String", "Timestamp") for order in _ORDERS},
    **{f"Numeric{order}": (int, float) for order in _ORDERS},
    **{f"{kind}{order}Path": str for kind in ("Numeric", "String", "Timestamp") for order in _ORDERS},
    **{f"Is{kind}": bool for kind in ("Boolean", "Null", "Numeric", "Present", "String", "Timestamp")},
    "BooleanEquals": bool,
    "BooleanEqualsPath": str,
    "StringMatches": str,
}


def _check_template(template: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Return a payload template whose paths are such, and whose names tell them from values."""
    for key, value in template.items():
        if key.endswith(".$"):
            if not isinstance(value, str) or not (re.match(_PATH, value) or _INTRINSIC.match(value)):
                msg = f"{key} holds neither a path nor an intrinsic function: {value}"
                raise ValueError(msg)
        elif isinstance(value, str) and value.startswith("$"):
            msg = f"{key} holds the text {value}: the name of a path ends with .$"
            raise ValueError(msg)
        elif isinstance(value, dict):
            _check_template(value)
    return template


def _matching(pattern: str, what: str) -> AfterValidator:
    """Return a check of texts that says what they should be."""

    def check(text: str) -> str:
        if re.match(pattern, text) is None:
            msg = f"{text} is no {what}"
            raise ValueError(msg)
        return text

    return AfterValidator(check)


type _Name = Annotated[str, StringConstraints(min_length=1, max_length=80)]
type _AnyPath = Annotated[str, _matching(_PATH, "path")]
# To where a result goes: one place in the state's input.
type _Place = Annotated[str, _matching(r"^\$(\.\w+|\[(\d+|'[^']+')\])*$", "path to one place in the input")]
type _Template = Annotated[dict[str, JsonValue], AfterValidator(_check_template)]
type _Seconds = Annotated[int, Field(ge=1, le=99_999_999)]


class _Part(BaseModel):
    """A part of a definition: nothing else is in it, and numbers are no texts."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, alias_generator=to_pascal)

    def _has_one_of(self, *names: str) -> None:
        if len(given := [name for name in names if name in self.model_fields_set]) != 1:
            msg = f"exactly one of {', '.join(map(to_pascal, names))}, not {len(given)}"
            raise ValueError(msg)

    def _has_at_most_one_of(self, *names: str) -> None:
        if self.model_fields_set.issuperset(names):
            msg = f"one of {', '.join(map(to_pascal, names))}, not both"
            raise ValueError(msg)


class _Retry(_Part):
    error_equals: Annotated[list[str], Field(min_length=1)]
    interval_seconds: _Seconds = 1
    max_attempts: Annotated[int, Field(ge=0)] = 3
    backoff_rate: Annotated[float, Field(ge=1)] = 2
    max_delay_seconds: _Seconds | None = None
    jitter_strategy: Literal["FULL", "NONE"] = "NONE"

    @model_validator(mode="after")
    def _waits_longer_in_the_end(self) -> Self:
        if self.max_delay_seconds is not None and self.max_delay_seconds <= self.interval_seconds:
            msg = "MaxDelaySeconds must be above IntervalSeconds"
            raise ValueError(msg)
        return self


class _Catch(_Part):
    error_equals: Annotated[list[str], Field(min_length=1)]
    next: _Name
    result_path: _Place | None = "$"


def _check_errors[T: _Retry | _Catch](entries: list[T]) -> list[T]:
    """Return entries that can all match."""
    for number, entry in enumerate(entries):
        if "States.ALL" in entry.error_equals and len(entry.error_equals) > 1:
            msg = "States.ALL must stand alone"
            raise ValueError(msg)
        if "States.ALL" in entry.error_equals and number != len(entries) - 1:
            msg = "States.ALL must be the last"
            raise ValueError(msg)
        for error in entry.error_equals:
            if error.startswith("States.") and error not in _RESERVED_ERRORS:
                msg = f"{error} does not exist"
                raise ValueError(msg)
    return entries


type _Retries = Annotated[list[_Retry], AfterValidator(_check_errors)]
type _Catches = Annotated[list[_Catch], AfterValidator(_check_errors)]


class _Rule(_Part):
    """A comparison, or several that are joined; which comparison is among the extra fields."""

    model_config = ConfigDict(extra="allow")

    variable: _AnyPath | None = None
    and_: Annotated[list["_Rule"], Field(min_length=1)] | None = Field(None, alias="And")
    or_: Annotated[list["_Rule"], Field(min_length=1)] | None = Field(None, alias="Or")
    not_: "_Rule | None" = Field(None, alias="Not")

    @model_validator(mode="after")
    def _compares(self) -> Self:
        compared = self.model_extra or {}
        joined = [name for name in ("and_", "or_", "not_") if name in self.model_fields_set]
        if len(compared) + len(joined) != 1 or bool(compared) != (self.variable is not None):
            msg = "a Variable with one comparison, or one of And, Or, Not"
            raise ValueError(msg)
        for name, value in compared.items():
            wanted = _COMPARISONS.get(name)
            if wanted is None or not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
                msg = f"{name} is no comparison with {value!r}"
                raise ValueError(msg)
            if name.endswith("Path") and not re.match(_PATH, str(value)):
                msg = f"{name} holds no path: {value}"
                raise ValueError(msg)
        return self


class _Choices(_Rule):
    """A rule of a Choice: unlike those inside it, it says where to go."""

    next: _Name


class _State(_Part):
    comment: str = ""

    def targets(self) -> Iterator[str]:
        """Yield the states that may follow."""
        yield from ()


class _WithInput(_State):
    input_path: _AnyPath | None = "$"
    output_path: _AnyPath | None = "$"


class _Following(_WithInput):
    next: _Name | None = None
    end: Literal[True] | None = None

    @model_validator(mode="after")
    def _ends_or_goes_on(self) -> Self:
        self._has_one_of("next", "end")
        return self

    @override
    def targets(self) -> Iterator[str]:
        if self.next is not None:
            yield self.next


class _WithResult(_Following):
    parameters: _Template = {}
    result_path: _Place | None = "$"


class _Working(_WithResult):
    result_selector: _Template = {}
    retry: _Retries = []
    catch: _Catches = []

    @override
    def targets(self) -> Iterator[str]:
        yield from super().targets()
        yield from (catcher.next for catcher in self.catch)


class _Pass(_WithResult):
    type: Literal["Pass"]
    result: JsonValue = None


class _Task(_Working):
    type: Literal["Task"]
    resource: Annotated[str, _matching(r"^arn:aws[\w-]*:(lambda|states):[^:]*:[^:]*:.+$", "ARN of what runs")]
    timeout_seconds: _Seconds = 99_999_999
    heartbeat_seconds: _Seconds | None = None

    @model_validator(mode="after")
    def _beats_before_its_end(self) -> Self:
        if self.heartbeat_seconds is not None and self.heartbeat_seconds >= self.timeout_seconds:
            msg = "HeartbeatSeconds must be below TimeoutSeconds"
            raise ValueError(msg)
        return self


class _Wait(_Following):
    type: Literal["Wait"]
    seconds: Annotated[int, Field(ge=0, le=99_999_999)] | None = None
    seconds_path: _AnyPath | None = None
    timestamp: Annotated[AwareDatetime, Field(strict=False)] | None = None
    timestamp_path: _AnyPath | None = None

    @model_validator(mode="after")
    def _knows_how_long(self) -> Self:
        self._has_one_of("seconds", "seconds_path", "timestamp", "timestamp_path")
        return self


class _Choice(_WithInput):
    type: Literal["Choice"]
    choices: Annotated[list[_Choices], Field(min_length=1)]
    # Without one an execution fails with States.NoChoiceMatched.
    default: _Name

    @override
    def targets(self) -> Iterator[str]:
        yield from (rule.next for rule in self.choices)
        yield self.default


class _Succeed(_WithInput):
    type: Literal["Succeed"]


class _Fail(_State):
    type: Literal["Fail"]
    error: str = ""
    error_path: _AnyPath | None = None
    cause: str = ""
    cause_path: _AnyPath | None = None

    @model_validator(mode="after")
    def _says_it_once(self) -> Self:
        self._has_at_most_one_of("error", "error_path")
        self._has_at_most_one_of("cause", "cause_path")
        return self


class _Flow(_Part):
    comment: str = ""
    start_at: _Name
    states: Annotated[
        dict[
            _Name,
            Annotated[
                "_Pass | _Task | _Wait | _Choice | _Succeed | _Fail | _Map | _Parallel", Field(discriminator="type")
            ],
        ],
        Field(min_length=1),
    ]

    @model_validator(mode="after")
    def _leads_through_all_states_to_an_end(self) -> Self:
        following = {name: list(state.targets()) for name, state in self.states.items()}
        wanted = {self.start_at, *(target for targets in following.values() for target in targets)}
        if missing := sorted(wanted - following.keys()):
            msg = f"not one of the states here: {', '.join(missing)}"
            raise ValueError(msg)
        reached = _closure({self.start_at}, following)
        if lost := sorted(following.keys() - reached):
            msg = f"nothing leads to {', '.join(lost)}"
            raise ValueError(msg)
        leading: dict[str, list[str]] = {name: [] for name in following}
        for name, targets in following.items():
            for target in targets:
                leading[target].append(name)
        if caught := sorted(reached - _closure({name for name, targets in following.items() if not targets}, leading)):
            msg = f"no end is reached from {', '.join(caught)}"
            raise ValueError(msg)
        return self

    def names(self) -> Iterator[str]:
        """Yield the names of all states, also of those inside branches and Maps."""
        for name, state in self.states.items():
            yield name
            for inner in state.branches if isinstance(state, _Parallel) else ():
                yield from inner.names()
            if isinstance(state, _Map):
                yield from state.item_processor.names()


def _closure(found: set[str], following: Mapping[str, Sequence[str]]) -> set[str]:
    """Return the states, and all that follow them."""
    new = set(found)
    while new:
        new = {target for name in new for target in following[name]} - found
        found = found | new
    return found


class _ProcessorConfig(_Part):
    mode: Literal["INLINE", "DISTRIBUTED"] = "INLINE"
    execution_type: Literal["STANDARD", "EXPRESS"] | None = None

    @model_validator(mode="after")
    def _says_what_it_starts(self) -> Self:
        if (self.mode == "DISTRIBUTED") != (self.execution_type is not None):
            msg = "ExecutionType belongs to DISTRIBUTED, and DISTRIBUTED needs it"
            raise ValueError(msg)
        return self


class _Processor(_Flow):
    processor_config: _ProcessorConfig = _ProcessorConfig()


class _ReaderConfig(_Part):
    input_type: Literal["CSV", "JSON", "JSONL", "MANIFEST"]


class _ItemReader(_Part):
    resource: Annotated[str, _matching(r"^arn:aws[\w-]*:states:::s3:(getObject|listObjectsV2)$", "reader")]
    reader_config: _ReaderConfig | None = None
    parameters: _Template


class _Map(_Working):
    type: Literal["Map"]
    item_processor: _Processor
    items_path: _AnyPath | None = None
    item_selector: _Template = {}
    max_concurrency: Annotated[int, Field(ge=0)] = 0
    item_reader: _ItemReader | None = None
    tolerated_failure_percentage: Annotated[float, Field(ge=0, le=100)] | None = None

    @model_validator(mode="after")
    def _has_what_its_mode_has(self) -> Self:
        self._has_at_most_one_of("item_selector", "parameters")
        distributed_only = self.model_fields_set & {"item_reader", "tolerated_failure_percentage"}
        if distributed_only and self.item_processor.processor_config.mode == "INLINE":
            msg = f"for distributed Maps: {', '.join(sorted(map(to_pascal, distributed_only)))}"
            raise ValueError(msg)
        return self


class _Parallel(_Working):
    type: Literal["Parallel"]
    branches: Annotated[list[_Flow], Field(min_length=1)]


class _Machine(_Flow):
    # Without one an execution may last a year.
    timeout_seconds: _Seconds


class _UniqueKeys(yaml.SafeLoader):
    """YAML of which no name stands twice: the last one would count, in silence."""

    @override
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        counted = Counter(key.value for key, _ in node.value)
        for name, times in counted.items():
            if times > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{name} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def load(text: str, substitutions: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the definition as CloudFormation would make it: substitute in the text, then read the YAML.

    Args:
        text: the file.
        substitutions: values by name; dummies stand in for those that are not given.
    """

    def value(match: re.Match[str]) -> str:
        dummy = next(dummy for pattern, dummy in _DUMMIES.items() if pattern.search(match[1]))
        return (substitutions or {}).get(match[1], dummy)

    definition: dict[str, Any] = yaml.load(_SUBSTITUTION.sub(value, text), _UniqueKeys)  # noqa: S506 - a SafeLoader
    return definition


def findings(definition: Mapping[str, Any]) -> Iterator[str]:
    """Yield the mistakes in a definition: what the model finds, and what moto does."""
    yield from model_findings(definition)
    yield from moto_findings(definition)


def model_findings(definition: Mapping[str, Any]) -> Iterator[str]:
    """Yield what contradicts the model of the language."""
    if "${" in json.dumps(definition):
        yield "a substitution is left: its name has characters that CloudFormation does not substitute"
    try:
        machine = _Machine.model_validate(definition)
    except ValidationError as err:
        for error in err.errors():
            yield f"{'/'.join(map(str, error['loc'])) or 'machine'}: {error['msg'].removeprefix('Value error, ')}"
    else:
        yield from (f"two states are called {name}" for name, times in Counter(machine.names()).items() if times > 1)


def moto_findings(definition: Mapping[str, Any]) -> Iterator[str]:
    """Yield what moto's parser finds; it stops at the first."""
    logging.getLogger("moto").setLevel(logging.ERROR)
    try:
        AmazonStateLanguageParser.parse(text_for_moto(definition))
    except (ASLParserException, RuntimeError, TypeError, ValueError) as err:
        yield f"moto: {err}"


def text_for_moto(definition: Mapping[str, Any]) -> str:
    """Return a definition as moto's parser takes it: only numbers with a point, where it should take any."""
    return re.sub(r'("ToleratedFailurePercentage": \d+)(?=[,}])', r"\1.0", json.dumps(definition))


def main(paths: list[str]) -> int:
    """Validate the files; return 1 if there is a finding, or nothing to validate."""
    found = [f"{path}: {finding}" for path in paths for finding in _findings_in(path)]
    for finding in found:
        print(finding, file=sys.stderr)
    if not found:
        print(f"{len(paths)} state machines are valid")
    return 1 if found or not paths else 0


def _findings_in(path: str) -> Iterator[str]:
    try:
        definition = load(Path(path).read_text())
    except yaml.YAMLError as err:
        yield str(err)
    else:
        yield from findings(definition)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
