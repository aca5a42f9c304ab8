"""Small changes to the code, each of which some test must notice.

    python -m tests.mutants [--seed 1] [--count 120] [--only restore/journal.py] [--wide]

with PYTHONPATH=layers/shared. A seed draws as many changes of each part of the package. Each is made in a copy of the
repository, never in the repository itself, and the tests of its module run there until one fails; with `--wide` those
that take longer, too. `--only` tries all changes of one module instead of some of all.

Changed are comparisons, boundaries, conditions, operators and numbers; calls and raises are left out, and what is
returned becomes None. Texts for people are not. What no test notices is printed, and makes the command end with 1
unless tests/mutants.yaml says why no test could: it stands there under module, function and change.
"""

import argparse
import ast
import copy
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import yaml

ROOT = Path(__file__).parents[1]
PACKAGE = Path("layers/shared/milvus_vault")
REASONS = Path(__file__).with_suffix(".yaml")
_SHOWN_CHARACTERS = 90
_LEAST_PATIENCE_SECONDS = 60
_PATIENCE = 5
"""Times as long as the tests take without a change: a loop that never ends is noticed, too."""


class Tests(NamedTuple):
    """The tests that are to notice a change of a module: first those that need nothing, then slower ones."""

    unit: tuple[str, ...]
    """In the order in which they run: the module's own first, since the first failure ends a run."""
    wide: tuple[str, ...] = ()


_COPYING = ("unit/copying", "unit/test_parallel.py")
_ARCHIVE = ("unit/archive", "unit/catalogue", "unit/verifying", "unit/test_publish.py", "unit/test_restore_staging.py")
_RETENTION = ("unit/retention", "unit/catalogue")

