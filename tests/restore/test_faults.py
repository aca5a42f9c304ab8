"""Whatever a function is given or answered, it ends in a result or a named failure; no result says more than is so.

Each function is called several times with one answer of S3, Milvus or another service gone wrong in each, by chance,
and then once as it should be: so every call after the first meets what the ones before have left.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvus_vault.adapters.management import MilvusGarbageCollector
from milvus_vault.adapters.s3 import S3ObjectStore
from milvus_vault.api.routes import ROUTES
from milvus_vault.archive.layout import BackupLayout
from milvus_vault.backup.pauses import Pauses
from milvus_vault.errors import VaultError
from milvus_vault.model.names import attempt_of, dataset_run
from tests.restore.servers import BOOKS, PENS, Filled, Servers
from tests.support.faults import cases, hard_values
from tests.support.meddling import Faults, Faulty, meddling
from tests.support.quick_aws import QuickAws, execution_arn, machine_arn
from tests.support.restoring import BACKUPS, PREFIX, Json

# Not every invocation has something to count.
pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

FUNCTIONS = sorted(path.parent.name for path in (Path(__file__).parents[2] / "functions").glob("*/handler.py"))
VERSION = "2.6.19"
KINDS = ("backup", "restore", "verify", "prune", "export", "drill")
ENVIRONMENT = {
    **{f"{kind}_STATE_MACHINE_ARN".upper(): machine_arn(kind) for kind in KINDS},
    "INSPECT_MILVUS_FUNCTION_NAME": "inspect",
    "SCHEDULE_GROUP": "vault",
    "SCHEDULE_ROLE_ARN": "arn:aws:iam::000000000000:role/schedule",
    "DEAD_LETTER_QUEUE_ARN": "arn:aws:sqs:us-east-1:000000000000:dead",
    "STACK_NAME": "vault",
    "ALARM_TOPIC_ARN": "arn:aws:sns:us-east-1:000000000000:alarms",
}
NIGHTLY = {"name": "nightly", "retention": {"keep_last": 1}}
SELECTED: Json = {"collections": ["default.books", "default.pens"]}
STARTED = "2026-01-01T00:00:00Z"


def asked(kind: str, name: str, **request: Any) -> Json:
    """Return what a machine tells the first of its functions."""
    return {"execution": {"arn": execution_arn(kind, name), "started_at": STARTED}, "request": request}


# What the API is asked for: each route, with bodies where it needs one, and paths of what there is.
BODIES: Mapping[str, Json] = {
    "POST /backups": {"backup_name": "another"},
    "POST /drills": {"backup_name": "newer"},
    "POST /exports": {"backup_name": "newer", "export_name": "exported"},
    "POST /backups/{name}/copies": {"to": {"prefix": "exports/copies"}},
    "POST /restores": {"backup_name": "newer", "suffix": "_x"},
    "POST /restores/plan": {"backup_name": "newer", "suffix": "_x"},
    "PUT /backups/{name}/hold": {"reason": "audit"},
    "PUT /schedules/{name}": {"expression": "rate(1 day)"},
}


def api_event(method: str, path: str) -> Json:
    """Return what API Gateway makes of a request to a route."""
    names = {
        "name": "weekly" if path.startswith("/schedules") else "newer",
        "other": "newer",
        "collection": "default.books",
        "run_id": "backup-b",
        "restore_id": "restore-r",
    }
    return {
        "httpMethod": method,
        "path": path.format(**names),
        "headers": {"Accept": "*/*"},
        "multiValueQueryStringParameters": None,
        "requestContext": {"requestId": "1", "identity": {"userArn": "arn:aws:iam::000000000000:user/ann"}},
        "body": json.dumps(BODIES.get(f"{method} {path}", {})),
        "isBase64Encoded": False,
    }


CHANGE = {
    "executionArn": execution_arn("backup", "a"),
    "stateMachineArn": machine_arn("backup"),
    "name": "a",
    "status": "FAILED",
    "startDate": 1_767_225_600_000,
    "stopDate": 1_767_225_660_000,
    "input": "{}",
    "error": "MilvusUnavailableError",
    "cause": "gone",
}

DATASET = dataset_run(BACKUPS, f"{PREFIX}/.datasets/newer/")

# What the functions that neither back up nor restore are called with, in the order in which they may be.
OTHERS: Mapping[str, Sequence[Json]] = {
    "verify_backup": (
        asked("verify", "newer", backup_name="newer"),
        asked("verify", "rotten", backup_name="rotten"),
        asked("verify", "lost", backup_name="lost", repair=True),
        asked("verify", "deep", backup_name="newer", level="deep"),
    ),
    "check_objects": ({"run": "verify-deep", "batch": 0},),
    "prepare_export": (
        asked("export", "e", backup_name="newer", export_name="exported"),
        asked("export", "f", backup_name="newer", export_name="newer", to={"prefix": "exports/team"}),
        asked("export", "g", backup_name="newer", export_name="newer", to={"prefix": "exports/copies"}, is_copy=True),
        asked("export", "rows", backup_name="newer", export_name="newer", format="parquet"),
    ),
    "write_rows": ({"run": DATASET, "batch": f"rows/{attempt_of(execution_arn('export', 'rows'))}/batch-0-0"},),
    "plan_prune": (asked("prune", "p"),),
    "carry_out_prune": ({"run": "prune-p"},),
    "watch_schedules": ({},),
    "tend_pauses": ({},),
    "announce_run": ({"detail": CHANGE},),
    "record_failure": (
        {"machine": "backup", "execution_arn": CHANGE["executionArn"], "error": "E", "cause": "c", "request": {}},
    ),
    "inspect_milvus": (
        *({"inspection": name} for name in ("collections", "check", "estimate", "selection")),
        {"inspection": "estimate", "backup": {"mode": "incremental"}},
        {"inspection": "plan", "restore": {"backup_name": "newer", "suffix": "_planned"}},
    ),
    "api": tuple(api_event(route.method, route.path) for route in ROUTES),
}


@dataclass
class World:
    """An account with backups, a restore, schedules and leftovers, beside a filled server."""

    aws: QuickAws
    filled: Filled
    events: dict[str, list[Json]] = field(default_factory=dict)
    """What each function was called with, where all went well."""

    def faulty(self, seed: int, *, at_once: bool = True, **more: Any) -> Faulty:
        """Return the deployment with faults; PlanCopy copies what is little at once, or leaves it to CopyBatch."""
        server = self.filled.restoring.server
        environment = {**ENVIRONMENT, "MILVUS_MANAGEMENT_URI": server.management_uri}
        if not at_once:
            environment["COPY_AT_ONCE_OBJECTS"] = "0"
        return Faulty(self.filled.restoring.s3, server, environment, faults=Faults(seed), **more)

    def objects(self, name: str) -> dict[str, bytes]:
        """Return all objects of a backup."""
        return self.aws.objects(BACKUPS, f"{PREFIX}/{name}/")


def handler_of(function: str) -> Any:
    """Return the handler of a function."""
    return import_module(f"{function}.handler").handler


@pytest.fixture(scope="module")
def quick_s3() -> Iterator[QuickAws]:
    """An S3 with the other services beside it, for this module's servers as well."""
    with QuickAws() as account:
        yield account


