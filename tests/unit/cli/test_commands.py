"""Each command asks the API for the right thing, and shows the answer as text and as one JSON document."""

import io
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest

from milvus_vault.cli.options import Level
from milvus_vault.client import VaultClient
from milvus_vault.model.requests import DrillRequest, VerifyLevel
from milvus_vault.model.resources import (
    BackupCopy,
    CheckItem,
    CollectionInfo,
    Drill,
    ObjectCount,
    PoolListing,
    Progress,
    RunCollection,
    Verification,
)
from tests.support.fake_api import BEGAN, Answer, FakeApi, backup, problem, run, stages
from tests.unit.cli.conftest import Cli

ARTICLES = CollectionInfo(
    database="default", name="articles", row_count=50_000, size_bytes=42_000_000, object_count=612, segment_count=6,
    is_loaded=True,
)  # fmt: skip


class TestCreate:
    def test_it_says_how_to_follow_what_it_started(self, api: FakeApi, cli: Cli) -> None:
        done = cli("create", "-n", "first")
        assert done.code == 0
        assert "milvus-vault watch backup-1" in done.out
        assert api.asked[0].body == {"backup_name": "first"}

    def test_it_follows_to_the_end_when_asked(self, api: FakeApi, cli: Cli) -> None:
        api.outcomes["backup"] = {"result": {"row_count": 50_000}}
        done = cli("create", "first", "--wait")
        assert done.code == 0
        assert "preparing" in done.out
        assert "1/2 collections, 1 at work  19.1 MiB of 40.1 MiB, 300 of 612 objects, 3.8 MiB/s, 6 s left" in done.out
        assert "backup of first succeeded in 12 s: 2 collections, 50,000 rows, 612 objects, 40.1 MiB" in done.out

    def test_as_json_it_writes_one_document_and_tells_progress_beside_it(self, api: FakeApi, cli: Cli) -> None:
        done = cli("create", "first", "--wait", "--output", "json")
        assert done.document["status"] == "succeeded"
        assert "preparing" in done.err
        assert api.runs

    def test_its_options_become_the_request(self, api: FakeApi, cli: Cli) -> None:
        cli(
            "create", "-n", "b", "-c", "shop.*,articles", "--filter", "default.drafts", "-d", "logs", "--meta-only",
            "--skip-flush", "--no-gc-pause", "--rbac", "--all-or-nothing", "--expire-after", "30d",
        )  # fmt: skip
        assert api.asked[0].body == {
            "backup_name": "b",
            "collections": ["shop.*", "default.articles", "default.drafts", "logs.*"],
            "meta_only": True,
            "skip_flush": True,
            "gc_pause": False,
            "include_rbac": True,
            "on_collection_failure": "fail",
            "expire_after": "30d",
        }

    def test_a_lock_is_asked_for_of_backups_exports_and_schedules(self, api: FakeApi, cli: Cli) -> None:
        api.backups = {"b": backup("b")}
        assert cli("create", "b", "--lock-days", "30").code == 0
        assert cli("export", "b", "--as", "c", "--lock-days", "7", "--lock-mode", "compliance").code == 0
        assert cli("schedule", "put", "s", "rate(1 day)", "--lock-days", "9", "--lock-mode", "governance").code == 0
        assert api.asked[0].body == {"backup_name": "b", "lock": {"days": 30}}
        assert api.asked[1].body == {
            "backup_name": "b", "export_name": "c", "lock": {"days": 7, "mode": "compliance"}
        }  # fmt: skip
        assert isinstance(api.asked[2].body, dict)
        assert api.asked[2].body["request"] == {"lock": {"days": 9, "mode": "governance"}}

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["--lock-mode", "compliance"], "no --lock-days"),
            (["--lock-days", "0"], "--lock-days"),
            (["--lock-days", "40000"], "--lock-days"),
            (["--lock-days", "1", "--lock-mode", "forever"], "--lock-mode"),
        ],
    )
    def test_a_lock_that_is_none_is_refused(self, api: FakeApi, cli: Cli, options: list[str], words: str) -> None:
        done = cli("create", "b", *options)
        assert done.code == 2
        assert words in done.err
        assert not api.asked

    def test_it_takes_the_words_of_milvus_backup(self, api: FakeApi, cli: Cli) -> None:
        cli("create", "--name", "b", "--colls", "articles", "--strategy", "meta_only")
        cli("create", "--name", "c", "--meta_only")
        assert api.asked[0].body == {"backup_name": "b", "collections": ["default.articles"], "meta_only": True}
        assert api.asked[1].body == {"backup_name": "c", "meta_only": True}

    def test_starting_again_with_one_key_starts_once(self, api: FakeApi, cli: Cli) -> None:
        cli("create", "--idempotency-key", "k1")
        cli("create", "--idempotency-key", "k1")
        assert list(api.starts) == ["k1"]

    def test_a_wrong_name_is_told_before_anything_is_asked(self, api: FakeApi, cli: Cli) -> None:
        done = cli("create", "-n", "no spaces")
        assert done.code == 2
        assert "error: --name: 'no spaces' is no name for a backup" in done.err
        assert not api.asked


