#!/usr/bin/env bash
# Which rows with a key at the ends of Int64 a query of Milvus 2.3.5 finds.
#
# Expected: the smallest and the largest number of Int64 are keys like others: what was inserted under them is found by
#           `id in [...]`, by comparisons, and by other fields.
# Seen:     the row with the largest key, 2**63 - 1, is counted, and a search for its vector returns it. No query does:
#           not by its key in any form, not by another field, and it is missing among the rows that are not another one.
#           All of them answer with success. 2**63 - 2 is found.
#           The row with the smallest key, -2**63, is found by `id < -9223372036854775807`; an expression that has the
#           number itself is refused as out of range, since its digits are read before its sign.
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

from milvus import default_server
from pymilvus import Collection, CollectionSchema, DataType, FieldSchema, MilvusException, connections

SMALLEST, LARGEST = -(2**63), 2**63 - 1

default_server.set_base_dir(sys.argv[1])
with default_server:
    connections.connect(host="127.0.0.1", port=default_server.listen_port)
    fields = [
        FieldSchema("id", DataType.INT64, is_primary=True),
        FieldSchema("n", DataType.INT64),
        FieldSchema("v", DataType.FLOAT_VECTOR, dim=2),
    ]
    collection = Collection("c", CollectionSchema(fields), consistency_level="Strong")
    keys = [SMALLEST, -1, 0, 1, LARGEST - 1, LARGEST]
    collection.insert([keys, list(range(len(keys))), [[float(number), 0.0] for number in range(len(keys))]])
    collection.create_index("v", {"index_type": "FLAT", "metric_type": "L2", "params": {}})
    collection.load()

    def ask(expression):
        try:
            return sorted(row["id"] for row in collection.query(expression, output_fields=["id"]))
        except MilvusException as err:
            return "refused" if "value out of range" in str(err) else str(err)

    counted = collection.query("", output_fields=["count(*)"])[0]["count(*)"]
    named = [f"id in [{LARGEST}]", f"id == {LARGEST}", f"id >= {LARGEST}", f"id > {LARGEST - 1}"]
    found = {
        "counted": counted,
        "by another field": ask("n in [4, 5]"),
        "all but one": ask("id != 0"),
        "by the largest key": [ask(expression) for expression in named],
        "by a search": collection.search([[5.0, 0.0]], "v", {"metric_type": "L2"}, limit=1)[0].ids,
        "by the one before": ask(f"id in [{LARGEST - 1}]"),
        "by the smallest key": ask(f"id in [{SMALLEST}]"),
        "below the one after": ask(f"id < {SMALLEST + 1}"),
    }
for name, what in found.items():
    print(f"{name}: {what}")
expected = {
    "counted": 6,
    "by another field": [LARGEST - 1],
    "all but one": [SMALLEST, -1, 1, LARGEST - 1],
    "by the largest key": [[], [], [], []],
    "by a search": [LARGEST],
    "by the one before": [LARGEST - 1],
    "by the smallest key": "refused",
    "below the one after": [SMALLEST],
}
sys.exit(0 if found == expected else 1)
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder/data"
