#!/usr/bin/env bash
# Which collections `MilvusClient.compact("a")` compacts on Milvus 2.3.5.
#
# Expected: the collection "a" alone, as `Collection("a").compact()` of pymilvus 2.3.7 does. A name that no collection
#           has is an error.
# Seen:     every collection of the instance, those of other databases too. The client sends the collection's name and
#           no collection ID. This server does not know the field of the name, and for it the ID 0 means all. It answers
#           with success, the plans of the job list the segments of "a" beside those of the others, and all of them are
#           merged into new segments. The client has a second way, for old servers, that sends the ID; it takes this
#           way only after an error that this server does not answer with.
# Also:     a name that no collection has is no error either: the same plans are made and carried out.
#
# The server's own compaction is turned off, so that nobody but the client compacts. Without a call, no segment changes
# in the same time.
#
# Versions: PyPI milvus 2.3.5 (a whole server, Linux on x86_64), pymilvus 3.0.2 and 2.3.7, Python 3.9 to 3.11.
# Runs for five minutes, in a temporary folder. Fails if any of this is no longer so.
set -euo pipefail

python=${PYTHON:-python3.11}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for venv in server client; do "$python" -m venv "$folder/$venv"; done
"$folder/server/bin/python" -m pip install --quiet --disable-pip-version-check \
    milvus==2.3.5 pymilvus==2.3.7 'setuptools<81' 'numpy<2' 'marshmallow<4'
"$folder/client/bin/python" -m pip install --quiet --disable-pip-version-check pymilvus==3.0.2

cat > "$folder/compact.py" <<'PYTHON'
import json
import sys

from pymilvus import MilvusClient

client = MilvusClient(sys.argv[1])
stub = client._get_connection()._stub
manual_compaction = stub.ManualCompaction
sent = []


def note(request, **options):
    sent.append((request.collection_name, request.collectionID))
    return manual_compaction(request, **options)


stub.ManualCompaction = note
job = client.compact(sys.argv[2])
print(json.dumps({"job": job, "sent": sent}))
PYTHON

cat > "$folder/look.py" <<'PYTHON'
import json
import subprocess
import sys
import time

from milvus import default_server
from pymilvus import Collection, CollectionSchema, DataType, FieldSchema, connections, db, utility

DATABASES = {"a": "default", "b": "default", "c": "other"}
ALL = set(DATABASES)
SECONDS = 30  # for each case, with a compaction or without


def fill(name, segments):
    for _ in range(segments):
        collections[name].insert([list(range(100)), [[float(key), 0.0, 0.0, 0.0] for key in range(100)]])
        collections[name].flush()
    utility.wait_for_index_building_complete(name, using=name, timeout=SECONDS)


def segments():
    return {
        name: {info.segmentID for info in connections._fetch_handler(name).get_persistent_segment_infos(name)}
        for name in DATABASES
    }


def watch(title, compact):
    """Return whose segments the plans of a job list, and whose segments are others afterwards."""
    before, end = segments(), time.monotonic() + SECONDS
    job = compact()
    sources = set()
    if job is not None:
        handler = connections._fetch_handler("a")
        sources = {source for plan in handler.get_compaction_plans(job).plans for source in plan.sources}
        while handler.get_compaction_state(job).state.name != "Completed":
            if time.monotonic() > end:
                sys.exit(f"{title}: the job does not end within {SECONDS} s")
            time.sleep(0.2)
    time.sleep(max(0.0, end - time.monotonic()))
    after = segments()
    planned = {name for name in DATABASES if before[name] & sources}
    changed = {name for name in DATABASES if before[name] != after[name]}
    counts = ", ".join(f"{name} {len(before[name])} to {len(after[name])}" for name in DATABASES)
    print(f"{title}: planned {sorted(planned)}, changed {sorted(changed)}; segments: {counts}", flush=True)
    return planned, changed


def older():
    collections["a"].compact()
    return collections["a"].compaction_id


def newer(name):
    address = f"http://127.0.0.1:{default_server.listen_port}"
    answer = json.loads(subprocess.check_output([sys.argv[2], sys.argv[3], address, name], timeout=SECONDS))
    sent.extend(answer["sent"])
    return answer["job"]


sent = []
collections = {}
default_server.set_base_dir(sys.argv[1])
default_server.config.set("dataCoord.compaction.enableAutoCompaction", "false")
with default_server:
    address = {"host": "127.0.0.1", "port": default_server.listen_port}
    connections.connect(**address)
    print(f"server {utility.get_server_version()}", flush=True)
    db.create_database("other")
    fields = [FieldSchema("id", DataType.INT64, is_primary=True), FieldSchema("v", DataType.FLOAT_VECTOR, dim=4)]
    for name, database in DATABASES.items():
        connections.connect(name, db_name=database, **address)
        collections[name] = Collection(name, CollectionSchema(fields), using=name, num_shards=1)
        collections[name].create_index("v", {"index_type": "FLAT", "metric_type": "L2", "params": {}})
        fill(name, 3)
    nothing = watch("no call", lambda: None)
    alone = watch('pymilvus 2.3.7, Collection("a").compact()', older)
    fill("a", 2)
    every = watch('pymilvus 3.0.2, MilvusClient.compact("a")', lambda: newer("a"))
    for name in DATABASES:
        fill(name, 2)
    nobody = watch('pymilvus 3.0.2, MilvusClient.compact("nobody")', lambda: newer("nobody"))
print(f"names and collection IDs that pymilvus 3.0.2 sent: {sent}")
expected = (
    nothing == (set(), set())
    and alone == ({"a"}, {"a"})
    and every == nobody == (ALL, ALL)
    and sent == [["a", 0], ["nobody", 0]]
)
sys.exit(0 if expected else 1)
PYTHON
"$folder/server/bin/python" "$folder/look.py" "$folder/data" "$folder/client/bin/python" "$folder/compact.py"
