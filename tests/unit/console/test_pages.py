"""Each page shows what the API says, each action asks the API for one thing, and whatever goes wrong is named."""

import html
import json
import re
from datetime import UTC, datetime

import pytest

from milvus_vault.api.openapi import openapi_document
from milvus_vault.api.routes import ROUTES
from milvus_vault.model.locks import ObjectLock
from milvus_vault.model.resources import (
    BackedUpPartition,
    BackupDiff,
    CheckItem,
    CollectionDetails,
    CollectionDiff,
    ComparedBackup,
    ComparedCollection,
    HoldState,
    ObjectCount,
    ObjectKinds,
    PhaseProgress,
    Progress,
    Schedule,
    Setting,
    UnitCount,
)
from milvus_vault.model.retention import Retention
from tests.support.fake_api import BEGAN, FakeApi, backup, problem, run, stages
from tests.support.fake_api import Answer as ApiAnswer
from tests.unit.console.conftest import Answer, Browser

SCRIPT = "<script>alert(1)</script>"


@pytest.fixture(autouse=True)
def entered(browser: Browser) -> None:
    browser.enter()


def sent(api: FakeApi, method: str) -> list[tuple[str, object]]:
    """Return paths and bodies of what the API was asked by a method."""
    return [(asked.path.removeprefix("/live"), asked.body) for asked in api.asked if asked.method == method]


def test_the_overview_shows_what_is_good_what_runs_and_what_failed(api: FakeApi, browser: Browser) -> None:
    for number in range(3):
        api.backups[f"nightly_{number}"] = backup(f"nightly_{number}", number, schedule="nightly")
    api.runs["backup-now"] = stages("backup-now")[1:2]
    api.runs["restore-bad"] = [run("restore-bad", "failed", error="MilvusUnavailableError")]
    tried = "vault_acceptance_0a1b2c3d_no"
    api.runs["tried"] = [run("backup-tried", "failed", backup_name=tried, error="InvalidRequestError")]
    api.schedules["nightly"] = Schedule(name="nightly", expression="rate(1 day)", last_success_at=datetime.now(UTC))
    page = browser.get("/").text
    assert "nightly_0" in page
    assert "backup-now" in page
    assert 'value="47"' in page
    assert "MilvusUnavailableError" in page
    assert page.count("<g><title>") == 3
    # An acceptance's runs that are to fail are no news; the list of runs has them.
    assert "backup-tried" not in page
    assert "backup-tried" in browser.get("/runs").text

    part = browser.get("/?part=runs").text
    assert part.startswith('<section id="running"')


def test_an_overview_of_nothing_says_so(browser: Browser) -> None:
    page = browser.get("/").text
    assert "<dd>none</dd>" in page
    assert "Nothing." in page


def test_backups_are_searched_and_shown_a_page_at_a_time(api: FakeApi, browser: Browser) -> None:
    for number in range(230):
        api.backups[f"b{number:03}"] = backup(f"b{number:03}", number)
    api.backups["odd"] = backup("odd", 300, status="damaged", damage="its marker is lost")
    page = browser.get("/backups").text
    assert page.count('<th scope="row">') == 100
    assert "b099" in page
    assert "b100" not in page
    more = page.partition('href="/backups?')[2].partition('"')[0]
    assert "b100" in browser.get(f"/backups?{more}").text

    api.asked.clear()
    found = browser.get("/backups?q=ODD").text
    assert found.count('<th scope="row">') == 1
    assert "its marker is lost" in found
    assert len(api.asked) == 3
    assert "No backup is found" in browser.get("/backups?status=partial").text


def test_a_backup_is_shown_with_all_that_is_known_of_it(api: FakeApi, browser: Browser) -> None:
    api.backups["older"] = backup("older", 5)
    api.backups["first"] = backup(
        "first", hold=HoldState(since=datetime.now(UTC), reason="audit"), warnings=("something is odd",),
        lock=ObjectLock(mode="governance", until=datetime(2030, 1, 1, tzinfo=UTC)),
    )  # fmt: skip
    page = browser.get("/backups/first").text
    for text in ("default.articles", "50,000", "49,857", "something is odd", "audit", "/diff?a=older&amp;b=first"):
        assert text in page
    assert "Lift the hold" in page
    assert 'name="typed"' in page


