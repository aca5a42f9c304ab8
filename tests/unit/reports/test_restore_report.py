"""The HTML report of a restore."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvus_vault.errors import LoadFailedError
from milvus_vault.reports.restore import render_restore_report
from tests.support.html_page import Page
from tests.unit.reports.samples import EXECUTION, not_restored, restore_report, restored


def test_says_what_became_of_each_collection_failed_ones_first() -> None:
    collections = [
        restored("a", 10, ("an alias stays elsewhere",), expected_row_count=10, deleted_row_count=0),
        restored("b", 2_000, imported=2_227, expected_row_count=2_000, deleted_row_count=227),
        not_restored("c", "LoadFailedError", "no memory", "Load fewer."),
    ]
    report = restore_report(collections, status="partial", warnings=("the version is not in the matrix",))

    page = Page(render_restore_report(report, EXECUTION))

    assert page.texts["h1"] == ["nightly partial"]
    assert page.texts["dd"] == [
        "2,010of 2,010 counted at the backup; 227 more in segments: deleted",
        "2of 3 collections",
        "1",
        "1 h 0 min",
    ]
    assert page.texts["h2"][:2] == ["1 collection was not restored", "2 warnings"]
    assert page.texts["li"] == [
        f"db.c_new: LoadFailedError\n{LoadFailedError.__doc__}\nno memory\nLoad fewer.",
        "the version is not in the matrix",
        "db.a_new: an alias stays elsewhere",
    ]
    assert page.tables[1].rows == [
        ["In the backup", "Restored as", "Status", "Rows", "Expected", "Deleted", "In segments", "Warnings"],
        ["db.c", "db.c_new", "failed", "0", "-", "-", "0", "0"],
        ["db.b", "db.b_new", "restored", "2,000", "2,000", "227", "2,227", "0"],
        ["db.a", "db.a_new", "restored", "10", "10", "0", "10", "1"],
        ["All 3", "", "", "2,010", "2,010", "227", "2,237", ""],
    ]
    assert page.texts["text"] == ["db.b_new", "2,000", "db.a_new", "10"]


def test_rows_that_nobody_counted_are_not_expected_and_what_may_be_too_new_is_not_called_deleted() -> None:
    collections = [restored("a", 10, imported=12), restored("b", 5, expected_row_count=5, deleted_row_count=0)]
    page = Page(render_restore_report(restore_report(collections), EXECUTION))
    assert page.texts["dd"][0] == "152 more in segments: deleted or too new"
    assert page.tables[1].rows[1:] == [
        ["db.a", "db.a_new", "restored", "10", "-", "-", "12", "0"],
        ["db.b", "db.b_new", "restored", "5", "5", "0", "5", "0"],
        ["All 2", "", "", "15", "-", "-", "17", ""],
    ]


@pytest.mark.parametrize(("checked", "text"), [(True, "ETag against the backup's lists"), (False, "size only")])
def test_says_what_was_checked(*, checked: bool, text: str) -> None:
    page = Page(render_restore_report(restore_report([restored("a")], content_checked=checked), EXECUTION))

    facts = {row[0]: row[1] for row in page.tables[0].rows}
    assert text in facts["Objects checked"]
    assert facts["Backup"] == "nightly, made on Milvus v2.3.5"
    assert facts["Into"] == "Milvus v2.3.9"
    assert facts["Execution"] == EXECUTION


@pytest.mark.parametrize(("staged", "text"), [(True, "copied into Milvus' bucket"), (False, "from where the backup")])
def test_says_where_it_was_imported_from(*, staged: bool, text: str) -> None:
    page = Page(render_restore_report(restore_report([restored("a")], is_staged=staged), EXECUTION))

    assert text in {row[0]: row[1] for row in page.tables[0].rows}["Objects"]


def test_ten_thousand_collections_make_a_page_that_a_telephone_can_show() -> None:
    collections = [restored(f"collection_{number:05}", number, ("a warning",)) for number in range(10_000)]

    body = render_restore_report(restore_report(collections), EXECUTION)

    page = Page(body)
    assert len(body) < 1024**2
    assert len(page.tables[1].rows) == 1 + 1000 + 2
    assert page.tables[1].rows[1001] == ["9,000 more", "", "", "40,495,500", "", "", "40,495,500", ""]
    assert page.texts["h2"][0] == "10,000 warnings"
    assert page.tags["li"] == 1000


@given(st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=80))
def test_every_name_and_message_can_be_read_on_the_page(name: str) -> None:
    page = Page(render_restore_report(restore_report([not_restored(name, "LoadFailedError", name)]), EXECUTION))

    assert page.tables[1].rows[1][:2] == [f"db.{name}", f"db.{name}_new"]
    assert page.texts["li"][0].endswith(name)
    assert page.tags["script"] == 0
