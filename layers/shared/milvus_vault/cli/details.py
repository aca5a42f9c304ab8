"""One thing in full, as a person reads it."""

from collections.abc import Iterable, Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from milvus_vault.cli import formats, tables
from milvus_vault.cli.session import Output
from milvus_vault.cli.words import spoken
from milvus_vault.model import readable
from milvus_vault.model.resources import (
    BackedUpCollection,
    Backup,
    BackupDiff,
    CheckItem,
    CheckReport,
    CollectionDiff,
    ComparedCollection,
    Estimate,
    IncrementalEstimate,
    ObjectCount,
    ObjectDiff,
    PlannedCollection,
    PlannedRestore,
    Schedule,
    SettingDiff,
    Stats,
)

_SIGNS = {
    "added": ("+ ", "green"),
    "removed": ("- ", "red"),
    "replaced": ("~ ", "yellow"),
    "renamed": ("~ ", "yellow"),
    "changed": ("~ ", "yellow"),
    "unknown": ("? ", "dim"),
}
_CHANGES = {
    "added": "only in B",
    "removed": "only in A",
    "replaced": "another collection of this name",
    "renamed": "renamed",
    "changed": "",
    "unknown": "nothing is known to differ",
}
_NONE = "none"

_MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "failed": ("✗", "red"), "skipped": ("-", "dim")}


