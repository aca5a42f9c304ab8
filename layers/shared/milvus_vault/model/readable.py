"""Numbers, sizes, lengths of time and lists as people read them: in messages, on the command line and in reports.

Sizes are in binary units, of which 1 KiB is 1,024 bytes, with one decimal place, since S3 and Milvus count in them;
lengths of time are in their two largest units; a dash stands for what there is not. Times are in `model.times`.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from milvus_vault.model.retention import Retention

if TYPE_CHECKING:
    from milvus_vault.model.resources import PhaseProgress, UnitCount

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")
_STEP = 1024
_MINUTE, _HOUR, _DAY = 60, 3600, 86400

# A time that is longer says only that hardly anything has moved yet.
_LONGEST_TOLD_SECONDS = 30 * _DAY
# Below it a rate needs its second digit.
_WHOLE_FROM = 10


def count(number: int | None) -> str:
    """Return a whole number with its thousands set apart by commas; a dash for none."""
    return "-" if number is None else f"{number:,}"


def number_of(number: int | None, noun: str) -> str:
    """Return a number with its noun, in the plural where it is not one."""
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def size(size_bytes: float | None) -> str:
    """Return a size in the binary unit that leaves one to four digits before the point: `40.2 MiB`; a dash for none."""
    if size_bytes is None:
        return "-"
    if round(size_bytes) < _STEP:
        return f"{size_bytes:,.0f} B"
    power = 1
    # Rounded, since 1023.96 KiB would be written as 1,024.0 KiB.
    while round(size_bytes / _STEP**power, 1) >= _STEP and power < len(_UNITS):
        power += 1
    return f"{size_bytes / _STEP**power:,.1f} {_UNITS[power - 1]}"


def rate(bytes_per_second: float | None) -> str:
    """Return a rate: `1.5 MiB/s`; a dash for none."""
    return "-" if bytes_per_second is None else f"{size(bytes_per_second)}/s"


def counted(item: "UnitCount") -> str:
    """Return how many of something are done: `450 of 1,000 rows`, `20.0 MiB of 40.1 MiB`."""
    if item.unit == "byte":
        return size(item.done) + ("" if item.total is None else f" of {size(item.total)}")
    if item.total is None:
        return number_of(item.done, item.unit)
    return f"{count(item.done)} of {number_of(item.total, item.unit)}"


def moving(phase: "PhaseProgress") -> str:
    """Return what moves in a phase, how fast, and how long it takes: `450 of 1,000 rows, 30 rows/s, 18 s left`."""
    said = [counted(item) for item in phase.counts]
    if phase.per_second:
        unit = phase.counts[0].unit
        said.append(rate(phase.per_second) if unit == "byte" else f"{_digits(phase.per_second)} {unit}s/s")
    if phase.eta_seconds and phase.eta_seconds < _LONGEST_TOLD_SECONDS:
        by = ", as fast as in an earlier run" if phase.eta_from == "an earlier run" else ""
        said.append(f"{duration(phase.eta_seconds)} left{by}")
    return ", ".join(said)


def _digits(number: float) -> str:
    """Return a rate in two digits or more, without a part where that says nothing: `0.005`, `2.5`, `1,200`."""
    return f"{number:,.0f}" if number >= _WHOLE_FROM else f"{number:.2g}"


def percent_of(phase: "PhaseProgress") -> int | None:
    """Return how much of a phase is done, 100 only where all is; None where that is not known."""
    first = phase.counts[0]
    if first.total is None:
        return None
    return 100 * first.done // first.total if first.total else 100


_SAID = " Milvus said: "


def with_reason(sentence: str, said: str) -> str:
    """Return a warning: a sentence for people, and behind it what Milvus said, which `warning_parts` takes apart."""
    return f"{sentence}{_SAID}{said}"


def warning_parts(warning: str) -> tuple[str, str]:
    """Return the sentence of a warning, and what Milvus said; empty where that is not told."""
    sentence, _, said = warning.partition(_SAID)
    return sentence, said


def share(part: int, whole: int) -> str:
    """Return a part in per cent of the whole; of nothing, a dash."""
    return f"{100 * part / whole:.1f} %" if whole else "-"


def duration(seconds: float | None) -> str:
    """Return a length of time in its two largest units: `3 min 5 s`; a dash for none."""
    if seconds is None:
        return "-"
    whole = max(0, round(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def how_verified(found: Mapping[str, Any]) -> str:
    """Return how a backup was checked, of the fields of `Verified`: `12 of 240 objects read (1.5 GiB)`."""
    match found.get("level"):
        case "deep":
            read = f"{count(found['read_count'])} of {number_of(found['object_count'], 'object')} read"
            parts = [f"{read} ({size(found['read_bytes'])})"]
            if found["baseline_count"]:
                parts.append(f"{count(found['baseline_count'])} for the first time, without a record of the content")
            if found.get("locked_count"):
                parts.append(f"{number_of(found['locked_count'], 'lock')} proven")
            return ", ".join(parts)
        case "checksum":
            parts = [f"checksums of {number_of(found['checksum_count'], 'object')} compared"]
            if found["incomparable_count"]:
                parts.append(f"{count(found['incomparable_count'])} without a checksum to compare")
            if found.get("locked_count"):
                parts.append(f"{number_of(found['locked_count'], 'lock')} proven")
            return ", ".join(parts)
    return "ETags compared" if found.get("etags_compared", True) else "presence and sizes only"


def how_drilled(found: Mapping[str, Any]) -> str:
    """Return what a drill did, of the fields of `Drill`: `5 collections restored in 40 s, 200 rows of 900 compared`.

    Of a part that was asked for, `2 collections chosen of 5`: that the others were not restored is no failure.
    """
    chosen, total = found["collection_count"], found["collection_total"]
    of_all = f"{count(chosen)} of {number_of(total, 'collection')}"
    if found["status"] == "proven":
        of_all = number_of(chosen, "collection") + (f" chosen of {count(total)}" if chosen < total else "")
    took = "" if found["restore_seconds"] is None else f" restored in {duration(found['restore_seconds'])}"
    compared = f"{number_of(found['compared_count'], 'row')} of {count(found['row_count'])} compared"
    return f"{of_all}{took}, {compared}, {number_of(found['searched_count'], 'vector')} searched for"


def proven(when: str, proven_count: int, collection_count: int) -> str:
    """Return when a backup was last proven, and of how many of its collections: `yesterday, 2 of 40 collections`."""
    return f"{when}, {count(proven_count)} of {number_of(collection_count, 'collection')}"


_DATA_TYPES = {
    1: "Bool", 2: "Int8", 3: "Int16", 4: "Int32", 5: "Int64", 10: "Float", 11: "Double", 20: "String", 21: "VarChar",
    22: "Array", 23: "JSON", 24: "Geometry", 25: "Text", 26: "Timestamptz", 100: "BinaryVector", 101: "FloatVector",
    102: "Float16Vector", 103: "BFloat16Vector", 104: "SparseFloatVector", 105: "Int8Vector", 106: "ArrayOfVector",
    200: "ArrayOfStruct",
}  # fmt: skip
_CONSISTENCY_LEVELS = {0: "Strong", 1: "Session", 2: "Bounded", 3: "Eventually", 4: "Customized"}


def setting(member: str, value: str) -> str:
    """Return a member of a collection's settings as people know it: the names of Milvus' numbers, all else as it is."""
    names = {"data_type": _DATA_TYPES, "element_type": _DATA_TYPES, "consistency_level": _CONSISTENCY_LEVELS}
    return names.get(member, {}).get(int(value), value) if value.isascii() and value.isdigit() else value


def place(named: object) -> str:
    """Return what a request names of a place, a mapping of `bucket` and `prefix`, in one text; empty for nothing."""
    given = [named.get(name) if isinstance(named, Mapping) else None for name in ("bucket", "prefix")]
    bucket, prefix = (name if isinstance(name, str) else "" for name in given)
    return "/".join(part for part in (f"s3://{bucket}" if bucket else "", prefix) if part)


def copy_place(named: object) -> str:
    """Return where a copy is to lie, of what its request names."""
    return place(named) or "the stack's place for copies"


def shortened(text: str, length: int) -> str:
    """Return a text cut to `length` characters, with an ellipsis for its middle: names often differ at their ends."""
    if len(text) <= length:
        return text
    head = (length - 1) // 2
    return f"{text[:head]}…{text[len(text) - (length - 1 - head) :]}"


def first_of(texts: Sequence[object], most: int = 5, *, separator: str = ", ") -> str:
    """Return the first of some texts and how many are left: `a, b and 3 more`, or `a; b; and 3 more`."""
    left = len(texts) - most
    shown = separator.join(str(text) for text in texts[:most])
    if left <= 0:
        return shown
    return f"{shown}{' ' if separator == ', ' else separator}and {count(left)} more"


def keeps(policy: Retention | None) -> str:
    """Return which backups a policy keeps, in a few words: `last 3, daily 14`; `all` without one."""
    if policy is None:
        return "all"
    rules = {
        "last": policy.keep_last,
        "daily": policy.keep_daily,
        "weekly": policy.keep_weekly,
        "monthly": policy.keep_monthly,
        "yearly": policy.keep_yearly,
    }
    words = [f"{name} {number}" for name, number in rules.items() if number]
    if policy.expire_after:
        words.append(f"for {policy.expire_after}")
    return ", ".join(words)