@pytest.fixture(scope="module")
def world(quick_s3: QuickAws, servers: Servers) -> World:
    """Fill an account: `newer` and `older` of a schedule, `rotten` without an object, `lost` without its marker."""
    made = World(quick_s3, servers.filled(VERSION))
    calm = made.faulty(0, count=0)
    calm.back_up("older", started_at="2025-12-31T00:00:00Z", schedule=NIGHTLY, **SELECTED)
    calm.back_up("newer", schedule=NIGHTLY, **SELECTED)
    by_steps = made.faulty(0, count=0, at_once=False)
    by_steps.back_up("rotten", **SELECTED)
    calm.back_up("lost", **SELECTED)
    # Without a moment, so that its logs are read for what was deleted last.
    calm.back_up("unflushed", skip_flush=True, **SELECTED)
    calm.restore({"backup_name": "unflushed", "suffix": "_r", **SELECTED})
    assert calm.drill({"backup_name": "newer"})["status"] == "proven"
    quick_s3.drop(BACKUPS, next(key for key in made.objects("rotten") if "/insert_log/" in key))
    quick_s3.drop(BACKUPS, BackupLayout(PREFIX, "lost").marker)
    for kind, name, status in (("backup", "a", "FAILED"), ("backup", "b", "RUNNING"), ("restore", "r", "SUCCEEDED")):
        quick_s3.begin(kind, name, {}, status)
    for name in ("nightly", "weekly"):
        target = {"Input": json.dumps({"schedule": {**NIGHTLY, "name": name}})}
        quick_s3.UpdateSchedule(
            {"Name": name, "ScheduleExpression": "rate(1 day)", "State": "ENABLED", "Target": target}
        )
    with calm.functions() as call:
        pauses = Pauses(S3ObjectStore.shared(), BACKUPS, PREFIX)
        for name in ("a", "b"):
            begun = datetime.now(UTC) - timedelta(minutes=40)
            pauses.begin(MilvusGarbageCollector(calm.server.management_uri), execution_arn("backup", name), begun)
        for event in OTHERS["inspect_milvus"]:
            quick_s3.invoked[event["inspection"]] = call(handler_of("inspect_milvus"), event)
    for function, event, _ in (*calm.told, *by_steps.told):
        made.events.setdefault(function, []).append(event)
    return made


