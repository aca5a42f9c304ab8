"""Where objects lie that several backups share. All keys are full keys in the backup bucket.

    <prefix>/.pool/<group>/<segment>/<content>-<attempt>    an object, at most once for each attempt that copied it
    <prefix>/.pool/.users/<run>/<attempt>.json               who may be about to list objects that no backup lists yet
    <prefix>/.pool/.condemned/<group>.json                   objects of a group that nobody may begin to list any more
    <prefix>/.pool/.sweep/claim.json                         which execution deletes what no backup lists

A group is one collection of one Milvus: a backup that wants to know which of a collection's objects are there lists its
group alone, a page a thousand. Groups begin with a hash, so that they spread over S3's partitions. The segment comes
next, in as many digits for each, so that what is new lies together. The content is a hash of what identifies a source
object: bucket, key, ETag and size, so that a Milvus that was installed anew shares nothing with what was there before.

The attempt makes a key that nobody else ever writes. A deletion that comes late, of a function whose execution was
stopped, cannot hit an object that another attempt has copied in the meantime.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import NamedTuple

from milvus_vault.model.objects import ListedObject

POOL_FOLDER = ".pool"

_GROUP = re.compile(r"[0-9a-f]{12}-[0-9]+")
_BELOW = re.compile(r"(?P<segment>[0-9a-f]{16})/(?P<content>[0-9a-f]{32})-(?P<attempt>[0-9a-f]{8})")
_KEY = re.compile(rf"(?:^|/)\.pool/(?P<group>{_GROUP.pattern})/{_BELOW.pattern}$")

BELOW_WIDTH = 16 + 1 + 32 + 1 + 8
"""Characters of an object's key below its group's folder."""


class PooledKey(NamedTuple):
    """What the key of an object in the pool says."""

    group: str
    segment_id: int
    content: str
    """What identifies the source object, see `content_of`."""
    attempt: str
    """Who copied it."""

    @property
    def below(self) -> str:
        """Return the key below the group's folder, as the lists of condemned objects have it."""
        return f"{self.segment_id:016x}/{self.content}-{self.attempt}"

    def __str__(self) -> str:
        """Return the key below the pool's folder."""
        return f"{self.group}/{self.below}"


def parse_pooled_key(key: str) -> PooledKey | None:
    """Return what the key of an object in a pool says; None for any other key."""
    found = _found(key)
    return PooledKey(found["group"], int(found["segment"], 16), found["content"], found["attempt"]) if found else None


def copied_by(key: str) -> str:
    """Return the attempt that copied an object in a pool; an empty text for any other key."""
    pooled = parse_pooled_key(key)
    return pooled.attempt if pooled else ""


def is_pooled(key: str) -> bool:
    """Return whether a key is one of an object in a pool."""
    return _found(key) is not None


def _found(key: str) -> re.Match[str] | None:
    # Most are not, which this tells in a tenth of the time.
    return _KEY.search(key) if POOL_FOLDER in key else None


def is_below_group(text: str) -> bool:
    """Return whether a text may be the key of an object below its group's folder."""
    return _BELOW.fullmatch(text) is not None


def is_group(name: str) -> bool:
    """Return whether a folder of the pool is one of a group."""
    return _GROUP.fullmatch(name) is not None


def group_of(source_bucket: str, root_path: str, collection_id: int) -> str:
    """Return the name of the group of a collection's objects."""
    return f"{_hash([source_bucket, root_path, collection_id], 12)}-{collection_id}"


def content_of(source_bucket: str, listed: ListedObject) -> str:
    """Return what identifies an object in Milvus' bucket, whose logs never change under one key."""
    return _hash([source_bucket, listed.key, listed.etag, listed.size_bytes], 32)


def _hash(parts: list[str | int], length: int) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:length]


@dataclass(frozen=True, slots=True)
class PoolLayout:
    """The keys of the pool below a backup prefix."""

    prefix: str
    """The backup prefix of the deployment; may be empty."""

    @property
    def root(self) -> str:
        """Return the pool's folder, with a slash at its end."""
        return f"{self.prefix.strip('/')}/{POOL_FOLDER}/".removeprefix("/")

    def folder(self, group: str) -> str:
        """Return the folder of a group's objects, with a slash at its end."""
        return f"{self.root}{group}/"

    def key(self, pooled: PooledKey) -> str:
        """Return the key of an object."""
        return f"{self.root}{pooled}"

    @property
    def users(self) -> str:
        """Return the folder of the notes of those who use the pool, with a slash at its end."""
        return f"{self.root}.users/"

    def user(self, run: str, attempt: str) -> str:
        """Return the key of the note of an attempt that uses the pool."""
        return f"{self.users}{run}/{attempt}.json"

    def condemned(self, group: str) -> str:
        """Return the key of the list of a group's objects that nobody may begin to list any more."""
        return f"{self.condemned_lists}{group}.json"

    @property
    def condemned_lists(self) -> str:
        """Return the folder of the lists of condemned objects, with a slash at its end."""
        return f"{self.root}.condemned/"

    @property
    def claim(self) -> str:
        """Return the key that says which execution sweeps the pool."""
        return f"{self.root}.sweep/claim.json"
