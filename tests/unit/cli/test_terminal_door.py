"""What came from outside is shown, and obeyed by no terminal: neither control sequences nor Rich's markup."""

import ast
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

from milvus_vault.cli import session as door
from milvus_vault.cli.progress import RunBars
from milvus_vault.cli.terminal import HarmlessConsole, harmless
from milvus_vault.model.resources import CheckItem, CollectionInfo, Hold, HoldState, RunCollection, Schedule
from tests.support.fake_api import BEGAN, FakeApi, backup, problem, run, stages
from tests.unit.cli.conftest import Cli
from tests.unit.cli.test_diff import found as changes

CLI = Path(door.__file__).parent
OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
# Clears the screen, writes a title, sets the clipboard, goes up a line and overwrites it, and turns what follows.
EVIL = "a\x1b[2J\x1b]0;t\x07\x1b]52;c;eA==\x07\x1b[1A\r\x9b31mb\x7f\u202ec[link=http://x]d[/link][/]\\"


def test_what_a_terminal_would_obey_is_a_picture() -> None:
    assert harmless("a\x1b[2Jb\tc\nd\x9b\u202e") == "a\u241b[2Jb\tc\nd\ufffd\ufffd"
    assert harmless("Grüße, 世界 👩‍💻 → ✓") == "Grüße, 世界 👩‍💻 → ✓"


@given(st.text())
def test_no_text_gets_a_control_character_through_the_door(text: str) -> None:
    written = io.StringIO()
    console = HarmlessConsole(file=written, width=40, force_terminal=False)
    table = Table("a", text)
    table.add_row(Text(text), text.replace("[", "("))
    console.print(Text(text), table, markup=False)
    assert not OBEYED.search(written.getvalue())


def evil_api(api: FakeApi) -> None:
    """Let each text of each answer be evil, as far as the models allow."""
    hold = HoldState(reason=EVIL, since=BEGAN, by=EVIL)
    api.backups = {
        "b": backup(
            "b", schedule=EVIL, damage=EVIL, warnings=[EVIL], hold=hold, is_held=True, milvus_version=EVIL, origin=EVIL,
            location=EVIL, source=EVIL, run=EVIL, report_url=f"http://x/{EVIL}",
            collections=[{"database": EVIL, "name": EVIL, "row_count": 1, "segment_count": 1, "object_count": 1,
                          "size_bytes": 1}],
            failures=[{"database": EVIL, "name": EVIL, "error": EVIL, "message": EVIL}],
        )
    }  # fmt: skip
    failed = RunCollection(database=EVIL, name=EVIL, status="failed", target=EVIL, error=EVIL, message=EVIL)
    api.runs = {
        "backup-1": [
            run("backup-1", "failed", backup_name=EVIL, schedule=EVIL, error=EVIL, message=EVIL, hint=EVIL,
                warnings=[EVIL], collections=[failed], result={"mended": [EVIL], "lost": [EVIL]})
        ]
    }  # fmt: skip
    api.collections = [CollectionInfo(database=EVIL, name=EVIL, row_count=1, segment_count=1, is_loaded=True)]
    api.checks = [CheckItem(name=EVIL, verdict="failed", message=EVIL, error=EVIL, hint=EVIL)]
    api.schedules = {"s": Schedule(name=EVIL, expression=EVIL, timezone=EVIL[:50], problem=EVIL, next_run_at=BEGAN)}
    api.plan = {
        "expected_by": EVIL,
        "continues": EVIL,
        **{name: [EVIL] for name in ("warnings", "left_to_run", "new_databases")},
    }
    api.outcomes = {
        "prune": {"result": {"decisions": [{"name": EVIL, "keep": True, "reason": EVIL}]}, "status": "succeeded"},
        "restore": {"backup_name": EVIL, "collections": [failed]},
    }


@pytest.mark.parametrize(
    "words",
    [
        "list", "get b", "runs", "watch backup-1", "collections", "check", "schedule list", "schedule get s",
        "prune --dry-run", "restore b --wait", "restore b --dry-run", "report b --no-browser", "estimate",
        "delete b -y", "hold b --reason x",
    ],
)  # fmt: skip
@pytest.mark.parametrize("output", ["text", "json"])
def test_every_command_shows_evil_texts_and_obeys_none(api: FakeApi, cli: Cli, words: str, output: str) -> None:
    evil_api(api)
    done = cli("-o", output, *words.split())
    assert done.code in {0, 1, 5}, done.err
    assert not OBEYED.search(done.out + done.err)


