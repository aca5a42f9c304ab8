"""The moment of a backup: one timestamp of Milvus' clock at which every restore is cut, and how it is proved.

A flush is not a moment. It seals the segments that rows go to, and somewhat later writes all deletes that have come by
then: of an upsert that arrives in between, the delete is in the backup and the row is not. So a timestamp of the server
is taken first, and the flush comes later, by more time than a request needs to arrive. What is newer than the timestamp
is in the backup by chance, and no restore brings it back. docs/consistency.md has the whole argument.

Where a collection is counted between the two, the count has waited for those requests. The others wait for `Margin`.

`judging.py` proves the moment by what lies in the backup.
"""

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from milvus_vault.archive.layout import DELTA_LOG, holds_timestamps, parse_log_key
from milvus_vault.backup.segments import is_recent
from milvus_vault.backup.working_files import Evidence
from milvus_vault.errors import ServerClockError
from milvus_vault.model.collections import CollectionName
from milvus_vault.model.hybrid import as_text, at_whole_millisecond, milliseconds
from milvus_vault.model.objects import ListedObject
from milvus_vault.ports import Flushes

# Milvus gives a request its timestamp and then looks for a segment, which takes milliseconds, or a second in a server
# that is short of it. On the real 2.5.27 a margin of 50 ms was enough (11 backups of 11), on the real 2.3.5 1.5 s.
MARGIN_SECONDS = 1.5

# A server's time may leap by seconds: one that starts anew goes on behind what it had reserved before.
_LONG_AGO_SECONDS = 30

# A request that was on its way for longer would have held up its channel's time, and every query with it.
SUSPECT_SECONDS = 30

# S3 tells when an object was written in whole seconds, and its hosts' clocks differ by less than the rest of it.
_CLOCKS_SECONDS = 10

FIRST_FLUSH_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Moment:
    """A timestamp of the server, and when this process got it."""

    timestamp: int
    """Hybrid, at a whole millisecond: servers up to 2.4 can be told no other."""
    taken_at: float
    """By the monotonic clock."""
    is_of_a_flush: bool = False
    """Whether the server tells no time but that of a flush."""

    def recent_since(self, written_at: datetime) -> datetime:
        """Return since when, by S3's clock, Milvus may have written what the proof of the moment has to read.

        Anything older holds nothing newer than the moment, and nothing of the last `SUSPECT_SECONDS` before it. Times
        of S3 are compared with each other, and with what this process has measured: neither the function's clock
        nor Milvus' own has to be right.

        Args:
            written_at: What S3 says of an object that was written after the moment was taken, or before.
        """
        ago = time.monotonic() - self.taken_at
        return written_at - timedelta(seconds=ago + SUSPECT_SECONDS + _CLOCKS_SECONDS)

    def wait(self, database: Flushes, *, leaves_margin: bool = False) -> None:
        """Return once every request that was stamped before it has arrived, in all likelihood.

        Args:
            database: Whose moment it is.
            leaves_margin: Whether nothing is waited for here, since whoever flushes has a `Margin`.

        Raises:
            ServerClockError: The server's time has not gone on since.
        """
        if not leaves_margin:
            time.sleep(max(0.0, self.taken_at + MARGIN_SECONDS - time.monotonic()))
        now = database.current_timestamp()
        if now is not None:
            check_clock(self.timestamp, now, "its clock")


class Margin:
    """What lies between a moment that another function took and the flush of a collection that nothing settles.

    It is `MARGIN_SECONDS` of this process, which began after the moment: no clock of a server has to be right for it.
    That saves the wait only where by it the moment was long ago, as for later batches of a large backup.
    """

    def __init__(self, moment: int) -> None:
        """Begin, now, after a moment."""
        self._moment, self._began, self._is_over, self._lock = moment, time.monotonic(), False, threading.Lock()

    def wait(self, database: Flushes) -> None:
        """Return as `Moment.wait` does.

        The first of many threads asks for the time, and the others wait with it. Raises `ServerClockError`.
        """
        with self._lock:
            if self._is_over:
                return
            now = database.current_timestamp()
            if now is not None:
                check_clock(self._moment, now, "its clock")
            if now is None or milliseconds(now) - milliseconds(self._moment) < _LONG_AGO_SECONDS * 1000:
                time.sleep(max(0.0, self._began + MARGIN_SECONDS - time.monotonic()))
            self._is_over = True


