"""Make the documents that follow from the code: `python -m tools.generate_docs [--check]`.

docs/errors.md       every error: its meaning from `errors.py`, its retries from `statemachine/`, what to do about
                     it from `docs/errors_actions.yaml`
docs/requests.md     the fields of the requests, from their models, with examples that the models accept
docs/openapi.json    the API, from its routes and their models
docs/schemas/*.json  JSON schemas of requests, results, events and the manifest
docs/aws-checklist.md  the items of `milvus-vault acceptance`, with `docs/aws-checklist.yaml`
docs/permissions.md  the rights of all roles, from the template, and what needed them, from `tests/data/rights.json`
docs/s3-habits.md    what S3 and other servers answer, from `tests/contract/s3_habits.yaml`
docs/threads.md      what users have reported, from `docs/threads.yaml` and the tests that name it

With `--check` nothing is written: it names the files that are not what the code says, and ends with 1 if there
are any. `make check-docs` runs it; the package must be importable (PYTHONPATH=layers/shared).
"""

import argparse
import ast
import json
import sys
import textwrap
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict

from milvus_vault import errors
from milvus_vault.acceptance.items import items
from milvus_vault.api.openapi import field_docstrings, openapi_document
from milvus_vault.api.routes import ROUTES
from milvus_vault.archive.manifest import Manifest
from milvus_vault.datasets.working_files import Dataset
from milvus_vault.errors import VaultError
from milvus_vault.model.base import Model
from milvus_vault.model.events import RunEvent
from milvus_vault.model.examples import EXAMPLES, Example
from milvus_vault.model.messages import PublishedBackup, ReportRestoreResult
from milvus_vault.model.messages_drill import DrillResult
from milvus_vault.model.messages_prune import CarryOutPruneResult
from milvus_vault.model.messages_rows import DatasetResult
from milvus_vault.model.messages_verify import VerifyBackupResult
from milvus_vault.model.requests import (
    BackupRequest,
    DrillRequest,
    ExportRequest,
    PruneRequest,
    RestoreRequest,
    VerifyRequest,
)
from tools.checklist import ChecklistError, checklist, checklist_document
from tools.habits import habits_document, read_record
from tools.permissions import RightsError, permissions_document
from tools.threads import guards, register, threads_document

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
ACTIONS = DOCS / "errors_actions.yaml"

LINE_LENGTH = 118

GENERATED = "<!-- Made by `python -m tools.generate_docs`; edit what it is made from instead. -->"

type Schema = Mapping[str, Any]
type State = Mapping[str, Any]


class SourceError(Exception):
    """What the documents are made from is not complete, or contradicts itself."""


