"""Users, roles, grants and privilege groups; and who may call what."""

import base64
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from pymilvus.grpc_gen import common_pb2, milvus_pb2

from tests.support.milvus_server.values import Message

ROOT, ADMIN, PUBLIC = "root", "admin", "public"
ROOT_PASSWORD = "Milvus"
_HASH_START, _HASH_LENGTH = "$2a$10$", 53

# What the role `public` has on every server, so that anybody may.
_PUBLIC_PRIVILEGES = {"DescribeCollection", "IndexDetail"}


@dataclass(frozen=True, slots=True)
class _Need:
    """What a call asks for, as the API's own definition says."""

    privilege: str
    is_on_collections: bool
    """Else it is on everything."""
    one: int
    many: int
    """Numbers of the request's fields that name collections; 0 for none."""

    def collections(self, request: Message) -> list[str]:
        """Return the collections that a request names."""
        fields = request.DESCRIPTOR.fields_by_number
        if self.many:
            return list(getattr(request, fields[self.many].name))
        return [getattr(request, fields[self.one].name)] if self.one > 0 else []


def _needs() -> Iterator[tuple[str, _Need]]:
    inputs = {
        method.name: method.input_type for method in milvus_pb2.DESCRIPTOR.services_by_name["MilvusService"].methods
    }
    # Calls that only REST has.
    for call in ("GetImportProgress", "ListImports"):
        inputs[call] = milvus_pb2.DESCRIPTOR.message_types_by_name[f"{call}AuthPlaceholder"]
    for call, message in inputs.items():
        options = message.GetOptions()
        if options.HasExtension(common_pb2.privilege_ext_obj):
            found = options.Extensions[common_pb2.privilege_ext_obj]
            name = common_pb2.ObjectPrivilege.Name(found.object_privilege).removeprefix("Privilege")
            kind = common_pb2.ObjectType.Name(found.object_type)
            yield call, _Need(name, kind == "Collection", found.object_name_index, found.object_name_indexs)


# What is not here, anybody may call.
_NEEDS = dict(_needs())


def named_in(call: str, request: Message) -> list[str]:
    """Return the collections that a call's rights are asked for."""
    return _NEEDS[call].collections(request) if call in _NEEDS else []


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

    def allows(self, user: str, call: str, database: str = "default", collections: Iterable[str] = ()) -> bool:
        """Return whether a user may call something of these collections of a database."""
        roles = {role for member, role in self.members if member == user}
        need = _NEEDS.get(call)
        if need is None or need.privilege in _PUBLIC_PRIVILEGES or user == ROOT or ADMIN in roles:
            return True
        found = [grant for grant in self.grants if grant.role in roles | {PUBLIC}]
        grants = [grant for grant in found if self._gives(grant, need.privilege)]
        there = {grant.object_name for grant in grants if grant.database in {"*", "", database}}
        wanted = set(collections) if need.is_on_collections else {"*"}
        return bool(there) and ("*" in there or not need.is_on_collections or wanted <= there)

    def may_import_binlogs(self, user: str) -> bool:
        """Return whether a user has ImportBinlog, which counts only where it is granted on all databases."""
        roles = {role for member, role in self.members if member == user}
        grants = [grant for grant in self.grants if grant.role in roles and grant.database == "*"]
        return user == ROOT or ADMIN in roles or any(self._gives(grant, "ImportBinlog") for grant in grants)

    def _gives(self, grant: Grant, privilege: str) -> bool:
        names = {grant.privilege, *self.groups.get(grant.privilege, ())}
        return bool({name.removeprefix("Privilege") for name in names} & {"*", "All", privilege})
