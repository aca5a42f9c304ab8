"""Look for what no backup lists, in a pool of a million objects that thirty backups list; tell time and memory.

    PYTHONPATH=layers/shared:. .venv/bin/python -m bench.pool [OBJECTS] [BACKUPS]

Each backup lists as many objects as the first; 2 % are others than the night before, and the oldest backup is gone.
Time is that of the CPU, with that of making the listing up; a sweep does it twice. Memory is what the process takes
beyond the store, at its height.
"""

import hashlib
import resource
import sys
import time
from collections.abc import Iterator
from typing import override

from milvus_vault.archive.manifest import FileDigest
from milvus_vault.archive.pool import PooledKey, PoolLayout
from milvus_vault.model.objects import ListedObject
from milvus_vault.pool.references import ReferenceList, unlisted
from tests.support.memory_store import InMemoryObjectStore

PREFIX, GROUP = "nightly", "0123456789ab-470642820001452533"
MIB = 1 << 20


def keys(count: int) -> Iterator[str]:
    """Yield keys in the pool, in order."""
    for number in range(count):
        content = hashlib.md5(str(number).encode()).hexdigest()  # noqa: S324
        yield PoolLayout(PREFIX).key(PooledKey(GROUP, number, content, "01234567"))


class Lists(InMemoryObjectStore):
    """A bucket with the object lists of backups, each a piece of one text, since all lines are of the same length."""

    def __init__(self, objects: int, backups: int) -> None:
        """Say how many objects each backup has."""
        super().__init__()
        self.objects, self.changed = objects, objects // 50
        source = "files/insert_log/470642820001452533/470642820001452534/470642820001452545/100/470642820001452546"
        rest = f'"{source}",1048576,"0123456789abcdef0123456789abcdef","CRC64NVME:0123456789A="]'
        # Not by `join`, which takes twice the memory: the height of that would hide what is measured.
        self.text = bytearray()
        for key in keys(objects + backups * self.changed):
            self.text += f'["{key}",{rest}\n'.encode()
        self.width = self.text.index(b"\n") + 1

    @override
    def list_objects(self, bucket: str, prefix: str) -> Iterator[ListedObject]:
        """Yield the list of that key."""
        yield ListedObject(prefix, 1, prefix)

    @override
    def chunks(self, bucket: str, key: str, etag: str) -> Iterator[bytes]:
        """Yield the list of a backup in pieces."""
        first = int(key) * self.changed * self.width
        last = first + self.objects * self.width
        yield from (bytes(self.text[start : min(start + MIB, last)]) for start in range(first, last, MIB))

    def digest(self, night: int) -> FileDigest:
        """Return the digest of a backup's list."""
        found = hashlib.sha256()
        for chunk in self.chunks("", str(night), ""):
            found.update(chunk)
        return FileDigest(key="", size_bytes=self.objects * self.width, sha256=found.hexdigest())


def main(objects: int = 1_000_000, backups: int = 30) -> None:
    """Print what the marking of a group takes."""
    lists = Lists(objects, backups)
    references = [ReferenceList("", str(night), lists.digest(night)) for night in range(1, backups + 1)]
    total = objects + backups * lists.changed
    listing = (ListedObject(key, MIB, "") for key in keys(total))
    began, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    gone = sum(1 for _ in unlisted(lists, "", PoolLayout(PREFIX).folder(GROUP), references, listing))
    took = time.process_time() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"{total:,} objects in the pool, {backups} lists of {objects:,}: {gone:,} are in none")
    rate = took / backups / objects * 1e6
    print(f"{took:.0f} s of CPU, {rate:.2f} s a million lines; {memory / 1024:.0f} MiB more than before")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
