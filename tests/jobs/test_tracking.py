"""Results of jobs on MLflow, in a file store of its own."""

import argparse
from pathlib import Path
from typing import Any

import pytest

from common import job, tracking
from common.job import JobLog

RESULT = {
    "job": "logreg",
    "arguments": {"rows": 100, "input": None},
    "steps_s": {"read": 0.5, "extract and export": 2.0},
    "total_s": 3.25,
    "figures": {
        "accuracy": 0.9,
        "losses": [0.7, 0.4],
        "mllib": {"loss": 0.3},
        "top": [{"word": "a", "count": 3}],
        "kind": "text",
        "nothing": None,
    },
}


def test_points_are_numbers_by_dotted_name_and_lists_are_steps() -> None:
    assert list(tracking.points(RESULT)) == [
        ("total_s", 3.25, 0),
        ("step_s.read", 0.5, 0),
        ("step_s.extract and export", 2.0, 0),
        ("accuracy", 0.9, 0),
        ("losses", 0.7, 0),
        ("losses", 0.4, 1),
        ("mllib.loss", 0.3, 0),
    ]


class _Files:
    """Files of a job in memory, of one application."""

    application_id = "application_1_0001"

    def __init__(self) -> None:
        self.written: dict[str, bytes] = {}

    def write(self, path: str, content: bytes) -> None:
        self.written[path] = content


def _write_result(*, final: bool) -> _Files:
    files: Any = _Files()
    log = JobLog("logreg")
    args = argparse.Namespace(output="o", rows=100)
    log.write_result(files, args, {"accuracy": 0.9, "losses": [0.7, 0.4]}, final=final)
    found: _Files = files
    return found


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the address of an empty MLflow file store, which MLFLOW_TRACKING_URI names."""
    uri = (tmp_path / "mlruns").as_uri()

    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # a database takes 25 s to create
    return uri


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_final_result_becomes_a_run_of_mlflow(store: str) -> None:
    from mlflow import MlflowClient

    assert "o/result.json" in _write_result(final=False).written
    assert "o/result.json" in _write_result(final=True).written
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("logreg")
    assert experiment is not None
    [run] = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params == {"output": "o", "rows": "100"}
    assert run.data.metrics["accuracy"] == 0.9
    assert [m.value for m in client.get_metric_history(run.info.run_id, "losses")] == [0.7, 0.4]
    assert run.data.tags["spark.app.id"] == "application_1_0001"
    assert [item.path for item in client.list_artifacts(run.info.run_id)] == ["result.json"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_result_is_written_if_mlflow_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert "o/result.json" in _write_result(final=True).written
    assert "logreg: warning: MLflow: " in capsys.readouterr().err


def test_run_job_requires_mlflow_before_spark_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert job.run_job("logreg", (), lambda _spark, _log: None) == 2
    assert (
        "install them on every node: bootstrap/python.sh mlflow-skinny" in capsys.readouterr().err
    )
