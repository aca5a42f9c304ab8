"""What one door takes, the API reads: client and command line in front of the API's own handler, without a server.

Whatever request is made up, valid or not: where the model of the request takes it, the handler reads what the door was
given, and where the model refuses it, the door refuses it too, and nothing is sent.
"""

import functools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from unittest.mock import Mock
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from milvus_vault.api.app import Api
from milvus_vault.api.routes import ROUTES
from milvus_vault.api.routing import Route
from milvus_vault.cli.main import run
from milvus_vault.client import VaultClient, transport
from milvus_vault.errors import BackupNotFoundError, InvalidRequestError
from milvus_vault.model.base import Model
from milvus_vault.model.requests import (
    BackupRequest,
    CopyRequest,
    DrillRequest,
    ExportRequest,
    PruneRequest,
    RestoreRequest,
    VerifyOptions,
)
from milvus_vault.model.resources import EstimateRequest, Hold, ScheduleSpec
from tests.support.lambda_context import Invocation

URL = "https://abc.execute-api.eu-west-1.amazonaws.com/v1"
NAME = "of 2026, (old)"

type Document = dict[str, Any]


@dataclass
class Handler:
    """The API's own handler in place of the network. Of each request it notes what is read, and finds no backup."""

    read: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    """Method and path of a route, and the values that its function was to take."""

    def __post_init__(self) -> None:
        """Let each route note."""
        self._api = Api([replace(route, function=self._noting(route)) for route in ROUTES], Mock)

    def _noting(self, route: Route) -> Callable[..., None]:
        @functools.wraps(route.function)
        def note(**values: object) -> None:
            self.read.append((f"{route.method} {route.path}", values))
            msg = "nothing is done here"
            raise BackupNotFoundError(msg)

        return note

    def request(self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None, **_: object) -> Any:
        """Answer what urllib3 would send, by way of an event of API Gateway."""
        asked = urlsplit(url)
        answer = self._api.handle(
            {
                "httpMethod": method,
                "path": asked.path.removeprefix("/v1"),
                "headers": dict(headers),
                "multiValueQueryStringParameters": parse_qs(asked.query, keep_blank_values=True),
                "requestContext": {"requestId": "7"},
                "body": body.decode() if body else None,
            },
            Invocation(),
        )
        return Mock(status=answer["statusCode"], data=answer["body"].encode(), headers={})

    def only(self) -> tuple[str, Mapping[str, Any]]:
        """Return the one request that was read since the last time."""
        (found,) = self.read
        self.read.clear()
        return found


@pytest.fixture(scope="module")
def handler() -> Iterator[Handler]:
    """Put the handler behind each door."""
    found = Handler()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transport, "_http", lambda _: found)
        patch.setenv("MILVUS_VAULT_URL", URL)
        for name, value in (("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b"), ("DEFAULT_REGION", "eu-west-1")):
            patch.setenv(f"AWS_{name}", value)
        yield found


# --- documents, valid and not

TEXTS = st.text(st.sampled_from("aZ_9é世👩ß"), min_size=1, max_size=5)
SELECTORS = st.one_of(
    st.builds("{}.{}".format, TEXTS, TEXTS | st.just("*")), st.sampled_from(["a.b.c", "a.", ".b", "*.x", "a.*b"])
)
SELECTIONS = st.lists(SELECTORS, min_size=1, max_size=3)
NEW_NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,10}", fullmatch=True) | st.sampled_from(
    ["9a", "a-b", "é", "a" * 128, "a" * 129, "a.b"]
)
NAMES = NEW_NAMES | st.just(NAME)
SCHEDULES = st.sampled_from(["nightly", "a-b", "a" * 48, "a" * 49, "9a", "é", "a b"])
DURATIONS = st.sampled_from(["30d", "12h", "4w", "1m", "30", "0d", "d", "100000d", "30D", "-1d"])
PERCENTS = st.integers(-1000, 101_000).map(lambda number: number / 1000)
SIZES = st.sampled_from([0, 1, 2**40, 10**17])
ZONES = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-11))])
TIMES = st.datetimes(datetime(1960, 1, 1), datetime(9999, 12, 1), timezones=ZONES).map(datetime.isoformat)  # noqa: DTZ001 - the zones are given
LEVELS = st.sampled_from(["quick", "checksum", "deep"])
FLAG = st.booleans()


