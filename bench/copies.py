"""Measure what a copy takes of the processor: CopyBatch by either client, bare boto3, and s5cmd where it is there.

    PYTHONPATH=layers/shared:functions .venv/bin/python -m bench.copies [--rounds 4] [--https] [--s5cmd PATH]

Each engine copies the same objects, 64 at a time, from a server in another process that answers a copy 35 ms after it
was asked, as S3 does, and that does nothing else. Engines take turns, each time in a process of its own, so that what
else the machine does meets all of them. Processor time is user and system time of that process, without its start;
s5cmd is measured whole. CopyBatch is the deployed handler, with its pacer, its records and what it reads and writes of
working files, in batches of a thousand, after one batch that is not counted; CopyBatch of another build is
`--other FOLDER`, a checkout of it.
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
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, override
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

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
    delay_seconds: float
    copies = 0

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
                _message(200, b"", "Content-Length: 5\r\nLast-Modified: Mon, 30 Nov 2026 10:00:00 GMT\r\n")
            )
        elif "list-type" in parse_qs(url.query):
            self._transport.write(_message(200, self._listing(path, url.query)))
        elif path in self.objects:
            self._transport.write(_message(200, self.objects[path]))
        else:
            self._transport.write(_message(404, b"<Error><Code>NoSuchKey</Code><Message>m</Message></Error>"))

    def _listing(self, bucket: str, query: str) -> bytes:
        prefix = parse_qs(query).get("prefix", [""])[0]
        start = f"{bucket.rstrip('/')}/"
        keys = sorted(key.removeprefix(start) for key in self.objects if key.startswith(f"{start}{prefix}"))
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>1</Size><ETag>e</ETag>"
            "<LastModified>2026-11-30T10:00:00.000Z</LastModified></Contents>"
            for key in keys
        )
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>".encode()


def _message(status: int, body: bytes, more: str = "") -> bytes:
    length = "" if "Content-Length" in more else f"Content-Length: {len(body)}\r\n"
    return f'HTTP/1.1 {status} OK\r\n{_HEADERS}ETag: "{_ETAG}"\r\n{more}{length}\r\n'.encode() + body


async def _serve(delay_seconds: float, certificate: str, key: str) -> None:
    loop = asyncio.get_running_loop()
    _Server.objects, _Server.delay_seconds = {}, delay_seconds
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


class Result(NamedTuple):
    """What copies took."""

    cpu_seconds: float
    seconds: float
    peak_mb: float


def _measured(engine: str, count: int) -> Result:
    copy = _bare_boto3(count) if engine == BOTO3 else _copy_batch(count)
    began, cpu = time.monotonic(), time.process_time()
    copy()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Result(time.process_time() - cpu, time.monotonic() - began, peak)


BOTO3 = "bare boto3, 64 threads"
OURS = {"CopyBatch, direct": "direct", "CopyBatch, boto3": "boto3"}
OTHER = "CopyBatch of the other build"
S5CMD = "s5cmd"


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
    if engine == S5CMD:
        return _run_s5cmd(arguments, url, environment)
    root = Path(arguments.other if engine == OTHER else ".").resolve()
    environment["PYTHONPATH"] = os.pathsep.join(str(root / part) for part in ("layers/shared", "functions", "."))
    command = [sys.executable, str(Path(__file__).resolve()), "--measure", engine, "--objects", str(arguments.objects)]
    # By its path, so that another build is measured by this file.
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment, cwd=root)
    return Result(**json.loads(done.stdout.splitlines()[-1]))


def _run_s5cmd(arguments: argparse.Namespace, url: str, environment: dict[str, str]) -> Result:
    lines = "".join(
        f"cp s3://{SOURCE}/{_key(number)} s3://{DESTINATION}/team/night/binlogs/{_key(number)}\n"
        for number in range(arguments.objects)
    )
    command = [arguments.s5cmd, "--endpoint-url", url, "--numworkers", str(THREADS), "--log", "error"]
    command += ["--no-verify-ssl"] if url.startswith("https") else []
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([*command, "run"], check=True, input=lines, text=True, env=environment)
    after, took = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - began
    return Result(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, took, 0.0)


@contextmanager
def _serving(*, https: bool) -> Iterator[tuple[str, str]]:
    """Yield a server's address, and the file of the authority that it is to be trusted by."""
    with tempfile.TemporaryDirectory() as folder:
        certificate: tuple[str, ...] = ("", "")
        ca = ""
        if https:
            from tests.support.certificates import Authority  # noqa: PLC0415

            authority = Authority(Path(folder))
            certificate, ca = tuple(map(str, authority.make("server"))), str(authority.certificate)
        command = [sys.executable, "-m", "bench.copies", "--serve", *certificate]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout  # noqa: S101
            try:
                yield f"{'https' if https else 'http'}://localhost:{process.stdout.readline().strip()}", ca
            finally:
                process.terminate()


def _compare(arguments: argparse.Namespace) -> None:
    engines = [BOTO3, *OURS, *([OTHER] if arguments.other else []), *([S5CMD] if arguments.s5cmd else [])]
    results: dict[str, list[Result]] = {engine: [] for engine in engines}
    with _serving(https=arguments.https) as (url, ca):
        for _ in range(arguments.rounds):
            for engine in engines:
                results[engine].append(_run(engine, url, arguments, ca))
    how = "HTTPS" if arguments.https else "HTTP"
    print(
        f"{arguments.objects} objects over {how}, {arguments.rounds} rounds, load {os.getloadavg()[0]:.1f} at the end"
    )
    sizes = " and ".join(f"{size} MB" for size in MEMORIES_MB)
    print("\n| engine | ms of CPU a copy, each round | median | beside boto3, each round | median | MB |", end="")
    print(f" copies a second by CPU at {sizes} |\n|---|---|---|---|---|---|---|")
    for engine, found in results.items():
        each_ms = [1000 * one.cpu_seconds / arguments.objects for one in found]
        ratios = [one.cpu_seconds / base.cpu_seconds for one, base in zip(found, results[BOTO3], strict=True)]
        share = [size / VCPU_MB * 1000 / statistics.median(each_ms) for size in MEMORIES_MB]
        shown = " ".join(f"{value:.3f}" for value in each_ms), " ".join(f"{value:.3f}" for value in ratios)
        print(
            f"| {engine} | {shown[0]} | {statistics.median(each_ms):.3f} | {shown[1]} |"
            f" {statistics.median(ratios):.3f} | {max(one.peak_mb for one in found):.0f} |"
            f" {', '.join(f'{value:.0f}' for value in share)} |"
        )


def main() -> None:
    """Compare engines, or be the server or one of the engines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=5000, help="how many are copied, in thousands")
    parser.add_argument("--rounds", type=int, default=4, help="how often each engine copies them")
    parser.add_argument("--https", action="store_true", help="over TLS, as to AWS")
    parser.add_argument("--other", default="", help="a checkout of another build, whose CopyBatch is measured as well")
    parser.add_argument("--s5cmd", default="", help="path of s5cmd, which is measured as well")
    parser.add_argument("--measure", default="", help=argparse.SUPPRESS)
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        asyncio.run(_serve(LATENCY_SECONDS, *arguments.serve))
    elif arguments.measure:
        print(json.dumps(_measured(arguments.measure, arguments.objects)._asdict()))
    else:
        _compare(arguments)


if __name__ == "__main__":
    main()