class TestRestore:
    def test_its_options_become_the_request(self, api: FakeApi, cli: Cli) -> None:
        api.backups = {"b": backup("b")}
        done = cli(
            "restore", "b", "-r", "shop.orders:shop.old,articles:articles2", "--drop_exist_collection", "--no-index",
            "--no-aliases", "--max-shards", "2", "--allow-version", "--rebuild_index", "--rbac",
            "--as-of", "2027-01-31T02:15:30.250Z",
            "--partition", "shop.orders:p1,articles:p2", "-p", "shop.orders:p3",
        )  # fmt: skip
        assert done.code == 0
        assert api.asked[0].body == {
            "backup_name": "b",
            "rename": {"shop.orders": "shop.old", "default.articles": "default.articles2"},
            "drop_existing": True,
            "restore_index": False,
            "load": False,
            "restore_aliases": False,
            "partitions": {"shop.orders": ["p1", "p3"], "default.articles": ["p2"]},
            "as_of": "2027-01-31T02:15:30.250000Z",
            "rbac": True,
            "max_shards": 2,
            "allow_version": True,
        }

    def test_suffix_and_selection(self, api: FakeApi, cli: Cli) -> None:
        api.backups = {"b": backup("b")}
        cli("restore", "-n", "b", "-s", "_copy", "--filter", "articles", "--skip_create_collection", "--switch-aliases")
        assert api.asked[0].body == {
            "backup_name": "b", "collections": ["default.articles"], "suffix": "_copy", "skip_create": True,
            "switch_aliases": True,
        }  # fmt: skip

    def test_how_objects_are_checked_and_what_becomes_of_damaged_ones(self, api: FakeApi, cli: Cli) -> None:
        api.backups = {"b": backup("b")}
        assert cli("restore", "b", "--verify", "deep", "--skip-damaged").code == 0
        assert api.asked[0].body == {"backup_name": "b", "verify": "deep", "skip_damaged": True}

    def test_a_rename_without_colon_is_wrong_usage(self, api: FakeApi, cli: Cli) -> None:
        done = cli("restore", "b", "--rename", "a")
        assert (done.code, api.asked) == (2, [])
        assert "'a' is not OLD:NEW" in done.err

    @pytest.mark.parametrize(
        ("options", "fields"),
        [
            (["--replicas", "2"], {"replicas": 2}),
            (["--replicas", "orders:2,shop.*:1"], {"replicas": {"default.orders": 2, "shop.*": 1}}),
            (["--resource-group", "blue:green,red"], {"resource_groups": {"blue": "green", "*": "red"}}),
        ],
    )
    def test_replicas_and_resource_groups_are_numbers_and_mappings(
        self, api: FakeApi, cli: Cli, options: list[str], fields: dict[str, object]
    ) -> None:
        api.backups = {"b": backup("b")}
        assert cli("restore", "b", *options).code == 0
        assert api.asked[0].body == {"backup_name": "b"} | fields

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--no-load", "--replicas", "2"], "nothing is to be loaded"),
            (["--replicas", "two"], "'two' is no number of replicas"),
            (["--replicas", "shop.orders:two"], "is no number of replicas"),
            (["--replicas", "0"], "replicas"),
            (["--resource-group", "blue:"], "'blue:' is not OLD:NEW"),
            (["--no-index", "--resource-group", "green"], "nothing is to be loaded"),
            (
                ["--skip-create", "--max-shards", "2"],
                "--max-shards says how to create a collection, and --skip-create creates none",
            ),
            (["--skip-create", "--drop-existing"], "--drop-existing and --skip-create exclude each other"),
            (["--no-aliases", "--switch-aliases"], "--switch-aliases and --no-aliases exclude each other"),
            (["--meta-only", "--as-of", "2027-01-31"], "excludes --meta-only"),
            (["--meta-only", "--verify", "quick"], "and --meta-only restores no rows"),
            (["--everything", "--as-of", "471859200000000000"], "excludes --meta-only and --everything"),
            (["--as-of", "yesterday"], "'yesterday' is no time"),
            (["--partition", "shop.*:p1"], "must name partitions of a collection"),
            (["--partition", "shop.orders"], "'shop.orders' is not COLLECTION:PARTITION"),
        ],
    )
    def test_what_cannot_be_meant_is_refused_before_anything_is_asked(
        self, api: FakeApi, cli: Cli, options: list[str], message: str
    ) -> None:
        done = cli("restore", "b", *options)
        assert (done.code, api.asked) == (2, [])
        assert message in done.err

    @pytest.mark.parametrize(
        ("imported", "deleted", "told"),
        [
            (54_034, None, "227 rows of the 54,034 in its segments had been deleted, or came after its moment\n"),
            (54_034, 227, "227 rows of the 54,034 in its segments had been deleted\n"),
            (53_807, 0, "53,807 of 53,807 rows came back that were counted at the backup\n"),
        ],
    )
    def test_rows_are_told_against_those_that_were_counted_and_what_does_not_come_back_is_explained(
        self, api: FakeApi, cli: Cli, imported: int, deleted: int | None, told: str
    ) -> None:
        api.backups = {"b": backup("b")}
        rows = {"row_count": 53_807, "imported_row_count": imported, "deleted_row_count": deleted}
        api.outcomes["restore"] = {"result": {**rows, "expected_row_count": 53_807}}
        done = cli("restore", "b", "--wait")
        assert "53,807 rows" in done.out
        assert told in done.out
        assert ("deleted" in done.out) is (imported > 53_807)
        api.outcomes["restore"] = {"result": {**rows, "expected_row_count": None}}
        assert "counted at the backup" not in cli("restore", "b", "--wait").out

    def test_of_150_that_failed_all_are_counted(self, api: FakeApi, cli: Cli) -> None:
        api.backups = {"b": backup("b")}
        broken = [
            RunCollection(database="d", name=f"c{number}", status="failed", error="ImportFailedError", message="m")
            for number in range(100)
        ]
        api.outcomes["restore"] = {
            "status": "partial", "error": "RestorePartialError", "collections": broken,
            "progress": Progress(collections_done=50, collections_failed=150, collections_total=200),
        }  # fmt: skip
        assert "  d.c99: ImportFailedError: m\n  and 50 more collections failed\n" in cli("restore", "b", "--wait").out

    def test_a_partial_restore_names_what_is_missing(self, api: FakeApi, cli: Cli) -> None:
        api.backups = {"b": backup("b")}
        broken = RunCollection(
            database="shop", name="orders", status="failed", error="ImportFailedError", message="no such file",
            hint="Set `drop_existing`."
        )  # fmt: skip
        api.outcomes["restore"] = {
            "status": "partial", "error": "RestorePartialError", "message": "1 of 2", "hint": "Start again.",
            "collections": [broken],
        }  # fmt: skip
        done = cli("restore", "b", "--wait")
        assert done.code == 3
        assert "shop.orders: ImportFailedError: no such file\n  hint: Set --drop-existing." in done.out
        assert "error: RestorePartialError: 1 of 2" in done.err
        assert "hint: Start again." in done.err


class TestList:
    def test_backups_are_columns_without_lines_where_nobody_looks(self, api: FakeApi, cli: Cli) -> None:
        api.backups = {"b1": backup("b1", schedule="nightly"), "b2": backup("b2", 1, status="partial")}
        lines = cli("list").out.splitlines()
        assert lines[0].split() == ["NAME", "STATUS", "CREATED", "COLLECTIONS", "ROWS", "SIZE", "SCHEDULE"]
        assert lines[1].split()[::2] == ["b1", lines[1].split()[2], "1", "40.1", "nightly"]
        assert not any(line.endswith(" ") for line in lines)

    def test_no_more_is_shown_than_was_asked_for(self, api: FakeApi, cli: Cli) -> None:
        api.backups = {f"b{number}": backup(f"b{number}", number) for number in range(5)}
        done = cli("list", "--limit", "3", "-o", "json")
        assert [item["name"] for item in done.document["items"]] == ["b0", "b1", "b2"]
        assert done.document["has_more"] is True
        assert "There are more" in cli("list", "--limit", "3").err

    def test_backups_of_one_schedule(self, api: FakeApi, cli: Cli) -> None:
        api.backups = {"b1": backup("b1", schedule="nightly"), "b2": backup("b2")}
        assert [item["name"] for item in cli("-o", "json", "list", "--schedule", "nightly").document["items"]] == ["b1"]

    def test_an_empty_list_of_a_schedule_speaks_of_the_schedule(self, api: FakeApi, cli: Cli) -> None:
        api.backups = {"b": backup("b")}
        cli("schedule", "put", "often", "rate(1 minute)")
        told = cli("list", "--schedule", "often").out
        assert "Schedule often has made no backup yet" in told
        assert "There is no backup" not in told

    def test_an_empty_list_says_what_to_do(self, api: FakeApi, cli: Cli) -> None:
        assert "milvus-vault create" in cli("list").out
        assert cli("list", "-o", "json").document == {"items": [], "has_more": False}
        assert api.asked


class TestGet:
    def test_everything_is_shown(self, api: FakeApi, cli: Cli) -> None:
        warned = backup("b", warnings=["garbage collection was not paused"], schedule="nightly")
        api.backups = {"b": warned}
        text = cli("get", "b").out
        for part in ("2.3.5", "50,000 rows", "612", "40.1 MiB", "s3://backups/milvus-vault/b/", "default.articles",
                     "49,857", "! garbage collection was not paused", "nightly", "never"):  # fmt: skip
            assert part in text
        assert cli("get", "b", "-o", "json").document == json.loads(warned.model_dump_json())

    def test_what_no_other_one_lists_is_asked_for_by_an_option(self, api: FakeApi, cli: Cli) -> None:
        unique = ObjectCount(object_count=12, size_bytes=42_000_000)
        api.backups = {"b": backup("b", mode="incremental", unique=unique), "full": backup("full", unique=unique)}
        assert "unique    12 objects, 40.1 MiB that no other backup lists" in cli("get", "b", "--unique").out
        assert "unique    12 objects, 40.1 MiB that no other backup lists" in cli("get", "full", "--unique").out
        assert "unique" not in cli("get", "full").out
        assert [asked.query for asked in api.asked] == [{"unique": "true"}, {"unique": "true"}, {}]

    def test_a_name_is_needed(self, cli: Cli) -> None:
        assert cli("get").code == 2
        assert cli("get", "a", "-n", "b").code == 2


class TestDelete:
    def test_without_a_terminal_it_wants_yes(self, api: FakeApi, cli: Cli) -> None:
        api.backups = {"b": backup("b")}
        done = cli("delete", "b")
        assert done.code == 2
        assert "--yes" in done.err
        assert not api.starts

    def test_with_yes_it_does_not_ask(self, api: FakeApi, cli: Cli) -> None:
        api.backups = {"b": backup("b")}
        assert cli("delete", "b", "--yes").code == 0
        assert [started.kind for started in api.starts.values()] == ["prune"]

    def test_a_hold_refuses(self, api: FakeApi, cli: Cli) -> None:
        api.backups = {"b": backup("b", is_held=True)}
        done = cli("delete", "b", "-y", "-o", "json")
        assert done.code == 5
        assert done.document == {
            "error": "BackupHeldError", "message": "backup 'b' has a hold", "hint": "Lift it.", "exit_code": 5
        }  # fmt: skip
        assert "error: backup 'b' has a hold\nhint: Lift it." in done.err


def test_a_hold_is_placed_until_a_time_and_lifted(api: FakeApi, cli: Cli) -> None:
    api.backups = {"b": backup("b")}
    done = cli("hold", "b", "--reason", "audit", "--until", "30d", "-o", "json")
    ends = datetime.fromisoformat(done.document["until"])
    assert abs(ends - datetime.now(UTC) - timedelta(days=30)) < timedelta(minutes=1)
    assert "held" in cli("get", "b").out
    assert cli("hold", "b", "--lift").code == 0
    assert not api.backups["b"].is_held
    assert cli("hold", "b", "--until", "soon").code == 2
    past = cli("hold", "b", "--until", "2020-01-01")
    assert (past.code, past.out) == (2, "")
    assert cli("hold", "b", "--lift", "--reason", "x").code == 2


