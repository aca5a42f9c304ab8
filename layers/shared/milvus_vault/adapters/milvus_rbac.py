"""Milvus' messages about users and rights to our models and back."""

from typing import Any

from pymilvus.grpc_gen import milvus_pb2

from milvus_vault.model.rbac import PrivilegeGroup, Rbac, RbacGrant, RbacRole, RbacUser

ALL_PRIVILEGES = "*"

# Message classes are built when pymilvus is imported, so that no type checker knows them.
type Message = Any


def rbac_from_proto(meta: Message) -> Rbac:
    """Return a `milvus.RBACMeta` message as a model.

    A user whose name begins another's may be told with a role that has no name; it is none.
    """
    return Rbac(
        users=tuple(
            RbacUser(
                name=user.user,
                password_hash=user.password,
                roles=tuple(role.name for role in user.roles if role.name),
            )
            for user in meta.users
        ),
        roles=tuple(RbacRole(name=role.name, description=role.description) for role in meta.roles if role.name),
        grants=tuple(
            RbacGrant(
                role=grant.role.name,
                object_type=grant.object.name,
                object_name=grant.object_name,
                privilege=grant.grantor.privilege.name,
                grantor=grant.grantor.user.name,
                database=grant.db_name,
            )
            for grant in meta.grants
        ),
        privilege_groups=tuple(
            PrivilegeGroup(name=group.group_name, privileges=tuple(item.name for item in group.privileges))
            for group in meta.privilege_groups
        ),
    )


def rbac_to_proto(rbac: Rbac) -> Message:
    """Return the `milvus.RBACMeta` message that restores it."""
    meta = milvus_pb2.RBACMeta()
    for user in rbac.users:
        meta.users.add(user=user.name, password=user.password_hash, roles=[{"name": role} for role in user.roles])
    for role in rbac.roles:
        meta.roles.add(name=role.name, description=role.description)
    for grant in rbac.grants:
        meta.grants.append(grant_to_proto(grant))
    for group in rbac.privilege_groups:
        meta.privilege_groups.add(group_name=group.name, privileges=[{"name": name} for name in group.privileges])
    return meta


def grant_to_proto(grant: RbacGrant) -> Message:
    """Return the `milvus.GrantEntity` message of a grant."""
    return milvus_pb2.GrantEntity(
        role={"name": grant.role},
        object={"name": grant.object_type},
        object_name=grant.object_name,
        grantor={"user": {"name": grant.grantor}, "privilege": {"name": grant.privilege}},
        db_name=grant.database,
    )
