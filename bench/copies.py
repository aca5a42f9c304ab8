"""Measure what a copy takes of the processor: CopyBatch by either client, bare boto3, and other engines.

    PYTHONPATH=layers/shared:functions:. .venv/bin/python -m bench.copies [--rounds 4] [--https] [--peers]

Each engine copies the same objects, 64 at a time, from a server in another process that answers a copy 35 ms after it
was asked, as S3 does, and that does nothing else. Engines take turns, each time in a process of its own, so that what
else the machine does meets all of them. Processor time is user and system time of that process, without its start.
CopyBatch is the deployed handler, with its pacer, its records and what it reads and writes of
working files, in batches of a thousand, after one batch that is not counted; CopyBatch of another build is
`--other FOLDER`, a checkout of it.

`--peers` are awscrt, aiohttp, s5cmd, the AWS command line and rclone, each one if it is there (bench/copy_peers.py says
where it is looked for). The last three are programs, and measured whole, with their start; they list the
source first, and rclone looks at each copy. Requests a copy are those that the server answered.
"""

import argparse
import asyncio
import json
import os
import re
import resource
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple, override
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from bench.copy_peers import PACKAGES, PYTHON, TOOLS, Copies, find_tool, version_of

THREADS = 64
BATCH = 1000
LATENCY_SECONDS = 0.035
VCPU_MB = 1769
"""Of memory, which Lambda gives one processor with ("Configure Lambda function memory", Lambda developer guide)."""
MEMORIES_MB = (512, 1024)

_COPIED = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<CopyObjectResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    b"<LastModified>2026-11-30T10:00:00.000Z</LastModified><ETag>&quot;0cc175b9c0f1b6a831c399e269772661&quot;</ETag>"
    b"<ChecksumType>FULL_OBJECT</ChecksumType><ChecksumCRC64NVME>AAAAAAAAAAA=</ChecksumCRC64NVME></CopyObjectResult>"
)
_SIZE = 5
_COUNTS = "/-/counts"
"""Asked for this, the server says how many requests and copies there were since it was last asked."""
_ETAG = "0cc175b9c0f1b6a831c399e269772661"
# What S3 sends beside an answer.
_HEADERS = (
    "x-amz-id-2: 8dSGTQ0sn8MvTqQxkWnUZc2jX0cWzFPhSMwJRHb8YkPZ8UG0vP1wT8C9yXEG3vS1\r\n"
    "x-amz-request-id: 4442587FB7D0A2F9\r\nDate: Mon, 30 Nov 2026 10:00:00 GMT\r\n"
    "x-amz-server-side-encryption: AES256\r\nContent-Type: application/xml\r\n"
    "Server: AmazonS3\r\n"
)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)

SOURCE, DESTINATION, PREFIX = "milvus", "backups", "team"


class _Server(asyncio.Protocol):
    """Answers one connection: copies late, working files from memory."""

    objects: dict[str, bytes]
    sources: Sequence[str]
    """Keys of what is to be copied, in order."""
    delay_seconds: float
    copies = 0
    requests = 0

    def __init__(self) -> None:
        self._waiting = b""
        self._transport: Any = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    @override
    def data_received(self, data: bytes) -> None:
        self._waiting += data
        while (end := self._waiting.find(b"\r\n\r\n")) >= 0:
            head = self._waiting[:end]
            found = _LENGTH.search(head)
            whole = end + 4 + (int(found[1]) if found else 0)
            if len(self._waiting) < whole:
                if b"100-continue" in head.lower() and len(self._waiting) == end + 4:
                    self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                return
            body, self._waiting = self._waiting[end + 4 : whole], self._waiting[whole:]
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        if target == _COUNTS:
            self._transport.write(_message(200, f"{_Server.requests} {_Server.copies}".encode()))
            _Server.requests = _Server.copies = 0
            return
        _Server.requests += 1
        if b"\r\nx-amz-copy-source:" in head.lower():
            _Server.copies += 1
            loop = asyncio.get_running_loop()
            loop.call_later(self.delay_seconds, self._transport.write, _message(200, _COPIED))
            return
        url = urlsplit(target)
        path = unquote(url.path)
        if method == "PUT":
            self.objects[path] = body
            self._transport.write(_message(200, b""))
        elif method == "HEAD":
            self._transport.write(
                _message(200, b"", f"Content-Length: {_SIZE}\r\nLast-Modified: Mon, 30 Nov 2026 10:00:00 GMT\r\n")
            )
        elif "list-type" in parse_qs(url.query):
            self._transport.write(_message(200, self._listing(path, parse_qs(url.query))))
        elif path in self.objects:
            self._transport.write(_message(200, self.objects[path]))
        else:
            self._transport.write(_message(404, b"<Error><Code>NoSuchKey</Code><Message>m</Message></Error>"))

    def _listing(self, bucket: str, query: dict[str, list[str]]) -> bytes:
        start, prefix = f"{bucket.rstrip('/')}/", query.get("prefix", [""])[0]
        if start == f"/{SOURCE}/":
            found = self.sources
        else:
            found = sorted(key.removeprefix(start) for key in self.objects if key.startswith(start))
        after = query.get("continuation-token", query.get("start-after", [""]))[0]
        keys = [key for key in found if key.startswith(prefix) and key > after]
        page = keys[:BATCH]
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{_SIZE}</Size><ETag>&quot;{_ETAG}&quot;</ETag>"
            "<StorageClass>STANDARD</StorageClass><LastModified>2026-11-30T10:00:00.000Z</LastModified></Contents>"
            for key in page
        )
        more = "<IsTruncated>false</IsTruncated>"
        if len(keys) > len(page):
            more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{page[-1]}</NextContinuationToken>"
        return f"<ListBucketResult>{more}<KeyCount>{len(page)}</KeyCount>{contents}</ListBucketResult>".encode()