def test_the_api_is_described_as_it_describes_itself(api: FakeApi, browser: Browser) -> None:
    api.document = openapi_document(ROUTES, "https://api.example.org/v1")
    page = browser.get("/api").text
    assert "https://api.example.org/v1" in page
    assert "<code>/backups/{name}/diff/{other}</code>" in page
    assert "IANA time zone" in page
    assert "before_upgrade" in page


def test_text_from_elsewhere_is_text(api: FakeApi, browser: Browser) -> None:
    api.backups[SCRIPT] = backup(SCRIPT, warnings=(SCRIPT,))
    api.runs["backup-x"] = [run("backup-x", "failed", error="X", message=SCRIPT, hint=SCRIPT)]
    for path in ("/", "/backups", f"/backups?q={SCRIPT}", "/runs/backup-x"):
        answer = browser.get(path.replace("<", "%3C").replace(">", "%3E"))
        assert answer.status == 200
        assert SCRIPT not in answer.text
    refused = browser.get("/runs?kind=%22%3E%3Cb%3E")
    assert (refused.status, '"><b>' in refused.text) == (409, False)


@pytest.mark.parametrize("path", ["/", "/new-schedule"])
def test_what_the_first_incremental_backup_copies_is_told_beside_the_choice(browser: Browser, path: str) -> None:
    page = browser.get(path).text
    assert page.count("copies only what no other incremental backup has: the first, everything.") == 1
    assert '<select id="f-mode" name="mode" aria-describedby="h-mode">' in page


def test_a_backup_is_created(api: FakeApi, browser: Browser) -> None:
    started = browser.post("/backups", name="mine", mode="incremental", collections="shop.*, default.articles")
    assert started.status == 303
    assert started.headers["location"].startswith("/runs/backup-")
    asked = {"backup_name": "mine", "mode": "incremental", "collections": ["shop.*", "default.articles"]}
    assert sent(api, "POST") == [("/backups", asked)]
    browser.post("/backups", name="", mode="full", collections="")
    assert sent(api, "POST")[1] == ("/backups", {"mode": "full"})


def test_a_restore_is_started_with_what_was_chosen(api: FakeApi, browser: Browser) -> None:
    api.backups["first"] = backup("first")
    assert "<p>1 collection with " in browser.get("/backups/first/restore").text
    assert "Start the restore" not in browser.get("/backups/first/restore").text
    asked = {"suffix": "_r", "collections": "", "allow_version": "yes"}
    plan = browser.post("/backups/first/restore/plan", **asked)
    assert plan.status == 200
    for told in ("default.articles_restored", "50,000", "6 import jobs", "may lack rows", "Logs of 1 collection"):
        assert told in plan.text
    assert "Start the restore" in plan.text
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', plan.text))
    assert browser.post("/backups/first/restore", **hidden).status == 303
    request = {"backup_name": "first", "suffix": "_r", "allow_version": True}
    assert sent(api, "POST") == [("/restores/plan", request), ("/restores", request)]
    back = re.findall(r'href="(/backups/first/restore\?[^"]*)"', plan.text)[0]
    assert 'value="_r"' in browser.get(back.replace("&amp;", "&")).text


def test_a_plan_that_is_refused_says_why_and_keeps_what_was_chosen(api: FakeApi, browser: Browser) -> None:
    api.backups["first"] = backup("first")
    api.answers = [problem("CollectionExistsError", "the target has <b> already", 409, "Restore under other names.")]
    refused = browser.post("/backups/first/restore/plan", suffix="_r", drop_existing="yes")
    assert refused.status == 409
    for told in ("CollectionExistsError", "the target has &lt;b&gt; already", "other names", 'value="_r"', "checked"):
        assert told in refused.text
    assert "Start the restore" not in refused.text
    wrong = browser.post("/backups/first/restore/plan", suffix="-r")
    assert (wrong.status, "is no suffix" in wrong.text) == (409, True)


@pytest.mark.parametrize("error", ["AnswerTimeoutError", "RouteNotFoundError", "CollectionExistsError"])
def test_what_can_have_no_plan_can_be_restored_without_one(api: FakeApi, browser: Browser, error: str) -> None:
    api.backups["first"] = backup("first")
    api.answers = [problem(error, "no plan", 409, "Start it.")]
    page = browser.post("/backups/first/restore/plan", suffix="_r").text
    is_offered = 'formaction="/backups/first/restore">Start without a plan' in page
    assert is_offered == (error != "CollectionExistsError")


