"""Items that back up, restore, check, stop and delete, with a collection of a thousand rows."""

import json
from collections.abc import Iterator, Sequence
from datetime import timedelta

from milvus_vault.acceptance.account import Execution
from milvus_vault.acceptance.items import Finding, Need, failed, item, judged, not_possible, passed
from milvus_vault.acceptance.scratch import ROWS as SCRATCH_ROWS
from milvus_vault.acceptance.trial import ROWS, RUN_TIMEOUT_SECONDS, WRITTEN, Trial
from milvus_vault.errors import ApiUnavailableError, BackupNotFoundError
from milvus_vault.model.collections import DEFAULT_DATABASE
from milvus_vault.model.names import execution_name
from milvus_vault.model.requests import (
    BackupRequest,
    DrillRequest,
    ExportRequest,
    PruneRequest,
    RestoreRequest,
    VerifyOptions,
)
from milvus_vault.model.resources import Run, Started

FULL, INCREMENTAL = "full", "incremental"
_BACKED_UP = (Need.WRITES, Need.COLLECTION)

# Namespace of the functions' metrics.
_NAMESPACE = "MilvusVault"

# Of a line of an object list (docs/backup-format.md).
_KEY, _SIZE, _ETAG, _CHECKSUM = 0, 2, 3, 4


def _ended(run: Run, evidence: str = "") -> Finding:
    """Return whether a run has succeeded, and how long it took."""
    if run.status != "succeeded":
        return failed(f"the {run.kind} is {run.status}: {run.error}: {run.message}", run.hint)
    seconds = (run.ended_at - run.started_at).total_seconds() if run.ended_at else 0.0
    return passed(f"{evidence or run.kind} in {seconds:.1f} s")


def _names(execution: Execution, *names: str) -> Iterator[str]:
    """Yield what is wrong where an execution has not failed by one of these names."""
    if execution.status != "FAILED" or execution.error not in names:
        what = f"{execution.status} {execution.error}".strip()
        yield f"an execution ended as {what}, not as FAILED {' or '.join(names)}"


@item(3, Need.WRITES)
def error_names(trial: Trial) -> Finding:
    """An error's name crosses Parallel, Catch and Fail, and is the name that the execution ends with."""
    refused = trial.account.start("BackupStateMachineArn", {"backup_name": f"{trial.name}no", "nonsense": 1})
    missing = trial.account.start("RestoreStateMachineArn", {"backup_name": f"{trial.name}no"})
    one, other = (trial.account.wait(arn, RUN_TIMEOUT_SECONDS) for arn in (refused, missing))
    problems = [*_names(one, "InvalidRequestError"), *_names(other, "BackupNotFoundError")]
    records = trial.account.keys(trial.bucket, f"{trial.folder}.runs/failures/")
    # Those of other failures, of last month as well, lie beside them.
    names = {f"{execution_name(arn)}.json" for arn in (refused, missing)}
    if unrecorded := names - {key.rpartition("/")[2] for key in records}:
        problems.append(f"no failure record was written of {len(unrecorded)} of 2 executions")
    return judged(problems, "InvalidRequestError, BackupNotFoundError, and a failure record of each", one.cause[:200])


@item(4, *_BACKED_UP)
def backup(trial: Trial) -> Finding:
    """A backup of a small collection is complete."""
    run = trial.wait(trial.vault.create_backup(trial.backup_request(FULL)))
    result = run.result or {}
    return _ended(run, f"complete, {result.get('object_count')} objects, {result.get('size_bytes')} bytes,")


@item(4, *_BACKED_UP, after="backup")
def backup_exists(trial: Trial) -> Finding:
    """A second execution for the same name asks Step Functions about the first, and is refused."""
    request = {"backup_name": trial.name + FULL, "collections": list(trial.collections)}
    ended = trial.account.wait(trial.account.start("BackupStateMachineArn", request), RUN_TIMEOUT_SECONDS)
    hint = "If it timed out, the functions have no way to Step Functions: see the endpoint 'states' of the VPC."
    return judged(_names(ended, "BackupExistsError"), "BackupExistsError", hint)


