"""Say what CloudFormation would refuse of a deployment, before anything is uploaded: `make deploy` asks it first.

    python -m tools.parameters [what `sam deploy` is to be given]

The name of the stack and its parameters are those of the arguments, else those of samconfig.toml, as for `sam deploy`.
Of each parameter its type and constraints in template.yaml are looked at, of all together its Rules, and of the stack's
name whether all names that are made of it keep within AWS' limits, and of both how large the policies of roles become,
which no rule of CloudFormation can tell. Where
something would be refused it ends with 1, and with a line for each mistake on standard error. A parameter that is not
given is only noted: `sam deploy` leaves to a stack that is there what it has. Of `--guided` nothing is known yet.
"""

import argparse
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from samtranslator.yaml_helper import yaml_parse

from tools.resolved import MAX_POLICY_CHARACTERS, Resolved

ROOT = Path(__file__).parents[1]

type Data = dict[str, Any]

# How long AWS lets a name be, by the property that gives it: the quotas of each service, and its API reference.
NAME_LIMITS = {
    ("AWS::ApiGateway::RestApi", "Name"): 1024,
    ("AWS::CloudWatch::Dashboard", "DashboardName"): 255,
    ("AWS::Logs::LogGroup", "LogGroupName"): 512,
    ("AWS::SNS::Topic", "DisplayName"): 100,
    ("AWS::Scheduler::Schedule", "Name"): 64,
    ("AWS::Scheduler::ScheduleGroup", "Name"): 64,
    ("AWS::StepFunctions::StateMachine", "StateMachineName"): 80,
}
# By which names the template gives to SAM what becomes these.
_OF_SAM = {
    "AWS::Serverless::Api": ("AWS::ApiGateway::RestApi", "Name", "Name"),
    "AWS::Serverless::StateMachine": ("AWS::StepFunctions::StateMachine", "Name", "StateMachineName"),
}
_STACK = "${AWS::StackName}"


def stack_names(template: Data) -> Iterator[tuple[str, int]]:
    """Yield each name that has the stack's in it, as text with `${AWS::StackName}`, and how long it may be."""
    for resource in template["Resources"].values():
        for property_, value in resource.get("Properties", {}).items():
            kind, own, made = _OF_SAM.get(resource["Type"], (resource["Type"], property_, property_))
            if own == property_ and (limit := NAME_LIMITS.get((kind, made))) is not None:
                text = (
                    _STACK
                    if value == {"Ref": "AWS::StackName"}
                    else value.get("Fn::Sub", "")
                    if _is_data(value)
                    else ""
                )
                if _STACK in text:
                    yield text, limit


def longest_stack_name(template: Data) -> int:
    """Return how many characters the name of a stack may have, so that no name that is made of it is too long."""
    return min(limit - len(text.replace(_STACK, "")) for text, limit in stack_names(template))


def refusals(template: Data, stack_name: str, given: Mapping[str, str]) -> list[str]:
    """Return why CloudFormation would not take these parameters for a stack of this name; nothing where it would."""
    longest = longest_stack_name(template)
    found = []
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", stack_name):
        found.append(f"stack name '{stack_name}': letters, digits and hyphens, beginning with a letter")
    if len(stack_name) > longest:
        found.append(
            f"stack name '{stack_name}' has {len(stack_name)} characters; names are made of it, and allow {longest}"
        )
    parameters = template["Parameters"]
    found += [f"{name}: the template has no such parameter" for name in given if name not in parameters]
    values = {}
    for name, parameter in parameters.items():
        value = given.get(name, parameter.get("Default"))
        if value is None:
            continue
        values[name] = str(value)
        if reason := _mistake(parameter, str(value)):
            found.append(f"{name} '{value}': {reason}")
    # Rules ask for values: without one there is nothing to say.
    if set(values) == set(parameters):
        are_lists = {name for name, parameter in parameters.items() if "List" in parameter["Type"]}
        found += broken_rules(
            template, {name: value.split(",") if name in are_lists else value for name, value in values.items()}
        )
    return found


def too_large(template: Data, stack_name: str, given: Mapping[str, str]) -> list[str]:
    """Return the roles whose policies would be too large for IAM, of parameters and a name that else are taken.

    Each right names its objects with bucket and prefix: what is far below the quota with usual names is above it where
    all that is optional is given, with names of the greatest length.
    """
    return [
        f"{role}: its rights would have {size:,} characters, and IAM allows {MAX_POLICY_CHARACTERS:,}; "
        "shorter names of buckets, prefixes or of the stack have room"
        for role, size in Resolved(template, stack_name, given).policy_sizes()
        if size > MAX_POLICY_CHARACTERS
    ]


