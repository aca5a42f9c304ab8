"""A real Milvus is backed up while a client upserts a whole collection, again and again: no row is lost by it.

Each upsert deletes all rows and writes them anew: a backup with the deletes of one and without its rows would be empty.
"""

import pytest

from local.stack import LocalStack
from tests.moments import WHOLE_KEYS, Deployed, Plan, draw, try_out, whole


@pytest.mark.parametrize("plan", [whole(1), draw(2)], ids=lambda plan: plan.name)
def test_what_is_written_meanwhile_is_restored_as_it_was_at_one_moment(stack: LocalStack, plan: Plan) -> None:
    outcome = try_out(Deployed(stack), plan)

    assert outcome.is_right, str(outcome)
    assert outcome.operations, "nothing was written meanwhile"
    if plan.profile == "whole":
        assert outcome.keys == WHOLE_KEYS
