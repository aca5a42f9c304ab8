"""Models are built when they are used first, by whichever thread that is."""

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from milvus_vault.model.base import Model


@pytest.fixture
def restless() -> Iterator[None]:
    """Let threads take turns as often as can be."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def family() -> tuple[type[Model], type[Model]]:
    """Return models of which none is built, one that holds the other."""

    class Child(Model):
        name: str
        size: int

    class Parent(Model):
        children: tuple[Child, ...]
        first: Child

    return Child, Parent


def test_a_model_that_nobody_uses_is_not_built() -> None:
    child, parent = family()

    assert not child.__pydantic_complete__
    parent.model_validate_json('{"children": [], "first": {"name": "a", "size": 1}}')
    assert parent.__pydantic_complete__


@pytest.mark.usefixtures("restless")
def test_threads_may_use_a_model_first_at_the_same_time() -> None:
    text = '{"children": [{"name": "b", "size": 2}], "first": {"name": "a", "size": 1}}'
    threads = 8
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(400):
            _, parent = family()
            start = threading.Barrier(threads)

            def use(parent: type[Model] = parent, start: threading.Barrier = start) -> str:
                start.wait()
                return parent.model_validate_json(text).model_dump_json()

            written = {future.result() for future in [pool.submit(use) for _ in range(threads)]}
            assert written == {text.replace(" ", "")}


def test_a_model_may_be_used_first_wherever_that_is() -> None:
    """To read the variables of such a comprehension ended Python 3.13.0 by a fault."""
    child, _ = family()

    def use(pairs: list[tuple[str, int]]) -> list[Model]:
        for name, _ in pairs:
            assert sorted(name + other for other in "ab")
        return [child.model_validate({"name": name, "size": size}) for name, size in pairs]

    assert len(use([("a", 1)])) == 1
