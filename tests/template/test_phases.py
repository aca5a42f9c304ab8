"""Every state that a run can be in has words for people."""

import pytest

from milvus_vault.runs.phases import PHASES, phase_of
from tests.template.loading import NESTED, Machine, machines

RUNS = {kind: f"{kind.capitalize()}StateMachine" for kind in PHASES}


@pytest.mark.parametrize("machine", [m for m in machines() if m.name not in NESTED], ids=lambda m: m.name)
def test_every_state_has_a_phase_and_every_phase_a_state(machine: Machine) -> None:
    (kind,) = (kind for kind, name in RUNS.items() if name == machine.name)
    assert {state.name for state in machine.states()} == PHASES[kind].keys()


def test_before_its_first_state_a_run_is_starting() -> None:
    assert phase_of("backup", "") == "starting"
