"""Requests have the signature that botocore would give them."""

from datetime import UTC, datetime
from urllib.parse import quote, urlencode

import pytest
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import example, given
from hypothesis import strategies as st

from milvus_vault.client.caller import Credentials
from milvus_vault.client.signing import signature

NOW = datetime(2026, 11, 30, 13, 5, 7, tzinfo=UTC)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=12)
# Of a path that an API has: neither empty nor dots alone, which no request of the client has either.
PARTS = TEXTS.filter(lambda part: part.strip("."))


@example(
    method="GET",
    parts=[],
    query={"0": "", "00": "", "a": "1", "a-b": "2"},
    body=b"",
    key="",
    token=None,
    host="http://h",
)
@given(
    method=st.sampled_from(["GET", "PUT", "POST", "DELETE"]),
    parts=st.lists(PARTS.map(lambda part: part.replace("/", "-")), max_size=4),
    query=st.dictionaries(TEXTS.filter(bool), TEXTS, max_size=4),
    body=st.binary(max_size=40),
    key=st.text(st.sampled_from("ab  c-"), max_size=8),
    token=st.sampled_from([None, "token/of+somebody=="]),
    host=st.sampled_from(
        [
            "https://abc.execute-api.eu-west-1.amazonaws.com:8443",
            "https://ABC.execute-api.eu-west-1.amazonaws.com:443",
            "https://someone:secret@vault.example",
            "http://localhost:80",
            "http://[::1]:4566",
        ]
    ),
)
def test_a_signature_is_that_of_botocore(
    method: str, parts: list[str], query: dict[str, str], body: bytes, key: str, token: str | None, host: str
) -> None:
    path = quote("/".join(["", "v1", *parts]))
    url = f"{host}{path}"
    url += f"?{urlencode(query, quote_via=quote)}" if query else ""
    headers = {"Accept": "application/json", "User-Agent": "milvus-vault/1", "Idempotency-Key": key}
    request = AWSRequest(method=method, url=url, headers=headers, data=body)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(auth, "get_current_datetime", lambda: NOW)
        auth.SigV4Auth(ReadOnlyCredentials("AKIA", "secret", token), "execute-api", "eu-west-1").add_auth(request)

    signed = signature(method, url, headers, body, Credentials("AKIA", "secret", token), "eu-west-1", NOW)

    assert {**headers, **signed} == dict(request.headers.items())