def documents(required: Mapping[str, Any] = {}, /, **optional: Any) -> Any:
    return st.fixed_dictionaries(dict(required), optional=optional)


VERIFY = documents({"level": LEVELS}, sample_percent=PERCENTS, max_bytes=SIZES)
LOCK = documents(
    {"days": st.sampled_from([0, 1, 30, 36_500, 10**6])}, mode=st.sampled_from(["governance", "compliance"])
)
PLACE = documents(
    bucket=st.sampled_from(["archive", "a.b-c", "Archive", "ab", "a" * 64]),
    prefix=st.sampled_from(["milvus-vault", "a/b_c/d.e", ".a", "a//b", "é"]),
)
BACKUP = documents(
    backup_name=NEW_NAMES, collections=SELECTIONS, mode=st.just("incremental"), meta_only=FLAG, skip_flush=FLAG,
    gc_pause=FLAG, include_rbac=FLAG, on_collection_failure=st.sampled_from(["publish_partial", "fail"]),
    expire_after=DURATIONS, lock=LOCK, verify=VERIFY, copy_to=PLACE,
)  # fmt: skip
RESTORE = documents(
    {"backup_name": NAMES}, collections=SELECTIONS, suffix=st.sampled_from(["_x", "a" * 129, "é"]),
    rename=st.dictionaries(SELECTORS, SELECTORS, max_size=2), drop_existing=FLAG, skip_create=FLAG, meta_only=FLAG,
    restore_index=FLAG, load=FLAG, restore_aliases=FLAG, switch_aliases=FLAG,
    partitions=st.dictionaries(SELECTORS, st.lists(TEXTS, min_size=1, max_size=2), max_size=2),
    replicas=st.integers(0, 65) | st.dictionaries(SELECTORS, st.integers(0, 65), min_size=1, max_size=2),
    resource_groups=st.dictionaries(TEXTS | st.just("*"), TEXTS, max_size=2), point_in_time=FLAG, as_of=TIMES,
    rbac=FLAG, verify=LEVELS, skip_damaged=FLAG, max_shards=st.sampled_from([0, 1, 64, 65]), allow_version=FLAG,
)  # fmt: skip
EXPORT = documents(
    {"backup_name": NAMES, "export_name": NEW_NAMES}, format=st.sampled_from(["milvus-backup", "parquet"]),
    collections=SELECTIONS, to=PLACE.filter(bool), lock=LOCK,
)  # fmt: skip
ARNS = st.sampled_from(["arn:aws:iam::123456789012:role/r", "é"])
COPY = documents(to=st.builds(dict.__or__, PLACE, documents(bucket_region=ARNS, role_arn=ARNS, kms_key_arn=ARNS)))
DRILL = documents(
    backup_name=NAMES, newest_of=SCHEDULES, collections=SELECTIONS, max_bytes=SIZES,
    row_count=st.sampled_from([0, 1, 100, 10_000, 10_001]), seed=st.sampled_from([-1, 0, 2**63 - 1, 2**63]),
    database=NEW_NAMES, allow_version=FLAG,
)  # fmt: skip
KEPT = {name: st.sampled_from([0, 1, 10_000, 10_001]) for name in (
    "keep_last", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly", "keep_at_least"
)}  # fmt: skip
SCHEDULE = documents(
    {"expression": st.sampled_from(["rate(1 day)", "cron(0 3 * * ? *)", "é", "r" * 257])},
    timezone=st.sampled_from(["UTC", "Europe/Berlin", "x" * 51]), enabled=FLAG,
    request=BACKUP.map(lambda found: {key: found[key] for key in found if key not in {"backup_name", "expire_after"}}),
    retention=documents({}, **KEPT, expire_after=DURATIONS).filter(bool),
    drill=DRILL.map(lambda found: {key: found[key] for key in found if key not in {"seed", "database"}}),
)  # fmt: skip
HOLD = documents(reason=st.sampled_from(["audit 2027", "é世👩, 'x' \"y\"", "r" * 501]), until=TIMES)
PRUNE = documents(backup_names=st.lists(NAMES, min_size=1, max_size=2), dry_run=FLAG, sweep=FLAG)

