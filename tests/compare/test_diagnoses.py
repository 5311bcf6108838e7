"""Findings of configurations."""

from __future__ import annotations

from pathlib import Path

from emrctl.compare import diagnoses
from emrctl.compare.records import RunRecord
from emrctl.metrics.eventlog import reader

LOGS = Path(__file__).parents[1] / "metrics" / "findings" / "logs"


def _record(name: str, run_id: str = "r1", **limits: float) -> RunRecord:
    [path] = LOGS.glob(f"{name}.*")
    return RunRecord(id=run_id, metrics=reader.read_path(path), limits=limits)


def test_of_runs_uses_thresholds_of_the_project() -> None:
    usual = diagnoses.of_runs([_record("data_skew.ill")])
    assert "data_skew" in usual.kinds
    raised = diagnoses.of_runs([_record("data_skew.ill", skew_ratio=1e6)])
    assert "data_skew" not in raised.kinds


def test_changes_names_what_only_one_side_has() -> None:
    ill, well = (diagnoses.of_runs([_record(f"data_skew.{word}")]) for word in ("ill", "well"))
    changes = diagnoses.changes(well, ill)
    assert "data_skew" in {item.kind for item in changes.appeared}
    assert "data_skew" in {item.kind for item in diagnoses.changes(ill, well).disappeared}