def test_each_function_is_called_here(world: World) -> None:
    """So that a new one cannot be forgotten; and that all of them do what they should where nothing goes wrong."""
    assert sorted({*world.events, *OTHERS}) == FUNCTIONS
    calm = world.faulty(0, count=0)
    with world.aws.kept(), calm.functions() as call:
        for function, events in OTHERS.items():
            for event in events:
                found = call(handler_of(function), event)
                assert found.get("statusCode", 200) < 400, (event, found)
    assert calm.unnamed == []


def test_what_deletes_has_something_to_delete_here(world: World) -> None:
    calm = world.faulty(0, count=0)
    with world.aws.kept(), calm.functions() as call:
        for function in ("plan_prune", "carry_out_prune"):
            call(handler_of(function), OTHERS[function][0])
        assert not world.objects("older")


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("version", ["2.3.5", VERSION])
@cases(1, most=12)
@given(seed=st.integers(0, 2**32))
def test_whatever_a_backup_and_a_restore_are_answered_they_end_by_name(
    filled: Filled, quick_s3: QuickAws, version: str, at_once: bool, seed: int
) -> None:
    sound = filled.restoring
    faulty = World(quick_s3, filled).faulty(seed, at_once=at_once)
    name, suffix = filled.named(f"faults_{at_once}_{seed}"), f"_{at_once}_{seed}"
    is_backed_up = False
    with quick_s3.kept(), meddling(faulty.faults, quick_s3):
        # A function may have noted a failure that it met by chance, of a collection or of all of them.
        with suppress(VaultError, AssertionError):
            faulty.back_up(name, skip_flush=seed % 2 == 0, **SELECTED)
            is_backed_up = True
        assert faulty.unnamed == []
        asked_for = {"backup_name": name if is_backed_up else filled.backup, "suffix": suffix, **SELECTED}
        report: Json = {"status": "none", "collections": []}
        with suppress(VaultError, AssertionError):
            report = faulty.restore({**asked_for, "allow_version": version == "2.3.5"})
        assert faulty.unnamed == []

        restored = {told["target"]["name"] for told in report["collections"] if told["status"] == "restored"}
        for collection, rows in (("books", BOOKS), ("pens", PENS)):
            if f"{collection}{suffix}" in restored:
                assert filled.keys(f"{collection}{suffix}") == rows
        if is_backed_up:
            faulty.faults.disarm()
            again = sound.restore(
                {
                    "backup_name": name,
                    "suffix": f"{suffix}_again",
                    "allow_version": True,
                    "collections": ["default.books"],
                }
            )
            assert again["status"] == "complete"
            assert filled.keys(f"books{suffix}_again") == BOOKS


