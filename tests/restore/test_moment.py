"""A backup beside clients that write is one moment: what is restored is judged by the log of the writers.

Many more seeds, and a real Milvus: `python -m tests.moments`.
"""

from contextlib import ExitStack

import pytest

from local.aws import Ministack
from tests.compatibility.features import Feature
from tests.moments import Plan, draw, protocol_server, try_out, whole
from tests.support.judging import Restored, judge
from tests.support.milvus_server.versions import VERSIONS
from tests.support.writing import Target, Writer

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

# A seed of its own for each version: together they try more.
PLANS = [
    pytest.param(version, plan, id=f"{version}-{plan.name}")
    for seed, version in enumerate(VERSIONS, 1)
    for plan in (draw(seed), whole(seed, rows=60, in_flight=0.2))
]
# A second look at column groups.
PLANS.append(pytest.param("2.6.19", draw(2), id="2.6.19-seed_2", marks=pytest.mark.thorough))


def _bucket(version: str, plan: Plan) -> str:
    return f"moment-{version}-{plan.name}".replace("_", "-")


@pytest.mark.feature(Feature.MOMENT)
@pytest.mark.parametrize(("version", "plan"), PLANS)
def test_a_backup_beside_writers_is_restored_as_everything_was_at_its_moment(
    ministack: Ministack, version: str, plan: Plan
) -> None:
    with ExitStack() as running:
        outcome = try_out(protocol_server(ministack, running, version, plan, _bucket(version, plan)), plan)

    assert outcome.is_right, str(outcome)
    assert outcome.operations, "nothing was written meanwhile"
    if outcome.rounds == 1:
        assert len(set(outcome.moments.values())) == 1


@pytest.mark.parametrize("version", ["2.2.16", "2.5.27"])
def test_the_log_of_writers_says_what_the_server_holds(ministack: Ministack, version: str) -> None:
    """Else it proves nothing about a backup."""
    targets = (Target("c0", shards=2, partitions=("_default", "p")), Target("c1", is_loaded=False))
    plan = Plan("log", 5, targets, "mixed", rows=30, in_flight=0.05)
    with ExitStack() as running:
        vault = protocol_server(ministack, running, version, plan, _bucket(version, plan))
        writer = Writer(vault.milvus, targets, "mixed", seed=5, clients=3)
        writer.make()
        writer.fill(plan.rows)
        with writer:
            writer.wait_for(80, most_seconds=10)
        found: dict[str, Restored] = {target.name: vault.rows(target.name) for target in targets}
    log = writer.log

    last = max(done.timestamp for done in log)
    ended = max(done.acknowledged for done in log)
    assert judge(log, found, dict.fromkeys(found, last), started=ended, ended=ended) == []
    assert len({done.kind for done in log}) == 3
    assert {done.number for done in log} == set(range(1, len(log) + 1))
