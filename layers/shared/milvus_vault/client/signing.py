"""Signature Version 4 of AWS, as API Gateway asks for it."""

import hmac
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from urllib.parse import quote, urlsplit

from milvus_vault.client.caller import Credentials

_ALGORITHM = "AWS4-HMAC-SHA256"
_SERVICE = "execute-api"
# Proxies write it anew.
_UNSIGNED = "user-agent"
# What the header Host has no port for.
_PORTS = {"http": ":80", "https": ":443"}


def signature(
    method: str, url: str, headers: Mapping[str, str], body: bytes, credentials: Credentials, region: str, now: datetime
) -> dict[str, str]:
    """Return the headers that sign a request, to be sent beside its others.

    botocore signs so as well, whose import takes longer than the rest of a short command.

    Args:
        method: of HTTP.
        url: with path and query as they are sent, quoted.
        headers: all others; but for User-Agent they are signed.
        body: what is sent; empty for none.
        credentials: whose signature it is.
        region: of the API.
        now: the time, in UTC. AWS takes what is up to five minutes old.
    """
    parts = urlsplit(url)
    time = now.strftime("%Y%m%dT%H%M%SZ")
    added = {"X-Amz-Date": time} | ({"X-Amz-Security-Token": credentials.token} if credentials.token else {})
    signed = {name.lower(): " ".join(value.split()) for name, value in {**headers, **added}.items()}
    # As urllib3 sends it: in small letters, without a login and the scheme's own port.
    host = parts.netloc.rpartition("@")[2].lower().removesuffix(_PORTS[parts.scheme])
    signed = {"host": host} | {name: value for name, value in signed.items() if name != _UNSIGNED}
    names = ";".join(sorted(signed))
    request = "\n".join(
        (
            method,
            # What is quoted already is quoted once more, but for S3.
            quote(parts.path or "/", safe="/~"),
            # By the names, and not by what follows them.
            "&".join(sorted(parts.query.split("&"), key=lambda part: part.partition("="))),
            *(f"{name}:{signed[name]}" for name in sorted(signed)),
            "",
            names,
            sha256(body).hexdigest(),
        )
    )
    scope = f"{time[:8]}/{region}/{_SERVICE}/aws4_request"
    text = f"{_ALGORITHM}\n{time}\n{scope}\n{sha256(request.encode()).hexdigest()}"
    key = f"AWS4{credentials.secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signed_text = hmac.digest(key, text.encode(), "sha256").hex()
    authorization = (
        f"{_ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={names}, Signature={signed_text}"
    )
    return {**added, "Authorization": authorization}
