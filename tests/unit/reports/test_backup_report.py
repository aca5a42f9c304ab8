"""The HTML report of a backup."""

import base64
import hashlib
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvus_vault.archive.manifest import Manifest
from milvus_vault.cli.exit_codes import ExitCode
from milvus_vault.cli.main import run
from milvus_vault.errors import CopyIncompleteError
from milvus_vault.model.messages import NextCopy, NextVerification
from milvus_vault.model.requests import ExportPlace, ExportRequest, ScheduleTag, VerifyRequest
from milvus_vault.model.resources import BackupSummary
from milvus_vault.model.retention import Retention
from milvus_vault.reports.backup import render_backup_report
from tests.support.html_page import Page
from tests.unit.reports.samples import BEGUN, LOCATION, entry, failure, manifest

MALICIOUS = '"><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}'


def test_says_what_was_saved_from_where_when_and_how_much() -> None:
    backup = manifest([entry("small", 1024, 10, 9), entry("large", 5 * 1024**3, 1_234_567)], databases=("db", "other"))

    page = Page(render_backup_report(backup, LOCATION))

    assert page.texts["h1"] == ["nightly complete"]
    assert page.texts["title"][0] == "Backup nightly: complete"
    assert page.texts["dd"] == [
        "5.0 GiB5,368,710,144 bytes",
        "1,234,577in 4 segments",
        "2in 2 databases",
        "6",
        "1 min 30 s56.9 MiB/s on average",
    ]
    facts = {row[0]: row[1] for row in page.tables[0].rows}
    assert facts == {
        "Taken from": "Milvus v2.3.5, s3://milvus/files/",
        "Lies in": LOCATION,
        "As of": "no known moment: a restore brings back all that was captured",
        "Begun": "2026-03-01 02:00:05 UTC",
        "Finished": "2026-03-01 02:01:35 UTC",
        "Kept": "until somebody deletes it",
        "Schedule": "none, it was asked for",
        "Databases": "db, other",
        "Backup ID": "7d865e95",
        "Execution": "arn:aws:states:eu-west-1:123456789012:execution:vault-backup:run-1",
    }
    assert "milvus-vault restore -n nightly" in page.texts["pre"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "quick, after this page was written, by run verify-after-1"),
        (
            {"level": "deep", "sample_percent": 2.5, "max_bytes": 2**30},
            "deep (2.5 % of the objects, at most 1.0 GiB), after this page was written, by run verify-after-1",
        ),
    ],
)
def test_says_how_the_backup_is_to_be_verified(options: dict[str, Any], said: str) -> None:
    request = VerifyRequest(backup_name="nightly", **options)
    following = NextVerification(run="verify-after-1", name="after-1", request=request)

    page = Page(render_backup_report(manifest([entry("a")]), LOCATION, verification=following))

    assert {row[0]: row[1] for row in page.tables[0].rows}["Verified"] == said


@pytest.mark.parametrize(
    ("to", "said"),
    [
        (ExportPlace(), "the stack's place for copies"),
        (ExportPlace(bucket="archive"), "s3://archive"),
        (ExportPlace(bucket="archive", prefix="exports/nightly"), "s3://archive/exports/nightly"),
    ],
)
def test_says_where_the_backup_is_to_be_copied(to: ExportPlace, said: str) -> None:
    following = NextCopy(run="export-after-1", name="after-1", request=ExportRequest.copy_of("nightly", to))

    page = Page(render_backup_report(manifest([entry("a")]), LOCATION, next_copy=following))

    facts = {row[0]: row[1] for row in page.tables[0].rows}
    assert facts["Copied"] == f"to {said}, after this page was written, by run export-after-1"
    assert "Verified" not in facts


def test_an_export_says_of_what_and_when_and_no_rate_of_a_copy_that_was_another() -> None:
    origin = {"backup_name": "monday", "backup_id": "1", "exported_at": BEGUN + timedelta(days=1)}

    page = Page(render_backup_report(manifest([entry("a")], export_of=origin), LOCATION))

    facts = {row[0]: row[1] for row in page.tables[0].rows}
    assert facts["Export of"] == "monday, made 2026-03-02 02:00:05 UTC"
    assert page.texts["dd"][4] == "1 min 30 s"


