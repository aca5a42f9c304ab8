"""What an import is refused for, or fails of, before a row is read."""

from collections.abc import Sequence

from tests.support.milvus_server.catalog import Collection
from tests.support.milvus_server.core import Core
from tests.support.milvus_server.import_files import ImportFailedError, find_segments
from tests.support.milvus_server.refusals import DISK_QUOTA, IMPORT_FAILED, INVALID, UNEXPECTED, Refusal

_ENDS = ": importing data failed"
_MISSING = 1101
_MOST_PATHS = 2
_STACK = 2

type Files = Sequence[Sequence[str]]


def is_set(options: dict[str, str], name: str) -> bool:
    """Return whether an option is on."""
    return options.get(name, "").lower() == "true"


def check(core: Core, collection: Collection, partition: str, files: Files, options: dict[str, str]) -> None:
    """Refuse what the version refuses when it is asked for a job."""
    is_backup, is_level_zero = is_set(options, "backup"), is_set(options, "l0_import")
    # A key spreads rows over partitions, but not those of a backup.
    if not partition and is_backup:
        if core.version.at_least(2, 6):
            raise Refusal(_MISSING, "partition not specified: missing parameter")
        raise Refusal(INVALID, "partition not specified: invalid parameter")
    if partition:
        collection.partition(partition)
    if not core.version.has_import_v2:
        return
    if not is_backup and not is_level_zero:
        raise Refusal(IMPORT_FAILED, f"{_unexpected(core)}, files=[{' '.join(p for g in files for p in g)}]{_ENDS}")
    if len(files) > core.settings.most_import_files:
        most = core.settings.most_import_files
        raise Refusal(IMPORT_FAILED, f"The max number of import files should not exceed {most}, but got {len(files)}")
    if is_level_zero:
        if collection.load is not None:
            reason = (
                f"for l0 import, collection cannot be loaded, please release it first, collection={collection.name}"
            )
            raise Refusal(IMPORT_FAILED, reason + _ENDS)
        return
    _check_pairs(core, files)


def check_room(core: Core, running: int) -> None:
    """Refuse a job where there are as many as the server takes at a time, as its source says."""
    most = core.settings.most_import_jobs
    if running < most:
        return
    if core.version.has_import_v2:
        reason = (
            "The number of jobs has reached the limit, please try again later. If your request is set to only import"
        )
        reason += " a single file, please consider importing multiple files in one request for better efficiency."
        raise Refusal(IMPORT_FAILED, reason + _ENDS)
    reason = (
        f"import task queue max size is {most}, currently there are {running} tasks is pending. Not able to execute"
    )
    raise Refusal(UNEXPECTED, f"{reason} this request with 1 tasks.")


def _unexpected(core: Core) -> str:
    return "unexpected file type" if core.version.at_least(2, 5) else "unexpect file type"


def _check_pairs(core: Core, files: Files) -> None:
    """Refuse what has too many paths, or nothing below any of them. One path of several may have nothing."""
    for paths in files:
        if len(paths) > _MOST_PATHS:
            reason = (
                "too many input paths for binlog import. Valid paths length should be one or two, "
                f"but got paths:[{' '.join(paths)}]"
            )
            if core.version.at_least(2, 6):
                raise Refusal(_STACK, f"stack trace: {reason}")
            raise Refusal(IMPORT_FAILED, f"list binlogs failed, err={reason}{_ENDS}")
    segments = [
        segment
        for paths in files
        for segment in find_segments(core.version, core.objects, paths[0], paths[1] if len(paths) > 1 else "")
    ]
    if len(segments) > core.settings.most_import_files:
        raise Refusal(IMPORT_FAILED, f"the max number of import files is exceeded: {len(segments)} segments{_ENDS}")
    if not segments:
        named = " ".join("  ".join(f'paths:"{path}"' for path in paths) for paths in files)
        reason = f"no binlog to import, input=[{named}]{_ENDS}"
        if core.version.at_least(2, 6):
            reason = f"failed to broadcast import: failed to validate import request: {reason}"
        raise Refusal(IMPORT_FAILED, reason)


def check_quota(core: Core, options: dict[str, str]) -> None:
    """Fail where the disk quota is used up, unless the import asks for no such check."""
    if core.faults.over_disk_quota and not is_set(options, "skip_disk_quota_check"):
        raise ImportFailedError(DISK_QUOTA)


def check_level_zero_paths(core: Core, files: Files) -> None:
    """Fail where there is more than one folder of deletes; 2.6 takes many, one an entry."""
    if len(files) > 1 and not core.version.at_least(2, 6):
        named = " ".join(f"id:{core.clock.new_id()}  {_paths(paths)}" for paths in files)
        msg = f"there should be one prefix for l0 import, but got [{named}]{_ENDS}"
        raise ImportFailedError(msg)
    for paths in files:
        if len(paths) > 1:
            msg = f"there should be one prefix, but got [{' '.join(paths)}]{_ENDS}"
            if core.version.at_least(2, 5):
                msg = f"error: {msg}, file: id:{core.clock.new_id()}  {_paths(paths)}"
            raise ImportFailedError(msg)


def _paths(paths: Sequence[str]) -> str:
    return "  ".join(f'paths:"{path}"' for path in paths)


def check_legacy_files(files: Sequence[str], options: dict[str, str]) -> None:
    """Fail as up to 2.3 where an import is not that of one pair of a backup."""
    if not is_set(options, "backup") or len(files) != _MOST_PATHS:
        msg = f"unsupported file type: '{files[0]}'{_ENDS}"
        raise ImportFailedError(msg)


def missing_collection(database: str, name: str) -> Refusal:
    """Refuse as 2.3 does, which tries for long first."""
    where = f"[database={database}][collection={name}]"
    return Refusal(UNEXPECTED, f"attempt #9: rpc error: code = Unknown desc = collection not found{where}")
