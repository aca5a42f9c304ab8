"""How functions, machines and buckets are run: limits, networks, logs, and what outlives the stack."""

import json
import re
from typing import Any, get_args

import pytest
import yaml

from milvus_vault.adapters import scheduler
from milvus_vault.announcing.events import CONSOLES
from milvus_vault.claims import LONGEST_EXECUTION
from milvus_vault.model.events import EVENT_SOURCE, Metric
from milvus_vault.model.resources import RunKind
from milvus_vault.schedules import DEPLOYED
from milvus_vault.settings import (
    AnnounceSettings,
    ApiSettings,
    CopySettings,
    ExportSettings,
    ManagementSettings,
    MilvusSettings,
    PolicySettings,
    RestoreSettings,
    ScheduleSettings,
    StorageSettings,
    SweepSettings,
)
from tests.template.loading import (
    BUILD,
    ROOT,
    Data,
    Machine,
    environment,
    functions,
    machines,
    reaches_milvus,
    resources,
    snake_case,
    talks_to_milvus,
    template,
    text_of,
    translated,
)

LAMBDA_MAX_SECONDS = 900
LAMBDA_MEMORY_MB = range(128, 10_241)
SETTINGS = (
    StorageSettings,
    MilvusSettings,
    ManagementSettings,
    CopySettings,
    ApiSettings,
    ExportSettings,
    AnnounceSettings,
    ScheduleSettings,
    PolicySettings,
    RestoreSettings,
    SweepSettings,
)

# Read by powertools itself.
POWERTOOLS = {"POWERTOOLS_SERVICE_NAME", "POWERTOOLS_METRICS_NAMESPACE"}

FUNCTIONS = [pytest.param(name, function, id=name) for name, function in functions().items()]
MACHINES = [pytest.param(machine, id=machine.name) for machine in machines()]


@pytest.mark.parametrize(("name", "function"), FUNCTIONS)
def test_a_function_runs_on_the_python_and_the_processor_of_the_layers(name: str, function: Data) -> None:  # noqa: ARG001
    assert function["Runtime"] == "python3.13"
    assert function["Architectures"] == [{"Ref": "Architecture"}]


@pytest.mark.parametrize(("name", "layer"), resources("AWS::Serverless::LayerVersion").items())
def test_a_layer_is_built_for_the_functions_that_have_it(name: str, layer: Data) -> None:
    assert layer["Properties"]["ContentUri"] == f"layers/{snake_case(name.removesuffix('Layer'))}"
    assert layer["Properties"]["CompatibleRuntimes"] == ["python3.13"]
    assert layer["Properties"]["CompatibleArchitectures"] == [{"Ref": "Architecture"}]
    # Without it SAM builds for x86_64 whatever the functions are.
    assert layer["Metadata"] == {"BuildMethod": "python3.13", "BuildArchitecture": {"Ref": "Architecture"}}


# IAM quotas: all inline policies of a role together, without blanks.
MAX_POLICY_CHARACTERS = 10_240


def test_the_rights_of_each_role_fit_into_its_policies_however_long_names_are() -> None:
    lengths = {}
    for name, role in translated().items():
        if role["Type"] == "AWS::IAM::Role":
            written = [written_out(found["PolicyDocument"]) for found in role["Properties"].get("Policies", [])]
            lengths[name] = sum(len(json.dumps(policy, separators=(",", ":"))) for policy in written)
    assert {name: length for name, length in lengths.items() if length > MAX_POLICY_CHARACTERS} == {}


