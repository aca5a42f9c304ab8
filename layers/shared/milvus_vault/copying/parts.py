"""How one object is copied: in one request, or in which parts."""

from collections.abc import Iterator

MIB = 1024**2

MAX_SINGLE_COPY_BYTES = 256 * MIB
"""Largest object that is copied by one CopyObject request.

S3 allows 5 GiB (CopyObject, S3 API reference). One request is also the cheapest, since each part is paid
for like a copy; but it copies at the pace of one connection, and a failure repeats all of it. At some
100 MiB/s, 256 MiB take 3 s.
"""

PART_BYTES = 64 * MIB
"""Size of a part, unless the object would then need more than `MAX_PARTS`.

Measured by others for an object of 8.7 GB: 50 to 100 MB are fastest, by little (`copyS3part`).
"""

MAX_PARTS = 10_000  # Amazon S3 multipart upload limits, S3 user guide
MAX_PART_BYTES = 5 * 1024 * MIB  # the same table
MAX_OBJECT_BYTES = MAX_PARTS * MAX_PART_BYTES  # 48.8 TiB, the same table


def part_size_for(object_bytes: int) -> int:
    """Return the part size that copies the object within S3's 10,000-part limit.

    64 MiB unless that needs more than 10,000 parts (above 625 GiB), then the smallest whole MiB that
    fits. Larger parts would save requests but repeat more bytes after a failed one.

    Raises:
        ValueError: The object is larger than any that S3 stores.
    """
    if object_bytes > MAX_OBJECT_BYTES:
        msg = f"no object in S3 has {object_bytes} bytes: the limit is {MAX_OBJECT_BYTES}"
        raise ValueError(msg)
    smallest = -(-object_bytes // MAX_PARTS)
    whole_mib = -(-smallest // MIB) * MIB
    return max(PART_BYTES, whole_mib)


def part_ranges(object_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield the first and the last byte of each part, both included, as `CopySourceRange` wants them."""
    size = part_size_for(object_bytes)
    for first in range(0, object_bytes, size):
        yield first, min(first + size, object_bytes) - 1
