"""Small changes to the code, each of which some test must notice.

    make reached                                                      # once: which test reaches which line
    python -m tests.mutants [--seed 1] [--count 120] [--only restore/journal.py] [--all]

with PYTHONPATH=layers/shared. A seed draws as many changes of each part of the package. Each is made in a copy of the
repository, never in the repository itself, and the tests that reach its line run there until one fails: those of
`make test`, and with `--all` then those of `make test-all`. What only the local stack runs is not among them.

Changed are comparisons, boundaries, conditions, operators and numbers; calls and raises are left out, and what is
returned becomes None. Texts for people are not. What no test notices is printed, and makes the command end with 1
unless tests/mutants.yaml says why no test could: it stands there under module, function and change.
"""

import argparse
import ast
import copy
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import batched
from pathlib import Path

import pytest
import yaml

from tests.reaching import PACKAGE, Reached

ROOT = Path(__file__).parents[1]
REASONS = Path(__file__).with_suffix(".yaml")
_SHOWN_CHARACTERS = 90
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+::.+?)(?: - .*)?$", re.MULTILINE)
_MADE = (".aws-sam", ".local-cache", ".venv")
"""What tests ask for that `make` made."""
_AT_ONCE = 100
"""Tests that one pytest runs: their IDs are read from a file, and the first failure ends it."""
_PATIENCE_SECONDS = 1500
"""For so many tests, and more than pytest gives a single one: a loop that never ends is noticed, too."""


# The parts from which changes are drawn: modules and folders of the package.
PARTS: dict[str, tuple[str, ...]] = {
    "restore": ("restore/",),
    "copying": ("copying/", "parallel.py"),
    "archive": ("archive/",),
    "retention": ("retention/",),
    "claims": ("claims.py",),
    "catalogue": ("catalogue/",),
}
# In this order tests run, since the first failure ends a run: the quick ones first.
_FOLDERS = ("unit", "functions", "conformance", "threads", "restore")

type Place = Callable[[ast.AST], None]


@dataclass(frozen=True, slots=True)
class Mutant:
    """A module with one change."""

    module: str
    """Its path in the package."""
    line: int
    scope_line: int
    """Where the function or class begins that it is in."""
    name: str
    """Module, function and change: what it is known by in the file of reasons."""
    source: str


_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
# What is said of types, and nothing is done with; and what tells a number's look.
_NOT_CODE = frozenset({"annotation", "returns", "decorator_list", "type_params", "format_spec"})
# Calls that tell people something.
_TELLING = frozenset({"logger", "log", "print"})
_TEXTS = frozenset({"msg", "hint", "message", "description", "title"})


def mutants_of(module: str, source: str) -> Iterator[Mutant]:
    """Yield the module with each change that there is."""
    tree = ast.parse(source)
    for scope, scope_line, parent, child, new, put in _changes(tree, "", 1):
        # A number says nothing by itself.
        around = isinstance(child, ast.Constant)
        before = _shown(parent if around else child)
        put(new)
        after = _shown(parent if around else new)
        changed = ast.unparse(tree)
        put(child)
        line = child.lineno if isinstance(child, ast.expr | ast.stmt) else 0
        yield Mutant(module, line, scope_line, f"{module} {scope}: {before} -> {after}", changed)


def _changes(
    parent: ast.AST, scope: str, scope_line: int
) -> Iterator[tuple[str, int, ast.AST, ast.AST, ast.AST, Place]]:
    for field, value in ast.iter_fields(parent):
        if field in _NOT_CODE:
            continue
        for number, child in enumerate(value if isinstance(value, list) else [value]):
            if not isinstance(child, ast.AST) or _is_text(child):
                continue

            def put(new: ast.AST, field: str = field, number: int = number) -> None:
                if isinstance(value := getattr(parent, field), list):
                    value[number] = new
                else:
                    setattr(parent, field, new)

            for new in _variants(field, parent, child):
                yield scope or "module", scope_line, parent, child, new, put
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                yield from _changes(child, f"{scope}.{child.name}".strip("."), child.lineno)
            else:
                yield from _changes(child, scope, scope_line)


def _variants(field: str, parent: ast.AST, child: ast.AST) -> Iterator[ast.AST]:
    if isinstance(child, ast.stmt):
        yield from _statements(child)
    elif isinstance(child, ast.expr):
        if field == "ifs":
            yield ast.Constant(True)
        elif field == "test" and isinstance(parent, ast.If | ast.IfExp) and not _has_opposite(child):
            yield ast.UnaryOp(ast.Not(), child)
        yield from _expressions(child)


def _has_opposite(test: ast.expr) -> bool:
    """Return whether a condition is turned round by another change already."""
    opposites = ast.Eq | ast.NotEq | ast.In | ast.NotIn | ast.Is | ast.IsNot
    match test:
        case ast.UnaryOp(op=ast.Not()):
            return True
        case ast.Compare(ops=[operator]):
            return isinstance(operator, opposites)
        case _:
            return False


def _statements(child: ast.stmt) -> Iterator[ast.stmt]:
    match child:
        case ast.Expr(value=ast.Call()) | ast.Raise():
            yield ast.Pass()
        case ast.Return(value=ast.expr() as value) if ast.unparse(value) != "None":
            yield ast.Return(ast.Constant(None))
        case ast.Continue():
            yield ast.Break()
        case ast.Break():
            yield ast.Continue()


