"""Names that several functions must derive alike."""

import hashlib
import re

# Collections that a restore fills before it gives them their real name begin so. A backup leaves them out.
TEMPORARY_PREFIX = "vault_restoring_"

ACCEPTANCE_PREFIX = "vault_acceptance_"
"""What the names begin with that an acceptance gives, before eight digits and an underscore."""
_OF_ACCEPTANCE = re.compile(rf"{ACCEPTANCE_PREFIX}[0-9a-f]{{8}}_")

# As `drill_restore_name` names the execution.
_RESTORE_OF_DRILL = re.compile(r"restore-drill-[0-9a-f]{24}")

WATCH_OR_STOP = "Watch it by `GET /runs/{run_id}`, or stop it by `DELETE /runs/{run_id}`"
"""What a hint says of a run that is in the way, and whose ID the message has."""

# The template names each state machine by the stack and the kind of its runs.
_EXECUTION = re.compile(r":execution:[^:]+-([a-z]+):([^:]+)$")

# How many collections one invocation of SnapshotBatch works on. 65,536 collections, Milvus' limit, are then
# 2,048 iterations of an inline Map, at about 6 of the 25,000 events that an execution's history may hold.
COLLECTIONS_PER_BATCH = 32


def short_hash(text: str, length: int = 8) -> str:
    """Return the first characters of a text's SHA-256, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def attempt_of(execution_arn: str) -> str:
    """Return a short name for an execution, under which it keeps files that no other execution may touch."""
    return short_hash(execution_arn)


def execution_name(execution_arn: str) -> str:
    """Return the name of an execution, with which its ARN ends."""
    return execution_arn.rpartition(":")[2]


def run_id(kind: str, execution_name: str) -> str:
    """Return the ID of a run; for a check or a prune also the name of its working files' folder."""
    return f"{kind}-{execution_name}"


def named_run(execution_arn: str) -> str:
    """Return what a message calls who runs: the run's ID, by which it is stopped, and the execution's ARN."""
    found = _EXECUTION.search(execution_arn)
    return f"run {run_id(found[1], found[2])} ({execution_arn})" if found else f"execution {execution_arn}"


def backup_run(backup_name: str) -> str:
    """Return the name of the run that makes a backup."""
    return f"backup-{backup_name}"


def backup_of(run: str) -> str:
    """Return the name of the backup that a run makes; that of the run for any other."""
    return run.removeprefix(backup_run(""))


def restore_run(backup_name: str, request_json: str, milvus_identity: str) -> str:
    """Return the name of the run of a restore: the same request into the same Milvus is the same run."""
    return f"restore-{backup_name}-{short_hash(f'{milvus_identity}\n{request_json}', 12)}"


def drill_run(backup_name: str, execution_arn: str) -> str:
    """Return the name of the run of a drill. Each execution is one of its own: in the end it drops what it restores."""
    return f"drill-{backup_name}-{short_hash(execution_arn, 12)}"


def drill_restore_name(execution_arn: str) -> str:
    """Return the name of the execution that restores what a drill compares."""
    return f"drill-{short_hash(execution_arn, 24)}"


def drill_database(execution_arn: str) -> str:
    """Return the name of a drill's scratch database for which the request has none: nobody else would give it."""
    return f"vault_drill_{short_hash(execution_arn, 12)}"


def is_of_acceptance(name: str | None) -> bool:
    """Return whether an acceptance gave the name of a backup, schedule or collection: nobody else gives such."""
    return name is not None and _OF_ACCEPTANCE.match(name) is not None


def is_restore_of_drill(run: str) -> bool:
    """Return whether a run is the restore of a drill, by its ID."""
    return _RESTORE_OF_DRILL.fullmatch(run) is not None


def export_run(backup_name: str, written: str) -> str:
    """Return the name of the run that says that an export reads a backup, and by a hash, what it writes.

    What it writes belongs to the run that makes the new backup.
    """
    return f"export-{backup_name}-{short_hash(written, 12)}"


def export_elsewhere_run(bucket: str, prefix: str, export_name: str) -> str:
    """Return the name of the run that writes an export to another place than the deployment's own.

    One for each name there, whatever is exported. No backup's name is in it: see `export_run`.
    """
    return f"export-{short_hash(f'{bucket}/{prefix}/{export_name}', 12)}"


def dataset_run(bucket: str, root: str) -> str:
    """Return the name of the run that writes a dataset, of which `root` is the folder.

    One for each name in a place, whatever is exported. No backup's name is in it: see `export_run`.
    """
    return f"export-{short_hash(f'{bucket}/{root}', 12)}"


def temporary_name(run: str, index: int, attempt: int) -> str:
    """Return the name under which one attempt of a run restores its collection of that index."""
    return f"{temporary_prefix(run)}{index}_{attempt}"


def temporary_prefix(run: str) -> str:
    """Return what the names of all temporary collections of a run begin with."""
    return f"{TEMPORARY_PREFIX}{short_hash(run, 12)}_"
