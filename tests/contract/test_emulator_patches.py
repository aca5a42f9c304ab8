"""What the patched emulator must do as AWS does: the patches, and the behaviour the state machines rely on."""

import json
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
import requests
from botocore.exceptions import ClientError

from local import deployment
from local.aws import Ministack
from tests.support.api_calls import call
from tests.support.servers import create_function, create_layer, create_machine, create_role, run, start, wait

pytestmark = pytest.mark.tools("emulator")

RAISES = """
    class BrokenThing(Exception):
        pass

    def handler(event, context):
        raise BrokenThing(f"cannot mend {event['name']}")
"""

# Fails until the object counts `successes_after` calls, which it does across workers.
FAILS_AT_FIRST = """
    import boto3

    class NotYetError(Exception):
        pass

    def handler(event, context):
        s3 = boto3.client("s3")
        calls = s3.list_objects_v2(Bucket=event["bucket"])["KeyCount"] + 1
        s3.put_object(Bucket=event["bucket"], Key=str(calls))
        if calls < event["succeeds_at"]:
            raise NotYetError(f"call {calls}")
        return calls
"""


@pytest.fixture
def bucket(ministack: Ministack) -> str:
    """Create a bucket, and return its name."""
    name = f"contract-{uuid.uuid4()}"
    ministack.client("s3").create_bucket(Bucket=name)
    return name


def keys(ministack: Ministack, bucket: str) -> list[str]:
    """Return the keys of the bucket, sorted."""
    return sorted(entry["Key"] for entry in ministack.client("s3").list_objects_v2(Bucket=bucket).get("Contents", []))


class TestLambdaErrorType:
    """Patch 1."""

    def test_a_catch_by_class_name_gets_the_exception(self, ministack: Ministack) -> None:
        function = create_function(ministack, RAISES)
        states = {
            "Mend": {
                "Type": "Task",
                "Resource": function,
                "Catch": [
                    {"ErrorEquals": ["OtherError"], "Next": "Wrong"},
                    {"ErrorEquals": ["BrokenThing"], "ResultPath": "$.failure", "Next": "Caught"},
                ],
                "End": True,
            },
            "Wrong": {"Type": "Fail"},
            "Caught": {"Type": "Succeed"},
        }

        described = run(ministack, states, {"name": "vase"})

        failure = json.loads(described["output"])["failure"]
        assert failure["Error"] == "BrokenThing"
        assert json.loads(failure["Cause"])["errorMessage"] == "cannot mend vase"
        assert json.loads(failure["Cause"])["errorType"] == "BrokenThing"

    def test_a_retry_by_class_name_calls_again(self, ministack: Ministack, bucket: str) -> None:
        function = create_function(ministack, FAILS_AT_FIRST)
        retry = {"ErrorEquals": ["NotYetError"], "IntervalSeconds": 1, "BackoffRate": 1, "MaxAttempts": 2}
        states = {"Try": {"Type": "Task", "Resource": function, "Retry": [retry], "End": True}}

        described = run(ministack, states, {"bucket": bucket, "succeeds_at": 3})

        assert (described["status"], described["output"]) == ("SUCCEEDED", "3")

    def test_an_invocation_answers_with_the_error_payload(self, ministack: Ministack) -> None:
        function = create_function(ministack, RAISES)

        answer = ministack.client("lambda").invoke(FunctionName=function, Payload=b'{"name": "cup"}')

        assert answer["FunctionError"] == "Unhandled"
        payload = json.load(answer["Payload"])
        assert (payload["errorType"], payload["errorMessage"]) == ("BrokenThing", "cannot mend cup")

    def test_the_worker_survives_an_exception(self, ministack: Ministack) -> None:
        function = create_function(
            ministack,
            """
            import os

            def handler(event, context):
                if event["fail"]:
                    raise ValueError("told to")
                return os.getpid()
            """,
        )
        functions = ministack.client("lambda")

        def call(*, fail: bool) -> Any:
            answer = functions.invoke(FunctionName=function, Payload=json.dumps({"fail": fail}))
            return json.load(answer["Payload"])

        before = call(fail=False)
        call(fail=True)

        assert call(fail=False) == before


def test_a_throttled_invocation_has_the_name_that_lambda_gives_it(ministack: Ministack) -> None:
    function = create_function(ministack, "def handler(event, context): return 1")
    ministack.client("lambda").put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)

    described = run(ministack, {"Call": {"Type": "Task", "Resource": function, "End": True}}, {})

    assert (described["status"], described["error"]) == ("FAILED", "Lambda.TooManyRequestsException")