def test_a_backup_is_verified_held_and_let_go(api: FakeApi, browser: Browser) -> None:
    api.backups["first"] = backup("first")
    assert browser.post("/backups/first/verify", level="deep").headers["location"].startswith("/runs/verify-")
    assert (
        browser.post("/backups/first/hold", reason="audit", until="2030-01-31").headers["location"] == "/backups/first"
    )
    assert sent(api, "PUT") == [("/backups/first/hold", {"reason": "audit", "until": "2030-01-31T00:00:00Z"})]
    assert browser.post("/backups/first/hold", lift="yes").status == 303
    assert sent(api, "DELETE") == [("/backups/first/hold", None)]


def test_a_backup_is_drilled_exported_and_copied(api: FakeApi, browser: Browser) -> None:
    api.backups["first"] = backup("first")
    drilled = browser.post(
        "/backups/first/drill", collections="shop.*", max_bytes="9", row_count="7", allow_version="y"
    )
    assert drilled.headers["location"].startswith("/runs/drill-")
    browser.post("/backups/first/export", export_name="other", format="parquet", collections="shop.*")
    browser.post("/backups/first/copy", bucket="", prefix="")
    browser.post("/backups/first/copy", bucket="archive", prefix="a/b")
    drill = {"backup_name": "first", "max_bytes": 9, "row_count": 7, "collections": ["shop.*"], "allow_version": True}
    export = {"backup_name": "first", "export_name": "other", "format": "parquet", "collections": ["shop.*"]}
    assert sent(api, "POST") == [
        ("/drills", drill),
        ("/exports", export),
        ("/backups/first/copies", {}),
        ("/backups/first/copies", {"to": {"bucket": "archive", "prefix": "a/b"}}),
    ]


@pytest.mark.parametrize(
    ("action", "form", "told"),
    [
        ("export", {"export_name": "a b"}, "“New name”: &#39;a b&#39; is no name"),
        ("drill", {"row_count": "many"}, "“Rows compared of each”: should be a whole number"),
        ("copy", {"bucket": "X"}, "is no name"),
        ("verify", {"level": "odd"}, "“Verify”: "),
    ],
)
def test_what_is_refused_of_a_backup_is_shown_above_its_forms_with_what_they_had(
    api: FakeApi, browser: Browser, action: str, form: dict[str, str], told: str
) -> None:
    api.backups["first"] = backup("first")
    refused = browser.post(f"/backups/first/{action}", **form)
    assert (refused.status, "<h1>first</h1>" in refused.text) == (409, True)
    assert told in refused.text
    if action != "verify":
        assert "<details open>" in refused.text
        assert all(f'name="{name}" value="{value}"' in refused.text for name, value in form.items())
    assert sent(api, "POST") == []


def test_parts_of_a_list_are_parts_of_the_backup_where_it_was_shown_again(api: FakeApi, browser: Browser) -> None:
    one = backup("first").collections[0]
    api.backups["first"] = backup(
        "first", collections=tuple(one.model_copy(update={"name": f"c{n}"}) for n in range(250))
    )
    assert 'href="/backups/first?from=100"' in browser.post("/backups/first/delete", typed="firs").text


def test_a_prune_shows_its_dry_run_before_it_deletes(api: FakeApi, browser: Browser) -> None:
    decisions = [
        {"name": "old", "keep": False, "reason": "deleted: no rule keeps it"},
        {"name": "new", "keep": True, "reason": "kept: among the last 3"},
    ]
    freed = {"object_count": 5, "size_bytes": 2048, "reasons": ["a sweep leaves more"]}
    result = {"decisions": decisions, "decision_count": 2, "freed": freed}
    api.outcomes["prune"] = {"request": {"dry_run": True}, "result": result}
    assert "Start a dry run" in browser.get("/prune").text
    there = browser.post("/prune", do="dry").headers["location"]
    assert sent(api, "POST") == [("/prune", {"dry_run": True})]
    reading = PhaseProgress(name="reading backups", counts=(UnitCount(unit="backup", done=20, total=100),))
    update = {"request": {"dry_run": True}, "progress": Progress(phases=(reading,))}
    dry = there.partition("=")[2]
    api.runs[dry] = [stage.model_copy(update=update) for stage in api.runs[dry]]
    page = browser.get(there).text
    assert "hx-get" in page
    assert "20 of 100 backups" in page
    assert "Delete what no policy keeps" not in page
    browser.get(f"{there}&part=run")
    ended = browser.get(f"{there}&part=run").text
    for text in ("1 of 2 backups", "2.0 KiB in 5 objects", "no rule keeps it", "a sweep leaves more", 'value="delete"'):
        assert text in ended
    assert browser.post("/prune", do="delete").headers["location"].startswith("/runs/prune-")
    assert sent(api, "POST")[1] == ("/prune", {})


