"""One port for gRPC and REST, as Milvus has it; with TLS where it is asked for.

Behind it are two servers, each on a port of its own. What a connection begins with tells which of them it is for.
"""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Coroutine
from typing import Any

from tests.support.milvus_server.encrypted import Connection, Encrypted, Plain

_GRPC_BEGINS = b"PRI "
_CHUNK = 65_536


class Door:
    """Passes connections on, until it is shut."""

    def __init__(self, host: str, port: int, grpc_port: int, rest_port: int, context: ssl.SSLContext | None) -> None:
        """Describe it; it is shut at first."""
        self.port = port
        self._host, self._backends, self._context = host, (grpc_port, rest_port), context
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="milvus-door", daemon=True)
        self._thread.start()

    def open(self) -> None:
        """Take connections, at the same port as before."""
        self._do(self._open())

    def shut(self) -> None:
        """Take no more connections, and break off those that there are."""
        self._do(self._shut())

    def shut_soon(self) -> None:
        """Do the same without waiting for it."""
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop)

    def close(self) -> None:
        """Shut for good."""
        self.shut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _open(self) -> None:
        if self._server is not None:
            return
        self._server = await asyncio.start_server(self._enter, self._host, self.port)

    async def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await self._pass_on(await self._greet(reader, writer))
            # What was said last, such as an alert, is to arrive.
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Connection:
        if self._context is None:
            return Plain(reader, writer)
        encrypted = Encrypted(reader, writer, self._context)
        await encrypted.shake_hands()
        return encrypted

    async def _pass_on(self, outer: Connection) -> None:
        first = b""
        while len(first) < len(_GRPC_BEGINS):
            if not (more := await outer.read(len(_GRPC_BEGINS) - len(first))):
                return
            first += more
        port = self._backends[0 if first == _GRPC_BEGINS else 1]
        reader, writer = await asyncio.open_connection(self._host, port)
        inner = Plain(reader, writer)
        try:
            await inner.write(first)
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(outer, inner))
                group.create_task(_copy(inner, outer))
        finally:
            writer.transport.abort()


async def _copy(source: Connection, destination: Connection) -> None:
    while data := await source.read(_CHUNK):
        await destination.write(data)
    # One side has ended, so both have.
    raise ConnectionResetError