def test_a_document_means_the_same(api: FakeApi, cli: Cli) -> None:
    evil_api(api)
    assert cli("get", "b", "-o", "json").document == json.loads(api.backups["b"].model_dump_json())


def test_errors_of_the_api_are_harmless(api: FakeApi, cli: Cli) -> None:
    api.answers = [problem("BackupHeldError", EVIL, 409, EVIL)]
    done = cli("delete", "b", "-y")
    assert done.code == 5
    assert "\u241b[2J" in done.err
    assert not OBEYED.search(done.err)


def test_bars_are_harmless() -> None:
    written = io.StringIO()
    console = HarmlessConsole(file=written, width=80, force_terminal=False)
    bars = RunBars()
    evil = RunCollection(database=EVIL, name=EVIL, status="running", target=EVIL)
    bars.update(stages("backup-1", backup_name=EVIL)[1].model_copy(update={"collections": (evil,), "phase": EVIL}))
    console.print(bars)
    assert not OBEYED.search(written.getvalue())


def test_holds_tell_their_reason_all_the_same(api: FakeApi, cli: Cli) -> None:
    state = HoldState(**Hold(reason="audit [2027]").model_dump(), since=BEGAN)
    api.backups = {"b": backup("b", hold=state, is_held=True)}
    assert "audit [2027]" in cli("get", "b").out


@pytest.mark.parametrize("path", sorted(CLI.rglob("*.py")), ids=lambda path: str(path.relative_to(CLI)))
def test_nothing_is_put_into_markup_but_by_name_and_nothing_goes_around_the_door(path: Path) -> None:
    for call in ast.walk(ast.parse(path.read_text())):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute | ast.Name)):
            continue
        name = call.func.attr if isinstance(call.func, ast.Attribute) else call.func.id
        if name in {"say", "tell"} and call.args:
            assert not any(isinstance(part, ast.JoinedStr) for part in ast.walk(call.args[0])), ast.unparse(call)
        if name in {"confirm", "prompt", "input"} and path.name != "questions.py":
            pytest.fail(f"only questions.py asks: {ast.unparse(call)}")
        if name == "Console":
            pytest.fail(f"a console that is no HarmlessConsole: {ast.unparse(call)}")


LOCALES = [
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "latin-1"},
    {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "POSIX"},
]


def spoken(words: str, locale: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    """Run a command line as a process whose output has the encoding of a locale."""
    environment = {**os.environ, "PYTHONPATH": str(CLI.parents[1]), **locale}
    command = [sys.executable, "-m", "milvus_vault.cli.main", *words.split()]
    return subprocess.run(command, env=environment, capture_output=True, check=False)


@pytest.mark.parametrize("locale", LOCALES, ids=lambda locale: next(iter(locale.values())))
def test_no_command_fails_for_want_of_a_character(api: FakeApi, locale: dict[str, str]) -> None:
    api.checks = [
        CheckItem(name="milvus", verdict="ok", message="世界"),
        CheckItem(name="s3", verdict="failed", message="Grüße"),
    ]
    api.backups = {name: backup(name, damage="世界") for name in ("a", "b")}
    api.diffs = [changes(notes=("世界",))]
    api.runs = {"restore-1": [run("restore-1", backup_name="a", message="世界")]}
    checked = spoken("check", locale)
    assert checked.returncode == 1, checked.stderr
    assert b"+ milvus: ??" in checked.stdout
    assert b"x s3: Gr" in checked.stdout
    for words in ("list", "get a", "diff a b", "runs", "watch restore-1", "--help"):
        done = spoken(words, locale)
        assert (done.returncode, done.stderr) == (0, b""), words
    document = spoken("-o json check", locale).stdout
    assert json.loads(document.decode("ascii"))["checks"][0]["message"] == "世界"


def test_rows_lose_no_character_to_the_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="latin-1", write_through=True))
    output = door.Output()
    output.line('{"a": "世界 👩"}\n', is_json=True)
    output.line("世界\n", is_json=False)
    data, heading, rest = written.getvalue().partition(b"\n")
    assert (json.loads(data.decode("ascii")), heading, rest.decode()) == ({"a": "世界 👩"}, b"\n", "世界\n")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
@pytest.mark.parametrize("words", ["list", "-o json list", "-o json runs", "verify a"])
def test_no_command_fails_for_want_of_a_stream(api: FakeApi, closed: str, words: str) -> None:
    api.backups = {"a": backup("a")}
    api.runs = {"backup-1": [run("backup-1")]}
    environment = {**os.environ, "PYTHONPATH": str(CLI.parents[1])}
    command = f"{sys.executable} -m milvus_vault.cli.main {words} {closed}"
    done = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
