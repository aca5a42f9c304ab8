"""The one place where the command line goes past the API: it reads a backup's objects itself (docs/adr/0039)."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

from milvus_vault.adapters.s3 import S3ObjectStore
from milvus_vault.archive.layout import BackupLayout
from milvus_vault.cli.files import check_writable, written_whole
from milvus_vault.cli.session import Session
from milvus_vault.client.local_state import running_stack
from milvus_vault.errors import InvalidRequestError, StorageAccessDeniedError
from milvus_vault.model.collections import CollectionName
from milvus_vault.rows import Rows, Selection, read_rows
from milvus_vault.rows.writing import csv_lines, json_lines, write_arrow, write_parquet

if TYPE_CHECKING:
    from pyarrow import RecordBatch

type Form = Literal["json", "csv", "parquet", "arrow"]

_REQUESTS_AT_A_TIME = 8


@dataclass(frozen=True, slots=True)
class Archive:
    """Where a backup lies, and what reads it."""

    store: S3ObjectStore
    bucket: str
    layout: BackupLayout

    def rows(self, collection: str, selection: Selection) -> Rows:
        """Return rows of a collection, `db.name`; raises as `read_rows`."""
        database, _, name = collection.partition(".")
        found = CollectionName(database=database, name=name)
        return read_rows(self.store, self.bucket, self.layout, found, selection)


@contextmanager
def opened(session: Session, backup: str) -> Iterator[Archive]:
    """Yield a backup, read with the credentials that also sign requests to the API, which says where it lies."""
    client = session.vault()
    bucket, _, folder = client.get_backup(backup).location.removeprefix("s3://").partition("/")
    prefix, _, name = folder.strip("/").rpartition("/")
    local = running_stack()
    endpoint_url = local.aws_url if local and local.api_url == client.url else None
    store = S3ObjectStore.connect(_REQUESTS_AT_A_TIME, client.session, endpoint_url)
    try:
        yield Archive(store, bucket, BackupLayout(prefix, name))
    except StorageAccessDeniedError as err:
        hint = (
            f"Your own credentials read the backup: they need s3:GetObject and s3:ListBucket on {bucket},"
            " and kms:Decrypt where a KMS key encrypts it."
        )
        raise StorageAccessDeniedError(err.message, hint=hint) from err


def check_sink(session: Session, form: Form, file: Path | None) -> None:
    """Raise `InvalidRequestError` where rows in this form cannot go where they are to."""
    if file is None and (form == "parquet" or (form == "arrow" and session.output.text.is_terminal)):
        msg = f"{form} cannot be written to {'standard output' if form == 'parquet' else 'a terminal'}"
        raise InvalidRequestError(msg, hint=f"Name a file: --file rows.{form}")
    if file is not None:
        check_writable(file)


def write(session: Session, rows: Rows, form: Form, file: Path | None, *, if_none: str) -> None:
    """Write rows to a file, which is there only once all are in it, or to standard output; and tell where none is."""
    count = 0

    def counted() -> Iterator["RecordBatch"]:
        nonlocal count
        for batch in rows.batches:
            count += batch.num_rows
            yield batch

    _write_to(session, replace(rows, batches=counted()), form, file)
    if count == 0:
        session.output.tell("{text}", text=if_none)


def _write_to(session: Session, rows: Rows, form: Form, file: Path | None) -> None:
    if file is None:
        with _standard_output():
            if form == "arrow":
                write_arrow(rows, sys.stdout.buffer, is_stream=True)
            else:
                for line in json_lines(rows) if form == "json" else csv_lines(rows):
                    session.output.line(line, is_json=form == "json")
            sys.stdout.flush()
    else:
        with written_whole(file) as sink:
            _write(rows, form, sink)
        session.output.say("[green]✓[/] written to {file}", file=file)


def _write(rows: Rows, form: Form, sink: IO[bytes]) -> None:
    if form == "parquet":
        write_parquet(rows, sink)
    elif form == "arrow":
        write_arrow(rows, sink, is_stream=False)
    else:
        sink.writelines(line.encode() for line in (json_lines(rows) if form == "json" else csv_lines(rows)))


@contextmanager
def _standard_output() -> Iterator[None]:
    """Raise `InvalidRequestError` where it takes no more. That nobody reads it any more is for `main.run`."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as err:
        msg = f"cannot write to standard output: {err.strerror or err}"
        raise InvalidRequestError(msg) from err
