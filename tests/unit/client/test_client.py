"""The client asks as the API wants to be asked, repeats only what may be repeated, and names every error."""

import json
import socket
import ssl
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from urllib.parse import urlsplit

import boto3
import pytest
from urllib3 import ProxyManager

from milvus_vault.client import VaultClient, transport, waiting
from milvus_vault.errors import (
    ApiAccessDeniedError,
    ApiUnavailableError,
    BackupHeldError,
    BackupNotFoundError,
    InvalidRequestError,
    VaultError,
    WaitTimeoutError,
)
from milvus_vault.model.requests import BackupRequest
from milvus_vault.model.resources import FailedCollection, Run
from tests.support.certificates import Authority
from tests.support.fake_api import Answer, FakeApi, backup, problem, stages


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeApi]:
    """Run a fake API, and let the client repeat at once."""
    monkeypatch.setattr("milvus_vault.client.transport.time.sleep", lambda _: None)
    with FakeApi() as running:
        yield running


@pytest.fixture
def client(api: FakeApi) -> VaultClient:
    """Return a client of the fake API."""
    return VaultClient(api.url, session())


def session() -> boto3.Session:
    """Return a session with credentials of its own."""
    return boto3.Session(aws_access_key_id="AKIAEXAMPLE", aws_secret_access_key="secret", region_name="eu-west-1")


def test_requests_are_signed_for_the_api_in_the_sessions_region(api: FakeApi, client: VaultClient) -> None:
    list(client.list_backups())

    signed = api.asked[0].headers["Authorization"]
    assert signed.startswith("AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/")
    assert "/eu-west-1/execute-api/aws4_request" in signed


def test_lists_go_on_over_pages(api: FakeApi, client: VaultClient) -> None:
    api.backups = {f"b{number}": backup(f"b{number}", number) for number in range(7)}

    found = [item.name for item in client.list_backups(page_size=3)]

    assert found == list(api.backups)
    assert [asked.query.get("token") for asked in api.asked] == [None, "3", "6"]


def test_a_backup_in_parts_is_returned_whole(api: FakeApi, client: VaultClient) -> None:
    whole = backup("b", failures=[FailedCollection(database="d", name="f", error="e", message="m")], warnings=["w"])
    empty: dict[str, object] = {"failures": (), "warnings": (), "collections": ()}
    parts = [
        empty | {"failures": whole.failures, "next_token": "1"},
        empty | {"warnings": whole.warnings, "next_token": "2", "unique": None},
        empty | {"collections": whole.collections},
    ]
    api.answers = [Answer(200, whole.model_copy(update=part).model_dump_json().encode()) for part in parts]

    assert client.get_backup("b", unique=True) == whole
    asked = {"unique": "true"}
    assert [each.query for each in api.asked] == [asked, asked | {"token": "1"}, asked | {"token": "2"}]


def test_a_page_is_asked_for_only_when_it_is_needed(api: FakeApi, client: VaultClient) -> None:
    api.backups = {f"b{number}": backup(f"b{number}", number) for number in range(7)}

    assert next(client.list_backups(page_size=3)).name == "b0"
    assert len(api.asked) == 1


def test_a_start_that_is_repeated_after_a_lost_answer_starts_once(api: FakeApi, client: VaultClient) -> None:
    api.answers = [Answer(0, closes=True), Answer(504, b"{}"), Answer(503, b"{}")]

    started = client.create_backup(BackupRequest(backup_name="once"))

    assert started.backup_name == "once"
    keys = {asked.headers["Idempotency-Key"] for asked in api.asked}
    assert len(api.asked) == 4
    assert len(keys) == 1
    assert len(api.starts) == 1


def test_two_starts_have_keys_of_their_own(api: FakeApi, client: VaultClient) -> None:
    assert client.create_backup().id != client.create_backup().id
    assert len(api.starts) == 2


def test_only_fields_that_were_given_are_sent(api: FakeApi, client: VaultClient) -> None:
    client.create_backup(BackupRequest(backup_name="lean", meta_only=True))

    assert api.asked[0].body == {"backup_name": "lean", "meta_only": True}


def test_stopping_a_run_is_not_repeated_after_a_lost_answer(api: FakeApi, client: VaultClient) -> None:
    api.answers = [Answer(0, closes=True)]

    with pytest.raises(ApiUnavailableError):
        client.stop_run("backup-1")

    assert len(api.asked) == 1