@item(5, emulator="delivers no logs of state machines", after="error_names")
def failed_states_are_logged(trial: Trial) -> Finding:
    """The service may deliver the logs of failed states."""
    group = trial.stack.physical("StateMachineLogs")
    is_there = trial.until(120, lambda: trial.account.log_streams(group) > 0)
    return judged([] if is_there else ["the log group of the state machines is empty"], "the log group has streams")


@item(7, *_BACKED_UP, after="incremental_and_export", is_late=True)
def distributed_maps(trial: Trial) -> Finding:
    """Distributed Maps read their list from S3, run their children, and come to their end."""
    keys = ("CopyObjectsStateMachineArn", "CheckObjectsStateMachineArn", "WriteRowsStateMachineArn")
    counts = [one for key in keys for one in trial.account.map_runs(trial.stack.outputs[key], trial.began)]
    if not counts:
        return not_possible("no run was large enough for a distributed Map", "Back up a collection of 1,001 objects.")
    failures = sum(one["failed"] + one["aborted"] + one["timedOut"] for one in counts)
    total, done = (sum(one[key] for one in counts) for key in ("total", "succeeded"))
    problems = [f"{failures} of {total} items failed"] if failures or done != total else []
    return judged(problems, f"{len(counts)} Maps, {done} of {total} items succeeded")


@item(8, *_BACKED_UP, Need.MILVUS, after="backup")
def restore(trial: Trial) -> Finding:
    """A restore brings back the rows, and Milvus reads the staged objects, of which none is left."""
    if trial.selected:
        return not_possible("an existing collection was named, whose restored copy nobody would drop")
    suffix = f"_{trial.name}r"
    request = RestoreRequest(backup_name=trial.name + FULL, suffix=suffix, allow_version=True)
    run = trial.wait(trial.vault.restore(request))
    found = _ended(run)
    if found.verdict == "failed":
        return found
    return judged(_restored_problems(trial, suffix), f"{(run.result or {}).get('row_count')} rows; {found.evidence}")


def _restored_problems(trial: Trial, suffix: str) -> Iterator[str]:
    if trial.scratch is not None:
        count, _ = trial.scratch.versions(f"{ROWS}{suffix}")
        if count != SCRATCH_ROWS:
            yield f"{count} rows came back of {SCRATCH_ROWS}"
    yield from _staged(trial)


def _staged(trial: Trial) -> Iterator[str]:
    if left := trial.staged():
        yield f"{len(left)} staged objects are left"


@item(9, *_BACKED_UP, after="backup")
def checksums(trial: Trial) -> Finding:
    """ETag, size and checksum that were recorded of copies are those that S3 tells."""
    listed = trial.account.keys(trial.bucket, f"{trial.folder}{trial.name}{FULL}/meta/vault/objects/")
    if not listed:
        return failed("the backup has no object list")
    lines = trial.account.read(trial.bucket, listed[0]).decode().splitlines()
    algorithms: set[str] = set()
    problems = _checksum_problems(trial, lines[:20], algorithms)
    return judged(problems, f"{len(lines[:20])} objects, {_said(algorithms)}")


def _said(algorithms: set[str]) -> str:
    return f"by {', '.join(sorted(algorithms))}" if algorithms else "S3 keeps no checksum of them"


def _checksum_problems(trial: Trial, lines: Sequence[str], algorithms: set[str]) -> list[str]:
    found = []
    for line in lines:
        recorded = json.loads(line)
        told = trial.account.head(trial.bucket, recorded[_KEY])
        name = str(recorded[_KEY]).rpartition("/")[2]
        if told["ContentLength"] != recorded[_SIZE]:
            found.append(f"object {name} has {told['ContentLength']} bytes, not {recorded[_SIZE]}")
        if told["ETag"].strip('"') != str(recorded[_ETAG]).strip('"'):
            found.append(f"object {name} has another ETag than was recorded")
        algorithm, _, value = str(recorded[_CHECKSUM] or "").partition(":")
        if algorithm and told.get(f"Checksum{algorithm}", "") != value:
            found.append(f"object {name} has another {algorithm} than was recorded")
        algorithms |= {algorithm} if algorithm else set()
    return found


