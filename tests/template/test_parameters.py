"""What is refused of a deployment's parameters, by CloudFormation and before it by `make deploy`."""

import json
import sys
from pathlib import Path

import pytest

from tests.template.loading import template, translated
from tools import parameters
from tools.parameters import NAME_LIMITS, longest_stack_name, main, meant, not_given, refusals

GIVEN = {"MilvusUri": "http://milvus.internal:19530", "MilvusBucketName": "milvus-data"}
NETWORK = {"VpcSubnetIds": "subnet-1,subnet-2", "VpcSecurityGroupIds": "sg-1"}
KEY = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"


@pytest.mark.parametrize(
    "more",
    [
        {},
        NETWORK,
        # What an earlier release took: outside a VPC they count for nothing.
        {"VpcSecurityGroupIds": "sg-1,sg-2"},
        {"MilvusKmsKeyArn": "*"},
        {"MilvusKmsKeyArn": "arn:aws:kms:*:123456789012:key/*"},
        {"KmsKeyArn": KEY.rpartition(":")[0] + ":alias/backups"},
        {
            "BackupBucketName": "my.backups-2",
            "ExportBucketName": "exports",
            "KmsKeyArn": KEY,
            "CopyConcurrency": "1000",
        },
        {"MilvusSecretArn": "arn:aws-us-gov:secretsmanager:us-gov-west-1:123456789012:secret:milvus-AbCdEf"},
        {"MilvusRestUri": "https://milvus.internal", "MilvusRootPath": "", "PruneExpression": ""},
        {"ScheduleExpression": "cron(0 3 * * ? *)", "ScheduleRequest": '{"mode": "incremental"}'},
    ],
)
def test_good_parameters_are_taken(more: dict[str, str]) -> None:
    assert refusals(template(), "milvus-vault", GIVEN | more) == []


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"VpcSubnetIds": "subnet-1"}, "VpcSubnetIds needs VpcSecurityGroupIds"),
        ({"MilvusBucketName": ""}, "MilvusBucketName ''"),
        ({"MilvusBucketName": "s3://data"}, "MilvusBucketName 's3://data'"),
        ({"BackupBucketName": " "}, "BackupBucketName ' '"),
        ({"ExportBucketName": "a"}, "ExportBucketName 'a'"),
        ({"MilvusUri": "milvus:19530"}, "MilvusUri 'milvus:19530'"),
        ({"KmsKeyArn": "1234abcd-12ab-34cd-56ef-1234567890ab"}, "KmsKeyArn '1234"),
        ({"MilvusSecretArn": "milvus"}, "MilvusSecretArn 'milvus'"),
        ({"PruneExpression": "daily"}, "PruneExpression 'daily'"),
        ({"CopyConcurrency": "0"}, "CopyConcurrency '0': a whole number from 1 to 1000"),
        ({"CopyConcurrency": "many"}, "CopyConcurrency 'many'"),
        ({"KeepWorkingFilesDays": "0"}, "KeepWorkingFilesDays '0'"),
        ({"LogRetentionDays": "31"}, "LogRetentionDays '31': one of 1, 3"),
        ({"MilvusBucket": "data"}, "MilvusBucket: the template has no such parameter"),
    ],
)
def test_each_mistake_is_refused_by_name(more: dict[str, str], said: str) -> None:
    (line,) = refusals(template(), "milvus-vault", GIVEN | more)
    assert line.startswith(said)


def test_what_has_no_default_is_left_to_a_stack_that_is_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not_given(template(), {}) == list(GIVEN)
    assert refusals(template(), "milvus-vault", {}) == []
    monkeypatch.setattr("sys.argv", ["", "--stack-name", "v", "--parameter-overrides", "CopyConcurrency=32"])
    assert main() == 0
    assert "note: MilvusUri is not given: a stack that is there keeps its own" in capsys.readouterr().err


def test_one_word_may_be_several_parameters_or_a_value_with_blanks() -> None:
    words = ["CopyConcurrency=32 BackupPrefix=b", "ScheduleExpression=cron(0 3 * * ? *)"]
    _, given, _ = meant(["--parameter-overrides", *words])
    assert given == {
        "CopyConcurrency": "32",
        "BackupPrefix": "b",
        "ScheduleExpression": "cron(0 3 * * ? *)",
    }


