"""docs/aws-checklist.md, from the registry of acceptance items and docs/aws-checklist.yaml."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

from milvus_vault.acceptance.bill import EXPECTED, FAILED_RUNS, MINUTES, STOPPED_RUNS
from milvus_vault.acceptance.items import Item, Need

_SOURCE = Path(__file__).parents[1] / "docs" / "aws-checklist.yaml"


class Section(BaseModel):
    """A section of the document."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    here: str
    """What was checked without AWS."""


class Checklist(BaseModel):
    """docs/aws-checklist.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    introduction: str
    """With `{minutes}`, `{cents}`, `{transitions}`, `{failed}`, `{stopped}` and `{rights}`."""
    rights: dict[str, tuple[str, ...]]
    """What the credentials have to allow, by what on."""
    sections: dict[int, Section]
    preparation: str
    """What comes before the items by hand."""
    by_hand: dict[str, str]


class ChecklistError(Exception):
    """The registry and docs/aws-checklist.yaml do not fit together."""


def checklist() -> Checklist:
    """Return what docs/aws-checklist.yaml says."""
    return Checklist.model_validate(yaml.safe_load(_SOURCE.read_text()))


def checklist_document(found: Checklist, items: Sequence[Item], preamble: str) -> str:
    """Return docs/aws-checklist.md. Raises `ChecklistError` where a section or an item by hand is on one side only."""
    _check(found, items)
    introduction = found.introduction.format(
        minutes=MINUTES,
        cents=f"{100 * EXPECTED.usd:.0f}",
        transitions=EXPECTED.transitions,
        failed=FAILED_RUNS,
        stopped=STOPPED_RUNS,
        rights="\n".join(_rights(found.rights)),
    )
    lines = [preamble, "", introduction]
    for number, section in found.sections.items():
        lines += [f"## {number}. {section.title}", "", f"*Here:* {section.here}", ""]
        lines += ["| item | what it proves | needs | on the local stack |", "|---|---|---|---|"]
        lines += [_row(one) for one in items if one.section == number]
        lines.append("")
    lines += ["## By hand", "", found.preparation]
    by_name: Mapping[str, Item] = {one.name: one for one in items}
    for name, text in found.by_hand.items():
        lines += [f"### {name}", "", f"{by_name[name].section}. {by_name[name].proves}", "", text.strip(), ""]
    return "\n".join(lines).rstrip() + "\n"


def _rights(rights: Mapping[str, Sequence[str]]) -> Iterator[str]:
    yield from ("| on | rights |", "|---|---|")
    for on, actions in rights.items():
        yield f"| {on} | {', '.join(f'`{action}`' for action in actions)} |"


def _row(one: Item) -> str:
    if one.is_manual:
        return f"| [`{one.name}`](#{one.name}) | {one.proves} | a person | not possible |"
    # In the order in which they are declared.
    needs = ", ".join(need for need in Need if need in one.needs) or "reading alone"
    after = f", after `{one.after}`" if one.after else ""
    where = f"not possible: the emulator {one.emulator}" if one.emulator else "tried"
    return f"| `{one.name}` | {one.proves} | {needs}{after} | {where} |"


def _check(found: Checklist, items: Sequence[Item]) -> None:
    manual = {one.name for one in items if one.is_manual}
    for what in (
        f"by hand: {sorted(manual ^ found.by_hand.keys())}" if manual != found.by_hand.keys() else "",
        f"sections: {sorted({one.section for one in items} ^ found.sections.keys())}"
        if {one.section for one in items} != found.sections.keys()
        else "",
        *_wrong_order(items),
    ):
        if what:
            msg = f"docs/aws-checklist.yaml and the acceptance items differ: {what}"
            raise ChecklistError(msg)


def _wrong_order(items: Sequence[Item]) -> Iterator[str]:
    before: set[str] = set()
    for one in items:
        if one.after and one.after not in before:
            yield f"{one.name} is tried before {one.after}"
        before.add(one.name)
