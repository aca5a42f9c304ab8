"""Calls about users, roles, grants, and their backup."""

import base64

from tests.support.milvus_server.calls.table import Call, answers
from tests.support.milvus_server.rbac import ADMIN, PUBLIC, ROOT, Grant, Rbac, encrypt
from tests.support.milvus_server.refusals import INVALID, UNEXPECTED, Refusal
from tests.support.milvus_server.values import Message

_BUILT_IN = {ADMIN, PUBLIC}


@answers("CreateCredential")
def create_credential(call: Call, request: Message, _: Message) -> None:
    """Create a user; clients send the password as base64."""
    if request.username in call.rbac.users:
        raise Refusal(1100, f"user already exists: {request.username}")
    call.rbac.users[request.username] = encrypt(_decoded(request.password))


@answers("UpdateCredential")
def update_credential(call: Call, request: Message, _: Message) -> None:
    """Change a password."""
    if not call.rbac.knows(request.username, _decoded(request.oldPassword)):
        raise Refusal(1400, f"old password not correct for {request.username}")
    call.rbac.users[request.username] = encrypt(_decoded(request.newPassword))


@answers("DeleteCredential")
def delete_credential(call: Call, request: Message, _: Message) -> None:
    """Drop a user."""
    call.rbac.users.pop(request.username, None)
    call.rbac.members = {pair for pair in call.rbac.members if pair[0] != request.username}


@answers("ListCredUsers")
def list_users(call: Call, _: Message, answer: Message) -> None:
    """List the users."""
    answer.usernames.extend(sorted(call.rbac.users))


@answers("CreateRole")
def create_role(call: Call, request: Message, _: Message) -> None:
    """Create a role."""
    if request.entity.name in call.rbac.roles:
        raise Refusal(UNEXPECTED, f"role [{request.entity.name}] already exists")
    call.rbac.roles[request.entity.name] = request.entity.description


@answers("DropRole")
def drop_role(call: Call, request: Message, _: Message) -> None:
    """Drop a role and its grants."""
    rbac = call.rbac
    if request.role_name not in rbac.roles:
        raise Refusal(UNEXPECTED, f"not found the role, maybe the role isn't existed: {request.role_name}")
    del rbac.roles[request.role_name]
    rbac.grants = {grant for grant in rbac.grants if grant.role != request.role_name}
    rbac.members = {pair for pair in rbac.members if pair[1] != request.role_name}


@answers("OperateUserRole")
def operate_user_role(call: Call, request: Message, _: Message) -> None:
    """Give a user a role, or take it away."""
    pair = (request.username, request.role_name)
    if request.username not in call.rbac.users or request.role_name not in call.rbac.roles:
        raise Refusal(UNEXPECTED, f"not found the user or role: {pair}")
    if request.type == 0:
        call.rbac.members.add(pair)
    else:
        call.rbac.members.discard(pair)


@answers("SelectUser")
def select_user(call: Call, request: Message, answer: Message) -> None:
    """Tell of users and their roles."""
    for user in sorted(call.rbac.users):
        if request.user.name in {"", user}:
            roles = [{"name": role} for member, role in sorted(call.rbac.members) if member == user]
            answer.results.add(user={"name": user}, roles=roles if request.include_role_info else [])


@answers("SelectRole")
def select_role(call: Call, request: Message, answer: Message) -> None:
    """Tell of roles and their users."""
    for role in sorted(call.rbac.roles):
        if request.role.name in {"", role}:
            users = [{"name": user} for user, member in sorted(call.rbac.members) if member == role]
            answer.results.add(role={"name": role}, users=users if request.include_user_info else [])


@answers("OperatePrivilege")
def operate_privilege(call: Call, request: Message, _: Message) -> None:
    """Grant a privilege, or take it away."""
    entity = request.entity
    grant = Grant(
        role=entity.role.name,
        object_type=entity.object.name,
        object_name=entity.object_name,
        privilege=entity.grantor.privilege.name,
        grantor=call.user or ROOT,
        database=entity.db_name or call.database(request),
    )
    _grant(call.rbac, grant, is_given=request.type == 0)


@answers("OperatePrivilegeV2")
def operate_privilege_v2(call: Call, request: Message, _: Message) -> None:
    """Grant a privilege, or take it away, without a type of object."""
    grant = Grant(
        role=request.role.name,
        object_type="Global" if request.collection_name == "*" else "Collection",
        object_name=request.collection_name,
        privilege=request.grantor.privilege.name,
        grantor=call.user or ROOT,
        database=request.db_name or "default",
    )
    _grant(call.rbac, grant, is_given=request.type == 0)


def _grant(rbac: Rbac, grant: Grant, *, is_given: bool) -> None:
    if grant.role not in rbac.roles:
        raise Refusal(UNEXPECTED, f"there is no role {grant.role}")
    if is_given:
        rbac.grants.add(grant)
    else:
        rbac.grants = {there for there in rbac.grants if _without_grantor(there) != _without_grantor(grant)}