def test_the_longest_name_of_a_stack_is_what_the_names_of_its_resources_leave() -> None:
    longest = longest_stack_name(template())
    lengths = {}
    for name, resource in translated().items():
        for property_, value in resource.get("Properties", {}).items():
            limit = NAME_LIMITS.get((resource["Type"], property_))
            if limit is not None and "AWS::StackName" in json.dumps(value):
                text = "${AWS::StackName}" if "Ref" in value else value["Fn::Sub"]
                lengths[name] = limit - len(text.replace("${AWS::StackName}", "x" * longest))
    assert min(lengths.values()) == 0, lengths
    assert refusals(template(), "x" * longest, GIVEN) == []
    (line,) = refusals(template(), "x" * (longest + 1), GIVEN)
    assert f"allow {longest}" in line
    assert f"{longest} characters" in (Path(parameters.ROOT) / "docs" / "deploying.md").read_text()


def test_names_with_which_rights_would_be_too_long_for_iam_are_refused_before_anything_is_uploaded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    longest = {"BackupBucketName": "b" * 63, "ExportBucketName": "e" * 63, "MilvusBucketName": "m" * 63}
    given = GIVEN | longest | {"ExportKmsKeyArn": KEY, "KmsKeyArn": KEY, "MilvusKmsKeyArn": KEY}
    for prefix, code in (("p" * 12, 0), ("p" * 40, 1)):
        overrides = [f"{name}={value}" for name, value in (given | {"BackupPrefix": prefix}).items()]
        monkeypatch.setattr("sys.argv", ["", "--stack-name", "milvus-vault", "--parameter-overrides", *overrides])
        assert main() == code
    said = capsys.readouterr().err
    assert "error: CarryOutPruneFunctionRole: its rights would have 10," in said
    assert "Nothing was uploaded" in said


def test_the_limit_of_each_name_that_is_made_of_the_stacks_is_known() -> None:
    made = {
        (resource["Type"], property_)
        for resource in translated().values()
        for property_, value in resource.get("Properties", {}).items()
        if property_.endswith("Name") and "AWS::StackName" in json.dumps(value)
    }
    assert made == set(NAME_LIMITS)


@pytest.mark.parametrize("name", ["", "1vault", "milvus_vault", "a.b"])
def test_a_stack_has_a_name_as_cloudformation_takes_it(name: str) -> None:
    (line,) = refusals(template(), name, GIVEN)
    assert line.startswith(f"stack name '{name}'")


def test_arguments_count_before_what_sam_has_saved(tmp_path: Path) -> None:
    config = tmp_path / "samconfig.toml"
    config.write_text(
        '[default.deploy.parameters]\nstack_name = "saved"\nparameter_overrides = "A=\\"1 2\\" B=3"\n'
        '[prod.deploy.parameters]\nstack_name = "prod"\nparameter_overrides = ["A=x=y"]\n'
    )
    saved = ["--config-file", str(config), "--no-confirm-changeset"]
    assert meant(saved) == ("saved", {"A": "1 2", "B": "3"}, "")
    assert meant([*saved, "--config-env", "prod"]) == ("prod", {"A": "x=y"}, "")
    given = ["--stack-name", "given", "--parameter-overrides", "ParameterKey=A,ParameterValue=4,5", "C=6"]
    assert meant([*saved, *given]) == ("given", {"A": "4,5", "C": "6"}, "")


def test_a_build_for_another_processor_is_not_uploaded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = [f"{name}={value}" for name, value in GIVEN.items()]
    for built_for, code in (("arm64", 0), ("x86_64", 1)):
        monkeypatch.setattr(sys, "argv", ["", "--built-for", built_for, "--parameter-overrides", *overrides])
        assert parameters.main() == code
    assert "error: Architecture 'arm64': what was built is for x86_64" in capsys.readouterr().err


def test_a_function_that_the_evaluator_does_not_know_is_no_silent_yes() -> None:
    rules = {"Odd": {"Assertions": [{"Assert": {"Fn::Contains": [["a"], "a"]}, "AssertDescription": "x"}]}}
    with pytest.raises(ValueError, match="Fn::Contains"):
        refusals(template() | {"Rules": rules}, "milvus-vault", GIVEN)
