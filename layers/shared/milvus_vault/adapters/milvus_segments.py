"""The logs of segments, one by one, as Milvus tells them by REST; no call of gRPC does."""

import json
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from itertools import batched
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from milvus_vault.adapters.endpoints import Endpoint
from milvus_vault.adapters.http_calls import HttpCalls
from milvus_vault.adapters.milvus_access import NOBODY, MilvusAccess
from milvus_vault.errors import MilvusRequestError, MilvusUnavailableError
from milvus_vault.model.collections import SegmentLogs
from milvus_vault.untrusted import read_json

CALL_SECONDS = 30.0

# An answer has some 3 KB for a segment of 50 fields with one log each.
SEGMENTS_PER_CALL = 200


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


def _logs(segment: _Segment) -> SegmentLogs:
    return SegmentLogs(
        virtual_channel=segment.virtual_channel,
        insert_logs=frozenset(_pairs(segment.insert_logs or [])),
        # They have the primary key's field, or none; the keys of objects have none.
        delta_logs=frozenset(log for _, log in _pairs(segment.delta_logs or [])),
    )


def _pairs(logs: list[_FieldLogs]) -> Iterator[tuple[int, int]]:
    return ((field.field_id, log) for field in logs for log in field.log_ids)
