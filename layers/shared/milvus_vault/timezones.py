"""Time zones, by the rules of the pinned tzdata.

`zoneinfo` looks into the machine's files first, which are as old as the machine's image, and asks the package only for
zones that are not there. Rules change several times a year: then the same schedule would have other next runs, and the
same backups other days, from machine to machine.
"""

import zoneinfo
from importlib.util import find_spec

# For the whole process, before any zone is read. Without the package, as in a client, the machine's files remain.
if find_spec("tzdata"):
    zoneinfo.reset_tzpath(())


def time_zone(name: str) -> zoneinfo.ZoneInfo | None:
    """Return the time zone of a name of the IANA database, or None for any other text."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return None
