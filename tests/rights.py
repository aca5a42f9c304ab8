"""Which rights of the template the tests have needed: `python -m tests.rights [--write]`.

Each session of pytest adds to .make/rights.json what the guard of `tests/support/privilege.py` noted of calls within
the tests' own process, and the local stack adds to another file what it let functions do by their roles. `--write` adds
to tests/data/rights.json what these have and it lacks; docs/permissions.md is made of that and of the template.

Without `--write` it ends with 1 where the tests have needed rights that tests/data/rights.json lacks. With `--forget`,
for a record of all tests, what that record lacks counts as well, and is taken out. `make test-all` asks so. What only
the local stack has shown stays: whether a function asks once more there is a matter of time, and no run of hours is to
fail by it.
"""

import argparse
import fcntl
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support.privilege import Right, policies_of, rights_of
from tests.template.loading import actions_of, resources_of, statements

ROOT = Path(__file__).parents[1]
RECORD = ROOT / ".make" / "rights.json"
NEEDED = ROOT / "tests" / "data" / "rights.json"

# What the emulator appends a line to for each right that a role gave; see local/ministack_patches.py.
OF_STACKS = ROOT / ".make" / "rights-of-stacks.txt"
ON_THE_STACK = "on the local stack"

type Calls = Mapping[Right, set[str]]
"""The calls that needed a right, each by the name of its operation."""


def add(noted: Calls) -> None:
    """Add to the record what a process has noted; several may end at a time."""
    RECORD.parent.mkdir(exist_ok=True)
    with RECORD.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        found = read(file.read())
        for right, calls in noted.items():
            found.setdefault(right, set()).update(calls)
        file.truncate(0)
        file.write(written(found))


def recorded() -> dict[Right, set[str]]:
    """Return what all sessions have needed since the record began."""
    found = read(RECORD.read_text() if RECORD.is_file() else "")
    for right in _given_by_stacks():
        found.setdefault(right, set()).add(ON_THE_STACK)
    return found


def _given_by_stacks() -> Iterator[Right]:
    lines = set(OF_STACKS.read_text().splitlines()) if OF_STACKS.is_file() else set()
    by_place = {
        (holder, statement["Sid"], action, number): Right(holder, statement["Sid"], action, resource)
        for holder, policies in policies_of().items()
        for statement in statements(policies)
        for action in actions_of(statement)
        for number, resource in enumerate(resources_of(statement))
    }
    for line in lines:
        role, sid, action, number = line.split()
        holder = next((name for name in policies_of() if f"-{name}Role" in role), "")
        if right := by_place.get((holder, sid, action, int(number))):
            yield right


def read(text: str) -> dict[Right, set[str]]:
    """Return the calls of a record, of those rights that the template still gives; none of an empty one."""
    data: dict[str, dict[str, list[str]]] = json.loads(text or "{}")
    found = {Right(holder, *key.split(" ", 2)): set(calls) for holder in data for key, calls in data[holder].items()}
    given = set(all_rights())
    return {right: calls for right, calls in found.items() if right in given}


def all_rights() -> list[Right]:
    """Return all rights of functions and machines, in the order of the template."""
    return [right for holder in policies_of() for right in rights_of(holder)]


def written(calls: Calls) -> str:
    """Return a record as it is kept."""
    found: dict[str, dict[str, list[str]]] = {}
    for right in sorted(calls):
        key = " ".join((right.statement, right.action, right.resource))
        found.setdefault(right.holder, {})[key] = sorted(calls[right])
    return json.dumps(found, indent=1) + "\n"


def joined(seen: Calls, kept: Calls) -> dict[Right, set[str]]:
    """Return the calls that either has."""
    return {right: seen.get(right, set()) | kept.get(right, set()) for right in {*seen, *kept}}


def forgetting(seen: Calls, kept: Calls) -> dict[Right, set[str]]:
    """Return what a record of all tests has, and of `kept` what only the local stack has shown."""
    return {**{right: calls for right, calls in kept.items() if calls == {ON_THE_STACK}}, **seen}


def main() -> int:
    """Compare the records, or write; return 1 where they differ."""
    parser = argparse.ArgumentParser(prog="python -m tests.rights", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write tests/data/rights.json")
    parser.add_argument("--forget", action="store_true", help="what this record lacks is not needed any more")
    given = parser.parse_args()
    seen, kept = recorded(), read(NEEDED.read_text())
    wanted = forgetting(seen, kept) if given.forget else joined(seen, kept)
    if given.write:
        NEEDED.write_text(written(wanted))
        return 0
    wrong = [f"{' '.join(right)}: needed, and not written down" for right in sorted(seen.keys() - kept)]
    wrong += [f"{' '.join(right)}: written down, and no test needs it" for right in sorted(kept.keys() - wanted)]
    print(*wrong, sep="\n", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
