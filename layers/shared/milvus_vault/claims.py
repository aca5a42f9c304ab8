"""Claims: which execution owns a backup's name, or a restore's target.

A claim is an object written with a condition, so that of two executions one gets it. One whose execution has
ended is worthless and may be taken over, so that a run that was killed cannot block anything; for that reason
nobody gives claims back, but an execution that refuses its request.
"""

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from threading import Lock

from pydantic import ValidationError

from milvus_vault.errors import ObjectNotFoundError, RunTakenOverError
from milvus_vault.model.base import Model
from milvus_vault.model.names import attempt_of
from milvus_vault.model.times import Time, utc_second
from milvus_vault.parallel import SMALL_REQUESTS_AT_A_TIME, do_each, each
from milvus_vault.ports import Executions, ObjectStore
from milvus_vault.workspace import Workspace

CLAIM = "claim.json"
"""Name of a run's own claim among its working files."""

# Executions that ended without success: their run may be resumed.
DIED = frozenset({"FAILED", "TIMED_OUT", "ABORTED", "PENDING_REDRIVE"})

# UNKNOWN counts as running: nobody may be robbed on a guess.
RUNNING = frozenset({"RUNNING", "UNKNOWN"})


LONGEST_EXECUTION = timedelta(hours=25)
"""No state machine of ours runs for more than a day, and no function of it goes on for an hour after its end. Only one
that is redriven later, by hand, comes back after that."""

# Claims of two executions whose times are no further apart may have been taken in turn. Taking 16,000 lasts a minute.
_TOGETHER = timedelta(minutes=2)

# An execution that is refused gives its claims back before it says so: a second later, or after the one or two that a
# delete of 16,000 takes.
_PAUSE_SECONDS = 0.5
_PAUSES = 20

# Stands for the holder of a claim that cannot be read.
UNREADABLE = "(unreadable claim)"


class Claim(Model):
    """Who owns something, and for which run."""

    execution_arn: str
    run: str
    claimed_at: Time
    is_over: bool = False
    """Whether its execution cleans up by now: whatever else of that still runs has to stop."""


class ClaimHeldError(Exception):
    """Another execution holds the claim. Callers turn it into one of their errors."""

    def __init__(self, holder: Claim, key: str, status: str) -> None:
        """`status` of its execution: one of `RUNNING`, or `SUCCEEDED` beside this one: see `Claims.take_all`."""
        super().__init__(holder.execution_arn)
        self.holder = holder
        self.key = key
        self.status = status


