"""The catalogue's keys. An entry's key has all that a list is sorted and filtered by.

Its time is in whole seconds: backups that began within one second stand in the order of their names.

<prefix>/.catalogue/backups/<inverted time>.<backup name>.<schedule name or "-">.json   `BackupSummary`
<prefix>/.catalogue/holds/<backup name>.json                                            `HoldState`
<prefix>/.catalogue/verifications/<backup name>.json                                    `Verification`
<prefix>/.catalogue/verifications/.pool/<group>.json                                    `pool.doubts.Doubts`
<prefix>/.catalogue/drills/<backup name>.json                                           `Drill`
<prefix>/.catalogue/digests/<backup name>/<collection ID>.json                          `ContentDigests`
<prefix>/.catalogue/deleting/<backup name>.json                                         `Tombstone`
<prefix>/.catalogue/damage/<backup name>.json                                           `Damage`
<prefix>/.catalogue/copies/<backup name>/<hash of the place>.json                       `BackupCopy`
<prefix>/.catalogue/drilled/<schedule name>.json                                        `DrillSuccess`
<prefix>/.catalogue/orphans/<backup name>.json                                          empty: in quarantine
"""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Self

from milvus_vault.archive.layout import CATALOGUE_FOLDER, join
from milvus_vault.model.names import short_hash
from milvus_vault.model.resources import BackupSummary
from milvus_vault.paging import wrong_token

# Seconds since 1970 have ten digits until 2286. Subtracted from this they sort the newest first.
_LATEST = 9_999_999_999

_FIRST = f"{0:010}"

_NO_SCHEDULE = "-"
_STEM = re.compile(r"[0-9]{10}\.(.+)\.([^.]+)", re.DOTALL)


@dataclass(frozen=True, slots=True, order=True)
class EntryKey:
    """The key of an entry, without folder and ending. Sorted, the newest is first."""

    stem: str

    @property
    def name(self) -> str:
        """Return the backup's name."""
        return self._parts()[0]

    @property
    def schedule(self) -> str | None:
        """Return the schedule that asked for the backup."""
        schedule = self._parts()[1]
        return None if schedule == _NO_SCHEDULE else schedule

    def _parts(self) -> tuple[str, str]:
        found = _STEM.fullmatch(self.stem)
        if found is None:
            msg = f"not the stem of an entry: {self.stem}"
            raise ValueError(msg)
        return found[1], found[2]

    @classmethod
    def of(cls, summary: BackupSummary) -> Self:
        """Return the key of a backup's entry."""
        inverted = min(max(_LATEST - int(summary.created_at.timestamp()), 1), _LATEST)
        return cls(f"{inverted:010}.{summary.name}.{summary.schedule or _NO_SCHEDULE}")

    @classmethod
    def of_damaged(cls, name: str) -> Self:
        """Return the key by which a backup that cannot be read is listed, before all others; it has no entry."""
        return cls(f"{_FIRST}.{name}.{_NO_SCHEDULE}")

    @property
    def is_of_damaged(self) -> bool:
        """Return whether it is the key of a backup that cannot be read."""
        return self.stem.startswith(_FIRST)

    @classmethod
    def parse(cls, file_name: str) -> Self | None:
        """Return the key that a file of the entries' folder has; None where it is not one."""
        stem = file_name.removesuffix(".json")
        return cls(stem) if stem != file_name and _STEM.fullmatch(stem) else None


@dataclass(frozen=True, slots=True)
class CatalogueKeys:
    """The full keys in the catalogue of a backup prefix."""

    prefix: str

    @property
    def entries(self) -> str:
        """Return the folder of the entries, with a slash at its end."""
        return self.folder("backups")

    @property
    def holds(self) -> str:
        """Return the folder of the holds, with a slash at its end."""
        return self.folder("holds")

    @property
    def tombstones(self) -> str:
        """Return the folder of the tombstones, with a slash at its end."""
        return self.folder("deleting")

    @property
    def verifications(self) -> str:
        """Return the folder of the verifications, with a slash at its end."""
        return self.folder("verifications")

    @property
    def drills(self) -> str:
        """Return the folder of the drills, with a slash at its end."""
        return self.folder("drills")

    @property
    def orphans(self) -> str:
        """Return the folder of the notes on what is in quarantine, with a slash at its end."""
        return self.folder("orphans")

    @property
    def damages(self) -> str:
        """Return the folder of what prunes found wrong with backups, with a slash at its end."""
        return self.folder("damage")

    def drilled(self, schedule: str) -> str:
        """Return the key of the newest drill of a schedule that succeeded."""
        return f"{self.folder('drilled')}{schedule}.json"

    def digests(self, backup_name: str) -> str:
        """Return the folder of what deep verifications wrote down of a backup's objects, with a slash at its end."""
        return f"{self.folder('digests')}{backup_name}/"

    @property
    def all_copies(self) -> str:
        """Return the folder of what is noted of copies of all backups, with a slash at its end."""
        return self.folder("copies")

    def copies(self, backup_name: str) -> str:
        """Return the folder of what is noted of a backup's copies, with a slash at its end."""
        return f"{self.all_copies}{backup_name}/"

    def copy_in(self, backup_name: str, location: str) -> str:
        """Return the key of the note on a backup's copy in a place."""
        return f"{self.copies(backup_name)}{short_hash(location, 12)}.json"

    def damage(self, backup_name: str) -> str:
        """Return the key of what a prune found wrong with a backup."""
        return f"{self.damages}{backup_name}.json"

    def orphan(self, name: str) -> str:
        """Return the key of the note on an unfinished backup that is to be swept; its time says since when."""
        return f"{self.orphans}{name}.json"

    def folder(self, name: str) -> str:
        """Return one of the catalogue's folders, with a slash at its end."""
        return join(self.prefix, CATALOGUE_FOLDER, name) + "/"

    def entry(self, entry: EntryKey) -> str:
        """Return the key of an entry."""
        return f"{self.entries}{entry.stem}.json"

    def hold(self, backup_name: str) -> str:
        """Return the key of a backup's hold."""
        return f"{self.holds}{backup_name}.json"

    def verification(self, backup_name: str) -> str:
        """Return the key of a backup's last verification."""
        return f"{self.verifications}{backup_name}.json"

    def drill(self, backup_name: str) -> str:
        """Return the key of a backup's last drill."""
        return f"{self.drills}{backup_name}.json"


def write_token(entry: EntryKey) -> str:
    """Return the token with which a list goes on behind an entry."""
    return base64.urlsafe_b64encode(entry.stem.encode()).decode().rstrip("=")


def read_token(token: str) -> EntryKey:
    """Return the entry behind which a list goes on. Raises `InvalidRequestError` for a text that is no token."""
    try:
        stem = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        stem = ""
    entry = EntryKey.parse(f"{stem}.json")
    if entry is None:
        raise wrong_token(token)
    return entry
