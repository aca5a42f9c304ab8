"""`rows`: what goes to standard output or into a file, with whose credentials, and what is said where it cannot."""

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from milvus_vault.adapters.s3 import S3ObjectStore
from milvus_vault.cli import archives, files, main
from milvus_vault.cli.commands import rows as command
from milvus_vault.cli.session import Output
from milvus_vault.cli.terminal import HarmlessConsole
from milvus_vault.client.local_state import LocalState
from milvus_vault.errors import StorageAccessDeniedError
from tests.support.fake_api import FakeApi, backup
from tests.support.memory_store import InMemoryObjectStore
from tests.unit.archive.samples import BUCKET, full_meta, golden_layout, golden_store
from tests.unit.cli.conftest import Cli

NAME = "golden_2_4"
LAYERS = next(parent for parent in Path(command.__file__).parents if parent.name == "shared")

Connected = list[tuple[Any, ...]]


@pytest.fixture
def store(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> InMemoryObjectStore:
    """A golden archive where the API says that it lies."""
    api.backups = {NAME: backup(NAME, location=f"s3://{BUCKET}/{golden_layout(NAME).root}")}
    found = golden_store(NAME)
    monkeypatch.setattr(S3ObjectStore, "connect", lambda *_: found)
    return found


@pytest.mark.usefixtures("store")
def test_rows_are_lines_of_json(cli: Cli) -> None:
    done = cli("rows", NAME, "gold.layers", "--where", "id in [1, 7]", "--fields", "id,$meta")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == ['{"id": 1, "$meta": {"gen":0}}', '{"id": 7, "$meta": {"gen":0}}']
    assert len(cli("rows", NAME, "gold.layers").out.splitlines()) == 376
    assert len(cli("rows", NAME, "gold.by_name", "-p", "south", "-l", "5").out.splitlines()) == 5
    assert len(cli("rows", NAME, "g_modern", "--limit", "2").out.splitlines()) == 2


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("words", ["--output json", "-o json", "--output=json"])
def test_json_may_be_asked_for_before_and_after_the_command(cli: Cli, words: str) -> None:
    expected = cli("rows", NAME, "gold.layers", "-l", "2").out
    assert cli("rows", NAME, "gold.layers", "-l", "2", *words.split()).out == expected
    assert cli(*words.split(), "rows", NAME, "gold.layers", "-l", "2").out == expected


@pytest.mark.usefixtures("store")
def test_other_forms_go_to_standard_output_or_to_a_file(cli: Cli, tmp_path: Path) -> None:
    asked = ("rows", NAME, "gold.by_name", "--fields", "key,n", "-l", "3")
    lines = cli(*asked, "-o", "csv").out.splitlines()
    assert lines[0] == '"key","n"'
    assert lines[1] == '"north/10 é",10'
    forms: dict[str, Callable[[Path], int]] = {
        "csv": lambda path: len(path.read_text().splitlines()) - 1,
        "json": lambda path: len([json.loads(line) for line in path.read_text().splitlines()]),
        "parquet": lambda path: int(pq.read_table(path).num_rows),
        "arrow": lambda path: int(pa.ipc.open_file(path.read_bytes()).read_all().num_rows),
    }
    for form, count in forms.items():
        file = tmp_path / f"rows.{form}"
        file.write_text("what was there before")
        done = cli(*asked, "--output", form, "--file", str(file))
        assert (done.code, done.out.strip()) == (0, f"✓ written to {file}")
        assert count(file) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"rows.{form}" for form in forms)


