"""Requests: what is accepted, what is refused, and with which words."""

import re
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from milvus_vault.model.requests import (
    BACKUP_NAME_PATTERN,
    NEW_BACKUP_NAME_PATTERN,
    BackupRequest,
    DrillRequest,
    PruneRequest,
    RestoreRequest,
    VerifyRequest,
)

type Request = type[BackupRequest] | type[RestoreRequest] | type[VerifyRequest] | type[PruneRequest]

RESTORE = {"backup_name": "nightly"}
LETTERS = string.ascii_letters + "_"
backup_names = st.builds(
    str.__add__, st.sampled_from(LETTERS), st.text(LETTERS + string.digits, min_size=0, max_size=127)
)


def refused(model: Request, request: dict[str, Any]) -> str:
    """Return the words with which a request is refused."""
    with pytest.raises(ValidationError) as caught:
        model.model_validate(request)
    return str(caught.value)


def test_an_empty_request_backs_up_everything() -> None:
    request = BackupRequest.model_validate({})
    assert request.collections is None
    assert request.backup_name is None
    assert (request.meta_only, request.skip_flush, request.gc_pause) == (False, False, True)
    assert request.on_collection_failure == "publish_partial"


def test_a_restore_needs_nothing_but_the_backups_name() -> None:
    request = RestoreRequest.model_validate(RESTORE)
    assert request.collections is None
    assert (request.suffix, request.rename, request.max_shards) == ("", {}, None)
    assert (request.restore_index, request.load, request.restore_aliases) == (True, True, True)
    assert (request.drop_existing, request.skip_create, request.meta_only, request.allow_version) == (False,) * 4
    assert (request.verify, request.skip_damaged) == (None, False)
    assert "backup_name" in refused(RestoreRequest, {})


@pytest.mark.parametrize(("model", "request_"), [(BackupRequest, {}), (RestoreRequest, RESTORE)])
def test_an_unknown_field_is_refused_by_its_name(model: Request, request_: dict[str, Any]) -> None:
    assert "colections" in refused(model, request_ | {"colections": ["a.b"]})


@pytest.mark.parametrize(("model", "request_"), [(BackupRequest, {}), (RestoreRequest, RESTORE)])
def test_a_request_cannot_be_changed(model: Request, request_: dict[str, Any]) -> None:
    request = model.model_validate(request_)
    for name in model.model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(request, name, getattr(request, name))


@pytest.mark.parametrize("model", [BackupRequest, RestoreRequest])
def test_every_field_is_described(model: Request) -> None:
    assert all(field.description for field in model.model_fields.values())


@given(backup_names)
def test_a_name_of_letters_digits_and_underscores_is_accepted(name: str) -> None:
    assert BackupRequest(backup_name=name).backup_name == name
    assert RestoreRequest(backup_name=name).backup_name == name


@pytest.mark.parametrize("name", ["", "1st", "a-b", "a.b", "a/b", "../a", "a b", "ä", "a" * 129, "a\n", ".runs"])
def test_another_name_is_refused(name: str) -> None:
    assert "backup_name" in refused(BackupRequest, {"backup_name": name})


@given(st.from_regex(BACKUP_NAME_PATTERN.replace("$", r"\Z")))
def test_a_backup_that_is_there_is_named_as_its_folder_is(name: str) -> None:
    assert RestoreRequest(backup_name=name).backup_name == name
    assert VerifyRequest(backup_name=name).backup_name == name
    assert PruneRequest(backup_names=(name,)).backup_names == (name,)
    # One part of a key, and of a path however often that is decoded.
    assert not set(name) & set("/%\\?#")
    assert name not in {".", ".."}
    assert name.isprintable()


@pytest.mark.parametrize("name", ["1st", "before-upgrade", "daily 2026", "2026_11_28", "v2.6.19", "it's (old)"])
def test_names_of_folders_that_no_backup_gets_are_read(name: str) -> None:
    assert RestoreRequest(backup_name=name).backup_name == name
    assert "backup_name" in refused(BackupRequest, {"backup_name": name})


@pytest.mark.parametrize("name", ["", "a/b", "../a", "..", "ä", "a" * 129, "a\n", ".runs", "a%20b", "a\\b"])
def test_what_can_be_no_name_of_a_folder_says_what_to_do(name: str) -> None:
    for model, document in (
        (RestoreRequest, {"backup_name": name}),
        (VerifyRequest, {"backup_name": name}),
        (PruneRequest, {"backup_names": [name]}),
    ):
        assert "has to be copied to one with such a name" in refused(model, document)


