"""The working files of a run: small documents below `<prefix>/.runs/<run>/`.

They are what makes a run resumable. A run's name follows from what it is about (the backup's name, or
the restore's request), so that starting it again finds them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ValidationError

from milvus_vault.archive.layout import RUNS_FOLDER, join
from milvus_vault.errors import ObjectNotFoundError, WorkingFileError
from milvus_vault.lines import split_lines
from milvus_vault.model.names import execution_name
from milvus_vault.ports import ObjectStore


@dataclass(frozen=True, slots=True)
class Workspace:
    """The documents of one run, by names relative to its folder."""

    store: ObjectStore
    bucket: str
    prefix: str
    """The backup prefix of the deployment; may be empty."""
    run: str

    @property
    def folder(self) -> str:
        """Return the key of the run's folder, with a slash at its end."""
        return join(self.prefix, RUNS_FOLDER, self.run) + "/"

    def key(self, name: str) -> str:
        """Return the full key of a document."""
        return self.folder + name

    def write(self, name: str, document: BaseModel) -> None:
        """Write a document, replacing an older one."""
        self.write_bytes(name, document.model_dump_json().encode())

    def write_new(self, name: str, document: BaseModel) -> bool:
        """Write a document unless it is there; return whether it was written. Atomic."""
        return self.store.put_if_absent(self.bucket, self.key(name), document.model_dump_json().encode())

    def write_bytes(self, name: str, body: bytes) -> None:
        """Write a document that is not a model."""
        self.store.put(self.bucket, self.key(name), body)

    def read_bytes(self, name: str) -> bytes:
        """Return a document's content. Raises `ObjectNotFoundError`."""
        return self.store.get(self.bucket, self.key(name))

    def write_in_parts(self, name: str, parts: Iterable[bytes]) -> None:
        """Write a document as its parts come, each of at least 5 MiB but the last. It is there once all are written."""
        self.store.put_in_parts(self.bucket, self.key(name), parts)

    def read_lines(self, name: str) -> Iterator[bytes]:
        """Yield the lines of a document, of which no more than a piece is held. Raises `ObjectNotFoundError`."""
        return split_lines(self.store.chunks(self.bucket, self.key(name)))

    def read[T: BaseModel](self, name: str, model: type[T]) -> T:
        """Return a document. Raises `ObjectNotFoundError`, or `WorkingFileError` where it is not one."""
        return self._parse(name, self.read_bytes(name), model)

    def _parse[T: BaseModel](self, name: str, body: bytes, model: type[T]) -> T:
        try:
            return model.model_validate_json(body)
        except ValidationError as err:
            msg = f"working file {self.key(name)} is not a {model.__name__}: {err.errors()[0]['msg']}"
            raise WorkingFileError(msg, hint="Delete the run's folder and start the run again.") from err

    def find[T: BaseModel](self, name: str, model: type[T]) -> T | None:
        """Return a document, or None where it is not there."""
        try:
            return self.read(name, model)
        except ObjectNotFoundError:
            return None

    def find_with_etag[T: BaseModel](self, name: str, model: type[T]) -> tuple[T, str] | None:
        """Return a document and its ETag, or None where it is not there."""
        try:
            body, etag = self.store.get_with_etag(self.bucket, self.key(name))
        except ObjectNotFoundError:
            return None
        return self._parse(name, body, model), etag

    def write_if_unchanged(self, name: str, document: BaseModel, etag: str) -> bool:
        """Replace a document if it still has this ETag; return whether it was replaced. Atomic."""
        return self.store.put_if_unchanged(self.bucket, self.key(name), document.model_dump_json().encode(), etag)

    def names(self, folder: str = "") -> Iterator[str]:
        """Return the names of the documents whose name begins with `folder`."""
        return (name for name, _ in self.documents(folder))

    def documents(self, folder: str = "") -> Iterator[tuple[str, datetime | None]]:
        """Yield what `names` does, with when each was written by the server's clock, where it tells."""
        skip = len(self.folder)
        for listed in self.store.list_objects(self.bucket, self.folder + folder):
            yield listed.key[skip:], listed.modified_at

    def numbers(self, folder: str, names: Iterable[str] | None = None) -> set[int]:
        """Return the numbers that a folder's documents are named by, as `7` of `targets/7.json`.

        Args:
            folder: The folder, with a slash at its end.
            names: Names of documents that are listed already, of this folder and others.
        """
        there = self.names(folder) if names is None else names
        return {int(name.removeprefix(folder).partition(".")[0]) for name in there if name.startswith(folder)}

    def sizes(self, folder: str) -> dict[int, int]:
        """Return the bytes of a folder's documents, by the numbers that they are named by.

        Args:
            folder: The folder, with a slash at its end.
        """
        skip = len(self.folder + folder)
        listed = self.store.list_objects(self.bucket, self.folder + folder)
        return {int(one.key[skip:].partition(".")[0]): one.size_bytes for one in listed}

    def delete(self, names: Iterable[str]) -> None:
        """Delete documents; names that are not there are no error."""
        self.store.delete(self.bucket, [self.key(name) for name in names])


def record_key(
    prefix: str,
    what: Literal["executions", "failures", "reports", "reports/verify"],
    execution_arn: str,
    ending: str = "json",
) -> str:
    """Return the key of what is told of an execution: not among its run's files, which the next execution clears away.

    Args:
        prefix: The backup prefix.
        what: Which run it works on, why it failed, or what it did. Pages of verifications have a folder of their own,
            since a restore's execution may have the same name: an idempotency key is one for each kind of run.
        execution_arn: The execution.
        ending: `json` for programs, `html` to read.
    """
    return join(prefix, RUNS_FOLDER, what, f"{execution_name(execution_arn)}.{ending}")
