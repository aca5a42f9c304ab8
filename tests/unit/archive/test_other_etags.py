"""What is noted of other ETags is read and written in pieces, and a document that rots notes nothing."""

import hashlib
import json

import pytest

from milvus_vault.archive import other_etags
from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.other_etags import OtherEtags, read_other_etags, write_other_etags
from tests.support.memory_store import InMemoryObjectStore

BUCKET, LAYOUT = "backups", BackupLayout("nightly", "b")
NOTED = {f"insert_log/7/8/{number}/1/ü{number}": (f"was-{number}", f"is-{number}") for number in range(100)}


@pytest.fixture
def store() -> InMemoryObjectStore:
    return InMemoryObjectStore(BUCKET)


def sealed(document: bytes) -> bytes:
    """Return a document as earlier releases wrote it."""
    return document + b"\n" + json.dumps({"sha256": hashlib.sha256(document).hexdigest()}).encode()


def test_what_is_noted_is_read_again_and_written_in_pieces(
    store: InMemoryObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(other_etags, "_PIECE_BYTES", 500)
    noted = OtherEtags()
    noted.note((key, ("was", "before")) for key in NOTED)
    noted.note(NOTED.items())
    write_other_etags(store, BUCKET, LAYOUT, noted)
    assert dict(read_other_etags(store, BUCKET, LAYOUT)) == NOTED == dict(noted)
    assert 10 < len(list(noted.document())) < 100


def test_whether_anything_is_noted_is_told_without_a_count() -> None:
    noted, asked = OtherEtags(), list[str]()
    assert not noted
    noted.note(NOTED.items())
    noted._tables.set_trace_callback(asked.append)
    assert noted
    assert asked
    assert not [statement for statement in asked if "count" in statement]


def test_an_earlier_release_wrote_the_same_document(store: InMemoryObjectStore) -> None:
    document = json.dumps({"objects": NOTED}, ensure_ascii=False, separators=(",", ":")).encode()
    store.put(BUCKET, LAYOUT.other_etags, sealed(document))
    assert dict(read_other_etags(store, BUCKET, LAYOUT)) == NOTED


def test_nothing_is_noted_where_there_is_no_document(store: InMemoryObjectStore) -> None:
    assert read_other_etags(store, BUCKET, LAYOUT) == {}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n",
        b'{"objects":{"a":["b","c"]}}',
        b'{"objects":{"a":["b","c"]}}\n',
        b'{"objects":{"a":["b","c"]}}\n{"sha256": "00"}',
        sealed(b'{"objects":{"a":["b","c"]}}') + b" ",
        sealed(b'{"objects":{"a":["b","c"]}}').replace(b'"c"', b'"d"'),
        sealed(b'{"objects":{"a":["b","c"]}}x'),
        sealed(b'{"objects":{"a":["b"]}}'),
        sealed(b'{"objects":{"a":["b",7]}}'),
        sealed(b'{"objects":["a"]}'),
        sealed(b'{"objects":{"\\ud800":["b","c"]}}'),
        sealed(b'{"objects":{"a":["b","c"]'),
        sealed(b"[]"),
    ],
)
def test_a_document_that_rots_notes_nothing(store: InMemoryObjectStore, body: bytes) -> None:
    store.put(BUCKET, LAYOUT.other_etags, body)
    assert read_other_etags(store, BUCKET, LAYOUT) == {}