def facts(pairs: Iterable[tuple[str, str | Text]]) -> Table:
    """Return names and values in two columns, without the pairs that have no value."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in pairs:
        if str(value) not in {"", "-"}:
            grid.add_row(name, value if isinstance(value, Text) else Text(value))
    return grid


def backup(output: Output, item: Backup, *, with_unique: bool = False) -> RenderableType:
    """Return a backup in full; with `with_unique`, also what deleting it would free, where the API told that."""
    rows = readable.number_of(item.row_count, "row")
    parts: list[RenderableType] = [
        facts(
            [
                ("backup", Text(item.name, style="bold")),
                ("status", tables.word(item.status)),
                ("created", f"{formats.moment(item.created_at)} ({formats.distance(item.created_at)})"),
                ("finished", formats.moment(item.finished_at)),
                ("as of", _as_of(item)),
                ("contains", rows if item.meta_only else f"{rows}, {_objects(item.object_count, item.size_bytes)}"),
                ("copied", _copied(item)),
                ("unique", _unique(item) if with_unique else ""),
                ("Milvus", item.milvus_version),
                ("made by", item.origin),
                ("export of", item.export_of or ""),
                ("copied to", _copies(item)),
                ("run", item.run or ""),
                ("schedule", item.schedule or ""),
                ("expires", _expiry(item)),
                ("lock", _lock(item)),
                ("hold", _hold(item)),
                ("verified", _verification(item)),
                ("drilled", _drill(item)),
                ("location", item.location),
                ("source", item.source),
            ]
        ),
        Text(),
        _collections(output, item),
    ]
    if item.warnings or item.failures or item.damage:
        parts.append(Text())
    if item.damage:
        parts.append(Text.assemble(("✗ ", "red"), item.damage))
    parts += [Text.assemble(("! ", "yellow"), spoken(warning)) for warning in item.warnings]
    for failure in item.failures:
        parts.append(Text.assemble(("✗ ", "red"), f"{failure.database}.{failure.name}: {failure.error}"))
        parts.append(Text(f"  {spoken(failure.message)}"))
    if item.verification:
        parts += [Text.assemble(("✗ ", "red"), problem) for problem in item.verification.problems]
    if found := item.drill:
        # A verdict by differences says no more than these do.
        if found.error and not found.differences:
            parts.append(Text.assemble(("✗ ", "red"), f"{found.error}: {spoken(found.message)}"))
        parts += [Text.assemble(("✗ ", "red"), difference) for difference in found.differences]
        parts += [Text.assemble(("! ", "yellow"), spoken(warning)) for warning in found.warnings]
    return Group(*parts)


def _copied(item: Backup) -> str:
    """Return what was copied for a backup that shares the rest with others."""
    if item.copied_object_count is None:
        return ""
    rest = "; the rest was there" if item.copied_object_count < item.object_count else ""
    return f"{_objects(item.copied_object_count, item.copied_size_bytes or 0)}{rest}"


def _copies(item: Backup) -> str:
    """Return where copies of a backup were made, and when, a line each."""
    return "\n".join(f"{copy.location} ({formats.moment(copy.copied_at)})" for copy in item.copies)


def _unique(item: Backup) -> str:
    """Return what deleting a backup would free. The API tells it of every full one, and of others if it was asked."""
    if item.unique is None:
        return ""
    return f"{_objects(item.unique.object_count, item.unique.size_bytes)} that no other backup lists"


def _collections(output: Output, item: Backup) -> RenderableType:
    return tables.listed(
        output,
        ("collection", ">rows", ">live rows", ">segments", ">objects", ">size"),
        (
            (
                f"{collection.database}.{collection.name}",
                readable.count(collection.row_count),
                readable.count(_live_rows(item, collection)),
                readable.count(collection.segment_count),
                readable.count(collection.object_count),
                readable.size(collection.size_bytes),
            )
            for collection in item.collections
        ),
    )


def _live_rows(item: Backup, collection: BackedUpCollection) -> int | None:
    """Return how many rows a query saw. Of a collection without rows nobody asks, and there are none."""
    is_empty = not item.meta_only and collection.row_count == 0
    return 0 if is_empty and collection.live_row_count is None else collection.live_row_count


def _as_of(item: Backup) -> str:
    """Return the moment that a restore brings back, and which collections have another."""
    if item.moment is None:
        return "" if item.meta_only else "no known moment: a restore brings back all that was captured"
    own = [c for c in item.collections if c.moment != item.moment]
    others = f"; {readable.number_of(len(own), 'collection')} later, each at a moment of its own" if own else ""
    return f"{formats.exactly(item.moment)}{others}"


def diff(output: Output, item: BackupDiff) -> RenderableType:
    """Return what differs between two backups."""
    sides = tables.listed(
        output,
        ("", "backup", "created", ">collections", ">rows", ">objects", ">size"),
        (
            (
                Text(letter, style="bold"),
                side.name,
                formats.minute(side.created_at),
                readable.count(side.collection_count),
                readable.count(side.row_count),
                readable.count(side.object_count),
                readable.size(side.size_bytes),
            )
            for letter, side in (("A", item.a), ("B", item.b))
        ),
        in_title=2,
    )
    parts: list[RenderableType] = [sides, Text(), _shares(item)]
    parts += [Text.assemble(_SIGNS["removed"], f"database {name}") for name in item.databases_removed]
    parts += [Text.assemble(_SIGNS["added"], f"database {name}") for name in item.databases_added]
    for collection in item.collections:
        parts += [Text(), *_collection_diff(collection)]
    same = readable.number_of(item.unchanged_count, "collection")
    ending = f"{same} in both without a difference" if item.unchanged_count else "No collection is the same in both"
    if item.objects is None:
        ending += ", as far as the documents tell: objects were not compared"
    parts += [Text(), Text(f"{ending}.", style="dim")]
    if item.same_source is False:
        parts.append(Text.assemble(("! ", "yellow"), "The two are not of one bucket and root path of Milvus."))
    parts += [Text.assemble(("! ", "yellow"), note) for note in item.notes]
    return Group(*parts)


def _shares(item: BackupDiff) -> Table:
    """Return how many objects only one backup has, and how many both have."""
    if item.objects is None:
        return facts([("objects", "not compared")])
    return facts(
        (name, _objects(count.object_count, count.size_bytes))
        for name, count in _counts(item.objects)
        if count.object_count or count is not item.objects.unknown
    )


def _counts(objects: ObjectDiff) -> list[tuple[str, ObjectCount]]:
    """Return the counts of a comparison under the names that a person reads."""
    return [
        ("only in A", objects.only_in_a),
        ("only in B", objects.only_in_b),
        ("shared", objects.shared),
        ("shared or not", objects.unknown),
    ]


def _collection_diff(item: CollectionDiff) -> Iterator[RenderableType]:
    """Yield a collection that differs: what became of it in a line, and then each difference in its own."""
    a, b = (f"{side.database}.{side.name}" if side else "" for side in (item.a, item.b))
    name = f"{a} → {b}" if a and b and a != b else a or b
    became = _CHANGES[item.change]
    yield Text.assemble(_SIGNS[item.change], (name, "bold"), f"  {became}" if became else "")
    said = [*_contents(item.a, item.b), *_objects_diff(item.objects, is_in_both=bool(a and b))]
    if item.failure:
        said.append(f"not in {'B' if a else 'A'}, since its backup failed there: {item.failure}")
    yield from (Padding(Text(line), (0, 0, 0, 4)) for line in said)
    signed = [
        *((_SIGNS["removed"], f"partition {name}") for name in item.partitions_removed),
        *((_SIGNS["added"], f"partition {name}") for name in item.partitions_added),
        *((_SIGNS["replaced"], f"partition {name}: made anew") for name in item.partitions_replaced),
        *((_SIGNS[setting.change], _setting(setting)) for setting in item.settings),
        *((_SIGNS["unknown"], f"not known: {name}") for name in item.unknown),
    ]
    yield from (Padding(Text.assemble(sign, line), (0, 0, 0, 4)) for sign, line in signed)


def _contents(a: ComparedCollection | None, b: ComparedCollection | None) -> Iterator[str]:
    if a is None or b is None:
        yield from (f"{readable.number_of(side.row_count, 'row')}" for side in (a, b) if side)
        return
    if a.row_count != b.row_count:
        yield f"rows {readable.count(a.row_count)} → {readable.count(b.row_count)}"
    if None not in (a.live_row_count, b.live_row_count) and a.live_row_count != b.live_row_count:
        yield f"live rows {readable.count(a.live_row_count)} → {readable.count(b.live_row_count)}"


def _objects_diff(objects: ObjectDiff | None, *, is_in_both: bool) -> Iterator[str]:
    for name, count in _counts(objects) if objects else ():
        if count.object_count:
            yield f"{f'{name}: ' if is_in_both else ''}{_objects(count.object_count, count.size_bytes)}"


def _setting(item: SettingDiff) -> str:
    """Return a setting that differs in a line: `field price: nullable false → true`."""
    what = f"{item.kind} {item.name}" if item.name else ""
    members = sorted(item.a.keys() | item.b.keys())
    if item.change == "changed":
        told = [f"{name} {item.a.get(name) or _NONE} → {item.b.get(name) or _NONE}" for name in members]
    else:
        told = [f"{name} {value}" for name, value in sorted((item.a or item.b).items())]
    return ": ".join(part for part in (what, ", ".join(told)) if part)


def _objects(objects: int, size_bytes: int) -> str:
    return f"{readable.number_of(objects, 'object')}, {readable.size(size_bytes)}"


def _expiry(item: Backup) -> str:
    if item.expires_at is None:
        return f"by retention: keeps {readable.keeps(item.retention)}" if item.retention else ""
    return f"{formats.moment(item.expires_at)} ({formats.distance(item.expires_at)})"


def _lock(item: Backup) -> str:
    if item.lock is None:
        return ""
    return f"{item.lock.mode}, until {formats.moment(item.lock.until)} ({formats.distance(item.lock.until)})"


def _hold(item: Backup) -> Text:
    if item.hold is None:
        return Text()
    until = f" until {formats.moment(item.hold.until)}" if item.hold.until else ""
    reason = f": {item.hold.reason}" if item.hold.reason else ""
    return Text(f"held{until}{reason}", style="yellow")


def _verification(item: Backup) -> Text:
    found = item.verification
    if found is None:
        return Text("never", style="dim")
    when = formats.moment(found.verified_at)
    return Text.assemble(
        tables.word(found.status),
        f", {found.level}, {when}, {_objects(found.object_count, found.size_bytes)}, ",
        readable.how_verified(found.model_dump()),
    )


def _drill(item: Backup) -> Text:
    found = item.drill
    if found is None:
        return Text("never", style="dim")
    when = f", {formats.moment(found.drilled_at)}, {readable.how_drilled(found.model_dump())}"
    if found.status == "proven" or not found.proven_at:
        return Text.assemble(tables.word(found.status), when)
    before = readable.proven(formats.moment(found.proven_at), found.proven_count, item.collection_count)
    return Text.assemble(tables.word(found.status), when, f"; last proven {before}")


def verdicts(items: Iterable[CheckItem]) -> Table:
    """Return each thing that was tried, with its verdict."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for item in items:
        mark, style = _MARKS[item.verdict]
        name = item.name.replace("_", " ")
        grid.add_row(Text(mark, style=style), Text.assemble((f"{name}: ", "bold"), spoken(item.message)))
        if item.hint:
            grid.add_row("", Text.assemble(("hint: ", "bold"), spoken(item.hint)))
    return grid


