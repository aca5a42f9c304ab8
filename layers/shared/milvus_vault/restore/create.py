"""The databases, and the collections to fill, each under a temporary name of its own."""

from contextlib import suppress
from dataclasses import dataclass

from milvus_vault.errors import MilvusRequestError
from milvus_vault.model.names import temporary_name
from milvus_vault.model.versions import parse_version
from milvus_vault.ports import VectorDatabase
from milvus_vault.restore.indexes import create_missing_indexes
from milvus_vault.restore.journal import Journal, JournalEntry
from milvus_vault.restore.schema import added_fields, check_alike, field_numbers, without_function_check
from milvus_vault.restore.working_files import (
    DATABASES,
    Attempt,
    Created,
    DatabasesMade,
    RestorePlan,
    Target,
    target_name,
)
from milvus_vault.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Creation:
    """Makes the collections of a run."""

    run: Workspace
    plan: RestorePlan
    database: VectorDatabase
    execution_arn: str

    def make_databases(self) -> None:
        """Create the databases that are not there, once in an execution. Raises what Milvus refuses one with."""
        made = self.run.find(DATABASES, DatabasesMade)
        if made is not None and made.execution_arn == self.execution_arn:
            return
        warnings = []
        for database in self.plan.databases:
            try:
                self.database.create_database(database.name, database.properties)
            except MilvusRequestError as err:
                if not database.is_empty:
                    raise
                warnings.append(f"{err.message}. The backup holds no collection of it.")
        self.run.write(DATABASES, DatabasesMade(execution_arn=self.execution_arn, warnings=tuple(warnings)))

    def can_go_on(self, journal: Journal, index: int, entry: JournalEntry) -> bool:
        """Return whether there is a collection to continue: this execution's, or one into which nobody else imports.

        Else `new_attempt` makes one.
        """
        return (self._is_still_there if self.plan.request.skip_create else self._is_usable)(journal, index, entry)

    def _is_usable(self, journal: Journal, index: int, entry: JournalEntry) -> bool:
        """Return whether the latest attempt can be continued: nobody else can still import into it."""
        if not entry.has("created") or entry.has("abandoned"):
            return False
        if entry.has("imported") or (entry.has("jobs") and entry.knows_its_jobs):
            return True
        return self._is_mine(journal, index, entry) and not entry.has("importing")

    def _is_still_there(self, journal: Journal, index: int, entry: JournalEntry) -> bool:
        """Return whether the latest attempt is for the collection that the target's name has now.

        With skip_create a second attempt would import into the same collection. There is one only where the user
        has dropped that collection and made another, and not within an execution.
        """
        if not entry.has("created"):
            return False
        if self._is_mine(journal, index, entry):
            return True
        name = self.plan.targets[index]
        created = journal.get(index, "created", Created, entry.latest).collection_id
        return created == self.database.collection_id(name.database, name.name)

    def _is_mine(self, journal: Journal, index: int, entry: JournalEntry) -> bool:
        return journal.get(index, "attempt", Attempt, entry.latest).execution_arn == self.execution_arn

    def new_attempt(self, index: int, latest: int) -> int:
        """Create a collection for a new attempt, drop those of older ones, and return the new one's number.

        Raises `FieldIdMismatchError` where the server numbers the fields in another way than the source did.
        """
        journal = Journal(self.run)
        target = self.run.read(target_name(index), Target)
        skip_create = self.plan.request.skip_create
        number = latest + 1
        while not journal.note(index, "attempt", self._attempt(target, number, skip_create=skip_create), number):
            number += 1
        if skip_create:
            self.database.create_missing_partitions(target.name.database, target.name.name, target.layout.partitions)
            collection_id = self.database.collection_id(target.name.database, target.name.name)
        else:
            for older in range(1, number):
                self.database.drop_collection(target.name.database, temporary_name(self.run.run, index, older))
            collection_id = self._create(target, number)
            if self.plan.request.restore_index:
                # Before the import: each segment is then indexed as it comes. For an index that is created afterwards,
                # 2.3 may begin only at its next look around, up to a minute later.
                self._index(target, temporary_name(self.run.run, index, number), target.first_round)
        journal.note(index, "created", Created(collection_id=collection_id or 0), number)
        return number

    def _attempt(self, target: Target, number: int, *, skip_create: bool) -> Attempt:
        name = target.name.name if skip_create else temporary_name(self.run.run, target.index, number)
        return Attempt(number=number, name=name, execution_arn=self.execution_arn)

    def _create(self, target: Target, number: int) -> int:
        database, name = target.name.database, temporary_name(self.run.run, target.index, number)
        # Left by a call of this same number that died in between.
        self.database.drop_collection(database, name)
        schema, properties = target.layout.collection_schema, target.layout.properties
        server = parse_version(self.plan.server_version)
        checked = without_function_check(schema, properties, server[:3])
        layout = target.layout.model_copy(update={"properties": checked})
        added = added_fields(schema, target.name, since=target.first_round)
        collection_id = self.database.create_collection(database, name, layout, without=added)
        self._add_fields(target, name, target.first_round)
        if checked != properties:
            keys = {item.key for item in properties}
            removed = [item.key for item in checked if item.key not in keys]
            self.database.set_properties(database, name, properties, removed=removed)
        return collection_id

    def extend(self, target: Target, name: str, before_field: int) -> None:
        """Give a collection the fields that are numbered before one (0: all) and their indexes, where it lacks them.

        For rows that are not older than these fields, when those that are have been imported: what is there, the server
        is asked, so that this may be done again.
        """
        self._add_fields(target, name, before_field)
        if self.plan.request.restore_index:
            self._index(target, name, before_field)

    def _index(self, target: Target, name: str, before_field: int) -> None:
        """Create indexes, except those of fields to come; if one is refused, rows are imported all the same.

        It is asked for once more before the load, which tells of the refusal.
        """
        with suppress(MilvusRequestError):
            create_missing_indexes(self.database, target, name, without=_fields_to_come(target, before_field))

    def _add_fields(self, target: Target, name: str, before_field: int) -> None:
        schema, to_come = target.layout.collection_schema, _fields_to_come(target, before_field)
        added = [field for field in added_fields(schema, target.name, since=target.first_round) if field not in to_come]
        if added:
            self.database.add_fields(target.name.database, name, target.layout, added)
        there = self.database.schema(target.name.database, name)
        check_alike(schema, there, target.name, without=to_come, is_new=True)


def _fields_to_come(target: Target, before_field: int) -> set[str]:
    """Return the fields that a collection is without while rows are imported that are older than a field; 0: none."""
    numbers = field_numbers(target.layout.collection_schema)
    return {name for name, number in numbers.items() if 0 < before_field <= number}
