"""Why a connection with TLS fails, by name. Clients say little of it, and gRPC only that it waits.

Asked after a failure only: it makes its own connection.
"""

import contextlib
import re
import socket
import ssl

from milvus_vault.adapters.endpoints import Endpoint
from milvus_vault.adapters.milvus_access import ClientTls
from milvus_vault.errors import (
    ClientCertificateError,
    MilvusCertificateError,
    MilvusTlsError,
    MilvusUnavailableError,
    VaultError,
)

PROBE_SECONDS = 2.0

# Every server answers that, if only that it speaks HTTP/2.
_ANY_REQUEST = b"GET / HTTP/1.0\r\n\r\n"

# X509_V_ERR_…: not yet valid, expired; the host's name, its address.
_OUT_OF_TIME = {9, 10}
_OTHER_NAME = {62, 64}

# Alerts of a server that looked for a client's certificate.
_CERTIFICATE_REFUSED = re.compile(r"ALERT_.*(CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED)")

_SECRET = "the secret that MilvusSecretArn names"  # noqa: S105 - a text


def tls_failure(endpoint: Endpoint, tls: ClientTls) -> VaultError | None:
    """Return why TLS fails at an endpoint, or why it must; None where nobody answers, or it is no matter of TLS."""
    try:
        # Before anything is said: a host that cannot be reached is no matter of TLS, and costs no second attempt.
        with _connect(endpoint):
            pass
    except OSError:
        return None
    return _with_tls(endpoint, tls) if endpoint.is_tls else _without_tls(endpoint)


def _connect(endpoint: Endpoint) -> socket.socket:
    return socket.create_connection((endpoint.host, endpoint.port), timeout=PROBE_SECONDS)


def _with_tls(endpoint: Endpoint, tls: ClientTls) -> VaultError | None:
    context = tls.context("h2", "http/1.1")
    name = tls.server_name or endpoint.host
    try:
        with _connect(endpoint) as plain, context.wrap_socket(plain, server_hostname=name) as connection:
            # From TLS 1.3 on a server looks at the client's certificate when the client is through with its part. It
            # then sends an alert, which would be lost if anything was sent; or waits, or begins with HTTP/2.
            is_open = _stays_open(connection)
    except ssl.SSLCertVerificationError as err:
        return _not_trusted(endpoint, name, err)
    except ssl.SSLError as err:
        if "ALERT" in (err.reason or ""):
            return _refused(endpoint, tls, err.reason)
    except OSError:
        pass
    else:
        return None if is_open else _closed(endpoint)
    if not _speaks_plain_text(endpoint):
        return None
    msg = f"{endpoint} speaks plain text, where TLS is expected"
    return MilvusTlsError(msg, hint=f"Let {endpoint.setting} begin with http://, or switch on TLS in Milvus.")


def _stays_open(connection: ssl.SSLSocket) -> bool:
    try:
        return bool(connection.recv(1))
    except TimeoutError:
        return True
    except ConnectionError:
        return False


def _closed(endpoint: Endpoint) -> VaultError:
    msg = f"{endpoint} closes each encrypted connection at once, and tells no reason"
    hint = "It may want a client certificate, or what is in front of Milvus has nobody behind it."
    return MilvusUnavailableError(msg, hint=hint)


def _without_tls(endpoint: Endpoint) -> VaultError | None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Nothing is sent, and nothing believed: it is only to be seen whether TLS is spoken.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    try:
        with _connect(endpoint) as plain, context.wrap_socket(plain, server_hostname=endpoint.host):
            pass
    except ssl.SSLError as err:
        if "ALERT" not in (err.reason or ""):
            return None
    except OSError:
        return None
    msg = f"{endpoint} speaks TLS, where plain text is expected"
    hint = f"Let {endpoint.setting} begin with https://. The certificate of a private authority belongs into {_SECRET}."
    return MilvusTlsError(msg, hint=hint)


def _speaks_plain_text(endpoint: Endpoint) -> bool:
    with contextlib.suppress(OSError), _connect(endpoint) as connection:
        connection.sendall(_ANY_REQUEST)
        return bool(connection.recv(1))
    return False


def _not_trusted(endpoint: Endpoint, name: str, err: ssl.SSLCertVerificationError) -> VaultError:
    reason = err.verify_message.rstrip(".")
    if err.verify_code in _OUT_OF_TIME:
        msg, hint = f"the certificate of {endpoint} is out of its time: {reason}", "Give Milvus a new certificate."
    elif err.verify_code in _OTHER_NAME:
        msg = f"the certificate of {endpoint} is not for '{name}'"
        hint = (
            f"Write a name that the certificate has into {endpoint.setting}, or as tls_server_name into {_SECRET}; "
            "or give Milvus a certificate for this name."
        )
    else:
        msg = f"the certificate of {endpoint} is not signed by an authority that is trusted: {reason}"
        hint = f"Put the authority's certificate as ca_pem into {_SECRET}."
    return MilvusCertificateError(msg, hint=hint)


def _refused(endpoint: Endpoint, tls: ClientTls, reason: str) -> VaultError:
    if not _CERTIFICATE_REFUSED.search(reason):
        msg = f"{endpoint} does not agree on TLS: {reason}"
        return MilvusTlsError(msg, hint="Compare protocols and ciphers of Milvus, or of what is in front of it.")
    if not tls.certificate_pem:
        msg = f"{endpoint} asks for a client certificate, and there is none"
        return ClientCertificateError(
            msg, hint=f"Put certificate and key as client_certificate_pem and client_key_pem into {_SECRET}."
        )
    msg = f"{endpoint} refuses the client certificate: {reason}"
    hint = "Its time may be over, or it is not signed by the authority that Milvus trusts (tls.caPemPath)."
    return ClientCertificateError(msg, hint=hint)
