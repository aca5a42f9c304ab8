"""What a backup and a restore must do, and in which versions of Milvus there is such a thing.

The rows of the tables in docs/compatibility.md. Whether a cell is filled is decided by tests that name the
feature: `@pytest.mark.feature(Feature.NULLABLE)`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum

from milvus_vault.errors import FieldIdMismatchError, InvalidRequestError, VaultError, VersionUnsupportedError
from milvus_vault.model.versions import can_restore, check_target_version, line_text, parse_version
from tests.support.milvus_server.versions import VERSIONS as SERVERS

VERSIONS = tuple(line_text(server.minor) for server in SERVERS.values())
"""The minor versions, oldest first: those that the protocol server speaks as."""


class Section(StrEnum):
    """A table, by its heading."""

    PAIRS = "From version to version"
    CONNECTION = "How Milvus is reached"
    BACKUP = "What a backup does, by the version of its source"
    RESTORE = "What a restore does, by the version of its target"
    CONTENT = "What comes back, from a version into the same version"


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table."""

    section: Section
    text: str
    since: str = VERSIONS[0]
    """The first minor version in which there is such a thing."""
    refused: Mapping[str, type[VaultError]] = field(default_factory=dict, hash=False)
    """The error with which we refuse it, by minor version."""
    needs: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What it has to be asked for with, by minor version."""

    def exists_in(self, version: str) -> bool:
        """Return whether a minor version has such a thing."""
        return version in versions_since(self.since)


def versions_since(version: str) -> tuple[str, ...]:
    """Return a minor version and all newer ones."""
    return VERSIONS[VERSIONS.index(version) :]


def _from(source: str) -> Row:
    """Return the row of the version matrix for a source, as the product's own rules have it."""
    refused: dict[str, type[VaultError]] = {}
    needs: dict[str, str] = {}
    backup = parse_version(f"{source}.0")
    for target in VERSIONS:
        server = parse_version(f"{target}.0")
        try:
            check_target_version(backup, server, allow_version=True)
        except VersionUnsupportedError as err:
            refused[target] = type(err)
        else:
            if not can_restore(backup, server):
                needs[target] = "`allow_version`"
    return Row(Section.PAIRS, f"from {source}", refused=refused, needs=needs)


def _connection(text: str, since: str = VERSIONS[0]) -> Row:
    return Row(Section.CONNECTION, text, since)


def _backup(text: str, since: str = VERSIONS[0], refused: Mapping[str, type[VaultError]] | None = None) -> Row:
    return Row(Section.BACKUP, text, since, refused or {})


def _restore(text: str, since: str = VERSIONS[0], refused: Mapping[str, type[VaultError]] | None = None) -> Row:
    return Row(Section.RESTORE, text, since, refused or {})


def _content(text: str, since: str = VERSIONS[0], refused: Mapping[str, type[VaultError]] | None = None) -> Row:
    return Row(Section.CONTENT, text, since, refused or {})


def _member(source: str) -> str:
    """Return the name of the row for a source."""
    return f"FROM_{source.replace('.', '_')}"


