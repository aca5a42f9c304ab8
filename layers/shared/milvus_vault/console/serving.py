"""The console's server: on this machine alone, at a port that is free, as long as the program runs."""

import secrets
import socket
from collections.abc import Callable
from threading import Thread

import uvicorn

from milvus_vault.client import VaultClient
from milvus_vault.console.app import make_app
from milvus_vault.console.guard import TOKEN, Guard

HOST = "127.0.0.1"


class ConsoleServer:
    """The console of one API."""

    def __init__(self, vault: VaultClient) -> None:
        """Describe it; nothing is listened at yet."""
        self._vault = vault
        self._server: uvicorn.Server | None = None

    def serve(self, port: int, on_ready: Callable[[str], object]) -> None:
        """Serve until Ctrl-C, or until it is stopped.

        Args:
            port: 0: any that is free.
            on_ready: Called with the address, which lets one browser in, once it is listened at; in another thread.

        Raises:
            OSError: The port is taken.
        """
        with socket.socket() as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((HOST, port))
            listening.listen()
            host, token = f"{HOST}:{listening.getsockname()[1]}", secrets.token_urlsafe(32)
            app = Guard(make_app(self._vault), host, token)
            # Ctrl-C is not to wait for a browser that keeps its connection, nor to tell of it.
            config = uvicorn.Config(
                app, log_level="critical", access_log=False, server_header=False, timeout_graceful_shutdown=1
            )
            self._server = uvicorn.Server(config)
            address = f"http://{host}/?{TOKEN}={token}"
            # A browser of the terminal waits for the first page before it returns.
            Thread(target=on_ready, args=(address,), daemon=True).start()
            self._server.run(sockets=[listening])

    def stop(self) -> None:
        """Let `serve` return, from another thread."""
        if self._server is not None:
            self._server.should_exit = True
