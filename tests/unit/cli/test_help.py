"""Help teaches, answers at once, and says what the documents say."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.core import TyperCommand, TyperGroup

from milvus_vault.cli.app import app_for
from milvus_vault.cli.exit_codes import ExitCode
from tests.unit.cli.conftest import Cli

REPOSITORY = Path(__file__).parents[3]
DOCUMENT = (REPOSITORY / "docs" / "cli.md").read_text()


def commands(group: TyperGroup, before: str = "") -> Iterator[tuple[str, TyperCommand]]:
    """Yield each command with its words."""
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from commands(command, f"{before}{name} ")
        else:
            assert isinstance(command, TyperCommand)
            yield f"{before}{name}", command


ROOT = typer.main.get_command(app_for())
assert isinstance(ROOT, TyperGroup)
COMMANDS = dict(commands(ROOT))


@pytest.mark.parametrize("words", COMMANDS)
def test_each_command_has_a_sentence_and_an_example_that_it_would_take(words: str) -> None:
    command = COMMANDS[words]
    assert command.help is not None
    assert command.help.splitlines()[0].endswith(".")
    examples = re.findall(r"\[dim\]milvus-vault (.*?)\[/\]", command.help)
    assert any(words in example for example in examples)
    known = {option for parameter in [*command.params, *ROOT.params] for option in parameter.opts}
    used = {
        option for example in examples for option in re.findall(r"(?<!\S)--?[a-z][a-z-]*", example.partition("|")[0])
    }
    assert used <= known


@pytest.mark.parametrize("words", COMMANDS)
def test_each_option_is_explained(words: str) -> None:
    assert all(getattr(parameter, "help", None) for parameter in COMMANDS[words].params if parameter.name != "help")


@pytest.mark.parametrize("words", COMMANDS)
def test_the_document_has_each_command(words: str) -> None:
    group, _, name = words.rpartition(" ")
    line = next(line for line in DOCUMENT.splitlines() if line.startswith(f"| `{group or name}"))
    rows = [row for row in DOCUMENT.splitlines() if row.startswith("| `") and (group or name) in row]
    assert line
    assert any(f"`{name}" in row or f"{words}" in row for row in rows)


def test_the_document_has_each_exit_code() -> None:
    table = DOCUMENT.partition("## Exit codes")[2].partition("## Scripts")[0]
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", table, re.M)] == [code.value for code in ExitCode]


def test_help_and_version_are_asked_for_in_both_ways(cli: Cli) -> None:
    for arguments in (("--help",), ("-h",), ()):
        assert "restore" in cli(*arguments).out
    assert re.fullmatch(r"milvus-vault \d+\.\d+\.\d+\n", cli("--version").out)


def test_help_says_that_a_limit_of_bytes_is_passed_by_one_object(cli: Cli) -> None:
    words = " ".join(re.findall(r"[\w-]+", cli("verify", "--help").out))
    assert "how much to read at most as 500GiB but at least one object" in words


def test_help_says_where_exports_go_without_a_prefix(cli: Cli) -> None:
    words = " ".join(re.findall(r"[\w-]+", cli("export", "--help").out))
    assert "with s3 BUCKET alone the stack s ExportPrefix there" in words


@pytest.mark.parametrize("words", [["--help"], ["create", "--help"], ["schedule", "put", "-h"], ["local", "-h"]])
def test_help_loads_nothing_that_takes_its_time(words: list[str]) -> None:
    code = f"import sys; from milvus_vault.cli.main import run; run({words}); print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(REPOSITORY / "layers" / "shared")},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    loaded = {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}
    # Of a command's own typer takes values by pydantic.
    slow = {"boto3", "botocore", "rich", "urllib3"} | ({"pydantic"} if words == ["--help"] else set())
    assert slow.isdisjoint(loaded), slow & loaded
    assert "milvus_vault.model" not in done.stdout


def test_help_has_no_value_where_a_flag_takes_none(cli: Cli) -> None:
    lines = cli("create", "--help").out.splitlines()
    assert any(re.match(r"  -w, --wait  +Follow", line) for line in lines)
    assert "bool" not in "".join(lines)


def test_help_keeps_examples_on_their_lines_and_says_nothing_in_markup(cli: Cli) -> None:
    written = cli("create", "--help").out
    assert "\n  milvus-vault create -n before_upgrade --wait\n" in written
    assert not re.search(r"\[(bold|dim|/)\]|[\ue000-\uf8ff]|\x1b", written)


def test_help_is_in_bold_on_a_terminal() -> None:
    root = typer.main.get_command(app_for())
    assert isinstance(root, TyperGroup)
    command = root.commands["list"]
    assert "\x1b[1m--schedule NAME\x1b[0m" in command.get_help(typer.Context(command))


def test_options_that_belong_together_are_under_a_heading_of_their_own(cli: Cli) -> None:
    sections = re.split(r"\n(?=\S[^\n]*:\n)", cli("schedule", "put", "--help").out)
    titles = {section.partition(":\n")[0]: section for section in sections}
    assert "--keep-last N" in titles["What is kept (default: all)"]
    assert "--drill-backup" in titles["A drill instead of backups"]
    assert "--keep-last" not in titles["Options"]


def test_each_command_says_where_the_other_options_are(cli: Cli) -> None:
    assert cli("list", "--help").out.rstrip().endswith("such as --stack and --profile: milvus-vault --help")


def test_on_a_narrow_terminal_the_text_of_an_option_has_most_of_the_width(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    lines = cli("rows", "--help").out.partition("Options:")[2].splitlines()
    assert any(re.match(r" {10,20}Only this partition\.", line) for line in lines)


def test_a_command_is_made_without_the_others() -> None:
    root = typer.main.get_command(app_for("list"))
    assert isinstance(root, TyperGroup)
    assert list(root.commands) == ["list"]
    assert set(COMMANDS) > {"list", "schedule put"}


@pytest.mark.parametrize(
    ("words", "near"),
    [(["restor"], "Did you mean 'restore'?"), (["schedule", "lst"], "Did you mean 'list'?"), (["frobnicate"], "")],
)
def test_only_near_commands_are_suggested(cli: Cli, words: list[str], near: str) -> None:
    done = cli(*words)
    assert done.code == 2
    assert near in done.err
    assert ("Did you mean" in done.err) == bool(near)


def test_ctrl_c_while_it_is_imported_leaves_no_traceback() -> None:
    program = """
import builtins, signal, os
real = builtins.__import__
def interrupted(name, *rest):
    if name == "typer":
        os.kill(os.getpid(), signal.SIGINT)
    return real(name, *rest)
from milvus_vault.cli.entry import main
builtins.__import__ = interrupted
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(REPOSITORY / "layers" / "shared")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "\n")
