"""The console in this process, on a fake API, at a port of its own."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from urllib.parse import urlencode, urlsplit

import boto3
import pytest

from milvus_vault.client import VaultClient
from milvus_vault.console import serving
from tests.support.fake_api import FakeApi


@dataclass
class Answer:
    """What the console answered."""

    status: int
    headers: dict[str, str]
    text: str


@dataclass
class Browser:
    """Asks as a browser does: with the cookie that it was given, and the origin of what it sends."""

    address: str
    """With the token."""
    cookie: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    """Instead of what a browser sends."""

    @property
    def host(self) -> str:
        return urlsplit(self.address).netloc

    def get(self, path: str) -> Answer:
        return self._ask("GET", path)

    def post(self, path: str, **form: str) -> Answer:
        return self._ask("POST", path, urlencode(form), {"Origin": f"http://{self.host}"})

    def enter(self) -> Answer:
        """Open the address."""
        answer = self.get(self.address.partition(self.host)[2])
        self.cookie = answer.headers.get("set-cookie", "").partition(";")[0]
        return answer

    def _ask(self, method: str, path: str, body: str = "", headers: dict[str, str] | None = None) -> Answer:
        connection = HTTPConnection(self.host, timeout=30)
        sent = {"Cookie": self.cookie, "Content-Type": "application/x-www-form-urlencoded", **(headers or {})}
        connection.request(method, path, body or None, {**sent, **self.headers})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, text)


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi() as running:
        yield running


@pytest.fixture
def browser(api: FakeApi) -> Iterator[Browser]:
    """Serve the console, and return a browser that has the address and was not there yet."""
    session = boto3.Session(aws_access_key_id="a", aws_secret_access_key="b", region_name="eu-west-1")
    ready, addresses = threading.Event(), list[str]()

    def tell(address: str) -> None:
        addresses.append(address)
        ready.set()

    console = serving.ConsoleServer(VaultClient(api.url, session))
    thread = threading.Thread(target=console.serve, args=(0, tell))
    thread.start()
    assert ready.wait(30)
    yield Browser(addresses[0])
    console.stop()
    thread.join(30)
    assert not thread.is_alive()