@item(10, *_BACKED_UP, after="backup")
def encryption(trial: Trial) -> Finding:
    """With a key of KMS, what is written is encrypted with it."""
    key = trial.stack.parameters.get("KmsKeyArn", "")
    if not key:
        return not_possible("the stack has no KmsKeyArn")
    told = trial.account.head(trial.bucket, trial.marker(FULL))
    said = (told.get("ServerSideEncryption"), told.get("SSEKMSKeyId"), told.get("BucketKeyEnabled"))
    return judged([] if said == ("aws:kms", key, True) else ["the marker is encrypted otherwise"], "aws:kms")


@item(11, *_BACKED_UP)
def claims(trial: Trial) -> Finding:
    """Of two executions that begin a backup of one name at once, one makes it and the other is refused."""
    request = {"backup_name": f"{trial.name}claimed", "collections": list(trial.collections)}
    begun = [trial.account.start("BackupStateMachineArn", request) for _ in range(2)]
    ended = sorted((trial.account.wait(arn, RUN_TIMEOUT_SECONDS) for arn in begun), key=lambda one: one.status)
    refused, made = ended
    problems = [*_names(refused, "BackupInProgressError", "BackupExistsError")]
    if made.status != "SUCCEEDED":
        problems.append(f"the other one is {made.status} {made.error}")
    return judged(problems, f"one succeeded, the other ended by {refused.error}")


@item(12, *_BACKED_UP)
def stop_and_start_again(trial: Trial) -> Finding:
    """A run that is stopped leaves no copy running, is told as stopped, and is done when started again."""
    request = trial.backup_request("stopped")
    started = trial.vault.create_backup(request)
    trial.account.stop(started.execution_arn)
    stopped = trial.wait(started)
    if stopped.status == "succeeded":
        return not_possible("the run had ended before it was stopped", "Name a larger collection.")
    copy = trial.stack.outputs["CopyObjectsStateMachineArn"]
    running = trial.account.children_running(copy, started.execution_arn, trial.began)
    again = trial.wait(trial.vault.create_backup(request))
    problems = [f"{len(running)} copies go on"] if running else []
    if (stopped.status, stopped.error) != ("stopped", "RunStoppedError"):
        problems.append(f"the stopped run is told as {stopped.status} {stopped.error}")
    if again.status != "succeeded":
        problems.append(f"started again it is {again.status}: {again.error}: {again.message}")
    return judged(problems, "stopped, RunStoppedError; then complete")


@item(13, *_BACKED_UP, emulator="has no RedriveExecution")
def redrive(trial: Trial) -> Finding:
    """An execution that was stopped goes on from where it was, and succeeds."""
    started = trial.vault.create_backup(trial.backup_request("redriven"))
    trial.account.stop(started.execution_arn)
    stopped = trial.account.wait(started.execution_arn, RUN_TIMEOUT_SECONDS)
    if stopped.status == "SUCCEEDED":
        return not_possible("the run had ended before it was stopped", "Name a larger collection.")
    trial.account.redrive(started.execution_arn)
    ended = trial.account.wait(started.execution_arn, RUN_TIMEOUT_SECONDS)
    problems = [] if ended.status == "SUCCEEDED" else [f"redriven it is {ended.status} {ended.error}"]
    return judged(problems, "stopped, redriven, succeeded")


