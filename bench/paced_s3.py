"""An S3 endpoint in front of another one, which lets only so many server-side copies through a second.

The emulator copies a small object in a millisecond. Where S3 takes long, as for large objects and across Regions, a
restore may stage for as long as Milvus imports: only with such an endpoint is that seen here.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_OF_ONE_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})
_COPY = "x-amz-copy-source"


@contextmanager
def paced(url: str, copies_per_second: float) -> Iterator[str]:
    """Yield the address of an endpoint that passes everything on to `url`, copies one after the other at this pace."""
    turn = threading.Lock()
    address = urlsplit(url).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get(_COPY):
                with turn:
                    time.sleep(1 / copies_per_second)
            connection = HTTPConnection(address)
            connection.request(self.command, self.path, body, dict(self.headers))
            with connection.getresponse() as answer:
                content = answer.read()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in _OF_ONE_HOP:
                        self.send_header(name, value)
                length = answer.headers.get("Content-Length") if self.command == "HEAD" else None
                self.send_header("Content-Length", length or str(len(content)))
            connection.close()
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass_on  # noqa: N815 - the names that the library looks up

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
