#!/usr/bin/env bash
# How long a gRPC channel takes to close after somebody watched its state.
#
# Expected: to wait until a channel is ready by `channel.subscribe(callback, try_to_connect=True)`, and to unsubscribe
#           afterwards, leaves nothing behind: closing the channel takes as long as without.
# Seen:     a thread goes on to look at the channel's state, in turns of 0.2 s, and `close` waits until its turn ends:
#           0.2 s for each connection of a program that makes a call and ends. A channel that nobody watched closes
#           within a millisecond.
#
# Versions: grpcio 1.85.1, Python 3.13. Runs for ten seconds, in a temporary folder. Fails if this is no longer so.
set -euo pipefail

python=${PYTHON:-python3.13}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check grpcio==1.85.1

cat > "$folder/look.py" <<'PYTHON'
import statistics
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc

server = grpc.server(ThreadPoolExecutor(1))
port = server.add_insecure_port("127.0.0.1:0")
server.start()


def seconds_to_close(watched):
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    if watched:
        ready = threading.Event()

        def note(state):
            if state is grpc.ChannelConnectivity.READY:
                ready.set()

        channel.subscribe(note, try_to_connect=True)
        ready.wait(10)
        channel.unsubscribe(note)
    else:
        try:
            channel.unary_unary("/nobody/asks")(b"", timeout=10)
        except grpc.RpcError as err:
            assert err.code() is grpc.StatusCode.UNIMPLEMENTED, err
    started = time.monotonic()
    channel.close()
    return time.monotonic() - started


times = {watched: statistics.median(seconds_to_close(watched) for _ in range(15)) for watched in (False, True)}
server.stop(None)
print(f"grpcio {grpc.__version__}: closes in {times[False]:.3f} s, and in {times[True]:.3f} s once it was watched")
sys.exit(0 if times[True] > 0.05 > 2 * times[False] else 1)
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
