"""A real Milvus is backed up while a client upserts a whole collection, again and again: no row is lost by it.

Each upsert deletes all rows and writes them anew: a backup with the deletes of one and without its rows would be empty.
"""

import pytest

from local.stack import LocalStack
from tests.compatibility.features import Feature
from tests.moments import WHOLE_KEYS, Deployed, try_out, whole


@pytest.mark.feature(Feature.MOMENT)
def test_a_collection_that_is_upserted_as_a_whole_is_restored_as_one_upsert_left_it(stack: LocalStack) -> None:
    outcome = try_out(Deployed(stack), whole(1))

    assert outcome.is_right, str(outcome)
    assert outcome.operations, "nothing was written meanwhile"
    assert outcome.keys == WHOLE_KEYS