def check(report: CheckReport) -> RenderableType:
    """Return what a check found, and what follows of it."""
    failed = sum(item.verdict == "failed" for item in report.checks)
    warned = sum(item.verdict == "warning" for item in report.checks)
    ending = Text("Everything that a backup and a restore need is there.", style="green")
    if not report.is_ok:
        ending = Text(f"{readable.number_of(failed, 'check')} failed.", style="red")
    elif warned:
        ending.append(f" ({readable.number_of(warned, 'warning')})", style="yellow")
    return Group(verdicts(report.checks), ending)


def estimate(output: Output, item: Estimate) -> RenderableType:
    """Return what a backup would take; an incremental one in a table beside a full one."""
    parts: list[RenderableType] = [
        facts(
            [
                ("collections", readable.count(item.collection_count)),
                ("rows", readable.count(item.row_count)),
                *(() if item.incremental else _full_estimate(item)),
            ]
        )
    ]
    if item.incremental:
        parts += [Text(), _both_estimates(output, item, item.incremental)]
        if 0 < item.object_count <= item.incremental.copied_object_count:
            parts.append(Text("No incremental backup has any of it yet: the first one copies everything."))
    if item.largest:
        parts += [Text(), tables.collections(output, item.largest)]
    parts.append(Text("Prices of us-east-1, S3 Standard. Nothing was copied.", style="dim"))
    return Group(*parts)


