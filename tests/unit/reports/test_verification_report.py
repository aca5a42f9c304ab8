"""The HTML report of a verification."""

from datetime import timedelta

from milvus_vault.errors import BackupDamagedError
from milvus_vault.model.requests import VerifyRequest
from milvus_vault.reports.verification import render_verification_report
from milvus_vault.verifying.working_files import CheckedBatch, VerifyProgress
from tests.support.html_page import Page
from tests.unit.reports.samples import BEGUN, EXECUTION, LOCATION

ENDED = BEGUN + timedelta(seconds=65)


def page_of(request: VerifyRequest, **found: object) -> Page:
    """Return the page of a verification of three collections."""
    given: dict[str, object] = {"is_done": True, "collections_total": 3, "object_count": 1200, "size_bytes": 2**21}
    progress = VerifyProgress.model_validate({"begun_at": BEGUN, "etags_compared": True, **given, **found})
    body = render_verification_report(progress.result(request), progress, LOCATION, EXECUTION, ENDED)
    return Page(body)


def test_of_a_whole_backup_it_says_what_was_looked_at() -> None:
    checked = CheckedBatch(read_count=600, read_bytes=2**20)
    page = page_of(VerifyRequest(backup_name="nightly", level="deep", sample_percent=50), checked=checked)
    assert page.texts["h1"] == ["nightly intact"]
    assert page.texts["dt"] == ["Collections", "Objects", "Size", "Read", "Problems", "Duration"]
    assert page.texts["dd"] == [
        "3", "1,200compared with a listing", "2.0 MiB2,097,152 bytes", "1.0 MiB600 objects", "0", "1 min 5 s",
    ]  # fmt: skip
    facts = {row[0]: row[1] for row in page.tables[0].rows}
    assert facts["Level"] == "deep: a listing, and the contents of the objects, which were read"
    assert facts["Sample"] == "50.0 % of the objects"
    assert (facts["Lies in"], facts["Execution"]) == (LOCATION, EXECUTION)
    assert "li" not in page.texts


def test_what_is_wrong_comes_first_with_what_to_do_and_nothing_of_it_is_markup() -> None:
    problems = ("db.a: insert_log/1 is missing", "db.<b>: insert_log/2 has another size")
    page = page_of(VerifyRequest(backup_name="nightly"), problems=problems)
    assert page.texts["h1"] == ["nightly damaged"]
    assert page.texts["h2"][0] == "2 problems"
    assert page.texts["li"] == [*problems]
    assert f"BackupDamagedError: {BackupDamagedError.__doc__}" in page.text
    assert "What to do: Restore what is named from a copy" in page.text
    assert page.tags["b"] == 0


def test_of_what_lies_in_glacier_it_says_how_it_can_be_read() -> None:
    page = page_of(VerifyRequest(backup_name="nightly", level="checksum"), archived=("db.a: x is archived",))
    assert page.texts["h1"] == ["nightly archived"]
    assert page.texts["h2"][0] == "1 problem"
    assert "What to do: Restore it from S3 Glacier" in page.text
    assert "Checksums compared" in page.texts["dt"]
