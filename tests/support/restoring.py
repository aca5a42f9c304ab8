"""Backups and restores without a stack: through the handlers, in the order of the state machines.

Each handler may do no more than its role in the template allows.
"""

import json
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from advance_restore.handler import handler as advance_restore
from check_objects.handler import handler as check_objects
from clean_up_restore.handler import handler as clean_up_restore
from conclude_drill.handler import handler as conclude_drill
from copy_batch.handler import handler as copy_batch
from cut_collections.handler import handler as cut_collections
from mypy_boto3_s3 import S3Client
from plan_copy.handler import handler as plan_copy
from prepare_backup.handler import handler as prepare_backup
from prepare_drill.handler import handler as prepare_drill
from prepare_restore.handler import handler as prepare_restore
from prove_drill.handler import handler as prove_drill
from publish_backup.handler import handler as publish_backup
from report_restore.handler import handler as report_restore
from snapshot_batch.handler import handler as snapshot_batch
from tend_pauses.handler import handler as tend_pauses
from verify_copy.handler import handler as verify_copy

from milvus_vault import runtime
from milvus_vault.errors import VaultError
from tests.conformance.asking import Milvus
from tests.support.lambda_context import Invocation
from tests.support.milvus_server.server import MilvusServer
from tests.support.privilege import guarded, read_batches
from tests.support.quick_s3 import URL as QUICK_URL

BACKUPS, PREFIX, STAGING = "vault-backups", "team", "staging"
_PAUSE_SECONDS = 0.01
_PATIENCE_SECONDS = 60

type Json = dict[str, Any]