def _message(status: int, body: bytes, more: str = "") -> bytes:
    length = "" if "Content-Length" in more else f"Content-Length: {len(body)}\r\n"
    return f'HTTP/1.1 {status} OK\r\n{_HEADERS}ETag: "{_ETAG}"\r\n{more}{length}\r\n'.encode() + body


async def _serve(delay_seconds: float, objects: int, certificate: str, key: str) -> None:
    loop = asyncio.get_running_loop()
    _Server.objects, _Server.delay_seconds = {}, delay_seconds
    _Server.sources = sorted(map(_key, range(objects)))
    tls = None
    if certificate:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate, key)
    server = await loop.create_server(_Server, "127.0.0.1", 0, ssl=tls, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


def _key(number: int) -> str:
    return f"files/insert_log/449/450/{number // 50}/{number % 50}/{number * 7}"


def _in_threads(copy: Callable[[int], object], numbers: range) -> None:
    waiting = deque(numbers)

    def work() -> None:
        while waiting:
            try:
                number = waiting.popleft()
            except IndexError:
                return
            copy(number)

    with ThreadPoolExecutor(THREADS) as executor:
        for done in [executor.submit(work) for _ in range(THREADS)]:
            done.result()


def _bare_boto3(count: int) -> Callable[[], None]:
    """Return how threads copy that only call boto3's client."""
    import boto3  # noqa: PLC0415 - each engine loads what it needs
    from botocore.config import Config  # noqa: PLC0415

    client = boto3.session.Session().client(
        "s3",
        config=Config(
            max_pool_connections=THREADS,
            s3={"addressing_style": "path"},
            retries={"mode": "standard", "total_max_attempts": 1},
        ),
    )

    def copy(number: int) -> None:
        client.copy_object(
            Bucket=DESTINATION,
            Key=f"team/night/binlogs/{_key(number)}",
            CopySource={"Bucket": SOURCE, "Key": _key(number)},
            CopySourceIfMatch=_ETAG,
            TaggingDirective="REPLACE",
            AnnotationDirective="EXCLUDE",
        )

    _in_threads(copy, range(count, count + BATCH))
    return lambda: _in_threads(copy, range(count))


def _copy_batch(count: int) -> Callable[[], None]:
    """Return how the handler copies, with its working files in place."""
    from copy_batch.handler import handler  # noqa: PLC0415

    from milvus_vault.copying.batches import BatchLimits  # noqa: PLC0415
    from milvus_vault.copying.plan import plan_copy  # noqa: PLC0415
    from milvus_vault.copying.working_files import CopyTarget, write_job, write_target  # noqa: PLC0415
    from milvus_vault.model.objects import CopyItem, CopyJob  # noqa: PLC0415
    from milvus_vault.settings import StorageSettings  # noqa: PLC0415
    from milvus_vault.stores import open_workspace  # noqa: PLC0415
    from tests.support.lambda_context import Invocation  # noqa: PLC0415

    name = f"backup-night{os.getpid()}"
    run = open_workspace(StorageSettings.from_env(), name)
    folder = "team/night/binlogs/"
    items = [CopyItem(_key(number), f"{folder}{_key(number)}", 5, _ETAG) for number in range(count + BATCH)]
    write_target(run, "a1", CopyTarget(index=0, name="default.a", folders=(folder,)), items)
    write_job(run, "a1", CopyJob(source_bucket=SOURCE, destination_bucket=DESTINATION))
    plan_copy(run, "a1", 1, BatchLimits(max_objects=BATCH, max_bytes=1 << 50))

    def call(number: int) -> None:
        handler({"run": name, "batch": f"copy/a1/r1/batch-{number}.jsonl"}, Invocation())

    call(0)

    def copy() -> None:
        for number in range(1, 1 + count // BATCH):
            call(number)

    return copy


def _peer(engine: str, count: int) -> Callable[[], None]:
    """Return how a package of another engine copies, once it has copied a batch."""
    copy = PACKAGES[engine][1]
    copies = _copies(os.environ["AWS_ENDPOINT_URL"], os.environ.get("AWS_CA_BUNDLE", ""), count)
    copy(copies._replace(keys=copies.keys[:BATCH]))
    return lambda: copy(copies)


def _copies(url: str, ca: str, count: int) -> Copies:
    return Copies(
        url=url, ca=ca, at_once=THREADS, source=SOURCE, destination=DESTINATION, source_folder="files/",
        folder="team/night/binlogs/files/", keys=[_key(number) for number in range(count)], etag=_ETAG,
    )  # fmt: skip


class Result(NamedTuple):
    """What copies took."""

    cpu_seconds: float
    seconds: float
    peak_mb: float
    requests_a_copy: float = 0.0
    """Of all that the server answered, the first batch and what else an engine asks among them."""


def _measured(engine: str, count: int) -> Result:
    engines = {BOTO3: _bare_boto3} | dict.fromkeys(PACKAGES, partial(_peer, engine))
    copy = engines.get(engine, _copy_batch)(count)
    began, cpu = time.monotonic(), time.process_time()
    copy()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Result(time.process_time() - cpu, time.monotonic() - began, peak)


BOTO3 = "bare boto3, 64 threads"
OURS = {"CopyBatch, direct": "direct", "CopyBatch, boto3": "boto3"}
OTHER = "CopyBatch of the other build"


def _run(engine: str, url: str, arguments: argparse.Namespace, ca: str) -> Result:
    """Measure an engine in a process of its own."""
    environment = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "AWS_SESSION_TOKEN": "T" * 900,  # as long as a role's
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": url,
        "AWS_CA_BUNDLE": ca,
        "BACKUP_BUCKET_NAME": DESTINATION,
        "BACKUP_PREFIX": PREFIX,
        "MILVUS_BUCKET_NAME": SOURCE,
        "MILVUS_ROOT_PATH": "files",
        "STAGING_PREFIX": "staging",
        "POWERTOOLS_METRICS_NAMESPACE": "MilvusVault",
        # Working files are written as they are; a copy has no content.
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        "COPY_CLIENT": OURS.get(engine, "boto3"),
    }
    if not ca:
        del environment["AWS_CA_BUNDLE"]
    if engine in TOOLS:
        with tempfile.TemporaryDirectory() as folder:
            given, more = TOOLS[engine].command(_copies(url, ca, arguments.objects), Path(folder))
            return _run_tool([find_tool(TOOLS[engine]), *given], environment | more)
    root = Path(arguments.other if engine == OTHER else ".").resolve()
    environment["PYTHONPATH"] = os.pathsep.join(str(root / part) for part in ("layers/shared", "functions", "."))
    python = str(PYTHON) if engine in PACKAGES else sys.executable
    # By its path, so that another build is measured by this file.
    command = [python, str(Path(__file__).resolve()), "--measure", engine, "--objects", str(arguments.objects)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment, cwd=root)
    return Result(**json.loads(done.stdout.splitlines()[-1]))


def _run_tool(command: list[str], environment: dict[str, str]) -> Result:
    """Measure a program as a whole."""
    began = time.monotonic()
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Result(used.ru_utime + used.ru_stime, time.monotonic() - began, used.ru_maxrss / 1024)


def _counts(url: str, ca: str) -> tuple[int, int]:
    context = ssl.create_default_context(cafile=ca) if ca else None
    with urllib.request.urlopen(f"{url}{_COUNTS}", context=context, timeout=60) as answer:
        requests, copies = map(int, answer.read().split())
        return requests, copies


@contextmanager
def _serving(objects: int, *, https: bool) -> Iterator[tuple[str, str]]:
    """Yield a server's address, and the file of the authority that it is to be trusted by."""
    with tempfile.TemporaryDirectory() as folder:
        certificate: tuple[str, ...] = ("", "")
        ca = ""
        if https:
            from tests.support.certificates import Authority  # noqa: PLC0415

            authority = Authority(Path(folder))
            certificate, ca = tuple(map(str, authority.make("server"))), str(authority.certificate)
        command = [sys.executable, "-m", "bench.copies", "--objects", str(objects), "--serve", *certificate]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout  # noqa: S101
            try:
                yield f"{'https' if https else 'http'}://localhost:{process.stdout.readline().strip()}", ca
            finally:
                process.terminate()


def _compare(arguments: argparse.Namespace) -> None:
    versions = {name: version_of(name) for name in (*PACKAGES, *TOOLS)} if arguments.peers else {}
    peers = [name for name, version in versions.items() if version]
    engines = [BOTO3, *OURS, *([OTHER] if arguments.other else []), *peers]
    results: dict[str, list[Result]] = {engine: [] for engine in engines}
    with _serving(arguments.objects, https=arguments.https) as (url, ca):
        for _ in range(arguments.rounds):
            for engine in engines:
                result = _run(engine, url, arguments, ca)
                requests, copies = _counts(url, ca)
                if copies < arguments.objects:
                    msg = f"{engine} copied {copies} of {arguments.objects} objects"
                    raise SystemExit(msg)
                results[engine].append(result._replace(requests_a_copy=requests / copies))
    how = "HTTPS" if arguments.https else "HTTP"
    print(
        f"{arguments.objects} objects over {how}, {arguments.rounds} rounds, load {os.getloadavg()[0]:.1f} at the end\n"
    )
    for name, version in ({"boto3": metadata.version("boto3")} | versions).items():
        print(f"* {name}: {version or 'not here'}")
    sizes = " and ".join(f"{size} MB" for size in MEMORIES_MB)
    print("\n| engine | ms of CPU a copy, each round | median | beside boto3, each round | median | MB |", end="")
    print(f" requests a copy | copies a second by CPU at {sizes} |\n|---|---|---|---|---|---|---|---|")
    for engine, found in results.items():
        each_ms = [1000 * one.cpu_seconds / arguments.objects for one in found]
        ratios = [one.cpu_seconds / base.cpu_seconds for one, base in zip(found, results[BOTO3], strict=True)]
        share = [size / VCPU_MB * 1000 / statistics.median(each_ms) for size in MEMORIES_MB]
        shown = " ".join(f"{value:.3f}" for value in each_ms), " ".join(f"{value:.3f}" for value in ratios)
        print(
            f"| {engine} | {shown[0]} | {statistics.median(each_ms):.3f} | {shown[1]} |"
            f" {statistics.median(ratios):.3f} | {max(one.peak_mb for one in found):.0f} |"
            f" {max(one.requests_a_copy for one in found):.3f} |"
            f" {', '.join(f'{value:.0f}' for value in share)} |"
        )


def main() -> None:
    """Compare engines, or be the server or one of the engines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=5000, help="how many are copied, in thousands")
    parser.add_argument("--rounds", type=int, default=4, help="how often each engine copies them")
    parser.add_argument("--https", action="store_true", help="over TLS, as to AWS")
    parser.add_argument("--other", default="", help="a checkout of another build, whose CopyBatch is measured as well")
    parser.add_argument("--peers", action="store_true", help="other engines as well, those that are there")
    parser.add_argument("--measure", default="", help=argparse.SUPPRESS)
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        asyncio.run(_serve(LATENCY_SECONDS, arguments.objects, *arguments.serve))
    elif arguments.measure:
        print(json.dumps(_measured(arguments.measure, arguments.objects)._asdict()))
    else:
        _compare(arguments)


if __name__ == "__main__":
    main()
