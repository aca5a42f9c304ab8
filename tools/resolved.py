"""What CloudFormation makes of the template with some parameters, as far as that is known before a resource is made.

SAM transforms it, with the parameters and for the Region, as on AWS; conditions, references and substitutions are
resolved as CloudFormation does it.
"""

import copy
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any
from unittest.mock import patch

from samtranslator.translator.arn_generator import ArnGenerator
from samtranslator.translator.transform import transform

type Data = dict[str, Any]
type Parameters = Mapping[str, str]

REGION, ACCOUNT = "us-east-1", "123456789012"
# IAM's quota of all inline policies of a role together, without blanks. It cannot be raised.
MAX_POLICY_CHARACTERS = 10_240
# What CloudFormation puts at the end of a name that it makes, and how long that of a bucket may be.
_RANDOM, _LONGEST_BUCKET_NAME = "x" * 12, 63
_NO_VALUE = object()

# It warns of metrics of its own when it is done.
logging.getLogger("samtranslator.metrics").setLevel(logging.ERROR)


class _NoManagedPolicies:
    """What SAM asks for the policies of AWS' own that a template names; ours names none."""

    def load(self) -> dict[str, str]:
        """Return none."""
        return {}


def transformed(template: Data, given: Parameters, region: str = REGION) -> Data:
    """Return what SAM makes of a template with some parameters."""
    found = copy.deepcopy(template)
    for resource in found["Resources"].values():
        for local in ("CodeUri", "ContentUri", "DefinitionUri"):
            if local in resource["Properties"]:
                resource["Properties"][local] = "s3://bucket/key"
    # SAM asks for the Region in both ways, and keeps what it was told once.
    with (
        patch.dict(os.environ, AWS_DEFAULT_REGION=region),
        patch.object(ArnGenerator, "BOTO_SESSION_REGION_NAME", region),
    ):
        made: Data = transform(found, dict(given), _NoManagedPolicies())
    return made


def met(template: Data, conditions: Mapping[str, Any], condition: Any, given: Mapping[str, Any]) -> bool:
    """Return whether a condition of a template holds with some parameters, and the defaults of the others.

    Raises `ValueError` for a function that the template's conditions had none of so far.
    """

    def value(part: Any) -> Any:
        match part:
            case {"Ref": "AWS::Partition"}:
                return given.get("AWS::Partition", "aws")
            case {"Ref": name}:
                return given.get(name, template["Parameters"][name].get("Default", ""))
            case {"Fn::Join": [between, inner]}:
                found = value(inner)
                return between.join(found if isinstance(found, list) else [found])
        return part

    match condition:
        case {"Fn::Equals": [first, last]}:
            return bool(value(first) == value(last))
        case {"Fn::Not": [inner]}:
            return not met(template, conditions, inner, given)
    msg = f"no rule to decide {condition!r}"
    raise ValueError(msg)


class Resolved:
    """A stack with some parameters.

    What only AWS knows of a resource, such as its ARN, is a text in braces, `{AlarmTopic}`; a bucket's name is one such
    as CloudFormation makes.
    """

    def __init__(self, template: Data, stack_name: str, given: Parameters) -> None:
        """Resolve all that is there. `AWS::Region` and `AWS::Partition` may be given as well."""
        where = {
            "AWS::Region": REGION,
            "AWS::Partition": "aws",
            "AWS::AccountId": ACCOUNT,
            "AWS::URLSuffix": "amazonaws.com",
        }
        parameters = template["Parameters"]
        self.values: dict[str, Any] = {name: str(one.get("Default", "")) for name, one in parameters.items()}
        self.values |= {**where, "AWS::StackName": stack_name, **given}
        self.values |= {n: self.values[n].split(",") for n, one in parameters.items() if "List" in one["Type"]}
        chosen = {name: value for name, value in given.items() if not name.startswith("AWS::")}
        made = transformed(template, chosen, self.values["AWS::Region"])
        self.conditions = {
            name: met(template, made["Conditions"], one, self.values) for name, one in made["Conditions"].items()
        }
        self.lost: list[str] = []
        """What is referred to and not made."""
        self.empty: list[str] = []
        """Substitutions of which a part is empty."""
        self._made = {name: one for name, one in made["Resources"].items() if self._is_there(one)}
        self.resources: dict[str, Data] = {name: self._resolve(one) for name, one in self._made.items()}
        self.outputs = {name: self._resolve(one) for name, one in made["Outputs"].items() if self._is_there(one)}

    def of(self, kind: str) -> dict[str, Data]:
        """Return the properties of the resources of a type, by name."""
        return {name: one["Properties"] for name, one in self.resources.items() if one["Type"] == kind}

    def policy_sizes(self) -> Iterator[tuple[str, int]]:
        """Yield each role, and the characters of its inline policies as IAM counts them."""
        for name, role in self.of("AWS::IAM::Role").items():
            yield name, sum(len(written(policy["PolicyDocument"])) for policy in role.get("Policies", []))

    def _is_there(self, part: Data) -> bool:
        return "Condition" not in part or self.conditions[part["Condition"]]

    def _resolve(self, value: Any) -> Any:  # noqa: C901, PLR0911 - a rule a function
        match value:
            case {"Ref": name}:
                return self._named(name)
            case {"Fn::GetAtt": [name, attribute]}:
                return self._named(f"{name}.{attribute}")
            case {"Fn::If": [condition, first, last]}:
                return self._resolve(first if self.conditions[condition] else last)
            case {"Fn::Sub": [text, dict(given)]}:
                return self._substituted(text, {key: self._resolve(part) for key, part in given.items()})
            case {"Fn::Sub": text}:
                return self._substituted(text, {})
            case {"Fn::Join": [between, parts]}:
                return between.join(self._resolve(parts))
            case {"Fn::Split": [between, text]}:
                return self._resolve(text).split(between)
            case {"Fn::Select": [index, parts]}:
                return self._resolve(parts)[int(index)]
            case dict():
                # The name of a condition of the template, where it is not a statement's own condition.
                kept = {key: part for key, part in value.items() if key != "Condition" or isinstance(part, dict)}
                found = {key: self._resolve(part) for key, part in kept.items()}
                return {key: part for key, part in found.items() if part is not _NO_VALUE}
            case list():
                return [part for part in map(self._resolve, value) if part is not _NO_VALUE]
        return value

    def _substituted(self, text: str, given: Parameters) -> str:
        def part(found: re.Match[str]) -> str:
            name = found[1]
            value = str(given[name] if name in given else self._named(name))
            # Without a root path there is another right, of what lies at the top of the bucket.
            if not value and name != "MilvusRootPath":
                self.empty.append(text)
            return value

        return re.sub(r"\$\{([^!}][^}]*)\}", part, text).replace("${!", "${")

    def _named(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return _NO_VALUE
        if name in self.values:
            return self.values[name]
        resource = self._made.get(name.partition(".")[0])
        if resource is None:
            self.lost.append(name)
        elif resource["Type"] == "AWS::S3::Bucket":
            bucket = f"{self.values['AWS::StackName']}-{name.partition('.')[0].lower()}-{_RANDOM}"[
                -_LONGEST_BUCKET_NAME:
            ]
            return f"arn:{self.values['AWS::Partition']}:s3:::{bucket}" if name.endswith(".Arn") else bucket
        return f"{{{name}}}"


def written(value: Any) -> str:
    """Return a part of a template as JSON without blanks."""
    return json.dumps(value, separators=(",", ":"), default=str)
