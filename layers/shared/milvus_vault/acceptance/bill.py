"""What the acceptance costs, before it begins and after it."""

from collections.abc import Iterable
from typing import NamedTuple

from milvus_vault.acceptance.account import FUNCTION, MACHINE
from milvus_vault.acceptance.items import Finding, Need, item, judged, not_possible, passed
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


# 309 transitions and 108 tasks, some of which start executions, were counted on the local stack. On AWS imports take
# longer, and are asked about more often.
EXPECTED_RUNS = 19
MINUTES, LOCAL_MINUTES = 15, 2
EXPECTED = Counts(transitions=400, invocations=200, requests=1500, gb_seconds=600.0)

# Of what was foreseen: a retry, a longer wait for an import, another way to the end.
_MOST_TIMES = 2.0

# CloudWatch has what it counts within some minutes.
_COUNTED_WITHIN_SECONDS = 300.0
_MB_OF_GB = 1024
_OTHERS = "Other runs of this hour count as well. If there were none, please report it."

# The function that answers requests to the API, of which there are as many as somebody asks.
_API = "ApiFunction"

# What is paid for as a PUT is. S3 counts a copy as one.
_DEAR = ("PutRequests", "PostRequests", "ListRequests")


def counted(trial: Trial) -> Counts:
    """Return the transitions and calls of functions of all executions since the trial began, whoever started them."""
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
    evidence = f"{told}, {found.invocations} calls of functions, {cents:.2f} cents"
    too_many = found.transitions > _MOST_TIMES * foreseen.transitions
    return judged([evidence] if too_many else [], evidence, _OTHERS)


@item(26, Need.WRITES, Need.COLLECTION, after="backup", emulator="counts no calls by Step Functions", is_late=True)
def function_time(trial: Trial) -> Finding:
    """The calls of functions and their time and memory, as CloudWatch has counted them, are as much as was foreseen."""
    functions = trial.stack.of_type(FUNCTION)
    gigabytes = {name: trial.account.function(of)[2] / _MB_OF_GB for name, of in functions.items()}
    tasks = counted(trial).invocations
    calls: dict[str, float] = {}

    def of_machines() -> float:
        return sum(count for name, count in calls.items() if name != _API)

    def is_counted() -> bool:
        calls.update(zip(functions, _sums(trial, "Invocations", functions.values()), strict=True))
        return of_machines() >= tasks

    trial.until(_COUNTED_WITHIN_SECONDS, is_counted)
    if not any(calls.values()):
        return not_possible("CloudWatch has counted no call of a function yet", "Look at it again in some minutes.")
    milliseconds = dict(zip(functions, _sums(trial, "Duration", functions.values()), strict=True))
    spent = sum(milliseconds[name] / 1000 * gigabytes[name] for name in functions)
    told = (
        f"{of_machines():.0f} calls by the state machines of {EXPECTED.invocations} foreseen",
        f"{spent:.0f} GB-seconds of {EXPECTED.gb_seconds:.0f}",
    )
    too_many = (
        of_machines() > _MOST_TIMES * EXPECTED.invocations,
        spent > _MOST_TIMES * EXPECTED.gb_seconds,
    )
    problems = [one for one, is_problem in zip(told, too_many, strict=True) if is_problem]
    cents = 100 * (sum(calls.values()) * INVOCATION_USD + spent * GB_SECOND_USD)
    return judged(problems, f"{', '.join(told)}, {calls.get(_API, 0):.0f} calls by the API, {cents:.2f} cents", _OTHERS)


def _sums(trial: Trial, metric: str, functions: Iterable[str]) -> list[float]:
    return trial.account.sums("AWS/Lambda", [(metric, {"FunctionName": name}) for name in functions], trial.began)


@item(26, Need.WRITES, Need.COLLECTION, after="backup", emulator="makes no metrics of requests to S3", is_late=True)
def requests(trial: Trial) -> Finding:
    """The requests to the backup bucket, as S3 counts them, are no fewer than estimated, and as many as foreseen."""
    counted_by = trial.account.request_filter(trial.bucket, trial.folder)
    if not counted_by:
        return not_possible(
            "the backup bucket has no request metrics",
            "Give it a metrics configuration without a filter, for which CloudWatch charges, and try again a quarter of"
            " an hour later.",
        )
    estimated = trial.vault.estimate(BackupRequest(collections=trial.collections)).copy_requests
    wanted = [(name, {"BucketName": trial.bucket, "FilterId": counted_by}) for name in _DEAR]
    found: dict[str, float] = {}

    def is_counted() -> bool:
        found.update(zip(_DEAR, trial.account.sums("AWS/S3", wanted, trial.began), strict=True))
        return found["PutRequests"] >= estimated

    is_there = trial.until(_COUNTED_WITHIN_SECONDS, is_counted)
    dear = sum(found.values())
    if not dear:
        return not_possible("S3 has counted no request yet", "Look at it again in a quarter of an hour.")
    problems = [] if is_there else [f"{found['PutRequests']:.0f} PUTs were counted, {estimated} copies estimated"]
    if dear > _MOST_TIMES * EXPECTED.requests:
        problems.append(f"{dear:.0f} requests, {EXPECTED.requests} foreseen")
    cents = 100 * dear * REQUEST_USD
    return judged(problems, f"{dear:.0f} requests of {EXPECTED.requests} foreseen, {cents:.2f} cents", _OTHERS)
