"""Other engines that bench.copies measures beside ours, each one if it is there.

Packages of Python and the tools that PyPI has are those of requirements/bench.txt, in `.venv-bench` (`make
.make/venv-bench`), so that the developers' environment stays as it is. Tools are looked for there and on the path:
rclone is Debian's package of that name.
"""

import asyncio
import os
import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

VENV = Path(__file__).parents[1] / ".venv-bench"
PYTHON = VENV / "bin" / "python"
REGION = "us-east-1"


class Copies(NamedTuple):
    """What is to be copied, and how."""

    url: str
    """Of the server."""
    ca: str
    """File of the authority that it is to be trusted by, or empty without TLS."""
    at_once: int
    source: str
    """Bucket."""
    destination: str
    """Bucket."""
    source_folder: str
    folder: str
    """What takes the place of the former in the keys of copies."""
    keys: Sequence[str]
    """Of all objects below `source_folder`."""
    etag: str

    def copied(self, key: str) -> str:
        """Return the key of an object's copy."""
        return f"{self.folder}{key.removeprefix(self.source_folder)}"

    def headers(self, key: str) -> dict[str, str]:
        """Return what a CopyObject sends that is as careful as ours."""
        return {
            "host": urlsplit(self.url).netloc,
            "content-length": "0",
            "x-amz-copy-source": f"{self.source}/{quote(key)}",
            "x-amz-copy-source-if-match": self.etag,
            "x-amz-tagging-directive": "REPLACE",
        }


class Tool(NamedTuple):
    """A program that copies."""

    program: str
    asked_version: Sequence[str]
    """Arguments by which it says it."""
    command: Callable[[Copies, Path], tuple[list[str], dict[str, str]]]
    """Arguments and environment for these copies, with a folder for what files it needs."""


def _awscrt(copies: Copies) -> None:
    from awscrt import auth, http, io, s3  # noqa: PLC0415

    bootstrap = io.ClientBootstrap(group := io.EventLoopGroup(1), io.DefaultHostResolver(group))
    credentials = auth.AwsCredentialsProvider.new_static(
        *(os.environ[f"AWS_{name}"] for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"))
    )
    secured: dict[str, Any] = {"tls_mode": s3.S3RequestTlsMode.DISABLED}
    if copies.ca:
        options = io.TlsContextOptions()
        options.override_default_trust_store_from_path(None, copies.ca)
        connection = io.ClientTlsContext(options).new_connection_options()
        secured = {"tls_mode": s3.S3RequestTlsMode.ENABLED, "tls_connection_options": connection}
    signing = s3.create_default_s3_signing_config(region=REGION, credential_provider=credentials)
    # With so many gigabits it opens as many connections as there are requests.
    client = s3.S3Client(
        bootstrap=bootstrap, region=REGION, signing_config=signing, throughput_target_gbps=100, **secured
    )
    free, failed = threading.Semaphore(copies.at_once), list[object]()

    def ended(error: object = None, **_: object) -> None:
        if error:
            failed.append(error)
        free.release()

    running = []
    for key in copies.keys:
        free.acquire()
        path = f"/{copies.destination}/{quote(copies.copied(key))}"
        request = http.HttpRequest("PUT", path, http.HttpHeaders(list(copies.headers(key).items())))
        kind = s3.S3RequestType.DEFAULT
        running.append(client.make_request(type=kind, operation_name="CopyObject", request=request, on_done=ended))
    for one in running:
        one.finished_future.result()
    if failed:
        raise SystemExit(str(failed[0]))


def _aiohttp(copies: Copies) -> None:
    asyncio.run(_aiohttp_copies(copies))


async def _aiohttp_copies(copies: Copies) -> None:
    import aiohttp  # noqa: PLC0415
    from botocore.auth import S3SigV4Auth  # noqa: PLC0415
    from botocore.awsrequest import AWSRequest  # noqa: PLC0415
    from botocore.credentials import ReadOnlyCredentials  # noqa: PLC0415
    from yarl import URL  # noqa: PLC0415

    credentials = ReadOnlyCredentials(
        *(os.environ[f"AWS_{name}"] for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"))
    )
    signer = S3SigV4Auth(credentials, "s3", REGION)
    secured = ssl.create_default_context(cafile=copies.ca) if copies.ca else False
    waiting = iter(copies.keys)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=copies.at_once, ssl=secured)) as session:

        async def work() -> None:
            for key in waiting:
                url = f"{copies.url}/{copies.destination}/{quote(copies.copied(key))}"
                request = AWSRequest("PUT", url, headers=copies.headers(key), data=b"")
                signer.add_auth(request)
                async with session.put(URL(url, encoded=True), headers=dict(request.headers)) as answer:
                    # A copy that fails late is an error within an answer of 200.
                    if b"<CopyObjectResult" not in (body := await answer.read()):
                        raise SystemExit(body.decode())

        await asyncio.gather(*(work() for _ in range(copies.at_once)))