CASES = settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)

# --- the client


def hold(client: VaultClient, found: Hold) -> object:
    return client.place_hold(NAME, reason=found.reason, until=found.until)


CLIENT: dict[str, tuple[Any, type[Model], Callable[[VaultClient, Any], object]]] = {
    "POST /backups": (BACKUP, BackupRequest, VaultClient.create_backup),
    "POST /estimate": (BACKUP, BackupRequest, VaultClient.estimate),
    "POST /restores": (RESTORE, RestoreRequest, VaultClient.restore),
    "POST /restores/plan": (RESTORE, RestoreRequest, VaultClient.plan_restore),
    "POST /backups/{name}/verify": (VERIFY, VerifyOptions, lambda client, found: client.verify_backup(NAME, found)),
    "POST /exports": (EXPORT, ExportRequest, VaultClient.export),
    "POST /backups/{name}/copies": (COPY, CopyRequest, lambda client, found: client.copy_backup(NAME, found)),
    "POST /drills": (DRILL, DrillRequest, VaultClient.drill),
    "POST /prune": (PRUNE, PruneRequest, VaultClient.prune),
    "PUT /backups/{name}/hold": (HOLD, Hold, hold),
    "PUT /schedules/{name}": (SCHEDULE, ScheduleSpec, lambda client, found: client.put_schedule("nightly", found)),
}


def parsed(model: type[Model], document: Document) -> Model | None:
    """Return what is asked for by a document as it is sent; None where it is refused."""
    try:
        return model.model_validate_json(json.dumps(document), strict=True)
    except ValidationError:
        return None


def test_each_route_that_takes_a_document_is_asked() -> None:
    assert {f"{route.method} {route.path}" for route in ROUTES if route.body is not None} == {*CLIENT}


@pytest.mark.parametrize("route", sorted(CLIENT))
@given(data=st.data())
@CASES
def test_what_the_client_is_given_the_api_reads(route: str, data: st.DataObject, handler: Handler) -> None:
    handler.read.clear()
    strategy, model, ask = CLIENT[route]
    document = data.draw(strategy)
    client = VaultClient(URL, boto3.Session("a", "b", region_name="eu-west-1"))
    wanted = parsed(model, document)
    if wanted is None:
        # What no model can be made of gets to no client; as a document the handler refuses it by the same rule.
        path = route.partition(" ")[2].format(name="nightly")
        sent = {"backup": document} if model is BackupRequest and path == "/estimate" else document
        with pytest.raises(InvalidRequestError):
            client._transport.request(route.partition(" ")[0], path, body=sent)
        assert handler.read == []
        return
    with pytest.raises(BackupNotFoundError):
        ask(client, wanted)
    asked, values = handler.only()
    body = values["body"].backup if isinstance(values["body"], EstimateRequest) else values["body"]
    assert (asked, body) == (route, wanted)
    # A hold is no document of the client's, which says both of its members.
    assert body.model_fields_set == wanted.model_fields_set or isinstance(wanted, Hold)
    assert values.get("name", NAME) in {NAME, "nightly"}


# --- the command line


def selection(document: Document) -> list[str]:
    """Return options that select; one may have several with commas between."""
    return [f"--filter={','.join(document['collections'])}"] if "collections" in document else []


