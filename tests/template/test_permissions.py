"""Least privilege: what each role may do, and where."""

import re
from collections.abc import Iterator

import pytest

from milvus_vault.model.events import EVENT_SOURCE
from tests.support.privilege import LOG_DELIVERY, TRACES
from tests.template.loading import (
    Data,
    Machine,
    actions_of,
    as_list,
    environment,
    functions,
    machines,
    reaches_milvus,
    resources,
    resources_of,
    statements,
    template,
    text_of,
    translated,
)

_BUCKET = r"arn:\$\{AWS::Partition\}:s3:::\$\{%s\}"
_BACKUPS = _BUCKET % "BackupBucketName" + r"/\$\{BackupPrefix\}/"
_MILVUS = _BUCKET % "MilvusBucketName"
_STATES = r"arn:\$\{AWS::Partition\}:states:\$\{AWS::Region\}:\$\{AWS::AccountId\}:"

# The places that there are, each with the parameters that name it. Which keys of them: see test_privileges.py.
PLACES = {
    "keys of backups": _BACKUPS + r".+",
    "Milvus' rows": _MILVUS + r"/\$\{MilvusRootPath\}/insert_log/\*",
    "Milvus' deletes": _MILVUS + r"/\$\{MilvusRootPath\}/delta_log/\*",
    "staged objects": _MILVUS + r"/\$\{StagingPrefix\}/restore-\*/\*",
    "staging folder": _MILVUS + r"/\$\{StagingPrefix\}/\*",
    "target claims": _MILVUS + r"/\$\{StagingPrefix\}/claims/\*",
    "keys of exports": _BUCKET % "(?:Backup|Export)BucketName" + r"/\$\{ExportPrefix\}/.+",
    "backup bucket": _BUCKET % "BackupBucketName",
    "bucket of exports": _BUCKET % "ExportBucketName",
    "Milvus' bucket": _MILVUS,
    "backup key": r"\$\{KmsKeyArn\}",
    "role of exports": r"\$\{ExportRoleArn\}",
    "key of exports": r"\$\{ExportKmsKeyArn\}",
    "Milvus' key": r"\$\{MilvusKmsKeyArn\}",
    "secret": r"\$\{MilvusSecretArn\}",
    "executions": _STATES
    + r"execution:\$\{AWS::StackName\}-"
    + r"(?:backup|restore|verify|prune|export|drill|copy-objects|check-objects|write-rows)(?::|/)\*",
    "inspecting function": r"\$\{InspectMilvusFunction.Arn\}",
    "machines of runs": r"\$\{(?:Backup|Restore|Verify|Prune|Export|Drill)StateMachine\}",
    "copy machine": _STATES + r"stateMachine:\$\{AWS::StackName\}-copy-objects|\$\{CopyObjectsStateMachine\}",
    "check machine": _STATES + r"stateMachine:\$\{AWS::StackName\}-check-objects|\$\{CheckObjectsStateMachine\}",
    "write machine": _STATES + r"stateMachine:\$\{AWS::StackName\}-write-rows|\$\{WriteRowsStateMachine\}",
    "schedules": r"arn:\$\{AWS::Partition\}:scheduler:\$\{AWS::Region\}:\$\{AWS::AccountId\}:"
    r"schedule/\$\{AWS::StackName\}/\*",
    "role of schedules": r"\$\{ScheduleRole.Arn\}",
    "alarm topic": r"\$\{AlarmTopic\}",
    "event bus": r"arn:\$\{AWS::Partition\}:events:\$\{AWS::Region\}:\$\{AWS::AccountId\}:event-bus/default",
    "prune machine": r"\$\{PruneStateMachine\}",
    "rule of nested executions": r"arn:\$\{AWS::Partition\}:events:\$\{AWS::Region\}:\$\{AWS::AccountId\}:"
    r"rule/StepFunctionsGetEventsForStepFunctionsExecutionRule",
}
# The only action of a function that has no resource of its own.
LIST_SCHEDULES = ("scheduler:ListSchedules", "unknown: *")
INVOKE = "lambda:InvokeFunction"

FUNCTIONS = [pytest.param(name, function, id=name) for name, function in functions().items()]
MACHINES = [pytest.param(machine, id=machine.name) for machine in machines()]


def place(resource: str) -> str:
    """Return what a resource is; an unknown one is an error, since it may be anything."""
    return next((name for name, pattern in PLACES.items() if re.fullmatch(pattern, resource)), f"unknown: {resource}")


def grants(policies: list[Data]) -> Iterator[tuple[str, str]]:
    """Yield each action with the place that it is allowed at."""
    for statement in statements(policies):
        for action in actions_of(statement):
            yield from ((action, place(resource)) for resource in resources_of(statement))


