"""The messages of milvus-backup's metadata, as far as a restore needs them.

Read the way Go reads them: unknown members are ignored, absent ones are zero, and an integer is never a float
or a text. `state_code` says nothing, the sizes of segments and above are not reliable, and neither is here.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from functools import cache, cached_property, partial
from sqlite3 import Connection
from threading import Lock
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, TypeAdapter, ValidationError, WrapValidator
from pydantic.dataclasses import dataclass
from pydantic_core import CoreSchema, core_schema

from milvus_vault.archive.json_reader import too_deep
from milvus_vault.archive.reference_text import Shape, read_outline
from milvus_vault.model.base import Number
from milvus_vault.tables import open_tables, room_on_disk

# Each path is there once.
_STRICT = ConfigDict(strict=True, extra="ignore", cache_strings="keys")


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


def _without_nulls(members: list[tuple[str, object]]) -> dict[str, object]:
    return {key: value for key, value in members if value is not None}


@dataclass(frozen=True, slots=True, config=_STRICT)
class BinlogMessage:
    """An object."""

    log_path: str = ""
    """The key that it had in Milvus' bucket."""
    log_size: Number = 0
    log_id: Number = 0

    @property
    def number(self) -> int:
        """Return the ID, of which old releases recorded the path only. Raises `ValueError` where it is none."""
        return self.log_id or int(self.log_path.rpartition("/")[2])


@dataclass(frozen=True, slots=True, config=_STRICT)
class FieldBinlogMessage:
    """The objects of a field, or of a column group."""

    field_id: Number = Field(default=0, alias="fieldID")
    binlogs: list[BinlogMessage] = Field(default_factory=list)


class Kept:
    """What is not held with the messages that were read: the logs of segments, on the function's disk."""

    def __init__(self) -> None:
        """Begin empty."""
        self._lock = Lock()
        self.arrays: list[list[SegmentMessage]] = []
        """The segments that were taken out of the outline which is read, by what is in their place."""

    @cached_property
    def _tables(self) -> Connection:
        # Most messages have no logs.
        return open_tables("CREATE TABLE logs (number INTEGER PRIMARY KEY, body BLOB)")

    def write(self, body: bytes) -> int:
        """Keep logs, and return by which number they are read. Raises `DiskFullError`."""
        with self._lock, room_on_disk():
            return self._tables.execute("INSERT INTO logs (body) VALUES (?)", (body,)).lastrowid or 0

    def read(self, number: int) -> bytes:
        """Return what was kept."""
        with self._lock:
            (body,) = self._tables.execute("SELECT body FROM logs WHERE number = ?", (number,)).fetchone()
        return bytes(body)