def written_out(value: Any) -> Any:
    """Return a part of a policy as CloudFormation writes it, with all that is optional and the longest names of S3."""
    found = value
    match value:
        case {"Ref": "AWS::NoValue"}:
            found = None
        case {"Ref": name} | {"Fn::GetAtt": [name, *_]}:
            found = substituted(name)
        case {"Fn::Sub": [text, dict(given)]}:
            names = {key: written_out(part) for key, part in given.items()}
            found = re.sub(r"\$\{([^}]+)\}", lambda part: names.get(part[1]) or substituted(part[1]), text)
        case {"Fn::Sub": text}:
            found = re.sub(r"\$\{([^}]+)\}", lambda part: substituted(part[1]), text)
        case {"Fn::If": ["CreatesBackupBucket" | "ExportsStayInBackupBucket", _, part]} | {"Fn::If": [_, part, _]}:
            found = written_out(part)
        case {"Fn::Join": [_, {"Fn::Split": [_, part]}]}:
            found = written_out(part)
        case dict():
            found = {key: written_out(part) for key, part in value.items()}
        case list():
            found = [written for part in value if (written := written_out(part)) is not None]
    return found


def substituted(name: str) -> str:
    """Return what a parameter, an attribute or a pseudo parameter stands for, at its longest or as it is by default."""
    default = template()["Parameters"].get(name, {}).get("Default", "")
    if name.endswith("BucketName"):
        return "b" * 63
    known = {"AWS::Partition": "aws", "AWS::Region": "ap-southeast-1", "AWS::AccountId": "1" * 12}
    return known.get(name) or default or "arn:aws:states:ap-southeast-1:111111111111:stateMachine:milvus-vault-backup"


def test_the_python_of_the_functions_is_that_of_development() -> None:
    assert (ROOT / ".python-version").read_text().startswith("3.13")


@pytest.mark.parametrize(("name", "function"), FUNCTIONS)
def test_who_talks_to_milvus_has_its_network_and_its_client_and_nobody_else_has(name: str, function: Data) -> None:  # noqa: ARG001
    others = [layer for layer in function["Layers"] if layer not in ({"Ref": "SharedLayer"}, {"Ref": "ArrowLayer"})]
    assert others == ([{"Ref": "PymilvusLayer"}] if talks_to_milvus(function) else [])
    assert ("VpcConfig" in function) == reaches_milvus(function)
    if reaches_milvus(function):
        network = {
            "SubnetIds": {"Ref": "VpcSubnetIds"},
            "SecurityGroupIds": {"Ref": "VpcSecurityGroupIds"},
        }
        assert function["VpcConfig"] == {"Fn::If": ["HasVpc", network, {"Ref": "AWS::NoValue"}]}


def test_who_reads_what_logs_hold_has_pyarrow_and_nobody_else_has() -> None:
    having = {name for name, function in functions().items() if {"Ref": "ArrowLayer"} in function["Layers"]}
    assert having == {
        "PlanCopyFunction",
        "VerifyCopyFunction",
        "CutCollectionsFunction",
        "CheckObjectsFunction",
        "WriteRowsFunction",
        "ProveDrillFunction",
    }


@pytest.mark.parametrize(("name", "function"), FUNCTIONS)
def test_a_function_is_within_the_limits_of_lambda(name: str, function: Data) -> None:  # noqa: ARG001
    assert 0 < function["Timeout"] <= LAMBDA_MAX_SECONDS
    assert function["MemorySize"] in LAMBDA_MEMORY_MB
    assert function["Description"]


@pytest.mark.parametrize(("name", "function"), FUNCTIONS)
def test_a_function_is_traced_and_logs_to_the_group_of_all(name: str, function: Data) -> None:  # noqa: ARG001
    assert function["Tracing"] == "Active"
    assert function["LoggingConfig"] == {"LogGroup": {"Ref": "FunctionLogs"}}


@pytest.mark.parametrize(("name", "function"), FUNCTIONS)
def test_a_function_gets_the_settings_that_it_reads(name: str, function: Data) -> None:
    known = {field.upper() for settings in SETTINGS for field in settings.model_fields}
    assert environment(function).keys() <= known | POWERTOOLS
    handler = (ROOT / "functions" / snake_case(name.removesuffix("Function")) / "handler.py").read_text()
    for settings in SETTINGS:
        if re.search(rf"\b{settings.__name__}\b", handler):
            needed = {field.upper() for field, info in settings.model_fields.items() if info.is_required()}
            assert needed <= environment(function).keys()
    assert talks_to_milvus(function) == (MilvusSettings.__name__ in handler)
    assert talks_to_milvus(function) == ("MILVUS_REST_URI" in environment(function))