def test_stopping_a_run_is_repeated_when_the_api_was_busy(api: FakeApi, client: VaultClient) -> None:
    api.runs = {"backup-1": stages("backup-1")}
    api.answers = [Answer(429, b"{}")]

    client.stop_run("backup-1")

    assert len(api.asked) == 2


def test_an_api_that_stays_busy_is_an_error_after_some_attempts(api: FakeApi, client: VaultClient) -> None:
    api.answers = [Answer(503, b'{"message": "Service Unavailable"}')] * 9

    with pytest.raises(ApiUnavailableError, match="status 503: Service Unavailable"):
        client.get_backup("any")

    assert len(api.asked) == transport.ATTEMPTS


def test_each_repetition_is_told_with_its_reason(api: FakeApi) -> None:
    told: list[str] = []
    api.answers = [
        problem("MilvusUnavailableError", "Milvus does not answer", 503), Answer(504, b"{}"), Answer(0, closes=True),
    ]  # fmt: skip

    list(VaultClient(api.url, session(), on_repetition=told.append).list_collections())

    assert [told[0], *(part in one for part, one in zip(("504", "cannot be reached"), told[1:], strict=True))] == [
        "Milvus does not answer", True, True,
    ]  # fmt: skip


def test_an_api_that_cannot_be_reached_is_told_once_until_it_answers(api: FakeApi) -> None:
    told: list[str] = []
    vault = VaultClient(api.url, session(), on_repetition=told.append)
    api.answers = [Answer(0, closes=True)] * (2 * transport.ATTEMPTS)

    for _ in range(2):
        with pytest.raises(ApiUnavailableError, match="cannot be reached"):
            list(vault.list_collections())
    assert len(told) == 1

    list(vault.list_collections())
    api.answers = [Answer(0, closes=True)]
    list(vault.list_collections())
    assert told == [told[0]] * 2


@pytest.mark.parametrize(
    ("error", "status"), [("MilvusAuthenticationError", 502), ("AnswerTimeoutError", 422), ("InternalFault", 500)]
)
def test_what_the_api_would_answer_again_is_asked_once(
    api: FakeApi, client: VaultClient, error: str, status: int
) -> None:
    api.answers = [problem(error, "as before", status)] * 9

    with pytest.raises(VaultError, match="as before"):
        list(client.list_collections())

    assert len(api.asked) == 1


@pytest.mark.parametrize(
    ("said", "pause"), [("7", 7.0), ("30", 30.0), ("0", 0.5), ("Sun, 29 Nov 2026 23:00:00 GMT", 0.5)]
)
def test_who_is_told_when_to_come_again_waits_for_so_long(
    api: FakeApi, client: VaultClient, monkeypatch: pytest.MonkeyPatch, said: str, pause: float
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("milvus_vault.client.transport.time.sleep", slept.append)
    monkeypatch.setattr("milvus_vault.client.transport.random.uniform", lambda _, most: most)
    api.answers = [Answer(429, b"{}", headers={"Retry-After": said})]

    list(client.list_backups())

    assert slept == [pause]


def test_who_is_told_to_come_again_much_later_is_told_so_at_once(api: FakeApi, client: VaultClient) -> None:
    api.answers = [Answer(503, b'{"message": "closed"}', headers={"Retry-After": "31"})]

    with pytest.raises(ApiUnavailableError, match="status 503: closed"):
        list(client.list_backups())

    assert len(api.asked) == 1


def test_a_problem_is_the_error_that_it_names(api: FakeApi, client: VaultClient) -> None:
    api.answers = [problem("BackupHeldError", "backup 'b' has a hold", 409, "Lift it.")]

    with pytest.raises(BackupHeldError) as raised:
        client.delete_backup("b")

    assert (raised.value.message, raised.value.hint) == ("backup 'b' has a hold", "Lift it.")


def test_a_problem_with_an_unknown_name_is_told_all_the_same(api: FakeApi, client: VaultClient) -> None:
    api.answers = [problem("MoonFullError", "the moon is full", 400)]

    with pytest.raises(ApiUnavailableError, match="MoonFullError: the moon is full"):
        client.get_backup("b")


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_of_the_gateway_is_access_denied(api: FakeApi, client: VaultClient, status: int) -> None:
    api.answers = [Answer(status, b'{"message": "Missing Authentication Token"}')]

    with pytest.raises(ApiAccessDeniedError, match="Missing Authentication Token"):
        client.get_backup("b")

    assert len(api.asked) == 1


def test_missing_credentials_are_access_denied(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = boto3.Session(region_name="eu-west-1")
    monkeypatch.setattr(nobody, "get_credentials", lambda: None)

    with pytest.raises(ApiAccessDeniedError, match="there are none"):
        VaultClient(api.url, nobody).get_backup("b")

    assert not api.asked


def test_an_address_where_nothing_listens_is_named(api: FakeApi) -> None:
    url = api.url
    api.__exit__()
    try:
        with pytest.raises(ApiUnavailableError, match=url):
            VaultClient(url, session()).get_backup("b")
    finally:
        api.__enter__()


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("http_proxy", "by the proxy that the environment names: Failed to establish a new connection"),
        ("no_proxy", r"^the API at http://vault.invalid cannot be reached: Failed to resolve"),
    ],
)
def test_a_proxy_that_does_not_answer_is_told_of(monkeypatch: pytest.MonkeyPatch, variable: str, said: str) -> None:
    monkeypatch.setattr("milvus_vault.client.transport.time.sleep", lambda _: None)
    monkeypatch.setenv("http_proxy", "127.0.0.1:1")
    if variable == "no_proxy":
        monkeypatch.setenv("no_proxy", "vault.invalid")
    with pytest.raises(ApiUnavailableError, match=said):
        VaultClient("http://vault.invalid", session()).get_backup("b")