PACKAGES: dict[str, tuple[str, Callable[[Copies], None]]] = {
    "awscrt, its S3 client": ("awscrt", _awscrt),
    "aiohttp, botocore's signer": ("aiohttp", _aiohttp),
}
"""By the name of the engine: what is to be installed, and what copies."""


def _s5cmd(copies: Copies, _: Path) -> tuple[list[str], dict[str, str]]:
    given = ["--endpoint-url", copies.url, "--numworkers", str(copies.at_once), "--log", "error"]
    # It has no option for an authority.
    given += ["--no-verify-ssl"] if copies.ca else []
    source = f"s3://{copies.source}/{copies.source_folder}*"
    return [*given, "cp", source, f"s3://{copies.destination}/{copies.folder}"], {}


def _aws(copies: Copies, folder: Path) -> tuple[list[str], dict[str, str]]:
    config = folder / "config"
    config.write_text(f"[default]\ns3 =\n  max_concurrent_requests = {copies.at_once}\n  addressing_style = path\n")
    source = f"s3://{copies.source}/{copies.source_folder}"
    destination = f"s3://{copies.destination}/{copies.folder}"
    given = ["s3", "cp", "--recursive", "--only-show-errors", source, destination]
    return given, {"AWS_CONFIG_FILE": str(config)}


def _rclone(copies: Copies, folder: Path) -> tuple[list[str], dict[str, str]]:
    config = folder / "rclone.conf"
    config.write_text(
        f"[stub]\ntype = s3\nprovider = Other\nenv_auth = true\nregion = {REGION}\nendpoint = {copies.url}\n"
        "force_path_style = true\nlist_version = 2\nno_check_bucket = true\n"
    )
    at_once = str(copies.at_once)
    given = ["copy", f"stub:{copies.source}/{copies.source_folder}", f"stub:{copies.destination}/{copies.folder}"]
    given += ["--config", str(config), "--transfers", at_once, "--checkers", at_once, "--fast-list", "--retries", "1"]
    # Its SDK takes the bundle from the environment, and then refuses rclone's own transport.
    return [*given, *(["--ca-cert", copies.ca] if copies.ca else [])], {"AWS_CA_BUNDLE": ""}


TOOLS = {
    "s5cmd": Tool("s5cmd", ("version",), _s5cmd),
    "aws s3 cp": Tool("aws", ("--version",), _aws),
    "rclone copy": Tool("rclone", ("version",), _rclone),
}


def find_tool(tool: Tool) -> str:
    """Return the path of a tool, or nothing where it is not there."""
    return shutil.which(tool.program, path=f"{VENV / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}") or ""


def version_of(name: str) -> str:
    """Return which version of a peer is there, or nothing."""
    if name in TOOLS:
        path = find_tool(TOOLS[name])
        command = [path, *TOOLS[name].asked_version]
    else:
        path = str(PYTHON)
        asked = f"from importlib.metadata import version; print(version({PACKAGES[name][0]!r}))"
        command = [path, "-c", asked]
    if not path or not Path(path).exists():
        return ""
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    # aws says "aws-cli/1.46.2 Python/3.13.0 …", rclone "rclone v1.60.1-DEV" and more lines, s5cmd "v2.3.0-991c9fb".
    first = told.stdout.partition("\n")[0]
    return (
        first.partition(" Python/")[0].removeprefix("aws-cli/").removeprefix("rclone ") if not told.returncode else ""
    )
