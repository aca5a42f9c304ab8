#!/usr/bin/env bash
# What `import pymilvus` does with a variable of the environment that is called MILVUS_URI.
#
# Expected: importing a library connects to nothing and judges no settings of the program that imports it. A program may
#           keep where its Milvus is in MILVUS_URI, as `host:port` or however it likes, and give it to a client itself.
# Seen:     the import reads MILVUS_URI as the address of a default connection, and raises ConnectionConfigException
#           where that is not a URI of its own form, such as `milvus.internal:19530`: also for a program that only
#           wants the generated protocol files, or to print the version. With `http://milvus.internal:19530` it passes.
#
# Versions: pymilvus 3.0.2, Python 3.13. Runs for half a minute, in a temporary folder. Fails if this is no longer so.
set -euo pipefail

python=${PYTHON:-python3.13}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check pymilvus==3.0.2

cd "$folder"
look='import pymilvus; print("imported", pymilvus.__version__)'

env -u MILVUS_URI venv/bin/python -c "$look"
MILVUS_URI=http://milvus.internal:19530 venv/bin/python -c "$look"
if seen=$(MILVUS_URI=milvus.internal:19530 venv/bin/python -c "$look" 2>&1); then
    echo "With MILVUS_URI=milvus.internal:19530 the import passes now: $seen" >&2
    exit 1
fi
grep --fixed-strings --quiet 'ConnectionConfigException' <<<"$seen"
echo "With MILVUS_URI=milvus.internal:19530: ${seen##*$'\n'}"
