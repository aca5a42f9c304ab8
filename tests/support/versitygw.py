"""versitygw: a fourth S3 server, in Go, with files on the disk. It is asked where its binary is on the PATH."""

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import override

import pytest

from local.processes import LOOPBACK, Server, fetch, free_ports, host_environment

# The Makefile builds it where there is a compiler of Go, which the project needs for nothing else.
needs_versitygw = pytest.mark.skipif(shutil.which("versitygw") is None, reason="no versitygw is on the PATH")

ACCESS_KEY = "localaccesskey"
SECRET_KEY = "localsecretkey"

_MODULE = re.compile(rb"\nmod\tgithub\.com/versity/versitygw\t(v[^\t\n]+)\t")


def installed_version() -> str:
    """Return the version that `go install` wrote into the binary on the PATH; empty where there is none.

    Asked for its version, such a binary says `git`.
    """
    path = shutil.which("versitygw")
    found = _MODULE.search(Path(path).read_bytes()) if path else None
    return found[1].decode() if found else ""


class Versitygw(Server):
    """One S3 server on loopback; its data goes away with it."""

    name = "versitygw"

    def __init__(self) -> None:
        """Describe the server and choose its port."""
        super().__init__()
        self._port = free_ports()

    @property
    def url(self) -> str:
        """The S3 endpoint."""
        return f"http://{LOOPBACK}:{self._port}"

    @override
    def _prepare(self) -> None:
        for name in ("data", "versions"):
            (self.folder / name).mkdir()

    @override
    def _command(self) -> Sequence[str]:
        address = f"{LOOPBACK}:{self._port}"
        folders = ["--versioning-dir", str(self.folder / "versions"), str(self.folder / "data")]
        return ["versitygw", "--port", address, "--health", "/health", "--quiet", "posix", *folders]

    @override
    def _environment(self) -> Mapping[str, str]:
        return host_environment(
            HOME=str(self.folder),
            TMPDIR=str(self.folder),
            ROOT_ACCESS_KEY_ID=ACCESS_KEY,
            ROOT_SECRET_ACCESS_KEY=SECRET_KEY,
        )

    @override
    def _is_ready(self) -> bool:
        return fetch(f"{self.url}/health") is not None
