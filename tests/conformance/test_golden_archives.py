"""Archives that were made from real servers, imported into the protocol server, are what the oracles say."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from tests.conformance.asking import Milvus
from tests.conformance.golden_imports import Archive, GoldenImport
from tests.support.golden_rows import in_order, oracle, rows_of
from tests.support.milvus_server.core import Settings
from tests.support.milvus_server.server import MilvusServer
from tests.support.milvus_server.versions import NEWER
from tests.support.oracle import snapshot
from tests.support.quick_s3 import QuickS3

pytestmark = pytest.mark.tools("milvus")

OF_2_3, OF_2_4 = Archive("golden_0516", "2_3"), Archive("golden_2_4", "2_4")
OF_2_5, OF_2_6 = Archive("golden_2_5", "2_5"), Archive("golden_2_6", "2_6")
SPEED = 40


@contextmanager
def _server(quick_s3: QuickS3, version: str, bucket: str) -> Iterator[tuple[MilvusServer, Milvus]]:
    s3 = quick_s3.client()
    settings = Settings(speed=SPEED)
    with MilvusServer(s3.meta.endpoint_url, version=version, bucket=bucket, settings=settings) as server:
        yield server, Milvus(server.uri, server.management_uri, s3, bucket, server.root_path, 0.1, 0.02)


@pytest.mark.parametrize("folds", [False, True], ids=["deletes after the rows", "deletes beside the rows"])
@pytest.mark.parametrize(
    ("archive", "version"),
    [
        (OF_2_4, "2.4.23"),
        (OF_2_4, "2.5.27"),
        (OF_2_4, "2.6.19"),
        (OF_2_5, "2.5.27"),
        (OF_2_5, "2.6.19"),
        (OF_2_6, "2.6.19"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_an_archive_becomes_just_the_rows_of_its_oracle(
    quick_s3: QuickS3, archive: Archive, version: str, folds: bool
) -> None:
    bucket = f"golden-{archive.version.replace('_', '-')}-on-{version.replace('.', '-')}-{str(folds).lower()}"
    with _server(quick_s3, version, bucket) as (server, milvus):
        imported = GoldenImport(milvus, archive, folds=folds).run()
        for name, _, expected in archive.collections:
            database, _, collection = name.partition(".")
            for partition in expected["partitions"]:
                found = list(rows_of(server.live_rows(database, collection, partition)))
                wanted = [row for versions in expected["rows"].get(partition, []) for row in versions]
                assert in_order(found) == in_order(wanted), (name, partition)
            if version.startswith(archive.version.replace("_", ".")):
                shown = milvus.must("DescribeCollection", db_name=database, collection_name=collection)
                assert MessageToDict(shown.schema, preserving_proto_field_name=True) == expected["schema"]
            if folds:
                assert imported[name] == expected["count"], name


@pytest.mark.parametrize("version", NEWER)
def test_queries_give_the_rows_that_the_real_server_of_2_3_gave(quick_s3: QuickS3, version: str) -> None:
    with _server(quick_s3, version, f"golden-2-3-on-{version.replace('.', '-')}") as (server, milvus):
        GoldenImport(milvus, OF_2_3, folds=True).run()
        found, expected = snapshot(server.uri), oracle("2_3")
        assert found.keys() == expected.keys()
        for name, collection in expected.items():
            assert found[name]["count"] == collection["count"]
            assert found[name]["count_by_partition"] == collection["count_by_partition"]
            assert _as_json(found[name]["rows"]) == _as_json(collection["rows"]), name


def _as_json(rows: list[dict[str, Any]]) -> list[str]:
    return [json.dumps(row, sort_keys=True, ensure_ascii=False) for row in rows]