def test_a_damaged_backup_is_listed_with_what_is_wrong(api: FakeApi, cli: Cli) -> None:
    api.backups = {"b": backup("b", damage="it has lost its marker"), "c": backup("c", 1)}
    lines = cli("list").out.splitlines()
    assert "damaged" in lines[1]
    assert lines[-1] == "✗ b: it has lost its marker"
    assert "it has lost its marker" in cli("get", "b").out


DRILLED = {
    "status": "proven",
    "collection_count": 2,
    "collection_total": 5,
    "restore_seconds": 130.0,
    "row_count": 1000,
    "compared_count": 200,
    "searched_count": 6,
}
"""The result of a drill."""


class TestDrill:
    def test_it_is_started_followed_and_told_with_the_time_of_the_restore(self, api: FakeApi, cli: Cli) -> None:
        api.backups = {"b": backup("b")}
        api.outcomes["drill"] = {"result": DRILLED}
        done = cli("drill", "b", "--filter", "shop.*", "--max-bytes", "1KiB", "--rows", "5", "--seed", "7", "--wait")
        assert done.code == 0
        assert api.asked[0].body == {
            "backup_name": "b", "collections": ["shop.*"], "max_bytes": 1024, "row_count": 5, "seed": 7,
        }  # fmt: skip
        assert "✓ drill of b succeeded" in done.out
        told = "2 collections chosen of 5 restored in 2 min 10 s, 200 rows of 1,000 compared, 6 vectors searched for"
        assert told in done.out

    def test_the_newest_of_a_schedule_is_drilled_into_a_database_of_a_name(self, api: FakeApi, cli: Cli) -> None:
        assert cli("drill", "--schedule", "nightly", "--scratch", "trial", "--allow-version").code == 0
        assert api.asked[0].body == {"newest_of": "nightly", "database": "trial", "allow_version": True}

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            ("drill", "no name is given"),
            ("drill b --schedule nightly", "'b' and --schedule are given"),
            ("drill b --scratch a.b", "--scratch: 'a.b' is no name for a scratch database"),
            ("drill b --rows 0", "--rows: should be"),
        ],
    )
    def test_what_cannot_be_drilled_is_refused(self, api: FakeApi, cli: Cli, words: str, told: str) -> None:
        done = cli(*words.split())
        assert (done.code, api.asked) == (2, [])
        assert told in done.err

    def test_a_backup_tells_when_it_was_proven_and_how(self, api: FakeApi, cli: Cli) -> None:
        found = {"drilled_at": "2026-11-22T03:00:00Z", "run": "drill-1", **DRILLED}
        when = {"proven_at": "2026-11-22T03:00:00Z", "proven_count": 2}
        proven = Drill.model_validate({**found, "status": "proven", **when})
        failed = Drill.model_validate(
            {**found, "status": "failed", "differences": ["a.b has 1 row instead of 2"], **when}
        )
        of_forty = {"proven_at": proven.proven_at, "proven_count": 2, "collection_count": 40}
        never = {"drill": failed.model_copy(update={"proven_at": None}), "drill_status": "failed"}
        api.backups = {
            "b": backup("b").model_copy(update={"drill": proven, **of_forty}),
            "c": backup("c", 1).model_copy(update={"drill": failed, "drill_status": "failed", **of_forty}),
            "d": backup("d", 2).model_copy(update=never),
        }
        assert any(line.split()[:2] == ["drilled", "proven,"] for line in cli("get", "b").out.splitlines())
        assert "✗ a.b has 1 row instead of 2" in cli("get", "c").out
        assert ", 2 of 40 collections" in " ".join(cli("get", "c").out.split()).partition("last proven")[2]
        assert "PROVEN" in cli("list").out.splitlines()[0]
        assert cli("list").out.count("2 of 40 collections") == 2
        by_name = {line.split()[0]: line for line in cli("list").out.splitlines()}
        assert "failed" not in by_name["b"]
        assert "failed; before: " in by_name["c"]
        assert by_name["d"].split()[-1] == "failed"

    def test_a_backup_tells_why_its_drill_ended_before_it_compared_anything_and_what_was_left_out(
        self, api: FakeApi, cli: Cli
    ) -> None:
        told = {"error": "LoadFailedError", "message": "a.b is not loaded", "warnings": ["a.b: shape is not compared"]}
        found = {"drilled_at": "2026-11-22T03:00:00Z", "run": "drill-1", "status": "failed", **DRILLED, **told}
        api.backups = {"b": backup("b").model_copy(update={"drill": Drill.model_validate(found)})}
        out = cli("get", "b").out
        assert "✗ LoadFailedError: a.b is not loaded" in out
        assert "! a.b: shape is not compared" in out


class TestExport:
    def test_it_is_started_followed_and_told(self, api: FakeApi, cli: Cli) -> None:
        api.backups = {"b": backup("b")}
        done = cli("export", "b", "--as", "for_them", "--wait")
        assert done.code == 0
        assert api.asked[0].body == {"backup_name": "b", "export_name": "for_them"}
        assert "✓ export of b succeeded" in done.out

    def test_a_wrong_name_is_told_in_the_words_of_the_command(self, api: FakeApi, cli: Cli) -> None:
        done = cli("export", "b", "--as", "for them")
        assert (done.code, api.asked) == (2, [])
        assert "error: --as: 'for them' is no name for a backup" in done.err

    def test_its_own_name_is_none_for_an_export(self, api: FakeApi, cli: Cli) -> None:
        done = cli("export", "b", "--as", "b")
        assert (done.code, api.asked) == (2, [])
        assert "--as is the name of the backup itself" in done.err

    @pytest.mark.parametrize(
        ("place", "asked"),
        [
            ("s3://archive/team/a", {"bucket": "archive", "prefix": "team/a"}),
            ("s3://archive/", {"bucket": "archive"}),
            ("s3://archive", {"bucket": "archive"}),
            ("exports/team/", {"prefix": "exports/team"}),
        ],
    )
    def test_it_goes_to_another_place_under_its_own_name(
        self, api: FakeApi, cli: Cli, place: str, asked: dict[str, str]
    ) -> None:
        api.backups = {"b": backup("b")}
        assert cli("export", "b", "--as", "b", "--to", place).code == 0
        assert api.asked[0].body == {"backup_name": "b", "export_name": "b", "to": asked}

    @pytest.mark.parametrize("place", ["s3://A/b", "s3://archive/.pool", "a//b", "/a", "s3://archive/a b"])
    def test_a_place_that_is_none_is_told_in_the_words_of_the_command(self, api: FakeApi, cli: Cli, place: str) -> None:
        done = cli("export", "b", "--as", "b", "--to", place)
        assert (done.code, api.asked) == (2, [])
        assert "error: --to: " in done.err

    def test_where_it_lies_is_told(self, api: FakeApi, cli: Cli) -> None:
        api.backups = {"b": backup("b")}
        api.outcomes["export"] = {"result": {"location": "s3://archive/team/b/"}}
        done = cli("export", "b", "--as", "b", "--to", "s3://archive/team", "--wait")
        assert "s3://archive/team/b/" in done.out

    def test_a_name_that_is_taken_is_refused(self, api: FakeApi, cli: Cli) -> None:
        api.backups = {"b": backup("b"), "c": backup("c")}
        assert cli("export", "b", "--as", "c").code == 5

    @pytest.mark.parametrize(
        ("options", "asked"),
        [
            ((), {}),
            (("--to", "s3://archive/team"), {"to": {"bucket": "archive", "prefix": "team"}}),
            (
                ("--to", "s3://archive", "--to-region", "eu-west-1", "--to-role", "arn:a", "--to-kms-key", "arn:b"),
                {
                    "to": {
                        "bucket": "archive",
                        "bucket_region": "eu-west-1",
                        "role_arn": "arn:a",
                        "kms_key_arn": "arn:b",
                    }
                },
            ),
            (("--to-region", "eu-west-1"), {"to": {"bucket_region": "eu-west-1"}}),
        ],
    )
    def test_a_copy_is_started_followed_and_told(
        self, api: FakeApi, cli: Cli, options: tuple[str, ...], asked: dict[str, object]
    ) -> None:
        api.backups = {"b": backup("b")}
        api.outcomes["export"] = {"result": {"location": "s3://archive/team/b/"}, "request": {"is_copy": True}}
        done = cli("copy", "b", *options, "--wait")
        assert (done.code, api.asked[0].path, api.asked[0].body) == (0, "/live/backups/b/copies", asked)
        assert "✓ copy of b succeeded" in done.out
        assert "s3://archive/team/b/" in done.out
        assert cli("copy", "gone").code == 4
        assert "error: --to: " in cli("copy", "b", "--to", "s3://A").err

    def test_where_copies_of_a_backup_are_is_shown(self, api: FakeApi, cli: Cli) -> None:
        copy = BackupCopy(location="s3://archive/team/b/", copied_at=BEGAN, run="export-1")
        api.backups = {"b": backup("b").model_copy(update={"copies": (copy,)})}
        assert "s3://archive/team/b/ (" in cli("get", "b").out

    def test_rows_are_asked_for_with_their_collections(self, api: FakeApi, cli: Cli) -> None:
        api.backups = {"b": backup("b")}
        location = "s3://backups/vault/.datasets/b/"
        api.outcomes["export"] = {"result": {"location": location, "collection_count": 2, "row_count": 1234}}
        done = cli("export", "b", "--as", "b", "--format", "parquet", "-c", "shop.orders,books", "-d", "web", "--wait")
        assert api.asked[0].body == {
            "backup_name": "b",
            "export_name": "b",
            "format": "parquet",
            "collections": ["shop.orders", "default.books", "web.*"],
        }
        assert "✓ export of b succeeded" in done.out
        assert "2 collections, 1,234 rows" in done.out
        assert location in done.out

    def test_a_full_backup_has_all_collections(self, api: FakeApi, cli: Cli) -> None:
        done = cli("export", "b", "--as", "c", "-c", "shop.orders")
        assert (done.code, api.asked) == (2, [])
        assert "is of --format parquet alone" in done.err

    def test_what_a_backup_is_an_export_of_is_shown(self, api: FakeApi, cli: Cli) -> None:
        api.backups = {"b": backup("b").model_copy(update={"export_of": "nightly_31"})}
        assert any(line.split() == ["export", "of", "nightly_31"] for line in cli("get", "b").out.splitlines())