def test_another_run_is_not_shown_as_a_dry_run(api: FakeApi, browser: Browser) -> None:
    api.runs["backup-now"] = [run("backup-now")]
    assert browser.get("/prune?run=backup-now").headers["location"] == "/runs/backup-now"


def test_a_collection_is_shown_with_what_it_is(api: FakeApi, browser: Browser) -> None:
    api.backups["first"] = found = backup("first")
    assert 'href="/backups/first/collections/default.articles"' in browser.get("/backups/first").text
    api.details["default.articles"] = CollectionDetails(
        **found.collections[0].model_dump(), collection_id=7, load_state="Loaded", replicas=2,
        resource_groups=("blue",),
        settings=(
            Setting(kind="field", name="vector", value={"data_type": "101", "type_params": "dim=8"}),
            Setting(kind="index", name="by_vector", value={"params": "index_type=HNSW"}),
            Setting(kind="alias", name="latest"),
        ),
        partitions=(BackedUpPartition(name="p1", row_count=3, segment_count=1, is_loaded=True),),
        objects=ObjectKinds(insert_logs=ObjectCount(object_count=600), delta_logs=ObjectCount(object_count=12)),
    )  # fmt: skip
    page = browser.get("/backups/first/collections/default.articles").text
    for text in ("FloatVector", "dim=8", "index_type=HNSW", "latest", "p1", "600 of rows", "12 of deletes", "blue"):
        assert text in page
    missing = browser.get("/backups/first/collections/default.nope")
    assert (missing.status, "CollectionNotFoundError" in missing.text) == (404, True)


def compared(name: str, size_bytes: int, row_count: int) -> ComparedCollection:
    """Return a collection of a comparison."""
    return ComparedCollection(
        database="default", name=name, row_count=row_count, segment_count=1, object_count=1, size_bytes=size_bytes,
        collection_id=1,
    )  # fmt: skip


def test_what_grew_is_one_click_from_the_overview(api: FakeApi, browser: Browser) -> None:
    api.backups |= {name: backup(name, age, schedule="nightly") for age, name in enumerate(("today", "yesterday"))}
    api.backups["other"] = backup("other", 0)
    counts = {"collection_count": 3, "row_count": 1, "object_count": 1, "size_bytes": 1}
    sides = [
        ComparedBackup(name=name, created_at=BEGAN, origin="x", milvus_version="2.5", meta_only=False, **counts)
        for name in ("yesterday", "today")
    ]
    changes = [("restored", 0, 9000), ("small", 10, 20), ("gone", 500, 0), ("large", 10, 4000)]
    collections = tuple(
        CollectionDiff(
            change="changed",
            a=compared(name, before, before) if before else None,
            b=compared(name, after, after) if after else None,
        )
        for name, before, after in changes
    )
    api.diffs.append(
        BackupDiff(
            a=sides[0], b=sides[1], same_source=True, databases_added=(), databases_removed=(), collections=collections,
            differing_count=4, unchanged_count=0, objects=None,
        )
    )  # fmt: skip
    assert 'href="/diff?a=yesterday&amp;b=today"' in browser.get("/").text
    page = browser.get("/diff?a=yesterday&b=today").text
    order = [
        page.index(text) for text in ("default.large", "default.small", "default.gone", "New since", "default.restored")
    ]
    assert order == sorted(order)
    for text in ("+3.9 KiB", "+3,990", "-500 B"):
        assert text in page
    assert "default.large" not in browser.get("/diff?a=yesterday&b=today&q=SMALL").text


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("?a=first", "The second backup is missing."),
        ("?b=first", "The first backup is missing."),
        ("", "is shown"),
        ("?a=first&b=nope", "there is no backup &#39;nope&#39;"),
    ],
)
def test_two_backups_are_chosen_to_compare(api: FakeApi, browser: Browser, query: str, told: str) -> None:
    api.backups |= {name: backup(name, number) for number, name in enumerate(("second", "first"))}
    api.backups["odd"] = backup("odd", status="damaged", damage="its marker is lost")
    answer = browser.get(f"/diff{query}")
    assert (answer.status, told in answer.text) == (404 if "nope" in query else 200, True)
    assert re.findall(r'<option value="(\w+)">', answer.text) == ["second", "first"]
    for name in ("a", "b"):
        given = re.findall(rf"[?&]{name}=(\w+)", query)
        assert f'name="{name}" value="{"".join(given)}" list="recent"' in answer.text
    assert 'href="/diff?b=first"' in browser.get("/backups/first").text
    assert 'href="/diff"' in browser.get("/backups").text


