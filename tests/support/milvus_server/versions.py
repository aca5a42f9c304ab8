"""What differs from version to version: the one table from which the server takes its behaviour."""

from collections.abc import Mapping
from dataclasses import dataclass, field

type Minor = tuple[int, int]

# By the version that first answers them; what is not here and not in `calls.py` does not exist in any.
_CALLS_SINCE: Mapping[str, Minor] = {
    **dict.fromkeys(("AllocTimestamp", "ListAliases", "DescribeAlias"), (2, 3)),
    **dict.fromkeys(("BackupRBAC", "RestoreRBAC", "DescribeDatabase", "AlterDatabase", "UpdateResourceGroups"), (2, 4)),
    **dict.fromkeys(
        (
            "CreatePrivilegeGroup",
            "DropPrivilegeGroup",
            "ListPrivilegeGroups",
            "OperatePrivilegeGroup",
            "AlterCollectionField",
            "AlterIndex",
        ),
        (2, 4),
    ),
    "OperatePrivilegeV2": (2, 5),
    "AddCollectionField": (2, 6),
}


@dataclass(frozen=True, slots=True)
class Durations:
    """How long things take, in seconds of the server's clock."""

    flush: float
    sort: float = 0.0
    """From a flush to the segment that replaces the flushed one."""
    import_job: float = 2.0
    """From the start of a job to its end, however small; where jobs overlap, from its creation."""
    index: float = 1.0
    load: float = 0.5
    added_load: float = 0.0
    """From when partitions are called loaded, that were added to others in memory, until their rows are found."""
    l0_compaction: float = 40.0
    flush_limit: float = 10.0
    """In which a collection may be flushed once."""
    import_retention: float = 10_800.0
    """Until the record of an import job is forgotten."""
    gc_tolerance: float = 10_800.0
    """Until the files of replaced segments are deleted."""
    gc_interval: float = 3_600.0


@dataclass(frozen=True, slots=True)
class Version:
    """One version of Milvus."""

    number: str
    answer: str
    """To GetVersion."""
    durations: Durations
    extra_properties: Mapping[str, str] = field(default_factory=dict)
    """What every collection has."""

    @property
    def minor(self) -> Minor:
        """Return the first two numbers."""
        first, second, *_ = self.number.split(".")
        return int(first), int(second)

    def at_least(self, *minor: int) -> bool:
        """Return whether it is this minor version or a newer one."""
        return self.minor >= minor

    def has_call(self, name: str) -> bool:
        """Return whether this version knows a call that the server can answer at all."""
        return self.minor >= _CALLS_SINCE.get(name, (0, 0))

    @property
    def hides_largest_key(self) -> bool:
        """Whether queries return no row whose key is the largest number, though they count it.

        Seen of 2.3.5 (findings/milvus_largest_key_is_not_found.sh); no newer server was asked.
        """
        return not self.at_least(2, 4)

    @property
    def has_codes(self) -> bool:
        """Whether answers carry a code beside the older `error_code`."""
        return self.at_least(2, 3)

    @property
    def has_l0(self) -> bool:
        """Whether deletes of flushed rows lie in segments of their own, and segments have levels."""
        return self.at_least(2, 4)

    @property
    def has_import_v2(self) -> bool:
        """Whether imports are jobs of many files that overlap, reached by REST as well."""
        return self.at_least(2, 4)

    @property
    def has_gc_pause(self) -> bool:
        """Whether the management port can pause garbage collection."""
        return self.at_least(2, 4)

    @property
    def has_checkpoints(self) -> bool:
        """Whether Flush answers with a position of each channel."""
        return self.at_least(2, 4)

    @property
    def limits_flush(self) -> bool:
        """Whether a collection may be flushed only so often."""
        return self.at_least(2, 4)

    @property
    def keeps_aliased(self) -> bool:
        """Whether a collection with an alias cannot be dropped."""
        return self.at_least(2, 4)

    @property
    def takes_milliseconds(self) -> bool:
        """Whether `start_ts` and `end_ts` of an import are milliseconds instead of hybrid timestamps."""
        return not self.at_least(2, 5)

    @property
    def stamps_early(self) -> bool:
        """Whether a request has its timestamp before its rows have a place in a channel; the log of 2.6 gives both."""
        return not self.at_least(2, 6)

    @property
    def awaits_requests(self) -> bool:
        """Whether a flush waits for the requests with older timestamps; before, for those of segments alone."""
        return self.at_least(2, 3)

    @property
    def hides_expired(self) -> bool:
        """Whether queries leave out what has expired by `common.entityExpiration`; before, only a compaction does."""
        return self.at_least(2, 5)

    @property
    def sorts(self) -> bool:
        """Whether every flushed segment is soon replaced by a sorted one of another ID."""
        return self.at_least(2, 5)

    @property
    def packs_segments(self) -> bool:
        """Whether compactions pack small segments; before, each goes to whatever has room for it."""
        return self.at_least(2, 5)

    @property
    def has_nullable(self) -> bool:
        """Whether fields can be null; before, the flag is dropped in silence."""
        return self.at_least(2, 5)

    @property
    def names_fields(self) -> bool:
        """Whether the column of a binlog is named by the field's ID."""
        return self.at_least(2, 5)

    @property
    def describes_segments(self) -> bool:
        """Whether REST tells the logs of segments."""
        return self.at_least(2, 5)

    @property
    def hides_new_aliases(self) -> bool:
        """Whether DescribeCollection does not show aliases, for a cache that nothing refreshes."""
        return self.at_least(2, 6)

    @property
    def has_tickets(self) -> bool:
        """Whether each pause of garbage collection is one of its own."""
        return self.at_least(2, 6)

    @property
    def storage(self) -> int:
        """The storage version of new segments."""
        return 2 if self.at_least(2, 6) else 0


VERSIONS = {
    version.number: version
    for version in (
        Version("2.2.16", "v2.2.16", Durations(flush=2, added_load=8)),
        Version("2.3.5", "v2.3.5-lite", Durations(flush=2, added_load=8)),
        Version("2.4.23", "v2.4.23", Durations(flush=2.5, import_job=16)),
        Version("2.5.27", "2.5.27", Durations(flush=2.5, sort=0.2, import_job=16)),
        Version("2.6.19", "2.6.19", Durations(flush=1, sort=0.5, import_job=14), extra_properties={"timezone": "UTC"}),
    )
}

ALL = tuple(VERSIONS)
OBSERVED = tuple(number for number, version in VERSIONS.items() if version.at_least(2, 3))
"""Those of which real servers have answered questions."""
OLDER = tuple(number for number, version in VERSIONS.items() if not version.at_least(2, 4))
NEWER = tuple(number for number, version in VERSIONS.items() if version.at_least(2, 4))
"""Those with level zero, checkpoints of channels, REST, and imports that overlap."""
FROM_2_5 = tuple(number for number, version in VERSIONS.items() if version.at_least(2, 5))
"""Those that sort segments and describe them by REST."""
FROM_2_6 = tuple(number for number, version in VERSIONS.items() if version.at_least(2, 6))
"""Those that keep columns in groups, and to which fields can be added."""
NEWEST = ALL[-1]