def flags(document: Document, **options: str) -> list[str]:
    """Return those options that a document sets otherwise than by default."""
    return [option for name, option in options.items() if document.get(name)]


def texts(document: Document, **options: str) -> list[str]:
    """Return the options of those members that a document has."""
    return [f"{option}={document[name]}" for name, option in options.items() if name in document]


def pairs(option: str, found: Mapping[str, object]) -> list[str]:
    return [f"{option}={old}:{new}" for old, new in found.items()]


def how_verified(document: Document, level: str) -> list[str]:
    return texts(document, level=level, sample_percent="--sample", max_bytes="--max-bytes")


def place(found: Document, option: str) -> list[str]:
    bucket, prefix = found.get("bucket"), found.get("prefix", "")
    return [f"{option}={f's3://{bucket}/' if bucket else ''}{prefix}".removesuffix("/")] if bucket or prefix else []


def backup_options(found: Document) -> list[str]:
    copied = place(found["copy_to"], "--copy-to") or ["--copy"] if "copy_to" in found else []
    return [
        *selection(found),
        *flags(found, mode="--incremental", meta_only="--meta-only", skip_flush="--skip-flush", include_rbac="--rbac"),
        *flags({"no_gc_pause": not found.get("gc_pause", True)}, no_gc_pause="--no-gc-pause"),
        *flags({"fail": found.get("on_collection_failure") == "fail"}, fail="--all-or-nothing"),
        *texts(found.get("lock", {}), days="--lock-days", mode="--lock-mode"),
        *how_verified(found.get("verify", {}), "--verify"),
        *copied,
    ]


def create(found: Document) -> list[str]:
    return ["create", *texts(found, backup_name="--name", expire_after="--expire-after"), *backup_options(found)]


def estimate(found: Document) -> list[str]:
    return ["estimate", *selection(found), *flags(found, mode="--incremental", meta_only="--meta-only")]


def restore(found: Document) -> list[str]:
    each = found.get("replicas", {})
    left_out = {
        name: not found.get(name, True) for name in ("restore_index", "load", "restore_aliases", "point_in_time")
    }
    return [
        "restore", *selection(found),
        *texts(found, backup_name="--name", suffix="--suffix", as_of="--as-of", verify="--verify"),
        *texts(found, max_shards="--max-shards"),
        *pairs("--rename", found.get("rename", {})),
        *pairs("--resource-group", found.get("resource_groups", {})),
        *(pairs("--replicas", each) if isinstance(each, dict) else [f"--replicas={each}"]),
        *(f"--partition={name}:{one}" for name, some in found.get("partitions", {}).items() for one in some),
        *flags(found, drop_existing="--drop-existing", skip_create="--skip-create", meta_only="--meta-only"),
        *flags(found, switch_aliases="--switch-aliases", skip_damaged="--skip-damaged", rbac="--rbac"),
        *flags(found, allow_version="--allow-version"),
        *flags(left_out, restore_index="--no-index", load="--no-load", restore_aliases="--no-aliases"),
        *flags(left_out, point_in_time="--everything"),
    ]  # fmt: skip


def verify(found: Document) -> list[str]:
    return ["verify", NAME, *how_verified(found, "--level")]


def export(found: Document) -> list[str]:
    return [
        "export", *texts(found, backup_name="--name", export_name="--as", format="--format"), *selection(found),
        *place(found.get("to", {}), "--to"), *texts(found.get("lock", {}), days="--lock-days", mode="--lock-mode"),
    ]  # fmt: skip


def copy(found: Document) -> list[str]:
    to = found.get("to", {})
    reached = texts(to, bucket_region="--to-region", role_arn="--to-role", kms_key_arn="--to-kms-key")
    return ["copy", NAME, *place(to, "--to"), *reached]