class Claims:
    """The claims in one bucket, taken in the name of one execution and run."""

    def __init__(
        self, store: ObjectStore, executions: Executions, bucket: str, *, execution_arn: str, run: str
    ) -> None:
        self._store = store
        self._executions = executions
        self._bucket = bucket
        self._mine = Claim(execution_arn=execution_arn, run=run, claimed_at=datetime.now(UTC))
        self._taken: list[str] = []
        self._ended: dict[str, str] = {}
        self._asking = Lock()

    def holder(self, key: str) -> tuple[Claim, str] | None:
        """Return the claim at a key with its execution's status, or None where nobody holds it."""
        found = self._read(key)
        if found is None:
            return None
        claim, _ = found
        return claim, self._status(claim)

    def is_mine_or_died(self, claim: Claim, status: str) -> bool:
        """Return whether a claim is of this execution, or of one that ended without success: see `holder`."""
        return status in DIED or claim.execution_arn == self._mine.execution_arn

    def take(
        self,
        key: str,
        has_outlived: Callable[[], bool] = lambda: False,
        stays: Callable[[Claim], bool] = lambda _: False,
    ) -> Claim | None:
        """Take a claim, and return that of the ended execution which held it before, if any.

        Taking it twice in one execution is fine, and returns that execution's own claim. Raises `ClaimHeldError`.

        Args:
            key: Of the claim.
            has_outlived: Whether the claim is older than its execution can be, asked once the claim was read. Then it
                is taken over as well where nobody can tell whether that runs, which is right only for what a redriven
                one cannot harm.
            stays: Whether the claim of an execution that succeeded stays its own all the same.
        """
        body = self._mine.model_dump_json().encode()
        if self._store.put_if_absent(self._bucket, key, body):
            self._taken.append(key)
            return None
        found = self._read(key)
        if found is None:
            return self.take(key, has_outlived, stays)
        claim, etag = found
        if claim.execution_arn == self._mine.execution_arn:
            return claim
        status = self._status(claim)
        if status in RUNNING and not (status == "UNKNOWN" and has_outlived()):
            raise ClaimHeldError(claim, key, status)
        if status == "SUCCEEDED" and stays(claim):
            raise ClaimHeldError(claim, key, status)
        if not self._store.put_if_unchanged(self._bucket, key, body, etag):
            # Somebody else was faster: look again, and most likely find it held.
            return self.take(key, has_outlived, stays)
        return claim

    def take_all(self, keys: Iterable[str], begun_at: datetime, pause: Callable[[float], None] = time.sleep) -> None:
        """Take the claims at many keys, several at a time, for an execution that began at a time.

        Two executions that begin together may each get some of them first. That whose ARN sorts behind is then refused
        and gives back what it has; the other one waits for that, some ten seconds at most, so that one of them wins:
        also where that has succeeded meanwhile, and so has done what both were to do. Raises `ClaimHeldError`.
        """

        def take(key: str) -> None:
            waited_for = ""

            def stays(claim: Claim) -> bool:
                return claim.execution_arn == waited_for or claim.claimed_at >= begun_at

            for left in reversed(range(_PAUSES + 1)):
                try:
                    self.take(key, stays=stays)
                except ClaimHeldError as err:
                    if not left or err.status not in RUNNING or not self._waits_for(err.holder):
                        raise
                    waited_for = err.holder.execution_arn
                    pause(_PAUSE_SECONDS)
                else:
                    return

        do_each(take, keys, threads=SMALL_REQUESTS_AT_A_TIME)

    def _waits_for(self, holder: Claim) -> bool:
        together = abs(holder.claimed_at - self._mine.claimed_at) <= _TOGETHER
        return together and self._mine.execution_arn < holder.execution_arn

    def take_own(self, key: str) -> Claim | None:
        """Take the claim of a run of this execution alone, and return what `take` does.

        Raises `RunTakenOverError` where another one holds it all the same, or where it cannot be read.
        """
        try:
            return self.take(key)
        except ClaimHeldError as err:
            msg = f"{key} is held by {err.holder.execution_arn}, and not by {self._mine.execution_arn}"
            raise RunTakenOverError(msg, hint="Start the run again; it gets a claim of its own.") from err

    def give_back(self) -> None:
        """Delete the claims that this object was the first to take, so that a refused request leaves nothing."""
        found = zip(self._taken, each(self._read, self._taken), strict=True)
        mine = [key for key, held in found if held and held[0].execution_arn == self._mine.execution_arn]
        self._store.delete(self._bucket, mine)
        self._taken = []

    def _status(self, claim: Claim) -> str:
        if claim.execution_arn == UNREADABLE:
            return "UNKNOWN"
        # Ten thousand targets may have been claimed by one execution, and Step Functions answers 15 questions a second.
        with self._asking:
            status = self._ended.get(claim.execution_arn) or self._executions.status(claim.execution_arn)
            if status not in RUNNING:
                self._ended[claim.execution_arn] = status
            return status

    def _read(self, key: str) -> tuple[Claim, str] | None:
        try:
            body, etag = self._store.get_with_etag(self._bucket, key)
        except ObjectNotFoundError:
            return None
        try:
            return Claim.model_validate_json(body), etag
        except ValidationError:
            # Not ours to interpret: it holds, until an operator has looked at it.
            return Claim(execution_arn=UNREADABLE, run="", claimed_at=datetime.now(UTC)), etag


def check_owner(run: Workspace, attempt: str, *, cleans_up: bool = False) -> None:
    """Raise `RunTakenOverError` where another execution than the attempt's holds the claim of a run.

    Stopping an execution does not stop its functions: they go on for up to 15 minutes, while the same input may
    have been started again. What they would delete or publish then belongs to that execution. A branch that fails
    does not stop the functions of the other either: once their execution `cleans_up`, only its clean-up may go on.
    """
    claim = run.find(CLAIM, Claim)
    if claim is not None:
        _check_claim(run, claim, attempt, cleans_up=cleans_up)


def end_work(run: Workspace, attempt: str) -> None:
    """End the work of an attempt: from now on only the functions that clean up may change the run.

    Raises `RunTakenOverError` where another execution holds the claim, even if only since a moment ago.
    """
    found = run.find_with_etag(CLAIM, Claim)
    if found is None:
        return
    claim, etag = found
    _check_claim(run, claim, attempt, cleans_up=True)
    if not claim.is_over and not run.write_if_unchanged(CLAIM, claim.model_copy(update={"is_over": True}), etag):
        end_work(run, attempt)


def _check_claim(run: Workspace, claim: Claim, attempt: str, *, cleans_up: bool) -> None:
    if attempt_of(claim.execution_arn) != attempt:
        msg = f"execution {claim.execution_arn} has taken over {run.run} since {utc_second(claim.claimed_at)}"
        raise RunTakenOverError(msg, hint="Wait for it; then start again with the same input if need be.")
    if claim.is_over and not cleans_up:
        msg = f"execution {claim.execution_arn} has ended and cleans up {run.run}"
        raise RunTakenOverError(msg, hint="Start it again with the same input if need be.")
