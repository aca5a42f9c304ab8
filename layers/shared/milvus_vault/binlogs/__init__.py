"""What Milvus' own files say of time: when rows were written, and which keys were deleted when.

Pure functions over the bytes of one file, for the logs of Milvus 2.2 to 2.6. Bytes that are no such log, or no whole
one, are a `BinlogUnreadableError`, whose message lacks the key: only the caller knows it.
"""

from milvus_vault.binlogs.deletes import Deletes, cut_deletes, read_deletes
from milvus_vault.binlogs.timestamps import read_timestamps

__all__ = ["Deletes", "cut_deletes", "read_deletes", "read_timestamps"]