def test_a_repair_says_what_is_mended_and_what_is_lost(api: FakeApi, cli: Cli) -> None:
    api.backups = {"b": backup("b")}
    api.outcomes["verify"] = {"result": {"mended": ["the marker was made anew"], "lost": ["its schedule"]}}
    done = cli("repair", "b", "--wait")
    assert done.code == 0
    assert any(asked.path.endswith("/backups/b/repair") for asked in api.asked)
    assert "✓ mended: the marker was made anew" in done.out
    assert "! lost: its schedule" in done.out


def test_a_verification_that_finds_damage_is_a_failure(api: FakeApi, cli: Cli) -> None:
    api.backups = {"b": backup("b")}
    api.outcomes["verify"] = {"status": "failed", "error": "BackupDamagedError", "message": "an object is missing"}
    done = cli("verify", "b", "--wait")
    assert done.code == 1
    assert "error: BackupDamagedError: an object is missing" in done.err


class TestLevels:
    def test_the_command_has_the_levels_of_requests(self) -> None:
        assert get_args(get_args(Level)[0]) == get_args(VerifyLevel)

    def test_what_is_asked_for_reaches_the_api_and_what_is_not_is_left_out(self, api: FakeApi, cli: Cli) -> None:
        api.backups = {"b": backup("b")}
        assert cli("verify", "b").code == 0
        assert cli("verify", "b", "--level", "deep", "--sample", "5%", "--max-bytes", "1.5GiB").code == 0
        assert cli("verify", "b", "--level", "deep", "--sample", "0.5", "--max-bytes", "1000").code == 0
        assert [asked.body for asked in api.asked if asked.path.endswith("/verify")] == [
            {"level": "quick"},
            {"level": "deep", "sample_percent": 5.0, "max_bytes": 1_610_612_736},
            {"level": "deep", "sample_percent": 0.5, "max_bytes": 1000},
        ]

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (("--level", "deep", "--sample", "0%"), "--sample: should be greater than 0"),
            (("--level", "deep", "--sample", "101%"), "--sample: should be less than or equal to 100"),
            (("--level", "deep", "--sample", "some"), "'some' is no percentage"),
            (("--level", "deep", "--sample", "nan%"), "'nan%' is no percentage"),
            (("--level", "deep", "--sample", "inf"), "'inf' is no percentage"),
            (("--level", "deep", "--sample=-5%"), "--sample: should be greater than 0"),
            (("--timeout", "nan"), "'--timeout'"),
            (("--level", "deep", "--max-bytes", "5 parsec"), "'5 parsec' is no size"),
            (("--level", "deep", "--max-bytes", "0"), "--max-bytes: should be greater than or equal to 1"),
            (("--level", "thorough"), "thorough"),
            (("--sample", "5%"), "--sample is of a deep verification alone: quick reads no objects"),
            (("--level", "checksum", "--max-bytes", "5GiB"), "--max-bytes is of a deep verification alone"),
        ],
    )
    def test_what_cannot_be_meant_is_refused_before_anything_is_asked(
        self, api: FakeApi, cli: Cli, options: tuple[str, ...], said: str
    ) -> None:
        done = cli("verify", "b", *options)
        assert (done.code, api.asked) == (2, [])
        assert said in " ".join(done.err.split())

    @pytest.mark.parametrize(
        ("result", "said"),
        [
            ({"level": "quick", "etags_compared": True}, "quick: ETags compared"),
            ({"level": "quick", "etags_compared": False}, "quick: presence and sizes only"),
            (
                {"level": "checksum", "checksum_count": 3, "incomparable_count": 2},
                "checksum: checksums of 3 objects compared, 2 without a checksum to compare",
            ),
            (
                {"level": "deep", "read_count": 12, "object_count": 240, "read_bytes": 1536, "baseline_count": 0},
                "deep: 12 of 240 objects read (1.5 KiB)",
            ),
            (
                {"level": "deep", "read_count": 1, "object_count": 1, "read_bytes": 5, "baseline_count": 1},
                "deep: 1 of 1 object read (5 B), 1 for the first time, without a record of the content",
            ),
        ],
    )
    def test_what_was_done_is_told(self, api: FakeApi, cli: Cli, result: dict[str, object], said: str) -> None:
        api.backups = {"b": backup("b")}
        api.outcomes["verify"] = {"result": result}
        assert said in cli("verify", "b", "--wait").out

    def test_a_backup_asks_for_the_same(self, api: FakeApi, cli: Cli) -> None:
        assert cli("create", "b", "--verify", "deep", "--sample", "5%", "--max-bytes", "500GiB").code == 0
        assert cli("create", "c", "--verify", "checksum").code == 0
        assert [asked.body.get("verify") for asked in api.asked if asked.path.endswith("/backups")] == [
            {"level": "deep", "sample_percent": 5.0, "max_bytes": 500 * 2**30},
            {"level": "checksum"},
        ]

    @pytest.mark.parametrize("command", [("create", "b"), ("schedule", "put", "s", "rate(1 day)")])
    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (("--sample", "5%"), "none is asked for hint: Give --verify deep as well."),
            (("--max-bytes", "5GiB"), "none is asked for hint: Give --verify deep as well."),
            (("--verify", "checksum", "--sample", "5%"), "--sample is of a deep verification alone: checksum reads"),
            (("--verify", "thorough"), "thorough"),
        ],
    )
    def test_what_a_backup_cannot_ask_for_is_refused_before_anything_is_asked(
        self, api: FakeApi, cli: Cli, command: tuple[str, ...], options: tuple[str, ...], said: str
    ) -> None:
        done = cli(*command, *options)
        assert (done.code, api.asked) == (2, [])
        assert said in " ".join(done.err.split())

    def test_a_backup_says_which_run_verifies_it(self, api: FakeApi, cli: Cli) -> None:
        request = {"backup_name": "b", "level": "deep"}
        api.outcomes["backup"] = {
            "result": {"verification": {"run": "verify-after-1", "name": "after-1", "request": request}}
        }
        assert (
            "its verification (deep) was started: milvus-vault watch verify-after-1" in cli("create", "b", "--wait").out
        )
        api.outcomes["backup"] = {"result": {"verification": None}}
        assert "verification" not in cli("create", "c", "--wait").out

    def test_a_backup_asks_for_its_copy(self, api: FakeApi, cli: Cli) -> None:
        for options in ((), ("--copy",), ("--copy-to", "s3://archive/vault/"), ("--copy", "--copy-to", "exports/a")):
            assert cli("create", "b", *options).code == 0
        assert [asked.body.get("copy_to") for asked in api.asked if asked.path.endswith("/backups")] == [
            None,
            {},
            {"bucket": "archive", "prefix": "vault"},
            {"prefix": "exports/a"},
        ]

    @pytest.mark.parametrize(
        ("to", "said"),
        [
            ({"bucket": None, "prefix": None}, "to the stack's place for copies"),
            ({"bucket": "archive", "prefix": "vault"}, "to s3://archive/vault"),
        ],
    )
    def test_a_backup_says_which_run_copies_it(self, api: FakeApi, cli: Cli, to: dict[str, Any], said: str) -> None:
        following = {"run": "export-after-1", "name": "after-1", "request": {"backup_name": "b", "to": to}}
        api.outcomes["backup"] = {"result": {"next_copy": following}}
        out = " ".join(cli("create", "b", "--wait").out.split())
        assert f"its copy {said} was started: milvus-vault watch export-after-1" in out
        api.outcomes["backup"] = {"result": {"next_copy": None}}
        assert "its copy" not in cli("create", "c", "--wait").out

    def test_a_backup_tells_how_it_was_verified(self, api: FakeApi, cli: Cli) -> None:
        verification = Verification(
            level="deep",
            object_count=9,
            size_bytes=10,
            content_checked=True,
            read_count=9,
            read_bytes=10,
            verified_at=datetime(2026, 3, 1, tzinfo=UTC),
            status="intact",
            run="verify-1",
        )
        api.backups = {"b": backup("b").model_copy(update={"verification": verification})}
        assert "9 of 9 objects read (10 B)" in " ".join(cli("get", "b").out.split())