def _without_grantor(grant: Grant) -> tuple[str, ...]:
    return grant.role, grant.object_type, grant.object_name, grant.privilege, grant.database


@answers("SelectGrant")
def select_grant(call: Call, request: Message, answer: Message) -> None:
    """Tell of grants of a role."""
    for grant in sorted(call.rbac.grants, key=_without_grantor):
        if grant.role == request.entity.role.name:
            _fill_grant(answer.entities.add(), grant)


def _fill_grant(message: Message, grant: Grant) -> None:
    message.role.name, message.object.name = grant.role, grant.object_type
    message.object_name, message.db_name = grant.object_name, grant.database
    message.grantor.user.name, message.grantor.privilege.name = grant.grantor, grant.privilege


@answers("CreatePrivilegeGroup")
def create_privilege_group(call: Call, request: Message, _: Message) -> None:
    """Create a privilege group."""
    if request.group_name in call.rbac.groups:
        raise Refusal(INVALID, f"privilege group name [{request.group_name}] is defined by built in privileges")
    call.rbac.groups[request.group_name] = set()


@answers("DropPrivilegeGroup")
def drop_privilege_group(call: Call, request: Message, _: Message) -> None:
    """Drop a privilege group."""
    call.rbac.groups.pop(request.group_name, None)


@answers("OperatePrivilegeGroup")
def operate_privilege_group(call: Call, request: Message, _: Message) -> None:
    """Put privileges into a group, or take them out."""
    if request.group_name not in call.rbac.groups:
        raise Refusal(INVALID, f"there is no privilege group name [{request.group_name}] to operate")
    names = {privilege.name for privilege in request.privileges}
    there = call.rbac.groups[request.group_name]
    call.rbac.groups[request.group_name] = there | names if request.type == 0 else there - names


@answers("ListPrivilegeGroups")
def list_privilege_groups(call: Call, _: Message, answer: Message) -> None:
    """List the privilege groups."""
    _fill_groups(call.rbac, answer.privilege_groups)


def _fill_groups(rbac: Rbac, groups: Message) -> None:
    for name, privileges in sorted(rbac.groups.items()):
        groups.add(group_name=name, privileges=[{"name": privilege} for privilege in sorted(privileges)])


@answers("BackupRBAC")
def backup_rbac(call: Call, _: Message, answer: Message) -> None:
    """Return all but what is built in, with the hashes of passwords."""
    rbac, meta = call.rbac, answer.RBAC_meta
    names = sorted(set(rbac.users) - {ROOT})
    for user in names:
        roles = [role for member, role in sorted(rbac.members) if member == user]
        # A user whose name begins another's may get a role without a name.
        roles += [""] if any(other != user and other.startswith(user) for other in names) else []
        meta.users.add(user=user, password=rbac.users[user], roles=[{"name": role} for role in roles])
    for role, description in sorted(rbac.roles.items()):
        if role not in _BUILT_IN:
            meta.roles.add(name=role, description=description)
    for grant in sorted(rbac.grants, key=_without_grantor):
        if grant.role not in _BUILT_IN:
            _fill_grant(meta.grants.add(), grant)
    _fill_groups(rbac, meta.privilege_groups)


@answers("RestoreRBAC")
def restore_rbac(call: Call, request: Message, _: Message) -> None:
    """Add users, roles, grants and groups; where any is there already, nothing is changed."""
    rbac, meta = call.rbac, request.RBAC_meta
    for role in meta.roles:
        if role.name in rbac.roles:
            raise Refusal(UNEXPECTED, f"role [{role.name}] already exists")
    for user in meta.users:
        if user.user in rbac.users:
            raise Refusal(UNEXPECTED, f"user [{user.user}] already exists")
    for group in meta.privilege_groups:
        if group.group_name in rbac.groups:
            raise Refusal(UNEXPECTED, f"privilege group [{group.group_name}] already exists")
    rbac.roles |= {role.name: role.description for role in meta.roles}
    for group in meta.privilege_groups:
        rbac.groups[group.group_name] = {privilege.name for privilege in group.privileges}
    for user in meta.users:
        rbac.users[user.user] = user.password
        rbac.members |= {(user.user, role.name) for role in user.roles if role.name}
    for entity in meta.grants:
        privilege = entity.grantor.privilege.name
        rbac.grants.add(
            Grant(
                entity.role.name,
                entity.object.name,
                entity.object_name,
                f"PrivilegeGroup{privilege}" if privilege == "*" and call.core.faults.garbles_wildcards else privilege,
                entity.grantor.user.name or ROOT,
                entity.db_name,
            )
        )


def _decoded(password: str) -> str:
    return base64.b64decode(password).decode()
