"""The proof of a backup's moments, by what lies in the backup: nothing here is taken from a clock or a promise.

What is proved of each collection with objects that may be newer than its moment:

* rows newer than the moment are counted, so that a restore knows how many rows must come back;
* no segment was replaced by a compaction that may have applied deletes newer than the moment. Their delta logs lie
  where the replaced segments were, until garbage collection takes them;
* no delete shortly before the moment lacks a row of the same timestamp, as half an upsert does, unless all requests
  that were on their way are known to have arrived before the flush.

Before that, the segments that are read must have as many rows as Milvus says, and as many column groups as their logs
name; otherwise a listing has left logs out. It has done so as well if Milvus counted fewer live rows than there are,
and there is no delete of any. But from 2.5 on rows may also have expired by a setting of the server that no call tells.

If one of these does not hold, the collection is captured once more: its moment gets a second look, and then a later
moment takes its place. What is not proven in the last round is said in the backup, and by each restore of it; a
collection that still lacks rows fails. If only the count is smaller, it is captured once more and not again: rows that
are still missing then have expired, or are not listed at all.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from milvus_vault.archive.manifest import CollectionDocument
from milvus_vault.backup.moment import SUSPECT_SECONDS
from milvus_vault.backup.working_files import Evidence, Snapshot, Verdict
from milvus_vault.binlogs import count_column_groups, named, read_deletes, read_timestamps
from milvus_vault.errors import BinlogUnreadableError, ObjectNotFoundError
from milvus_vault.model.collections import Segment
from milvus_vault.model.hybrid import from_milliseconds
from milvus_vault.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges the moment of a collection by its objects."""

    run: Workspace
    source_bucket: str
    """Milvus' own."""

    def judge(self, snapshot: Snapshot, document: CollectionDocument, evidence: Evidence) -> Snapshot:
        """Return a snapshot with its verdict, and with what its objects say of the rows that are newer."""
        try:
            found = self._read(document, evidence)
        except BinlogUnreadableError as err:
            return _judged(snapshot, Verdict.UNREADABLE, document, err.message)
        except ObjectNotFoundError as err:
            # Garbage collection has taken the delta logs of a segment that was replaced.
            return _judged(snapshot, Verdict.COMPACTED, document, err.message)
        is_quiet = not found.has_later_deletes and not any(found.later_rows.values())
        miscount = found.miscount
        undercount = ""
        if is_quiet and evidence.lacks_deletes(document):
            alive, rows = evidence.counted_row_count, evidence.undeleted_row_count
            undercount = f"Milvus counted {alive} of {rows} row(s), and there is no delete of any"
        if miscount or (undercount and not evidence.hides_expired):
            return _judged(snapshot, Verdict.MISCOUNTED, document, miscount or undercount)
        segments = tuple(_counted(segment, found, evidence) for segment in document.segments)
        # A count that was made after the moment is one of the moment only where nothing was written in between.
        counted = document.live_row_count if is_quiet else None
        document = document.model_copy(update={"segments": segments, "live_row_count": counted})
        verdict, about = _doubt(found, evidence, undercount)
        return _judged(snapshot, verdict, document, about)

    def _read(self, document: CollectionDocument, evidence: Evidence) -> "_Found":
        found = _Found(document.moment)
        rows = {segment.segment_id: segment.row_count for segment in document.segments}
        for segment, keys in evidence.rows.items():
            groups = evidence.column_groups.get(segment, 0)
            for key in keys:
                body = self.run.store.get(self.run.bucket, key)
                found.add_rows(segment, named(key, body, read_timestamps))
                if (told := named(key, body, count_column_groups)) > groups:
                    found.miscount = f"segment {segment} has logs of {groups} of its {told} column groups"
                    return found
            count = found.rows[segment]
            if count != rows[segment] and segment not in evidence.uncounted:
                found.miscount = f"segment {segment} has logs of {count} row(s), and Milvus says {rows[segment]}"
                return found
        for deletes in self._deletes(self.run.bucket, evidence.deletes):
            found.add_deletes(deletes)
        found.may_have_lost_rows = any(
            _count_after(deletes, document.moment) for deletes in self._deletes(self.source_bucket, evidence.replaced)
        )
        return found

    def _deletes(self, bucket: str, keys: Iterable[str]) -> Iterator[pa.Array]:
        for key in keys:
            yield named(key, self.run.store.get(bucket, key), read_deletes).timestamps


