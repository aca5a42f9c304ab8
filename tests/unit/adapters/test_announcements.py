"""Metrics as CloudWatch reads them from the log."""

import json

import pytest

from milvus_vault.adapters.announcements import emit
from milvus_vault.model.events import Measure, MeasureUnit, Metric


def test_measures_become_one_line_with_their_dimensions(capsys: pytest.CaptureFixture[str]) -> None:
    measures = [
        Measure(Metric.RUN_DURATION, MeasureUnit.SECONDS, 12.5),
        Measure(Metric.RUNS_FAILED, MeasureUnit.COUNT, 0),
    ]
    emit(measures, stack="vault", kind="backup", schedule="none")
    line = json.loads(capsys.readouterr().out)
    (written,) = line["_aws"]["CloudWatchMetrics"]
    assert written["Namespace"] == "MilvusVault"
    assert [sorted(dimensions) for dimensions in written["Dimensions"]] == [["kind", "schedule", "service", "stack"]]
    assert written["Metrics"] == [
        {"Name": "RunDurationSeconds", "Unit": "Seconds"},
        {"Name": "RunsFailed", "Unit": "Count"},
    ]
    values = {name: line[name] for name in ("service", "stack", "kind", "schedule", "RunDurationSeconds", "RunsFailed")}
    assert values == {
        "service": "milvus-vault",
        "stack": "vault",
        "kind": "backup",
        "schedule": "none",
        "RunDurationSeconds": [12.5],
        "RunsFailed": [0.0],
    }


def test_dimensions_do_not_reach_the_next_measures(capsys: pytest.CaptureFixture[str]) -> None:
    measure = Measure(Metric.SCHEDULES_OVERDUE, MeasureUnit.COUNT, 1)
    emit([measure], stack="vault", schedule="nightly")
    emit([measure], stack="vault")
    _, last = capsys.readouterr().out.splitlines()
    (written,) = json.loads(last)["_aws"]["CloudWatchMetrics"]
    assert sorted(written["Dimensions"][0]) == ["service", "stack"]


def test_without_measures_nothing_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    emit([], stack="vault")
    assert capsys.readouterr().out == ""
