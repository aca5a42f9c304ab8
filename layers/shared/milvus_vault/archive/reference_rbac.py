"""Users and rights as milvus-backup writes them, and back."""

from collections.abc import Iterable

from milvus_vault.archive.go_json import Encoded, array, message
from milvus_vault.archive.reference_messages import RbacMessage
from milvus_vault.model.rbac import PrivilegeGroup, Rbac, RbacGrant, RbacRole, RbacUser


def encode_rbac(rbac: Rbac) -> Encoded:
    """Return `rbac_meta`. Descriptions of roles have no place in it."""
    return message(
        {
            "users": array(
                message({"user": user.name, "password": user.password_hash, "roles": _names(user.roles)})
                for user in rbac.users
            ),
            "roles": _names(role.name for role in rbac.roles),
            "grants": array(_grant(grant) for grant in rbac.grants),
            "privilege_groups": array(
                message({"group_name": group.name, "privileges": _names(group.privileges)})
                for group in rbac.privilege_groups
            ),
        }
    )


def translate_rbac(rbac: RbacMessage) -> Rbac:
    """Return what milvus-backup recorded. Roles without a name, which Milvus may tell of a user, are left out."""
    return Rbac(
        users=tuple(
            RbacUser(
                name=user.user, password_hash=user.password, roles=tuple(role.name for role in user.roles if role.name)
            )
            for user in rbac.users
        ),
        roles=tuple(RbacRole(name=role.name) for role in rbac.roles if role.name),
        grants=tuple(
            RbacGrant(
                role=grant.role.name,
                object_type=grant.object_type.name,
                object_name=grant.object_name,
                privilege=grant.grantor.privilege.name,
                grantor=grant.grantor.user.name,
                database=grant.db_name,
            )
            for grant in rbac.grants
        ),
        privilege_groups=tuple(
            PrivilegeGroup(name=group.group_name, privileges=tuple(item.name for item in group.privileges))
            for group in rbac.privilege_groups
        ),
    )


def _grant(grant: RbacGrant) -> Encoded:
    return message(
        {
            "role": _named(grant.role),
            "object": _named(grant.object_type),
            "object_name": grant.object_name,
            "grantor": message({"user": _named(grant.grantor), "privilege": _named(grant.privilege)}),
            "db_name": grant.database,
        }
    )


def _names(names: Iterable[str]) -> Encoded:
    return array(_named(name) for name in names)


def _named(name: str) -> Encoded:
    return message({"name": name})
