"""The console in a real browser, on the local stack with a real Milvus: what a person looks at, and what he does."""

import threading
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from local.stack import LocalStack
from milvus_vault.client import VaultClient
from milvus_vault.client.discovery import local_door
from milvus_vault.console.serving import ConsoleServer
from tests.support import vault_runs
from tests.support.chromium import CHROMIUM, needs_chromium
from tests.support.milvus_data import Sample, drop_databases, make, rows_of

DATABASE, BACKUP, SAMPLE = "looked_at", "seen_first", Sample("plain")
RESTORE_SECONDS = 120

# What reaches out of the window, and is in nothing that scrolls.
_TOO_WIDE = """() => [...document.querySelectorAll("body *")]
    .filter(one => one.getBoundingClientRect().right > innerWidth && !one.closest(".scroll, .skip"))
    .map(one => one.outerHTML.slice(0, 200))"""

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def backup(stack: LocalStack) -> Iterator[str]:
    """Make a collection and a backup of it."""
    make(stack.milvus_uri, DATABASE, [SAMPLE])
    vault_runs.succeed(stack, "Backup", {"backup_name": BACKUP, "collections": [f"{DATABASE}.*"]})
    yield BACKUP
    drop_databases(stack.milvus_uri, DATABASE)


@pytest.fixture(scope="module")
def address(stack: LocalStack) -> Iterator[str]:
    """Serve the console of the stack, and return the address that it prints."""
    ready, addresses = threading.Event(), list[str]()

    def tell(address: str) -> None:
        addresses.append(address)
        ready.set()

    door = local_door(stack.deployment.api_url)
    console = ConsoleServer(VaultClient(door.url, door.caller))
    thread = threading.Thread(target=console.serve, args=(0, tell))
    thread.start()
    assert ready.wait(30)
    yield addresses[0]
    console.stop()
    thread.join(30)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # The tests may run as root, whom Chromium gives no sandbox; it opens nothing but the console.
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


@pytest.fixture(scope="module")
def page(browser: Browser, address: str) -> Iterator[Page]:
    """Open the address. Whatever the browser complains of fails the test."""
    page = browser.new_page(base_url=address.partition("?")[0])
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(address)
    yield page
    page.close()
    # A refusal is a page with a status of its own, which Chromium tells as well.
    assert [text for text in complaints if "409 (Conflict)" not in text] == []


def test_a_backup_is_found_and_looked_at(page: Page, backup: str) -> None:
    page.goto("/")
    page.get_by_role("link", name="Backups").click()
    page.get_by_label("Name has").fill("SEEN")
    page.get_by_role("button", name="Find").click()
    page.get_by_role("link", name=backup).click()
    expect(page.get_by_role("heading", name=backup)).to_be_visible()
    expect(page.get_by_role("rowheader", name=f"{DATABASE}.plain")).to_be_visible()


def test_what_a_restore_is_refused_for_is_shown(page: Page, backup: str) -> None:
    page.goto(f"/backups/{backup}")
    page.get_by_role("link", name="Restore").click()
    page.get_by_label("Into Milvus 2.2 or 2.3 as well").check()
    page.get_by_role("button", name="Show the plan").click()
    expect(page.get_by_role("alert")).to_contain_text("CollectionExistsError")
    expect(page.get_by_role("alert")).to_contain_text(f"{DATABASE}.plain")
    expect(page.get_by_label("Into Milvus 2.2 or 2.3 as well")).to_be_checked()


def test_a_restore_is_started_and_followed_to_its_end(stack: LocalStack, page: Page, backup: str) -> None:
    page.goto(f"/backups/{backup}/restore")
    page.get_by_label("Suffix of the new names").fill("_again")
    page.get_by_label("Into Milvus 2.2 or 2.3 as well").check()
    page.get_by_role("button", name="Show the plan").click()
    expect(page.get_by_role("heading", name=f"Plan of restoring {backup}")).to_be_visible()
    expect(page.get_by_role("row", name=f"{DATABASE}.plain")).to_contain_text(f"{DATABASE}.plain_again")
    page.get_by_role("button", name="Start the restore").click()
    expect(page.get_by_role("heading", name=f"Restore of {backup}")).to_be_visible()
    # The page goes on by itself.
    expect(page.get_by_text("succeeded", exact=True)).to_be_visible(timeout=RESTORE_SECONDS * 1000)
    assert rows_of(stack.milvus_uri, DATABASE, "plain_again", SAMPLE.key) == rows_of(
        stack.milvus_uri, DATABASE, SAMPLE.name, SAMPLE.key
    )


