"""What the template tells the functions, by environment variables.

Read inside the handler, so that a handler imports without any environment. Nothing that names data has a
default, but a backup prefix may be empty: then backups lie at the top of their bucket.
"""

import os
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, Field, ValidationError

from milvus_vault.errors import SettingsError
from milvus_vault.model.base import Model
from milvus_vault.model.objects import CopyClient
from milvus_vault.model.words import wrong_fields


class Settings(Model):
    """Base of the settings: a field `milvus_uri` is read from `MILVUS_URI`."""

    may_be_empty: ClassVar[frozenset[str]] = frozenset()
    """Fields that have to be given, and of which an empty text is a value."""

    @classmethod
    def from_env(cls) -> Self:
        """Read the environment. Raises `SettingsError` naming every variable that is missing or wrong."""
        # CloudFormation passes a parameter that is not given as an empty text: the same as absent, but where empty is
        # a value.
        found = {name: os.environ[name.upper()].strip() for name in cls.model_fields if name.upper() in os.environ}
        given = {name: value for name, value in found.items() if value or name in cls.may_be_empty}
        try:
            return cls.model_validate(given)
        except ValidationError as err:
            wrong = "; ".join(f"{field.upper()}: {text}" for field, text in wrong_fields(err))
            msg = f"the function's environment is not complete: {wrong}"
            raise SettingsError(msg, hint="Deploy the stack again with the parameter that sets it.") from err


class StorageSettings(Settings):
    """Where backups lie, and where Milvus keeps its data."""

    may_be_empty = frozenset({"milvus_root_path"})

    backup_bucket_name: str
    backup_prefix: str = ""
    milvus_bucket_name: str
    milvus_root_path: Annotated[str, AfterValidator(lambda path: path.strip("/"))]
    """Without slashes around it, which Milvus takes; empty where its folders lie at the top of the bucket."""
    staging_prefix: str
    """Folder of the Milvus bucket for the objects of running restores and for their claims."""
    backup_bucket_owner: str = ""
    """The account of the backup bucket; empty: nobody knows."""
    export_bucket_name: str = ""
    """A bucket beside the backup bucket, for exports and copies; empty: none."""
    export_bucket_owner: str = ""
    """Its account; empty: nobody knows."""
    export_region: str = ""
    """Its Region; empty: that of the stack."""
    export_role_arn: str = ""
    """The role by which it is reached; empty: each function's own."""
    export_kms_key_arn: str = ""
    """The key with which what is written there is encrypted; empty: as the bucket says."""


class ManagementSettings(Settings):
    """How to reach Milvus' management port, for functions that use nothing else of Milvus."""

    milvus_management_uri: str = ""
    """Endpoint of Milvus' management port (9091); empty: garbage collection is not paused."""
    milvus_secret_arn: str = ""
    """Secret with credentials and certificates; empty: Milvus asks for none, and has those of a public authority."""


class MilvusSettings(ManagementSettings):
    """How to reach Milvus."""

    milvus_uri: str
    milvus_rest_uri: str = ""
    """Where Milvus answers REST; empty: at `milvus_uri`, as it does by itself from 2.4 on, unless it has TLS."""
    milvus_concurrency: int = Field(default=8, ge=1, le=64)
    """How many collections one function works on at a time."""


class CopySettings(Settings):
    """How copies are cut into batches and run."""

    copy_batch_objects: int = Field(default=1000, ge=1)
    copy_batch_bytes: int = Field(default=50 * 1024**3, ge=1)
    copy_threads: int = Field(default=64, ge=1, le=256)
    copy_client: CopyClient = "boto3"
    """By what CopyObject is sent: the SDK's client, or our own way to send the same requests (ADR 48)."""
    copy_at_once_objects: int = Field(default=1000, ge=0)
    """Up to how many objects of a round PlanCopy copies and verifies them as well. 0: of none."""


class RestoreSettings(Settings):
    """Up to where deletes of level 0 are copied as they are, and folded at all, and how long a call goes on."""

    fold_copies: int = Field(default=64, ge=0)
    """Copies of deletes of a collection, up to which they are copied as they are: a third of a second at 200 a second,
    with which copying begins, and less than a function takes that composes them first."""
    fold_segment_bytes: int = Field(default=256 * 1024**2, ge=0)
    """Bytes of deletes that concern one segment; Milvus holds them in memory while it imports it."""
    advance_seconds: float = Field(default=30, ge=0)
    """For how long a call of AdvanceRestore spends short waits inside, where they cost less than turns of the machine.

    A stopped execution's function goes on for as long.
    """


class ApiSettings(Settings):
    """What the API's function starts and asks."""

    backup_state_machine_arn: str
    restore_state_machine_arn: str
    verify_state_machine_arn: str
    prune_state_machine_arn: str
    export_state_machine_arn: str
    drill_state_machine_arn: str
    inspect_milvus_function_name: str


class AnnounceSettings(Settings):
    """Who speaks, and to whom."""

    stack_name: str
    alarm_topic_arn: str


class ScheduleSettings(Settings):
    """Where schedules are kept, and what they start."""

    schedule_group: str
    backup_state_machine_arn: str
    drill_state_machine_arn: str
    schedule_role_arn: str
    """The role that EventBridge Scheduler takes to start either."""
    dead_letter_queue_arn: str


class ExportSettings(Settings):
    """To which other places exports may go."""

    export_prefix: str
    """The folder of the backup bucket, and of the other one, in which exports and copies to another place lie."""
    aws_region: str = ""
    """Where the function runs, as Lambda says; empty: nobody knows."""


class PolicySettings(Settings):
    """Where the policies are that decide which backups are kept."""

    schedule_group: str
    """Group of the schedules whose policies count."""


class SweepSettings(Settings):
    """What ended executions leave behind, and for how long."""

    keep_working_files_days: int = Field(default=7, ge=1)