def _full_estimate(item: Estimate) -> list[tuple[str, str]]:
    requests = f"{readable.count(item.copy_requests)} copies, {readable.count(item.list_requests)} listings"
    return [
        ("objects", readable.count(item.object_count)),
        ("size", readable.size(item.size_bytes)),
        ("requests", requests),
        ("cost of requests", _usd(item.request_cost_usd)),
        ("cost of storage", _monthly(item.storage_cost_usd_per_month)),
        ("expected time", f"about {readable.duration(item.expected_seconds)}"),
    ]


def _both_estimates(output: Output, full: Estimate, shared: IncrementalEstimate) -> RenderableType:
    """Return what an incremental backup would copy and cost, beside a full one."""
    rows = [
        ("objects to copy", readable.count(full.object_count), readable.count(shared.copied_object_count)),
        ("bytes to copy", readable.size(full.size_bytes), readable.size(shared.copied_size_bytes)),
        ("copies", readable.count(full.copy_requests), readable.count(shared.copy_requests)),
        ("listings", readable.count(full.list_requests), readable.count(shared.list_requests)),
        ("reads", "", f"at most {readable.count(shared.get_requests)}"),
        ("cost of requests", _usd(full.request_cost_usd), _usd(shared.request_cost_usd)),
        ("storage a month", _usd(full.storage_cost_usd_per_month), _usd(shared.storage_cost_usd_per_month)),
        ("expected time", *(f"about {readable.duration(found.expected_seconds)}" for found in (full, shared))),
    ]
    return tables.listed(output, ("", ">full", ">incremental"), rows)


def restore_plan(output: Output, item: PlannedRestore) -> RenderableType:
    """Return what a restore would do and take, collection by collection."""
    requests = (
        f"{readable.count(item.copy_requests)} copies, {readable.count(item.list_requests)} listings,"
        f" {readable.count(item.get_requests)} reads"
    )
    parts: list[RenderableType] = [
        facts(
            [
                ("backup", Text(item.backup_name, style="bold")),
                ("Milvus", f"{item.backup_version} into {item.server_version}"),
                ("collections", readable.count(item.collection_count)),
                ("partitions", readable.count(item.partition_count)),
                ("new databases", ", ".join(item.new_databases)),
                ("rows to import", readable.count(item.row_count)),
                ("to stage", _staged(item)),
                ("import jobs", readable.count(item.import_jobs)),
                ("requests", requests),
                ("cost of requests", _usd(item.request_cost_usd)),
                ("expected time", f"about {readable.duration(item.expected_seconds)}, by {item.expected_by}"),
                ("goes on with", item.continues or ""),
            ]
        ),
        Text(),
        tables.listed(output, _PLAN_HEADINGS, map(_planned, item.collections)),
    ]
    if more := item.collection_count - len(item.collections):
        parts.append(Text(f"and {readable.number_of(more, 'collection')} more", style="dim"))
    if item.warnings or item.left_to_run:
        parts.append(Text())
    parts += [Text.assemble(("! ", "yellow"), spoken(warning)) for warning in item.warnings]
    parts += [Text.assemble(("- ", "dim"), spoken(left)) for left in item.left_to_run]
    parts.append(Text("Prices of us-east-1, S3 Standard. Nothing was restored.", style="dim"))
    return Group(*parts)


