"""Stop a run."""

from milvus_vault.errors import RunEndedError
from milvus_vault.runs.machines import Machines


def stop_run(machines: Machines, wanted: str, cause: str) -> None:
    """Stop a run. Raises `RunNotFoundError`, and `RunEndedError` for one that has ended.

    What it has done stays: the same request goes on from there. Functions that are at work may take up to 15 minutes
    to end.
    """
    found = machines.describe(wanted)
    if found.status != "RUNNING":
        msg = f"run {wanted} has ended: {found.status.lower()} since {found.ended_at:%Y-%m-%d %H:%M:%S} UTC"
        raise RunEndedError(msg, hint="Only a run that is running can be stopped.")
    machines.states.stop(found.arn, cause)
