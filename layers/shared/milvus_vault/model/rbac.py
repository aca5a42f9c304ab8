"""Who may do what in a Milvus: users, roles, grants and privilege groups."""

from milvus_vault.model.base import Model


class RbacUser(Model):
    """A user. Those that every server has (root) are not recorded."""

    name: str
    password_hash: str
    """Hash by bcrypt, as Milvus keeps it: a secret, though no password."""
    roles: tuple[str, ...] = ()


class RbacRole(Model):
    """A role. Those that every server has (admin, public) are not recorded."""

    name: str
    description: str = ""


class RbacGrant(Model):
    """A privilege that a role has."""

    role: str
    object_type: str
    """`Global`, `Collection` or `User`."""
    object_name: str
    """Name of the collection or user; `*` for all."""
    privilege: str
    """Name of a privilege or of a privilege group."""
    grantor: str = ""
    database: str = ""


class PrivilegeGroup(Model):
    """Privileges that are granted together under a name."""

    name: str
    privileges: tuple[str, ...] = ()


class Rbac(Model):
    """All of it, as BackupRBAC tells it."""

    users: tuple[RbacUser, ...] = ()
    roles: tuple[RbacRole, ...] = ()
    grants: tuple[RbacGrant, ...] = ()
    privilege_groups: tuple[PrivilegeGroup, ...] = ()