def test_a_backup_is_held_so_that_it_cannot_be_deleted_and_let_go(page: Page, backup: str) -> None:
    page.goto(f"/backups/{backup}")
    page.get_by_label("Reason").fill("audit")
    page.get_by_role("button", name="Hold it").click()
    expect(page.get_by_text("audit")).to_be_visible()
    page.get_by_label(f"Type {backup} to delete it").fill(backup)
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="BackupHeldError")).to_be_visible()
    page.go_back()
    page.get_by_role("button", name="Lift the hold").click()
    expect(page.get_by_role("button", name="Hold it")).to_be_visible()


def test_a_collection_of_a_backup_is_looked_at(page: Page, backup: str) -> None:
    page.goto(f"/backups/{backup}")
    page.get_by_role("link", name=f"{DATABASE}.plain").click()
    expect(page.get_by_role("heading", name="Indexes")).to_be_visible()
    expect(page.get_by_role("rowheader", name=SAMPLE.key, exact=True).first).to_be_visible()
    expect(page.get_by_role("rowheader", name="_default", exact=True)).to_be_visible()


def test_a_schedule_is_made_switched_off_and_deleted(page: Page) -> None:
    page.goto("/schedules")
    page.get_by_role("link", name="New schedule…").click()
    page.get_by_label("Name").fill("in_the_browser")
    page.get_by_label("When").fill("rate(1 fortnight)")
    page.get_by_label("One a day, of days").fill("7")
    page.get_by_role("button", name="Make it").click()
    expect(page.get_by_role("alert")).to_contain_text("is neither rate(<number> <unit>) nor cron(<six fields>)")
    page.get_by_label("When").fill("cron(0 3 * * ? *)")
    page.get_by_role("button", name="Show what it would keep").click()
    expect(page.get_by_text("7 backups would be there")).to_be_visible()
    page.get_by_role("button", name="Make it").click()
    expect(page.get_by_role("heading", name="Schedule in_the_browser")).to_be_visible()
    expect(page.get_by_role("heading", name="Next")).to_be_visible()
    page.get_by_role("button", name="Switch it off").click()
    expect(page.get_by_role("button", name="Switch it on")).to_be_visible()
    expect(page.get_by_text("keeps daily 7")).to_be_visible()
    page.get_by_label("Type in_the_browser to delete it").fill("in_the_browser")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="Schedules")).to_be_visible()
    expect(page.get_by_text("in_the_browser")).to_have_count(0)


def test_what_a_prune_would_delete_is_shown_before_the_button(page: Page, backup: str) -> None:
    page.goto("/prune")
    page.get_by_role("button", name="Start a dry run").click()
    expect(page.get_by_role("rowheader", name=backup)).to_be_visible(timeout=60_000)
    expect(page.get_by_text("would be deleted")).to_be_visible()


def test_a_backup_is_exported(page: Page, backup: str) -> None:
    page.goto(f"/backups/{backup}")
    page.get_by_text("Export it").click()
    page.get_by_label("New name").fill("seen_exported")
    page.get_by_role("button", name="Export").click()
    expect(page.get_by_role("heading", name=f"Export of {backup}")).to_be_visible()
    expect(page.get_by_text("succeeded", exact=True)).to_be_visible(timeout=60_000)


def test_the_api_is_described_as_it_describes_itself(page: Page) -> None:
    page.goto("/")
    page.get_by_role("link", name="its API").click()
    page.locator("#put_schedule summary").click()
    expect(page.get_by_text("Europe/Berlin").first).to_be_visible()


def test_what_a_deployment_needs_is_checked(page: Page) -> None:
    page.goto("/")
    page.get_by_role("link", name="Check").click()
    expect(page.get_by_text("milvus connection")).to_be_visible(timeout=60_000)


def test_it_is_used_by_the_keyboard_and_fits_a_telephone(page: Page, backup: str) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    for path in ("/", "/backups", f"/backups/{backup}", "/runs", "/schedules"):
        page.goto(path)
        assert page.evaluate(_TOO_WIDE) == []
    page.goto("/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


def test_a_backup_is_deleted_once_its_name_is_typed(page: Page, backup: str) -> None:
    page.goto(f"/backups/{backup}")
    page.get_by_label(f"Type {backup} to delete it").fill("something else")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("alert")).to_contain_text("nothing is deleted")
    page.go_back()
    page.get_by_label(f"Type {backup} to delete it").fill(backup)
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("succeeded", exact=True)).to_be_visible(timeout=60_000)