def granted(function: Data) -> set[tuple[str, str]]:
    """Return what a function may do."""
    return set(grants(function["Policies"])) - {LIST_SCHEDULES}


def writers_of(pattern: str) -> set[str]:
    """Return the functions that have a statement by which they write objects of such keys."""
    where = f"arn:${{AWS::Partition}}:s3:::${{BackupBucketName}}/${{BackupPrefix}}/{pattern}"
    return {
        name
        for name, function in functions().items()
        for statement in statements(function["Policies"])
        if "s3:PutObject" in actions_of(statement) and where in resources_of(statement)
    }


def who_may(*wanted: tuple[str, str]) -> set[str]:
    """Return the functions, without the word, that have at least one of these grants."""
    return {name.removesuffix("Function") for name, function in functions().items() if granted(function) & set(wanted)}


@pytest.mark.parametrize(("name", "function"), FUNCTIONS)
def test_a_function_has_no_policy_but_written_statements(name: str, function: Data) -> None:  # noqa: ARG001
    assert all(policy.keys() == {"Version", "Statement"} for policy in function["Policies"])
    assert all(statement["Effect"] == "Allow" for statement in statements(function["Policies"]))


@pytest.mark.parametrize(("name", "function"), FUNCTIONS)
def test_a_function_is_allowed_no_action_by_a_wildcard(name: str, function: Data) -> None:  # noqa: ARG001
    assert [action for action, _ in granted(function) if not re.fullmatch(r"[a-z0-9]+:[A-Z][A-Za-z]+", action)] == []


@pytest.mark.parametrize(("name", "function"), FUNCTIONS)
def test_a_function_is_allowed_no_resource_that_parameters_do_not_name(name: str, function: Data) -> None:  # noqa: ARG001
    assert [where for _, where in granted(function) if where.startswith("unknown")] == []


@pytest.mark.parametrize(("name", "function"), FUNCTIONS)
def test_every_statement_says_in_one_word_what_it_is_for(name: str, function: Data) -> None:  # noqa: ARG001
    names = [statement["Sid"] for statement in statements(function["Policies"])]
    assert all(re.fullmatch(r"[A-Z][A-Za-z]+", name) for name in names)
    assert len(names) == len(set(names))


@pytest.mark.parametrize(("name", "function"), FUNCTIONS)
def test_actions_are_allowed_on_the_kind_of_thing_that_they_are_for(name: str, function: Data) -> None:  # noqa: ARG001
    for action, where in granted(function):
        service = action.partition(":")[0]
        is_of_bucket = "Bucket" in action
        assert is_of_bucket == (where in {"backup bucket", "bucket of exports", "Milvus' bucket"})
        assert (service == "kms") == (where in {"backup key", "key of exports", "Milvus' key"})
        assert (service == "secretsmanager") == (where == "secret")
        assert (service == "sts") == (where == "role of exports")
        assert (service == "lambda") == (where == "inspecting function")
        assert (service == "states") == (where in {"executions", "machines of runs"})
        assert (service == "scheduler") == (where == "schedules")


def test_who_asks_for_the_holders_of_claims_are_those_that_claim() -> None:
    claim = {"PrepareBackup", "PrepareRestore", "PrepareExport", "PlanPrune", "CarryOutPrune", "VerifyBackup"}
    # A drill asks whether others have ended whose scratch databases are there.
    assert who_may(("states:DescribeExecution", "executions")) == claim | {"Api", "TendPauses", "PrepareDrill"}
    assert who_may(("s3:PutObject", "target claims")) == {"PrepareRestore", "CarryOutPrune"}


def test_only_the_api_starts_and_stops_runs() -> None:
    assert who_may(("states:StartExecution", "machines of runs"), ("states:StopExecution", "executions")) == {"Api"}


def test_the_secret_is_read_by_those_that_reach_milvus() -> None:
    told = {name.removesuffix("Function") for name, function in functions().items() if reaches_milvus(function)}
    assert who_may(("secretsmanager:GetSecretValue", "secret")) == told
    assert all(
        ("MILVUS_SECRET_ARN" in environment(function)) == reaches_milvus(function) for function in functions().values()
    )


@pytest.mark.parametrize(
    ("key", "places"),
    [
        ("backup key", {"keys of backups"}),
        ("key of exports", {"keys of exports"}),
        ("Milvus' key", {"Milvus' rows", "Milvus' deletes", "staged objects", "target claims"}),
    ],
)
def test_a_key_is_used_by_those_that_read_or_write_what_it_encrypts(key: str, places: set[str]) -> None:
    content = [(action, where) for action in ("s3:GetObject", "s3:PutObject") for where in places]
    assert who_may(("kms:Decrypt", key)) == who_may(*content)
    assert who_may(("kms:GenerateDataKey", key)) == who_may(*content)


