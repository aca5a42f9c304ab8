#!/usr/bin/env bash
# What Milvus writes when it flushes a collection that somebody upserts.
#
# Expected: the files of a flush hold the collection as it was at the timestamp that Flush answers with. An upsert is a
#           delete and an insert with one timestamp, so that either both of its halves are in these files or none.
# Seen:     the deletes go further than the rows. The delta logs have deletes that are newer than the flush's timestamp,
#           and of the last of these upserts no row is in any insert log. Read as they are, the files say that no row
#           lives, where all lived at every time. Up to the flush's timestamp, rows and deletes alike, all of them live.
# Also:     the answer of a Delete has the timestamp 0; those of Insert and Upsert have the timestamp of the rows.
#
# Versions: PyPI milvus 2.3.5 (a whole server, Linux on x86_64), pymilvus 2.3.7, Python 3.8 to 3.11.
# Runs for two minutes, in a temporary folder. Fails if any of this is no longer so.
set -euo pipefail

python=${PYTHON:-python3.11}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    milvus==2.3.5 pymilvus==2.3.7 'setuptools<81' pyarrow==17.0.0 'numpy<2' 'marshmallow<4'

cat > "$folder/look.py" <<'PYTHON'
import io, json, struct, sys, threading, time
from pathlib import Path

import pyarrow.parquet as pq
from milvus import default_server
from pymilvus import Collection, CollectionSchema, DataType, FieldSchema, connections
from pymilvus.grpc_gen import milvus_pb2

KEYS = list(range(500))


def values(path):
    """Yield the values of a binlog: a magic number, a descriptor, and events that each hold a Parquet file."""
    body = path.read_bytes()
    _, _, length, _ = struct.unpack_from("<QbiI", body, 4)
    position = 4 + length
    while position < len(body):
        _, _, length, _ = struct.unpack_from("<QbiI", body, position)
        yield from pq.read_table(io.BytesIO(body[position + 33 : position + length])).column(0).to_pylist()
        position += length


def logs(root, kind):
    return [path for path in root.rglob("*") if path.is_file() and f"/{kind}/" in str(path)]


root = Path(sys.argv[1])
default_server.set_base_dir(str(root))
with default_server:
    connections.connect(host="127.0.0.1", port=default_server.listen_port)
    fields = [FieldSchema("id", DataType.INT64, is_primary=True), FieldSchema("v", DataType.FLOAT_VECTOR, dim=4)]
    collection = Collection("c", CollectionSchema(fields), num_shards=1)
    rows = [KEYS, [[float(key), 0.0, 0.0, 0.0] for key in KEYS]]
    inserted = collection.insert(rows)
    collection.create_index("v", {"index_type": "FLAT", "metric_type": "L2", "params": {}})
    collection.load()
    stop = threading.Event()

    def upsert():
        while not stop.is_set():
            collection.upsert(rows)
            time.sleep(0.1)

    writer = threading.Thread(target=upsert)
    writer.start()
    time.sleep(3)
    stub = connections._fetch_handler("default")._stub
    answer = stub.Flush(milvus_pb2.FlushRequest(collection_names=["c"]))
    flushed = answer.coll_flush_ts["c"]
    asked = milvus_pb2.GetFlushStateRequest(
        segmentIDs=answer.coll_segIDs["c"].data, flush_ts=flushed, collection_name="c"
    )
    while not stub.GetFlushState(asked).flushed:
        time.sleep(0.1)
    deletes = [json.loads(line) for path in logs(root, "delta_log") for line in values(path)]
    inserts = sorted(logs(root, "insert_log"))
    keys, times = ([v for path in inserts if path.parent.name == field for v in values(path)] for field in ("100", "1"))
    stop.set()
    writer.join()
    deleted = collection.delete("id in [1]")
    default_server.stop()


def alive(until):
    newest = {}
    for delete in deletes:
        if delete["ts"] <= until:
            newest[delete["pk"]] = max(delete["ts"], newest.get(delete["pk"], 0))
    return {key for key, at in zip(keys, times) if at <= until and at >= newest.get(key, 0)}


later = {delete["ts"] for delete in deletes if delete["ts"] > flushed}
print(f"upserts whose deletes are newer than the flush: {len(later)}; of these with rows: {len(later & set(times))}")
print(f"keys that live by all that the files hold: {len(alive(2**64))} of {len(KEYS)}")
print(f"keys that live up to the flush's timestamp:  {len(alive(flushed))} of {len(KEYS)}")
print(f"timestamps of answers: insert {inserted.timestamp}, delete {deleted.timestamp}")
expected = later - set(times) and not alive(2**64) and len(alive(flushed)) == len(KEYS)
sys.exit(0 if expected and inserted.timestamp and not deleted.timestamp else 1)
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder/data"