@item(17, *_BACKED_UP, after="backup")
def report_is_read(trial: Trial) -> Finding:
    """The report of a backup can be read by its link."""
    link = trial.vault.get_backup(trial.name + FULL).report_url
    if not link:
        return failed("the backup has no report")
    try:
        page = trial.vault.download(link)
    except ApiUnavailableError as err:
        if trial.is_local:
            return not_possible(err.message)
        raise
    return judged([] if b"<html" in page else ["the link leads to something else"], f"{len(page)} bytes of HTML")


@item(18, Need.WRITES)
def prune_would(trial: Trial) -> Finding:
    """A dry run of a prune gives each backup a reason, and deletes nothing."""
    before = {one.name for one in trial.vault.list_backups() if not trial.is_anothers(one.name)}
    run = trial.wait(trial.vault.prune(PruneRequest(dry_run=True)))
    found = _ended(run)
    gone = before - {one.name for one in trial.vault.list_backups()}
    if found.verdict == "passed" and gone:
        return failed(f"{len(gone)} backups are gone after a dry run")
    result = run.result or {}
    numbers = f"{result.get('kept_count')} kept, {result.get('deleted_count')} would go"
    return found if found.verdict == "failed" else passed(f"{numbers}; {found.evidence}")


@item(18, *_BACKED_UP, after="backup")
def verify(trial: Trial) -> Finding:
    """A backup is intact by its listing, and by reading every object."""
    for level in ("quick", "checksum"):
        run = trial.wait(trial.vault.verify_backup(trial.name + FULL, VerifyOptions(level=level)))
        if run.status != "succeeded":
            return _ended(run)
    run = trial.wait(trial.vault.verify_backup(trial.name + FULL, VerifyOptions(level="deep")))
    return _ended(run, f"intact, {(run.result or {}).get('read_count')} objects read,")


@item(18, *_BACKED_UP)
def incremental_and_export(trial: Trial) -> Finding:
    """Of an incremental backup a full one is written, with checksums that verification finds again."""
    full, export = trial.name + INCREMENTAL, f"{trial.name}exported"
    request = BackupRequest(backup_name=full, collections=trial.collections, mode="incremental")
    made = _ended(trial.wait(trial.vault.create_backup(request)))
    if made.verdict == "failed":
        return made
    written = _ended(trial.wait(trial.vault.export(ExportRequest(backup_name=full, export_name=export))))
    if written.verdict == "failed":
        return written
    run = trial.wait(trial.vault.verify_backup(export, VerifyOptions(level="deep")))
    return _ended(run, "incremental, exported, and the export intact: verified")


@item(18, *_BACKED_UP, after="incremental_and_export")
def dataset(trial: Trial) -> Finding:
    """The rows of a backup are written as Parquet."""
    request = ExportRequest(
        backup_name=trial.name + INCREMENTAL, export_name=f"{trial.name}dataset", format="parquet"
    )  # fmt: skip
    run = trial.wait(trial.vault.export(request))
    return _ended(run, f"{(run.result or {}).get('row_count')} rows")


@item(18, *_BACKED_UP)
def backup_is_verified_by_itself(trial: Trial) -> Finding:
    """The backup machine may start the verification that a backup asked for."""
    name = f"{trial.name}verified"
    request = BackupRequest(backup_name=name, collections=trial.collections, verify=VerifyOptions(level="deep"))
    run = trial.wait(trial.vault.create_backup(request))
    if run.status != "succeeded":
        return _ended(run)
    run_id = str(((run.result or {}).get("verification") or {}).get("run", ""))
    if not run_id:
        return failed("the backup started no verification", "Its warnings say why.")
    return _ended(trial.wait(Started(id=run_id, kind="verify", execution_arn="")), "verified by itself,")


