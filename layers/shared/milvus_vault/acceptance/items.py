"""What an acceptance item is, what one finds, and the registry of all, in the order in which they are tried."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from milvus_vault.model.base import Model

if TYPE_CHECKING:
    from milvus_vault.acceptance.trial import Trial

# That many problems of one item are told.
_TOLD = 5

type Verdict = Literal["passed", "failed", "not_possible"]


class Finding(Model):
    """What an item found. `not_possible`: it could not be tried here, and `evidence` says why."""

    verdict: Verdict
    evidence: str
    hint: str = ""


def passed(evidence: str) -> Finding:
    """Return that all was as expected."""
    return Finding(verdict="passed", evidence=evidence)


def failed(evidence: str, hint: str = "") -> Finding:
    """Return that something was otherwise than expected."""
    return Finding(verdict="failed", evidence=evidence, hint=hint)


def not_possible(why: str, hint: str = "") -> Finding:
    """Return that it could not be tried."""
    return Finding(verdict="not_possible", evidence=why, hint=hint)


def judged(problems: Iterable[str], evidence: str, hint: str = "") -> Finding:
    """Return that an item failed by these problems, or where there are none that it passed."""
    found = list(problems)
    more = f"; and {len(found) - _TOLD} more" if len(found) > _TOLD else ""
    return failed("; ".join(found[:_TOLD]) + more, hint) if found else passed(evidence)


class Need(StrEnum):
    """What an item cannot do without."""

    WRITES = "writes"
    """It makes something: runs, backups, collections. Not with --read-only, nor while the stack is being changed."""
    COLLECTION = "a collection to back up"
    """One of its own, or the one that was named."""
    MILVUS = "Milvus reached from here"


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to try."""

    name: str
    section: int
    """Number of its section in docs/aws-checklist.md."""
    proves: str
    """What is known once it has passed."""
    run: Callable[["Trial"], Finding]
    needs: frozenset[Need] = frozenset()
    after: str = ""
    """The item that must have passed before, since it makes what this one looks at."""
    emulator: str = ""
    """Why the local stack cannot answer it. Empty: it can."""
    is_late: bool = False
    """Tried after all others, since it waits for what happens meanwhile, or counts what they did."""
    module: str = ""
    """Where it is registered."""
    is_manual: bool = False
    """Only a person can do it: docs/aws-checklist.md says how."""


_REGISTRY: list[Item] = []
_MANUAL = "milvus_vault.acceptance.manual"


def item(
    section: int, *needs: Need, after: str = "", emulator: str = "", is_late: bool = False
) -> Callable[[Callable[["Trial"], Finding]], Callable[["Trial"], Finding]]:
    """Register a function as an item: its name is the item's, its docstring what the item proves."""

    def register(function: Callable[["Trial"], Finding]) -> Callable[["Trial"], Finding]:
        proves = " ".join((function.__doc__ or "").split())
        _add(
            Item(
                function.__name__,
                section,
                proves,
                function,
                frozenset(needs),
                after,
                emulator,
                is_late,
                function.__module__,
            )
        )
        return function

    return register


def by_hand(section: int, name: str, proves: str) -> None:
    """Register what only a person can do. docs/aws-checklist.yaml has how, by this name."""
    finding = not_possible(f"it takes a person: docs/aws-checklist.md#{name} says how")
    _add(Item(name, section, proves, lambda _: finding, module=_MANUAL, is_manual=True))


def _add(made: Item) -> None:
    if any(known.name == made.name for known in _REGISTRY):
        msg = f"two acceptance items are called {made.name}"
        raise ValueError(msg)
    _REGISTRY.append(made)


def items() -> tuple[Item, ...]:
    """Return all items, in the order in which they are tried."""
    from milvus_vault.acceptance import access, bill, manual, operation, quotas, runs, stack  # noqa: PLC0415 - they register theirs

    order = [module.__name__ for module in (stack, runs, access, operation, quotas, bill, manual)]
    # Those of a module stay in its order.
    return tuple(sorted(_REGISTRY, key=lambda one: (one.is_late, one.section, order.index(one.module))))