class TestRuns:
    def test_they_are_listed_by_kind_and_status(self, api: FakeApi, cli: Cli) -> None:
        api.runs = {"backup-1": [run("backup-1")], "restore-2": [run("restore-2", "failed")]}
        assert cli("runs").out.splitlines()[1].split()[:2] == ["restore-2", "failed"]
        assert [r["id"] for r in cli("runs", "--kind", "backup", "-o", "json").document["items"]] == ["backup-1"]
        assert [r["id"] for r in cli("runs", "--status", "failed", "-o", "json").document["items"]] == ["restore-2"]

    def test_without_an_id_the_newest_is_watched(self, api: FakeApi, cli: Cli) -> None:
        api.runs = {"backup-1": [run("backup-1")], "backup-2": stages("backup-2", backup_name="b")}
        assert "backup of b succeeded" in cli("watch").out

    def test_a_backup_stands_for_its_newest_run(self, api: FakeApi, cli: Cli) -> None:
        api.runs = {
            "backup-1": [run("backup-1", backup_name="b")],
            "verify-2": [run("verify-2", backup_name="b")],
            "backup-3": [run("backup-3", backup_name="c")],
            "export-4": [run("export-4", backup_name="a", export_name="e")],
        }
        assert cli("watch", "b", "-o", "json").document["id"] == "verify-2"
        assert (
            cli("watch", "e", "-o", "json").document["id"]
            == cli("watch", "a", "-o", "json").document["id"]
            == "export-4"
        )
        assert "a → e" in cli("runs").out
        to = "s3://archive/b"
        api.runs = {"export-1": [run("export-1", backup_name="a", export_name="a", export_to=to)]}
        assert "a → a in s3://archive/b" in cli("runs").out
        done = cli("watch", "nope")
        assert done.code == 4
        assert "there is no backup 'nope'" in done.err
        api.backups = {"old": backup("old")}
        assert "none of the last 500 runs was of backup 'old'" in cli("watch", "old").err

    def test_each_says_which_backup_which_schedule_and_why_it_failed(self, api: FakeApi, cli: Cli) -> None:
        api.runs = {
            "restore-1": [run("restore-1", "failed", backup_name="b", error="ImportFailedError")],
            "backup-2": [run("backup-2", backup_name="b", schedule="nightly")],
        }
        heading, backed_up, restored = cli("runs").out.splitlines()
        assert heading.split() == ["RUN", "STATUS", "STARTED", "TOOK", "BACKUP", "SCHEDULE", "ERROR"]
        assert backed_up.split()[-2:] == ["b", "nightly"]
        assert restored.split()[-2:] == ["b", "ImportFailedError"]

    def test_a_repair_is_told_as_one(self, api: FakeApi, cli: Cli) -> None:
        api.backups = {"b": backup("b")}
        api.outcomes["verify"] = {"request": {"backup_name": "b", "repair": True}}
        assert "repair of b succeeded" in cli("repair", "b", "--wait").out
        assert "verify of b" not in cli("repair", "b", "--wait").out

    def test_each_change_is_a_json_line(self, api: FakeApi, cli: Cli) -> None:
        steps = stages("backup-1")
        api.runs = {"backup-1": [steps[0], steps[0], *steps[1:]]}
        lines = [json.loads(line) for line in cli("watch", "backup-1", "-o", "json").out.splitlines()]
        assert [line["phase"] for line in lines] == ["preparing", "copying", ""]

    def test_a_failed_run_is_one_document_and_one_error(self, api: FakeApi, cli: Cli) -> None:
        api.outcomes["backup"] = {"status": "failed", "error": "BackupExistsError", "message": "there is one"}
        done = cli("create", "b", "--wait", "-o", "json")
        assert done.code == 5
        assert done.document["error"] == "BackupExistsError"
        assert "error: BackupExistsError: there is one" in done.err

    def test_a_run_is_stopped_once(self, api: FakeApi, cli: Cli) -> None:
        api.runs = {"backup-1": stages("backup-1")}
        assert cli("stop", "backup-1").code == 0
        assert cli("stop", "backup-1").code == 5
        assert cli("stop", "backup-9").code == 4

    def test_no_run_at_all_is_not_found(self, api: FakeApi, cli: Cli) -> None:
        assert cli("watch").code == 4
        assert api.asked


@pytest.mark.parametrize("name", ["before-upgrade", "daily 2026", "v2.6.19 (old)", "backup-of-monday", "verify-1"])
def test_a_backup_has_the_name_of_its_folder_for_every_command(api: FakeApi, cli: Cli, name: str) -> None:
    """Another tool, or whoever copied it, may have called it like no backup of ours, or like a run."""
    api.backups = {name: backup(name, report_url=f"{api.url}/report.html")}
    api.runs = {"restore-1": [run("restore-1", backup_name=name)], "verify-12": [run("verify-12", backup_name="other")]}
    assert cli("list", "-o", "json").document["items"][0]["name"] == name
    assert cli("get", name, "-o", "json").document["name"] == name
    assert cli("watch", name, "-o", "json").document["id"] == "restore-1"
    assert cli("report", name, "-o", "json").document["url"].endswith("/report.html")
    for words in ("verify", "repair", "hold --until 30d", "hold --lift", "restore --suffix _old", "delete --yes"):
        command, *options = words.split()
        done = cli(command, name, *options)
        assert (done.code, done.err) == (0, ""), words


def test_what_is_neither_a_run_nor_a_backup_is_no_run(api: FakeApi, cli: Cli) -> None:
    api.backups = {"b": backup("b")}
    for command in ("watch", "report"):
        done = cli(command, "restore-9")
        assert (done.code, done.err) == (4, "error: there is no run 'restore-9'\n")