class _Found:
    """What the timestamps of a collection's newest rows and deletes say."""

    def __init__(self, moment: int) -> None:
        self._moment = moment
        self._row_times: list[pa.Array] = []
        self._delete_times: list[pa.Array] = []
        self.rows: dict[int, int] = {}
        """By segment."""
        self.later_rows: dict[int, int] = {}
        """By segment, how many rows are newer than the moment."""
        self.miscount = ""
        """Which segment lacks rows or columns; all else is not looked at then."""
        self.has_later_deletes = False
        self.may_have_lost_rows = False

    def add_rows(self, segment: int, times: pa.Array) -> None:
        """Add rows of a segment."""
        self.rows[segment] = self.rows.get(segment, 0) + len(times)
        self.later_rows[segment] = self.later_rows.get(segment, 0) + _count_after(times, self._moment)
        self._row_times.append(self._suspect(times))

    def add_deletes(self, times: pa.Array) -> None:
        """Add deletes."""
        self.has_later_deletes = self.has_later_deletes or _count_after(times, self._moment) > 0
        self._delete_times.append(self._suspect(times))

    @property
    def unmatched(self) -> int:
        """Return how many deletes shortly before the moment have no row of the same timestamp."""
        deletes = pa.chunked_array(self._delete_times, pa.int64())
        rows = pa.chunked_array(self._row_times, pa.int64()).combine_chunks()
        return len(deletes) - int(pc.sum(pc.is_in(deletes, value_set=rows), min_count=0).as_py())

    def _suspect(self, times: pa.Array) -> pa.Array:
        """Return those of some timestamps that are shortly before the moment."""
        since = self._moment - from_milliseconds(SUSPECT_SECONDS * 1000)
        return times.filter(pc.and_(pc.greater(times, since), pc.less_equal(times, self._moment)))


def _doubt(found: _Found, evidence: Evidence, undercount: str) -> tuple[Verdict, str]:
    """Return the verdict on a collection that has the rows that Milvus says, and what is not proven in words."""
    if found.may_have_lost_rows:
        return Verdict.COMPACTED, "a compaction may have applied deletes that came later"
    if found.unmatched and not evidence.is_settled:
        return Verdict.UNSETTLED, f"{found.unmatched} delete(s) shortly before it have no row of the same time"
    if undercount:
        about = f"{undercount}: they have expired by common.entityExpiration, or S3 did not list their deletes"
        return Verdict.UNDERCOUNTED, about
    return Verdict.PROVEN, ""


def _counted(segment: Segment, found: _Found, evidence: Evidence) -> Segment:
    """Return a segment with what was counted of its rows."""
    number = segment.segment_id
    rows = found.rows.get(number, 0) if number in evidence.uncounted else segment.row_count
    return segment.model_copy(update={"row_count": rows, "later_row_count": found.later_rows.get(number, 0)})


def _count_after(times: pa.Array, moment: int) -> int:
    return int(pc.sum(pc.greater(times, moment), min_count=0).as_py())


def _judged(snapshot: Snapshot, verdict: Verdict, document: CollectionDocument, doubt: str = "") -> Snapshot:
    update: dict[str, object] = {"moment_doubt": doubt}
    if verdict is not Verdict.PROVEN:
        update["live_row_count"] = None
    return snapshot.model_copy(update={"verdict": verdict, "document": document.model_copy(update=update)})
