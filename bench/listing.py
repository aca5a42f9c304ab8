"""What it takes to list objects: processor time beside botocore's paginator, and seconds of a long listing in spans.

    export PYTHONPATH=layers/shared:.
    .venv/bin/python -m bench.listing [--keys 3000] [--turns 10]
    .venv/bin/python -m bench.listing spans [--keys 100000] [--turns 3] [--latency 0.1]

Keys are those of Milvus' insert logs, 50 a segment, as S3 answers with them, by a stub on this machine in a process of
its own. The ways take turns, so that what else the machine does is in the figures of all of them. Processor time is of
this process alone, user and system, and without the first turn of each. What is listed is compared.

In spans, marks are the keys themselves, as where it is known what should be there, or the segments' folders.
"""

import argparse
import os
import statistics
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import boto3
import botocore

from milvus_vault.adapters.s3 import S3ObjectStore
from milvus_vault.model.objects import ListedObject
from milvus_vault.spans import list_in_spans

BUCKET, PREFIX = "milvus", "files/insert_log/470642820001452533/"
PAGE = 1000
SEGMENT = 50

type Listing = list[tuple[str, int, str]]


def key_of(number: int) -> str:
    """Return a key; their order is that of their numbers."""
    segment, log = divmod(number, SEGMENT)
    return f"{folder_of(segment)}{100 + log // 5}/4706428200{number:08}"


def folder_of(segment: int) -> str:
    """Return the folder of a segment."""
    return f"{PREFIX}470642820001452534/4706428200{segment:08}/"


def contents(number: int) -> str:
    """Return an object as a page of S3 has it."""
    return (
        f"<Contents><Key>{key_of(number)}</Key>"
        f"<LastModified>2026-11-28T01:{number // 60 % 60:02}:{number % 60:02}.000Z</LastModified>"
        f"<ETag>&quot;{number:032x}&quot;</ETag><ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm>"
        f"<ChecksumType>FULL_OBJECT</ChecksumType><Size>{1048576 + number}</Size>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
    )


def page(objects: list[str], begins: int) -> bytes:
    """Return the answer that begins with an object; its token is the number of the next one."""
    ends = min(begins + PAGE, len(objects))
    more = f"<NextContinuationToken>{ends}</NextContinuationToken>" if ends < len(objects) else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>{BUCKET}</Name><Prefix>{PREFIX}</Prefix>{more}<KeyCount>{ends - begins}</KeyCount>"
        f"<MaxKeys>{PAGE}</MaxKeys><EncodingType>url</EncodingType>"
        f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>{''.join(objects[begins:ends])}</ListBucketResult>"
    ).encode()


def serve(keys: int, latency: float, address: Connection) -> None:
    """Answer every request with a page, until this process is ended."""
    objects = [contents(number) for number in range(keys)]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # else the headers go apart, and the body waits for their receipt

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            after = bisect_right(range(keys), query.get("start-after", ""), key=key_of)
            body = page(objects, int(query.get("continuation-token", after)))
            time.sleep(latency)
            self.send_response(200)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        address.send(server.server_port)
        server.serve_forever()


@contextmanager
def stub(keys: int, latency: float = 0) -> Iterator[str]:
    """Yield the address of a stub that has so many keys, and takes so many seconds for an answer."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(keys, latency, theirs), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.terminate()
        process.join()


class Took(NamedTuple):
    """What a listing took."""

    cpu: float
    seconds: float
    requests: int


def measure(ways: Mapping[str, Callable[[], Listing]], turns: int, asked: list[str]) -> dict[str, list[Took]]:
    """Return what each turn of each way took but the first. Ends the program where two ways list other objects."""
    took: dict[str, list[Took]] = {name: [] for name in ways}
    for turn in range(turns + 1):
        listings = []
        for name, work in ways.items():
            asked.clear()
            cpu, began = time.process_time(), time.perf_counter()
            listings.append(work())
            if turn:
                took[name].append(Took(time.process_time() - cpu, time.perf_counter() - began, len(asked)))
        if any(listing != listings[0] for listing in listings):
            msg = "the ways list other objects"
            raise SystemExit(msg)
    return took


def spread(figures: Iterable[float]) -> str:
    """Return the median, and the least and the most."""
    found = sorted(figures)
    return f"{statistics.median(found):.1f} ({found[0]:.1f} to {found[-1]:.1f})"


def main() -> None:
    """Print a line for each way, and the ratio to the first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("cpu", "spans"), default="cpu")
    parser.add_argument("--keys", type=int, help="default: 3,000; in spans 100,000")
    parser.add_argument("--turns", type=int, help="default: 10; in spans 3")
    parser.add_argument("--latency", type=float, default=0.1, help="of an answer, in spans (default: %(default)s s)")
    options = parser.parse_args()
    is_cpu = options.what == "cpu"
    keys, turns = options.keys or (3000 if is_cpu else 100_000), options.turns or (10 if is_cpu else 3)
    session = boto3.session.Session("test", "test", region_name="eu-central-1")
    with stub(keys, 0 if is_cpu else options.latency) as url:
        client = session.client("s3", endpoint_url=url)
        store = S3ObjectStore.connect(session=session, endpoint_url=url)
        asked: list[str] = []
        count: Any = lambda request, **_: asked.append(request.url)  # noqa: E731 - the stubs know no parameters
        store.client.meta.events.register("before-send.s3", count)

        def of(found: Iterable[ListedObject]) -> Listing:
            return [(one.key, one.size_bytes, one.etag) for one in found]

        def by_botocore() -> Listing:
            found = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=PREFIX)
            return [(one["Key"], one["Size"], one["ETag"].strip('"')) for page in found for one in page["Contents"]]

        def in_spans(marks: Sequence[str]) -> Listing:
            return of(list_in_spans(store, BUCKET, PREFIX, lambda: marks))

        by_us = {"list_objects": lambda: of(store.list_objects(BUCKET, PREFIX))}
        known, folders = [key_of(number) for number in range(keys)], [folder_of(one) for one in range(keys // SEGMENT)]
        spans = {"spans, by keys": lambda: in_spans(known), "spans, by segments": lambda: in_spans(folders)}
        took = measure({"botocore's paginator": by_botocore, **by_us} if is_cpu else {**by_us, **spans}, turns, asked)
    print(f"{datetime.now(UTC):%Y-%m-%d}, botocore {botocore.__version__}, load {os.getloadavg()[0]:.0f}, {keys} keys")
    first = next(iter(took.values()))
    for name, turns_of in took.items():
        cpu = spread(turn.cpu * 1e3 * PAGE / keys for turn in turns_of)
        at = 0 if is_cpu else 1
        ratio = statistics.median(turn[at] for turn in turns_of) / statistics.median(turn[at] for turn in first)
        more = "" if is_cpu else f"{spread(turn.seconds for turn in turns_of)} s, {turns_of[0].requests} requests, "
        print(f"{name}: {more}{cpu} ms of CPU for 1,000 keys, ratio {ratio:.3f}")


if __name__ == "__main__":
    main()
