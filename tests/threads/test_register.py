"""Every thread of the register is guarded against by a test, or has a reason."""

import pytest

from tools.threads import Guard, Register, guards, register, threads_document, url

REGISTER = register()


@pytest.fixture(scope="module")
def guarding() -> dict[str, list[Guard]]:
    """The tests by the threads that they name. To read all tests takes seconds, which no other test waits for."""
    return guards()


@pytest.mark.parametrize("name", sorted(REGISTER.threads))
def test_a_thread_has_a_test_or_a_reason_and_not_both(name: str, guarding: dict[str, list[Guard]]) -> None:
    assert bool(guarding.get(name)) != bool(REGISTER.threads[name].reason)


def test_tests_name_only_threads_of_the_register(guarding: dict[str, list[Guard]]) -> None:
    assert sorted(guarding.keys() - REGISTER.threads.keys()) == []


def test_no_thread_is_in_two_themes() -> None:
    names = [name for theme in REGISTER.themes for name in theme.threads]
    assert len(names) == len(set(names))


def test_threads_are_linked_to_where_they_can_be_read() -> None:
    assert url("milvus-backup#781") == "https://github.com/zilliztech/milvus-backup/issues/781"
    assert all(url(name).startswith("https://github.com/") for name in REGISTER.threads)


def test_the_page_names_the_test_or_the_reason() -> None:
    found = Register.model_validate(
        {"themes": [{"title": "T", "threads": {"milvus#1": {"what": "a"}, "milvus#2": {"what": "b", "reason": "c"}}}]}
    )
    page = threads_document(found, {"milvus#1": [Guard("tests/test_x.py", "test_it_is_so")]}, "made")
    assert "| a | [it is so](../tests/test_x.py) |" in page
    assert "| b | no test: c |" in page
