"""Make docs/threads.md: what users have reported, and the tests that guard against it.

A test names threads by a marker, `@pytest.mark.thread("milvus-backup#781")`; docs/threads.yaml says what each was,
and for one without a test why there is none. Tests are read, not imported.
"""

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

ROOT = Path(__file__).parent.parent
THREADS = ROOT / "docs" / "threads.yaml"
TESTS = ROOT / "tests"

_REPOSITORIES = {
    "milvus": "milvus-io/milvus",
    "milvus-backup": "zilliztech/milvus-backup",
    "milvus-cdc": "zilliztech/milvus-cdc",
}


class Thread(BaseModel):
    """What a thread is about."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    what: str
    reason: str = ""
    """Why no test guards against it; empty where one does."""


class Theme(BaseModel):
    """Threads that are alike."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    threads: dict[str, Thread]


class Register(BaseModel):
    """docs/threads.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    themes: tuple[Theme, ...]

    @property
    def threads(self) -> dict[str, Thread]:
        """Return all threads by their names."""
        return {name: thread for theme in self.themes for name, thread in theme.threads.items()}


@dataclass(frozen=True, slots=True, order=True)
class Guard:
    """A test that guards against what a thread reports."""

    path: str
    """Below the repository's root."""
    name: str


def register() -> Register:
    """Return what docs/threads.yaml says. Raises pydantic's `ValidationError`."""
    return Register.model_validate(yaml.safe_load(THREADS.read_text()))


def guards(folder: Path = TESTS) -> dict[str, list[Guard]]:
    """Return the tests by the threads that they name."""
    found: dict[str, list[Guard]] = defaultdict(list)
    for path in sorted(folder.rglob("test_*.py")):
        for test, thread in _marked(ast.parse(path.read_text())):
            found[thread].append(Guard(path.relative_to(folder.parent).as_posix(), test))
    return found


def _marked(tree: ast.AST) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.thread":
                    for argument in decorator.args:
                        yield node.name, ast.literal_eval(argument)


def url(thread: str) -> str:
    """Return where a thread can be read. Raises `KeyError` for a repository that is none of the three."""
    repository, _, number = thread.partition("#")
    return f"https://github.com/{_REPOSITORIES[repository]}/issues/{number}"


def threads_document(found: Register, tests: Mapping[str, Sequence[Guard]], preamble: str) -> str:
    """Return docs/threads.md."""
    lines = [
        preamble,
        "",
        "# What users have reported",
        "",
        "Failures of backups and restores that users of Milvus and of milvus-backup have reported in public, and the",
        "tests that fail if this product does the same. A thread without a test has a reason. What each was is said in",
        "our words; the texts are behind the links.",
    ]
    for theme in found.themes:
        lines += ["", f"## {theme.title}", "", "| thread | what it was | guarded by |", "|---|---|---|"]
        for name, thread in theme.threads.items():
            named = [f"[{_sentence(guard)}](../{guard.path})" for guard in sorted(tests.get(name, ()))]
            lines.append(
                f"| [{name}]({url(name)}) | {thread.what} | {'<br>'.join(named) or f'no test: {thread.reason}'} |"
            )
    return "\n".join(lines) + "\n"


def _sentence(guard: Guard) -> str:
    return guard.name.removeprefix("test_").replace("_", " ")
