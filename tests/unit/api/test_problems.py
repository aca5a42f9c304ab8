from http import HTTPStatus

import pytest

from milvus_vault.api.problems import STATUS_BY_ERROR, internal_problem, problem_of
from milvus_vault.errors import BackupNotFoundError, VaultError
from tests.template.loading import leaves


def test_every_error_has_one_status() -> None:
    assert {leaf.__name__ for leaf in STATUS_BY_ERROR} == leaves().keys()


@pytest.mark.parametrize("leaf", leaves().values(), ids=lambda leaf: leaf.__name__)
def test_a_retryable_error_says_that_the_same_request_may_work_later(leaf: type[VaultError]) -> None:
    if leaf.retryable and leaf.__name__ != "CopyUnfinishedError":
        assert STATUS_BY_ERROR[leaf] == HTTPStatus.SERVICE_UNAVAILABLE


def test_a_problem_has_the_name_the_sentence_the_message_and_the_hint() -> None:
    problem = problem_of(BackupNotFoundError("there is no backup 'a'", hint="Look again."), "4f1c")
    assert problem.error == "BackupNotFoundError"
    assert problem.title == "No backup of this name: its commit marker is not there."
    assert (problem.status, problem.detail, problem.hint) == (404, "there is no backup 'a'", "Look again.")
    assert (problem.type, problem.instance) == ("urn:milvus-vault:error:BackupNotFoundError", "urn:uuid:4f1c")


def test_a_fault_tells_nothing_of_the_inside() -> None:
    problem = internal_problem("4f1c")
    assert (problem.status, problem.error) == (500, "InternalFault")
    assert problem.detail == "the request could not be answered"
