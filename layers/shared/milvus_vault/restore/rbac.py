"""Users, roles, grants and privilege groups: only what the server does not have yet.

RestoreRBAC fails as a whole for the first user or role that exists; and only it takes hashes of passwords.
"""

from milvus_vault.archive.contents import Archive
from milvus_vault.errors import InvalidRequestError
from milvus_vault.model.rbac import Rbac, RbacGrant
from milvus_vault.ports import Access

_BUILT_IN_USERS, _BUILT_IN_ROLES = {"root"}, {"admin", "public"}


def check_rbac(archive: Archive) -> Rbac:
    """Return the users and roles of a backup. Raises `InvalidRequestError` where it holds none."""
    if archive.rbac is None:
        msg = f"`rbac` is set, and backup '{archive.name}' holds no users and roles"
        raise InvalidRequestError(msg, hint="Leave out `rbac`, or use a backup that was made with `include_rbac`.")
    return archive.rbac


def restore_rbac(wanted: Rbac, database: Access) -> None:
    """Restore what is missing. Done again, it finds nothing to do.

    Raises `VersionUnsupportedError` for a server that cannot take users and roles from a backup.
    """
    missing = difference(wanted, database.backup_rbac())
    if missing != Rbac():
        database.restore_rbac(missing)


def difference(wanted: Rbac, there: Rbac) -> Rbac:
    """Return what of the one is not in the other, by name; what Milvus has by itself is never missing."""
    users = {user.name for user in there.users} | _BUILT_IN_USERS
    roles = {role.name for role in there.roles} | _BUILT_IN_ROLES
    groups = {group.name for group in there.privilege_groups}
    granted = {_key(grant) for grant in there.grants}
    return Rbac(
        users=tuple(user for user in wanted.users if user.name not in users),
        roles=tuple(role for role in wanted.roles if role.name not in roles),
        grants=tuple(grant for grant in wanted.grants if _key(grant) not in granted),
        privilege_groups=tuple(group for group in wanted.privilege_groups if group.name not in groups),
    )


def _key(grant: RbacGrant) -> tuple[str, ...]:
    """Return what makes a grant, whoever gave it."""
    return (grant.role, grant.object_type, grant.object_name, grant.privilege, grant.database)
