"""Segments: which there are, by gRPC, and their logs one by one, which Milvus tells by REST alone."""

import json
import time
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from itertools import batched
from typing import Any, override

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pymilvus.grpc_gen import milvus_pb2

from milvus_vault.adapters.endpoints import Endpoint
from milvus_vault.adapters.http_calls import HttpCalls
from milvus_vault.adapters.milvus_access import NOBODY, MilvusAccess
from milvus_vault.adapters.milvus_calls import MilvusCall, MilvusClient
from milvus_vault.adapters.milvus_errors import check, understood
from milvus_vault.errors import MilvusRequestError, MilvusUnavailableError
from milvus_vault.model.collections import Segment, SegmentLevel, SegmentLogs
from milvus_vault.ports import Segments
from milvus_vault.untrusted import read_json

CALL_SECONDS = 30.0

# An answer has some 3 KB for a segment of 50 fields with one log each.
SEGMENTS_PER_CALL = 200

# GetPersistentSegmentInfo can fail with "segment not found" while a compaction swaps segments, for well below 1 s.
SEGMENT_INFO_TRIES = 20
SEGMENT_INFO_PAUSE_SECONDS = 0.3

_FLUSHED = 4  # common.SegmentState
_LEVELS = {0: SegmentLevel.LEGACY, 1: SegmentLevel.L0, 2: SegmentLevel.L1, 3: SegmentLevel.L2}


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _FieldLogs(_Message):
    field_id: int = Field(default=0, alias="fieldID")
    log_ids: list[int] = Field(default=[], alias="logIDs")


class _Segment(_Message):
    segment_id: int = Field(alias="segmentID")
    virtual_channel: str = Field(default="", alias="vChannel")
    insert_logs: list[_FieldLogs] | None = Field(default=None, alias="insertLogs")
    delta_logs: list[_FieldLogs] | None = Field(default=None, alias="deltaLogs")


class _Segments(_Message):
    infos: list[_Segment] = Field(alias="segmentInfos")


class SegmentDescriber:
    """Asks by REST. Safe to use from several threads."""

    def __init__(self, endpoint: Endpoint, access: MilvusAccess = NOBODY) -> None:
        self._http = HttpCalls(endpoint, access)

    def describe_segments(
        self, database: str, collection_id: int, segment_ids: Sequence[int]
    ) -> dict[int, SegmentLogs]:
        """Return the logs of segments, as far as the server tells them.

        A server before 2.5.8 has no such call, a user may not have the right to it, a load balancer may let only
        gRPC through, and one segment that has vanished refuses a whole batch: all that leaves segments out.
        Raises only what keeps TLS from coming about.
        """
        found: dict[int, SegmentLogs] = {}
        for ids in batched(segment_ids, SEGMENTS_PER_CALL, strict=False):
            body = {"dbName": database, "collectionID": collection_id, "segmentIDs": list(ids)}
            try:
                told = _Segments.model_validate(self._post("/v2/vectordb/segments/describe", body))
            except (MilvusUnavailableError, MilvusRequestError, ValidationError):
                continue
            found |= {segment.segment_id: _logs(segment) for segment in told.infos}
        return found

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        """Return the data of an answer. Raises `MilvusUnavailableError` or `MilvusRequestError`."""
        answer = self._http.send("POST", path, json.dumps(body).encode(), seconds=CALL_SECONDS)
        if answer.status != HTTPStatus.OK:
            msg = f"{self._http.endpoint.uri}{path} answers {answer.status}"
            raise MilvusRequestError(msg)
        try:
            content = read_json(answer.content.decode())
        except ValueError as err:
            msg = f"{self._http.endpoint.uri}{path} answers with something that is not Milvus'"
            raise MilvusRequestError(msg) from err
        if not isinstance(content, dict):
            msg = f"{self._http.endpoint.uri}{path} answers with something that is not Milvus'"
            raise MilvusRequestError(msg)
        if content.get("code"):
            msg = f"{path}: {content.get('message')} (code {content['code']})"
            raise MilvusRequestError(msg)
        return content.get("data")


class SegmentClient(MilvusClient, Segments):
    """Lists segments by gRPC, and has them described by REST."""

    def __init__(self, call: MilvusCall, describer: SegmentDescriber) -> None:
        super().__init__(call)
        self._describer = describer

    @override
    def list_segments(self, database: str, name: str) -> list[Segment]:
        request = milvus_pb2.GetPersistentSegmentInfoRequest(dbName=database, collectionName=name)
        subject = f"{database}.{name}"
        for last in [False] * (SEGMENT_INFO_TRIES - 1) + [True]:
            answer = self._call("GetPersistentSegmentInfo", request, database)
            if last or "segment" not in answer.status.reason or "not found" not in answer.status.reason:
                break
            time.sleep(SEGMENT_INFO_PAUSE_SECONDS)
        check(answer.status, "GetPersistentSegmentInfo", subject)
        with understood("GetPersistentSegmentInfo", subject):
            return [
                Segment(
                    segment_id=info.segmentID,
                    partition_id=info.partitionID,
                    row_count=info.num_rows,
                    level=_LEVELS[info.level],
                    storage_version=info.storage_version,
                )
                for info in answer.infos
                if info.state == _FLUSHED
            ]

    @override
    def describe_segments(
        self, database: str, collection_id: int, segment_ids: Sequence[int]
    ) -> dict[int, SegmentLogs]:
        return self._describer.describe_segments(database, collection_id, segment_ids)


def _logs(segment: _Segment) -> SegmentLogs:
    return SegmentLogs(
        virtual_channel=segment.virtual_channel,
        insert_logs=frozenset(_pairs(segment.insert_logs or [])),
        # They have the primary key's field, or none; the keys of objects have none.
        delta_logs=frozenset(log for _, log in _pairs(segment.delta_logs or [])),
    )


def _pairs(logs: list[_FieldLogs]) -> Iterator[tuple[int, int]]:
    return ((field.field_id, log) for field in logs for log in field.log_ids)
