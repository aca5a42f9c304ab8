"""Checksums of content are those that S3 keeps."""

import zlib
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvus_vault.verifying import checksums
from milvus_vault.verifying.checksums import checksum_of, is_as_good_as_an_etag, is_of_content

# Of b"123456789", as the catalogue of parametrised CRC algorithms has them (reveng.sourceforge.io).
CHECKS = {"CRC64NVME": "ae8b14860a799888", "CRC32C": "e3069283", "CRC32": "cbf43926"}


@pytest.mark.parametrize("algorithm", CHECKS)
def test_they_have_the_published_value(algorithm: str) -> None:
    value = b64encode(bytes.fromhex(CHECKS[algorithm])).decode()
    assert checksum_of(b"123456789", algorithm) == f"{algorithm}:{value}"


def crc64nvme(content: bytes) -> int:
    """Return it bit by bit, as the NVM Express specification defines it."""
    value = 0xFFFF_FFFF_FFFF_FFFF
    for byte in content:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0x9A6C_9329_AC4B_C9B5 if value & 1 else 0)
    return value ^ 0xFFFF_FFFF_FFFF_FFFF


@given(content=st.binary(max_size=600), piece=st.integers(1, 64))
def test_they_do_not_depend_on_the_pieces(content: bytes, piece: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checksums, "_PIECE_BYTES", piece)
        assert checksum_of(content, "CRC64NVME") == f"CRC64NVME:{b64encode(crc64nvme(content).to_bytes(8)).decode()}"
        assert checksum_of(content, "CRC32") == f"CRC32:{b64encode(zlib.crc32(content).to_bytes(4)).decode()}"


@pytest.mark.parametrize(
    ("checksum", "can_be_told", "alone"),
    [
        ("CRC64NVME:rosUhgp5mIg=", True, True),
        ("CRC32C:4waSgw==", True, False),
        ("CRC32C:4waSgw==-3", False, False),
        ("CRC64NVME:rosUhgp5mIg=-3", False, False),
        ("XXHASH64:AAAAAAAAAAA=", False, False),
        ("", False, False),
    ],
)
def test_those_of_parts_and_of_unknown_algorithms_tell_nothing_and_short_ones_not_alone(
    checksum: str, *, can_be_told: bool, alone: bool
) -> None:
    assert (is_of_content(checksum), is_as_good_as_an_etag(checksum)) == (can_be_told, alone)
