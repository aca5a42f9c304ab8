"""Options and arguments that several commands have, and what their texts mean."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Literal

import typer

from milvus_vault.errors import InvalidRequestError

# Of a hybrid timestamp: those of the years since 2001 have 18 or 19; no other time has so many.
_HYBRID_DIGITS = 18

# As people write one: Python also takes "nan", "inf" and "1e3".
_NUMBER = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18}")
_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) ?((?:[KMGT]iB)?|B)", re.IGNORECASE)
_UNIT_BYTES = {"": 1, "B": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}

_VALUES_OF_FLAGS = {"true", "false", "yes", "no", "on", "off"}

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the backup.", show_default=False)]
NameOption = Annotated[
    str, typer.Option("--name", "-n", metavar="NAME", help="The same, as milvus-backup has it.", show_default=False)
]
Filter = Annotated[
    list[str],
    typer.Option(
        "--filter",
        "-c",
        metavar="DB.COLLECTION,...",
        help="Which collections: [bold]db.collection[/], [bold]db.*[/], or [bold]collection[/] of the database "
        "'default'. May be repeated. Default: all.",
        show_default=False,
    ),
]
Databases = Annotated[
    list[str],
    typer.Option("--databases", "-d", metavar="DB,...", help="All collections of these databases.", show_default=False),
]
NoGcPause = Annotated[bool, typer.Option("--no-gc-pause", help="Do not ask Milvus to pause garbage collection.")]
Incremental = Annotated[
    bool,
    typer.Option(
        "--incremental",
        help="Copy only what no other incremental backup has, so that the first one copies everything. It needs none "
        "of them later.",
    ),
]
BackupRbac = Annotated[
    bool, typer.Option("--rbac", help="Record users, roles and grants as well, with hashes of passwords.")
]
AllOrNothing = Annotated[
    bool, typer.Option("--all-or-nothing", help="Publish no backup where a collection cannot be backed up.")
]
LockDays = Annotated[
    int | None,
    typer.Option(
        "--lock-days",
        metavar="N",
        help="Lock its objects by S3 Object Lock for N days: until then nobody can delete it.",
        show_default=False,
    ),
]
LockMode = Annotated[
    Literal["governance", "compliance"] | None,
    typer.Option(
        "--lock-mode",
        help="[bold]governance[/], the default: who has a right of its own can lift the lock; [bold]compliance[/]: "
        "nobody can.",
        show_default=False,
    ),
]
Level = Annotated[
    Literal["quick", "checksum", "deep"],
    typer.Option(
        help="[bold]quick[/]: a listing, with what was recorded; [bold]checksum[/]: the checksums that S3 keeps; "
        "[bold]deep[/]: the objects are read."
    ),
]
Sample = Annotated[
    str,
    typer.Option(
        metavar="PERCENT",
        help="Of a deep verification: how much of the objects to read, as 5%, but at least one. The next one goes on "
        "behind it.",
        show_default=False,
    ),
]
MaxBytes = Annotated[
    str,
    typer.Option(
        "--max-bytes",
        metavar="SIZE",
        help="Of a deep verification: how much to read at most, as 500GiB, but at least one object.",
        show_default=False,
    ),
]
VerifyBackup = Annotated[
    Literal["quick", "checksum", "deep"] | None,
    typer.Option(
        "--verify",
        help="Verify each backup once it is published, by a run of its own. Default: it is not.",
        show_default=False,
    ),
]
_PLACE = "as far as the stack's parameters allow it: s3://BUCKET/PREFIX, or a prefix of the backup bucket."
CopyPlace = Annotated[
    str,
    typer.Option(
        "--to",
        metavar="PLACE",
        help=f"Where to, {_PLACE} Default: the stack's ExportBucketName and ExportPrefix.",
        show_default=False,
    ),
]
CopyRegion = Annotated[
    str,
    typer.Option(
        "--to-region",
        metavar="REGION",
        help="Refuse unless that place is in this Region: the stack's ExportRegion.",
        show_default=False,
    ),
]
CopyRole = Annotated[
    str,
    typer.Option(
        "--to-role",
        metavar="ARN",
        help="Refuse unless that place is reached by this role: the stack's ExportRoleArn.",
        show_default=False,
    ),
]
CopyKmsKey = Annotated[
    str,
    typer.Option(
        "--to-kms-key",
        metavar="ARN",
        help="Refuse unless objects are written there under this key of KMS: the stack's ExportKmsKeyArn.",
        show_default=False,
    ),
]
CopyBackup = Annotated[
    bool,
    typer.Option(
        "--copy",
        help="Copy each backup to the stack's ExportBucketName and ExportPrefix once it is published, by a run of its "
        "own.",
    ),
]
CopyBackupTo = Annotated[
    str,
    typer.Option(
        "--copy-to",
        metavar="PLACE",
        help=f"The same to another place, {_PLACE}",
        show_default=False,
    ),
]
Wait = Annotated[bool, typer.Option("--wait", "-w", help="Follow the run to its end.")]
Timeout = Annotated[
    float,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        min=0,
        help="Stop following the run after so long. 0: never.",
        show_default=False,
    ),
]
Limit = Annotated[int, typer.Option("--limit", "-l", metavar="N", min=1, help="How many at most, newest first.")]
Key = Annotated[
    str,
    typer.Option(
        "--idempotency-key",
        metavar="KEY",
        help="Starting again with the same key starts nothing a second time.",
        show_default=False,
    ),
]


def backup_name(argument: str, option: str) -> str:
    """Return the name that was given, as argument or with `-n`. Raises InvalidRequestError.

    Flags have no value, and what follows `--wait` would be taken for a name.
    """
    if argument.lower() in _VALUES_OF_FLAGS and not option:
        msg = f"'{argument}' would be the name of the backup: options such as --wait take no value"
        raise InvalidRequestError(msg, hint=f"Leave it out, or give -n {argument} if a backup is to have that name.")
    if argument and option and argument != option:
        msg = f"two names are given: '{argument}' and '{option}'"
        raise InvalidRequestError(msg, hint="Give one.")
    if not (argument or option):
        msg = "no name is given"
        raise InvalidRequestError(msg, hint="'milvus-vault list' shows the backups.")
    return argument or option


def selectors(filters: Iterable[str], databases: Iterable[str] = ()) -> tuple[str, ...] | None:
    """Return the selection as requests have it, or nothing for all collections."""
    named = [full_name(name) for name in split(filters)]
    whole = [f"{database}.*" for database in split(databases)]
    return tuple(named + whole) or None


def renames(texts: Iterable[str]) -> dict[str, str]:
    """Return old and new names of `db.a:db.b,db1.*:db2.*`. Raises InvalidRequestError."""
    pairs = _pairs(texts, "OLD:NEW", "--rename db.a:db.b,db1.*:db2.*")
    return {full_name(old): full_name(new) for old, new in pairs}


def partitions(texts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the partitions of each collection in `db.a:p1,db.a:p2`. Raises InvalidRequestError."""
    found: dict[str, tuple[str, ...]] = {}
    for collection, partition in _pairs(texts, "COLLECTION:PARTITION", "--partition db.a:p1,db.a:p2"):
        found[full_name(collection)] = (*found.get(full_name(collection), ()), partition)
    return found


