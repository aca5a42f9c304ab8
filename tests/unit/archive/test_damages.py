"""A few of the damages that `python -m tests.damages` draws by the thousand."""

import pytest

from tests import damages

NUMBERS = range(1, 151)


@pytest.mark.parametrize("whose", ["ours", *damages.THEIRS])
def test_whatever_is_damaged_is_refused_by_name_or_means_what_it_meant(whose: str) -> None:
    subject = damages.ours() if whose == "ours" else damages.theirs(whose)
    found = {
        f"{number}, {damage}: {said}": verdict
        for number, (_, damage, verdict, said) in zip(NUMBERS, damages.run([subject], NUMBERS), strict=True)
    }
    assert {told: verdict for told, verdict in found.items() if verdict.is_fault} == {}
    assert damages.Verdict.REFUSED in found.values()
