"""Documents of a backup that are written as their pieces come: they may be larger than a function's memory."""

import hashlib
import io
from collections.abc import Iterable, Iterator
from itertools import chain

from milvus_vault.archive.manifest import FileDigest
from milvus_vault.model.locks import ObjectLock
from milvus_vault.workspace import Workspace

# 10,000 parts of an upload, the most there are, are 80 GiB. Of a document that is being written up to four are held.
_PART_BYTES = 8 * 1024**2


def put_streamed(place: Workspace, key: str, name: str, pieces: Iterable[bytes], lock: ObjectLock | None) -> FileDigest:
    """Write a document as its pieces come, and return its digest. It is there once all are written.

    Args:
        place: Where the backup lies.
        key: The document's full key.
        name: Its key below the backup's folder, for the digest.
        pieces: Its content. What reading them raises is passed on, and nothing is left behind.
        lock: How it is to be locked.
    """
    sha256, size_bytes = hashlib.sha256(), 0

    def parts() -> Iterator[bytes]:
        nonlocal size_bytes
        part = io.BytesIO()
        for piece in pieces:
            sha256.update(piece)
            size_bytes += len(piece)
            rest = memoryview(piece)
            while rest:
                rest = rest[part.write(rest[: _PART_BYTES - part.tell()]) :]
                if part.tell() == _PART_BYTES:
                    yield part.getvalue()
                    part = io.BytesIO()
        if part.tell():
            yield part.getvalue()

    found = parts()
    first, second = next(found, b""), next(found, None)
    if second is None:
        place.store.put(place.bucket, key, first, lock=lock)
    else:
        rest = chain((first, second), found)
        del first, second
        place.store.put_in_parts(place.bucket, key, rest)
        if lock:
            place.store.lock(place.bucket, key, lock)
    return FileDigest(key=name, size_bytes=size_bytes, sha256=sha256.hexdigest())