# The parts from which changes are drawn, and the tests of each of their modules or folders.
PARTS: dict[str, dict[str, Tests]] = {
    "restore": {
        "restore/aliases.py": Tests((), ("restore/test_aliases.py",)),
        "restore/cleanup.py": Tests((), ("restore/test_faults.py", "restore/test_each_failure.py")),
        "restore/cut.py": Tests((), ("restore/test_point_in_time.py", "restore/test_moment.py")),
        "restore/cutting.py": Tests((), ("restore/test_point_in_time.py", "restore/test_moment.py")),
        "restore/indexes.py": Tests(("unit/test_restore_indexes.py",), ("threads/test_indexes.py",)),
        "restore/journal.py": Tests(("unit/test_restore_journal.py",)),
        "restore/loading.py": Tests((), ("restore/test_loading.py", "restore/test_replicas.py")),
        "restore/naming.py": Tests(("unit/test_naming.py",)),
        "restore/partitions.py": Tests((), ("threads/test_partitions.py", "restore/test_each_version.py")),
        "restore/prepare.py": Tests(
            ("unit/retention/test_restore_race.py",),
            ("restore/test_each_version.py", "restore/test_options.py", "restore/test_databases.py"),
        ),
        "restore/rights.py": Tests((), ("restore/test_rights.py", "conformance/test_rights.py")),
        "restore/schema.py": Tests(("unit/test_restore_schema.py",), ("restore/test_schemas.py",)),
        "restore/staging.py": Tests(("unit/test_restore_staging.py",), ("restore/test_import_limits.py",)),
        "restore/staging_legacy.py": Tests(("unit/test_restore_staging.py",), ("restore/test_imports.py",)),
        "restore/targets.py": Tests((), ("restore/test_each_version.py", "restore/test_options.py")),
        "restore/under_way.py": Tests(("unit/retention/test_restore_race.py",)),
    },
    "copying": {
        "copying/batches.py": Tests(("unit/copying/test_batches.py", *_COPYING)),
        "parallel.py": Tests(_COPYING),
        "copying/working_files.py": Tests(_COPYING),
        "copying/engine.py": Tests(("unit/copying/test_engine.py", *_COPYING)),
        "copying/pacer.py": Tests(("unit/copying/test_pacer.py", *_COPYING)),
        "copying/parts.py": Tests(("unit/copying/test_parts.py", *_COPYING)),
        "copying/plan.py": Tests(("unit/copying/test_plan.py", *_COPYING)),
        "copying/progress.py": Tests(("unit/copying/test_engine.py", *_COPYING)),
        "copying/records.py": Tests(("unit/copying/test_engine.py", *_COPYING)),
        "copying/verify.py": Tests(("unit/copying/test_verify.py", *_COPYING)),
    },
    "archive": {
        "archive/added_vectors.py": Tests(("unit/archive/test_added_vectors.py", *_ARCHIVE)),
        "archive/check.py": Tests(("unit/archive/test_check.py", "unit/archive/test_reference_segments.py", *_ARCHIVE)),
        "archive/contents.py": Tests(_ARCHIVE),
        "archive/go_json.py": Tests(("unit/archive/test_reference_writer.py", *_ARCHIVE)),
        "archive/layout.py": Tests(("unit/archive/test_layout.py", *_ARCHIVE)),
        "archive/manifest.py": Tests(("unit/archive/test_reference_writer.py", *_ARCHIVE)),
        "archive/other_etags.py": Tests(("unit/verifying/test_contents.py", *_ARCHIVE)),
        "archive/reader.py": Tests(("unit/archive/test_reader_reference.py", *_ARCHIVE)),
        "archive/reference_agreement.py": Tests(("unit/archive/test_reference_agreement.py", *_ARCHIVE)),
        "archive/reference_": Tests(
            ("unit/archive/test_reference_writer.py", "unit/archive/test_reader_reference.py", *_ARCHIVE),
            ("restore/test_golden_archives.py", "restore/test_reference_shapes.py"),
        ),
        "archive/remains.py": Tests((*_RETENTION, "unit/verifying")),
        "archive/sealing.py": Tests((*_RETENTION, "unit/verifying")),
        "archive/segment_logs.py": Tests(("unit/archive/test_segment_logs.py", *_ARCHIVE)),
        "archive/tombstones.py": Tests((*_RETENTION, "unit/verifying")),
    },
    "retention": {
        "retention/delete.py": Tests(("unit/retention/test_prune.py", *_RETENTION)),
        "retention/working_files.py": Tests(("unit/retention/test_prune.py", *_RETENTION)),
        "retention/plan.py": Tests(("unit/retention/test_policies.py", "unit/retention/test_prune.py", *_RETENTION)),
        "retention/policy.py": Tests(("unit/retention/test_policy.py", *_RETENTION)),
        "retention/proof.py": Tests(("unit/retention/test_proof.py", *_RETENTION)),
        "retention/report.py": Tests(("unit/retention/test_prune.py", *_RETENTION)),
        "retention/sweep.py": Tests(("unit/retention/test_sweep.py", *_RETENTION)),
    },
    "claims": {"claims.py": Tests(("unit/test_claims.py",))},
    "catalogue": {"catalogue/": Tests(("unit/catalogue", "unit/retention", "unit/verifying"))},
}

type Place = Callable[[ast.AST], None]


@dataclass(frozen=True, slots=True)
class Mutant:
    """A module with one change."""

    module: str
    """Its path in the package."""
    line: int
    name: str
    """Module, function and change: what it is known by in the file of reasons."""
    source: str
    tests: Tests


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


def mutants_of(module: str, source: str, tests: Tests) -> Iterator[Mutant]:
    """Yield the module with each change that there is."""
    tree = ast.parse(source)
    for scope, parent, child, new, put in _changes(tree, ""):
        # A number says nothing by itself.
        around = isinstance(child, ast.Constant)
        before = _shown(parent if around else child)
        put(new)
        after = _shown(parent if around else new)
        changed = ast.unparse(tree)
        put(child)
        line = child.lineno if isinstance(child, ast.expr | ast.stmt) else 0
        yield Mutant(module, line, f"{module} {scope}: {before} -> {after}", changed, tests)