@pytest.mark.parametrize("near", ["2001:db8::1", "vault.invalid", "vault.invalid:8443"])
def test_a_host_that_the_environment_names_without_a_proxy_is_asked_itself(
    monkeypatch: pytest.MonkeyPatch, near: str
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", near)
    host = "[2001:db8::1]" if near == "2001:db8::1" else "somebody@vault.invalid" if near == "vault.invalid" else near
    assert not isinstance(transport._http(f"http://{host}/live"), ProxyManager)
    assert isinstance(transport._http("http://another.invalid/live"), ProxyManager)


def test_a_proxy_of_the_environment_is_used_with_its_login(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    address = urlsplit(api.url)
    monkeypatch.setenv("http_proxy", f"alice:p%40ss@{address.netloc}")
    api.backups = {"b": backup("b")}

    assert VaultClient(f"http://vault.invalid{address.path}", session()).get_backup("b").name == "b"

    headers = {name.lower(): value for name, value in api.asked[0].headers.items()}
    assert headers["proxy-authorization"] == "Basic " + b64encode(b"alice:p@ss").decode()
    assert headers["host"] == "vault.invalid"


def test_a_proxy_that_is_none_is_told_of_without_its_login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("milvus_vault.client.transport.time.sleep", lambda _: None)
    monkeypatch.setenv("http_proxy", "http://alice:p4ss@127.0.0.1:99999")
    with pytest.raises(ApiUnavailableError, match="99999") as caught:
        VaultClient("http://vault.invalid", session()).get_backup("b")
    assert "p4ss" not in caught.value.message


def test_what_no_header_may_have_is_refused_and_not_shown(api: FakeApi) -> None:
    stale = boto3.Session(
        aws_access_key_id="AKIAEXAMPLE",
        aws_secret_access_key="s",
        aws_session_token="t0ken\r\n",
        region_name="eu-west-1",
    )
    with pytest.raises(InvalidRequestError, match="no header may have") as caught:
        VaultClient(api.url, stale).get_backup("b")
    assert "t0ken" not in caught.value.message
    assert api.asked == []


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_the_authorities_are_those_that_the_environment_names(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    monkeypatch.setenv(variable, "/nowhere/ca.pem")
    with pytest.raises(ApiUnavailableError, match="No such file"):
        VaultClient(api.url.replace("http:", "https:"), session()).get_backup("b")


def test_something_else_at_the_address_is_told(api: FakeApi, client: VaultClient) -> None:
    api.answers = [Answer(200, b"<html>It works!</html>")]

    with pytest.raises(ApiUnavailableError, match="does not answer as Milvus Vault's API does"):
        client.get_backup("b")


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, b"<html>Sign in to the Wi-Fi</html>"),
        Answer(301, headers={"Location": "https://elsewhere.invalid/live"}),
        Answer(302, b"<html>Sign in first</html>", headers={"Location": "https://login.invalid/"}),
    ],
)
@pytest.mark.parametrize(
    "change",
    [
        lambda client: client.lift_hold("b"),
        lambda client: client.stop_run("backup-1"),
        lambda client: client.delete_schedule("nightly"),
    ],
)
def test_what_the_api_did_not_do_is_not_taken_for_done(
    api: FakeApi, client: VaultClient, change: Callable[[VaultClient], None], answer: Answer
) -> None:
    api.answers = [answer]

    with pytest.raises(ApiUnavailableError, match=f"{answer.status}|does not answer as Milvus Vault's API does"):
        change(client)

    assert len(api.asked) == 1