@given(st.text())
def test_a_name_that_is_accepted_is_one_folder_of_plain_characters(name: str) -> None:
    try:
        BackupRequest(backup_name=name)
    except ValidationError:
        assert not re.fullmatch(NEW_BACKUP_NAME_PATTERN.strip("^$"), name)
    else:
        assert set(name) <= set(LETTERS + string.digits)
        assert 1 <= len(name) <= 128


@pytest.mark.parametrize("selector", ["db.a", "db.*", "default.A_1"])
def test_a_selector_names_a_collection_or_a_whole_database(selector: str) -> None:
    assert BackupRequest.model_validate({"collections": [selector]}).collections == (selector,)
    assert RestoreRequest.model_validate(RESTORE | {"collections": [selector]}).collections == (selector,)


@pytest.mark.parametrize("selector", ["", "a", "*", "*.*", "*.a", "db.", ".a", "db.a*", "db.a.b", "db. a", "db.a\n"])
def test_another_selector_is_refused_with_the_form_that_it_should_have(selector: str) -> None:
    expected = "is not '<database>.<collection>' or '<database>.*'"
    assert expected in refused(BackupRequest, {"collections": [selector]})
    assert expected in refused(RestoreRequest, RESTORE | {"rename": {"db.a": selector}})


@given(st.text())
def test_a_selector_that_is_accepted_has_a_database_and_a_name(text: str) -> None:
    try:
        BackupRequest(collections=(text,))
    except ValidationError:
        return
    database, dot, name = text.partition(".")
    assert dot
    assert database
    assert name
    assert "." not in name
    assert not re.search(r"\s", text)
    assert "*" not in database
    assert "*" not in name.removesuffix("*")


def test_a_selection_of_nothing_is_refused() -> None:
    assert "collections" in refused(BackupRequest, {"collections": []})
    assert "collections" in refused(RestoreRequest, RESTORE | {"collections": []})


@pytest.mark.parametrize(
    ("field", "value"),
    [("mode", "differential"), ("on_collection_failure", "ignore"), ("meta_only", "perhaps"), ("collections", "db.a")],
)
def test_a_value_that_a_backup_does_not_know_is_refused(field: str, value: object) -> None:
    assert field in refused(BackupRequest, {field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("suffix", "-x"),
        ("suffix", "a.b"),
        ("verify", "full"),
        ("max_shards", 0),
        ("max_shards", 65),
        ("rename", ["db.a"]),
    ],
)
def test_a_value_that_a_restore_does_not_know_is_refused(field: str, value: object) -> None:
    assert field in refused(RestoreRequest, RESTORE | {field: value})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"suffix": "_x", "rename": {"db.a": "db.b"}}, "`suffix` and `rename` exclude each other"),
        ({"drop_existing": True, "skip_create": True}, "`drop_existing` and `skip_create` exclude each other"),
        ({"verify": "deep", "meta_only": True}, "and `meta_only` restores no rows"),
        ({"rename": {"db.a": "db2.*"}}, "a collection to a collection or a database to a database: db.a -> db2.*"),
        ({"rename": {"db.*": "db2.a"}}, "a collection to a collection or a database to a database: db.* -> db2.a"),
    ],
)
def test_options_that_exclude_each_other_are_refused(options: dict[str, Any], words: str) -> None:
    assert words in refused(RestoreRequest, RESTORE | options)


def test_indexes_can_be_left_out_without_a_word_on_loading() -> None:
    # Loading needs them; it is then left out too, since `load` is true unless somebody says otherwise.
    assert RestoreRequest.model_validate(RESTORE | {"restore_index": False}).load


@given(
    st.builds(
        RestoreRequest,
        backup_name=backup_names,
        collections=st.none() | st.just(("db.a", "db.*")),
        suffix=st.just("_x"),
        rename=st.just({}),
        skip_create=st.just(False),
        max_shards=st.none() | st.integers(1, 64),
    )
)
def test_a_request_survives_json(request: RestoreRequest) -> None:
    assert RestoreRequest.model_validate_json(request.model_dump_json()) == request


@pytest.mark.parametrize("request_", [{}, {"backup_name": "a", "newest_of": "nightly"}])
def test_a_drill_is_of_one_backup(request_: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="a drill is of one backup"):
        DrillRequest.model_validate(request_)


@pytest.mark.parametrize(
    "wrong", [{"max_bytes": 0}, {"row_count": 0}, {"row_count": 10_001}, {"seed": -1}, {"database": "a.b"}]
)
def test_what_no_drill_can_be_asked_for_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        DrillRequest.model_validate({"backup_name": "a", **wrong})
