"""Each error has one exit code, and the document of the command line says the same."""

from milvus_vault.cli.exit_codes import CODES, ExitCode, code_of
from milvus_vault.errors import VaultError


def test_each_leaf_has_an_exit_code_and_nothing_else_has() -> None:
    assert set(CODES) == {leaf.__name__ for leaf in VaultError.__subclasses__()}


def test_no_error_exits_as_if_all_were_well() -> None:
    assert {ExitCode.OK, ExitCode.INTERRUPTED}.isdisjoint(CODES.values())


def test_a_name_of_step_functions_is_a_failure() -> None:
    assert code_of("States.Timeout") is ExitCode.FAILED