@item(18, *_BACKED_UP, after="backup")
def drill(trial: Trial) -> Finding:
    """A backup is restored into a scratch database, compared and dropped, and nothing of it is left."""
    run = trial.wait(trial.vault.drill(DrillRequest(backup_name=trial.name + FULL, allow_version=True)))
    result = run.result or {}
    found = _ended(run, f"{result.get('row_count')} rows, {result.get('compared_count')} compared,")
    if found.verdict == "failed":
        return found
    problems = list(_staged(trial))
    notes = trial.account.keys(trial.bucket, f"{trial.folder}.runs/scratch/")
    # Other drills have theirs, which may go at any time.
    if any(run.execution_arn.encode() in (trial.account.find(trial.bucket, key) or b"") for key in notes):
        problems.append("the note of its scratch database is left")
    if trial.scratch and result.get("database") in trial.scratch.databases():
        problems.append("its scratch database is left")
    return judged(problems, found.evidence)


@item(18, *_BACKED_UP, after="claims")
def delete(trial: Trial) -> Finding:
    """A backup that is deleted is gone, with all of its objects."""
    name = f"{trial.name}claimed"
    found = _ended(trial.wait(trial.vault.delete_backup(name)), "deleted")
    if found.verdict == "failed":
        return found
    problems = []
    if left := trial.account.keys(trial.bucket, f"{trial.folder}{name}/"):
        problems.append(f"{len(left)} objects are left")
    try:
        trial.vault.get_backup(name)
    except BackupNotFoundError:
        return judged(problems, found.evidence)
    return judged([*problems, "the backup is still listed"], found.evidence)


@item(21, *_BACKED_UP, Need.MILVUS)
def backup_under_writes(trial: Trial) -> Finding:
    """A backup of a collection that is being upserted is one moment: as many rows as there were, all of one upsert."""
    scratch = trial.scratch
    if scratch is None or trial.selected:
        return not_possible("an existing collection was named, which is not written to")
    scratch.make(WRITTEN)
    name, suffix = f"{trial.name}{WRITTEN}", f"_{trial.name}w"
    full = f"{DEFAULT_DATABASE}.{trial.name}{WRITTEN}"
    with scratch.upserts(WRITTEN):
        run = trial.wait(trial.vault.create_backup(BackupRequest(backup_name=name, collections=(full,))))
    if run.status != "succeeded":
        return _ended(run)
    run = trial.wait(trial.vault.restore(RestoreRequest(backup_name=name, suffix=suffix, allow_version=True)))
    if run.status != "succeeded":
        return _ended(run)
    count, versions = scratch.versions(f"{WRITTEN}{suffix}")
    problems = [] if count == SCRATCH_ROWS else [f"{count} rows came back of {SCRATCH_ROWS}"]
    if len(versions) != 1:
        problems.append(f"they are of {len(versions)} upserts")
    return judged(problems, f"{count} rows, all of one upsert")


@item(18, *_BACKED_UP, after="backup", is_late=True)
def rows_are_in_no_log(trial: Trial) -> Finding:
    """No log of a function has a text of the rows, and none has the password of Milvus."""
    secret = trial.stack.parameters.get("MilvusSecretArn", "")
    hidden = {"a text of the rows": trial.marked}
    if secret:
        found = trial.account.secret(secret)
        # Milvus' default password is in our own words, which are in each line of metrics.
        searched = (key for key in ("password", "token") if found.get(key) and found[key] not in _NAMESPACE)
        hidden |= {f"the {key}": found[key] for key in searched}
    group, since = trial.stack.physical("FunctionLogs"), trial.began - timedelta(minutes=1)
    known = trial.name + FULL
    counts: dict[str, int] = {}

    def is_searched() -> bool:
        counts.update(trial.account.log_lines(group, (known, *hidden.values()), since))
        return counts[known] > 0

    # A search that finds nothing at all proves nothing. Logs can be read within a minute.
    if not trial.until(60, is_searched):
        return not_possible("the logs of these runs cannot be found yet", "Try again in some minutes.")
    problems = [f"{counts[text]} lines have {what}" for what, text in hidden.items() if counts[text]]
    hint = "Please report it; the lines are in the log group of the functions."
    return judged(problems, f"looked for {', '.join(hidden)}", hint)