@pytest.mark.parametrize(
    ("parameter", "condition"),
    [
        ("KmsKeyArn", "HasKmsKey"),
        ("ExportKmsKeyArn", "HasExportKmsKey"),
        ("ExportRoleArn", "HasExportRole"),
        ("MilvusKmsKeyArn", "HasMilvusKmsKey"),
        ("MilvusSecretArn", "HasSecret"),
    ],
)
def test_what_need_not_be_given_is_allowed_only_where_it_is_given(parameter: str, condition: str) -> None:
    policies = [policy for function in functions().values() for policy in function["Policies"]]
    policies += [policy for machine in machines() for policy in machine.policies]
    written = [statement for policy in policies for statement in policy.get("Statement", [])]
    assert all(statement.get("Resource") != {"Ref": parameter} for statement in written)
    optional = [statement["Fn::If"] for statement in written if "Fn::If" in statement]
    conditions = {asked for asked, statement, _ in optional if statement["Resource"] == {"Ref": parameter}}
    assert conditions == {condition}
    given = {"Fn::Not": [{"Fn::Equals": [{"Ref": parameter}, ""]}]}
    assert template()["Conditions"][condition] == given


def test_the_role_of_exports_is_taken_by_those_that_write_or_list_what_it_is_for() -> None:
    writing = {"PlanCopy", "CopyBatch", "PrepareExport", "PublishBackup", "WriteRows"}
    assert who_may(("s3:PutObject", "keys of exports")) == writing
    assert who_may(("sts:AssumeRole", "role of exports")) == writing | {"VerifyCopy", "CarryOutPrune"}


def test_a_key_is_used_by_way_of_s3_only() -> None:
    policies = [policy for function in functions().values() for policy in function["Policies"]]
    policies += [policy for machine in machines() for policy in machine.policies]
    keys = [s for s in statements(policies) if actions_of(s)[0].startswith("kms:")]
    # S3's name ends in another way in China; which Region it is, the key's ARN says.
    assert {str(s["Condition"]) for s in keys} == {"{'StringLike': {'kms:ViaService': 's3.*.amazonaws.com*'}}"}


@pytest.mark.parametrize("machine", MACHINES)
def test_only_traces_and_log_delivery_are_allowed_to_a_machine_on_everything(machine: Machine) -> None:
    everywhere = [s for s in statements(machine.policies) if "*" in as_list(s["Resource"])]
    assert [set(actions_of(statement)) for statement in everywhere] == [TRACES, LOG_DELIVERY]
    rest = [grant for grant in grants(machine.policies) if grant[0] not in LOG_DELIVERY | TRACES | {INVOKE}]
    assert [where for _, where in rest if where.startswith("unknown")] == []
    assert [action for action, _ in rest if "*" in action] == []


@pytest.mark.parametrize("machine", MACHINES)
def test_a_machine_may_invoke_exactly_its_functions(machine: Machine) -> None:
    (invoking,) = [s for s in statements(machine.policies) if INVOKE in actions_of(s)]
    invoked = [found["Fn::GetAtt"] for found in as_list(invoking["Resource"])]
    assert sorted(invoked) == sorted(
        [f"{name}Function", "Arn"] for name in {s.name for s in machine.states() if s.is_lambda}
    )


@pytest.mark.parametrize("machine", MACHINES)
def test_step_functions_takes_a_machines_role_for_machines_of_this_stack_only(machine: Machine) -> None:
    (trust,) = machine.role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "states.amazonaws.com"}
    assert trust["Condition"].keys() == {"StringEquals", "ArnLike"}
    assert trust["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    of_this_stack = "arn:${AWS::Partition}:states:${AWS::Region}:${AWS::AccountId}:stateMachine:${AWS::StackName}-*"
    assert text_of(trust["Condition"]["ArnLike"]["aws:SourceArn"]) == of_this_stack


@pytest.mark.parametrize(("role", "group"), [("ScheduleRole", "${AWS::StackName}"), ("PruneScheduleRole", "default")])
def test_scheduler_takes_a_role_for_schedules_of_its_group_only(role: str, group: str) -> None:
    (trust,) = resources("AWS::IAM::Role")[role]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "scheduler.amazonaws.com"}
    arn = f"arn:${{AWS::Partition}}:scheduler:${{AWS::Region}}:${{AWS::AccountId}}:schedule-group/{group}"
    # Else Scheduler would take the role for schedules of another account.
    assert trust["Condition"] == {
        "StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}, "aws:SourceArn": {"Fn::Sub": arn}}
    }