@pytest.mark.parametrize(
    ("older", "compared_with"),
    [
        # By hand, of one collection: with the last one of its kind, not with the schedule's.
        ([("night", "nightly", 4, "complete"), ("all", None, 4, "complete"), ("hand", None, 1, "complete")], "hand"),
        ([("bad", None, 1, "partial"), ("night", "nightly", 4, "complete"), ("all", None, 4, "complete")], "night"),
        ([("bad", None, 1, "partial")], ""),
    ],
)
def test_a_backup_by_hand_is_compared_with_the_last_of_its_kind(
    api: FakeApi, browser: Browser, older: list[tuple[str, str | None, int, str]], compared_with: str
) -> None:
    api.backups["now"] = backup("now")
    for number, (name, schedule, count, status) in enumerate(older, 1):
        api.backups[name] = backup(name, number, schedule=schedule, collection_count=count, status=status)
    found = [compared_with] if compared_with else []
    for path in ("/", "/backups/now"):
        assert re.findall(r'href="/diff\?a=(\w+)&amp;b=now"', browser.get(path).text) == found


def test_a_backup_of_a_schedule_is_compared_with_the_complete_one_before(api: FakeApi, browser: Browser) -> None:
    api.backups["now"] = backup("now", schedule="nightly")
    api.backups["half"] = backup("half", 1, schedule="nightly", status="partial")
    api.backups["hand"] = backup("hand", 2)
    api.backups["good"] = backup("good", 3, schedule="nightly")
    for path in ("/", "/backups/now"):
        assert re.findall(r'href="/diff\?a=(\w+)&amp;b=now"', browser.get(path).text) == ["good"]


def test_many_collections_are_shown_a_page_at_a_time(api: FakeApi, browser: Browser) -> None:
    one = backup("first").collections[0]
    many = tuple(one.model_copy(update={"name": f"c{n:03}", "size_bytes": 1000 - n}) for n in range(250))
    api.backups["first"] = backup("first", collections=many, collection_count=250)
    page = browser.get("/backups/first?q=C").text
    assert (page.count('<th scope="row">'), "c000" in page, "c100" in page) == (100, True, False)
    assert "1 to 100 of 250" in page
    behind = html.unescape(page.partition('">Those behind')[0].rpartition('href="')[2])
    page = browser.get(behind).text
    assert ("c099" in page, "c100" in page, "Those before" in page) == (False, True, True)
    assert browser.get("/backups/first?from=x").text.count('<th scope="row">') == 100
    assert "250 to 250 of 250" in browser.get("/backups/first?from=999").text


def test_a_backup_is_deleted_only_by_its_whole_name(api: FakeApi, browser: Browser) -> None:
    api.backups["first"] = backup("first")
    refused = browser.post("/backups/first/delete", typed="firs")
    assert (refused.status, "nothing is deleted" in refused.text) == (409, True)
    assert 'name="typed" value="firs"' in refused.text
    assert sent(api, "DELETE") == []
    assert browser.post("/backups/first/delete", typed="first").headers["location"].startswith("/runs/")
    assert sent(api, "DELETE") == [("/backups/first", None)]