def not_given(template: Data, given: Mapping[str, str]) -> list[str]:
    """Return the parameters that have no default and were not given: only a stack that is there has values of them."""
    return [name for name, one in template["Parameters"].items() if name not in given and "Default" not in one]


def broken_rules(template: Data, values: Mapping[str, str | list[str]]) -> list[str]:
    """Return what the template's rules say against these values of all parameters; lists are given as lists."""
    return [
        assertion["AssertDescription"]
        for rule in template["Rules"].values()
        if _holds(rule.get("RuleCondition", {"Fn::Equals": ["", ""]}), values)
        for assertion in rule["Assertions"]
        if not _holds(assertion["Assert"], values)
    ]


def _holds(condition: Data, values: Mapping[str, str | list[str]]) -> bool:
    """Evaluate a condition of a rule. Raises ValueError for a function that this template had none of so far."""
    ((function, arguments),) = condition.items()
    if function == "Fn::Not":
        return not _holds(arguments[0], values)
    one, other = (values[part["Ref"]] if _is_data(part) else part for part in arguments)
    if function == "Fn::Equals":
        return bool(one == other)
    if function == "Fn::EachMemberEquals":
        return all(member == other for member in one)
    msg = f"{function} of a rule is not known here: add it"
    raise ValueError(msg)


def _is_data(value: object) -> bool:
    return isinstance(value, dict)


def _mistake(parameter: Data, value: str) -> str:
    """Return what a parameter's constraints say against a value, or nothing."""
    said = parameter.get("ConstraintDescription", "")
    if "AllowedValues" in parameter and value not in map(str, parameter["AllowedValues"]):
        return said or f"one of {', '.join(map(str, parameter['AllowedValues']))}"
    if "AllowedPattern" in parameter and not re.fullmatch(parameter["AllowedPattern"], value):
        return said or f"does not look like what is meant ({parameter['AllowedPattern']}). {parameter['Description']}"
    if parameter["Type"] == "Number":
        least, most = parameter.get("MinValue", float("-inf")), parameter.get("MaxValue", float("inf"))
        if not re.fullmatch(r"-?[0-9]+", value) or not least <= int(value) <= most:
            return said or f"a whole number from {least} to {most}"
    return ""


def meant(arguments: Sequence[str]) -> tuple[str, dict[str, str], str]:
    """Return the stack's name and the parameters that `sam deploy` would take, and what was built for, if given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stack-name")
    parser.add_argument("--parameter-overrides", nargs="+", action="extend")
    parser.add_argument("--config-file", type=Path, default=ROOT / "samconfig.toml")
    parser.add_argument("--config-env", default="default")
    parser.add_argument("--built-for", default="", help="processor of the build that is to be deployed")
    known, _ = parser.parse_known_args(arguments)
    saved: Data = {}
    if known.config_file.exists():
        whole = tomllib.loads(known.config_file.read_text())
        for command in ("global", "deploy"):
            saved |= whole.get(known.config_env, {}).get(command, {}).get("parameters", {})
    overrides = known.parameter_overrides or saved.get("parameter_overrides", [])
    words = shlex.split(overrides) if isinstance(overrides, str) else overrides
    found = {}
    for word in chain.from_iterable(map(_words, words)):
        # Both of the ways that sam takes, of which one word may have several.
        both = re.fullmatch(r"ParameterKey=([^,]*),ParameterValue=(.*)", word)
        name, value = both.groups() if both else word.split("=", 1) if "=" in word else (word, "")
        found[name] = value.strip("\"'")
    return known.stack_name or saved.get("stack_name", ""), found, known.built_for


def _words(word: str) -> list[str]:
    """Return the parameters in a word: a value may have blanks as well, as that of a schedule has."""
    parts = shlex.split(word) if " " in word else [word]
    return parts if all(re.match(r"\w+=", part) for part in parts) else [word]


def main() -> int:
    """Return 0 where CloudFormation would take it, else 1 with the reasons on standard error."""
    if {"--guided", "-g"} & {*sys.argv}:
        return 0
    stack_name, given, built_for = meant(sys.argv[1:])
    template = yaml_parse((ROOT / "template.yaml").read_text())
    found = refusals(template, stack_name, given) or too_large(template, stack_name, given)
    wanted = given.get("Architecture", template["Parameters"]["Architecture"]["Default"])
    if built_for not in {"", wanted}:
        found.append(f"Architecture '{wanted}': what was built is for {built_for}; make deploy ARCHITECTURE={wanted}")
    for name in not_given(template, given):
        print(f"note: {name} is not given: a stack that is there keeps its own, a new one is refused", file=sys.stderr)
    for line in found:
        print(f"error: {line}", file=sys.stderr)
    if found:
        print("Nothing was uploaded. docs/deploying.md explains the parameters.", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