def test_a_definition_in_yaml_is_read_after_its_substitutions(ministack: Ministack, bucket: str) -> None:
    definition = """
        # Comments are why the machines are YAML.
        StartAt: Pass
        States:
          Pass:
            Type: Pass
            Result: {text: "${Text}", plain: ${Text}, number: ${Number}}
            End: true
    """
    ministack.client("s3").put_object(Bucket=bucket, Key="machine.asl.yaml", Body=definition.encode())
    template = {
        "Transform": "AWS::Serverless-2016-10-31",
        "Resources": {
            "Machine": {
                "Type": "AWS::Serverless::StateMachine",
                "Properties": {
                    "DefinitionUri": f"s3://{bucket}/machine.asl.yaml",
                    "DefinitionSubstitutions": {"Text": "arn:aws:lambda:x", "Number": "7"},
                },
            }
        },
        "Outputs": {"Arn": {"Value": {"Ref": "Machine"}}},
    }

    outputs = deployment.deploy(ministack.client("cloudformation"), template, f"yaml-{uuid.uuid4()}", {})

    described = wait(ministack, start(ministack, outputs["Arn"], {}))
    assert json.loads(described["output"]) == {"text": "arn:aws:lambda:x", "plain": "arn:aws:lambda:x", "number": 7}


def nested(machine_arn: str, **more: object) -> dict[str, Any]:
    """Return a state that runs another machine and waits for it."""
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::states:startExecution.sync:2",
        "Parameters": {
            "StateMachineArn": machine_arn,
            "Input": {"AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID.$": "$$.Execution.Id", "plan.$": "$.plan"},
        },
        "End": True,
    } | more


class TestNestedExecution:
    """Patch 4, and what works without one."""

    def test_its_output_is_json(self, ministack: Ministack) -> None:
        child = create_machine(ministack, {"Echo": {"Type": "Pass", "OutputPath": "$.plan", "End": True}})
        states = {"Nest": nested(child, ResultSelector={"result.$": "$.Output"}, ResultPath="$.copied")}

        described = run(ministack, states, {"plan": {"batches": 3}})

        assert json.loads(described["output"]) == {"plan": {"batches": 3}, "copied": {"result": {"batches": 3}}}

    def test_its_failure_is_a_failed_task_whose_cause_describes_it(self, ministack: Ministack) -> None:
        child = create_machine(ministack, {"Stop": {"Type": "Fail", "Error": "CopyFailed", "Cause": "disk full"}})

        described = run(ministack, {"Nest": nested(child)}, {"plan": 1})

        assert (described["status"], described["error"]) == ("FAILED", "States.TaskFailed")
        cause = json.loads(described["cause"])
        assert (cause["Status"], cause["Error"], cause["Cause"]) == ("FAILED", "CopyFailed", "disk full")
        assert cause["StateMachineArn"] == child


