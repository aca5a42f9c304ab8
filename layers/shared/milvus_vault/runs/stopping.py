"""Stop a run."""

from milvus_vault.errors import RunEndedError
from milvus_vault.model.times import utc_second
from milvus_vault.runs.machines import Machines


def stop_run(machines: Machines, wanted: str, cause: str) -> None:
    """Stop a run. Raises `RunNotFoundError`, and `RunEndedError` for one that has ended.

    What it has done stays: the same request goes on from there. Functions that are at work may take up to 15 minutes
    to end.
    """
    found = machines.describe(wanted)
    if found.status != "RUNNING":
        since = f" since {utc_second(found.ended_at)}" if found.ended_at else ""
        msg = f"run {wanted} has ended: {found.status.lower()}{since}"
        raise RunEndedError(msg, hint="Only a run that is running can be stopped.")
    machines.states.stop(found.arn, cause)
