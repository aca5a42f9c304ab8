"""Scratch databases: made by drills, and dropped by them, whatever becomes of the drill.

A record is written before a scratch database is made, and deleted when it is gone. So nothing is dropped that no drill
made, and what a killed drill left is dropped by the next one into the same Milvus. Of the collections only those are
dropped whose names have the drill's hash, or that of its restore, in them; Milvus drops no database that has others.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from milvus_vault.claims import RUNNING
from milvus_vault.errors import DatabaseExistsError, ScratchInUseError, VaultError
from milvus_vault.model.base import Model
from milvus_vault.model.names import named_run, short_hash, temporary_prefix
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

    @property
    def record(self) -> str:
        """Return the name of its record: one for each database of each Milvus."""
        return _record(self.milvus, self.database)


@dataclass(frozen=True, slots=True)
class ScratchDatabases:
    """Those of one Milvus. `records` is the folder of the records."""

    records: Workspace
    executions: Executions
    database: Databases
    milvus: str

    def make(self, scratch: Scratch) -> None:
        """Make a scratch database, once for each execution.

        Raises `DatabaseExistsError` where the name is taken, and changes nothing then.
        """
        known = self.records.find(scratch.record, Scratch)
        is_mine = known is not None and known.execution_arn == scratch.execution_arn
        if known is not None and not is_mine:
            raise _taken(scratch, f"{named_run(known.execution_arn)} has it for its drill")
        if not is_mine and scratch.database in self.database.list_databases():
            raise _taken(scratch, "it is there already")
        if not is_mine and not self.records.write_new(scratch.record, scratch):
            raise _taken(scratch, "another drill has just begun to make it")
        if not self.database.create_database(scratch.database) and not is_mine:
            self.records.delete([scratch.record])
            raise _taken(scratch, "somebody else has just made it")

    def drop(self, scratch: Scratch) -> None:
        """Drop a scratch database with all that its drill made in it; one that is gone is no error.

        Raises `ScratchInUseError` where something else is in it: then that stays, and the database with it.
        """
        if scratch.database in self.database.list_databases():
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
        for name in list(self.records.names()):
            scratch = self.records.find(name, Scratch)
            if scratch is None or scratch.milvus != self.milvus:
                continue
            if self.executions.status(scratch.execution_arn) in RUNNING:
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