def test_a_verification_that_failed_says_what_it_looked_at_and_how_far_a_stopped_one_came(
    api: FakeApi, browser: Browser
) -> None:
    result = {
        "level": "deep", "object_count": 1200, "collection_count": 7, "status": "damaged", "read_count": 1200,
        "read_bytes": 2**30, "baseline_count": 0, "problems": ["shop.orders: insert_log/1 is missing"],
    }  # fmt: skip
    counts = (UnitCount(unit="byte", done=2**20, total=2**30), UnitCount(unit="object", done=10, total=1200))
    reading = PhaseProgress(name="reading objects", counts=counts, per_second=1e6)
    api.runs["verify-bad"] = [
        run("verify-bad", "failed", error="BackupDamagedError", message="1 is missing", result=result)
    ]
    api.runs["verify-cut"] = [run("verify-cut", "stopped", progress=Progress(phases=(reading,)))]
    page = browser.get("/runs/verify-bad").text
    assert "deep: 1,200 of 1,200 objects read (1.0 GiB); 1,200 objects of 7 collections looked up: damaged" in page
    assert "shop.orders: insert_log/1 is missing" in page
    page = browser.get("/runs/verify-cut").text
    assert "How far it came" in page
    assert "1.0 MiB of 1.0 GiB, 10 of 1,200 objects, " in page


def test_a_run_is_followed_until_it_has_ended(api: FakeApi, browser: Browser) -> None:
    api.runs["backup-now"] = stages("backup-now", status="failed", error="CopyIncompleteError", message="m", hint="h")
    page = browser.get("/runs/backup-now").text
    assert 'hx-get="/runs/backup-now?part=run"' in page
    assert 'action="/runs/backup-now/stop"' in page
    part = browser.get("/runs/backup-now?part=run").text
    assert "19.1 MiB of 40.1 MiB, 300 of 612 objects, 3.8 MiB/s, 6 s left" in part
    ended = browser.get("/runs/backup-now?part=run").text
    assert "hx-get" not in ended
    assert "What to do:</strong> h" in ended


def test_a_run_is_stopped(api: FakeApi, browser: Browser) -> None:
    api.runs["backup-now"] = [run("backup-now", "running")]
    assert browser.post("/runs/backup-now/stop").headers["location"] == "/runs/backup-now"
    assert sent(api, "DELETE") == [("/runs/backup-now", None)]


def test_runs_and_schedules_are_listed(api: FakeApi, browser: Browser) -> None:
    api.runs["backup-a"] = [run("backup-a", backup_name="first", schedule="nightly")]
    api.runs["restore-b"] = [run("restore-b", "failed", error="TargetExistsError")]
    assert "nightly" in browser.get("/runs").text
    assert "backup-a" not in browser.get("/runs?kind=restore").text
    api.schedules["nightly"] = Schedule(name="nightly", expression="rate(1 day)", retention=Retention(keep_daily=14))
    page = browser.get("/schedules").text
    assert "daily 14" in page
    assert "never" in page


@pytest.mark.parametrize("path", ["/runs", "/runs/export-a"])
def test_an_export_tells_what_it_writes_and_where(api: FakeApi, browser: Browser, path: str) -> None:
    given = {"backup_name": "first", "export_name": "archived", "export_to": "s3://archive/vault"}
    api.runs["export-a"] = [run("export-a", **given)]
    assert "first</a> as archived to s3://archive/vault" in browser.get(path).text


def test_runs_are_filtered_by_the_api(api: FakeApi, browser: Browser) -> None:
    api.runs |= {f"backup-{number}": [run(f"backup-{number}")] for number in range(250)}
    api.asked.clear()
    assert "No run is found" in browser.get("/runs?kind=drill&status=failed").text
    assert len(api.asked) == 1


def test_what_runs_is_shown_however_much_has_run_since(api: FakeApi, browser: Browser) -> None:
    api.runs["restore-long"] = [run("restore-long", "running")]
    api.runs |= {f"backup-{number}": [run(f"backup-{number}")] for number in range(50)}
    for number in range(40):
        api.backups[f"odd{number}"] = backup(f"odd{number}", number, status="partial")
    api.backups["good"] = backup("good", 50)
    page = browser.get("/").text
    assert "restore-long" in page
    assert 'href="/backups/good"' in page
    api.asked.clear()
    part = browser.get("/?part=runs").text
    assert 'hx-trigger="every 3s"' in part
    assert len(api.asked) == 2


