"""Runs a handler for what comes over standard input, in the emulated Python: an event a line, and an answer a line.

It stands in for AWS' runtime client, a part of which is compiled for the processor that the tests run on. What the
handler prints goes to standard error.
"""

import json
import os
import sys
from importlib import import_module
from types import SimpleNamespace

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
# As on Lambda, where /opt/python comes after the function's own folder.
sys.path[:0] = sys.argv[1:]

handle = import_module("handler").handler
CONTEXT = SimpleNamespace(
    function_name="function",
    memory_limit_in_mb=1024,
    invoked_function_arn="arn:aws:lambda:us-east-1:123456789012:function:function",
    aws_request_id="request",
    get_remaining_time_in_millis=lambda: 900_000,
)

for line in sys.stdin:
    try:
        answer = {"result": handle(json.loads(line), CONTEXT)}
    except Exception as err:  # noqa: BLE001
        # AWS' runtime client answers whatever a handler raises by its name, which a state machine then compares. A test
        # raises it again, so that nothing passes that was not meant.
        answer = {"error": type(err).__name__, "message": str(err)}
    print(json.dumps(answer), file=answers, flush=True)