_PLAN_HEADINGS = ("collection", "becomes", ">rows", ">objects", ">size", ">jobs", "checked", "then")


def _staged(item: PlannedRestore) -> str:
    if not item.row_count:
        return "nothing"
    if item.object_count is None or item.size_bytes is None:
        return "not looked up"
    return (
        _objects(item.object_count, item.size_bytes) if item.object_count else "nothing: it is imported from the backup"
    )


def _planned(one: PlannedCollection) -> tuple[str | Text, ...]:
    if one.damage:
        return (one.source, Text("left out", style="yellow"), "", "", "", "", "", "")
    then = [
        "replaces what is there" if one.is_replaced else "",
        "indexed" if one.index_count else "",
        "loaded" if one.is_loaded else "",
        f"aliases {', '.join(one.aliases)}" if one.aliases else "",
    ]
    return (
        one.source,
        Text(one.target, style="bold"),
        readable.count(one.row_count),
        readable.count(one.object_count),
        "-" if one.size_bytes is None else readable.size(one.size_bytes),
        readable.count(one.import_jobs),
        "" if one.verify == "quick" else one.verify,
        ", ".join(filter(None, then)),
    )


def _usd(amount: float) -> str:
    return f"{amount:,.4f} USD"


def stats(output: Output, item: Stats) -> RenderableType:
    """Return what the backup prefix holds."""
    modes = ", ".join(f"{readable.count(one.backup_count)} {one.mode}" for one in item.modes if one.backup_count)
    damaged = f"{readable.count(item.damaged_count)} damaged" if item.damaged_count else ""
    told = ", ".join(part for part in (modes, damaged) if part)
    grid = facts(
        [
            ("backups", f"{readable.count(item.backup_count)}{f' ({told})' if told else ''}"),
            ("they list", _objects(item.object_count, item.size_bytes)),
            ("stored", _objects(item.stored.object_count, item.stored.size_bytes) if item.stored else "not looked up"),
            ("in the pool", _objects(item.pool.object_count, item.pool.size_bytes) if item.pool else ""),
            ("ratio", "" if item.ratio is None else f"{item.ratio:,.1f} bytes listed for each that is stored"),
            ("cost of storage", _monthly(item.storage_cost_usd_per_month)),
        ]
    )
    parts: list[RenderableType] = [grid]
    if item.schedules:
        rows = (
            (
                Text(one.schedule or "(no schedule)", style="bold"),
                readable.count(one.backup_count),
                readable.size(one.size_bytes),
                readable.size(one.stored_bytes),
                _monthly(one.storage_cost_usd_per_month),
            )
            for one in item.schedules
        )
        headings = ("schedule", ">backups", ">they list", ">stored", ">cost of storage")
        parts += [Text(), tables.listed(output, headings, rows)]
    if item.stored:
        parts.append(Text("Prices of us-east-1, S3 Standard.", style="dim"))
    return Group(*parts)


def _monthly(cost_usd: float | None) -> str:
    return "" if cost_usd is None else f"{_usd(cost_usd)} a month"


def schedule(item: Schedule) -> RenderableType:
    """Return a schedule in full."""
    asked = (item.drill or item.request).model_dump(mode="json", exclude_defaults=True)
    if item.request.verify:
        # With its level, which has a default as well.
        asked["verify"] = item.request.verify.model_dump(exclude_none=True)
    if item.request.copy_to:
        asked["copy_to"] = readable.copy_place(item.request.copy_to.model_dump())
    return facts(
        [
            ("schedule", Text(item.name, style="bold")),
            ("when", f"{item.expression} ({item.timezone})"),
            (
                "state",
                ("on" if item.enabled else "off") + (", from the stack's parameters" if item.is_deployed else ""),
            ),
            (
                "next run",
                f"{formats.moment(item.next_run_at)} ({formats.distance(item.next_run_at)})"
                if item.next_run_at
                else "",
            ),
            (
                "last success",
                f"{formats.moment(item.last_success_at)} ({formats.distance(item.last_success_at)})"
                if item.last_success_at
                else "never",
            ),
            ("problem", Text(item.problem, style="red")),
            ("keeps", readable.keeps(item.retention) if item.kind == "backup" else ""),
            (
                "drills" if item.kind == "drill" else "request",
                ", ".join(f"{key}: {_value(value)}" for key, value in asked.items()) or "everything",
            ),
        ]
    )


def _value(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_value(inner)}" for key, inner in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
