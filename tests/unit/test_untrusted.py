"""What comes from outside is made into what any document takes."""

import json

import pytest
from hypothesis import given

from milvus_vault.errors import InvalidRequestError
from milvus_vault.untrusted import encodable, read_json, whole
from tests.support.faults import DEEP, cases, hard_texts, hard_values


def test_half_of_a_character_becomes_a_question_mark() -> None:
    assert encodable("a\ud83db") == "a?b"
    assert read_json('{"\\ud83d": ["\\ude00", "\\ud83d\\ude00"]}') == {"?": ["?", "\U0001f600"]}


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_what_nests_too_deeply_is_no_json(opening: str) -> None:
    with pytest.raises(ValueError, match="it nests too deeply"):
        read_json(opening * DEEP)


def test_what_nests_deeper_than_a_document_is_cut_off() -> None:
    nested: object = "x"
    for _ in range(5000):
        nested = [nested]

    assert json.dumps(whole(nested)).strip("[]") == '"..."'


def test_the_message_of_an_error_can_be_written_anywhere() -> None:
    err = InvalidRequestError("no \ud83d", hint="\ud83d?")

    assert (err.message, err.hint, str(err)) == ("no ?", "??", "no ?\nHint: ??")


@cases(100)
@given(hard_values)
def test_whatever_is_given_can_be_written_down(value: object) -> None:
    json.dumps(whole(value), ensure_ascii=False).encode()


@cases(100)
@given(hard_texts)
def test_whatever_is_read_is_a_value_or_no_json(text: str) -> None:
    try:
        value = read_json(text)
    except ValueError:
        return
    json.dumps(value, ensure_ascii=False).encode()
