"""Connections of asyncio, without TLS and with the server's side of it.

Not asyncio's own: where it refuses a client it says nothing, while Milvus sends an alert with the reason.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Protocol

_CHUNK = 65_536


class Connection(Protocol):
    """What the door reads and writes."""

    async def read(self, limit: int) -> bytes:
        """Return what the other side has sent; nothing at the end."""

    async def write(self, data: bytes) -> None:
        """Send it all."""


class Plain:
    """A connection without TLS."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a connection."""
        self._reader, self._writer = reader, writer

    async def read(self, limit: int) -> bytes:
        """Return what the other side has sent; nothing at the end."""
        return await self._reader.read(limit)

    async def write(self, data: bytes) -> None:
        """Send it all."""
        self._writer.write(data)
        await self._writer.drain()


class Encrypted:
    """A connection whose client speaks TLS; to be read by one task and written by one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext) -> None:
        """Take a connection on which nothing has been said."""
        self._reader, self._writer = reader, writer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    async def shake_hands(self) -> None:
        """Agree with the client. Raises `ssl.SSLError` where that fails; the client was told."""
        await self._do(self._tls.do_handshake)

    async def read(self, limit: int) -> bytes:
        """Return what the client has sent; nothing at the end."""
        try:
            return await self._do(lambda: self._tls.read(limit))
        except (ssl.SSLZeroReturnError, ConnectionResetError):
            return b""

    async def write(self, data: bytes) -> None:
        """Send it all."""
        while data:
            data = data[self._tls.write(data) :]
            await self._send()

    async def _do[Result](self, work: Callable[[], Result]) -> Result:
        while True:
            try:
                return work()
            except ssl.SSLWantReadError:
                await self._send()
                received = await self._reader.read(_CHUNK)
                if not received:
                    raise ConnectionResetError from None
                self._incoming.write(received)
            finally:
                await self._send()

    async def _send(self) -> None:
        if self._outgoing.pending:
            self._writer.write(self._outgoing.read())
            await self._writer.drain()
