"""What the acceptance costs, before it begins and after it."""

from typing import NamedTuple

from milvus_vault.acceptance.account import MACHINE
from milvus_vault.acceptance.items import Finding, Need, item, judged, passed
from milvus_vault.acceptance.trial import Trial
from milvus_vault.model.prices import GB_SECOND_USD, INVOCATION_USD, REQUEST_USD, TRANSITION_USD
from milvus_vault.model.requests import BackupRequest


class Counts(NamedTuple):
    """What is paid for."""

    transitions: int
    invocations: int
    requests: int
    """To S3, all at the price of the dear ones."""
    gb_seconds: float

    @property
    def usd(self) -> float:
        """The price in us-east-1."""
        return (
            self.transitions * TRANSITION_USD
            + self.invocations * INVOCATION_USD
            + self.requests * REQUEST_USD
            + self.gb_seconds * GB_SECOND_USD
        )


# 276 transitions and 96 tasks were counted on the local stack. On AWS imports take longer, and are asked about more
# often.
EXPECTED_RUNS = 18
MINUTES, LOCAL_MINUTES = 15, 2
EXPECTED = Counts(transitions=400, invocations=200, requests=1500, gb_seconds=600.0)

# Of the transitions: a retry, a longer wait for an import, another way to the end.
_MOST_TIMES = 2.0


def counted(trial: Trial) -> Counts:
    """Return the transitions and invocations of all executions since the trial began, whoever started them."""
    entered = [
        trial.account.entered(arn)
        for machine in trial.stack.of_type(MACHINE).values()
        for arn in trial.account.executions_since(machine, trial.began)
    ]
    return Counts(sum(one.transitions for one in entered), sum(one.invocations for one in entered), 0, 0.0)


@item(26, Need.WRITES, Need.COLLECTION, after="backup")
def estimate_is_right(trial: Trial) -> Finding:
    """What the estimate says of objects and bytes is what the backup has copied."""
    told = trial.vault.estimate(BackupRequest(collections=trial.collections))
    made = next((run.result or {} for run in trial.runs if run.kind == "backup" and run.status == "succeeded"), {})
    pairs = (
        ("objects", told.object_count, made.get("object_count")),
        ("bytes", told.size_bytes, made.get("size_bytes")),
    )
    problems = [f"{found} {what} were copied, {said} estimated" for what, said, found in pairs if said != found]
    requests = told.copy_requests + told.list_requests
    evidence = f"{told.object_count} objects, {requests} requests, {told.request_cost_usd:.6f} USD"
    return judged(problems, evidence, "Was the collection written to meanwhile?")


@item(26, Need.WRITES, Need.COLLECTION, after="backup", is_late=True)
def times(trial: Trial) -> Finding:
    """What each kind of run took, from its start to its end: for the record, since nothing is promised of it."""
    told: dict[str, list[float]] = {}
    for run in trial.runs:
        if run.ended_at and run.status == "succeeded":
            told.setdefault(run.kind, []).append((run.ended_at - run.started_at).total_seconds())
    return passed(", ".join(f"{kind} {min(took):.1f} to {max(took):.1f} s" for kind, took in sorted(told.items())))


@item(26, Need.WRITES, Need.COLLECTION, after="backup", is_late=True)
def transitions(trial: Trial) -> Finding:
    """The state transitions of all that was tried, which are most of its price, are as many as were foreseen."""
    found, foreseen = counted(trial), EXPECTED
    cents = 100 * (found.transitions * TRANSITION_USD + found.invocations * INVOCATION_USD)
    told = f"{found.transitions} transitions of {foreseen.transitions} foreseen"
    evidence = f"{told}, {found.invocations} tasks, {cents:.2f} cents"
    too_many = found.transitions > _MOST_TIMES * foreseen.transitions
    hint = "Other runs of this hour count as well. If there were none, please report it."
    return judged([evidence] if too_many else [], evidence, hint)
