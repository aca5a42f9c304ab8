"""Items about quotas, against the size of this deployment."""

from datetime import timedelta

from milvus_vault.acceptance.items import Finding, Need, item, judged, not_possible
from milvus_vault.acceptance.trial import Trial

# What other functions of the stack run beside the copies, as docs/limits.md has it.
_BESIDE = 10
_MEMORY_SHARE, _SECONDS = 0.8, 600.0

# How many transitions of standard executions there may be at once, and a second.
_TRANSITION_RATE = "StateTransition"


@item(14, emulator="runs as many functions at a time as this machine bears")
def lambda_concurrency(trial: Trial) -> Finding:
    """The account may run as many functions at a time as the copies of this deployment, and ten more."""
    needed = int(trial.stack.parameters["CopyConcurrency"]) + _BESIDE
    found = trial.account.concurrency()
    problems = [] if found >= needed else [f"{found} at a time, and {needed} are needed"]
    return judged(
        problems, f"{found} at a time, {needed} needed", "Ask for more in Service Quotas, or lower CopyConcurrency."
    )


@item(14)
def api_rate(trial: Trial) -> Finding:
    """The account's API Gateway takes what the stage of this API is to take."""
    account, stage = trial.account.api_rate(), trial.account.api_stage_rate(trial.stack.physical("Api"), "v1")
    problems = [] if account >= stage else [f"the account takes {account:g} requests a second, the stage {stage:g}"]
    return judged(problems, f"{stage:g} requests a second of the account's {account:g}")


@item(14, emulator="has no Service Quotas")
def step_functions_rates(trial: Trial) -> Finding:
    """Step Functions lets as many Maps and transitions run as the copies of this deployment take."""
    quotas = trial.account.quotas("states")
    if not quotas:
        return not_possible("Service Quotas tells none of Step Functions")
    needed = float(trial.stack.parameters["CopyConcurrency"])
    rates = {name: value for name, value in quotas.items() if _TRANSITION_RATE in name.replace(" ", "")}
    problems = [f"{name}: {value:g}, and {needed:g} are needed" for name, value in rates.items() if value < needed]
    told = ", ".join(f"{name} {value:g}" for name, value in sorted(rates.items())) or f"{len(quotas)} quotas"
    return judged(problems, told, "Ask for more in Service Quotas.")


@item(14, Need.WRITES, Need.COLLECTION, emulator="writes no REPORT lines", after="backup", is_late=True)
def memory_and_time(trial: Trial) -> Finding:
    """No function of this hour used more than 80 % of its memory, nor took ten minutes."""
    group = trial.stack.physical("FunctionLogs")
    used, seconds = trial.account.most_of_functions(group, trial.began - timedelta(hours=1))
    problems = [f"one used {used:.0%} of its memory"] if used > _MEMORY_SHARE else []
    problems += [f"one took {seconds:.0f} s"] if seconds > _SECONDS else []
    return judged(problems, f"at most {used:.0%} of a function's memory, and {seconds:.1f} s")