@pytest.mark.usefixtures("store")
def test_arrow_is_a_stream_on_standard_output(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", io.TextIOWrapper(written))
        cli("rows", NAME, "gold.by_name", "-o", "arrow")
        assert pa.ipc.open_stream(written.getvalue()).read_all().num_rows == 223


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("nope gold.layers", 4, "nope"),
        (f"{NAME} gold.nope", 4, f"backup '{NAME}' does not hold collection gold.nope"),
        (f"{NAME} gold.nope", 4, "hint: It holds gold.by_name, default.g_modern, "),
        (f"{NAME} gold.layers --fields nope", 2, "hint: It has id, v, $meta."),
        (f"{NAME} gold.layers --partition nope", 2, "hint: It has _default."),
        (f"{NAME} gold.layers --where id>1", 2, "hint: Expressions are `KEY in [1, 2]` and `KEY == 1`"),
        (f"{NAME} gold.layers --limit 0", 2, "--limit"),
        (f"{NAME} gold.layers --output parquet", 2, "hint: Name a file: --file rows.parquet"),
        (f"{NAME} gold.layers --output text", 2, "--output"),
        (
            f"{NAME} gold.layers --file /nowhere/rows.json",
            2,
            "cannot write /nowhere/rows.json: No such file or directory",
        ),
    ],
)
def test_what_cannot_be_is_refused(cli: Cli, words: str, code: int, said: str) -> None:
    done = cli("rows", *words.split())
    assert (done.code, done.out) == (code, "")
    assert said in done.err


def test_damage_is_told_by_its_key_and_leaves_no_file(store: InMemoryObjectStore, cli: Cli, tmp_path: Path) -> None:
    of = {meta["collection_name"]: meta["collection_id"] for meta in full_meta(NAME)["collection_backups"]}
    logs = [
        key for key in store.buckets[BUCKET] if f"/insert_log/{of['tenants']}/" in key and key.split("/")[-2] == "102"
    ]
    lost = max(logs, key=lambda key: int(key.split("/")[-3]))
    store.delete(BUCKET, [lost])
    done = cli("rows", NAME, "gold.tenants", "-o", "json")
    assert done.code == 1
    assert f"error: {lost} is missing" in done.err
    assert all("tenant" in json.loads(line) for line in done.out.splitlines()), "what was read before, and no error"
    assert cli("rows", NAME, "gold.tenants", "-f", str(tmp_path / "rows.json")).code == 1
    assert list(tmp_path.iterdir()) == []


def test_own_credentials_are_used_and_the_rights_that_they_lack_are_named(store: InMemoryObjectStore, cli: Cli) -> None:
    def refuse(*_: str) -> None:
        msg = "cannot read s3://backups/x: AccessDenied"
        raise StorageAccessDeniedError(msg, hint="Something of a role.")

    store.before = refuse
    done = cli("rows", NAME, "gold.layers")
    assert done.code == 6
    assert (
        "they need s3:GetObject and s3:ListBucket on backups, and kms:Decrypt where a KMS key encrypts it." in done.err
    )
    assert "role" not in done.err