class TestLookingFirst:
    def test_checks_have_verdicts_and_hints(self, api: FakeApi, cli: Cli) -> None:
        api.checks = [
            CheckItem(name="milvus_connection", verdict="ok", message="Milvus 2.3.5 answers"),
            CheckItem(name="backup_bucket", verdict="failed", message="no such bucket", error="BucketNotFoundError",
                      hint="Create it."),
        ]  # fmt: skip
        done = cli("check")
        assert done.code == 1
        assert "✓ milvus connection: Milvus 2.3.5 answers" in done.out
        assert "✗ backup bucket: no such bucket\n  hint: Create it." in done.out
        assert cli("check", "-o", "json").document["is_ok"] is False

    def test_a_deployment_that_works_passes(self, api: FakeApi, cli: Cli) -> None:
        api.checks = [CheckItem(name="milvus_connection", verdict="ok", message="Milvus 2.3.5 answers")]
        assert cli("check").code == 0

    def test_collections_and_the_estimate_show_sizes(self, api: FakeApi, cli: Cli) -> None:
        api.collections = [ARTICLES]
        assert cli("collections", "--sizes", "--database", "default").out.splitlines()[1].split() == [
            "default.articles", "50,000", "6", "612", "40.1", "MiB", "yes"
        ]  # fmt: skip
        assert api.asked[-1].query == {"limit": "100", "database": "default", "sizes": "true"}
        text = cli("estimate", "--filter", "articles").out
        assert "0.0031 USD" in text
        assert "about 9 s" in text
        assert api.asked[-1].body == {"backup": {"collections": ["default.articles"]}}

    def test_create_with_dry_run_is_the_estimate_and_starts_nothing(self, cli: Cli, api: FakeApi) -> None:
        told = cli("create", "--dry-run", "--filter", "articles", "--incremental")
        assert (told.code, told.out) == (0, cli("estimate", "--filter", "articles", "--incremental").out)
        assert [asked.path for asked in api.asked] == ["/live/estimate"] * 2
        assert cli("-o", "json", "create", "--dry-run").document == cli("-o", "json", "estimate").document

    def test_the_plan_of_a_restore_tells_what_would_be_done(self, cli: Cli, api: FakeApi) -> None:
        api.backups["b"] = backup("b")
        done = cli("restore", "b", "--suffix", "_restored", "--dry-run")
        assert done.code == 0
        assert [(asked.path, asked.body) for asked in api.asked] == [
            ("/live/restores/plan", {"backup_name": "b", "suffix": "_restored"})
        ]
        told = [" ".join(line.split()) for line in done.out.splitlines()]
        assert "to stage 612 objects, 40.1 MiB" in told
        assert "import jobs 6" in told
        assert (
            "expected time about 28 s, by restore-9d1c7a52 of 2026-02-28 12:00 UTC, which imported 48,000 rows in 26 s"
            in told
        )
        assert (
            "default.articles default.articles_restored 50,000 612 40.1 MiB 6 indexed, loaded, aliases current" in told
        )
        assert "! default.articles may lack rows, or have halves of upserts" in told
        assert "- Logs of 1 collection are read before anything is imported." in told
        assert cli("-o", "json", "restore", "b", "--dry-run").document["import_jobs"] == 6

    def test_a_plan_that_finds_a_refusal_ends_with_its_code(self, cli: Cli, api: FakeApi) -> None:
        assert cli("restore", "nope", "--dry-run").code == 4
        api.answers = [problem("CollectionExistsError", "the target has a already", 409, "Set `drop_existing`.")]
        refused = cli("restore", "b", "--dry-run")
        assert (refused.code, "--drop-existing" in refused.err) == (5, True)

    def test_an_incremental_estimate_stands_beside_a_full_one(self, cli: Cli, api: FakeApi) -> None:
        lines = cli("estimate", "--incremental").out.splitlines()
        assert api.asked[-1].body == {"backup": {"mode": "incremental"}}
        told = [line.split() for line in lines]
        assert ["objects", "to", "copy", "612", "12"] in told
        assert ["cost", "of", "requests", "0.0031", "USD", "0.0001", "USD"] in told
        assert ["reads", "at", "most", "38"] in told
        first = "No incremental backup has any of it yet: the first one copies everything."
        assert first not in lines
        api.copied_objects = 612
        assert first in cli("estimate", "--incremental").out.splitlines()
        done = cli("estimate", "--incremental", "--meta-only")
        assert done.code == 2
        assert "leave out --incremental" in done.err


class TestSchedules:
    def test_one_is_put_shown_listed_and_deleted(self, api: FakeApi, cli: Cli) -> None:
        done = cli(
            "schedule", "put", "nightly", "cron(0 3 * * ? *)", "--timezone", "Europe/Berlin", "-c", "shop.*",
            "--keep-last", "3", "--keep-monthly", "12", "--expire-after", "90d",
        )  # fmt: skip
        assert done.code == 0
        assert api.asked[0].body == {
            "expression": "cron(0 3 * * ? *)",
            "timezone": "Europe/Berlin",
            "enabled": True,
            "request": {"collections": ["shop.*"]},
            "retention": {"keep_last": 3, "keep_monthly": 12, "expire_after": "90d"},
        }
        assert "last 3, monthly 12, for 90d" in cli("schedule", "list").out
        assert "cron(0 3 * * ? *) (Europe/Berlin)" in cli("schedule", "get", "nightly").out
        assert cli("schedule", "delete", "nightly").code == 0
        assert cli("schedule", "delete", "nightly").code == 4
        assert cli("schedule", "list", "-o", "json").document["items"] == []

    def test_one_that_cannot_be_read_is_listed_with_what_is_wrong(self, api: FakeApi, cli: Cli) -> None:
        for name in ("deployed", "nightly"):
            cli("schedule", "put", name, "rate(1 day)")
        problem = "its input is not a backup request"
        api.schedules["deployed"] = api.schedules["deployed"].model_copy(update={"problem": problem})
        lines = cli("schedule", "list").out.splitlines()
        assert [line.split()[0] for line in lines[1:3]] == ["deployed", "nightly"]
        assert lines[3:] == [f"✗ deployed: {problem}"]
        assert problem in cli("schedule", "get", "deployed").out
        assert cli("schedule", "list", "-o", "json").document["items"][0]["problem"] == problem

    def test_its_backups_are_verified_where_that_is_asked_for(self, api: FakeApi, cli: Cli) -> None:
        assert cli("schedule", "put", "nightly", "rate(1 day)", "--verify", "deep", "--sample", "5%").code == 0
        assert api.asked[0].body["request"] == {"verify": {"level": "deep", "sample_percent": 5.0}}
        assert "verify: level deep, sample_percent 5.0" in cli("schedule", "get", "nightly").out
        cli("schedule", "put", "hourly", "rate(1 hour)", "--verify", "quick")
        assert "verify: level quick" in cli("schedule", "get", "hourly").out

    def test_one_drills_instead_of_backing_up(self, api: FakeApi, cli: Cli) -> None:
        done = cli(
            "schedule", "put", "tried", "rate(7 days)", "--drill", "nightly", "-c", "shop.*", "--max-bytes", "50GiB",
            "--rows", "20", "--allow-version",
        )  # fmt: skip
        assert done.code == 0
        drill = {
            "newest_of": "nightly",
            "collections": ["shop.*"],
            "max_bytes": 50 * 2**30,
            "row_count": 20,
            "allow_version": True,
        }
        assert api.asked[0].body == {"expression": "rate(7 days)", "timezone": "UTC", "enabled": True, "drill": drill}
        assert "newest_of: nightly, collections: shop.*" in cli("schedule", "get", "tried").out
        line = next(line for line in cli("schedule", "list").out.splitlines() if line.startswith("tried"))
        assert "on, drill" in line
        assert "all" not in line.split()
        cli("schedule", "put", "tried", "rate(7 days)", "--drill-backup", "monday")
        assert api.schedules["tried"].drill == DrillRequest(backup_name="monday")

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (("--drill", "bad name"), "error: --drill: 'bad name' is no name for a schedule"),
            (("--drill-backup", "a/b"), "error: --drill-backup: 'a/b' "),
            (("--verify", "x"), "error: Invalid value for '--verify': 'x' is not one of"),
            (("--drill", "nightly", "--incremental"), "a drill makes no backup"),
            (("--drill", "nightly", "--keep-last", "3"), "a drill makes no backup"),
            (("--drill", "nightly", "--verify", "deep"), "a drill makes no backup"),
            (
                ("--drill", "nightly", "--sample", "5%"),
                "--sample and --max-bytes say how much a deep verification reads",
            ),
            (("--drill", "nightly", "--drill-backup", "monday"), "a drill is of one backup"),
            (("--drill", "no schedule"), "name for a schedule"),
            (("--rows", "5"), "--rows and --allow-version are of a drill, and none is asked for"),
            (("--allow-version",), "--rows and --allow-version are of a drill, and none is asked for"),
        ],
    )
    def test_what_says_nothing_of_a_drill_is_refused(
        self, api: FakeApi, cli: Cli, options: tuple[str, ...], said: str
    ) -> None:
        done = cli("schedule", "put", "tried", "rate(7 days)", *options)
        assert (done.code, api.asked) == (2, [])
        assert said in " ".join(done.err.split())

    def test_its_backups_are_copied_where_that_is_asked_for(self, api: FakeApi, cli: Cli) -> None:
        assert cli("schedule", "put", "nightly", "rate(1 day)", "--copy").code == 0
        assert cli("schedule", "put", "hourly", "rate(1 hour)", "--copy-to", "s3://archive/vault").code == 0
        assert [asked.body["request"] for asked in api.asked if asked.body] == [
            {"copy_to": {}},
            {"copy_to": {"bucket": "archive", "prefix": "vault"}},
        ]
        assert "copy_to: the stack's place for copies" in cli("schedule", "get", "nightly").out
        assert "copy_to: s3://archive/vault" in cli("schedule", "get", "hourly").out

    def test_without_rules_everything_is_kept(self, api: FakeApi, cli: Cli) -> None:
        assert cli("schedule", "put", "often", "rate(1 hour)", "--off", "-o", "json").document["enabled"] is False
        assert "retention" not in api.asked[0].body