class Logs:
    """The logs of a segment by field, read from the disk whenever they are asked for.

    They are the same as others that say the same, though one says it with other words.
    """

    __slots__ = ("_digest", "_kept", "_number", "count")

    def __init__(self, fields: list[FieldBinlogMessage], kept: Kept | None = None) -> None:
        """Keep them. Raises `ValueError` where one has no ID or is there twice, and `DiskFullError`."""
        body = _of_fields().dump_json(fields, by_alias=True)
        logs = [(field.field_id, log.number) for field in fields for log in field.binlogs]
        if len(set(logs)) < len(logs):
            msg = "a log is named twice"
            raise ValueError(msg)
        self.count = len(logs)
        """How many objects they are."""
        self._digest = hashlib.blake2b(body, digest_size=16).digest()
        self._kept = (kept or Kept()) if logs else None
        self._number = self._kept.write(body) if self._kept else 0

    def __eq__(self, other: object) -> bool:
        """Return whether they say the same."""
        return isinstance(other, Logs) and self._digest == other._digest

    def __hash__(self) -> int:
        """Return what those have in common that say the same."""
        return hash(self._digest)

    def __iter__(self) -> Iterator[FieldBinlogMessage]:
        """Yield those of each field that has any."""
        if self._kept:
            yield from _of_fields().validate_json(self._kept.read(self._number))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return how they are read: as a list of messages, which is kept."""

        def keep(fields: list[FieldBinlogMessage], info: core_schema.ValidationInfo[Kept | None]) -> Logs:
            return Logs(fields, info.context)

        return core_schema.json_or_python_schema(
            core_schema.with_info_after_validator_function(keep, handler(list[FieldBinlogMessage])),
            core_schema.is_instance_schema(cls),
        )


@cache
def _of_fields() -> TypeAdapter[list[FieldBinlogMessage]]:
    return TypeAdapter(list[FieldBinlogMessage], config=ConfigDict(cache_strings="keys"))


NO_LOGS = Logs([])


@dataclass(frozen=True, slots=True, config=_STRICT)
class SegmentMessage:
    """A segment. No `group_id` means that there is no folder of a group.

    Two hundred thousand of them, of ten million objects, take a fifth as dataclasses of what they take as models.
    """

    segment_id: Number
    collection_id: Number = 0
    partition_id: Number = 0
    num_of_rows: Number = 0
    binlogs: Logs = NO_LOGS
    deltalogs: Logs = NO_LOGS
    group_id: Number = 0
    is_l0: bool = False
    storage_version: Number = 0


def _taken_out(
    value: object, handler: core_schema.ValidatorFunctionWrapHandler, info: core_schema.ValidationInfo[Kept | None]
) -> list[SegmentMessage]:
    """Return the segments that an outline has the number of."""
    if isinstance(value, int) and info.context is not None:
        return info.context.arrays[value]
    found: list[SegmentMessage] = handler(value)
    return found


Segments = Annotated[list[SegmentMessage], WrapValidator(_taken_out)]


class PartitionMessage(_Message):
    """A partition."""

    partition_id: Number
    partition_name: str
    collection_id: Number = 0
    segment_backups: Segments = []
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
    l0_segments: Segments = []
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

    infos: Segments = []


type Level = BackupMessage | CollectionsMessage | PartitionsMessage | SegmentsMessage
"""What a file holds."""

_PARTITION: Shape = {"segment_backups": None}
_COLLECTION: Shape = {"partition_backups": _PARTITION, "l0_segments": None}
_SHAPES: dict[type[BaseModel], Shape] = {
    BackupMessage: {"collection_backups": _COLLECTION},
    CollectionsMessage: {"infos": _COLLECTION},
    PartitionsMessage: {"infos": _PARTITION},
    SegmentsMessage: {"infos": None},
}


def parse_message[T: BaseModel](model: type[T], body: bytes) -> T:
    """Return the message that a text is. Raises `ValueError` where it is none."""
    return read_message(model, [body])[0]


def read_message[T: BaseModel](model: type[T], pieces: Iterable[bytes]) -> tuple[T, dict[str, object]]:
    """Return a message that comes in pieces, and its outline; as for Go, a member that is `null` is absent.

    Raises:
        ValueError: It is none; the error says where, and what is wrong.
        DiskFullError: There are more logs of segments than the disk has room for.
    """
    kept = Kept()
    read_segment = partial(_of_segment().validate_json, context=kept)
    outline, kept.arrays = read_outline(
        pieces, _SHAPES[model], lambda path, text: _validated(read_segment, text.encode(), path)
    )

    def read(text: bytes) -> T:
        return model.model_validate_json(text, context=kept)

    try:
        text = json.dumps(outline)
    except RecursionError as err:
        # What was read member by member lies deeper in the whole.
        raise too_deep() from err
    found = _validated(read, text.encode())
    kept.arrays = []
    return found, outline


@cache
def _of_segment() -> TypeAdapter[SegmentMessage]:
    return TypeAdapter(SegmentMessage)


def _validated[T](read: Callable[[bytes], T], body: bytes, path: str = "") -> T:
    try:
        try:
            return read(body)
        except ValidationError:
            # No release writes one, so that only a file that somebody else wrote is read twice.
            if b"null" not in body:
                raise
            return read(json.dumps(json.loads(body, object_pairs_hook=_without_nulls)).encode())
    except ValidationError as err:
        first = err.errors()[0]
        where = ".".join(str(part) for part in (path, *first["loc"]) if part != "")
        msg = f"{where or 'file'}: {first['msg']}"
        raise ValueError(msg) from err
