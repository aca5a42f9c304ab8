"""Users, roles, grants and privilege groups; and who may call what."""

import base64
import hashlib
from dataclasses import dataclass, field

ROOT, ADMIN, PUBLIC = "root", "admin", "public"
ROOT_PASSWORD = "Milvus"
_HASH_START, _HASH_LENGTH = "$2a$10$", 53

# What anybody may call, seen on real servers with authorization on.
_FREE = {
    "Connect",
    "GetVersion",
    "CheckHealth",
    "ListDatabases",
    "ShowCollections",
    "DescribeCollection",
    "HasCollection",
    "DescribeIndex",
    "ListIndexedSegment",
    "GetPersistentSegmentInfo",
    "ShowPartitions",
    "HasPartition",
    "GetImportState",
    "ListImportTasks",
    "GetReplicas",
    "GetLoadingProgress",
    "AllocTimestamp",
    "GetFlushAllState",
    "SegmentsDescribe",
}
# Where a privilege has not the name of its call.
_PRIVILEGES = {
    "LoadCollection": "Load",
    "LoadPartitions": "Load",
    "ReleaseCollection": "Release",
    "ReleasePartitions": "Release",
    "GetCollectionStatistics": "GetStatistics",
    "ManualCompaction": "Compaction",
    "CreateCredential": "CreateOwnership",
}


@dataclass(frozen=True, slots=True)
class Grant:
    """One privilege of one role."""

    role: str
    object_type: str
    object_name: str
    privilege: str
    grantor: str
    database: str


def encrypt(password: str) -> str:
    """Return what stands for a password in a backup: of the form of bcrypt's hashes."""
    digest = hashlib.sha512(password.encode()).digest()
    return _HASH_START + base64.b64encode(digest).decode()[:_HASH_LENGTH]


@dataclass
class Rbac:
    """All users and what they may do."""

    users: dict[str, str] = field(default_factory=lambda: {ROOT: encrypt(ROOT_PASSWORD)})
    """Hashes by name."""
    roles: dict[str, str] = field(default_factory=lambda: {ADMIN: "", PUBLIC: ""})
    """Descriptions by name."""
    members: set[tuple[str, str]] = field(default_factory=lambda: {(ROOT, ADMIN)})
    """User and role."""
    grants: set[Grant] = field(default_factory=set)
    groups: dict[str, set[str]] = field(default_factory=dict)
    """Privileges by group."""

    def knows(self, user: str, password: str) -> bool:
        """Return whether a user has this password."""
        return self.users.get(user) == encrypt(password)

    def allows(self, user: str, call: str) -> bool:
        """Return whether a user may call something."""
        roles = {role for member, role in self.members if member == user}
        if call in _FREE or user == ROOT or ADMIN in roles:
            return True
        granted = {grant.privilege for grant in self.grants if grant.role in roles | {PUBLIC}}
        granted |= {privilege for group in granted for privilege in self.groups.get(group, ())}
        return bool(granted & {"*", "All", _PRIVILEGES.get(call, call), f"Privilege{_PRIVILEGES.get(call, call)}"})
