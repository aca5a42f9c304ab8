"""Waiting for the end of a run."""

import time
from collections.abc import Callable

from milvus_vault.errors import WaitTimeoutError
from milvus_vault.model.resources import Run

FIRST_POLL_SECONDS = 1.0
LAST_POLL_SECONDS = 5.0


def wait_for_run(
    get_run: Callable[[str], Run],
    run_id: str,
    *,
    timeout_seconds: float | None = None,
    on_progress: Callable[[Run], None] | None = None,
    poll_seconds: float | None = None,
) -> Run:
    """Return a run once it has ended, see `VaultClient.wait_for_run`."""
    started = time.monotonic()
    while True:
        run = get_run(run_id)
        if on_progress is not None:
            on_progress(run)
        if run.status != "running":
            return run
        waited = time.monotonic() - started
        # A short run is seen soon, and a long one does not cost a request each second.
        pause = poll_seconds or min(LAST_POLL_SECONDS, max(FIRST_POLL_SECONDS, waited / 30))
        # The last question is asked when the time is over, and not a pause before.
        left = pause if timeout_seconds is None else timeout_seconds - waited
        if left <= 0:
            msg = f"run {run_id} is still going on after {timeout_seconds:g} s, and goes on"
            raise WaitTimeoutError(
                msg,
                hint="Wait for it again, or longer.",
            )
        time.sleep(min(pause, left))