def test_schedules_may_start_backups_and_drills_and_say_what_could_not_be_started_and_nothing_else() -> None:
    role = resources("AWS::IAM::Role")["ScheduleRole"]["Properties"]
    (policy,) = role["Policies"]
    assert policy["PolicyDocument"]["Statement"] == [
        {
            "Effect": "Allow",
            "Action": "states:StartExecution",
            "Resource": [{"Ref": "BackupStateMachine"}, {"Ref": "DrillStateMachine"}],
        },
        {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}},
    ]


def test_the_daily_prune_may_be_started_and_nothing_else() -> None:
    (policy,) = resources("AWS::IAM::Role")["PruneScheduleRole"]["Properties"]["Policies"]
    assert policy["PolicyDocument"]["Statement"] == [
        {"Effect": "Allow", "Action": "states:StartExecution", "Resource": {"Ref": "PruneStateMachine"}},
        {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}},
    ]


def test_only_the_api_changes_schedules_and_hands_their_role_to_scheduler_alone() -> None:
    changes = [(f"scheduler:{verb}Schedule", "schedules") for verb in ("Create", "Update", "Delete")]
    assert who_may(*changes) == who_may(("iam:PassRole", "role of schedules")) == {"Api"}
    passing = [s for s in statements(functions()["ApiFunction"]["Policies"]) if "iam:PassRole" in actions_of(s)]
    assert [s["Condition"] for s in passing] == [{"StringEquals": {"iam:PassedToService": "scheduler.amazonaws.com"}}]


def test_who_reads_schedules_may_also_list_them_and_nobody_else() -> None:
    readers = who_may(("scheduler:GetSchedule", "schedules"))
    listers = {n for n, f in functions().items() if LIST_SCHEDULES in grants(f["Policies"])}
    assert listers == {f"{name}Function" for name in readers}


def test_events_are_put_under_our_own_source_only() -> None:
    assert who_may(("events:PutEvents", "event bus")) == {"AnnounceRun"}
    putting = [
        s for s in statements(functions()["AnnounceRunFunction"]["Policies"]) if "events:PutEvents" in actions_of(s)
    ]
    assert [s["Condition"] for s in putting] == [{"StringEquals": {"events:source": EVENT_SOURCE}}]


def test_people_are_told_by_the_two_functions_that_watch() -> None:
    assert who_may(("sns:Publish", "alarm topic")) == {"AnnounceRun", "WatchSchedules"}


def test_the_bucket_policy_denies_what_is_not_over_tls_and_markers_that_are_written_blindly() -> None:
    (policy,) = resources("AWS::S3::BucketPolicy").values()
    first, allowed, last = policy["Properties"]["PolicyDocument"]["Statement"]
    assert allowed["Fn::If"][::2] == ["HasExportRole", {"Ref": "AWS::NoValue"}]
    assert allowed["Fn::If"][1]["Principal"] == {"AWS": {"Ref": "ExportRoleArn"}}
    assert allowed["Fn::If"][1]["Action"] == ["s3:GetObject", "s3:ListBucket"]
    found = [first, last]
    assert [(statement["Effect"], statement["Principal"]) for statement in found] == [("Deny", "*")] * 2
    assert found[0]["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert found[1]["Action"] == "s3:PutObject"
    assert found[1]["Resource"] == {"Fn::Sub": "${BackupBucket.Arn}/${BackupPrefix}/*/meta/backup_meta.json"}
    assert found[1]["Condition"]["Null"] == {"s3:if-none-match": "true", "s3:if-match": "true"}
    told = {arn["Fn::GetAtt"][0] for arn in found[1]["Condition"]["ArnEquals"]["aws:PrincipalArn"]}
    assert told == {f"{name}Role" for name in writers_of("*/meta/backup_meta.json")}


def test_dead_letters_come_over_tls() -> None:
    (policy,) = resources("AWS::SQS::QueuePolicy").values()
    denied = [s for s in policy["Properties"]["PolicyDocument"]["Statement"] if s["Effect"] == "Deny"]
    assert [(s["Principal"], s["Action"], s["Condition"]) for s in denied] == [
        ("*", "sqs:*", {"Bool": {"aws:SecureTransport": "false"}})
    ]


def test_a_boundary_bounds_every_role_also_those_that_sam_makes() -> None:
    wanted = {"Fn::If": ["HasPermissionsBoundary", {"Ref": "PermissionsBoundaryArn"}, {"Ref": "AWS::NoValue"}]}
    roles = {name: found["Properties"] for name, found in translated().items() if found["Type"] == "AWS::IAM::Role"}
    assert len(roles) == len(functions()) + len(machines()) + 2
    assert {name for name, role in roles.items() if role.get("PermissionsBoundary") != wanted} == set()