def _changes(parent: ast.AST, scope: str) -> Iterator[tuple[str, ast.AST, ast.AST, ast.AST, Place]]:
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
                yield scope or "module", parent, child, new, put
            name = child.name if isinstance(child, ast.FunctionDef | ast.ClassDef) else ""
            yield from _changes(child, f"{scope}.{name}".strip("."))


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
    """Yield the mutants of each module whose path begins so, where its tests are known."""
    package = ROOT / PACKAGE
    for path in sorted(package.rglob("*.py")):
        module = path.relative_to(package).as_posix()
        known = next(
            (tests for part in PARTS.values() for name, tests in part.items() if module.startswith(name)), None
        )
        if module.startswith(start) and known:
            yield from mutants_of(module, path.read_text(), known)


class Copy:
    """A copy of the repository in which one module at a time is changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seconds: dict[tuple[str, ...], float] = {}
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

    def notices(self, mutant: Mutant, tests: tuple[str, ...]) -> bool:
        """Return whether one of the tests fails, or does not end, with the change."""
        if not tests:
            return False
        if tests not in self._seconds:
            begun = time.monotonic()
            if not self._passes(tests, None):
                msg = f"without any change these do not pass: {' '.join(tests)}"
                raise SystemExit(msg)
            self._seconds[tests] = time.monotonic() - begun
        path = self._folder / PACKAGE / mutant.module
        original = path.read_text()
        self._write(path, mutant.source)
        try:
            return not self._passes(tests, max(_LEAST_PATIENCE_SECONDS, _PATIENCE * self._seconds[tests]))
        finally:
            self._write(path, original)

    def _write(self, path: Path, source: str) -> None:
        path.write_text(source)
        self._second += 1
        os.utime(path, (self._second, self._second))

    def _passes(self, tests: tuple[str, ...], seconds: float | None) -> bool:
        paths = [f"tests/{name}" for name in tests]
        options = ["-x", "-q", "--no-header", "-p", "no:cacheprovider", "-p", "no:schemathesis", "--hypothesis-seed=0"]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        running = subprocess.Popen(
            [sys.executable, "-m", "pytest", *options, *paths],
            cwd=self._folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            return running.wait(seconds) == 0
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, 9)
            running.wait()
            return False


def main() -> int:
    """Try each change, print what became of it; return 1 where one was not noticed for no known reason."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seed", type=int, default=1, help="which changes are drawn")
    parser.add_argument("--count", type=int, default=120, help="how many")
    parser.add_argument("--only", default="", help="all changes of this module or folder instead")
    parser.add_argument("--wide", action="store_true", help="run the slower tests as well where no other notices")
    parser.add_argument("--list", action="store_true", help="print the changes and try none")
    given = parser.parse_args()
    mutants = list(mutants_in(given.only)) if given.only else draw(given.seed, given.count)
    reasons: dict[str, str] = yaml.safe_load(REASONS.read_text()) or {}
    noticed, unexplained = 0, 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        place = Copy(Path(folder))
        for mutant in mutants:
            if given.list:
                word = "change"
            elif place.notices(mutant, mutant.tests.unit):
                noticed, word = noticed + 1, "noticed"
            elif given.wide and mutant.tests.wide and place.notices(mutant, mutant.tests.wide):
                noticed, word = noticed + 1, "noticed, wide"
            elif mutant.name in reasons:
                word = "not noticed, for a reason"
            else:
                unexplained, word = unexplained + 1, "NOT NOTICED"
            print(f"{word}: {PACKAGE / mutant.module}:{mutant.line}: {mutant.name.partition(' ')[2]}", flush=True)
    print(f"{len(mutants)} changes, {noticed} noticed, {unexplained} without a test or a reason")
    return int(unexplained > 0)


if __name__ == "__main__":
    sys.exit(main())