def replicas(texts: Iterable[str]) -> int | dict[str, int] | None:
    """Return the replicas for all collections, of `2`, or for each, of `db.a:2,db.*:1`. Raises InvalidRequestError."""
    given = split(texts)
    if not given:
        return None
    try:
        if len(given) == 1 and ":" not in given[0]:
            return int(given[0])
        return {
            full_name(name): int(number) for name, number in _pairs(given, "COLLECTION:N", "--replicas db.a:2,db.*:1")
        }
    except ValueError as err:
        msg = f"'{','.join(given)}' is no number of replicas"
        raise InvalidRequestError(msg, hint="For example --replicas 2, or --replicas db.a:2,db.*:1") from err


def resource_groups(texts: Iterable[str]) -> dict[str, str]:
    """Return new resource groups by old ones, of `blue:green` or `green`. Raises InvalidRequestError."""
    given = [text if ":" in text else f"*:{text}" for text in split(texts)]
    return dict(_pairs(given, "OLD:NEW", "--resource-group blue:green"))


def percent(text: str) -> float | None:
    """Return the number in `5%` or `5`, or nothing for an empty text. Raises InvalidRequestError."""
    if not text:
        return None
    if _NUMBER.fullmatch(number := text.removesuffix("%")) is None:
        msg = f"'{text}' is no percentage"
        raise InvalidRequestError(msg, hint="For example --sample 5%")
    return float(number)


