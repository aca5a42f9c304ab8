"""S3 Object Lock: how long nobody can take a backup away, as it is asked for and as it is recorded.

docs/locking.md says what is locked, and what a lock is good for.
"""

from datetime import UTC, datetime
from math import ceil
from typing import Literal

from pydantic import Field

from milvus_vault.model.base import Model
from milvus_vault.model.times import Time

type LockMode = Literal["governance", "compliance"]

_DAY_SECONDS = 86_400

_EXTENSIONS = 4
"""How often the locks of objects that stay in the pool are extended within the days of a lock. Each extension is a
request for each object, at the price of a copy; each day would be as dear as to copy all of them each day."""


class ObjectLock(Model):
    """How the objects of a backup are locked: S3 deletes none of their versions before then."""

    mode: LockMode
    """`compliance`: nobody can shorten it; `governance`: whoever has the right to."""
    until: Time
    """When the lock ends, UTC."""

    def covers(self, other: "ObjectLock") -> bool:
        """Return whether what is locked so is locked as the other one asks for, or better."""
        return self.until >= other.until and self.mode in {"compliance", other.mode}

    def lasts_at(self, time: datetime) -> bool:
        """Return whether nobody can delete the objects at a time."""
        return self.until > time


class LockTerms(Model):
    """What is asked for."""

    mode: LockMode = Field(
        default="governance",
        description="`governance`: who has the right `s3:BypassGovernanceRetention`, as no role of the stack has, can "
        "lift the lock. `compliance`: nobody can, the owner of the account included.",
    )
    days: int = Field(
        ge=1,
        le=36_500,
        description="How many days from the beginning of the run. The locks of an incremental backup last up to a "
        "quarter longer, so that those of shared objects need not be extended by each backup.",
    )

    def from_time(self, begun_at: datetime, *, is_shared: bool) -> ObjectLock:
        """Return the lock of a run that began then, to the second.

        No execution takes longer than a day, so that the lock of one that is about to end lies ahead. Where objects
        are shared, it ends with a period of a quarter of the days, counted since 1970: backups that are made within one
        period have the same end, and only the first of them has to extend the locks of what it shares.
        """
        period = max(1, self.days // _EXTENSIONS) * _DAY_SECONDS if is_shared else 1
        end = ceil((begun_at.timestamp() + self.days * _DAY_SECONDS) / period) * period
        return ObjectLock(mode=self.mode, until=datetime.fromtimestamp(end, UTC))
