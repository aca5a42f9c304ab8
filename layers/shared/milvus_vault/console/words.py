"""The console's words for what the API calls by the names of its fields and routes."""

from collections.abc import Mapping

from milvus_vault.errors import renamed
from milvus_vault.model.requests import (
    BackupRequest,
    CopyRequest,
    DrillRequest,
    ExportRequest,
    PruneRequest,
    RestoreRequest,
    VerifyRequest,
)

LABELS: Mapping[str, str] = {
    "allow_version": "“Into Milvus 2.2 or 2.3 as well”",
    "backup_name": "the name",
    "backup_names": "the names",
    "collections": "“Collections”",
    "drop_existing": "“Replace what exists”",
    "export_name": "“New name”",
    "format": "“As”",
    "level": "“Verify”",
    "max_bytes": "“At most so many bytes”",
    "reason": "“Reason”",
    "row_count": "“Rows compared of each”",
    "suffix": "“Suffix of the new names”",
    "until": "“Until”",
}
"""Labels of the forms, by fields."""

PAGES: Mapping[str, str] = {
    "GET /backups": "“Backups”",
    "GET /runs": "“Runs”",
    "GET /runs/{run_id}": "“Runs”",
    "DELETE /runs/{run_id}": "“Stop it” on its page",
    "POST /backups/{name}/repair": "'milvus-vault repair'",
}
"""Where routes lead that hints name; the console mends no backup."""


_FIELDS = frozenset(
    name
    for request in (
        BackupRequest,
        CopyRequest,
        DrillRequest,
        ExportRequest,
        PruneRequest,
        RestoreRequest,
        VerifyRequest,
    )
    for name in request.model_fields
)


def spoken(text: str) -> str:
    """Return a text in the words of the console; a field that no form has comes with who has it."""
    return renamed(text, _word)


def _word(name: str, value: str) -> str:
    # The value stays: without `load: false` a hint would advise what it warns of.
    if word := LABELS.get(name) or PAGES.get(name):
        return word + value
    return f"`{name}{value}` of the command line and the API" if name in _FIELDS else ""