def test_a_report_that_lies_elsewhere_is_not_taken_for_one(api: FakeApi, client: VaultClient) -> None:
    api.answers = [Answer(307, b"<Error><Code>TemporaryRedirect</Code></Error>", headers={"Location": api.url})]

    with pytest.raises(ApiUnavailableError, match="status 307"):
        client.download(f"{api.url}/report.html")


def test_stopping_a_run_is_not_repeated_after_an_answer_that_broke_under_tls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is wrong with TLS may be the handshake, before anything was sent, and the answer as well."""
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.make("server"))
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.certificate))
    monkeypatch.setattr("milvus_vault.client.transport.time.sleep", lambda _: None)
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    with listening.accept()[0] as connection:
                        wrapped = context.wrap_socket(connection, server_side=True)
                        asked.append(wrapped.recv(65536).partition(b"\r\n")[0])
                        with socket.socket(fileno=wrapped.detach()) as bare:
                            bare.sendall(b"HTTP/1.1 502 of a proxy that knows no TLS\r\n\r\n")

        thread = Thread(target=serve)
        thread.start()
        try:
            with pytest.raises(ApiUnavailableError, match="SSL"):
                VaultClient(f"https://localhost:{listening.getsockname()[1]}/live", session()).stop_run("backup-1")
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()
    assert asked == [b"DELETE /live/runs/backup-1 HTTP/1.1"]


def test_fields_of_a_newer_api_are_ignored(api: FakeApi, client: VaultClient) -> None:
    document = backup("b").model_dump(mode="json") | {"colour": "blue"}
    document["collections"][0]["shade"] = "dark"
    api.answers = [Answer(200, json.dumps(document).encode())]

    assert client.get_backup("b").collections[0].name == "articles"


def test_a_missing_backup_is_a_named_error(client: VaultClient) -> None:
    with pytest.raises(BackupNotFoundError):
        client.get_backup("nothing")


def test_holds_are_placed_and_lifted(api: FakeApi, client: VaultClient) -> None:
    api.backups = {"b": backup("b")}

    assert client.place_hold("b", reason="audit").reason == "audit"
    with pytest.raises(BackupHeldError):
        client.delete_backup("b")
    client.lift_hold("b")
    assert client.delete_backup("b").kind == "prune"


class TestWaiting:
    def test_the_last_answer_is_returned_and_each_is_told(self, api: FakeApi, client: VaultClient) -> None:
        api.runs = {"backup-1": stages("backup-1")}
        told: list[Run] = []

        ended = client.wait_for_run("backup-1", on_progress=told.append, poll_seconds=0.01)

        assert ended.status == "succeeded"
        assert [run.phase for run in told] == ["preparing", "copying", ""]
        assert told[-1] == ended

    def test_a_run_that_takes_longer_than_the_timeout_is_an_error_that_says_that_it_goes_on(
        self, api: FakeApi, client: VaultClient
    ) -> None:
        api.runs = {"backup-1": stages("backup-1")[:1]}

        with pytest.raises(WaitTimeoutError, match=r"still going on after 0\.05 s, and goes on"):
            client.wait_for_run("backup-1", timeout_seconds=0.05, poll_seconds=0.02)

    def test_it_is_asked_once_more_when_the_time_is_over_however_long_the_pause(
        self, monkeypatch: pytest.MonkeyPatch, api: FakeApi, client: VaultClient
    ) -> None:
        first, *_, last = stages("backup-1")
        api.runs = {"backup-1": [first, last]}
        waits: list[float] = []
        monkeypatch.setattr(waiting, "time", SimpleNamespace(monotonic=lambda: sum(waits), sleep=waits.append))

        assert client.wait_for_run("backup-1", timeout_seconds=50, poll_seconds=60).status == "succeeded"
        assert waits == [50]
