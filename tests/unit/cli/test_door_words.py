"""Each door has its own words: fields for requests, options for the command line."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.core import TyperCommand, TyperGroup

import milvus_vault
from milvus_vault.archive.reader import REPAIR_HINT
from milvus_vault.cli.app import app_for
from milvus_vault.cli.words import COMMANDS, OPTIONS, WITHOUT, spoken
from milvus_vault.model.names import WATCH_OR_STOP
from milvus_vault.model.requests import BackupRequest, PruneRequest, RestoreRequest, VerifyRequest
from milvus_vault.model.resources import Hold, ScheduleSpec
from milvus_vault.model.retention import Retention
from tests.support.fake_api import FakeApi, backup, problem
from tests.unit.cli.conftest import Cli

PACKAGE = Path(str(milvus_vault.__file__)).parent
MODELS = (BackupRequest, RestoreRequest, VerifyRequest, PruneRequest, ScheduleSpec, Retention, Hold)
FIELDS = {field for model in MODELS for field in model.model_fields}
# Speaks both: where it is raised nobody knows who asks.
BOTH_DOORS = {"milvus-vault local up"}


def known_options(group: TyperGroup) -> Iterator[str]:
    """Yield all options, and the commands with the program's name before them."""
    for name, command in group.commands.items():
        yield f"milvus-vault {name}"
        if isinstance(command, TyperGroup):
            yield from known_options(command)
        elif isinstance(command, TyperCommand):
            for parameter in command.params:
                yield from (*parameter.opts, *parameter.secondary_opts, str(getattr(parameter, "metavar", "")))


def test_each_field_of_a_request_has_words_of_the_command_line_which_it_knows() -> None:
    root = typer.main.get_command(app_for())
    assert isinstance(root, TyperGroup)
    known = {*known_options(root), *(option for parameter in root.params for option in parameter.opts)}
    assert OPTIONS.keys() >= FIELDS - WITHOUT
    assert not WITHOUT & OPTIONS.keys()
    assert set(OPTIONS.values()) <= known


def test_a_field_in_backquotes_is_an_option_and_nothing_else_is_touched() -> None:
    assert spoken("Set `allow_version`, or `load: false`; see `GET /openapi.json`.") == (
        "Set --allow-version, or --no-load; see `GET /openapi.json`."
    )
    assert spoken("load the collections of `schedule`") == "load the collections of `schedule`"


def test_a_route_in_a_hint_is_a_command() -> None:
    assert spoken("`GET /backups` lists them.") == "'milvus-vault list' lists them."
    assert spoken(REPAIR_HINT) == "Repair it: 'milvus-vault repair'."
    assert spoken(WATCH_OR_STOP) == "Watch it by 'milvus-vault watch', or stop it by 'milvus-vault stop'"
    named = {route.removeprefix("`").removesuffix("`") for path in BEHIND for text in texts(path)
             for route in re.findall(r"`[A-Z]+ /[^`]*`", text)}  # fmt: skip
    # What the API alone says of itself.
    assert named - {"GET /openapi.json", "PUT /schedules/{name}"} == COMMANDS.keys()
    root = typer.main.get_command(app_for())
    assert isinstance(root, TyperGroup)
    assert set(COMMANDS.values()) <= set(known_options(root))


def texts(path: Path) -> Iterator[str]:
    """Yield what a module says: its texts of several words, without docstrings."""
    tree = ast.parse(path.read_text())
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docstrings = {
        id(statement.value)
        for node in ast.walk(tree)
        for statement in (node.body if isinstance(node, documented) else ())
        if isinstance(statement, ast.Expr)
    }
    # The descriptions of fields are for those who write requests.
    described = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg == "description"
        for part in ast.walk(node.value)
    }
    left_out = docstrings | described
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Constant) and isinstance(node.value, str)) or id(node) in left_out:
            continue
        if " " in node.value:
            yield node.value


BEHIND = sorted(path for path in PACKAGE.rglob("*.py") if "cli" not in path.relative_to(PACKAGE).parts)


@pytest.mark.parametrize("path", BEHIND, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_behind_the_command_line_nobody_speaks_its_words_and_fields_are_in_backquotes(path: Path) -> None:
    compound = "|".join(sorted(field for field in FIELDS if "_" in field))
    for text in texts(path):
        said = text
        for both in BOTH_DOORS:
            said = said.replace(both, "")
        assert not re.search(r"(?<![\w-])--[a-z]|milvus-vault [a-z]+ ", said), text
        assert not re.search(rf"(?<![\w`])({compound})(?![\w`:])", text), text
        assert not re.search(rf"'({'|'.join(sorted(FIELDS))})'", text), text


@pytest.mark.parametrize(
    ("error", "hint", "told"),
    [
        ("VersionUnsupportedError", "Set `allow_version` to restore.", "Set --allow-version to restore."),
        ("BackupExistsError", "Choose another `backup_name`.", "Choose another --name."),
    ],
)
def test_hints_of_the_api_are_told_in_options(api: FakeApi, cli: Cli, error: str, hint: str, told: str) -> None:
    api.backups = {"b": backup("b")}
    api.answers = [problem(error, "no", 409, hint)]
    done = cli("restore", "b", "-o", "json")
    assert f"hint: {told}" in done.err
    assert done.document["hint"] == told
    api.outcomes["restore"] = {"status": "failed", "error": error, "message": "no", "hint": hint}
    assert f"hint: {told}" in cli("restore", "b", "--wait").err


@pytest.mark.parametrize(
    "words", ["create --wait true", "verify --wait true", "restore b --wait true", "create TRUE", "delete -y no"]
)
def test_a_value_behind_a_flag_is_no_name(api: FakeApi, cli: Cli, words: str) -> None:
    api.backups = {"b": backup("b"), "true": backup("true")}
    done = cli(*words.split())
    assert (done.code, api.asked) == (2, [])


def test_a_backup_may_be_called_true_all_the_same(api: FakeApi, cli: Cli) -> None:
    assert cli("create", "-n", "true").code == 0
    assert api.asked[0].body == {"backup_name": "true"}


def test_a_wait_has_words_of_its_own(cli: Cli) -> None:
    assert "With --wait" not in cli("watch", "--help").out


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ("verify b --level deep --sample 0", "verify"),
        ("verify b --level deep --max-bytes 0", "verify"),
        ("create -n 1st", "create"),
        ("create --expire-after soon", "create"),
        ("export b --as 1st", "export"),
        ("export b --as a --to s3://B", "export"),
        ("schedule put s rate(1day) --keep-last 0", "schedule put"),
    ],
)
def test_a_wrong_option_leads_to_the_help_of_its_command(api: FakeApi, cli: Cli, words: str, command: str) -> None:
    done = cli(*words.split())
    assert (done.code, api.asked) == (2, [])
    assert f"hint: 'milvus-vault {command} --help' explains the options." in done.err


@pytest.mark.parametrize(
    "words",
    ["get ../runs", "get a/b", "delete a/b -y", "verify a/b", "repair ..", "hold a/b", "rows a/b c", "diff a b/c",
     "watch backup-a/b", "stop ../x", "schedule get a/b", "schedule delete .."],
)  # fmt: skip
def test_what_cannot_be_a_name_is_refused_before_anybody_is_asked(api: FakeApi, cli: Cli, words: str) -> None:
    done = cli(*words.split())
    assert (done.code, api.asked) == (2, []), done.err
    assert words.split()[-1 if "diff" in words else 1 if "schedule" not in words else 2] in done.err
    assert "GET" not in done.err
