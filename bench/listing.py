"""What it takes to list objects: processor time beside botocore's paginator.

    PYTHONPATH=layers/shared:. .venv/bin/python -m bench.listing [--keys 3000] [--turns 10]

Keys are those of Milvus' insert logs, as S3 answers with them; a stub on this machine, in a process of its own, has the
pages ready. Both ways take turns, so that what else the machine does is in the figures of both. Processor time is of
this process alone, user and system; the first turn of each is left out. What is listed is compared.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from multiprocessing.connection import Connection
from urllib.parse import parse_qs, urlsplit

import boto3
import botocore

from milvus_vault.adapters.s3 import S3ObjectStore

BUCKET, PREFIX = "milvus", "files/insert_log/470642820001452533/"
PAGE = 1000

type Listing = list[tuple[str, int, str]]


def contents(number: int) -> str:
    """Return an object as a page of S3 has it."""
    segment, log = divmod(number, 50)
    key = f"{PREFIX}470642820001452534/4706428200{segment:08}/{100 + log % 10}/4706428200{number:08}"
    return (
        f"<Contents><Key>{key}</Key><LastModified>2026-11-28T01:{segment % 60:02}:{log:02}.000Z</LastModified>"
        f"<ETag>&quot;{number:032x}&quot;</ETag><ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm>"
        f"<ChecksumType>FULL_OBJECT</ChecksumType><Size>{1048576 + number}</Size>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
    )


def pages(keys: int) -> list[bytes]:
    """Return the answers, one after the other; the token of each but the first is its number."""
    count = -(-keys // PAGE)
    bodies = []
    for number in range(count):
        ends = min((number + 1) * PAGE, keys)
        more = f"<NextContinuationToken>{number + 1}</NextContinuationToken>" if ends < keys else ""
        bodies.append(
            '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{BUCKET}</Name><Prefix>{PREFIX}</Prefix>{more}<KeyCount>{ends - number * PAGE}</KeyCount>"
            f"<MaxKeys>{PAGE}</MaxKeys><EncodingType>url</EncodingType>"
            f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>"
            f"{''.join(contents(key) for key in range(number * PAGE, ends))}</ListBucketResult>"
        )
    return [body.encode() for body in bodies]


def serve(keys: int, address: Connection) -> None:
    """Answer every request with a page, until this process is ended."""
    bodies = pages(keys)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # else the headers go apart, and the body waits for their receipt

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            token = parse_qs(urlsplit(self.path).query).get("continuation-token", ["0"])[0]
            body = bodies[int(token)]
            self.send_response(200)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        address.send(server.server_port)
        server.serve_forever()


@contextmanager
def stub(keys: int) -> Iterator[str]:
    """Yield the address of a stub that has so many keys."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(keys, theirs), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.terminate()
        process.join()


def cpu_ms(work: Callable[[], Listing], keys: int) -> tuple[float, Listing]:
    """Return the processor time that a listing took, for 1,000 keys, and what it returned."""
    begun = time.process_time()
    found = work()
    return (time.process_time() - begun) * 1e3 * PAGE / keys, found


def main() -> None:
    """Print a line for each way, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=3000)
    parser.add_argument("--turns", type=int, default=10)
    options = parser.parse_args()
    keys: int = options.keys
    session = boto3.session.Session("test", "test", region_name="eu-central-1")
    with stub(keys) as url:
        client = session.client("s3", endpoint_url=url)
        store = S3ObjectStore.connect(session=session, endpoint_url=url)

        def by_botocore() -> Listing:
            found = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=PREFIX)
            return [(one["Key"], one["Size"], one["ETag"].strip('"')) for page in found for one in page["Contents"]]

        def by_us() -> Listing:
            return [(one.key, one.size_bytes, one.etag) for one in store.list_objects(BUCKET, PREFIX)]

        took: dict[str, list[float]] = {}
        for turn in range(options.turns + 1):
            listed = []
            for name, work in (("botocore's paginator", by_botocore), ("list_objects", by_us)):
                cpu, found = cpu_ms(work, keys)
                listed.append(found)
                if turn:
                    took.setdefault(name, []).append(cpu)
            if len(listed[0]) != keys or listed[0] != listed[1]:
                msg = "the two list other objects"
                raise SystemExit(msg)
    load = os.getloadavg()[0]
    print(f"{datetime.now(UTC):%Y-%m-%d}, botocore {botocore.__version__}, load {load:.0f}, {keys} keys")
    for name, figures in took.items():
        low, middle, high = min(figures), statistics.median(figures), max(figures)
        print(f"{name}: {middle:.1f} ms of CPU for 1,000 keys ({low:.1f} to {high:.1f})")
    theirs, ours = took.values()
    print(f"ratio of the medians: {statistics.median(ours) / statistics.median(theirs):.3f}")


if __name__ == "__main__":
    main()
