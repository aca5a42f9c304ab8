"""How many cases the properties over faults try, and texts that break what is careless."""

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

MANY = "many"
MOST = 10_000
"""The profile of `make test-faults`: pytest --hypothesis-profile=many."""


def register() -> None:
    """Make the profile known, before pytest chooses one."""
    settings.register_profile(MANY, max_examples=MOST)


def is_many() -> bool:
    """Return whether this is `make test-faults`."""
    return settings.get_current_profile_name() == MANY


def cases(few: int, *, most: int = MOST) -> settings:
    """Return the settings of a property: few examples in `make test`, always the same, 10,000 in `make test-faults`.

    Or fewer, of which each has many cases.
    """
    # A machine that is shared is slow at times, which is no fault; and no case leaves anything in a fixture.
    unchecked = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
    return settings(
        max_examples=most if is_many() else few,
        derandomize=not is_many(),
        deadline=None,
        # A seed that is smaller is no simpler, and each example takes seconds where it has many cases.
        phases=tuple(Phase) if most == MOST else (Phase.generate,),
        suppress_health_check=unchecked,
    )


DEEP = 50_000
"""Brackets within each other: more than Python's own recursion takes."""

hard_texts = st.one_of(
    st.text(),
    # Half of a character, which no encoding knows; characters that XML, headers or terminals do not take.
    st.sampled_from(["", "\ud83d", "a\ud83db", "\0", "\r\nX: y", "\x1b[2J", "../..", "/", "x" * 70_000, "null", "NaN"]),
    st.sampled_from(["[", '{"a":', "[{"]).map(lambda opening: opening * DEEP),
)
hard_numbers = st.one_of(st.integers(), st.sampled_from([0, -1, 2**31, 2**53, 2**63, 2**64, 10**30, -(10**30)]))
hard_values = st.recursive(
    st.one_of(st.none(), st.booleans(), hard_numbers, st.floats(), hard_texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(hard_texts, inner, max_size=4)),
    max_leaves=8,
)
