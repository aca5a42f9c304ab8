"""Who may see the console: whoever opened the address that was printed, in that browser, and nobody else's page."""

import hmac
import secrets
from collections.abc import Mapping
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN = "token"  # noqa: S105 - the name of the parameter

# Nothing but our own files: names from a Milvus are escaped, and should one ever not be, the browser runs none of it.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS: Mapping[str, str] = {
    "content-security-policy": _POLICY,
    "cache-control": "no-store",
    # Not "no-referrer": with that, browsers name no origin of a form that is sent, not even to its own page.
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_SAFE = {"GET", "HEAD"}


class Guard:
    """Lets requests through to the application.

    A name that leads to this machine is refused (another site's script would reach us by one), as is every request
    without the cookie, which the address with the token gives once. What changes something must come from a page of
    ours.
    """

    def __init__(self, app: ASGIApp, host: str, token: str) -> None:
        """Guard an application that is reached at `host`, a name with a port, by whoever has the token."""
        self._app, self._host, self._token = app, host, token
        self._cookie = f"milvus-vault-{host.rpartition(':')[2]}"
        self._secret = secrets.token_urlsafe(32)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let the application do so."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        answer = self._refusal(Request(scope))
        await (answer or self._app)(scope, receive, send_with_headers)

    def _refusal(self, request: Request) -> Response | None:
        """Return what a request is answered with that the application does not get."""
        if request.headers.get("host") != self._host:
            return _refused("This is not the address of the console.")
        is_known = hmac.compare_digest(request.cookies.get(self._cookie, "").encode(), self._secret.encode())
        given = request.query_params.get(TOKEN)
        if given is not None and request.method == "GET" and request.url.path == "/":
            return RedirectResponse("/", HTTPStatus.SEE_OTHER) if is_known else self._enter(given)
        if not is_known:
            return _refused("Open the address that 'milvus-vault console' has printed.")
        if request.method not in _SAFE and not self._is_from_here(request.headers):
            return _refused("This request comes from another page.")
        return None

    def _enter(self, given: str) -> Response:
        token, self._token = self._token, ""
        if not token or not hmac.compare_digest(given.encode(), token.encode()):
            self._token = token
            return _refused("The address was opened before. Start 'milvus-vault console' again for a new one.")
        answer = RedirectResponse("/", HTTPStatus.SEE_OTHER)
        answer.set_cookie(self._cookie, self._secret, httponly=True, samesite="strict", path="/")
        return answer

    def _is_from_here(self, headers: Headers) -> bool:
        """Return whether a page of ours has sent a request; browsers name the origin of whatever changes something."""
        return headers.get("origin") == f"http://{self._host}"


def _refused(why: str) -> Response:
    return PlainTextResponse(f"{why}\n", HTTPStatus.FORBIDDEN)
