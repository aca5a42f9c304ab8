"""Nobody sees the console but the browser that opened its address, and no other page acts through it."""

import pytest

from tests.support.fake_api import FakeApi, backup
from tests.unit.console.conftest import Browser


def test_the_address_lets_one_browser_in_once(browser: Browser) -> None:
    entered = browser.enter()
    assert (entered.status, entered.headers["location"]) == (303, "/")
    assert "HttpOnly" in entered.headers["set-cookie"]
    assert "SameSite=strict" in entered.headers["set-cookie"]
    assert browser.get("/").status == 200

    other = Browser(browser.address)
    assert (other.enter().status, other.cookie) == (403, "")
    assert other.get("/").status == 403
    assert browser.get("/").status == 200


def test_whoever_is_in_may_open_the_address_again(browser: Browser) -> None:
    browser.enter()
    again = browser.get(browser.address.partition(browser.host)[2])
    assert (again.status, again.headers["location"]) == (303, "/")


def test_a_cookie_of_anything_is_refused(browser: Browser) -> None:
    browser.headers = {"Cookie": f"milvus-vault-{browser.host.partition(':')[2]}=\u00e9"}
    assert browser.get("/").status == 403


def test_a_wrong_token_does_not_use_up_the_right_one(browser: Browser) -> None:
    assert browser.get("/?token=guess").status == 403
    assert browser.get("/?token=%C3%A9").status == 403
    assert browser.enter().status == 303


@pytest.mark.parametrize("path", ["/", "/backups", "/runs", "/static/console.css", "/nowhere"])
def test_nothing_is_shown_without_the_cookie(browser: Browser, path: str) -> None:
    assert browser.get(path).status == 403


@pytest.mark.parametrize("host", ["evil.example.org", "localhost:{port}", "127.0.0.1", "127.0.0.1:1"])
def test_a_name_that_another_site_has_pointed_here_is_refused(browser: Browser, host: str) -> None:
    browser.enter()
    browser.headers = {"Host": host.format(port=browser.host.partition(":")[2])}
    refused = browser.get("/")
    assert (refused.status, "not the address" in refused.text) == (403, True)


@pytest.mark.parametrize("origin", ["null", "https://evil.example.org", "http://127.0.0.1:1", ""])
def test_another_page_changes_nothing(api: FakeApi, browser: Browser, origin: str) -> None:
    api.backups["first"] = backup("first")
    browser.enter()
    browser.headers = {"Origin": origin}
    assert browser.post("/backups/first/delete", typed="first").status == 403
    assert not [asked for asked in api.asked if asked.method != "GET"]


def test_a_browser_may_load_and_run_nothing_but_our_own_files(browser: Browser) -> None:
    entered = browser.enter()
    for answer in (entered, browser.get("/"), browser.get("/static/htmx-2.0.11.min.js"), browser.get("/nowhere")):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["cache-control"] == "no-store"
