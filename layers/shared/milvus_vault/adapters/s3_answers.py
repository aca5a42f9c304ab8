"""What the SDK takes long to read of S3's answers, read quickly: times, and the objects of a listing.

Of what a listing of 1,000 objects cost, two thirds were the times, which dateutil parses, and most of the rest were the
objects, which botocore takes apart by its models (docs/performance.md). Requests, signatures, retries and errors stay
botocore's. So does each answer that is not as expected here: it is left as it came.
"""

from collections.abc import Callable
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, cast
from xml.etree import ElementTree as ET

from botocore.hooks import BaseEventHooks
from botocore.session import Session
from botocore.utils import parse_timestamp

_OK = 200
_ISO_LENGTHS = (len("2026-11-28T01:02:03Z"), len("2026-11-28T01:02:03.000Z"))
_HTTP_LENGTH = len("Sat, 28 Nov 2026 01:02:03 GMT")

# Members of an object that have no members. S3 sends others if it is asked, or for objects of an archive class.
_PLAIN = frozenset({"ChecksumAlgorithm", "ChecksumType", "ETag", "Key", "LastModified", "Size", "StorageClass"})

_BEFORE_PARSE: Final = "before-parse.*.ListObjectsV2"
"""As `before-parse.s3.ListObjectsV2`, but called earlier: before botocore's own `before-parse.s3.*`, which parses every
body once, to look for an error in it."""


def read_times_quickly(session: Session) -> None:
    """Let the clients that a session makes from now on read the times of answers by `time_of`."""
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=time_of)


def read_listings_quickly(events: BaseEventHooks) -> None:
    """Let a client read the objects of its listings by `take_contents`; what it returns stays the same."""
    events.register(_BEFORE_PARSE, cast("Callable[..., None]", _take_contents_apart))


def time_of(value: str | float) -> datetime:
    """Return a time of an answer, with its time zone; those that are not as S3 writes them as botocore reads them.

    Raises `ValueError` for what is none.
    """
    try:
        if isinstance(value, str):
            if len(value) in _ISO_LENGTHS and value[10] == "T" and value[-1] == "Z":
                return datetime.fromisoformat(value)
            if len(value) == _HTTP_LENGTH and value.endswith(" GMT"):
                return parsedate_to_datetime(value)
    except ValueError:
        # Botocore says which text it is that is none.
        return parse_timestamp(cast("str", value))
    # The stubs know texts only, the SDK also the numbers of other services.
    return parse_timestamp(cast("str", value))


def take_contents(body: bytes) -> tuple[bytes, list[dict[str, Any]]] | None:
    """Return the body of a listing without its objects, and the objects as botocore has them, in the order of the body.

    None where it has no objects, and where anything in it is not as expected.
    """
    try:
        # The same parser with the same arguments as botocore's, so that it takes and refuses the same bodies.
        parser = ET.XMLParser(target=ET.TreeBuilder(), encoding="utf-8")  # noqa: S314
        parser.feed(body)
        root = parser.close()
        names = _Names()
        contents = [_object(node, names) for node in root if names[node.tag] == "Contents"]
    except (ET.ParseError, ValueError, LookupError):
        return None
    if not contents:
        return None
    root[:] = [node for node in root if names[node.tag] != "Contents"]
    return ET.tostring(root), contents


def _take_contents_apart(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
    if response_dict["status_code"] == _OK and (taken := take_contents(response_dict["body"])):
        response_dict["body"], customized_response_dict["Contents"] = taken


class _Names(dict[str, str]):
    """The names of tags without their namespaces: some ten in a listing, each used a thousand times."""

    def __missing__(self, tag: str) -> str:
        name = self[tag] = tag.rpartition("}")[2]
        return name


def _texts(node: ET.Element, names: _Names) -> dict[str, Any]:
    """Return the texts of an element's children by their names. Raises `ValueError` where a name comes twice."""
    texts = {names[child.tag]: child.text or "" for child in node}
    if len(texts) != len(node):
        msg = "an element comes twice"
        raise ValueError(msg)
    return texts


def _object(node: ET.Element, names: _Names) -> dict[str, Any]:
    """Return an object with the members that botocore's has. Raises `ValueError` for a value that is none."""
    found = _texts(node, names)
    if "Size" in found:
        found["Size"] = int(found["Size"])
    if "LastModified" in found:
        found["LastModified"] = time_of(found["LastModified"])
    if "ChecksumAlgorithm" in found:
        found["ChecksumAlgorithm"] = [found["ChecksumAlgorithm"]]
    if not found.keys() <= _PLAIN:
        for child in node:
            name = names[child.tag]
            if name == "Owner":
                owner = _texts(child, names)
                found[name] = {member: owner[member] for member in ("DisplayName", "ID") if member in owner}
            elif name == "RestoreStatus":
                found[name] = _restore_status(_texts(child, names))
            elif name not in _PLAIN:
                del found[name]
    return found


def _restore_status(texts: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if "IsRestoreInProgress" in texts:
        found["IsRestoreInProgress"] = texts["IsRestoreInProgress"] == "true"
    if "RestoreExpiryDate" in texts:
        found["RestoreExpiryDate"] = time_of(texts["RestoreExpiryDate"])
    return found