def drill(found: Document) -> list[str]:
    return [
        "drill", *texts(found, backup_name="--name", newest_of="--schedule", max_bytes="--max-bytes"),
        *selection(found), *texts(found, row_count="--rows", seed="--seed", database="--scratch"),
        *flags(found, allow_version="--allow-version"),
    ]  # fmt: skip


def can_be_said(found: Document) -> bool:
    """Return whether options can say a schedule: it backs up, or drills what it names."""
    drilled = found.get("drill")
    return drilled is None or (
        not {"request", "retention"} & {*found} and bool({"backup_name", "newest_of"} & {*drilled})
    )


def schedule(found: Document) -> list[str]:
    drilled, kept = found.get("drill", {}), found.get("retention", {})
    return [
        "schedule", "put", "nightly", f"--timezone={found.get('timezone', 'UTC')}",
        *flags({"off": not found.get("enabled", True)}, off="--off"), *backup_options(found.get("request", {})),
        *texts(drilled, backup_name="--drill-backup", newest_of="--drill", max_bytes="--max-bytes", row_count="--rows"),
        *selection(drilled), *flags(drilled, allow_version="--allow-version"),
        *texts(kept, expire_after="--expire-after", **{name: f"--{name.replace('_', '-')}" for name in KEPT}),
        "--", found["expression"],
    ]  # fmt: skip


def held(found: Document) -> list[str]:
    return ["hold", NAME, *texts(found, reason="--reason", until="--until")]


def prune(found: Document) -> list[str]:
    swept = {"off": not found.get("sweep", True)}
    return ["prune", *flags(found, dry_run="--dry-run"), *flags(swept, off="--no-sweep")]


def only(*names: str) -> Callable[[Document], Document]:
    return lambda found: {name: found[name] for name in names if name in found}


COMMANDS: dict[str, tuple[Any, type[Model], Callable[[Document], list[str]]]] = {
    "POST /backups": (BACKUP, BackupRequest, create),
    "POST /estimate": (BACKUP.map(only("collections", "mode", "meta_only")), BackupRequest, estimate),
    "POST /restores": (RESTORE, RestoreRequest, restore),
    "POST /restores/plan": (RESTORE, RestoreRequest, lambda found: [*restore(found), "--dry-run"]),
    "POST /backups/{name}/verify": (VERIFY, VerifyOptions, verify),
    "POST /exports": (EXPORT, ExportRequest, export),
    "POST /backups/{name}/copies": (COPY, CopyRequest, copy),
    "POST /drills": (DRILL, DrillRequest, drill),
    "POST /prune": (PRUNE.map(only("dry_run", "sweep")), PruneRequest, prune),
    "PUT /backups/{name}/hold": (HOLD, Hold, held),
    "PUT /schedules/{name}": (SCHEDULE.filter(can_be_said), ScheduleSpec, schedule),
}


def meant(model: type[Model], document: Document) -> Model | None:
    """Return what a command asks for, which says a little more than is needed."""
    wanted = parsed(model, document)
    if isinstance(wanted, RestoreRequest) and not wanted.restore_index:
        return wanted.model_copy(update={"load": False})
    return wanted


@pytest.mark.parametrize("route", sorted(COMMANDS))
@given(data=st.data())
@CASES
def test_what_the_options_say_the_api_reads(
    route: str, data: st.DataObject, handler: Handler, capsys: pytest.CaptureFixture[str]
) -> None:
    handler.read.clear()
    strategy, model, arguments = COMMANDS[route]
    document = data.draw(strategy)
    wanted = meant(model, document)
    code = run(arguments(document))
    told = capsys.readouterr().err
    if wanted is None:
        assert (code, handler.read) == (2, []), (arguments(document), told)
        return
    assert code == 4, (arguments(document), told)
    asked, values = handler.only()
    body = values["body"].backup if isinstance(values["body"], EstimateRequest) else values["body"]
    assert (asked, body.model_dump()) == (route, wanted.model_dump())
    assert values.get("name", NAME) in {NAME, "nightly"}
