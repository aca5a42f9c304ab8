"""Every page in a real browser: by keyboard, for a screen reader, on a telephone, in light and dark."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import Page, expect, sync_playwright

from milvus_vault.api.openapi import openapi_document
from milvus_vault.api.routes import ROUTES
from milvus_vault.model.resources import (
    BackedUpPartition,
    BackupDiff,
    CheckItem,
    CollectionDetails,
    CollectionDiff,
    ComparedBackup,
    ComparedCollection,
    ObjectCount,
    ObjectKinds,
    RunCollection,
    Schedule,
    Setting,
)
from milvus_vault.model.retention import Retention
from tests.support.chromium import CHROMIUM, needs_chromium
from tests.support.fake_api import FakeApi, backup, run, stages
from tests.unit.console.conftest import Browser

pytestmark = needs_chromium

LONG = "a_collection_with_a_name_that_is_as_long_as_somebody_who_names_things_by_all_that_is_in_them_has_made_it"
PAGES = {
    "/": "Overview",
    "/backups": "Backups",
    "/backups/today": "today",
    "/backups/today/restore": "Restore today",
    f"/backups/today/collections/default.{LONG}": f"default.{LONG}",
    "/diff?a=yesterday&b=today": "From yesterday to today",
    "/diff?a=yesterday": "Compare two backups",
    "/diff?a=yesterday&b=nope": "Compare two backups",
    "/runs": "Runs",
    "/runs/backup-now": "Backup",
    "/runs/restore-bad": "Restore of today",
    "/schedules": "Schedules",
    "/schedules/nightly": "Schedule nightly",
    "/new-schedule": "New schedule",
    "/new-schedule?kind=drill": "New schedule of drills",
    "/prune": "What no policy keeps",
    "/prune?run=prune-dry": "What no policy keeps",
    "/check": "Check",
    "/api": "API",
    "/backups/nope": "BackupNotFoundError",
}

# What a screen reader or a keyboard would miss, as sentences. A table that scrolls has to be reached by keyboard.
MISSING = """() => {
  const found = [], all = (what) => [...document.querySelectorAll(what)];
  const said = (one) => one.outerHTML.slice(0, 120);
  for (const what of ["h1", "main", "header", "footer"])
    if (all(what).length !== 1) found.push(`there are ${all(what).length} of ${what}`);
  if (document.documentElement.lang !== "en") found.push("no language");
  for (const one of all("input:not([type=hidden]), select"))
    if (!one.labels.length || !one.labels[0].textContent.trim()) found.push("no label: " + said(one));
  for (const one of all("button, a"))
    if (!(one.textContent.trim() || one.getAttribute("aria-label"))) found.push("no name: " + said(one));
  for (const one of all("th")) if (!one.scope) found.push("no scope: " + said(one));
  for (const one of all("svg"))
    if (!one.getAttribute("aria-label") && one.getAttribute("aria-hidden") !== "true")
      found.push("no text: " + said(one));
  for (const one of all("progress, nav, [role=region]"))
    if (!one.getAttribute("aria-label")) found.push("no name: " + said(one));
  for (const one of all(".scroll")) if (one.tabIndex !== 0) found.push("not by keyboard: " + said(one));
  for (const one of all("[aria-describedby], [aria-labelledby]"))
    for (const id of (one.getAttribute("aria-describedby") || one.getAttribute("aria-labelledby")).split(" "))
      if (!document.getElementById(id)) found.push("nothing is " + id);
  const ids = all("[id]").map(one => one.id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) found.push("twice: " + id);
  const levels = all("h1, h2, h3").map(one => Number(one.tagName[1]));
  for (let at = 1; at < levels.length; at++)
    if (levels[at] > levels[at - 1] + 1) found.push("a heading is left out before an h" + levels[at]);
  return found;
}"""

# What reaches out of the window or out of what it is in, and is in nothing that scrolls.
TOO_WIDE = """() => [...document.querySelectorAll("body *")]
    .filter(one => !one.closest(".scroll, .skip, svg"))
    .filter(one => Math.ceil(one.getBoundingClientRect().right - 1) > Math.min(
        innerWidth, one.closest("section, fieldset")?.getBoundingClientRect().right ?? innerWidth))
    .map(one => one.outerHTML.slice(0, 200))"""

# The contrast of each text with what is behind it, where that is less than WCAG's 4.5 (AA).
TOO_PALE = """() => {
  const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = (color) => {
    const [r, g, b] = numbers(color).map(part => part / 255)
      .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if ((numbers(color)[3] ?? 1) > 0.99) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const texts = [...document.querySelectorAll("body *")].filter(
    one => [...one.childNodes].some(part => part.nodeType === 3 && part.textContent.trim()) && one.checkVisibility());
  return [...texts, ...document.querySelectorAll("input, select")].map(one => {
    const [a, b] = [light(getComputedStyle(one).color), light(behind(one))];
    return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), one.outerHTML.slice(0, 120)];
  }).filter(([ratio]) => ratio < 4.5).map(([ratio, text]) => `${ratio.toFixed(1)}: ${text}`);
}"""


@pytest.fixture
def filled(api: FakeApi) -> FakeApi:
    """Let the API have something for each page."""
    now = datetime.now(UTC).replace(microsecond=0)
    one = backup("today").collections[0].model_copy(update={"name": LONG})
    for days, name in enumerate(("today", "yesterday", *(f"older_{n}" for n in range(8)))):
        api.backups[name] = backup(
            name, created_at=now - timedelta(days=days), schedule="nightly", collections=(one,),
            warnings=(f"{LONG} was not flushed",),
        )  # fmt: skip
    api.details[f"default.{LONG}"] = CollectionDetails(
        **one.model_dump(), collection_id=1, load_state="Loaded", replicas=1, resource_groups=(),
        settings=(
            Setting(kind="collection", value={"shards": "2"}),
            Setting(kind="field", name="id", value={"data_type": "5", "is_primary_key": "true"}),
            Setting(kind="alias", name="current"),
        ),
        partitions=(BackedUpPartition(name="_default", row_count=1, segment_count=1, is_loaded=True),),
        objects=ObjectKinds(insert_logs=ObjectCount(), delta_logs=ObjectCount()),
    )  # fmt: skip
    sides = [
        ComparedBackup(**{name: getattr(api.backups[which], name) for name in ComparedBackup.model_fields})
        for which in ("yesterday", "today")
    ]
    compared = ComparedCollection(**one.model_dump(), collection_id=1)
    api.diffs.append(
        BackupDiff(
            a=sides[0], b=sides[1], same_source=True, databases_added=(), databases_removed=(),
            collections=(CollectionDiff(change="changed", a=compared, b=compared),), differing_count=1,
            unchanged_count=0, objects=None,
        )
    )  # fmt: skip
    api.runs["backup-now"] = [stages("backup-now")[1]]
    api.runs["restore-bad"] = [
        run("restore-bad", "failed", backup_name="today", error="MilvusUnavailableError", hint="h")
    ]
    decided = [{"name": "older_1", "keep": False, "reason": "deleted: no rule keeps it"}]
    result = {"decisions": decided, "decision_count": 1, "freed": None}
    api.runs["prune-dry"] = [run("prune-dry", request={"dry_run": True}, result=result)]
    api.schedules["nightly"] = Schedule(
        name="nightly", expression="cron(0 3 * * ? *)", retention=Retention(keep_last=3), next_run_at=now
    )
    api.checks.append(CheckItem(name="milvus_connection", verdict="failed", message="gone", error="X", hint="look"))
    api.document = openapi_document(ROUTES)
    return api


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    with sync_playwright() as playwright:
        # The tests may run as root, whom Chromium gives no sandbox; it opens nothing but the console.
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


@pytest.fixture
def page(chromium: Chromium, browser: Browser, filled: FakeApi) -> Iterator[Page]:
    """Open the address. Whatever the browser complains of fails the test."""
    assert filled.backups
    page = chromium.new_page(base_url=f"http://{browser.host}", reduced_motion="reduce")
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(browser.address)
    yield page
    page.close()
    # A refusal is a page with a status of its own, which Chromium tells as well.
    assert [text for text in complaints if "status of 40" not in text] == []


def opened(page: Page, path: str) -> None:
    """Go to a page, and unfold all that is folded there."""
    page.goto(path)
    if path == "/check":
        expect(page.get_by_text("gone")).to_be_visible()
    page.evaluate("() => document.querySelectorAll('details').forEach(one => { one.open = true; })")


def test_each_page_is_read_aloud_and_fits_a_telephone(page: Page) -> None:
    for path, title in PAGES.items():
        for width in (1200, 360):
            page.set_viewport_size({"width": width, "height": 800})
            opened(page, path)
            expect(page.get_by_role("heading", level=1)).to_have_text(title)
            assert (path, page.evaluate(MISSING)) == (path, [])
            assert (path, width, page.evaluate(TOO_WIDE)) == (path, width, [])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_each_page_can_be_read_in_light_and_dark(page: Page, scheme: str) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    for path in PAGES:
        opened(page, path)
        assert (path, page.evaluate(TOO_PALE)) == (path, [])


def test_a_schedule_is_made_by_the_keyboard_alone(page: Page, filled: FakeApi) -> None:
    page.goto("/schedules")
    page.get_by_role("link", name="New schedule…").focus()
    page.keyboard.press("Enter")
    page.get_by_label("Name").focus()
    for text in ("hourly", "rate(1 hour)", "UTC"):
        page.keyboard.press("Control+A")
        page.keyboard.type(text)
        page.keyboard.press("Tab")
    page.get_by_label("The newest", exact=True).focus()
    page.keyboard.type("24")
    page.get_by_role("button", name="Show what it would keep").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("24 backups would be there")).to_be_visible()
    expect(page.get_by_role("img", name="What stays: 24 of 1,000 backups")).to_be_visible()
    assert "hourly" not in filled.schedules
    page.get_by_role("button", name="Make it").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Schedule hourly")
    assert filled.schedules["hourly"].retention == Retention(keep_last=24)


def test_what_is_wrong_with_a_form_is_led_to(page: Page) -> None:
    page.goto("/schedules/nightly")
    page.get_by_label("None older than").fill("soon")
    page.get_by_role("button", name="Save").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("a number with m (minutes), h, d or w (weeks)")
    alert.get_by_role("link", name="expire after").click()
    expect(page.get_by_label("None older than")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("None older than")).to_have_value("soon")


def test_what_grew_is_found_within_two_clicks(page: Page) -> None:
    page.goto("/")
    page.get_by_role("link", name="What grew since yesterday").click()
    page.get_by_role("link", name=f"default.{LONG}").click()
    expect(page.get_by_role("heading", name="Partitions")).to_be_visible()


def test_any_two_backups_are_compared_by_the_keyboard_alone(page: Page) -> None:
    page.goto("/backups/today")
    page.get_by_role("link", name="Compare with…").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Second backup")).to_have_value("today")
    page.get_by_label("First backup").focus()
    page.keyboard.type("yesterday")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("From yesterday to today")
    expect(page.get_by_label("First backup")).to_have_value("yesterday")


def test_names_of_errors_stay_whole_beside_long_names(page: Page, filled: FakeApi) -> None:
    name = "a_backup_with_thirty_letters__"
    error = "ImportJobsUnsupportedError"
    filled.runs["x"] = [run(f"backup-{name}", "failed", backup_name=name, schedule=name, error=error)]
    page.set_viewport_size({"width": 1200, "height": 800})
    page.goto("/runs")
    cell = page.get_by_text(error)
    assert cell.evaluate("one => Math.round(one.offsetHeight / parseFloat(getComputedStyle(one).lineHeight))") == 1
    assert page.locator(".scroll").evaluate("one => one.scrollWidth <= one.clientWidth")


def test_a_table_that_goes_on_by_itself_lies_on_a_card(page: Page, filled: FakeApi) -> None:
    one = RunCollection(database="default", name="articles", status="done", phase="", objects_done=1, bytes_done=1)
    filled.runs["backup-one"] = [run("backup-one", collections=(one,))]
    page.goto("/runs/backup-one")
    table = page.get_by_role("region", name="Collections")
    assert table.evaluate("one => getComputedStyle(one).backgroundColor") == "rgb(255, 255, 255)"


def test_a_telephone_shows_what_a_collection_becomes(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto("/backups/today/restore")
    page.get_by_role("button", name="Show the plan").click()
    table = page.get_by_role("region", name="Collections of the plan")
    right = table.locator("tbody td").first.evaluate("one => one.getBoundingClientRect().right")
    assert right <= table.evaluate("one => one.getBoundingClientRect().right")
