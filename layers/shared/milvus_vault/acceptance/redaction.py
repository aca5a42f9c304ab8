"""Taking names out of what is sent to somebody else: accounts, ARNs, buckets, hosts, users, stacks."""

import re
from collections.abc import Iterable

from milvus_vault.acceptance.trial import Trial
from milvus_vault.acceptance.trying import AcceptanceReport
from milvus_vault.errors import ApiAccessDeniedError, ServiceRequestError, ServiceUnavailableError

# In this order: what has others within comes first.
_PATTERNS = (
    (re.compile(r"\barn:[^\s'\",;]+"), "<arn>"),
    (re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s'\",;)]+", re.I), "<address>"),
    (re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), "<user>"),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b"), "<key>"),
    (re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b"), "<host>"),
    (re.compile(r"\b[A-Za-z][\w-]*(?:\.[\w-]+)*:\d{2,5}\b"), "<host>"),
    (re.compile(r"\b\S*\.amazonaws\.com\S*"), "<host>"),
    (re.compile(r"(?<!\d)\d{12}(?!\d)"), "<account>"),
)

# Parameters that are no names: a number, an architecture, a path of Milvus within its bucket.
_TELLING = {
    "Architecture",
    "CopyConcurrency",
    "KeepWorkingFilesDays",
    "LogRetentionDays",
    "ScheduleExpression",
    "ObjectLock",
}

# Shorter ones are words of the texts, and of nobody.
_SHORTEST = 3


def names_of(trial: Trial) -> set[str]:
    """Return the names that must not be told: of stack, buckets, hosts, resources, and of who asks."""
    found = {trial.stack.name, trial.selected, *trial.selected.split("."), trial.name, trial.marked}
    found |= {*trial.stack.outputs.values()}
    found |= {value for key, value in trial.stack.parameters.items() if key not in _TELLING}
    found |= {physical for _, physical in trial.stack.resources.values()}
    try:
        found |= {trial.account.number, *re.split(r"[:/]", trial.account.identity)[5:]}
    except (ApiAccessDeniedError, ServiceRequestError, ServiceUnavailableError):
        # Who may not ask for it has not been told it either.
        found.discard("")
    hosts = {host for value in found if (host := _host(value))}
    return {name for name in found | hosts if len(name) >= _SHORTEST}


def _host(value: str) -> str:
    """Return the host of an address, or nothing."""
    found = re.match(r"^(?:[a-z]+://)?(?:[^@/]*@)?([A-Za-z0-9.-]+\.[A-Za-z0-9.-]+|localhost)(?::\d+)?(?:/|$)", value)
    return found[1] if found else ""


def redacted(text: str, names: Iterable[str]) -> str:
    """Return a text without names, and without what looks like an account, an ARN, an address, a user or a key."""
    # The longest first, so that no part of one is left.
    for name in sorted(names, key=len, reverse=True):
        text = text.replace(name, "<name>")
    for pattern, shown in _PATTERNS:
        text = pattern.sub(shown, text)
    return text


def redacted_report(report: AcceptanceReport, names: Iterable[str]) -> AcceptanceReport:
    """Return a report that can be sent to somebody else."""
    known = set(names)
    kept = tuple(
        one.model_copy(update={"evidence": redacted(one.evidence, known), "hint": redacted(one.hint, known)})
        for one in report.items
    )
    return report.model_copy(update={"items": kept})