class TestStop:
    """Patch 5."""

    # Long enough for the stop to come first on a machine that is busy with something else.
    PAUSE_SECONDS = 6

    def test_no_state_follows_in_a_branch(self, ministack: Ministack, bucket: str) -> None:
        note = create_function(ministack, WRITES_NAME)
        branch = {
            "StartAt": "First",
            "States": {
                "First": note_state(note, bucket, "first", Next="Rest"),
                "Rest": {"Type": "Wait", "Seconds": self.PAUSE_SECONDS, "Next": "Second"},
                "Second": note_state(note, bucket, "second", End=True),
            },
        }
        catch = [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.failure", "Next": "Cleanup"}]
        retry = [{"ErrorEquals": ["States.ALL"], "MaxAttempts": 2}]
        states = {
            "Attempt": {"Type": "Parallel", "Branches": [branch], "Retry": retry, "Catch": catch, "End": True},
            "Cleanup": note_state(note, bucket, "cleanup", End=True),
        }
        execution = start(ministack, create_machine(ministack, states), {})
        self.wait_for(ministack, bucket, "first")

        ministack.client("stepfunctions").stop_execution(executionArn=execution, error="Enough", cause="by hand")
        time.sleep(self.PAUSE_SECONDS + 1)

        described = wait(ministack, execution)
        assert (described["status"], described["error"], described["cause"]) == ("ABORTED", "Enough", "by hand")
        assert keys(ministack, bucket) == ["first"]

    def test_no_retry_follows(self, ministack: Ministack, bucket: str) -> None:
        function = create_function(ministack, FAILS_AT_FIRST)
        retry = [{"ErrorEquals": ["NotYetError"], "IntervalSeconds": self.PAUSE_SECONDS, "MaxAttempts": 5}]
        states = {"Try": {"Type": "Task", "Resource": function, "Retry": retry, "End": True}}
        execution = start(ministack, create_machine(ministack, states), {"bucket": bucket, "succeeds_at": 9})
        self.wait_for(ministack, bucket, "1")

        ministack.client("stepfunctions").stop_execution(executionArn=execution)
        time.sleep(self.PAUSE_SECONDS + 1)

        assert wait(ministack, execution)["status"] == "ABORTED"
        assert keys(ministack, bucket) == ["1"]

    def test_a_nested_execution_is_stopped_too(self, ministack: Ministack, bucket: str) -> None:
        note = create_function(ministack, WRITES_NAME)
        child = create_machine(
            ministack,
            {
                "First": note_state(note, bucket, "first", Next="Rest"),
                "Rest": {"Type": "Wait", "Seconds": self.PAUSE_SECONDS, "Next": "Second"},
                "Second": note_state(note, bucket, "second", End=True),
            },
        )
        execution = start(ministack, create_machine(ministack, {"Nest": nested(child)}), {"plan": 1})
        self.wait_for(ministack, bucket, "first")
        states = ministack.client("stepfunctions")

        states.stop_execution(executionArn=execution)

        [of_child] = states.list_executions(stateMachineArn=child)["executions"]
        assert of_child["status"] == "ABORTED"
        time.sleep(self.PAUSE_SECONDS + 1)
        assert wait(ministack, execution)["status"] == "ABORTED"
        assert keys(ministack, bucket) == ["first"]

    def test_no_child_of_a_distributed_map_follows(self, ministack: Ministack, bucket: str) -> None:
        note = create_function(ministack, WRITES_NAME)
        child = {
            "StartAt": "Note",
            "States": {
                "Note": {"Type": "Task", "Resource": note, "Next": "Rest"},
                "Rest": {"Type": "Wait", "Seconds": self.PAUSE_SECONDS, "End": True},
            },
        }
        each = {
            "Type": "Map",
            "ItemSelector": {"bucket": bucket, "name.$": "$$.Map.Item.Value"},
            "ItemProcessor": {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}} | child,
            "MaxConcurrency": 1,
            "ToleratedFailurePercentage": 100,
            "End": True,
        }
        execution = start(ministack, create_machine(ministack, {"Each": each}), ["first", "second", "third"])
        self.wait_for(ministack, bucket, "first")

        ministack.client("stepfunctions").stop_execution(executionArn=execution)
        time.sleep(self.PAUSE_SECONDS + 1)

        assert wait(ministack, execution)["status"] == "ABORTED"
        assert keys(ministack, bucket) == ["first"]

    def wait_for(self, ministack: Ministack, bucket: str, key: str) -> None:
        """Return when the bucket has the key."""
        deadline = time.monotonic() + 15
        while key not in keys(ministack, bucket):
            assert time.monotonic() < deadline
            time.sleep(0.1)


WRITES_NAME = """
    import boto3

    def handler(event, context):
        boto3.client("s3").put_object(Bucket=event["bucket"], Key=event["name"])
"""


def note_state(function: str, bucket: str, name: str, **more: object) -> dict[str, Any]:
    """Return a state that writes an object of the given name, and passes its input on."""
    parameters = {"bucket": bucket, "name": name}
    return {"Type": "Task", "Resource": function, "Parameters": parameters, "ResultPath": None} | more


