"""What is wrong with a request is said in words: no regular expression, no term of pydantic's or Python's."""

import ast
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from milvus_vault.api.inspection import DatabaseName
from milvus_vault.api.restores import RestoreId
from milvus_vault.api.routing import IdempotencyKey
from milvus_vault.model.requests import (
    BackupRequest,
    NewBackupName,
    PruneRequest,
    RestoreRequest,
    ScheduleName,
    ScheduleTag,
    Suffix,
)
from milvus_vault.model.resources import Hold, RunId
from milvus_vault.model.retention import Duration
from milvus_vault.model.words import wrong_fields

PACKAGE = Path(__file__).parents[2] / "layers" / "shared" / "milvus_vault"
BACKUP_RULE = "letters, digits and underscores, at most 128, no digit first"
FOLDER_RULE = (
    "letters, digits, blanks and _ ! ' ( ) + , . : = @ ~ -, at most 128, no blank or sign but _ first. A folder with"
    " another name has to be copied to one with such a name"
)
SCHEDULE_RULE = "letters, digits, dashes and underscores, at most 48, a letter first"
TEXTS: dict[str, Any] = {
    "name of a new backup": NewBackupName,
    "name of a schedule": ScheduleName,
    "suffix": Suffix,
    "length of time": Duration,
    "run": RunId,
    "restore": RestoreId,
    "key": IdempotencyKey,
    "database": DatabaseName,
}


def said(kind: Any, value: object) -> list[str]:
    """Return what is said of a value."""
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(kind).validate_python(value)
    return [f"{path}: {words}" if path else words for path, words in wrong_fields(caught.value)]


@pytest.mark.parametrize("kind", TEXTS.values(), ids=TEXTS)
def test_the_form_of_a_text_is_told_in_words_and_programs_get_the_pattern(kind: Any) -> None:
    pattern = TypeAdapter(kind).json_schema()["pattern"]
    for wrong in ("no blanks", "my backup\n", "ä" * 5000):
        (words,) = said(kind, wrong)
        assert wrong[:100] in words
        assert pattern not in words
        assert len(words) < 300


@pytest.mark.parametrize(
    ("model", "value", "words"),
    [
        (BackupRequest, {"collections": ["shop"]},
         ["collections.0: 'shop' is not '<database>.<collection>' or '<database>.*'"]),
        (BackupRequest, {"collections": []}, ["collections: should have 1 or more"]),
        (BackupRequest, {"collections": 3, "meta_only": "perhaps"},
         ["collections: should be a list", "meta_only: should be true or false"]),
        (BackupRequest, {"colections": []}, ["colections: unknown field"]),
        (BackupRequest, {"schedule": {"name": "a b"}},
         [f"schedule.name: 'a b' is no name for a schedule: {SCHEDULE_RULE}"]),
        (RestoreRequest, {"backup_name": "a", "replicas": {"shop.orders": 0}},
         ["replicas.shop.orders: should be greater than or equal to 1"]),
        (RestoreRequest, {"backup_name": "a", "replicas": "two"},
         ["replicas: should be a whole number", "replicas: should be an object"]),
        (RestoreRequest, {}, ["backup_name: is missing"]),
        (RestoreRequest, {"backup_name": "a", "as_of": "2027-01-31T00:00:00"},
         ["as_of: should name its time zone, for example 2027-01-31T02:15:30Z"]),
        (BackupRequest, {"backup_name": "a-b"}, [f"backup_name: 'a-b' is no name for a backup: {BACKUP_RULE}"]),
        (PruneRequest, {"backup_names": ["a/b"]}, [f"backup_names.0: 'a/b' is no name of a backup: {FOLDER_RULE}"]),
        (Hold, {"reason": "x" * 501}, ["reason: should have at most 500 characters"]),
        (ScheduleTag, 3, ["should be an object"]),
    ],
)  # fmt: skip
def test_each_field_is_named_once_with_the_cause(model: Any, value: object, words: list[str]) -> None:
    assert said(model, value) == words


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_field_has_a_pattern_that_would_be_its_message(path: Path) -> None:
    if path.name == "messages_copy.py":
        return  # What the machines' own states give; no person sees it.
    keywords = [
        keyword.arg
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") in {"Field", "StringConstraints"}
        for keyword in call.keywords
    ]
    assert "pattern" not in keywords
