"""The working files of a drill, in the folder of its run.

plan.json               `DrillPlan`: what is restored, and where
restored.json           `Restored`: what the restore took
waiting.json            `Waiting`: since when nothing could be compared
counted/<i>-<j>.json    `CountedPartition`: rows of a partition in the backup, and keys of some
proven/<i>.json         `ProvenCollection`: what the comparison of a collection found

A scratch database has a record beside the runs, `<prefix>/.runs/scratch/<hash>.json`, until it is dropped.
"""

from collections.abc import Mapping

from milvus_vault.model.base import Count, Model
from milvus_vault.model.collections import CollectionName
from milvus_vault.model.requests import DrillRequest
from milvus_vault.model.times import Time

PLAN, RESTORED, WAITING = "plan.json", "restored.json", "waiting.json"
PROVEN = "proven/"


class DrilledCollection(Model):
    """A collection that is restored by a drill."""

    source: CollectionName
    target: CollectionName
    size_bytes: Count


class DrillPlan(Model):
    """What one execution restores and compares. Written by PrepareDrill before anything is made."""

    request: DrillRequest
    execution_arn: str
    started_at: Time
    backup_name: str
    backup_finished_at: Time | None
    """By which one of the same name is told apart that was made anew."""
    milvus: str
    """Which Milvus it is restored into, as `Scratch` names it."""
    milvus_version: str
    database: str
    """The scratch database."""
    seed: int
    collections: tuple[DrilledCollection, ...]
    """Their positions are the indexes by which all other files name them."""
    collection_total: Count
    """How many the backup has."""
    warnings: tuple[str, ...] = ()


class Restored(Model):
    """What the restore of a drill took."""

    started_at: Time
    finished_at: Time


class Waiting(Model):
    """Since when Milvus loads what is left to compare, and nothing of it is loaded."""

    proven_count: Count
    """Collections that were compared by then: where there are more, it is another wait."""
    since: Time


class CountedPartition(Model):
    """The rows of a partition in the backup."""

    row_count: Count
    expiring: Mapping[int, int] = {}
    """Of a collection with a time to live, rows by the hour since 1970 in which they expire.

    The first hour has those, too, that had expired when they were counted, and the last those that outlive the drill.
    """
    keys: tuple[int | str, ...]
    """Primary keys of some rows, as many as the collection's sample may have, in random order."""


class ProvenCollection(Model):
    """What the comparison of a collection found."""

    row_count: Count = 0
    """In Milvus."""
    compared_count: Count = 0
    searched_count: Count = 0
    differences: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def counted_name(index: int, partition: int) -> str:
    """Return the name of what was counted of a partition, by its position in the backup."""
    return f"counted/{index}-{partition}.json"


def proven_name(index: int) -> str:
    """Return the name of what the comparison of a collection found."""
    return f"{PROVEN}{index}.json"