def test_the_command_line_knows_the_commands_of_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    page = Page(render_backup_report(manifest([entry("a")]), LOCATION))

    program, *arguments = page.texts["pre"][0].split()
    options = [word for text in page.texts["code"] if text.startswith("--") for word in text.split()]

    assert program == "milvus-vault"
    assert options == ["--suffix", "_restored", "--allow-version"]
    assert run([*arguments, *options, "--help"]) == ExitCode.OK
    assert run([*arguments, "--not-an-option", "--help"]) == ExitCode.USAGE
    assert "milvus-vault restore" in capsys.readouterr().out


def test_the_table_has_all_collections_largest_first_and_their_sum() -> None:
    page = Page(render_backup_report(manifest([entry("a", 1024, 10, 9), entry("b", 3072, 2000)]), LOCATION))

    table = page.tables[1]
    assert table.rows == [
        ["Collection", "Size", "Rows", "Live rows", "Segments", "Objects", "Share of size"],
        ["db.b", "3.0 KiB", "2,000", "not known", "2", "3", "75.0 %"],
        ["db.a", "1.0 KiB", "10", "9", "2", "3", "25.0 %"],
        ["All 2", "4.0 KiB", "2,010", "", "4", "6", ""],
    ]
    assert table.scopes["col"] == 7
    assert table.scopes["row"] == 3
    assert table.scopes["th"] == 0  # each header says what it is the header of


def test_each_chart_shows_its_ten_largest() -> None:
    entries = [entry(f"c{number:02}", (number + 1) * 1024, 1000 - number) for number in range(12)]

    page = Page(render_backup_report(manifest(entries), LOCATION))

    assert page.texts["figcaption"] == ["Largest collections by size", "Largest collections by rows"]
    labels = page.texts["text"]
    assert labels[:4] == ["db.c11", "12.0 KiB", "db.c10", "11.0 KiB"]
    assert labels[20:24] == ["db.c00", "1,000", "db.c01", "999"]
    assert len(labels) == 40
    assert "db.c11: 12.0 KiB; db.c10: 11.0 KiB" in page.texts["desc"][0]
    widths = [value for name, value in page.attributes if name == "width" and value not in {"100%"}]
    assert "91.67%" in widths  # 11 of 12
    assert all(0 < float(width.rstrip("%")) <= 100 for width in widths if width.endswith("%"))


def earlier(days: int, size_bytes: int, copied: int | None, name: str = "") -> BackupSummary:
    """Return a backup of some days before."""
    return BackupSummary(
        name=name or f"night_{days:02}", status="complete", created_at=BEGUN - timedelta(days=days), finished_at=None,
        size_bytes=size_bytes, object_count=1, collection_count=1, row_count=1, milvus_version="v2.3.5",
        schedule="nightly", copied_size_bytes=copied,
    )  # fmt: skip


def incremental(size_bytes: int = 4096, copied: int = 1024) -> Manifest:
    """Return an incremental backup of a schedule."""
    tag = ScheduleTag(name="nightly")
    changes = {"mode": "incremental", "copied_object_count": 1, "copied_size_bytes": copied, "schedule": tag}
    return manifest([entry("a", size_bytes, 1)], **changes)