@dataclass
class Restoring:
    """A deployment for one server: its environment, and the buckets."""

    s3: S3Client
    server: MilvusServer
    environment: Mapping[str, str] = field(default_factory=dict)
    after: Mapping[str, Callable[[], object]] = field(default_factory=dict)
    """What happens in between, by the function that it comes after."""
    repeats: bool = False
    """Whether each function is called twice, as Lambda and a retry may do."""

    @property
    def backups(self) -> str:
        """The bucket of the backups."""
        return self.environment.get("BACKUP_BUCKET_NAME", BACKUPS)

    @cached_property
    def milvus(self) -> Milvus:
        """What asks the server."""
        server = self.server
        return Milvus(server.uri, server.management_uri, self.s3, server.bucket, server.root_path, 0.1, 0.02)

    def upload(self, archive: Path, name: str = "") -> None:
        """Put an archive into the backup bucket."""
        self._make_bucket()
        for path in archive.rglob("*"):
            if path.is_file():
                key = f"{PREFIX}/{name or archive.name}/{path.relative_to(archive).as_posix()}"
                self.s3.put_object(Bucket=self.backups, Key=key, Body=path.read_bytes())

    def _make_bucket(self) -> None:
        if self.backups not in {bucket["Name"] for bucket in self.s3.list_buckets()["Buckets"]}:
            self.s3.create_bucket(Bucket=self.backups)

    def drill(self, request: Mapping[str, Any], between: Callable[[Json], object] = lambda _: None) -> Json:
        """Return what a drill concluded, with its request as the input of the machine.

        Args:
            request: The drill's.
            between: Called with what PrepareDrill returned, when the restore is through.
        """
        arn = f"arn:aws:states:us-east-1:000000000000:execution:vault-drill:{uuid.uuid4()}"
        execution = {"arn": arn, "started_at": "2026-01-01T00:00:00Z"}
        failure = {"error": "", "cause": ""}
        with self._in_environment():
            try:
                prepared = self._call(prepare_drill, {"execution": execution, "request": dict(request)})
                self.restore(prepared["restore"], prepared["restore_name"])
                between(prepared)
                self._until_done(prove_drill, {"run": prepared["run"]})
            except VaultError as err:
                failure = {"error": type(err).__name__, "cause": str(err)}
            return self._call(conclude_drill, {"execution": execution, **failure})

    def restore(self, request: Mapping[str, Any], name: str = "") -> Json:
        """Return the report of a restore. Raises what a function raised, after the clean-up."""
        arn = f"arn:aws:states:us-east-1:000000000000:execution:vault-restore:{name or uuid.uuid4()}"
        execution = {"arn": arn, "started_at": "2026-01-01T00:00:00Z"}
        with self._in_environment():
            plan = self.prepare(execution, request)
            step = {"run": plan["run"], "execution_arn": arn}
            try:
                self._attempt(plan, step)
                result = self._call(report_restore, step)
            except VaultError:
                # Not for an execution that is killed, which in a test is any other exception.
                # What it cannot remove, as where Milvus is down, costs the first failure nothing.
                with suppress(VaultError):
                    self._call(clean_up_restore, step)
                raise
            self._call(clean_up_restore, step)
            body = self.s3.get_object(Bucket=self.backups, Key=result["report_key"])["Body"].read()
            report: Json = json.loads(body)
            return report

    def prepare(self, execution: Json, request: Mapping[str, Any]) -> Json:
        """Prepare a restore within `functions`, and look at the objects that are to be looked at."""
        event = {"execution": execution, "request": dict(request)}
        plan = self._call(prepare_restore, event)
        while plan["has_batches"]:
            for batch in read_batches(self.s3, "CheckObjectsStateMachine", plan, os.environ):
                # What fails there, PrepareRestore tells.
                with suppress(VaultError):
                    self._call(check_objects, {"run": plan["check_run"], **batch})
            plan = self._call(prepare_restore, event | {"check_count": plan["check_count"]})
        return plan

    def back_up(self, name: str, *, started_at: str = "2026-01-01T00:00:00Z", **request: Any) -> None:
        """Make a backup of the server."""
        self._make_bucket()
        arn = f"arn:aws:states:us-east-1:000000000000:execution:vault-backup:{uuid.uuid4()}"
        execution = {"arn": arn, "started_at": started_at}
        with self._in_environment():
            event = {"execution": execution, "request": {"backup_name": name, **request}}
            plan = self._call(prepare_backup, event)
            turn = {"run": plan["run"], "attempt": plan["attempt"]}
            turns = plan["round"]
            while True:
                self.rounds = turns["number"]
                for batch in turns["batches"]:
                    self._call(snapshot_batch, turn | {"round": self.rounds, "batch": batch})
                verified = None if plan["meta_only"] else self._copy(plan, "backup", self.rounds)
                if verified is None or verified["status"] != "again":
                    break
                turns = verified["next"]
            published = self._call(publish_backup, turn | {"round": self.rounds})["published"]
            self._call(tend_pauses, {"ending": arn})
            assert published["status"] == "complete", published["cause"]

    @contextmanager
    def functions(self) -> Iterator[Callable[[Callable[..., Any], Json], Json]]:
        """Yield what calls a function of the deployment."""
        with self._in_environment():
            yield self._call

    def manifest(self, name: str) -> Json:
        """Return the manifest of a backup."""
        key = f"{PREFIX}/{name}/meta/vault/manifest.json"
        found: Json = json.loads(self.s3.get_object(Bucket=self.backups, Key=key)["Body"].read())
        return found

    def _attempt(self, plan: Json, step: Json) -> None:
        if plan["has_cuts"]:
            self._call(cut_collections, step)
        if plan["is_staged"]:
            staged = self._copy(plan, "restore", 1, between=lambda: self._call(advance_restore, step))
            assert staged["status"] == "complete"
        self._until_done(advance_restore, step)

    def _copy(self, plan: Json, purpose: str, number: int, between: Callable[[], object] = lambda: None) -> Json:
        """Copy, and do something `between` two batches, as another branch of the machine may."""
        turn = {"run": plan["run"], "attempt": plan["attempt"], "round": number, "purpose": purpose}
        planned = self._call(plan_copy, turn)
        if planned["status"] not in {"copy", "verify"}:
            # It has copied at once, and done what VerifyCopy does.
            self.after.get("verify_copy", lambda: None)()
            return planned
        batches: list[Json] = []
        if planned["status"] == "copy":
            batches = read_batches(self.s3, "CopyObjectsStateMachine", planned, os.environ)
        for position, batch in enumerate(batches):
            if position:
                between()
            self._call(copy_batch, {"run": plan["run"], **batch})
        return self._call(verify_copy, turn)

    def _until_done(self, handler: Callable[..., Any], step: Json) -> None:
        end = time.monotonic() + _PATIENCE_SECONDS
        while not self._call(handler, step)["is_done"]:
            assert time.monotonic() < end, f"{handler.__module__} is never done"
            time.sleep(_PAUSE_SECONDS)

    def _call(self, handler: Callable[..., Any], event: Json) -> Json:
        """Call a function, again where its error is one that the state machine tries again."""
        for last in (False, False, False, True):
            try:
                with guarded(handler.__module__, os.environ):
                    result: Json = handler(event, Invocation())
                    if self.repeats:
                        result = handler(event, Invocation())
            except VaultError as err:
                if last or not err.retryable:
                    raise
                time.sleep(_PAUSE_SECONDS)
            else:
                break
        self.after.get(handler.__module__.partition(".")[0], lambda: None)()
        return result

    @contextmanager
    def _in_environment(self) -> Any:
        values = {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.s3.meta.endpoint_url,
            "BACKUP_BUCKET_NAME": BACKUPS,
            "BACKUP_PREFIX": PREFIX,
            "MILVUS_BUCKET_NAME": self.server.bucket,
            "MILVUS_ROOT_PATH": self.server.root_path,
            "STAGING_PREFIX": STAGING,
            "EXPORT_PREFIX": "exports",
            "MILVUS_URI": self.server.uri,
            "ADVANCE_SECONDS": "0",
            # As the template has it, but where S3 lies within the process.
            "COPY_CLIENT": "boto3" if self.s3.meta.endpoint_url == QUICK_URL else "direct",
            **self.environment,
        }
        with pytest.MonkeyPatch.context() as patch:
            for name, value in values.items():
                patch.setenv(name, value)
            patch.setattr(runtime.metrics, "namespace", "MilvusVault")  # read when it was imported
            yield


def objects_of(restoring: Restoring, prefix: str) -> list[str]:
    """Return the keys below a prefix of the bucket of the backups."""
    pages = restoring.s3.get_paginator("list_objects_v2").paginate(Bucket=restoring.backups, Prefix=prefix)
    return [item["Key"] for page in pages for item in page.get("Contents", [])]


def staged_keys(restoring: Restoring) -> list[str]:
    """Return the keys of staged objects, without those of claims."""
    pages = restoring.s3.get_paginator("list_objects_v2").paginate(Bucket=restoring.server.bucket, Prefix=f"{STAGING}/")
    return [item["Key"] for page in pages for item in page.get("Contents", []) if "/claims/" not in item["Key"]]
