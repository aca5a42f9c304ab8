"""How long to wait before looking again at what Milvus does in the background, and where."""

# A Wait, a Task and a Choice are 9 of the 25,000 events that an execution's history may have, so that there can be some
# 2,700 rounds. At one a minute, the 24 h that a machine may run are 1,440.
LONGEST_SECONDS = 60
SHORTEST_SECONDS = 1

# Three state transitions cost as much as 4.5 s of a function with 1 GB ($0.000025 each, $0.0000167 a GB-second).
LONGEST_IN_CALL_SECONDS = 4


def seconds_to_wait(elapsed_seconds: float) -> int:
    """Return a tenth of the time that has passed: at most a tenth more is lost by looking too late."""
    return min(LONGEST_SECONDS, max(SHORTEST_SECONDS, int(elapsed_seconds / 10)))
