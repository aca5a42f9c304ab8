"""Backups that are damaged at random, each read and checked, and judged by what comes of it.

    python -m tests.damages [--ours 1500] [--theirs 6000] [--seed 1]

with PYTHONPATH=layers/shared:functions. A damage is drawn by its number alone, so that one of them can be looked at
again: `--theirs 1 --ours 0 --seed NUMBER`. Ours is a backup with all that a collection can have; theirs are archives
that milvus-backup made from real servers. Everything is in memory, and no server runs.
"""

import argparse
import dataclasses
import json
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from milvus_vault.archive.check import check_objects, raise_if_damaged
from milvus_vault.archive.layout import BackupLayout, log_of
from milvus_vault.archive.reader import Archive, read_archive, read_document, read_manifest, read_objects
from milvus_vault.errors import VaultError
from milvus_vault.model.objects import ArchivedObject
from tests.support.memory_store import InMemoryObjectStore
from tests.unit.archive.samples import (
    BUCKET,
    PREFIX,
    golden_layout,
    golden_store,
    new_store,
    sample_contents,
    write_backup,
)

THEIRS = ("golden_0516", "golden_057", "golden_meta", "golden_2_4", "golden_2_5", "golden_2_6")
_META_SHARE = 0.7
_MOST_SHOWN = 20

type Chance = random.Random
type Objects = Mapping[str, bytes]


class Verdict(StrEnum):
    """What came of a damage."""

    REFUSED = "refused"
    SAME = "same"
    """Read as before: nothing was changed that means anything."""
    UNSEEN = "unseen"
    """The content of an object of which its archive has no checksum. The report of a restore says so."""
    ALONE = "alone"
    """Read with other content, which stands in one file only and has no checksum."""
    WARNED = "warned"
    """Read with other content, and with a new warning."""
    ACCEPTED = "ACCEPTED"
    UNNAMED = "UNNAMED"
    FALSE_ALARM = "FALSE ALARM"

    @property
    def is_fault(self) -> bool:
        """Whether it is one of ours."""
        return self.isupper()


class Content(NamedTuple):
    """What a restore would go by."""

    archive: Archive
    objects: tuple[tuple[ArchivedObject, ...], ...]
    """By collection."""


class Damage(NamedTuple):
    """What is done to one object."""

    what: str
    key: str
    body: bytes | None
    """None where it is deleted."""
    is_harmless: bool = False
    """Whether it means what it meant."""

    def __str__(self) -> str:
        """Say what is done, to what."""
        return f"{self.what}: {self.key}"


@dataclass(frozen=True, slots=True)
class Subject:
    """A whole backup."""

    layout: BackupLayout
    objects: Objects
    content: Content

    @property
    def is_ours(self) -> bool:
        """Whether it has checksums of all that it holds."""
        return self.content.archive.has_checksums


def ours() -> Subject:
    """Return a backup of ours, whose lists have the ETags that its objects have."""
    layout = BackupLayout(PREFIX, "books")
    store = new_store()
    contents = []
    for document, items in sample_contents(layout):
        found = []
        for item in items:
            store.put(BUCKET, item.stored_key, b"." * item.size_bytes)
            found.append(item._replace(etag=store.get_with_etag(BUCKET, item.stored_key)[1]))
        contents.append((document, found))
    write_backup(store, layout, contents)
    return _subject(store, layout)


def theirs(name: str) -> Subject:
    """Return an archive of milvus-backup."""
    return _subject(golden_store(name), golden_layout(name))


def _subject(store: InMemoryObjectStore, layout: BackupLayout) -> Subject:
    objects = {key: found.body for key, found in store.buckets[BUCKET].items()}
    return Subject(layout, objects, _read(store, layout))


def _read(store: InMemoryObjectStore, layout: BackupLayout) -> Content:
    """Return what a backup says, checked as a verification does it."""
    manifest = read_manifest(store, BUCKET, layout)
    for expected in manifest.documents if manifest else ():
        read_document(store, BUCKET, layout, expected)
    archive = read_archive(store, BUCKET, layout)
    lists = []
    for collection in archive.collections:
        items = read_objects(store, BUCKET, layout, collection)
        raise_if_damaged(collection, check_objects(store, BUCKET, layout, collection, items))
        # Of the key that an object had in Milvus' bucket a restore takes the numbers, and not the folder before them.
        lists.append(tuple(item._replace(source_key=str(log_of(item))) for item in items))
    collections = tuple(dataclasses.replace(collection, listed_objects=()) for collection in archive.collections)
    return Content(dataclasses.replace(archive, collections=collections), tuple(lists))


