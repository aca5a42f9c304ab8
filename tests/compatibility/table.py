"""The tables of docs/compatibility.md, from what the tests have shown: `python -m tests.compatibility.table [--write]`.

Without `--write` it ends with 1, and says why, where a cell has no test, where a test shows what its row says is
not there, and where the document has other tables than these. `make test-all` calls it.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.compatibility.features import VERSIONS, Feature, Section
from tests.compatibility.recording import REAL, RECORD, REFUSED, TESTED, Shown, read_record

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "compatibility.md"
BEGIN = "<!-- Made by `python -m tests.compatibility.table --write` from what the tests have shown: do not edit. -->\n"
END = "<!-- End of what is made. -->\n"

DOES_NOT_EXIST = "does not exist"
NOT_TESTED = "not tested"

type Results = Mapping[tuple[str, str], set[str]]
"""How each feature was shown in each minor version."""


def results_of(record: Mapping[str, Sequence[Shown]]) -> Results:
    """Return what tests have shown, by feature and version."""
    found: dict[tuple[str, str], set[str]] = {}
    for shown in record.values():
        for feature, version, how in shown:
            found.setdefault((feature, version), set()).add(how)
    return found


def cell(results: Results, feature: Feature, version: str) -> str:
    """Return what a table says of a feature in a version."""
    row, how = feature.value, results.get((feature.name, version), set())
    if version in row.refused:
        return f"refused: `{row.refused[version].__name__}`" if REFUSED in how else NOT_TESTED
    if not row.exists_in(version):
        return DOES_NOT_EXIST
    if not how:
        return NOT_TESTED
    needs = f" with {row.needs[version]}" if version in row.needs else ""
    return f"tested (real){needs}" if REAL in how else f"tested{needs}"


def problems(results: Results) -> Iterator[str]:
    """Yield what is wrong: cells without a test, and tests that contradict their rows."""
    for feature in Feature:
        for version in VERSIONS:
            how = results.get((feature.name, version), set())
            if cell(results, feature, version) == NOT_TESTED:
                yield f"{feature.name} has no test on {version}"
            if version in feature.value.refused and how & {TESTED, REAL}:
                yield f"{feature.name} is said to be refused on {version}, and a test passes without that error"
            elif not feature.value.exists_in(version) and how:
                yield f"{feature.name} is said not to exist on {version}, and a test shows it"


def tables(results: Results) -> str:
    """Return all tables."""
    return "".join(_table(results, section) for section in Section)


def _table(results: Results, section: Section) -> str:
    lines = ["", f"### {section}", "", f"| | {' | '.join(VERSIONS)} |", "|---" * (len(VERSIONS) + 1) + "|"]
    for feature in Feature:
        if feature.value.section is section:
            cells = [cell(results, feature, version) for version in VERSIONS]
            lines.append(f"| {feature.text} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def with_tables(document: str, made: str) -> str:
    """Return a document with other tables between its two marks."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{made}\n{END}{after}"


def main() -> int:
    """Write the tables, or compare them; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    writes = parser.parse_args().write
    results = results_of(read_record(ROOT / RECORD))
    found = list(problems(results))
    document = DOCUMENT.read_text()
    wanted = with_tables(document, tables(results))
    if writes:
        DOCUMENT.write_text(wanted)
    elif document != wanted:
        found.append(f"{DOCUMENT.relative_to(ROOT)} has other tables: make them by --write")
    for problem in found:
        sys.stderr.write(f"compatibility: {problem}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