def test_an_incremental_backup_is_compared_with_those_before() -> None:
    # The full one copied all; one of this name is the one that is made anew.
    before = [earlier(1, 2048, 0), earlier(2, 2048, None), earlier(0, 1, 1, "nightly")]

    page = Page(render_backup_report(incremental(), LOCATION, before))

    assert page.texts["figcaption"][0] == "The last 3 backups of schedule nightly"
    assert page.tables[0].rows == [
        ["Backup", "Begun (UTC)", "Size", "Copied"],
        ["nightly", "2026-03-01 02:00", "4.0 KiB", "1.0 KiB"],
        ["night_01", "2026-02-28 02:00", "2.0 KiB", "0 B"],
        ["night_02", "2026-02-27 02:00", "2.0 KiB", "2.0 KiB"],
    ]
    assert page.texts["title"][1:4] == [
        "night_02, 2026-02-27 02:00 UTC: 2.0 KiB, 2.0 KiB copied",
        "night_01, 2026-02-28 02:00 UTC: 2.0 KiB, 0 B copied",
        "nightly, 2026-03-01 02:00 UTC: 4.0 KiB, 1.0 KiB copied",
    ]
    assert "8.0 KiB in all, each counted by itself; 3.0 KiB were copied." in page.text
    # Two for each: all of it, and what was copied.
    assert [value for name, value in page.attributes if name == "height"][1:7] == [
        "55.0", "55.0", "55.0", "0", "110.0", "27.5",
    ]  # fmt: skip
    # What its lines and colours stand for.
    assert page.texts["span"][1:6] == ["4.0 KiB", "2.0 KiB", "0", "2026-02-27", "2026-03-01"]
    for words in ("what it holds", "what was copied for it"):
        assert words in page.text
    assert page.tables[0].scopes["th"] == 0


def test_it_is_compared_with_no_more_than_a_chart_has_room_for() -> None:
    before = [earlier(days, 1024**3, 1) for days in range(1, 40)]

    page = Page(render_backup_report(incremental(), LOCATION, before))

    assert page.texts["figcaption"][0] == "The last 30 backups of schedule nightly"
    assert len(page.tables[0].rows) == 1 + 30
    assert page.texts["span"][1:6] == ["1.0 GiB", "512.0 MiB", "0", "2026-01-31", "2026-03-01"]
    # A byte of a GiB can be seen as well.
    assert ("height", "1.5") in page.attributes


@pytest.mark.parametrize(
    ("backup", "before"),
    [
        (incremental(), []),
        (incremental(0, 0), [earlier(1, 0, 0)]),
        (manifest([entry("a", 1, 1)], schedule=ScheduleTag(name="nightly")), [earlier(1, 1, None)]),
    ],
    ids=["the first", "nothing in it", "full"],
)
def test_there_is_no_comparison_where_there_is_nothing_to_compare(
    backup: Manifest, before: list[BackupSummary]
) -> None:
    assert "copied." not in Page(render_backup_report(backup, LOCATION, before)).text


def test_a_backup_without_rows_has_no_charts_and_says_why() -> None:
    page = Page(render_backup_report(manifest([entry("a")], meta_only=True), LOCATION))

    assert page.tags["svg"] == 0
    assert "no rows: it was asked for with meta_only" in page.text
    assert "on average" not in page.text


def test_failures_come_first_with_what_their_errors_mean() -> None:
    failures = (failure("a"), failure("b", "CopyIncompleteError", "S3 refused"), failure("c", "ErrorOfLater", "?"))
    backup = manifest([entry("d")], failures=failures, warnings=("garbage collection was not paused",))

    page = Page(render_backup_report(backup, LOCATION))

    assert page.texts["h1"] == ["nightly partial"]
    assert page.texts["h2"][:2] == ["3 collections are not in this backup", "1 warning"]
    assert page.texts["li"][1] == f"db.b: CopyIncompleteError\n{CopyIncompleteError.__doc__}\nS3 refused"
    assert page.texts["li"][2] == "db.c: ErrorOfLater\n?"
    assert page.texts["li"][3] == "garbage collection was not paused"
    assert page.text.index("CopyIncompleteError") < page.text.index("Restore it")


def test_says_how_long_it_is_kept() -> None:
    tag = ScheduleTag(name="daily", timezone="Europe/Berlin", retention=Retention(keep_daily=7, expire_after="90d"))
    backup = manifest([entry("a")], schedule=tag, expires_at=BEGUN + timedelta(days=30))

    facts = {row[0]: row[1] for row in Page(render_backup_report(backup, LOCATION)).tables[0].rows}

    assert facts["Schedule"] == "daily"
    assert facts["Kept"] == (
        "may be deleted after 2026-03-31 02:00:05 UTC; "
        "policy of its schedule: keep daily 7, keep at least 1, expire after 90d (Europe/Berlin)"
    )