def draw(subject: Subject, chance: Chance) -> Damage:
    """Return a damage to a backup."""
    keys = sorted(subject.objects)
    meta = [key for key in keys if key.startswith(f"{subject.layout.root}meta/")]
    key = chance.choice(meta if chance.random() < _META_SHARE else [key for key in keys if key not in meta] or meta)
    body = subject.objects[key]
    kinds: list[Callable[[bytes, Chance], bytes]] = [_flip, _flip, _flip, _cut, _leave_out, _insert, _empty]
    if (members := _members(body)) is not None:
        if chance.random() < 1 / 10 and not subject.is_ours:
            return Damage("written anew", key, _written_anew(members, chance), is_harmless=True)
        kinds += [_drop_member, _null_member, _other_value, _double_item]
    if chance.random() < 1 / 10:
        return Damage("deleted", key, None)
    if chance.random() < 1 / 10:
        other = chance.choice(keys)
        return Damage(f"overwritten by {other}", key, subject.objects[other])
    kind = chance.choice(kinds)
    return Damage(kind.__name__.strip("_").replace("_", " "), key, kind(body, chance))


def _flip(body: bytes, chance: Chance) -> bytes:
    changed = bytearray(body)
    if changed:
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _cut(body: bytes, chance: Chance) -> bytes:
    return body[: chance.randrange(len(body) + 1)]


def _leave_out(body: bytes, chance: Chance) -> bytes:
    start = chance.randrange(len(body) + 1)
    return body[:start] + body[start + chance.randint(1, 16) :]


def _insert(body: bytes, chance: Chance) -> bytes:
    start = chance.randrange(len(body) + 1)
    return body[:start] + chance.randbytes(chance.randint(1, 16)) + body[start:]


def _empty(_: bytes, __: Chance) -> bytes:
    return b""


