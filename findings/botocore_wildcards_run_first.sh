#!/usr/bin/env bash
# In which order botocore runs handlers of an event that were registered under its name, shorter ones, and wildcards.
#
# Expected: its emitter says that handlers are invoked from the most specific to the least specific. So the handler of the
#           whole name comes first, then those with a wildcard, or with fewer parts.
# Seen:     every handler with a wildcard runs before the one of the whole name, even one that has fewer parts and leaves
#           all of them but the first open. Only names without a wildcard go from the longest to the shortest. Whoever
#           registers a handler for one operation, to be there before those of all operations, is there after them;
#           `register_first` puts it before those of its own name alone.
#
# Versions: botocore 1.43.106, Python 3.9 or newer.
# Runs for some seconds, in a temporary folder, and asks no AWS. Fails if any of this is no longer so.
set -euo pipefail

python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check botocore==1.43.106

cat > "$folder/look.py" <<'PYTHON'
import sys

import botocore.session
from botocore import UNSIGNED
from botocore.awsrequest import AWSResponse
from botocore.config import Config

NAMES = ["before-send.s3.ListBuckets", "before-send.s3.*", "before-send.*", "before-send.s3", "before-send"]

client = botocore.session.Session().create_client("s3", "us-east-1", config=Config(signature_version=UNSIGNED))
order = []
for name in NAMES:
    client.meta.events.register(name, lambda name=name, **_: order.append(name))
client.meta.events.register_first("before-send.s3.ListBuckets", lambda **_: order.append("register_first"))


def answer(request, **_):
    class Raw:
        def stream(self):
            yield b"<ListAllMyBucketsResult/>"

    return AWSResponse(request.url, 200, {}, Raw())


client.meta.events.register_last("before-send", answer)
client.list_buckets()
print("\n".join(order))
expected = ["before-send.*", "before-send.s3.*", "register_first", "before-send.s3.ListBuckets", "before-send.s3", "before-send"]
sys.exit(0 if order == expected else 1)
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
