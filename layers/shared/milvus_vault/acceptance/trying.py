"""Running the items, and what is told of them."""

import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from milvus_vault import __version__
from milvus_vault.acceptance.account import GARBLED, Account
from milvus_vault.acceptance.items import Finding, Item, Need, Verdict, failed, items, not_possible, passed
from milvus_vault.acceptance.scratch import Scratch
from milvus_vault.acceptance.stack import is_stable
from milvus_vault.acceptance.trial import ROWS, Trial
from milvus_vault.client.vault import VaultClient
from milvus_vault.errors import ApiAccessDeniedError, VaultError
from milvus_vault.model.base import Model
from milvus_vault.model.names import ACCEPTANCE_PREFIX
from milvus_vault.model.requests import BackupRequest

CLEAN_UP = "clean_up"


class ItemResult(Finding):
    """An item with what it found."""

    name: str
    section: int
    proves: str
    seconds: float = 0.0


class AcceptanceReport(Model):
    """What an acceptance found."""

    version: str
    """Of Milvus Vault."""
    where: str
    """`aws` or `local`."""
    is_ok: bool
    """Whether no item has failed."""
    is_whole: bool
    """Whether it came to its end; not after Ctrl-C."""
    seconds: float
    items: tuple[ItemResult, ...]

    def count(self, verdict: Verdict) -> int:
        """Return how many items have a verdict."""
        return sum(one.verdict == verdict for one in self.items)


def begin(vault: VaultClient, account: Account, *, may_write: bool, selected: str = "") -> Trial:
    """Return a trial; nothing is made.

    Raises as `Account.stack` does where the stack cannot be described, and CollectionNotFoundError or
    DatabaseNotFoundError for a collection that is not there.

    Args:
        vault: the deployment's API.
        account: whom AWS' own services are asked by.
        may_write: whether items may make something. Where the stack is being changed they may not.
        selected: an existing collection in place of one of its own.
    """
    if selected:
        vault.estimate(BackupRequest(collections=(selected,)))
    name, marked = f"{ACCEPTANCE_PREFIX}{secrets.token_hex(4)}_", f"marked-{secrets.token_hex(16)}"
    return Trial(vault, account, name, marked, may_write and is_stable(account.stack.status), selected)


def leftovers(vault: VaultClient, account: Account) -> Trial:
    """Return a trial that owns what all others have made, to clean up after those that were killed."""
    return Trial(vault, account, ACCEPTANCE_PREFIX, "")


def connect_scratch(trial: Trial, uri: str = "", token: str = "") -> None:
    """Give a trial a Milvus, or the reason why it has none.

    Args:
        trial: what needs it.
        uri: where Milvus is reached from here; default: where the stack reaches it.
        token: `user:password` of Milvus; default: what the stack's secret has, where it may be read.
    """
    address = uri or trial.stack.parameters.get("MilvusUri", "")
    try:
        trial.scratch = Scratch(address, trial.name, token=token or _token(trial), marked=trial.marked)
    except VaultError as err:
        trial.scratch_problem = f"{err.message}. {err.hint}"


def _token(trial: Trial) -> str:
    arn = trial.stack.parameters.get("MilvusSecretArn", "")
    if not arn:
        return ""
    secret = trial.account.secret(arn)
    return secret.get("token") or f"{secret.get('username', '')}:{secret.get('password', '')}".strip(":")


def conduct(
    trial: Trial,
    *,
    milvus_uri: str = "",
    token: str = "",
    on_begin: Callable[[Item], None] = lambda _: None,
    on_result: Callable[[ItemResult], None] = lambda _: None,
) -> AcceptanceReport:
    """Try all items, clean up, and return what was found. Ctrl-C ends the trying, and not the cleaning up.

    Args:
        trial: what `begin` returned.
        milvus_uri: see `connect_scratch`.
        token: see `connect_scratch`.
        on_begin: called before each item.
        on_result: called after each.
    """
    began = time.monotonic()
    results: dict[str, ItemResult] = {}
    is_whole = False
    try:
        if trial.may_write:
            connect_scratch(trial, milvus_uri, token)
            _make_collection(trial)
        for one in items():
            on_begin(one)
            results[one.name] = _tried(one, trial, results)
            on_result(results[one.name])
        is_whole = True
    except KeyboardInterrupt:
        # What was found so far is worth telling.
        is_whole = False
    finally:
        if trial.may_write:
            results[CLEAN_UP] = _cleaned_up(trial)
            on_result(results[CLEAN_UP])
    return AcceptanceReport(
        version=__version__,
        where="local" if trial.is_local else "aws",
        is_ok=is_whole and all(one.verdict != "failed" for one in results.values()),
        is_whole=is_whole,
        seconds=time.monotonic() - began,
        items=tuple(results.values()),
    )


def _make_collection(trial: Trial) -> None:
    if trial.scratch is None or trial.selected:
        return
    try:
        trial.scratch.make(ROWS)
    except VaultError as err:
        with suppress(VaultError):
            trial.drop_collections()
        trial.scratch, trial.scratch_problem = None, f"{err.message}. {err.hint}"


def _tried(one: Item, trial: Trial, before: Mapping[str, ItemResult]) -> ItemResult:
    began = time.monotonic()
    finding = _missing(one, trial, before) or _found(one, trial)
    return _result(one.name, one.section, one.proves, finding, time.monotonic() - began)


def _result(name: str, section: int, proves: str, finding: Finding, seconds: float) -> ItemResult:
    return ItemResult(name=name, section=section, proves=proves, seconds=seconds, **finding.model_dump())


def _missing(one: Item, trial: Trial, before: Mapping[str, ItemResult]) -> Finding | None:
    """Return why an item cannot be tried, if it cannot."""
    found = before.get(one.after)
    if trial.is_local and one.emulator:
        why, hint = f"the emulator {one.emulator}", ""
    elif Need.WRITES in one.needs and not is_stable(trial.stack.status):
        why, hint = f"the stack is {trial.stack.status}", "Wait until its update is done."
    elif Need.WRITES in one.needs and not trial.may_write:
        why, hint = "it writes, and only reading was asked for", ""
    elif Need.COLLECTION in one.needs and trial.scratch is None and not trial.selected:
        why, hint = trial.scratch_problem, "Or name a small collection that is there, to be backed up in its place."
    elif Need.MILVUS in one.needs and trial.scratch is None:
        why, hint = trial.scratch_problem, ""
    elif found is not None and found.verdict != "passed":
        word = "failed" if found.verdict == "failed" else "could not be tried"
        why, hint = f"it looks at what {one.after} makes, which {word}", ""
    else:
        return None
    return not_possible(why, hint)


def _found(one: Item, trial: Trial) -> Finding:
    try:
        return one.run(trial)
    except ApiAccessDeniedError as err:
        return not_possible(err.message, err.hint)
    except VaultError as err:
        return failed(f"{type(err).__name__}: {err.message}", err.hint)
    except GARBLED as err:
        return failed(f"{type(err).__name__}: {err}", "Nobody foresaw this: please report it with the report file.")


def _cleaned_up(trial: Trial) -> ItemResult:
    began = time.monotonic()
    hint = f"Clean up once more: it removes what begins with {ACCEPTANCE_PREFIX}, digits and an underscore."
    try:
        problems = trial.clean_up()
        finding = failed("; ".join(problems), hint) if problems else passed(trial.later() or "nothing of it is left")
    except KeyboardInterrupt:
        finding = failed("it was interrupted", hint)
    return _result(CLEAN_UP, 0, "Everything that was made is removed again.", finding, time.monotonic() - began)