def _members(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _places(value: object) -> Iterator[tuple[Any, Any]]:
    """Yield each container within a JSON value, with each key or index of it."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for place, inner in items:
        yield value, place
        yield from _places(inner)


def _edited(body: bytes, chance: Chance, edit: Callable[[Any, Any], None]) -> bytes:
    members = json.loads(body)
    places = list(_places(members))
    if places:
        edit(*chance.choice(places))
    return json.dumps(members, separators=(",", ":")).encode()


def _drop_member(body: bytes, chance: Chance) -> bytes:
    return _edited(body, chance, lambda container, place: container.pop(place))


def _null_member(body: bytes, chance: Chance) -> bytes:
    return _edited(body, chance, lambda container, place: _set(container, place, None))


def _double_item(body: bytes, chance: Chance) -> bytes:
    def edit(container: Any, place: Any) -> None:
        if isinstance(container, list):
            container.append(container[place])
        else:
            container[f"{place}_"] = container[place]

    return _edited(body, chance, edit)


def _other_value(body: bytes, chance: Chance) -> bytes:
    def edit(container: Any, place: Any) -> None:
        value = container[place]
        others: list[object] = ["", "x", 0, 1, -1, 2**63, 1e400, True, [], {}, [[]] * 3, "\ud800", "a/../b", "\0"]
        if isinstance(value, int):
            others += [value + 1, value - 1, str(value), float(value)] * 3
        if isinstance(value, str):
            others += [value + "x", value[:-1], value.upper()] * 4
        container[place] = chance.choice(others)

    return _edited(body, chance, edit)


def _set(container: Any, place: Any, value: object) -> None:
    container[place] = value


def _written_anew(members: dict[str, Any], chance: Chance) -> bytes:
    """Return the same content in another order and form, with null for some of what is absent for Go."""

    def shuffled(value: Any) -> Any:
        if isinstance(value, list):
            return [shuffled(item) for item in value]
        if not isinstance(value, dict):
            return value
        items = [(name, shuffled(inner)) for name, inner in value.items()]
        chance.shuffle(items)
        return {name: None if inner in ([], {}) and chance.random() < 1 / 2 else inner for name, inner in items}

    return json.dumps(shuffled(members), indent=chance.choice((None, 1, 4))).encode()


def judge(subject: Subject, damage: Damage) -> tuple[Verdict, str]:
    """Return what comes of a damage, and what was said."""
    store = new_store()
    for key, body in {**subject.objects, damage.key: damage.body}.items():
        if body is not None:
            store.put(BUCKET, key, body)
    try:
        found = _read(store, subject.layout)
    except VaultError as err:
        has_name = bool(err.message) and (subject.layout.root in err.message or subject.layout.name in err.message)
        is_of_object = has_name or any(str(item.name) in err.message for item in subject.content.archive.collections)
        if not is_of_object:
            return Verdict.UNNAMED, f"{type(err).__name__}: {err.message}"
        return (Verdict.FALSE_ALARM if damage.is_harmless else Verdict.REFUSED), f"{type(err).__name__}: {err.message}"
    if found == subject.content:
        is_unseen = "/binlogs/" in damage.key and damage.body != subject.objects[damage.key]
        return (Verdict.UNSEEN if is_unseen else Verdict.SAME), ""
    return _judge_other(subject, found)


def _judge_other(subject: Subject, found: Content) -> tuple[Verdict, str]:
    """Return what it is that another content was read."""
    if not subject.is_ours:
        if found.archive.warnings != subject.content.archive.warnings:
            return Verdict.WARNED, ""
        if _without_what_stands_alone(found) == _without_what_stands_alone(subject.content):
            return Verdict.ALONE, ""
    return Verdict.ACCEPTED, _difference(subject.content, found)


def _without_what_stands_alone(content: Content) -> Content:
    """Return it without what only `full_meta.json` knows."""
    archive = dataclasses.replace(content.archive, rbac=None, databases=(), database_descriptions=())
    return content._replace(archive=archive)


def _difference(before: Content, after: Content) -> str:
    """Say where two contents differ first."""
    for name in (field.name for field in dataclasses.fields(Archive)):
        old, new = getattr(before.archive, name), getattr(after.archive, name)
        if old == new:
            continue
        if name == "collections" and len(old) == len(new):
            for one, other in zip(old, new, strict=True):
                for part in dataclasses.fields(one):
                    was, became = getattr(one, part.name), getattr(other, part.name)
                    if was != became:
                        return f"{one.name}.{part.name}: {str(was)[:200]} became {str(became)[:200]}"
        return f"{name}: {str(old)[:200]} became {str(new)[:200]}"
    return "lists of objects"


def run(subjects: Sequence[Subject], numbers: range) -> Iterator[tuple[Subject, Damage, Verdict, str]]:
    """Damage backups in turn, a damage for each number. What is raised that has no name ends it, after the number."""
    for number in numbers:
        chance = random.Random(number)  # noqa: S311 - the same each time
        subject = chance.choice(subjects)
        damage = draw(subject, chance)
        with ExitStack() as unless_judged:
            unless_judged.callback(print, f"{subject.layout.name}, {number}, {damage}:", file=sys.stderr)
            judged = judge(subject, damage)
            unless_judged.pop_all()
        yield subject, damage, *judged


def main() -> None:
    """Damage backups, print what is at fault, and a table. Ends with 1 where anything is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", type=int, default=1500, help="damages of a backup of ours")
    parser.add_argument("--theirs", type=int, default=6000, help="damages of archives of milvus-backup")
    parser.add_argument("--seed", type=int, default=1, help="the first damage's number")
    given = parser.parse_args()
    counts: dict[str, Counter[Verdict]] = {}
    shown = 0
    for whose, subjects, count in (
        ("ours", [ours()], given.ours),
        ("milvus-backup's", [theirs(name) for name in THEIRS], given.theirs),
    ):
        counts[whose] = Counter()
        for number, (subject, damage, verdict, said) in enumerate(
            run(subjects, range(given.seed, given.seed + count)), given.seed
        ):
            counts[whose][verdict] += 1
            if verdict.is_fault and (shown := shown + 1) <= _MOST_SHOWN:
                print(f"{verdict}  {whose} {number}, {subject.layout.name}, {damage}\n    {said}", flush=True)
    print(table(counts))
    sys.exit(1 if any(verdict.is_fault for counted in counts.values() for verdict in counted) else 0)


def table(counts: Mapping[str, Counter[Verdict]]) -> str:
    """Return how many damages of each came to what."""
    lines = [f"{'':16}" + "".join(f"{verdict:>13}" for verdict in Verdict)]
    lines += [
        f"{whose:16}" + "".join(f"{found[verdict]:>13,}" for verdict in Verdict) for whose, found in counts.items()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
