#!/usr/bin/env bash
# What a query of Milvus 2.3.5 finds in partitions that were loaded beside others.
#
# Expected: once the loading progress of all partitions is 100 %, a query at strong consistency finds the rows of all.
# Seen:     where one partition was in memory before, and the whole collection is loaded then, the progress of all
#           partitions is 100 % after one or two seconds, while `count(*)` still gives the rows of the first one alone, and
#           says success. The others' are there one to eight seconds later. `query` and `search` of such a partition by
#           its name find nothing meanwhile, as if it was empty.
#           Where the collection is released first, all rows are found as soon as the progress is 100 %.
#
# Versions: PyPI milvus 2.3.5 (a whole server, Linux on x86_64), pymilvus 2.3.7, Python 3.8 to 3.11.
# Runs for a minute, in a temporary folder. Fails if any of this is no longer so.
set -euo pipefail

python=${PYTHON:-python3.11}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    milvus==2.3.5 pymilvus==2.3.7 'setuptools<81' 'numpy<2' 'marshmallow<4'

cat > "$folder/look.py" <<'PYTHON'
import sys
import time

from milvus import default_server
from pymilvus import Collection, CollectionSchema, DataType, FieldSchema, connections, utility

PARTITIONS, ROWS, TURNS = ["_default", "red", "blue"], 20, 5


def make(name):
    fields = [FieldSchema("id", DataType.INT64, is_primary=True), FieldSchema("v", DataType.FLOAT_VECTOR, dim=2)]
    collection = Collection(name, CollectionSchema(fields), consistency_level="Strong")
    for number, partition in enumerate(PARTITIONS):
        if partition != "_default":
            collection.create_partition(partition)
        keys = list(range(number * ROWS, (number + 1) * ROWS))
        collection.insert([keys, [[float(key), 0.0] for key in keys]], partition_name=partition)
    collection.flush()
    collection.create_index("v", {"index_type": "FLAT", "metric_type": "L2", "params": {}})
    return collection


def counted(collection, **of):
    return collection.query("", output_fields=["count(*)"], **of)[0]["count(*)"]


def look(name, releases):
    collection = make(name)
    collection.load(partition_names=["red"])
    if releases:
        collection.release()
    collection.load(_async=True)
    while utility.loading_progress(name, partition_names=PARTITIONS)["loading_progress"] != "100%":
        time.sleep(0.02)
    first = counted(collection), counted(collection, partition_names=["blue"])
    began = time.monotonic()
    while (last := counted(collection)) != 3 * ROWS and time.monotonic() - began < 60:
        time.sleep(0.1)
    collection.release()
    print(f"{'released first' if releases else 'one partition loaded'}: {first} row(s), of which the second number is"
          f" of partition blue; {last} after {time.monotonic() - began:.1f} s")
    return first, last


default_server.set_base_dir(sys.argv[1])
with default_server:
    connections.connect(host="127.0.0.1", port=default_server.listen_port)
    beside = [look(f"beside_{turn}", releases=False) for turn in range(TURNS)]
    released = [look(f"released_{turn}", releases=True) for turn in range(TURNS)]
# When the others come is a matter of when a server looks: one of five turns too few is enough.
has_missed = any(first == (ROWS, 0) for first, _ in beside) and all(last == 3 * ROWS for _, last in beside)
sys.exit(0 if has_missed and all(first == (3 * ROWS, ROWS) for first, _ in released) else 1)
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder/data"