@pytest.mark.parametrize(("name", "group"), resources("AWS::Logs::LogGroup").items())
def test_logs_are_kept_as_long_as_the_parameter_says(name: str, group: Data) -> None:  # noqa: ARG001
    assert group["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}


@pytest.mark.parametrize("machine", MACHINES)
def test_a_machine_is_traced_logs_its_failures_and_ends_in_a_day(machine: Machine) -> None:
    destination = {"CloudWatchLogsLogGroup": {"LogGroupArn": {"Fn::GetAtt": ["StateMachineLogs", "Arn"]}}}
    assert machine.properties["Tracing"] == {"Enabled": True}
    assert machine.properties["Logging"] == {
        "Level": "ERROR",
        "IncludeExecutionData": True,
        "Destinations": [destination],
    }
    # A function goes on for an hour at most, see `retention.pool_sweep`.
    assert 0 < machine.definition["TimeoutSeconds"] <= LONGEST_EXECUTION.total_seconds() - 3600


@pytest.mark.parametrize("machine", MACHINES)
def test_a_machine_is_standard_since_express_ends_after_five_minutes(machine: Machine) -> None:
    assert machine.properties.get("Type", "STANDARD") == "STANDARD"
    for state in machine.states():
        config = state.body.get("ItemProcessor", {}).get("ProcessorConfig", {})
        assert config.get("ExecutionType", "STANDARD") == "STANDARD"


def test_the_backup_bucket_outlives_the_stack() -> None:
    (bucket,) = resources("AWS::S3::Bucket").values()
    # Not after a creation that failed, when it is empty and would block the next one.
    assert bucket["DeletionPolicy"] == "RetainExceptOnCreate"
    assert bucket["UpdateReplacePolicy"] == "Retain"


def test_the_backup_bucket_is_private_and_encrypted() -> None:
    (bucket,) = resources("AWS::S3::Bucket").values()
    properties = bucket["Properties"]
    assert properties["PublicAccessBlockConfiguration"] == {
        "BlockPublicAcls": True,
        "BlockPublicPolicy": True,
        "IgnorePublicAcls": True,
        "RestrictPublicBuckets": True,
    }
    (rule,) = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == {"Fn::If": ["HasKmsKey", "aws:kms", "AES256"]}


def test_what_is_deleted_by_mistake_can_be_brought_back_and_unfinished_uploads_end() -> None:
    (bucket,) = resources("AWS::S3::Bucket").values()
    assert bucket["Properties"]["VersioningConfiguration"] == {"Status": "Enabled"}
    rules = bucket["Properties"]["LifecycleConfiguration"]["Rules"]
    assert all(rule["Status"] == "Enabled" for rule in rules)
    assert any("NoncurrentVersionExpiration" in rule for rule in rules)
    assert any("AbortIncompleteMultipartUpload" in rule for rule in rules)


def test_every_parameter_is_described_and_used() -> None:
    parameters = template()["Parameters"]
    assert all(parameter["Description"] for parameter in parameters.values())
    text = (ROOT / "template.yaml").read_text()
    for name in parameters:
        assert re.search(rf"!Ref {name}\b|\$\{{{name}\}}", text), name
    groups = template()["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    assert sorted(name for group in groups for name in group["Parameters"]) == sorted(parameters)


def test_what_is_built_has_neither_aliases_nor_merges_which_cloudformation_refuses() -> None:
    built = (BUILD / "template.yaml").read_text()
    tokens = [type(token).__name__ for token in yaml.scan(built)]
    assert not {"AliasToken", "AnchorToken"} & set(tokens)
    assert "<<" not in built


def test_nothing_that_names_data_has_a_default() -> None:
    parameters = template()["Parameters"]
    assert all("Default" not in parameters[name] for name in ("MilvusUri", "MilvusBucketName"))


ALARMS = [pytest.param(alarm["Properties"], id=name) for name, alarm in resources("AWS::CloudWatch::Alarm").items()]

SCHEDULES = [pytest.param(found["Properties"], id=n) for n, found in resources("AWS::Scheduler::Schedule").items()]

# Who makes a metric that is none of ours.
AWS_NAMESPACES = {"AWS/SQS", "AWS/Lambda", "AWS/States"}
DIMENSIONS_OF_STACK = [
    {"Name": "service", "Value": "milvus-vault"},
    {"Name": "stack", "Value": {"Ref": "AWS::StackName"}},
]
DEAD_LETTERS = {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}


def dashboard() -> Data:
    """Return the dashboard's body."""
    (found,) = resources("AWS::CloudWatch::Dashboard").values()
    body: Data = json.loads(text_of(found["Properties"]["DashboardBody"]))
    return body


@pytest.mark.parametrize("alarm", ALARMS)
def test_an_alarm_says_what_it_means_and_tells_the_topic(alarm: Data) -> None:
    assert alarm["AlarmActions"] == [{"Ref": "AlarmTopic"}]
    assert alarm["AlarmDescription"].endswith(".")


@pytest.mark.parametrize("alarm", ALARMS)
def test_an_alarm_is_quiet_where_nothing_ran(alarm: Data) -> None:
    assert alarm["TreatMissingData"] == "notBreaching"


@pytest.mark.parametrize("alarm", ALARMS)
def test_an_alarm_watches_what_is_there(alarm: Data) -> None:
    if alarm["Namespace"] in AWS_NAMESPACES:
        (dimension,) = alarm["Dimensions"]
        referred = dimension["Value"].get("Ref") or dimension["Value"]["Fn::GetAtt"][0]
        assert referred in template()["Resources"]
    else:
        assert alarm["Namespace"] == "MilvusVault"
        assert alarm["MetricName"] in list(Metric)
        assert alarm["Dimensions"] == DIMENSIONS_OF_STACK


def test_there_is_an_alarm_for_whatever_somebody_must_look_at() -> None:
    watched = {alarm["Properties"]["MetricName"] for alarm in resources("AWS::CloudWatch::Alarm").values()}
    assert watched == {
        Metric.RUNS_FAILED,
        Metric.RUNS_PARTIAL,
        Metric.BACKUPS_DAMAGED,
        Metric.SCHEDULES_OVERDUE,
        "ApproximateNumberOfMessagesVisible",
        "Errors",
    }


def test_the_dashboard_shows_every_metric_and_only_those_that_are_emitted() -> None:
    text = json.dumps(dashboard())
    assert {name for name in Metric if name in text} == set(Metric)
    searched = re.findall(r'\{MilvusVault,[a-z,]+\}[^\']*MetricName=\\"(\w+)\\"', text)
    named = [metric[1] for w in dashboard()["widgets"] for metric in w["properties"]["metrics"] if len(metric) > 1]
    assert {*searched, *named} - set(Metric) == {"ExecutionsStarted", "ApproximateNumberOfMessagesVisible"}


def test_every_metric_is_emitted_somewhere() -> None:
    code = "".join(path.read_text() for path in (ROOT / "layers" / "shared" / "milvus_vault").rglob("*.py"))
    assert [metric for metric in Metric if f"Metric.{metric.name}" not in code] == []


def test_widgets_do_not_cover_each_other() -> None:
    places = [(w["x"], w["y"]) for w in dashboard()["widgets"]]
    assert len(places) == len(set(places))
    assert all(
        w["width"] == 8 and w["height"] == 6 and w["x"] % 8 == 0 and w["y"] % 6 == 0 for w in dashboard()["widgets"]
    )


def events_of(function: Data) -> list[Data]:
    """Return what calls a function without waiting for it."""
    return [event for event in function.get("Events", {}).values() if event["Type"] != "Api"]


@pytest.mark.parametrize(("name", "function"), FUNCTIONS)
def test_what_is_called_by_nobody_who_waits_has_a_dead_letter_queue(name: str, function: Data) -> None:  # noqa: ARG001
    if events_of(function):
        assert function["DeadLetterQueue"] == {"Type": "SQS", "TargetArn": DEAD_LETTERS}
    for event in events_of(function):
        # Of EventBridge, for what it could not hand over.
        assert event["Properties"]["DeadLetterConfig"] == {"Arn": DEAD_LETTERS}


def test_dead_letters_are_encrypted_and_kept_as_long_as_possible() -> None:
    (queue,) = resources("AWS::SQS::Queue").values()
    assert queue["Properties"] == {"SqsManagedSseEnabled": True, "MessageRetentionPeriod": 14 * 24 * 3600}


def test_the_deployed_schedule_is_kept_like_those_of_the_api() -> None:
    schedule = resources("AWS::Scheduler::Schedule")["BackupSchedule"]
    properties = schedule["Properties"]
    assert (properties["Name"], properties["GroupName"]) == (DEPLOYED, {"Ref": "ScheduleGroup"})
    assert properties["ScheduleExpressionTimezone"] == {"Ref": "ScheduleTimezone"}


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_what_a_schedule_cannot_start_is_tried_again_and_then_kept(schedule: Data) -> None:
    assert schedule["Target"]["DeadLetterConfig"] == {"Arn": DEAD_LETTERS}
    assert schedule["Target"]["RetryPolicy"] == {
        "MaximumEventAgeInSeconds": scheduler.RETRY_SECONDS,
        "MaximumRetryAttempts": scheduler.RETRY_ATTEMPTS,
    }


def test_runs_of_every_kind_are_announced_and_our_own_events_are_not_announced_again() -> None:
    (rule,) = events_of(functions()["AnnounceRunFunction"])
    pattern = rule["Properties"]["Pattern"]
    assert EVENT_SOURCE not in pattern["source"]
    machines_heard = [text_of(arn).rpartition(":stateMachine:")[2] for arn in pattern["detail"]["stateMachineArn"]]
    assert machines_heard == [f"${{AWS::StackName}}-{kind}" for kind in get_args(RunKind.__value__)]


def test_the_api_is_closed_to_who_does_not_sign_and_asks_for_no_right_on_its_function() -> None:
    (api,) = resources("AWS::Serverless::Api").values()
    assert api["Properties"]["Auth"] == {"DefaultAuthorizer": "AWS_IAM", "InvokeRole": "NONE"}


def test_the_api_deploys_where_the_account_has_no_role_for_its_logs() -> None:
    (api,) = resources("AWS::Serverless::Api").values()
    assert template()["Parameters"]["ApiAccessLogs"]["Default"] == "false"
    assert api["Properties"]["AccessLogSetting"]["Fn::If"][0] == "HasApiAccessLogs"


@pytest.mark.parametrize("path", ["files", "a/b", "files/", "/files", ""])
def test_the_root_path_is_taken_as_milvus_takes_it(path: str) -> None:
    assert re.search(template()["Parameters"]["MilvusRootPath"]["AllowedPattern"], path)


@pytest.mark.parametrize("path", ["a b", "a//b", "//"])
def test_what_cannot_be_a_root_path_is_refused(path: str) -> None:
    assert not re.search(template()["Parameters"]["MilvusRootPath"]["AllowedPattern"], path)


def test_the_dashboard_is_in_the_console_of_the_partition() -> None:
    _, given = template()["Outputs"]["DashboardUrl"]["Value"]["Fn::Sub"]
    china, (gov, other) = given["Console"]["Fn::If"][1], given["Console"]["Fn::If"][2]["Fn::If"][1:]

    assert {"aws": other, "aws-cn": china, "aws-us-gov": gov} == CONSOLES