class TestStates:
    """Behaviour without patches that the state machines rely on."""

    def test_a_parallel_of_one_branch_catches_the_task_error_by_its_own_name(self, ministack: Ministack) -> None:
        function = create_function(ministack, RAISES)
        branch = {"StartAt": "Mend", "States": {"Mend": {"Type": "Task", "Resource": function, "End": True}}}
        catch = {"ErrorEquals": ["States.ALL"], "ResultPath": "$.failure", "Next": "Report"}
        states = {
            "Attempt": {"Type": "Parallel", "Branches": [branch], "OutputPath": "$[0]", "Catch": [catch], "End": True},
            "Report": {"Type": "Fail", "ErrorPath": "$.failure.Error", "CausePath": "$.failure.Cause"},
        }

        described = run(ministack, states, {"name": "vase"})

        assert (described["status"], described["error"]) == ("FAILED", "BrokenThing")
        assert json.loads(described["cause"])["errorMessage"] == "cannot mend vase"

    def test_a_parallel_of_one_branch_gives_the_output_of_the_branch(self, ministack: Ministack) -> None:
        branch = {"StartAt": "Give", "States": {"Give": {"Type": "Pass", "Result": {"rows": 5}, "End": True}}}
        states = {"Attempt": {"Type": "Parallel", "Branches": [branch], "OutputPath": "$[0]", "End": True}}

        assert json.loads(run(ministack, states, {})["output"]) == {"rows": 5}

    def test_the_first_branch_that_fails_ends_a_parallel_and_no_state_of_another_follows(
        self, ministack: Ministack, bucket: str
    ) -> None:
        note = create_function(ministack, WRITES_NAME)
        waits = {
            "Rest": {"Type": "Wait", "Seconds": 2, "Next": "Second"},
            "Second": note_state(note, bucket, "second", End=True),
        }
        fails = {"Break": {"Type": "Fail", "Error": "TheFirst", "Cause": "no"}}
        catch = [{"ErrorEquals": ["TheFirst"], "ResultPath": "$.failure", "Next": "After"}]
        branches = [{"StartAt": "Rest", "States": waits}, {"StartAt": "Break", "States": fails}]
        states = {
            "Attempt": {"Type": "Parallel", "Branches": branches, "Catch": catch, "End": True},
            "After": note_state(note, bucket, "first", Next="Patience"),
            "Patience": {"Type": "Wait", "Seconds": 3, "End": True},
        }

        execution = start(ministack, create_machine(ministack, states), {})
        assert wait(ministack, execution)["status"] == "SUCCEEDED"
        assert keys(ministack, bucket) == ["first"]

    def test_a_cause_can_be_made_with_a_format(self, ministack: Ministack) -> None:
        states = {"Report": {"Type": "Fail", "Error": "Partial", "CausePath": "States.Format('{} failed', $.name)"}}

        described = run(ministack, states, {"name": "db.a"})

        assert (described["error"], described["cause"]) == ("Partial", "db.a failed")

    def test_a_wait_takes_its_seconds_from_the_input(self, ministack: Ministack) -> None:
        states = {"Pause": {"Type": "Wait", "SecondsPath": "$.poll.seconds", "End": True}}

        described = run(ministack, states, {"poll": {"seconds": 2}})

        assert 2 <= (described["stopDate"] - described["startDate"]).total_seconds() < 4
        assert json.loads(described["output"]) == {"poll": {"seconds": 2}}

    @pytest.mark.parametrize(
        ("request_", "expected"),
        [({"n": 3, "flag": True}, "both"), ({"n": 3, "flag": False}, "number"), ({"flag": True}, "neither")],
    )
    def test_a_choice_combines_conditions(self, ministack: Ministack, request_: object, expected: str) -> None:
        number = [
            {"Variable": "$.n", "IsPresent": True},
            {"Variable": "$.n", "NumericGreaterThanEquals": 3},
        ]
        states: dict[str, Any] = {
            "Which": {
                "Type": "Choice",
                "Choices": [
                    {"And": [*number, {"Variable": "$.flag", "BooleanEquals": True}], "Next": "both"},
                    {"And": number, "Next": "number"},
                ],
                "Default": "neither",
            }
        }
        states |= {name: {"Type": "Pass", "Result": name, "End": True} for name in ("both", "number", "neither")}

        assert json.loads(run(ministack, states, request_)["output"]) == expected

    def test_an_inline_map_keeps_order_and_its_limit(self, ministack: Ministack, bucket: str) -> None:
        function = create_function(
            ministack,
            """
            import time, uuid
            import boto3

            def handler(event, context):
                s3 = boto3.client("s3")
                key = str(uuid.uuid4())
                s3.put_object(Bucket=event["bucket"], Key=key)
                running = s3.list_objects_v2(Bucket=event["bucket"])["KeyCount"]
                time.sleep(0.3)
                s3.delete_object(Bucket=event["bucket"], Key=key)
                return {"item": event["item"], "index": event["index"], "running": running}
            """,
        )
        states = {
            "Each": {
                "Type": "Map",
                "ItemsPath": "$.items",
                "ItemSelector": {"bucket.$": "$.bucket", "item.$": "$$.Map.Item.Value", "index.$": "$$.Map.Item.Index"},
                "MaxConcurrency": 2,
                "ItemProcessor": {
                    "ProcessorConfig": {"Mode": "INLINE"},
                    "StartAt": "Call",
                    "States": {"Call": {"Type": "Task", "Resource": function, "End": True}},
                },
                "End": True,
            }
        }

        results = json.loads(run(ministack, states, {"bucket": bucket, "items": ["a", "b", "c", "d", "e"]})["output"])

        assert [(result["item"], result["index"]) for result in results] == list(zip("abcde", range(5), strict=True))
        assert max(result["running"] for result in results) == 2

    def test_a_map_over_nothing_succeeds(self, ministack: Ministack) -> None:
        processor = {"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}}
        states = {"Each": {"Type": "Map", "ItemsPath": "$.items", "ItemProcessor": processor, "End": True}}

        assert json.loads(run(ministack, states, {"items": []})["output"]) == []


class TestDistributedMap:
    """The copy machine's Map: items from a JSON file in S3, standard children."""

    def states(self, processor: dict[str, Any], **more: object) -> dict[str, Any]:
        """Return a machine of one distributed Map."""
        config = {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}}
        return {
            "Each": {
                "Type": "Map",
                "ItemReader": {
                    "Resource": "arn:aws:states:::s3:getObject",
                    "ReaderConfig": {"InputType": "JSON"},
                    "Parameters": {"Bucket.$": "$.bucket", "Key.$": "$.key"},
                },
                "ItemSelector": {"batch.$": "$$.Map.Item.Value", "run.$": "$.run"},
                "ItemProcessor": config | processor,
                "MaxConcurrency": 2,
                "ResultPath": None,
                "End": True,
            }
            | more
        }

    def request(self, ministack: Ministack, bucket: str, items: list[Any]) -> dict[str, str]:
        """Write the items to S3, and return the machine's input."""
        ministack.client("s3").put_object(Bucket=bucket, Key="plan.json", Body=json.dumps(items).encode())
        return {"bucket": bucket, "key": "plan.json", "run": "r1"}

    def test_it_reads_items_from_s3_and_selects_the_input_of_each(self, ministack: Ministack, bucket: str) -> None:
        echo = {"StartAt": "Echo", "States": {"Echo": {"Type": "Pass", "End": True}}}
        request = self.request(ministack, bucket, [{"n": 1}, {"n": 2}])

        described = run(ministack, self.states(echo, ResultPath="$.results"), request)

        expected = [{"batch": {"n": 1}, "run": "r1"}, {"batch": {"n": 2}, "run": "r1"}]
        assert json.loads(described["output"])["results"] == expected

    def test_it_selects_a_field_of_an_item_and_gives_nothing(self, ministack: Ministack, bucket: str) -> None:
        check = {
            "StartAt": "Check",
            "States": {
                "Check": {
                    "Type": "Choice",
                    "Choices": [{"Variable": "$.n", "NumericEquals": 7, "Next": "Good"}],
                    "Default": "Bad",
                },
                "Good": {"Type": "Pass", "OutputPath": None, "End": True},
                "Bad": {"Type": "Fail"},
            },
        }
        request = self.request(ministack, bucket, [{"n": 7}])
        states = self.states(check, ItemSelector={"n.$": "$$.Map.Item.Value.n"}, OutputPath=None)

        described = run(ministack, states, request)

        assert (described["status"], described["output"]) == ("SUCCEEDED", "{}")

    def test_it_succeeds_over_an_empty_file(self, ministack: Ministack, bucket: str) -> None:
        echo = {"StartAt": "Echo", "States": {"Echo": {"Type": "Pass", "End": True}}}
        request = self.request(ministack, bucket, [])

        described = run(ministack, self.states(echo), request)

        assert (described["status"], json.loads(described["output"])) == ("SUCCEEDED", request)

    def test_it_tolerates_every_failure_when_told_to(self, ministack: Ministack, bucket: str) -> None:
        fail = {"StartAt": "Fail", "States": {"Fail": {"Type": "Fail", "Error": "Broken"}}}
        request = self.request(ministack, bucket, [1, 2])

        described = run(ministack, self.states(fail, ToleratedFailurePercentage=100), request)

        assert (described["status"], json.loads(described["output"])) == ("SUCCEEDED", request)

    def test_one_failure_fails_it_by_default_under_a_name_of_its_own(self, ministack: Ministack, bucket: str) -> None:
        choose = {
            "StartAt": "Choose",
            "States": {
                "Choose": {
                    "Type": "Choice",
                    "Choices": [{"Variable": "$.batch", "NumericEquals": 2, "Next": "Fail"}],
                    "Default": "Pass",
                },
                "Fail": {"Type": "Fail", "Error": "Broken"},
                "Pass": {"Type": "Pass", "End": True},
            },
        }
        request = self.request(ministack, bucket, [1, 2, 3])

        described = run(ministack, self.states(choose), request)

        assert (described["status"], described["error"]) == ("FAILED", "States.ExceedToleratedFailureThreshold")


