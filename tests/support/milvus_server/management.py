"""The management port: health, and the pause of garbage collection."""

import base64
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from tests.support.milvus_server.compaction import collect_garbage
from tests.support.milvus_server.core import Core
from tests.support.milvus_server.rest import Body, answer_with

_GARBAGE = "/management/datacoord/garbage_collection/"


class GarbageCollection:
    """Deletes files now and then, unless somebody has paused it."""

    def __init__(self, core: Core) -> None:
        """Begin."""
        self._core = core
        self._until: dict[str, float] = {}
        """Ends of pauses, by ticket; up to 2.5 there is one, without a name."""
        core.after(core.durations.gc_interval, self._run)

    @property
    def pauses(self) -> int:
        """How many pauses there are at this moment."""
        return sum(until > self._core.clock.now() for until in self._until.values())

    def _run(self) -> None:
        if not self.pauses:
            collect_garbage(self._core)
        self._core.after(self._core.durations.gc_interval, self._run)

    def pause(self, query: dict[str, str]) -> tuple[int, Body | str]:
        """Pause for some seconds."""
        text = query.get("pause_seconds", "")
        if not text.isdecimal():
            # Not JSON, for the quotes in it; so it is on real servers.
            return 500, (
                '{"msg": "failed to pause garbage collection, pause duration not valid, '
                f'strconv.ParseInt: parsing "{text}": invalid syntax"}}'
            )
        ticket = ""
        if self._core.version.has_tickets:
            ticket = base64.urlsafe_b64encode(str(self._core.clock.new_id()).encode()).decode()
        until = self._core.clock.now() + int(text)
        self._until[ticket] = max(until, self._until.get(ticket, 0.0))
        return 200, {"msg": "OK", "ticket": ticket} if ticket else {"msg": "OK"}

    def resume(self, query: dict[str, str]) -> tuple[int, Body | str]:
        """End a pause."""
        ticket = query.get("ticket", "")
        if self._core.version.has_tickets and ticket not in self._until:
            return 500, (
                f'{{"msg": "failed to resume garbage collection, strconv.ParseInt: parsing "{ticket}": '
                'invalid syntax"}'
            )
        self._until.pop(ticket, None)
        return 200, {"msg": "OK"}


def serve(core: Core, garbage: GarbageCollection, host: str) -> ThreadingHTTPServer:
    """Return an HTTP server for the management port on a free port; it runs once it is started."""

    def respond(path: str) -> tuple[int, Body | str | None]:
        parts = urlsplit(path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if parts.path == "/healthz":
            return 200, "OK"
        if not core.version.has_gc_pause:
            return 404, None
        with core.lock:
            if parts.path == f"{_GARBAGE}pause":
                return garbage.pause(query)
            if parts.path == f"{_GARBAGE}resume":
                return garbage.resume(query)
        return 404, None

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def do_GET(self) -> None:
            answer_with(self, *respond(self.path))

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer_with(self, *respond(self.path))

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return ThreadingHTTPServer((host, 0), Handler)
