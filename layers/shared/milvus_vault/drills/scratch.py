"""Scratch databases: made by drills, and dropped by them, whatever becomes of the drill.

A record is written before a scratch database is made, says when it is, and is deleted when it is gone. So nothing is
dropped that no drill made, and what a killed drill left is dropped by the next one into the same Milvus. Of the
collections only those are dropped whose names have the drill's hash, or that of its restore, in them; Milvus drops no
database that has others.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from milvus_vault.claims import LONGEST_EXECUTION, RUNNING
from milvus_vault.errors import DatabaseExistsError, ScratchInUseError, VaultError
from milvus_vault.model.base import Model
from milvus_vault.model.names import drill_database, named_run, short_hash, temporary_prefix
from milvus_vault.model.readable import first_of
from milvus_vault.ports import Executions, Maker, Schemas
from milvus_vault.workspace import Workspace

FOLDER = "scratch"
"""Of the records, in that of the runs."""


class Databases(Schemas, Maker, Protocol):
    """Databases and collections, to be listed, made and dropped."""


class Scratch(Model):
    """A scratch database that a drill makes."""

    database: str
    milvus: str
    """Address, bucket and root path of the Milvus that it is in."""
    execution_arn: str
    collection_prefix: str
    """What the names of its collections begin with."""
    restore_run: str
    """Name of the run that fills it."""
    is_made: bool = False
    """Whether Milvus has said that it made it for this drill. A database of that name may else be somebody's."""

    @property
    def is_own(self) -> bool:
        """Return whether a database of this name is the drill's: it was made, or nobody else would call one so."""
        return self.is_made or self.database == drill_database(self.execution_arn)

    @property
    def record(self) -> str:
        """Return the name of its record: one for each database of each Milvus."""
        return _record(self.milvus, self.database)


@dataclass(frozen=True, slots=True)
class ScratchDatabases:
    """Those of one Milvus. `records` is the folder of the records, and `now` by whose clock they are old."""

    records: Workspace
    executions: Executions
    database: Databases
    milvus: str
    now: datetime

    def make(self, scratch: Scratch) -> None:
        """Make a scratch database, once for each execution.

        Raises `DatabaseExistsError` where the name is taken, and changes nothing then. So it is, too, where an earlier
        call began to make a database of a given name and did not hear of its end: it may be somebody else's.
        """
        known = self.records.find(scratch.record, Scratch)
        if known is not None and known.execution_arn != scratch.execution_arn:
            raise _taken(scratch, f"{named_run(known.execution_arn)} has it for its drill")
        if known is None and scratch.database in self.database.list_databases():
            raise _taken(scratch, "it is there already")
        if known is None and not self.records.write_new(scratch.record, scratch):
            raise _taken(scratch, "another drill has just begun to make it")
        if not self.database.create_database(scratch.database) and not (known and known.is_own):
            self.records.delete([scratch.record])
            raise _taken(scratch, "somebody else has just made it")
        self.records.write(scratch.record, scratch.model_copy(update={"is_made": True}))

    def drop(self, scratch: Scratch) -> None:
        """Drop a scratch database with all that its drill made in it; one that is gone, or never was, is no error.

        Raises `ScratchInUseError` where something else is in it: then that stays, and the database with it.
        """
        if scratch.is_own and scratch.database in self.database.list_databases():
            prefixes = (scratch.collection_prefix, temporary_prefix(scratch.restore_run))
            there = self.database.list_collections(scratch.database)
            for name in there:
                if name.startswith(prefixes):
                    self.database.drop_collection(scratch.database, name)
            others = [name for name in there if not name.startswith(prefixes)]
            if others:
                msg = f"scratch database {scratch.database} is not dropped: no drill made its {first_of(others)}"
                raise ScratchInUseError(msg, hint="Move or drop them; the next drill then drops the database.")
            self.database.drop_database(scratch.database)
        self.records.delete([scratch.record])

    def drop_left(self) -> Iterator[str]:
        """Drop what drills have left in this Milvus that have ended; yield what cannot be dropped, and why."""
        longest_ago = self.now - LONGEST_EXECUTION
        for listed in list(self.records.store.list_objects(self.records.bucket, self.records.folder)):
            scratch = self.records.find(listed.key.removeprefix(self.records.folder), Scratch)
            if scratch is None or scratch.milvus != self.milvus:
                continue
            status = self.executions.status(scratch.execution_arn)
            # Where nobody can tell whether it runs, it does not if it was begun longer ago than any runs.
            is_old = listed.modified_at is not None and listed.modified_at <= longest_ago
            if status in RUNNING and not (status == "UNKNOWN" and is_old):
                continue
            try:
                self.drop(scratch)
            except VaultError as err:
                if err.retryable:
                    raise
                yield err.message


def find_scratch(records: Workspace, milvus: str, database: str, execution_arn: str) -> Scratch | None:
    """Return the record of an execution's scratch database; None where it has made none, or has dropped it."""
    found = records.find(_record(milvus, database), Scratch)
    return found if found is not None and found.execution_arn == execution_arn else None


def _record(milvus: str, database: str) -> str:
    return f"{short_hash(f'{milvus}\n{database}', 24)}.json"


def _taken(scratch: Scratch, why: str) -> DatabaseExistsError:
    msg = f"a drill cannot make its scratch database {scratch.database}: {why}"
    return DatabaseExistsError(msg, hint="Leave out `database`, or give a name that no database has.")