def test_functions_with_equal_layers_read_one_extracted_copy(ministack: Ministack) -> None:
    says_where = """
        import os
        import colour

        def handler(event, context):
            return [colour.NAME, os.path.realpath(colour.__file__)]
    """
    blue, green = (create_layer(ministack, "colour", f"NAME = '{name}'") for name in ("blue", "green"))

    def ask(layer: str) -> Any:
        function = create_function(ministack, says_where, layers=[layer])
        described = run(ministack, {"Ask": {"Type": "Task", "Resource": function, "End": True}}, {})
        return json.loads(described["output"])

    first, second, other = ask(blue), ask(blue), ask(green)

    assert first == second
    assert (first[0], other[0]) == ("blue", "green")
    assert first[1] != other[1]
    assert "/.local-cache/layers/" in first[1], "it is there for other emulators, too"


class TestColdStarts:
    """Workers of functions with equal layers are forked from one process, and must not notice it."""

    COUNTS = """
        import os
        NAME = os.environ.get("AWS_LAMBDA_FUNCTION_NAME")
        calls = []
    """
    TELLS = """
        import os
        import sys
        import counted

        def handler(event, context):
            counted.calls.append(1)
            mine = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
            return {"calls": len(counted.calls), "is_mine": mine == context.function_name, "parent": os.getppid()}
    """

    def tell(self, ministack: Ministack, function: str) -> Any:
        return json.load(ministack.client("lambda").invoke(FunctionName=function)["Payload"])

    def test_workers_of_functions_with_equal_layers_have_one_parent(self, ministack: Ministack) -> None:
        # As Powertools do, to find out whether they are in Lambda.
        looks = "import os; calls, is_in_lambda = [], bool(os.environ.get('LAMBDA_TASK_ROOT'))"
        layer = create_layer(ministack, "counted", looks)
        one, other = (create_function(ministack, self.TELLS, layers=[layer]) for _ in range(2))

        assert self.tell(ministack, one)["parent"] == self.tell(ministack, other)["parent"]

    def test_each_begins_with_fresh_modules_and_its_own_environment(self, ministack: Ministack) -> None:
        layer = create_layer(ministack, "counted", "calls = []")
        one, other = (create_function(ministack, self.TELLS, layers=[layer]) for _ in range(2))

        told = [self.tell(ministack, function) for function in (one, one, other)]

        assert [(each["calls"], each["is_mine"]) for each in told] == [(1, True), (2, True), (1, True)]

    def test_a_layer_that_reads_the_environment_as_it_is_imported_reads_the_function_s_own(
        self, ministack: Ministack
    ) -> None:
        layer = create_layer(ministack, "counted", self.COUNTS)
        code = """
            import counted

            def handler(event, context):
                return counted.NAME == context.function_name
        """
        one, other = (create_function(ministack, code, layers=[layer]) for _ in range(2))

        assert [self.tell(ministack, function) for function in (one, other)] == [True, True]

    def test_a_function_lacks_what_is_in_a_layer_that_only_another_has(self, ministack: Ministack) -> None:
        counted, bare = create_layer(ministack, "counted", "calls = []"), create_layer(ministack, "bare", "")
        has = create_function(ministack, self.TELLS, layers=[bare, counted])
        lacks = create_function(ministack, self.TELLS, layers=[bare])

        assert self.tell(ministack, has)["calls"] == 1
        assert "No module named 'counted'" in self.tell(ministack, lacks)["errorMessage"]

    def test_a_function_s_own_module_is_not_taken_for_one_that_another_imported(self, ministack: Ministack) -> None:
        layer = create_layer(ministack, "counted", "calls = []")
        others = "import counted, yaml\ndef handler(event, context): return yaml.__name__"
        own = "import counted, yaml\ndef handler(event, context): return yaml.OWN"
        other = create_function(ministack, others, layers=[layer])
        function = create_function(ministack, own, layers=[layer], modules={"yaml": "OWN = 'own'"})

        assert [self.tell(ministack, each) for each in (other, function)] == ["yaml", "own"]

    def test_one_that_takes_too_long_is_ended_and_the_next_is_a_new_one(self, ministack: Ministack) -> None:
        layer = create_layer(ministack, "counted", "calls = []")
        code = """
            import os
            import threading
            import counted

            def handler(event, context):
                if event["hangs"]:
                    threading.Event().wait()
                return os.getpid()
        """
        function = create_function(ministack, code, layers=[layer], timeout_seconds=2)

        def call(*, hangs: bool) -> Any:
            payload = json.dumps({"hangs": hangs})
            return json.load(ministack.client("lambda").invoke(FunctionName=function, Payload=payload)["Payload"])

        first = call(hangs=False)
        assert "timed out" in call(hangs=True)["errorMessage"]

        assert call(hangs=False) != first
        assert not Path(f"/proc/{first}").exists()


