"""The options of an import, as each version takes them."""

import pytest

from milvus_vault.adapters.milvus_errors import Answer, check, takes_no_more_jobs
from milvus_vault.adapters.milvus_imports import import_options
from milvus_vault.errors import WrongRootPathError
from milvus_vault.model.collections import ImportTask
from milvus_vault.model.versions import parse_version
from tests.support.milvus_server.import_files import span_of
from tests.support.milvus_server.versions import NEWER, VERSIONS

MILLISECONDS = 1_795_387_337_426
NO_QUOTA = {"skip_disk_quota_check": "true"}
ROWS = ImportTask(partition="p", pairs=())


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("2.2.16", {"end_ts": str(MILLISECONDS + 1)}),
        ("2.3.5", {"end_ts": str(MILLISECONDS + 1)}),
        ("2.4.24", NO_QUOTA | {"end_ts": str((MILLISECONDS << 18) + 7)}),
        ("2.5.5", NO_QUOTA | {"end_ts": str(MILLISECONDS + 1)}),
        ("2.5.6", NO_QUOTA | {"end_ts": str((MILLISECONDS << 18) + 7)}),
        ("2.4.23", NO_QUOTA | {"end_ts": str(MILLISECONDS + 1)}),
        ("2.5.27", NO_QUOTA | {"end_ts": str((MILLISECONDS << 18) + 7)}),
        ("2.6.19", NO_QUOTA | {"end_ts": str((MILLISECONDS << 18) + 7)}),
    ],
)
def test_a_point_in_time_is_told_in_the_unit_of_the_version(version: str, expected: dict[str, str]) -> None:
    task = ImportTask(partition="p", pairs=(), end_timestamp=(MILLISECONDS << 18) + 7)
    assert import_options(task, parse_version(version)) == {"backup": "true"} | expected


@pytest.mark.parametrize("version", NEWER)
@pytest.mark.parametrize("counter", [0, 1, 2**18 - 1])
def test_nothing_that_came_before_the_point_in_time_is_left_out(version: str, counter: int) -> None:
    point = (MILLISECONDS << 18) + counter
    task = ImportTask(partition="p", pairs=(), end_timestamp=point)
    span = span_of(VERSIONS[version], dict(import_options(task, parse_version(version))))
    assert span.has(point)
    # Within the same millisecond 2.4 cannot tell.
    assert not span.has(point + (2**18 if version < "2.5" else 0) + 1)


def test_only_packed_logs_are_imported_with_their_version() -> None:
    server = parse_version("2.6.19")
    assert import_options(ROWS, server) == NO_QUOTA | {"backup": "true"}
    for version, expected in ((1, {}), (2, {"storage_version": "2"})):
        task = ImportTask(partition="p", pairs=(), storage_version=version)
        assert import_options(task, server) == NO_QUOTA | {"backup": "true"} | expected


def test_deletes_are_never_imported_as_a_backup() -> None:
    task = ImportTask(partition="", pairs=(), is_deletes=True)
    assert import_options(task, parse_version("2.5.27")) == NO_QUOTA | {"l0_import": "true"}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer(code=2100, reason="The number of jobs has reached the limit, please try again later."), True),
        (
            Answer(code=1, reason="import task queue max size is 65536, currently there are"),
            True,
        ),
        (Answer(code=8, reason="request is rejected by grpc RateLimiter middleware"), True),
        (Answer(code=2100, reason="no binlog to import"), False),
        (Answer(code=1, reason="service not ready"), False),
    ],
)
def test_a_server_with_too_many_jobs_is_told_from_one_that_refuses(answer: Answer, expected: bool) -> None:
    assert takes_no_more_jobs(answer) is expected


def test_an_import_that_finds_nothing_is_of_a_wrong_bucket() -> None:
    answer = Answer(code=2100, reason="no binlog to import, input=[]: importing data failed")
    with pytest.raises(WrongRootPathError, match=r"no binlog to import.*\n.*MilvusBucketName"):
        check(answer, "Import", "default.c")
