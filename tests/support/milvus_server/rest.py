"""The REST calls of version 2 that backups and restores use."""

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.milvus_server.calls.imports import check_binlog_right
from tests.support.milvus_server.calls.table import Call
from tests.support.milvus_server.catalog import DEFAULT, L0, Segment
from tests.support.milvus_server.importing import COMPLETED, FAILED, Job
from tests.support.milvus_server.rbac import ROOT
from tests.support.milvus_server.refusals import Refusal
from tests.support.milvus_server.segment_files import Logs
from tests.support.milvus_server.service import DeniedError, Service, UnavailableError

type Body = dict[str, Any]
type Route = tuple[str, Callable[[Call, Body], Any]]

_PREFIX = "/v2/vectordb/"
_WRONG_PARAMETER, _MISSING_PARAMETER, _SEGMENT_NOT_FOUND = 1801, 1802, 600
_NEEDS_AUTHENTICATION, _UNEXPECTED = 1800, 65535


def _list_collections(call: Call, body: Body) -> list[str]:
    return list(call.core.catalog.database(body.get("dbName") or DEFAULT).collections)


def _create_import(call: Call, body: Body) -> Body:
    missing = [name for name in ("collectionName", "files") if not body.get(name)]
    if missing:
        raise Refusal(_MISSING_PARAMETER, f"missing required parameters, error: {', '.join(missing)}")
    options = {key: str(value) for key, value in (body.get("options") or {}).items()}
    check_binlog_right(call, options)
    collection = call.core.catalog.collection(body.get("dbName") or DEFAULT, body["collectionName"])
    job = call.imports.create(collection, body.get("partitionName") or "", body["files"], options)
    return {"jobId": str(job.job_id)}


def _describe_import(call: Call, body: Body) -> Body:
    job: Job = call.imports.find(_number(body.get("jobId", "")))
    answer: Body = {
        "jobId": str(job.job_id),
        "collectionName": job.collection.name,
        "state": job.state,
        "progress": job.progress,
        "importedRows": job.rows,
        "totalRows": job.rows,
        "fileSize": 0,
        "completeTime": job.completed,
        "details": [_detail(job, number) for number in range(len(job.details))],
    }
    if call.core.version.at_least(2, 6):
        answer["createTime"] = job.created
    if job.state == FAILED:
        answer["reason"] = job.reason
    return answer


def _detail(job: Job, number: int) -> Body:
    detail = job.details[number]
    return {
        "fileName": detail.name,
        "fileSize": 0,
        "state": job.state,
        "progress": job.progress,
        "importedRows": detail.rows,
        "totalRows": detail.rows,
        "completeTime": job.completed if job.state == COMPLETED else "",
    }


def _number(text: str) -> int:
    if not str(text).isdecimal():
        raise Refusal(_WRONG_PARAMETER, f"can only accept json format request, error: jobId '{text}'")
    return int(text)


def _list_imports(call: Call, body: Body) -> Body:
    # The database is not looked at, as on real servers.
    wanted = body.get("collectionName")
    return {
        "records": [
            {
                "jobId": str(job.job_id),
                "collectionName": job.collection.name,
                "state": job.state,
                "progress": job.progress,
            }
            for job in call.imports.all()
            if wanted in {None, "", job.collection.name}
        ]
    }


def _describe_segments(call: Call, body: Body) -> Body:
    # Go reads members whatever their case, and milvus-backup writes `collectionId` and `segmentIds`.
    members = {name.lower(): value for name, value in body.items()}
    ids = members.get("segmentids") or []
    collection_id = members.get("collectionid", 0)
    if not all(isinstance(number, int) for number in (collection_id, *ids)):
        reason = "can only accept json format request, error: cannot unmarshal string into int64"
        raise Refusal(_WRONG_PARAMETER, reason)
    there: dict[int, Segment] = {}
    for collection in [*call.core.catalog.collections(), *call.core.catalog.dropped]:
        there |= collection.segments
    for number in ids:
        if number not in there:
            raise Refusal(_SEGMENT_NOT_FOUND, f"segment not found[segment={number}]")
    return {"segmentInfos": [_segment(there[number]) for number in ids]}


def _segment(segment: Segment) -> Body:
    logs = segment.logs
    return {
        "segmentID": segment.segment_id,
        "collectionID": segment.collection_id,
        "partitionID": segment.partition_id,
        "vChannel": segment.channel,
        "numRows": segment.rows,
        "state": segment.state,
        "level": segment.level,
        "isSorted": segment.is_sorted,
        "insertLogs": [] if segment.level == L0 else _logs(logs.insert),
        "deltaLogs": _logs({0: logs.delta} if logs.delta else {}),
        "statsLogs": _logs(logs.stats),
    }


def _logs(logs: Logs) -> list[Body]:
    return [{"fieldID": number, "logIDs": ids} for number, ids in logs.items()]


_ROUTES: dict[str, Route] = {
    "collections/list": ("ShowCollections", _list_collections),
    "jobs/import/create": ("Import", _create_import),
    "jobs/import/get_progress": ("GetImportProgress", _describe_import),
    "jobs/import/describe": ("GetImportProgress", _describe_import),
    "jobs/import/list": ("ListImports", _list_imports),
    "segments/describe": ("SegmentsDescribe", _describe_segments),
}


def _route(service: Service, path: str) -> Route | None:
    version = service.core.version
    if not version.has_import_v2 or not path.startswith(_PREFIX):
        return None
    name = path.removeprefix(_PREFIX)
    return None if name == "segments/describe" and not version.describes_segments else _ROUTES.get(name)


def respond(service: Service, path: str, token: str, body: Body) -> tuple[int, Body | None]:
    """Return HTTP status and body for a call; no body where there is no such route."""
    route = _route(service, path)
    if route is None:
        return 404, None
    name, work = route
    user, _, password = token.removeprefix("Bearer ").partition(":")
    if work is _describe_import and user != ROOT and service.core.faults.admins_see_imports:
        return 403, {"code": _UNEXPECTED, "message": "PrivilegeImport is not granted"}
    try:
        concerned = [body["collectionName"]] if body.get("collectionName") else []
        call = service.caller(name, user, password, body.get("dbName") or DEFAULT, concerned)
        with service.core.lock:
            service.check_faults(path)
            data = work(call, body)
            service.check_answer(path)
    except DeniedError as err:
        code = _UNEXPECTED if err.is_known else _NEEDS_AUTHENTICATION
        return 403 if err.is_known else 401, {"code": code, "message": str(err)}
    except UnavailableError:
        return 503, {}
    except Refusal as err:
        return 200, {"code": err.code, "message": err.reason}
    return 200, {"code": 0, "data": data}


def serve(service: Service, host: str) -> ThreadingHTTPServer:
    """Return an HTTP server for these calls on a free port; it runs once it is started."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body in one: in two, the second waits 40 ms until the first was confirmed.
        wbufsize = -1

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.loads(content or b"{}")
            answer_with(self, *respond(service, self.path, self.headers.get("Authorization", ""), body))

        def do_GET(self) -> None:
            answer_with(self, 404, None)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return ThreadingHTTPServer((host, 0), Handler)


def answer_with(handler: BaseHTTPRequestHandler, status: int, body: Body | str | None) -> None:
    """Send an answer; a text as it is."""
    text = "404 page not found" if body is None else body if isinstance(body, str) else json.dumps(body)
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json" if status != 404 else "text/plain")
    handler.send_header("Content-Length", str(len(text.encode())))
    handler.end_headers()
    handler.wfile.write(text.encode())