def test_a_function_can_describe_an_execution(ministack: Ministack) -> None:
    function = create_function(
        ministack,
        """
        import boto3

        def handler(event, context):
            states = boto3.client("stepfunctions")
            return {
                "status": states.describe_execution(executionArn=event["execution"])["status"],
                "missing": describe_error(states, event["execution"] + "x"),
            }

        def describe_error(states, arn):
            try:
                states.describe_execution(executionArn=arn)
            except states.exceptions.ExecutionDoesNotExist as err:
                return err.response["Error"]["Code"]
        """,
    )
    parameters = {"execution.$": "$$.Execution.Id"}
    states = {"Ask": {"Type": "Task", "Resource": function, "Parameters": parameters, "End": True}}

    described = run(ministack, states, {})

    assert json.loads(described["output"]) == {"status": "RUNNING", "missing": "ExecutionDoesNotExist"}


class TestPolicies:
    """With policies enforced, a function may do what its role says; and patch 7."""

    @pytest.mark.parametrize(
        ("action", "is_allowed"), [("s3:PutObject", True), ("s3:GetObject", False)], ids=["allowed", "not allowed"]
    )
    def test_a_bucket_for_tls_only_takes_what_the_role_allows(self, action: str, *, is_allowed: bool) -> None:
        with Ministack(enforce_policies=True) as server:
            s3 = server.client("s3")
            s3.create_bucket(Bucket="guarded")
            over_tls = {
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": ["arn:aws:s3:::guarded", "arn:aws:s3:::guarded/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
            s3.put_bucket_policy(
                Bucket="guarded", Policy=json.dumps({"Version": "2012-10-17", "Statement": [over_tls]})
            )
            role = create_role(server, {"Effect": "Allow", "Action": action, "Resource": "arn:aws:s3:::guarded/*"})
            function = create_function(server, WRITES_NAME, role=role)

            event = json.dumps({"bucket": "guarded", "name": "note"})
            answer = server.client("lambda").invoke(FunctionName=function, Payload=event)

            if is_allowed:
                assert "FunctionError" not in answer
                assert keys(server, "guarded") == ["note"]
            else:
                assert "AccessDenied" in json.load(answer["Payload"])["errorMessage"]

    def test_a_marker_is_written_only_with_a_condition_by_who_may_do_so_only(self) -> None:
        with Ministack(enforce_policies=True) as server:
            server.client("s3").create_bucket(Bucket="guarded")
            allowed = {
                "Effect": "Allow",
                "Action": "s3:PutObject",
                "Resource": "arn:aws:s3:::guarded/*",
                "Condition": {"Null": {"s3:if-none-match": "false"}},
            }
            function = create_function(server, PUTS, role=create_role(server, allowed))
            answers = []
            for condition in ({"IfNoneMatch": "*"}, {}, {"IfMatch": "etag"}):
                event = json.dumps({"Bucket": "guarded", "Key": "marker", "Body": "{}", **condition})
                answer = server.client("lambda").invoke(FunctionName=function, Payload=event)
                answers.append(json.load(answer["Payload"]))

        assert answers == ["written", "AccessDenied", "AccessDenied"]

    def test_events_may_be_put_by_who_may_put_ours(self) -> None:
        with Ministack(enforce_policies=True) as server:
            allowed = {
                "Effect": "Allow",
                "Action": "events:PutEvents",
                "Resource": "arn:aws:events:us-east-1:000000000000:event-bus/default",
                "Condition": {"StringEquals": {"events:source": "milvus-vault"}},
            }
            function = create_function(server, PUTS_EVENT, role=create_role(server, allowed))
            answer = server.client("lambda").invoke(FunctionName=function, Payload="{}")
            assert json.load(answer["Payload"]) == 0


PUTS = """
    import boto3
    from botocore.exceptions import ClientError

    def handler(event, context):
        try:
            boto3.client("s3").put_object(**event)
        except ClientError as err:
            return err.response["Error"]["Code"]
        return "written"
"""

PUTS_EVENT = """
    import boto3

    def handler(event, context):
        entry = {"Source": "milvus-vault", "DetailType": "test", "Detail": "{}"}
        return boto3.client("events").put_events(Entries=[entry])["FailedEntryCount"]
"""

READS_SCHEDULE = """
    import boto3

    def handler(event, context):
        return boto3.client("scheduler").get_schedule(**event)["ScheduleExpressionTimezone"]
"""


class TestScheduleGroups:
    """Patch of schedules."""

    def test_a_stack_s_schedule_has_its_time_zone_and_is_read_by_who_may_read_its_group(self) -> None:
        with Ministack(enforce_policies=True) as server:
            schedule = {
                "Name": "nightly",
                "GroupName": {"Ref": "Group"},
                "ScheduleExpression": "rate(1 day)",
                "ScheduleExpressionTimezone": "Europe/Berlin",
                "FlexibleTimeWindow": {"Mode": "OFF"},
                "Target": {
                    "Arn": "arn:aws:sqs:us-east-1:000000000000:q",
                    "RoleArn": "arn:aws:iam::000000000000:role/r",
                },
            }
            resources = {
                "Group": {"Type": "AWS::Scheduler::ScheduleGroup", "Properties": {"Name": "vault"}},
                "Schedule": {"Type": "AWS::Scheduler::Schedule", "Properties": schedule},
            }
            deployment.deploy(server.client("cloudformation"), {"Resources": resources}, "grouped", {})
            answers = {}
            for group in ("vault", "other"):
                allowed = f"arn:aws:scheduler:us-east-1:000000000000:schedule/{group}/*"
                role = create_role(server, {"Effect": "Allow", "Action": "scheduler:GetSchedule", "Resource": allowed})
                function = create_function(server, READS_SCHEDULE, role=role)
                event = json.dumps({"Name": "nightly", "GroupName": "vault"})
                answer = server.client("lambda").invoke(FunctionName=function, Payload=event)
                answers[group] = json.load(answer["Payload"])

        assert answers["vault"] == "Europe/Berlin"
        assert "AccessDenied" in answers["other"]["errorMessage"]


class TestConditionalWrites:
    """What claims and the commit marker rest on."""

    def test_a_put_if_none_match_has_one_winner(self, ministack: Ministack, bucket: str) -> None:
        s3 = ministack.client("s3")

        s3.put_object(Bucket=bucket, Key="claim", Body=b"first", IfNoneMatch="*")
        with pytest.raises(ClientError) as refused:
            s3.put_object(Bucket=bucket, Key="claim", Body=b"second", IfNoneMatch="*")

        assert refused.value.response["Error"]["Code"] == "PreconditionFailed"
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412
        assert s3.get_object(Bucket=bucket, Key="claim")["Body"].read() == b"first"

    def test_a_put_if_match_refuses_another_state_of_the_object(self, ministack: Ministack, bucket: str) -> None:
        s3 = ministack.client("s3")
        etag = s3.put_object(Bucket=bucket, Key="claim", Body=b"first")["ETag"]

        s3.put_object(Bucket=bucket, Key="claim", Body=b"second", IfMatch=etag)
        with pytest.raises(ClientError) as refused:
            s3.put_object(Bucket=bucket, Key="claim", Body=b"third", IfMatch=etag)

        assert refused.value.response["Error"]["Code"] == "PreconditionFailed"
        assert s3.get_object(Bucket=bucket, Key="claim")["Body"].read() == b"second"

    def test_a_copy_refuses_a_source_that_has_changed(self, ministack: Ministack, bucket: str) -> None:
        s3 = ministack.client("s3")
        etag = s3.put_object(Bucket=bucket, Key="source", Body=b"old")["ETag"]
        s3.put_object(Bucket=bucket, Key="source", Body=b"new")

        with pytest.raises(ClientError) as refused:
            s3.copy_object(
                Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "source"}, CopySourceIfMatch=etag
            )

        assert refused.value.response["Error"]["Code"] == "PreconditionFailed"
        assert keys(ministack, bucket) == ["source"]