class ForeignError(BaseModel):
    """A name that a failed execution can show and that is not one of ours."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    meaning: str
    action: str


class Actions(BaseModel):
    """`docs/errors_actions.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    actions: dict[str, str]
    foreign: dict[str, ForeignError]


@dataclass(frozen=True, slots=True)
class Section:
    """A section of `errors.py`: its title, and the leaves in their order."""

    title: str
    leaves: tuple[type[VaultError], ...]


def error_sections(source: str) -> list[Section]:
    """Return the leaves of `errors.py` by the comments that divide it."""
    titles = {
        number: line.strip("# -")
        for number, line in enumerate(source.splitlines(), start=1)
        if line.startswith("# --- ")
    }
    leaves: dict[str, list[type[VaultError]]] = {title: [] for title in titles.values()}
    for node in ast.parse(source).body:
        found = getattr(errors, node.name) if isinstance(node, ast.ClassDef) else None
        if found is None or found is VaultError:
            continue
        above = [number for number in titles if number < node.lineno]
        if not above:
            msg = f"{found.__name__} stands in no section of errors.py"
            raise SourceError(msg)
        leaves[titles[max(above)]].append(found)
    return [Section(title, tuple(found)) for title, found in leaves.items()]


def retries(definitions: Mapping[str, State]) -> dict[str, dict[str, int]]:
    """Return for each error name the states that retry it, and how often.

    Raises `SourceError` where two states of one name retry an error differently: the documents name states only.
    """
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for file_name, definition in definitions.items():
        for state_name, state in _states(definition):
            for retrier in state.get("Retry", ()):
                for error in retrier["ErrorEquals"]:
                    attempts = int(retrier["MaxAttempts"])
                    if found[error].setdefault(state_name, attempts) != attempts:
                        msg = f"{state_name} of {file_name} retries {error} {attempts} times, and elsewhere differently"
                        raise SourceError(msg)
    return found


def _states(machine: State) -> Iterator[tuple[str, State]]:
    for name, state in machine["States"].items():
        yield name, state
        for branch in state.get("Branches", ()):
            yield from _states(branch)
        if "ItemProcessor" in state:
            yield from _states(state["ItemProcessor"])


def errors_document(sections: Sequence[Section], retried: Mapping[str, Mapping[str, int]], actions: Actions) -> str:
    """Return docs/errors.md. Raises `SourceError` where a leaf lacks an action, or an action its leaf."""
    names = {leaf.__name__ for section in sections for leaf in section.leaves}
    if missing := sorted(names - actions.actions.keys()):
        msg = f"docs/errors_actions.yaml says nothing of {', '.join(missing)}"
        raise SourceError(msg)
    if unknown := sorted(actions.actions.keys() - names):
        msg = f"docs/errors_actions.yaml speaks of {', '.join(unknown)}, which errors.py does not have"
        raise SourceError(msg)
    lines = [
        GENERATED,
        "",
        "# Errors",
        "",
        "A failed execution ends with one of these names and a text: the message names the object concerned, and a",
        "line that begins with `Hint:` says what usually helps. The same name is in the function's log (`error_name`),",
        "is counted as a metric in the namespace `MilvusVault`, and stands in the run's failure record",
        "([operations.md](operations.md)). Names are part of the interface: see",
        "[ADR 0007](adr/0007-error-names-are-api.md).",
        "",
        '"Retried" is what the state machines do by themselves before they give up. "Start again" means a new',
        "execution with the same input and the same `backup_name`, which resumes.",
    ]
    for section in sections:
        lines += ["", f"## {section.title[:1].upper()}{section.title[1:]}"]
        for leaf in section.leaves:
            lines += [
                "",
                f"### {leaf.__name__}",
                "",
                _wrap(_meaning(leaf)),
                "",
                _wrap(f"* Retried: {_retried(leaf, retried.get(leaf.__name__, {}))}"),
                _wrap(f"* What to do: {_one_line(actions.actions[leaf.__name__])}"),
            ]
    lines += [
        "",
        "## Names that are not ours",
        "",
        "They come from Step Functions, Lambda or Python.",
        "",
        "| name | meaning | what to do |",
        "|---|---|---|",
    ]
    lines += [
        f"| `{name}` | {_one_line(foreign.meaning)} | {_one_line(foreign.action)} |"
        for name, foreign in actions.foreign.items()
    ]
    return "\n".join(lines) + "\n"


def _meaning(leaf: type[VaultError]) -> str:
    if not leaf.__doc__:
        msg = f"{leaf.__name__} has no docstring"
        raise SourceError(msg)
    return _one_line(leaf.__doc__)


def _retried(leaf: type[VaultError], states: Mapping[str, int]) -> str:
    if bool(states) != leaf.retryable:
        msg = f"{leaf.__name__}.retryable is {leaf.retryable}, and the states that retry it are {sorted(states)}"
        raise SourceError(msg)
    if not states:
        return "no."
    by_attempts: dict[int, list[str]] = defaultdict(list)
    for state, attempts in sorted(states.items()):
        by_attempts[attempts].append(state)
    counts = [f"{attempts} times by {', '.join(named)}" for attempts, named in sorted(by_attempts.items())]
    return f"up to {'; '.join(counts)}."


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _wrap(text: str) -> str:
    indent = "  " if text.startswith("* ") else ""
    return textwrap.fill(text, LINE_LENGTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def requests_document(examples: Sequence[Example]) -> str:
    """Return docs/requests.md. Raises pydantic's `ValidationError` where a model refuses an example."""
    lines = [
        GENERATED,
        "",
        "# Requests",
        "",
        "The input of an execution is a JSON object with these fields. All but the required ones may be left out.",
        "Unknown fields and wrong values are refused with [InvalidRequestError](errors.md#invalidrequesterror) before",
        "anything is done. JSON schemas of requests and results are in [schemas/](schemas/).",
        "",
        "A selector is `<database>.<collection>`, or `<database>.*` for a database with all its collections, which",
        "may be none. The database that Milvus makes by itself is called `default`. Selectors never name aliases.",
    ]
    titles = (
        (BackupRequest, "Backup", "[backup-result](schemas/backup-result.schema.json)"),
        (RestoreRequest, "Restore", "[restore-result](schemas/restore-result.schema.json)"),
        (VerifyRequest, "Verify", "[verify-result](schemas/verify-result.schema.json)"),
        (PruneRequest, "Prune", "[prune-result](schemas/prune-result.schema.json)"),
        (
            ExportRequest,
            "Export",
            "[backup-result](schemas/backup-result.schema.json), [dataset-result](schemas/dataset-result.schema.json)",
        ),
        (DrillRequest, "Drill", "[drill-result](schemas/drill-result.schema.json)"),
    )
    for model, title, result in titles:
        schema = model.model_json_schema()
        lines += [
            "",
            f"## {title}",
            "",
            _wrap(f"{_one_line(schema['description'])} The output of an execution that succeeds is a {result}."),
            "",
            "| field | type | default | description |",
            "|---|---|---|---|",
        ]
        required = schema.get("required", ())
        lines += [
            f"| `{name}` | {_type(field)} | {_default(field, is_required=name in required)} | {field['description']} |"
            for name, field in schema["properties"].items()
        ]
        for example in examples:
            if example.model is model:
                model.model_validate(example.request)
                lines += ["", f"{example.title}:", "", "```json", json.dumps(example.request, indent=2), "```"]
    return "\n".join(lines) + "\n"


def _type(field: Schema) -> str:  # noqa: PLR0911 - one for each kind of field
    """Return a field's type in words."""
    if "anyOf" in field:
        return " or ".join(_type(option) for option in field["anyOf"] if option.get("type") != "null")
    if "$ref" in field:
        return f"`{field['$ref'].rpartition('/')[2]}`"
    if options := field.get("enum", [field["const"]] if "const" in field else []):
        return " or ".join(f"`{json.dumps(option)}`" for option in options)
    if field["type"] == "array":
        things = "names" if {"pattern", "minLength"} & field["items"].keys() else "selectors"
        return f"list of {things}, not empty" if field.get("minItems") else f"list of {things}"
    if field["type"] == "object":
        values = field["additionalProperties"]
        return f"object: name to {'name' if values['type'] == 'string' else _type(values)}"
    if field["type"] == "integer" and "maximum" in field:
        return f"integer, {field['minimum']} to {field['maximum']}"
    return {"boolean": "true or false", "string": "text"}.get(field["type"], str(field["type"]))


def _default(field: Schema, *, is_required: bool) -> str:
    if is_required:
        return "required"
    return "none" if field.get("default") is None else f"`{json.dumps(field['default'])}`"


SCHEMAS: Mapping[str, tuple[type[Model], Literal["validation", "serialization"]]] = {
    "backup-request": (BackupRequest, "validation"),
    "restore-request": (RestoreRequest, "validation"),
    "verify-request": (VerifyRequest, "validation"),
    "prune-request": (PruneRequest, "validation"),
    "export-request": (ExportRequest, "validation"),
    "drill-request": (DrillRequest, "validation"),
    "backup-result": (PublishedBackup, "serialization"),
    "restore-result": (ReportRestoreResult, "serialization"),
    "drill-result": (DrillResult, "serialization"),
    "verify-result": (VerifyBackupResult, "serialization"),
    "prune-result": (CarryOutPruneResult, "serialization"),
    "dataset-result": (DatasetResult, "serialization"),
    "manifest": (Manifest, "serialization"),
    "dataset": (Dataset, "serialization"),
    "run-event": (RunEvent, "serialization"),
}


def schema_document(model: type[Model], mode: Literal["validation", "serialization"]) -> str:
    """Return the JSON schema of a model, with its fields' docstrings as their descriptions."""
    schema = model.model_json_schema(mode=mode)
    # Aliases such as RunKind are definitions, too, and have no fields.
    models = {name: found for name, found in schema.get("$defs", {}).items() if "properties" in found}
    for name, definition in {model.__name__: schema, **models}.items():
        described = field_docstrings(_model_named(name))
        for field, text in described.items():
            definition["properties"][field].setdefault("description", text)
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema, indent=2) + "\n"


def _below(model: type[Model]) -> Iterator[type[Model]]:
    for derived in model.__subclasses__():
        yield derived
        yield from _below(derived)


def _model_named(name: str) -> type[Model]:
    found = [model for model in _below(Model) if model.__name__ == name]
    if len(found) != 1:
        msg = f"there are {len(found)} models of the name {name}; a schema can have only one"
        raise SourceError(msg)
    return found[0]


def documents() -> dict[Path, str]:
    """Return the content of every generated file."""
    sections = error_sections(Path(errors.__file__).read_text())
    machines = {path.name: yaml.safe_load(path.read_text()) for path in sorted(ROOT.glob("statemachine/*.asl.yaml"))}
    actions = Actions.model_validate(yaml.safe_load(ACTIONS.read_text()))
    made = {
        DOCS / "errors.md": errors_document(sections, retries(machines), actions),
        DOCS / "requests.md": requests_document(EXAMPLES),
        DOCS / "openapi.json": json.dumps(openapi_document(ROUTES), indent=2) + "\n",
        DOCS / "aws-checklist.md": checklist_document(checklist(), items(), GENERATED),
        DOCS / "permissions.md": permissions_document(GENERATED),
        DOCS / "s3-habits.md": habits_document(read_record(), GENERATED),
        DOCS / "threads.md": threads_document(register(), guards(), GENERATED),
    }
    for name, (model, mode) in SCHEMAS.items():
        made[DOCS / "schemas" / f"{name}.schema.json"] = schema_document(model, mode)
    return made


def stale_files(made: Mapping[Path, str]) -> list[Path]:
    """Return the files that are missing, are not as they should be, or should not be there."""
    wrong = [path for path, text in made.items() if not path.exists() or path.read_text() != text]
    return sorted([*wrong, *(path for path in (DOCS / "schemas").glob("*") if path not in made)])


def main(arguments: Sequence[str]) -> int:
    """Write or check the documents; return 1 where one is stale."""
    parser = argparse.ArgumentParser(prog="python -m tools.generate_docs", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; name the files that are stale")
    check = parser.parse_args(arguments).check
    try:
        made = documents()
    except (SourceError, ChecklistError, RightsError) as err:
        print(f"the documents cannot be made: {err}", file=sys.stderr)
        return 1
    stale = stale_files(made)
    if check:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is stale; run `python -m tools.generate_docs`", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        if path in made:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(made[path])
            print(f"wrote {path.relative_to(ROOT)}")
        else:
            path.unlink()
            print(f"removed {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