def size_bytes(text: str) -> int | None:
    """Return the bytes in `500GiB`, `1.5 TiB` or `1000`, or nothing for an empty text. Raises InvalidRequestError."""
    if not text:
        return None
    found = _SIZE.fullmatch(text)
    if found is None:
        msg = f"'{text}' is no size"
        raise InvalidRequestError(msg, hint="For example --max-bytes 500GiB, in binary units, or a number of bytes.")
    return round(float(found[1]) * _UNIT_BYTES[found[2].upper()])


def point_in_time(text: str) -> datetime:
    """Return the time that a date, a time, or a length of time from now such as `30d` means."""
    from milvus_vault.model.retention import parse_duration  # noqa: PLC0415 - pydantic takes its time

    try:
        return datetime.now(UTC) + parse_duration(text)
    except ValueError:
        pass
    try:
        return _written_time(text)
    except ValueError as err:
        msg = f"'{text}' is no point in time"
        raise InvalidRequestError(
            msg, hint="Give a date (2027-01-31), a time, or a length of time (30d, 12h)."
        ) from err


def past_time(text: str) -> datetime:
    """Return the time that a text names, or that a hybrid timestamp stands for. Raises InvalidRequestError."""
    from milvus_vault.model.hybrid import as_datetime  # noqa: PLC0415 - pydantic, which comes with it, takes its time

    try:
        return as_datetime(int(text)) if text.isdecimal() and len(text) >= _HYBRID_DIGITS else _written_time(text)
    except (ValueError, OverflowError) as err:
        msg = f"'{text}' is no time"
        hint = "Give it as 2027-01-31T02:15:30.250Z, or as a hybrid timestamp."
        raise InvalidRequestError(msg, hint=hint) from err


def _written_time(text: str) -> datetime:
    """Return a time in ISO 8601, of this machine's time zone where it names none. Raises ValueError."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.astimezone()


def _pairs(texts: Iterable[str], form: str, example: str) -> list[tuple[str, str]]:
    """Return what is left and right of each colon. Raises InvalidRequestError where one of them is missing."""
    found = []
    for text in split(texts):
        left, colon, right = text.partition(":")
        if not (left and colon and right):
            msg = f"'{text}' is not {form}"
            raise InvalidRequestError(msg, hint=f"For example {example}")
        found.append((left, right))
    return found


def lock(days: int | None, mode: str | None) -> dict[str, object] | None:
    """Return the terms of a lock as requests have them, or nothing without days. Raises InvalidRequestError."""
    if days is None:
        if mode is not None:
            msg = "--lock-mode says how to lock, and no --lock-days for how long"
            raise InvalidRequestError(msg, hint=f"For example --lock-days 30 --lock-mode {mode}")
        return None
    return {"days": days} if mode is None else {"days": days, "mode": mode}


def split(texts: Iterable[str]) -> list[str]:
    """Return the names in texts, of which each can have several with commas between.

    Raises InvalidRequestError for a text without any, as of two variables that are not set: all would be meant, and
    nobody has said so.
    """
    found = []
    for text in texts:
        names = [name.strip() for name in text.split(",") if name.strip()]
        if not names:
            msg = f"'{text}' names nothing"
            raise InvalidRequestError(msg, hint="Leave the option out if all of them are meant.")
        found += names
    return found


def full_name(name: str) -> str:
    """Return the name of a collection with its database, `default` where it has none."""
    return name if "." in name else f"default.{name}"
