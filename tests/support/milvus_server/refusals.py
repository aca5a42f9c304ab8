"""How Milvus says no: the codes and words of each version."""

from pymilvus.grpc_gen import common_pb2

from tests.support.milvus_server.values import Message
from tests.support.milvus_server.versions import Version

UNEXPECTED = 65535
_UNEXPECTED_LEGACY = 1
_COLLECTION_GONE_LEGACY = 4
_ILLEGAL_ARGUMENT = 5  # common.ErrorCode
_LONGEST_NAME = 255
_DATABASE_NAME = 802
_ALIAS_TAKEN, _NOT_LOADED, _PARTITION_NOT_FOUND = 1602, 101, 200
IMPORT_FAILED = 2100
RATE_LIMITED = 8
INVALID = 1100
QUOTA_EXCEEDED = 9
DISK_QUOTA = "quota exceeded[reason=disk quota exceeded, please allocate more resources]"


class Refusal(Exception):  # noqa: N818 - it is an answer, not a failure of ours
    """An answer other than success."""

    def __init__(self, code: int, reason: str, legacy: int = _UNEXPECTED_LEGACY) -> None:
        """Say no with a code, the older `error_code`, and words."""
        super().__init__(reason)
        self.code, self.reason, self.legacy = code, reason, legacy

    def status(self, version: Version) -> Message:
        """Return the answer's status."""
        code = self.code if version.has_codes else 0
        return common_pb2.Status(code=code, error_code=self.legacy, reason=self.reason)


def invalid(version: Version, reason: str) -> Refusal:
    """Refuse a request whose form is right; 2.6 has a code for it."""
    return Refusal(INVALID, f"{reason}: invalid parameter") if version.at_least(2, 6) else Refusal(UNEXPECTED, reason)


def check_name(version: Version, what: str, name: str) -> None:
    """Refuse what Milvus takes for no name of a collection, an alias or a database."""
    reason = ""
    if len(name) > _LONGEST_NAME:
        reason = f"the length of a {what} must be less than {_LONGEST_NAME} characters"
    elif not (name[:1] == "_" or (name[:1].isascii() and name[:1].isalpha())):
        reason = f"the first character of a {what} must be an underscore or letter"
    elif not (name.isascii() and name.replace("_", "a").isalnum()):
        reason = f"{what} can only contain numbers, letters and underscores"
    if reason and what == "database name":
        raise Refusal(_DATABASE_NAME, f"{reason}: invalid database name[database={name}]")
    if reason:
        code = INVALID if version.has_codes else UNEXPECTED
        raise Refusal(code, f"Invalid {what}: {name}. {reason}: invalid parameter", _ILLEGAL_ARGUMENT)


def collection_not_found(version: Version, database: str, name: str, *, described: bool = False) -> Refusal:
    """Refuse for a collection that is not there; DescribeCollection has words of its own."""
    where = f"[database={database}][collection={name}]"
    if not described:
        return Refusal(100, f"collection not found{where}", _COLLECTION_GONE_LEGACY)
    if version.at_least(2, 5):
        return Refusal(0, f"can't find collection{where}", _COLLECTION_GONE_LEGACY)
    found = "" if version.at_least(2, 4) else " collection not found"
    return Refusal(100, f"can't find collection{found}{where}", _COLLECTION_GONE_LEGACY)


def database_not_found(version: Version, name: str) -> Refusal:
    """Refuse for a database that is not there."""
    if version.at_least(2, 4):
        return Refusal(800, f"database not found[database={name}]")
    return Refusal(UNEXPECTED, f"database:{name} not found")


def partition_not_found(name: str) -> Refusal:
    """Refuse for a partition that is not there."""
    return Refusal(_PARTITION_NOT_FOUND, f"partition not found[partition={name}]")


def not_loaded(version: Version, name: str) -> Refusal:
    """Refuse to read what is not in memory; 2.2 has no code for it, as its source says."""
    if not version.has_codes:
        return Refusal(UNEXPECTED, f"collection {name} has not been loaded to memory or load failed")
    return Refusal(_NOT_LOADED, f"collection not loaded[collection={name}]")


def job_not_found(version: Version, job_id: int) -> Refusal:
    """Refuse for an import job that is not there. 2.2's words are those of its source; 2.3.5 was asked."""
    if not version.has_codes:
        return Refusal(UNEXPECTED, "import task id doesn't exist")
    if not version.has_import_v2:
        return Refusal(1000, f"key not found[key=by-dev/meta/importtask/{job_id}]")
    code = IMPORT_FAILED + 1 if version.at_least(2, 6) else IMPORT_FAILED
    return Refusal(code, f"cannot find import job with id: {job_id}: importing data failed")


def alias_taken(version: Version, database: str, alias: str, name: str, wanted: str) -> Refusal:
    """Refuse an alias that another collection has. 2.2's words are those of its source."""
    if not version.has_codes:
        reason = f"alias exists and already aliased to another collection, alias: {alias}, collection: {wanted}"
        return Refusal(UNEXPECTED, f"{reason}, other collection: {name}")
    return Refusal(_ALIAS_TAKEN, f"alias already exist[database={database}][alias={alias}]: {alias} is of {name}")
