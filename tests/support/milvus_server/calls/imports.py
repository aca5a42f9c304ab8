"""Calls about import jobs."""

from tests.support.milvus_server.calls.table import Call, answers, as_dict
from tests.support.milvus_server.import_checks import is_set, missing_collection
from tests.support.milvus_server.importing import COMPLETED, FAILED, IMPORTING, Job
from tests.support.milvus_server.refusals import Refusal
from tests.support.milvus_server.values import Message

_STATES = {COMPLETED: "ImportCompleted", FAILED: "ImportFailed", IMPORTING: "ImportStarted"}
_COLLECTION_GONE = 100
_NOT_PERMITTED = 1401


@answers("Import")
def start(call: Call, request: Message, answer: Message) -> None:
    """Begin an import job, of one pair of paths."""
    check_binlog_right(call, as_dict(request.options))
    try:
        collection = call.collection(request)
    except Refusal as err:
        if call.core.version.has_import_v2 or err.code != _COLLECTION_GONE:
            raise
        raise missing_collection(call.database(request), request.collection_name) from err
    files = [list(request.files)]
    job = call.imports.create(collection, request.partition_name, files, as_dict(request.options))
    answer.tasks.append(job.job_id)


def check_binlog_right(call: Call, options: dict[str, str]) -> None:
    """Refuse binlogs and deletes to whom their right is not granted. That this comes first is a guess at the source."""
    settings = call.core.settings
    if not (settings.authorization and settings.guards_binlogs):
        return
    if (is_set(options, "backup") or is_set(options, "l0_import")) and not call.rbac.may_import_binlogs(call.user):
        raise Refusal(_NOT_PERMITTED, f"privilege not permitted[user={call.user}]: PrivilegeImportBinlog is required")


@answers("GetImportState")
def get_import_state(call: Call, request: Message, answer: Message) -> None:
    """Tell how far a job is."""
    _fill(call, call.imports.find(request.task), answer)


@answers("ListImportTasks")
def list_import_tasks(call: Call, request: Message, answer: Message) -> None:
    """List jobs, newest first."""
    wanted = call.collection(request).collection_id if request.collection_name else None
    found = [job for job in call.imports.all() if wanted in {None, job.collection.collection_id}]
    for job in found[: request.limit] if request.limit > 0 else found:
        _fill(call, job, answer.tasks.add())


def _fill(call: Call, job: Job, answer: Message) -> None:
    answer.state = _STATES.get(job.state, "ImportPending")
    answer.id, answer.collection_id = job.job_id, job.collection.collection_id
    answer.row_count, answer.create_ts = job.rows, job.job_id >> 18
    answer.segment_ids.extend(job.segment_ids)
    infos = {"failed_reason": job.reason, "progress_percent": str(job.progress)}
    if not call.core.version.has_import_v2:
        infos |= job.options | {
            "collection": job.collection.name,
            "partition": job.partition,
            "files": ",".join(job.files[0]),
        }
        if job.state == COMPLETED:
            infos["persist_cost"] = "0.10"
    for key, value in infos.items():
        answer.infos.add(key=key, value=value)