def take_moment(database: Flushes, collections: Sequence[CollectionName]) -> Moment | None:
    """Return the server's present moment; None where there is no collection that it could be one of.

    Servers before 2.3 tell the time only of a flush, which one of the collections gets for it.
    """
    if not collections:
        return None
    timestamp = database.current_timestamp()
    if is_of_a_flush := timestamp is None:
        name = collections[0]
        timestamp = database.flush(name.database, name.name, timeout_seconds=FIRST_FLUSH_SECONDS).timestamp
    return Moment(at_whole_millisecond(timestamp), time.monotonic(), is_of_a_flush)


def check_clock(moment: int, later: int, what: str) -> None:
    """Raise `ServerClockError` unless something that the server stamped afterwards is newer than the moment."""
    if later > moment:
        return
    msg = f"Milvus said it was {as_text(moment)}, and afterwards that {what} is at {as_text(later)}"
    raise ServerClockError(
        msg, hint="See that the clocks of Milvus' hosts and its etcd are right, then start the backup again."
    )


def evidence_of(
    objects: Iterable[tuple[ListedObject, str]],
    storage_versions: Mapping[int, int],
    replaced: Iterable[ListedObject],
    *,
    uncounted: frozenset[int] = frozenset(),
    since: datetime | None,
    is_settled: bool,
    undeleted_row_count: int | None = None,
    counted_row_count: int | None = None,
    hides_expired: bool = False,
) -> Evidence:
    """Return what the proof of a collection's moment has to read.

    Args:
        objects: The collection's objects in Milvus' bucket, segment by segment, each with its key in the backup.
        storage_versions: Of each segment.
        replaced: Delta logs of segments that were replaced.
        uncounted: Segments whose rows have to be counted.
        since: When the oldest objects that have to be read were written; None: all are read.
        is_settled: Whether all requests stamped before the moment are known to have arrived before the flush.
        undeleted_row_count: How many rows there are, where there is no delete of any.
        counted_row_count: How many rows Milvus counted.
        hides_expired: Whether it leaves out rows that have expired.
    """
    rows: dict[int, tuple[str, ...]] = {}
    deletes: list[str] = []
    groups: dict[int, int] = {}
    logs = ((key, listed, stored_key) for listed, stored_key in objects if (key := parse_log_key(listed.key)))
    for segment, of_segment in groupby(logs, lambda log: log[0].segment_id):
        is_read, fields, with_times = segment in uncounted, set[int](), list[str]()
        for key, listed, stored_key in of_segment:
            if key.kind == DELTA_LOG:
                if segment in uncounted or is_recent(listed, since):
                    deletes.append(stored_key)
                continue
            fields.add(key.field_id)
            if holds_timestamps(key, storage_versions.get(segment, 0)):
                with_times.append(stored_key)
                is_read = is_read or is_recent(listed, since)
        if is_read and with_times:
            rows[segment], groups[segment] = tuple(with_times), len(fields)
    return Evidence(
        # Up to 2.4 a segment that fills slowly has older logs, too: only all of them together are all of its rows.
        rows=rows,
        column_groups=groups,
        uncounted=tuple(sorted(uncounted)),
        deletes=tuple(deletes),
        replaced=tuple(listed.key for listed in replaced if is_recent(listed, since)),
        is_settled=is_settled,
        undeleted_row_count=undeleted_row_count,
        counted_row_count=counted_row_count,
        hides_expired=hides_expired,
    )