def test_where_nothing_runs_the_api_is_asked_seldom(browser: Browser) -> None:
    assert 'hx-trigger="every 30s"' in browser.get("/?part=runs").text


@pytest.mark.parametrize("path", ["/?part=runs", "/runs/backup-now?part=run", "/check?part=report"])
def test_a_part_that_cannot_be_had_says_why_in_its_place(api: FakeApi, browser: Browser, path: str) -> None:
    api.answers.append(problem("MilvusUnavailableError", "gone", 409))
    part = browser.get(path)
    assert (part.status, "MilvusUnavailableError" in part.text, "<html" in part.text) == (409, True, False)


def test_what_was_not_compared_is_told_beside_no_difference(api: FakeApi, browser: Browser) -> None:
    compared = {"name": "a", "created_at": BEGAN, "origin": "x", "milvus_version": "2.5", "meta_only": False}
    counts = dict.fromkeys(("collection_count", "row_count", "object_count", "size_bytes"), 0)
    diff = BackupDiff(
        a=ComparedBackup(**compared, **counts), b=ComparedBackup(**compared, **counts), same_source=None,
        databases_added=(), databases_removed=("old",), collections=(), differing_count=0, unchanged_count=0,
        objects=None, notes=("aliases were not compared",),
    )  # fmt: skip
    api.answers.append(ApiAnswer(200, diff.model_dump_json().encode()))
    page = browser.get("/diff?a=a&b=b").text
    assert "aliases were not compared" in page
    assert "Databases that are gone: old" in page
    assert "Nothing has changed" not in page


def test_a_check_is_asked_for_by_the_page(api: FakeApi, browser: Browser) -> None:
    api.checks.append(CheckItem(name="milvus_connection", verdict="failed", message="gone", error="X", hint="look"))
    assert 'hx-get="/check?part=report"' in browser.get("/check").text
    part = browser.get("/check?part=report").text
    assert "gone" in part
    assert "look" in part


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [("/backups/nope", 404, "BackupNotFoundError"), ("/runs/backup-nope", 404, "RunNotFoundError")],
)
def test_what_is_not_there_is_named(browser: Browser, path: str, status: int, error: str) -> None:
    answer = browser.get(path)
    assert (answer.status, error in answer.text) == (status, True)


def test_what_the_api_refuses_is_shown_with_what_to_do(api: FakeApi, browser: Browser) -> None:
    api.answers.append(problem("BackupExistsError", "it is there already", hint="Choose another name."))
    refused = browser.post("/backups", name="first", mode="full")
    assert refused.status == 409
    for text in ("BackupExistsError", "it is there already", "Choose another name.", 'value="first"', 'full" selected'):
        assert text in refused.text


@pytest.mark.parametrize("form", [{"name": "a b", "mode": "full"}, {"name": "x", "mode": "odd"}])
def test_a_form_that_is_not_right_is_refused_in_words(api: FakeApi, browser: Browser, form: dict[str, str]) -> None:
    refused = browser.post("/backups", **form)
    assert (refused.status, "InvalidRequestError" in refused.text) == (409, True)
    assert f'name="name" type="text" value="{form["name"]}"' in refused.text
    assert "backup_name" not in refused.text
    assert sent(api, "POST") == []


def test_a_date_that_is_none_is_refused(api: FakeApi, browser: Browser) -> None:
    api.backups["first"] = backup("first")
    refused: Answer = browser.post("/backups/first/hold", until="soon")
    assert (refused.status, "soon&#39; is no date" in refused.text) == (409, True)
    assert json.dumps(sent(api, "PUT")) == "[]"


def test_what_a_run_warned_of_is_told_once_it_has_ended(api: FakeApi, browser: Browser) -> None:
    warned = {"warnings": ["Alias shelf stays where it is. Milvus said: alias <exists>"]}
    api.runs["restore-1"] = [run("restore-1", "succeeded", backup_name="first", result=warned)]
    page = browser.get("/runs/restore-1").text
    assert "Alias shelf stays where it is" in page
    assert "Milvus said: alias &lt;exists&gt;" in page
