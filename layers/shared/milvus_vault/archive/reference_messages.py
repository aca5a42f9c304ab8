"""The messages of milvus-backup's metadata, as far as a restore needs them.

Read the way Go reads them: unknown members are ignored, absent ones are zero, and an integer is never a float
or a text. `state_code` says nothing, the sizes of segments and above are not reliable, and neither is here.
"""

import json

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

from milvus_vault.model.base import Number

_STRICT = ConfigDict(strict=True, extra="ignore")


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


def parse_message[T: BaseModel](model: type[T], body: bytes) -> T:
    """Return a message; as for Go, a member that is `null` is absent.

    Raises `ValidationError` where it is none.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError:
        # No release writes one, so that only a file that somebody else wrote is read twice.
        if b"null" not in body:
            raise
        try:
            members = json.loads(body, object_pairs_hook=_without_nulls)
        except (ValueError, RecursionError):
            members = None
        if members is None:
            raise
        return model.model_validate_json(json.dumps(members))


def _without_nulls(members: list[tuple[str, object]]) -> dict[str, object]:
    return {key: value for key, value in members if value is not None}


@dataclass(frozen=True, slots=True, config=_STRICT)
class BinlogMessage:
    """An object. A million of them take nearly a gigabyte less as dataclasses than as models."""

    log_path: str = ""
    """The key that it had in Milvus' bucket."""
    log_size: Number = 0
    log_id: Number = 0


@dataclass(frozen=True, slots=True, config=_STRICT)
class FieldBinlogMessage:
    """The objects of a field, or of a column group."""

    field_id: Number = Field(default=0, alias="fieldID")
    binlogs: list[BinlogMessage] = Field(default_factory=list)


class SegmentMessage(_Message):
    """A segment. No `group_id` means that there is no folder of a group."""

    segment_id: Number
    collection_id: Number = 0
    partition_id: Number = 0
    num_of_rows: Number = 0
    binlogs: list[FieldBinlogMessage] = []
    deltalogs: list[FieldBinlogMessage] = []
    group_id: Number = 0
    is_l0: bool = False
    storage_version: Number = 0


class PartitionMessage(_Message):
    """A partition."""

    partition_id: Number
    partition_name: str
    collection_id: Number = 0
    segment_backups: list[SegmentMessage] = []
    load_state: str = ""


class KeyValueMessage(_Message):
    """A parameter."""

    key: str = ""
    value: str = ""


class FieldMessage(_Message):
    """A field of a schema."""

    field_id: Number = Field(alias="fieldID")
    name: str
    is_primary_key: bool = False
    description: str = ""
    data_type: Number = 0
    type_params: list[KeyValueMessage] = []
    index_params: list[KeyValueMessage] = []
    auto_id: bool = Field(default=False, alias="autoID")
    element_type: Number = 0
    is_dynamic: bool = False
    is_partition_key: bool = False
    nullable: bool = False
    default_value_proto: str = ""
    """Bytes written as text by old releases: those that are no text are lost."""
    is_function_output: bool = False
    default_value_base64: str = ""


class FunctionMessage(_Message):
    """A function of a schema."""

    name: str
    function_id: Number = Field(default=0, alias="id")
    description: str = ""
    function_type: Number = Field(default=0, alias="type")
    input_field_names: list[str] = []
    input_field_ids: list[Number] = []
    output_field_names: list[str] = []
    output_field_ids: list[Number] = []
    params: list[KeyValueMessage] = []


class StructArrayMessage(_Message):
    """A field of structs."""

    field_id: Number = Field(alias="fieldID")
    name: str
    description: str = ""
    fields: list[FieldMessage] = []
    type_params: list[KeyValueMessage] = []
    nullable: bool = False
    """These two milvus-backup 0.5 has not yet."""


class SchemaMessage(_Message):
    """A collection's schema."""

    name: str = ""
    description: str = ""
    auto_id: bool = Field(default=False, alias="autoID")
    fields: list[FieldMessage]
    enable_dynamic_field: bool = False
    properties: list[KeyValueMessage] = []
    functions: list[FunctionMessage] = []
    struct_array_fields: list[StructArrayMessage] = []


class IndexMessage(_Message):
    """An index."""

    field_name: str
    index_name: str = ""
    index_type: str = ""
    params: dict[str, str] = {}
    index_id: Number = 0


class CollectionMessage(_Message):
    """A collection."""

    collection_id: Number
    db_name: str = ""
    """Empty for the default database of an old server."""
    collection_name: str
    # `schema` is a method of pydantic's models.
    collection_schema: SchemaMessage = Field(alias="schema")
    shards_num: Number = 0
    consistency_level: Number = 0
    partition_backups: list[PartitionMessage] = []
    index_infos: list[IndexMessage] = []
    load_state: str = ""
    l0_segments: list[SegmentMessage] = []
    properties: list[KeyValueMessage] = []
    replicas: list[dict[str, object]] = []
    """Recorded by 0.5.10 and 0.5.11 alone."""
    aliases: list[str] = []


class DatabaseMessage(_Message):
    """A database; `ezk` is the key of one whose data is encrypted."""

    db_name: str = ""
    db_id: Number = 0
    properties: list[KeyValueMessage] = []
    ezk: str = ""


class NameMessage(_Message):
    """A role, a privilege, a type of objects, or a user who grants."""

    name: str = ""


class UserMessage(_Message):
    """A user with the hash of its password."""

    user: str = ""
    password: str = ""
    roles: list[NameMessage] = []


class GrantorMessage(_Message):
    """Who granted what."""

    user: NameMessage = NameMessage()
    privilege: NameMessage = NameMessage()


class GrantMessage(_Message):
    """A privilege of a role."""

    role: NameMessage = NameMessage()
    object_type: NameMessage = Field(default=NameMessage(), alias="object")
    object_name: str = ""
    grantor: GrantorMessage = GrantorMessage()
    db_name: str = ""


class PrivilegeGroupMessage(_Message):
    """Privileges that are granted together."""

    group_name: str = ""
    privileges: list[NameMessage] = []


class RbacMessage(_Message):
    """Users and rights of a whole server."""

    users: list[UserMessage] = []
    roles: list[NameMessage] = []
    grants: list[GrantMessage] = []
    privilege_groups: list[PrivilegeGroupMessage] = []


class BackupMessage(_Message):
    """A backup: `full_meta.json`, and without collections `backup_meta.json`."""

    start_time: Number = 0
    """Milliseconds since 1970, as the next; 0 from old releases."""
    end_time: Number = 0
    milvus_version: str = ""
    collection_backups: list[CollectionMessage] = []
    rbac_meta: RbacMessage | None = None
    database_backups: list[DatabaseMessage] = []
    format: str = ""
    """Empty for copied binlogs."""


class CollectionsMessage(_Message):
    """`collection_meta.json`."""

    infos: list[CollectionMessage] = []


class PartitionsMessage(_Message):
    """`partition_meta.json`."""

    infos: list[PartitionMessage] = []


class SegmentsMessage(_Message):
    """`segment_meta.json`."""

    infos: list[SegmentMessage] = []