class Feature(Enum):
    """All rows, in their order. Those of the version matrix are made of `VERSIONS`; `from_version` returns them."""

    vars().update({_member(source): _from(source) for source in VERSIONS})

    TLS = _connection("TLS, with a private authority and another name")
    MUTUAL_TLS = _connection("mutual TLS")
    TOKENS = _connection("a user and a password, or a token")
    TLS_FAILURES = _connection("what keeps TLS from coming about has a name")
    REST_ENDPOINT = _connection("REST at an address of its own", "2.4")

    EVERY_ROW_ONCE = _backup("every live row, once")
    EXACT_LOGS = _backup("the logs of segments by REST (2.5.8 and newer)", "2.5")
    LISTED_LOGS = _backup("the logs of segments by listing the bucket")
    CHANGES_MEANWHILE = _backup("segments that are sorted, folded, compacted or collected meanwhile")
    FLUSH = _backup("a flush of each collection")
    MOMENT = _backup("one moment, while clients write and segments are compacted")
    CHECKPOINTS = _backup("the checkpoint of each channel", "2.4")
    FLUSH_ALL = _backup("one flush of everything (2.6.11 and newer)", "2.6")
    FLUSH_LIMIT = _backup("the limit on flushes that is on by default is waited for", "2.4")
    SKIP_FLUSH = _backup("without a flush (`skip_flush`)")
    LIVE_ROWS = _backup("the number of live rows")
    LEVEL_ZERO = _backup("deletes of L0 segments", "2.4")
    COLUMN_GROUPS = _backup("storage version 2", "2.6")
    PAUSE = _backup("a pause of garbage collection", "2.4")
    PAUSE_TICKETS = _backup("a pause that no other's end ends", "2.6")
    RENEWED_PAUSE = _backup("a pause that lasts as long as the backup", "2.4")
    BACKUP_RBAC = _backup(
        "users, roles, grants and privilege groups",
        refused={"2.2": VersionUnsupportedError, "2.3": VersionUnsupportedError},
    )
    BACKUP_RIGHTS = _backup("missing rights are told before the backup, all at once")
    FEW_RIGHTS = _backup("by a user with the rights of the manual alone")
    PEER_METADATA = _backup("the metadata that milvus-backup reads")

    IMPORT_BY_REST = _restore("import by REST, many segments a job", "2.4")
    IMPORT_BY_GRPC = _restore("import by gRPC")
    JOBS_AT_ONCE = _restore("all jobs started before the first is waited for", "2.4")
    IMPORT_COLUMN_GROUPS = _restore("data of storage version 2", "2.6")
    OWN_DELETES = _restore("deletes beside their segments")
    FOLDED_DELETES = _restore("deletes of L0 segments, folded in while staging", "2.4")
    DELETES_AFTERWARDS = _restore("deletes of L0 segments, imported after the rows", "2.4")
    MISSING_OBJECTS = _restore("missing objects are found before anything is made")
    MISSING_ROWS = _restore('rows that are missing after "Completed" are found')
    FORGOTTEN_JOBS = _restore("a job that Milvus forgot fails by name")
    LOST_ANSWERS = _restore("an answer that got lost doubles no rows")
    POINT_IN_TIME = _restore("as of the backup's moment, rows and deletes alike")
    AS_OF = _restore("as of an earlier time that a person chooses (`as_of`)")
    NO_MOMENT = _restore("a backup without a moment: restored whole")
    TORN_UPSERTS = _restore("a backup without a moment: deletes that may be halves of upserts are counted")
    IN_PLACE = _restore("a backup in Milvus' own bucket, without staging")
    SOME_PARTITIONS = _restore("some `partitions`")
    EXISTING_COLLECTION = _restore("into an existing collection (`skip_create`)")
    REPLACE = _restore("in place of an existing collection (`drop_existing`)")
    ALIASES = _restore("aliases")
    SWITCHED_ALIASES = _restore("aliases taken from other collections as the last step (`switch_aliases`)")
    LOAD_STATE = _restore("load state")
    REPLICAS = _restore("replicas and `resource_groups` by mapping")
    FEWER_NODES = _restore("fewer query nodes or resource groups than there were: what there is, with a warning")
    RESTORE_RIGHTS = _restore("missing rights are told before the restore, all at once")
    INDEXES = _restore("indexes, with their names and parameters")
    FEWER_SHARDS = _restore("into fewer shards (`max_shards`)")
    RESTORE_RBAC = _restore(
        "users, roles, grants and privilege groups, by difference (`rbac`)",
        refused={"2.2": InvalidRequestError, "2.3": InvalidRequestError},
    )
    METADATA_ONLY = _restore("metadata only (`meta_only`)")
    PEER_ARCHIVES = _restore("archives of milvus-backup")

    ANY_HISTORY = _content("any schema and any history of writes, as drawn by hypothesis")
    SCALARS = _content("booleans, numbers, text")
    JSON_VALUES = _content("JSON (2.2.9 and newer)")
    ARRAYS = _content("arrays", "2.3")
    DYNAMIC = _content("dynamic values (2.2.9 and newer)")
    AUTO_ID = _content("generated keys")
    PARTITIONS = _content("partitions")
    PARTITION_KEY = _content("partition key (2.2.9 and newer)")
    ISOLATION = _content("partition key isolation", "2.4")
    BINARY_VECTORS = _content("binary vectors")
    SEVERAL_VECTORS = _content("several vectors in a collection", "2.4")
    HALF_VECTORS = _content("Float16 and BFloat16 vectors", "2.4")
    SPARSE_VECTORS = _content("sparse vectors", "2.4")
    INT8_VECTORS = _content("Int8 vectors", "2.6")
    TIME_TO_LIVE = _content("time to live")
    MMAP = _content("memory mapping (mmap)", "2.3")
    CLUSTERING_KEY = _content("clustering key", "2.4")
    NULLABLE = _content("nullable fields", "2.5")
    DEFAULTS = _content("default values", "2.5")
    FULL_TEXT = _content("full text (BM25) and analyzers", "2.5")
    JSON_PATH_INDEXES = _content("indexes of JSON paths", "2.5")
    TIMES = _content("times with a zone (2.6.6 and newer)", "2.6")
    GEOMETRY = _content("geometry (2.6.4 and newer)", "2.6")
    STRUCTS = _content("arrays of structs", "2.6")
    ADDED_FIELDS = _content("fields added later", "2.6")
    DROPPED_FIELDS = _content(
        "fields after dropped ones", "2.6", dict.fromkeys(versions_since("2.6"), FieldIdMismatchError)
    )
    SERVICE_FUNCTIONS = _content("functions that call services", "2.6")
    DATABASES = _content("databases (2.2.9 and newer)")
    DATABASE_PROPERTIES = _content("properties of databases", "2.4")

    @property
    def text(self) -> str:
        """What the row says."""
        return self.value.text


def from_version(version: str) -> Feature:
    """Return the row of the version matrix for a source, by its minor version or by a release of it."""
    first, second, *_ = version.split(".")
    return Feature[_member(f"{first}.{second}")]