def _expressions(child: ast.expr) -> Iterator[ast.expr]:
    match child:
        case ast.Compare(ops=ops):
            for number, operator in enumerate(ops):
                new = copy.copy(child)
                new.ops = [*ops[:number], _COMPARISONS[type(operator)](), *ops[number + 1 :]]
                yield new
        case ast.BoolOp(op=operator, values=values):
            yield ast.BoolOp(ast.Or() if isinstance(operator, ast.And) else ast.And(), values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _OPERATORS:
            yield ast.BinOp(left, _OPERATORS[type(operator)](), right)
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield ast.Constant(value + 1)


def _is_text(node: ast.AST) -> bool:
    match node:
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.keyword(arg=str(name)):
            return name in _TEXTS
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name)) | ast.Name(id=name))):
            return name in _TELLING
        case _:
            return False


def _shown(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"


def draw(seed: int, count: int) -> list[Mutant]:
    """Return about as many mutants of each part as of the others."""
    drawn: list[Mutant] = []
    for number, part in enumerate(PARTS):
        there = list(mutants_in(part))
        wanted = count * (number + 1) // len(PARTS) - count * number // len(PARTS)
        drawn += random.Random(f"{seed} {part}").sample(there, min(wanted, len(there)))  # noqa: S311
    return drawn


def mutants_in(start: str) -> Iterator[Mutant]:
    """Yield the mutants of each module of the parts whose path begins so; of a part's modules for its name."""
    package = ROOT / PACKAGE
    starts = PARTS.get(start, (start,))
    for path in sorted(package.rglob("*.py")):
        module = path.relative_to(package).as_posix()
        if module.startswith(starts) and any(module.startswith(part) for part in PARTS.values()):
            yield from mutants_of(module, path.read_text())


class Copy:
    """A copy of the repository in which one module at a time is changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sound: set[str] = set()
        # Bytecode is taken for a source of the same second and size: each change gets a second of its own.
        self._second = time.time_ns() // 10**9
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        )
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        for name in _MADE:
            (folder / name).symlink_to(ROOT / name)

    def gate(self) -> frozenset[str]:
        """Return the IDs of the tests that `make test` runs. A part of them given by name would not say it."""
        asked = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "tests"]
        said = subprocess.run(asked, cwd=self._folder, env=_environment(), check=True, capture_output=True, text=True)
        return frozenset(line for line in said.stdout.splitlines() if "::" in line)

    def notices(self, mutant: Mutant, tests: Sequence[str]) -> bool:
        """Return whether one of the tests fails, or does not end, with the change, and passes without it."""
        path = self._folder / PACKAGE / mutant.module
        original = path.read_text()
        self._write(path, mutant.source)
        try:
            failed = next(filter(None, map(self._run, batched(tests, _AT_ONCE, strict=False))), "")
        finally:
            self._write(path, original)
        if failed and failed not in self._sound:
            if self._run([failed]):
                msg = f"without any change this does not pass: {failed}"
                raise SystemExit(msg)
            self._sound.add(failed)
        return bool(failed)

    def _write(self, path: Path, source: str) -> None:
        path.write_text(source)
        self._second += 1
        os.utime(path, (self._second, self._second))

    def _run(self, tests: Sequence[str]) -> str:
        """Return which test failed, or was the first where they did not end or could not begin; empty: none."""
        chosen, said = self._folder / "chosen-tests", self._folder / "said"
        chosen.write_text("\n".join(tests))
        options = ("--all", "-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0")
        with said.open("wb") as file:
            running = subprocess.Popen(
                [sys.executable, "-m", "pytest", *options, f"@{chosen}"],
                cwd=self._folder,
                env=_environment(),
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        try:
            ended = running.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, 9)
            running.wait()
            return tests[0]
        if ended in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            return ""
        found = _FAILED.search(said.read_text(errors="replace"))
        return found[1] if found else tests[0]


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def _in_order(tests: Iterable[str]) -> list[str]:
    """Return tests in the order in which they are to run."""

    def place(test: str) -> int:
        folder = test.split("/")[1]
        return _FOLDERS.index(folder) if folder in _FOLDERS else len(_FOLDERS)

    return sorted(tests, key=place)


def main() -> int:
    """Try each change, print what became of it; return 1 where one was not noticed for no known reason."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seed", type=int, default=1, help="which changes are drawn")
    parser.add_argument("--count", type=int, default=120, help="how many")
    parser.add_argument("--only", default="", help="all changes of this part, folder or module instead")
    parser.add_argument("--all", action="store_true", help="run the tests of `make test-all` where no other notices")
    parser.add_argument("--list", action="store_true", help="print the changes and try none")
    given = parser.parse_args()
    mutants = list(mutants_in(given.only)) if given.only else draw(given.seed, given.count)
    reasons: dict[str, str] = yaml.safe_load(REASONS.read_text()) or {}
    noticed, unexplained = 0, 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        place, reached = Copy(Path(folder)), Reached()
        gate = place.gate()
        for mutant in mutants:
            tests = _in_order(reached.by(mutant.module, mutant.scope_line, mutant.line))
            first, later = [test for test in tests if test in gate], [test for test in tests if test not in gate]
            if given.list:
                word = f"{len(first)} tests, and {len(later)} more"
            elif mutant.name in reasons:
                word = "not tried, for a reason"
            elif place.notices(mutant, first):
                noticed, word = noticed + 1, "noticed"
            elif given.all and place.notices(mutant, later):
                noticed, word = noticed + 1, "noticed, all"
            else:
                unexplained, word = unexplained + 1, "NOT NOTICED"
            print(f"{word}: {PACKAGE / mutant.module}:{mutant.line}: {mutant.name.partition(' ')[2]}", flush=True)
    print(f"{len(mutants)} changes, {noticed} noticed, {unexplained} without a test or a reason")
    return int(unexplained > 0)


if __name__ == "__main__":
    sys.exit(main())