ECHOES = """
    def handler(event, context):
        return {"statusCode": 200, "body": event["httpMethod"] + " " + event["path"]}
"""


class TestAnyMethod:
    """Patch of the import of REST APIs."""

    def test_an_api_made_by_sam_answers_every_method_on_every_path(self, ministack: Ministack) -> None:
        name = f"any-method-{uuid.uuid4()}"
        function = create_function(ministack, ECHOES)
        uri = f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{function}/invocations"
        integration = {"type": "aws_proxy", "httpMethod": "POST", "uri": uri}
        operation = {"x-amazon-apigateway-integration": integration}
        paths = {"/{proxy+}": {"x-amazon-apigateway-any-method": operation}}
        api = {"Type": "AWS::ApiGateway::RestApi", "Properties": {"Name": name, "Body": {"paths": paths}}}
        resources = {
            "Api": api,
            "Deployment": {"Type": "AWS::ApiGateway::Deployment", "Properties": {"RestApiId": {"Ref": "Api"}}},
            "Stage": {
                "Type": "AWS::ApiGateway::Stage",
                "Properties": {"RestApiId": {"Ref": "Api"}, "DeploymentId": {"Ref": "Deployment"}, "StageName": "v1"},
            },
        }
        template = {"Resources": resources, "Outputs": {"Api": {"Value": {"Ref": "Api"}}}}
        outputs = deployment.deploy(ministack.client("cloudformation"), template, name, {})
        url = f"{ministack.url}/_aws/execute-api/{outputs['Api']}/v1"

        assert call(url, "GET", "/backups").text == "GET /backups"
        assert call(url, "DELETE", "/backups/a/hold").text == "DELETE /backups/a/hold"


class TestHistoryOfBranches:
    """Patch of the history."""

    def test_a_state_in_a_branch_is_in_the_history(self, ministack: Ministack) -> None:
        inner = {"StartAt": "Inner", "States": {"Inner": {"Type": "Pass", "End": True}}}
        outer = {"Type": "Parallel", "Branches": [inner], "End": True}
        described = run(ministack, {"Outer": outer}, {})

        states = ministack.client("stepfunctions")
        history = states.get_execution_history(executionArn=described["executionArn"])["events"]
        entered = [
            event["stateEnteredEventDetails"]["name"] for event in history if "stateEnteredEventDetails" in event
        ]
        assert entered == ["Outer", "Inner"]


class TestHttpServer:
    """Patch of the server."""

    def test_requests_are_answered_by_uvicorn(self, ministack: Ministack) -> None:
        answer = requests.get(f"{ministack.url}/_ministack/health", timeout=5)
        assert answer.headers["server"] == "uvicorn"