@pytest.mark.parametrize("version", ["2.3.5", VERSION])
@cases(1, most=12)
@given(seed=st.integers(0, 2**32))
def test_whatever_a_drill_is_answered_it_ends_by_name_and_the_next_one_leaves_nothing(
    filled: Filled, quick_s3: QuickAws, version: str, seed: int
) -> None:
    sound = filled.restoring
    faulty = World(quick_s3, filled).faulty(seed)
    asked_for = {"backup_name": filled.backup, "allow_version": version == "2.3.5"}
    databases = sound.server.core.catalog.databases
    before = set(databases)
    with quick_s3.kept(), meddling(faulty.faults, quick_s3):
        with suppress(VaultError, AssertionError):
            faulty.drill(asked_for)
        assert faulty.unnamed == []
        faulty.faults.disarm()
        result = sound.drill(asked_for)
        assert (result["status"], result["warnings"]) == ("proven", [])
        assert set(databases) == before


@cases(1, most=15)
@given(seed=st.integers(0, 2**32))
def test_whatever_the_other_functions_are_answered_they_end_by_name(world: World, seed: int) -> None:
    faulty = world.faulty(seed)
    before = {name: world.objects(name) for name in ("newer", world.filled.backup)}
    with world.aws.kept(), faulty.functions() as call, meddling(faulty.faults, world.aws):
        for function, events in OTHERS.items():
            for event in events:
                with suppress(VaultError):
                    call(handler_of(function), event)
        faulty.faults.disarm()
        assert faulty.unnamed == []

        for function, event, result in faulty.told:
            if function == "verify_backup" and event["request"]["backup_name"] == "rotten":
                assert not (result["is_done"] and result["status"] == "intact")
            if function == "carry_out_prune":
                assert result["deleted_count"] == 0 or not world.objects("older")
        # Nothing is deleted but what may be, and what is sound is found to be so by the next who looks.
        for name, objects in before.items():
            assert world.objects(name) == objects
        for name in ("newer", "lost"):
            found = faulty.once(
                handler_of("verify_backup"), asked("verify", f"{name}-again", backup_name=name, repair=name == "lost")
            )
            assert found["status"] == "intact", found["cause"]


@st.composite
def spoiled(draw: st.DrawFn, event: Json) -> Json:
    """Return an event of which one or two values are others, are missing, or have something beside them."""
    given_as = deepcopy(event)
    for _ in range(draw(st.integers(1, 2))):
        at: Any = given_as
        while isinstance(at, dict | list) and at:
            key = draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
            if not isinstance(at[key], dict | list) or not at[key] or draw(st.booleans()):
                break
            at = at[key]
        if not at:
            continue
        match draw(st.sampled_from(["other", "other", "other", "missing", "more"])):
            case "other":
                at[key] = draw(hard_values)
            case "missing":
                del at[key]
            case _ if isinstance(at, dict):
                at["more"] = draw(hard_values)
    return given_as


@cases(150, most=5000)
@given(function=st.sampled_from(FUNCTIONS), data=st.data())
def test_whatever_a_function_is_given_it_ends_by_name(world: World, function: str, data: st.DataObject) -> None:
    event = data.draw(st.sampled_from(world.events.get(function) or OTHERS[function]).flatmap(spoiled) | hard_values)
    calm = world.faulty(0, is_guarded=False)
    with world.aws.kept(), calm.functions(), suppress(VaultError):
        calm.once(handler_of(function), event)
    assert calm.unnamed == []