def test_ten_thousand_collections_make_a_page_that_a_telephone_can_show() -> None:
    entries = [entry(f"collection_{number:05}", number * 1024, number) for number in range(10_000)]
    failures = tuple(failure(f"failed_{number:05}") for number in range(10_000))

    body = render_backup_report(manifest(entries, failures=failures), LOCATION)

    page = Page(body)
    assert len(body) < 1024**2
    assert page.tags["rect"] == 2 * 2 * 10
    assert len(page.tables[1].rows) == 1 + 1000 + 2
    assert page.tables[1].rows[1001] == [
        "9,000 smaller ones",
        "38.6 GiB",
        "40,495,500",
        "",
        "18,000",
        "27,000",
        "81.0 %",
    ]
    assert "The 1,000 largest of 10,000; meta/vault/manifest.json has all." in page.text
    assert page.texts["h2"][0] == "10,000 collections are not in this backup"
    assert page.tags["li"] == 1000


def test_a_name_that_is_markup_stays_text() -> None:
    harmless = Page(render_backup_report(manifest([entry("a", 1, 1)], failures=(failure("b"),)), LOCATION))
    backup = manifest(
        [entry(MALICIOUS, 1, 1, database=MALICIOUS)],
        failures=(failure(MALICIOUS, message=MALICIOUS),),
        warnings=(MALICIOUS,),
        databases=(MALICIOUS,),
    )

    body = render_backup_report(backup, LOCATION)

    page = Page(body)
    assert page.tags - harmless.tags == {"section": 1, "h2": 1, "ul": 1, "li": 1}  # of the warning
    assert b"<script" not in body
    assert page.tables[1].rows[1][0] == f"{MALICIOUS}.{MALICIOUS}"
    assert not [name for name, _ in page.attributes if name.startswith("on")]


# Not control characters, which HTML has no way to write; Milvus allows letters, digits, underscores and dollars.
_NAMES = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=80)


@given(st.lists(_NAMES, min_size=1, max_size=5, unique=True))
def test_every_name_can_be_read_on_the_page(names: list[str]) -> None:
    page = Page(render_backup_report(manifest([entry(name, 1) for name in names]), LOCATION))

    assert {row[0] for row in page.tables[1].rows[1:-1]} == {f"db.{name}" for name in names}


@pytest.mark.parametrize("forbidden", ["script", "link", "img", "iframe", "object"])
def test_nothing_is_loaded_from_outside(forbidden: str) -> None:
    page = Page(render_backup_report(manifest([entry("a", 1, 1)]), LOCATION))

    assert page.tags[forbidden] == 0
    assert not [value for name, value in page.attributes if name in {"src", "href", "style"}]
    assert "url(" not in page.texts["style"][0]
    assert "@import" not in page.texts["style"][0]


def test_it_fits_light_and_dark_screens_telephones_and_paper() -> None:
    page = Page(render_backup_report(manifest([entry("a", 1, 1)]), LOCATION))

    assert ("name", "viewport") in page.attributes
    assert ("lang", "en") in page.attributes
    for media in ("prefers-color-scheme: dark", "max-width", "@media print"):
        assert media in page.texts["style"][0]
    named = {value for name, value in page.attributes if name == "id"}
    referred = {part for name, value in page.attributes if name == "aria-labelledby" for part in value.split()}
    assert referred <= named


def test_a_browser_runs_nothing_and_takes_no_style_but_its_own() -> None:
    page = Page(render_backup_report(manifest([entry("a", 1, 1)]), LOCATION))

    attributes = dict(page.attributes)
    assert attributes["http-equiv"] == "Content-Security-Policy"
    (policy,) = (value for name, value in page.attributes if name == "content" and "default-src" in value)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    digest = base64.b64encode(hashlib.sha256(page.texts["style"][0].encode()).digest()).decode()
    assert rules == {
        "default-src": "'none'",
        "style-src": f"'sha256-{digest}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
