"""Links of the documents lead somewhere, and what they tell people to type is what the command line takes."""

import re
import shlex
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import typer
from typer.core import TyperCommand, TyperGroup

from milvus_vault.cli.app import app_for

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
# GitHub and mkdocs make anchors of headings so: without markup, in small letters, a hyphen for each blank.
_MARKUP = re.compile(r"\[([^\]]*)\]\([^)]*\)|[`*]")
_COMMAND = TyperGroup | TyperCommand


def _without_code(document: Path) -> str:
    return re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)


@cache
def anchors(document: Path) -> set[str]:
    """Return the anchors of a document's headings; of equal ones all but the first are numbered."""
    found, seen = set(), Counter[str]()
    for title in re.findall(r"^#+ (.*)$", _without_code(document), re.MULTILINE):
        plain = _MARKUP.sub(lambda markup: markup[1] or "", title).strip().lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def links(document: Path) -> Iterator[str]:
    """Yield where a document's links lead within the repository."""
    text = re.sub(r"`[^`\n]*`", "", _without_code(document))
    for target in re.findall(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"", text):
        found = "".join(target)
        if not re.match(r"\w+:", found):
            yield found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: str(document.relative_to(ROOT)))
def test_each_link_of_a_document_leads_somewhere(document: Path) -> None:
    wrong = []
    for link in links(document):
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target.resolve())):
            wrong.append(link)
    assert wrong == []


def commands(document: Path) -> Iterator[list[str]]:
    """Yield the words of each command line of ours in a document's shell blocks, without `milvus-vault`."""
    for block in re.findall(
        r"^```(?:bash|sh|console|shell)\n(.*?)^```$", document.read_text(), re.DOTALL | re.MULTILINE
    ):
        for line in block.replace("\\\n", " ").splitlines():
            # What is behind a pipe, and what is done with the exit code, is the shell's.
            for part in re.split(r"[|;&]+(?=(?:[^'\"]|'[^']*'|\"[^\"]*\")*$)", line):
                before, is_ours, arguments = part.strip().removeprefix("$ ").partition("milvus-vault ")
                if is_ours and not before:
                    yield shlex.split(arguments, comments=True)


def _mistake(words: list[str]) -> str:
    """Return what is wrong with a command line, as its command's options say it; nothing is run."""
    command = typer.main.get_command(app_for())
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    rest = list(words)
    while isinstance(command, TyperGroup):
        name = next((word for word in rest if word in command.commands), None)
        if name is None:
            return "" if set(rest) <= known else f"no command in {rest}"
        rest.remove(name)
        command = command.commands[name]
        known |= {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    options = {word.partition("=")[0] for word in rest if word.startswith("--") and word != "--"} - {"--help"}
    return f"{sorted(options - known)}" if options - known else ""


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: str(document.relative_to(ROOT)))
def test_the_command_line_has_each_command_and_option_that_a_document_says(document: Path) -> None:
    assert [(words, mistake) for words in commands(document) if (mistake := _mistake(words))] == []


def test_commands_are_found_and_looked_at() -> None:
    assert len([words for document in DOCUMENTS for words in commands(document)]) > 50
    assert _mistake(["lsit"]) == "no command in ['lsit']"
    assert _mistake(["list", "--limti", "3"]) == "['--limti']"
    assert not _mistake(["--stack", "vault", "schedule", "put", "nightly", "rate(1 day)", "--keep-last=3"])