def test_the_store_has_the_profile_and_the_local_stack_its_endpoint(
    api: FakeApi, store: InMemoryObjectStore, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected: Connected = []

    def connect(*given: Any) -> InMemoryObjectStore:
        connected.append(given)
        return store

    monkeypatch.setattr(S3ObjectStore, "connect", connect)
    cli("rows", NAME, "gold.layers", "-l", "1", "--region", "eu-north-1")
    local = LocalState(
        pid=1, repository="/", api_url=api.url, aws_url="http://localhost:1", milvus_uri="", stack_name="vault"
    )
    monkeypatch.setattr(archives, "running_stack", lambda: local)
    cli("rows", NAME, "gold.layers", "-l", "1")
    monkeypatch.setattr(archives, "running_stack", lambda: local.model_copy(update={"api_url": "http://other"}))
    cli("rows", NAME, "gold.layers", "-l", "1")
    assert [endpoint for _, _, endpoint in connected] == [None, "http://localhost:1", None]
    assert connected[0][1].region_name == "eu-north-1"


@pytest.mark.usefixtures("store")
def test_pyarrow_is_named_where_it_is_missing(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "find_spec", lambda _: None)
    done = cli("rows", NAME, "gold.layers")
    assert done.code == 2
    assert "pip install 'pyarrow>=26'" in done.err


def test_no_other_command_loads_what_rows_need() -> None:
    code = "import sys; from milvus_vault.cli.main import run; run(['rows', '--help']); print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(LAYERS)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    loaded = set(done.stdout.splitlines()[-1].split())
    assert {"pyarrow", "boto3", "milvus_vault.rows", "milvus_vault.model"}.isdisjoint(loaded)


def test_what_a_terminal_would_obey_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output()
    output.line('{"a": "\x7f"}\n', is_json=True)
    output.line('"\x7f"\n', is_json=False)
    output.text = HarmlessConsole(force_terminal=True)
    output.line('"\x7f"\n', is_json=False)
    assert capsys.readouterr().out == '{"a": "\\u007f"}\n"\x7f"\n"\ufffd"\n'


@pytest.mark.usefixtures("store")
def test_a_link_stays_a_link_and_a_file_of_another_is_left_alone(cli: Cli, tmp_path: Path) -> None:
    target, link, other = tmp_path / "target.json", tmp_path / "link.json", tmp_path / "rows.json.part"
    link.symlink_to(target)
    other.write_text("somebody's")
    assert cli("rows", NAME, "gold.layers", "-l", "2", "-f", str(link)).code == 0
    assert link.is_symlink()
    assert len(target.read_text().splitlines()) == 2
    target.chmod(0o640)
    for file in (target, tmp_path / "rows.json"):
        assert cli("rows", NAME, "gold.layers", "-l", "3", "-f", str(file)).code == 0
        assert len(file.read_text().splitlines()) == 3
    assert target.stat().st_mode & 0o777 == 0o640
    assert other.read_text() == "somebody's"
    assert len(list(tmp_path.iterdir())) == 4


def test_a_file_that_cannot_be_written_is_refused_before_anybody_is_asked(
    store: InMemoryObjectStore, api: FakeApi, cli: Cli
) -> None:
    assert store.buckets
    assert cli("rows", NAME, "gold.layers", "--file", "/nowhere/rows.json").code == 2
    assert api.asked == []


@pytest.mark.usefixtures("store")
def test_where_no_row_is_there_that_is_told_beside_the_data(cli: Cli, tmp_path: Path) -> None:
    done = cli("rows", NAME, "gold.layers", "--where", "id == 987654321")
    assert (done.code, done.out, done.err) == (0, "", "No row matches.\n")
    file = tmp_path / "rows.csv"
    done = cli("rows", NAME, "gold.layers", "--where", "id == 987654321", "-o", "csv", "-f", str(file))
    assert (done.err, file.read_text().count("\n")) == ("No row matches.\n", 1)
    assert cli("rows", NAME, "gold.layers", "--where", "id == 1").err == ""


def test_two_that_write_one_file_at_once_leave_that_of_one(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    with files.written_whole(file) as first, files.written_whole(file) as second:
        first.write(b"first\n" * 9)
        second.write(b"second\n")
    assert file.read_bytes() == b"first\n" * 9
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.usefixtures("store", "cli")
def test_a_full_disk_behind_standard_output_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Path("/dev/full").open("w") as full, monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", full)
        code = main.run(["rows", NAME, "gold.layers", "-l", "2"])
        patched.undo()
        with contextlib.suppress(OSError):
            full.close()
    assert code == 2
    assert "cannot write to standard output: No space left on device" in capsys.readouterr().err


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("key == '\\ud800'", "and '\\ud800' none"),
        ("key in ['a', 3]", "the primary key key is of type VARCHAR, and 3 none"),
    ],
)
def test_a_key_that_cannot_be_one_is_named(cli: Cli, where: str, said: str) -> None:
    done = cli("rows", NAME, "gold.by_name", "--where", where)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert "hint: Expressions are" in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rows", NAME, "gold.layers", "--where", ""], "--where has an empty value"),
        (["rows", NAME, "gold.layers", "--fields="], "--fields has an empty value"),
        (["rows", NAME, "gold.layers", "-p", ""], "-p has an empty value"),
        (["export", NAME, "--as", "other", "--to", ""], "--to has an empty value"),
        (["get", ""], "a name is empty"),
    ],
)
def test_an_empty_value_is_no_value(cli: Cli, words: list[str], said: str) -> None:
    done = cli(*words)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
