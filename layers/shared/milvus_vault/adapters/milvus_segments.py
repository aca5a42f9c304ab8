"""The logs of segments, one by one, as Milvus tells them by REST; no call of gRPC does."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from itertools import batched
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from milvus_vault.errors import MilvusRequestError, MilvusUnavailableError, VaultError
from milvus_vault.model.collections import SegmentLogs

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
    """Asks by REST, on the port of gRPC if no other is given. Safe to use from several threads."""

    def __init__(self, uri: str, *, username: str = "", password: str = "") -> None:
        self._uri = uri.rstrip("/")
        self._token = f"Bearer {username}:{password}" if username else ""

    def describe_segments(
        self, database: str, collection_id: int, segment_ids: Sequence[int]
    ) -> dict[int, SegmentLogs]:
        """Return the logs of segments, as far as the server tells them.

        A server before 2.5.8 has no such call, a user may not have the right to it, a load balancer may let only
        gRPC through, and one segment that has vanished refuses a whole batch: all that leaves segments out.
        """
        found: dict[int, SegmentLogs] = {}
        for ids in batched(segment_ids, SEGMENTS_PER_CALL, strict=False):
            body = {"dbName": database, "collectionID": collection_id, "segmentIDs": list(ids)}
            try:
                told = _Segments.model_validate(self._post("/v2/vectordb/segments/describe", body))
            except (VaultError, ValidationError):
                continue
            found |= {segment.segment_id: _logs(segment) for segment in told.infos}
        return found

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        """Return the data of an answer. Raises `MilvusUnavailableError` or `MilvusRequestError`."""
        headers = {"Content-Type": "application/json"} | ({"Authorization": self._token} if self._token else {})
        request = urllib.request.Request(  # noqa: S310 - the operator's own endpoint
            self._uri + path, json.dumps(body).encode(), headers
        )
        try:
            with urllib.request.urlopen(request, timeout=CALL_SECONDS) as answer:  # noqa: S310 - as above
                content = json.load(answer)
        except urllib.error.HTTPError as err:
            msg = f"{self._uri}{path} answers {err.code}"
            raise MilvusRequestError(msg) from err
        except (OSError, ValueError) as err:
            msg = f"{self._uri}{path} does not answer: {err}"
            raise MilvusUnavailableError(msg, hint="Check that the port of MilvusUri answers HTTP as well.") from err
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
