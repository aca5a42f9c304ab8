"""What servers do to a connection with TLS that the stand-ins for Milvus do not."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from milvus_vault.adapters.endpoints import Endpoint
from milvus_vault.adapters.milvus_access import ClientTls
from milvus_vault.adapters.tls_failures import tls_failure
from milvus_vault.errors import MilvusTlsError, MilvusUnavailableError
from tests.support.certificates import Authority

HOST = "localhost"

type Greet = Callable[[socket.socket], None]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@contextlib.contextmanager
def serving(greet: Greet) -> Iterator[Endpoint]:
    """Yield where each connection is greeted, and then closed."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection, contextlib.suppress(OSError):
                        greet(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield Endpoint.parse(f"https://127.0.0.1:{listening.getsockname()[1]}")
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


def context_of(authority: Authority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.make(HOST))
    return context


def tls_of(authority: Authority) -> ClientTls:
    return ClientTls(authority.pem, server_name=HOST)


def test_a_server_that_closes_each_connection_at_once_may_do_better_later(authority: Authority) -> None:
    context = context_of(authority)

    def close(connection: socket.socket) -> None:
        context.wrap_socket(connection, server_side=True).close()

    with serving(close) as endpoint:
        failure = tls_failure(endpoint, tls_of(authority))
    assert isinstance(failure, MilvusUnavailableError)
    assert "closes each encrypted connection at once" in failure.message
    assert "client certificate" in failure.hint


def test_a_server_with_no_cipher_in_common_is_named(authority: Authority) -> None:
    context = context_of(authority)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    # The certificate's key is one of elliptic curves.
    context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")

    def refuse(connection: socket.socket) -> None:
        context.wrap_socket(connection, server_side=True)

    with serving(refuse) as endpoint:
        failure = tls_failure(endpoint, tls_of(authority))
    assert isinstance(failure, MilvusTlsError)
    assert "does not agree on TLS: SSLV3_ALERT_HANDSHAKE_FAILURE" in failure.message


def test_a_server_that_closes_before_it_says_anything_is_no_matter_of_tls(authority: Authority) -> None:
    with serving(socket.socket.close) as endpoint:
        assert tls_failure(endpoint, tls_of(authority)) is None


def test_a_server_that_waits_for_what_is_asked_is_as_it_should_be(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("milvus_vault.adapters.tls_failures.PROBE_SECONDS", 0.3)
    context = context_of(authority)

    def wait(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as encrypted:
            encrypted.recv(1)

    with serving(wait) as endpoint:
        assert tls_failure(endpoint, tls_of(authority)) is None