def test_each_repetition_of_a_request_is_told_beside_the_result(
    api: FakeApi, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("milvus_vault.client.transport.time.sleep", lambda _: None)
    api.answers = [problem("MilvusUnavailableError", "Milvus does not [b]answer[/b]", 503)]
    done = cli("collections", "-o", "json")
    assert done.document["items"] == []
    assert done.err == "Milvus does not [b]answer[/b]; asking again\n"


class TestStats:
    def test_what_is_listed_and_stored_and_what_each_schedule_costs(self, api: FakeApi, cli: Cli) -> None:
        api.backups = {name: backup(name) for name in ("a", "b", "c")}
        out = cli("stats").out
        assert "backups          3 (3 incremental)" in out
        assert "they list        1,836 objects, 120.2 MiB" in out
        assert "in the pool      700 objects, 47.7 MiB" in out
        assert "ratio            2.5 bytes listed for each that is stored" in out
        assert "cost of storage  0.0011 USD a month" in out
        assert "(no schedule)        3  120.2 MiB  47.7 MiB  0.0011 USD a month" in out
        assert cli("stats", "-o", "json").document["schedules"][0]["schedule"] == "nightly"

    def test_without_the_pool_nothing_is_said_of_what_is_stored(self, api: FakeApi, cli: Cli) -> None:
        api.backups = {"a": backup("a")}
        out = cli("stats", "--no-pool").out
        assert api.asked[0].query == {"pool": "false"}
        assert "stored     not looked up" in out
        assert "USD" not in out

    @pytest.mark.parametrize("options", [[], ["-o", "json"]])
    def test_of_a_large_pool_it_is_told_how_far_the_listing_is(
        self, api: FakeApi, cli: Cli, options: list[str]
    ) -> None:
        api.listings = [
            PoolListing(
                object_count=number, size_bytes=number * 2**20, collection_count=number // 100, collection_total=16
            )
            for number in (400, 1200)
        ]
        done = cli("stats", *options)
        assert [asked.query for asked in api.asked] == [{}, {"token": "behind 400"}, {"token": "behind 1200"}]
        assert "listing what incremental backups share: 4 of 16 collections, 400 objects, 400.0 MiB" in done.err
        assert "12 of 16 collections, 1,200 objects" in done.err
        assert "16 collections" not in done.out
        if options:
            assert done.document["pool"]["object_count"] == 700


class TestPrune:
    def test_a_dry_run_says_why_of_each_backup(self, api: FakeApi, cli: Cli) -> None:
        api.outcomes["prune"] = {
            "result": {
                "decisions": [
                    {"name": "b1", "keep": True, "reason": "kept: newest of 3"},
                    {"name": "b2", "keep": False, "reason": "deleted: expired"},
                ],
                "decision_count": 5,
                "dry_run": True,
                "kept_count": 1,
                "deleted_count": 1,
                "deleted_bytes": 42_000_000,
            }
        }
        done = cli("prune", "--dry-run")
        assert done.code == 0
        assert api.asked[0].body == {"dry_run": True}
        assert "b1      keep      newest of 3" in done.out
        assert "b2      delete    expired" in done.out
        assert "and 3 more backups" in done.out
        assert "1 backup would be deleted (40.1 MiB), 1 kept" in done.out

    def test_a_dry_run_says_what_would_be_freed_by_each_and_together(self, api: FakeApi, cli: Cli) -> None:
        freed = {
            "object_count": 1200,
            "size_bytes": 42_000_000,
            "backups": [{"name": "b2", "object_count": 3, "size_bytes": 2048}],
            "reasons": ["nothing of a collection would be deleted: its list is gone"],
        }
        decisions = [
            {"name": name, "keep": name == "b1", "reason": f"{'kept' if name == 'b1' else 'deleted'}: so"}
            for name in ("b1", "b2", "b3")
        ]
        api.outcomes["prune"] = {"result": {"decisions": decisions, "freed": freed}}
        done = cli("prune", "--dry-run")
        assert "BACKUP  DECISION    FREES  WHY" in done.out
        assert "b1      keep               so" in done.out
        assert "b2      delete    2.0 KiB  so" in done.out
        assert "b3      delete          -  so" in done.out
        assert "this would free 40.1 MiB, 1,200 objects that no other backup lists" in done.out
        assert "nothing of a collection would be deleted: its list is gone" in done.out

    def test_what_it_deleted_of_the_pool_and_what_waits_is_told_where_it_is_waited_for_and_watched(
        self, api: FakeApi, cli: Cli
    ) -> None:
        swept = {
            "pool_object_count": 1200,
            "pool_size_bytes": 42_000_000,
            "pool_waiting": ["a-1", "b-2"],
            "pool_reasons": [f"execution {number} runs" for number in range(7)],
        }
        api.outcomes["prune"] = {"result": {"swept": swept}}
        for done in (cli("prune", "--wait"), cli("watch", "prune-1")):
            assert "pool: 1,200 objects deleted that no backup lists any more (40.1 MiB)" in done.out
            assert "pool: what no backup lists of 2 collections waits for a later prune" in done.out
            assert "execution 4 runs" in done.out
            assert "execution 5 runs" not in done.out
            assert "and for 2 more reasons" in done.out
        assert cli("prune", "--wait", "-o", "json").document["result"]["swept"] == swept

    def test_where_nothing_of_the_pool_could_be_deleted_the_reason_is_told(self, api: FakeApi, cli: Cli) -> None:
        api.outcomes["prune"] = {"result": {"swept": {"pool_reasons": ["a manifest cannot be read"]}}}
        done = cli("prune", "--wait")
        assert "pool: what no backup lists waits for a later prune" in done.out
        assert "a manifest cannot be read" in done.out

    def test_some_left_over_is_partial(self, api: FakeApi, cli: Cli) -> None:
        api.outcomes["prune"] = {"status": "failed", "error": "PruneFailedError", "message": "1 of 2"}
        assert cli("prune", "--wait", "--no-sweep").code == 3
        assert api.asked[0].body == {"sweep": False}


class TestReport:
    def test_it_is_saved_or_its_address_printed(self, api: FakeApi, cli: Cli, tmp_path: Path) -> None:
        url = f"{api.url}/report.html"
        api.backups = {"b": backup("b", report_url=url)}
        api.runs = {"restore-1": [run("restore-1", report_url=url)]}
        assert cli("report", "b", "--save", str(tmp_path / "b.html")).code == 0
        assert (tmp_path / "b.html").read_text() == "<html>report</html>"
        assert cli("report", "restore-1", "--no-browser").out.strip() == url
        assert cli("report", "b", "-o", "json").document == {"url": url, "file": None}

    def test_a_file_that_cannot_be_written_is_refused_before_anybody_is_asked(
        self, api: FakeApi, cli: Cli, tmp_path: Path
    ) -> None:
        for file in (tmp_path / "no" / "b.html", tmp_path, Path("/proc/b.html")):
            done = cli("report", "b", "--save", str(file))
            assert (done.code, done.out, api.asked) == (2, "", [])
            assert f"cannot write {file}: " in done.err
            assert "hint: Name a file in a folder that is there" in done.err
        assert list(tmp_path.iterdir()) == []

    def test_a_backup_without_one_is_told(self, api: FakeApi, cli: Cli) -> None:
        api.backups = {"b": backup("b")}
        api.runs = {"backup-1": [run("backup-1")]}
        assert cli("report", "b").code == 4
        assert cli("report", "backup-1").code == 4


class TestErrors:
    @pytest.mark.parametrize(
        ("error", "status", "code"),
        [
            ("BackupDamagedError", 500, 1),
            ("InvalidRequestError", 400, 2),
            ("BackupPartialError", 500, 3),
            ("BackupNotFoundError", 404, 4),
            ("IdempotencyConflictError", 409, 5),
            ("StorageAccessDeniedError", 500, 6),
            ("ServiceUnavailableError", 500, 7),
        ],
    )
    def test_an_error_of_the_api_has_its_exit_code(
        self, api: FakeApi, cli: Cli, error: str, status: int, code: int
    ) -> None:
        api.answers = [problem(error, "because", status, "do this")]
        done = cli("create")
        assert (done.code, done.out) == (code, "")
        assert done.err == "error: because\nhint: do this\n"

    def test_a_wait_that_is_over_has_its_exit_code(self, api: FakeApi, cli: Cli) -> None:
        api.runs = {"backup-1": stages("backup-1")[:1]}
        done = cli("watch", "backup-1", "--timeout", "0.05")
        assert done.code == 8
        assert "goes on" in done.err

    def test_ctrl_c_leaves_the_run_and_says_how_to_stop_it(
        self, api: FakeApi, cli: Cli, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("milvus_vault.client.vault.wait_for_run", interrupt)
        done = cli("create", "b", "--wait")
        assert done.code == 130
        assert "milvus-vault stop backup-1" in done.err
        assert len(api.asked) == 1

    def test_without_any_api_it_says_what_to_name(
        self, api: FakeApi, cli: Cli, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("MILVUS_VAULT_URL")
        done = cli("list")
        assert done.code == 7
        assert "milvus-vault local up" in done.err
        assert not api.asked

    def test_an_unknown_command_and_an_unknown_option_are_wrong_usage(self, cli: Cli) -> None:
        assert cli("lst").code == 2
        assert "milvus-vault create --help" in cli("create", "--nam", "b").err
        assert cli("create", "--nam", "b", "-o", "json").document["exit_code"] == 2

    def test_an_api_that_is_not_there_is_unavailable(self, api: FakeApi, cli: Cli) -> None:
        done = cli("list", "--url", "http://127.0.0.1:1/live")
        assert done.code == 7
        assert "http://127.0.0.1:1/live" in done.err
        assert not api.asked


@pytest.mark.parametrize(
    "words",
    [
        ("create", "--filter", ","),
        ("create", "--databases", " , "),
        ("restore", "b", "--drop-existing", "-c", ","),
        ("restore", "b", "--rename", ","),
        ("restore", "b", "--partition", ","),
        ("export", "b", "--as", "c", "--format", "parquet", "-c", "a.b", "-d", ","),
        ("drill", "b", "-c", ",,"),
        ("schedule", "put", "s", "rate(1 day)", "-c", " "),
        ("estimate", "-d", ","),
    ],
)
def test_an_option_that_names_nothing_does_not_mean_all(words: tuple[str, ...], api: FakeApi, cli: Cli) -> None:
    done = cli(*words)
    assert (done.code, api.asked) == (2, [])
    assert "names nothing" in done.err or "empty value" in done.err


@pytest.mark.parametrize(
    ("options", "said"), [(("--reason", "r" * 501), "--reason: "), (("--until", "1969-12-31"), "--until: ")]
)
def test_a_hold_that_cannot_be_meant_is_refused_by_its_field(
    options: tuple[str, ...], said: str, api: FakeApi, cli: Cli
) -> None:
    done = cli("hold", "b", *options)
    assert (done.code, api.asked) == (2, [])
    assert said in done.err


@pytest.mark.parametrize(("copied", "rest"), [(612, ""), (611, "; the rest was there")])
def test_of_what_was_all_copied_nothing_was_there(api: FakeApi, cli: Cli, copied: int, rest: str) -> None:
    api.backups = {"b": backup("b", copied_object_count=copied, copied_size_bytes=42_000_000)}
    (line,) = [line for line in cli("get", "b").out.splitlines() if line.startswith("copied ")]
    assert line.endswith(f"{copied} objects, 40.1 MiB{rest}")


@pytest.mark.parametrize(("meta_only", "is_shown"), [(False, True), (True, False)])
def test_an_empty_collection_has_no_live_rows(api: FakeApi, cli: Cli, meta_only: bool, is_shown: bool) -> None:
    (whole,) = backup("b").collections
    empty = whole.model_copy(update={"row_count": 0, "live_row_count": None})
    api.backups = {"b": backup("b", collections=[empty], meta_only=meta_only)}
    out = cli("get", "b").out
    assert ("LIVE ROWS" in out) == is_shown
    assert re.search(r"default\.articles +0 +" + ("0 +" if is_shown else "") + "6 ", out)


def test_an_incremental_backup_says_how_much_was_copied(api: FakeApi, cli: Cli) -> None:
    api.outcomes["backup"] = {"result": {"object_count": 95, "size_bytes": 42_000_000, "copied_size_bytes": 0}}
    done = cli("create", "first", "--incremental", "--wait")
    assert "95 objects, 40.1 MiB (0 B copied)" in done.out
    first = "no incremental backup had any of it before"
    assert first not in done.out
    api.outcomes["backup"] = {"result": {"size_bytes": 42_000_000, "copied_size_bytes": 42_000_000}}
    assert first in cli("create", "first", "--incremental", "--wait").out


def test_a_stopped_run_says_how_far_it_came(api: FakeApi, cli: Cli) -> None:
    now = Progress(collections_done=2, collections_total=8, objects_done=170, objects_total=170)
    api.runs = {"restore-1": [run("restore-1", "stopped", progress=now)]}
    assert "stopped in 12 s: 2 of 8 collections, 170 of 170 objects" in cli("watch", "restore-1").out


def test_on_a_terminal_the_newest_failed_run_has_the_command_that_tells_why(
    api: FakeApi, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.runs = {one: [run(one, "failed", error="RowCountMismatchError")] for one in ("restore-1", "restore-2")}
    assert "Why:" not in cli("runs").err
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    newest = cli("runs", "-o", "json").document["items"][0]["id"]
    assert cli("runs").err == f"Why: milvus-vault watch {newest}\n"
    assert "Why:" not in cli("runs", "-o", "json").err


def test_the_id_of_a_run_is_for_watch_and_a_backup_is_no_run(api: FakeApi, cli: Cli) -> None:
    done = cli("get", "drill-1")
    assert done.code == 4
    assert "milvus-vault watch drill-1" in done.err
    assert "watch" not in cli("get", "first").err
    asked = len(api.asked)
    done = cli("stop", "first")
    assert (done.code, done.err.splitlines()[1]) == (2, "hint: 'milvus-vault runs' lists them.")
    assert len(api.asked) == asked


@pytest.mark.parametrize("output", ["text", "json"])
def test_a_schedule_that_is_not_there_has_not_just_made_no_backup(api: FakeApi, cli: Cli, output: str) -> None:
    api.answers = [
        Answer(200, b'{"items": [], "next_token": null}'),
        problem("ScheduleNotFoundError", "there is no schedule 'ofen'", 404, "Did you mean 'often'?"),
    ]
    done = cli("-o", output, "list", "--schedule", "ofen")
    assert done.code == 4
    said = "there is no schedule 'ofen', and no backup of one of that name"
    assert done.err == f"error: {said}\nhint: Did you mean 'often'?\n"
    api.backups = {"b": backup("b", schedule="gone")}
    assert cli("-o", output, "list", "--schedule", "gone").code == 0


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ("create", "backup"), ("create -w", "backup"), ("delete b -y", "deletion"), ("export b --as c", "export"),
        ("copy b", "copy"), ("verify b", "check"), ("repair b", "repair"), ("restore b", "restore"),
        ("drill b", "drill"), ("prune", "prune"), ("prune --wait", "prune"),
    ],
)  # fmt: skip
def test_ctrl_c_while_a_run_is_started_says_that_it_may_run(
    api: FakeApi, cli: Cli, monkeypatch: pytest.MonkeyPatch, words: str, what: str
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(VaultClient, "_start", interrupted)
    done = cli(*words.split())
    assert (done.code, done.out, api.asked) == (130, "", [])
    told = f"Interrupted while the {what} was being started: it may run; see 'milvus-vault runs'."
    assert done.err == f"\n{told}\n"
    if what != "prune":
        again = cli(*words.split(), "--idempotency-key", "k").err
        assert again == f"\n{told} The same command with the same --idempotency-key starts no other one.\n"


def test_a_backup_is_deleted_only_where_its_name_is_typed(
    api: FakeApi, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.backups = {"b": backup("b")}
    monkeypatch.setattr("sys.stdin", io.StringIO("b\n"))
    refused = cli("delete", "b")
    assert refused.code == 2
    assert (
        "'b' is not deleted without being asked for, and here is no terminal to ask on\nhint: Give --yes."
        in refused.err
    )
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for answer, code in (("c", 130), ("b", 0)):
        monkeypatch.setattr("typer.prompt", lambda *_, answer=answer, **__: answer)
        assert cli("delete", "b").code == code
    assert [asked.method for asked in api.asked] == ["GET", "GET", "GET", "DELETE"]
