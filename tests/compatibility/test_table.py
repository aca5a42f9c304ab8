"""The tables of docs/compatibility.md say what the tests have shown, and nothing else."""

import itertools

import pytest

from milvus_vault.errors import VersionUnsupportedError
from milvus_vault.model.versions import can_restore, check_target_version, parse_version
from tests.compatibility.features import VERSIONS, Feature, Section, from_version
from tests.compatibility.recording import REAL, REFUSED, TESTED, Shown, named
from tests.compatibility.table import (
    BEGIN,
    DOCUMENT,
    END,
    NOT_TESTED,
    Results,
    cell,
    problems,
    results_of,
    tables,
    with_tables,
)


def all_shown() -> dict[str, list[Shown]]:
    """Return what tests must show at least."""
    return {
        f"{feature.name} {version}": [(feature.name, version, REFUSED if version in feature.value.refused else TESTED)]
        for feature, version in itertools.product(Feature, VERSIONS)
        if feature.value.exists_in(version)
    }


def test_where_every_cell_was_shown_nothing_is_wrong_and_no_cell_is_empty() -> None:
    results = results_of(all_shown())
    assert list(problems(results)) == []
    assert NOT_TESTED not in tables(results)


def test_each_test_that_does_not_pass_is_missed() -> None:
    for test in all_shown():
        results = results_of({name: shown for name, shown in all_shown().items() if name != test})
        feature, _, version = test.partition(" ")
        assert list(problems(results)) == [f"{feature} has no test on {version}"]
        assert tables(results).count(NOT_TESTED) == 1


@pytest.mark.parametrize(
    ("shown", "message"),
    [
        ((Feature.NULLABLE.name, "2.4", TESTED), "NULLABLE is said not to exist on 2.4, and a test shows it"),
        ((Feature.ARRAYS.name, "2.2", REAL), "ARRAYS is said not to exist on 2.2, and a test shows it"),
        ((Feature.BACKUP_RBAC.name, "2.3", TESTED), "BACKUP_RBAC is said to be refused on 2.3, and a test passes"),
    ],
)
def test_a_test_that_shows_what_its_row_denies_is_told(shown: Shown, message: str) -> None:
    (found,) = problems(results_of(all_shown() | {"another": [shown]}))
    assert found.startswith(message)


def test_a_cell_says_how_a_feature_was_shown() -> None:
    def said(feature: Feature, version: str, *how: str) -> str:
        results: Results = {(feature.name, version): set(how)}
        return cell(results, feature, version)

    assert said(Feature.NULLABLE, "2.4") == "does not exist"
    assert said(Feature.NULLABLE, "2.5") == "not tested"
    assert said(Feature.NULLABLE, "2.5", TESTED) == "tested"
    assert said(Feature.ALIASES, "2.3", TESTED, REAL) == "tested (real)"
    assert said(Feature.BACKUP_RBAC, "2.3", TESTED) == "not tested"
    assert said(Feature.BACKUP_RBAC, "2.3", REFUSED) == "refused: `VersionUnsupportedError`"
    assert said(from_version("2.2"), "2.3", TESTED) == "tested with `allow_version`"


@pytest.mark.parametrize(("source", "target"), itertools.product(VERSIONS, VERSIONS))
def test_the_version_matrix_is_the_products(source: str, target: str) -> None:
    row = from_version(source).value
    backup, server = parse_version(f"v{source}.7"), parse_version(f"{target}.3-dev")
    assert (source > target) == (target in row.refused)
    if target in row.refused:
        for allow_version in (False, True):
            with pytest.raises(row.refused[target], match=f"{source}.* cannot be restored into Milvus {target}"):
                check_target_version(backup, server, allow_version=allow_version)
        return
    check_target_version(backup, server, allow_version=True)
    assert (target in row.needs) == (not can_restore(backup, server)) == (target < "2.4")
    if target in row.needs:
        with pytest.raises(
            VersionUnsupportedError, match=f"{source}.* into Milvus {target}.* not in the version matrix"
        ):
            check_target_version(backup, server, allow_version=False)


def test_only_what_is_between_the_marks_is_made_anew() -> None:
    document = f"before\n{BEGIN}old\n{END}after\n"
    assert with_tables(document, "new\n") == f"before\n{BEGIN}new\n\n{END}after\n"


def test_the_document_has_the_marks_and_all_tables() -> None:
    document = DOCUMENT.read_text()
    assert (document.count(BEGIN), document.count(END)) == (1, 1)
    assert [section for section in Section if f"### {section}\n" not in document] == []


@pytest.mark.parametrize(
    ("marker", "parameters", "expected"),
    [
        (pytest.mark.feature(Feature.FLUSH), {"version": "2.4.23"}, ["2.4"]),
        (pytest.mark.feature(Feature.FLUSH, parameter="target"), {"version": "2.4.23", "target": "2.5"}, ["2.5"]),
        (pytest.mark.feature(Feature.FLUSH, version="2.6"), {}, ["2.6"]),
        (pytest.mark.feature(Feature.FLUSH, version=("2.5", "2.6")), {}, ["2.5", "2.6"]),
        (pytest.mark.feature(Feature.FLUSH, version=("2.5", "2.6")), {"version": "2.6.19"}, ["2.6"]),
        (pytest.mark.feature(Feature.FLUSH, version=("2.5", "2.6")), {"version": "2.4.23"}, []),
        (pytest.mark.feature(Feature.FLUSH, since="2.5"), {"version": "2.4.23"}, []),
        (pytest.mark.feature(Feature.FLUSH, since="2.5"), {"version": "2.5.27"}, ["2.5"]),
        (pytest.mark.feature(Feature.FLUSH, since="2.5"), {"version": "2.6.19"}, ["2.6"]),
    ],
)
def test_a_marker_is_of_the_version_that_the_test_runs_with(
    marker: pytest.MarkDecorator, parameters: dict[str, object], expected: list[str]
) -> None:
    assert named(marker.mark, parameters, "") == [(Feature.FLUSH, version) for version in expected]


def test_a_test_on_the_real_server_is_of_its_version() -> None:
    assert named(pytest.mark.feature(Feature.FLUSH).mark, {}, "2.3") == [(Feature.FLUSH, "2.3")]


@pytest.mark.parametrize(
    "marker",
    [
        pytest.mark.feature(version="2.6"),
        pytest.mark.feature(Feature.FLUSH),
        pytest.mark.feature(Feature.FLUSH, version="3.0"),
        pytest.mark.feature(Feature.FLUSH, since="2.5"),
        pytest.mark.feature(Feature.FLUSH, version="2.6", since="3.0"),
        pytest.mark.feature("FLUSH", version="2.6"),
    ],
)
def test_a_marker_that_says_no_feature_or_no_version_is_refused(marker: pytest.MarkDecorator) -> None:
    with pytest.raises(ValueError, match="marker 'feature'"):
        named(marker.mark, {}, "")
