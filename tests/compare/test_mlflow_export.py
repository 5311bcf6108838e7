"""Export to a real MLflow server, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emrctl.compare import mlflow_export
from emrctl.errors import UnavailableError
from emrctl.runs.record import Run, TrialFacts
from emrctl.runs.storage import LocalStorage
from emrctl.runs.store import RunFiles, Store
from emrctl.runs.workspace import Workspace
from emrctl.spec import ProjectSpec
from emrctl.spec.config import Config
from tests.facts import FACTS

SERVER = """
import sys
from mlflow.server import app
from werkzeug.serving import make_server
server = make_server("127.0.0.1", 0, app, threaded=True)
print(server.server_port, flush=True)
server.serve_forever()
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the address of an MLflow server with an empty database."""
    folder = tmp_path_factory.mktemp("mlflow")
    environment = {
        "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{folder}/runs.db",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": str(folder / "artifacts"),
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
    }
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", SERVER],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _run(run_id: str, **changes: Any) -> Run:
    facts: dict[str, Any] = {
        "id": run_id,
        "job": "svm",
        "project": "pets",
        "target": "aws",
        "identity": "aws",
        "bucket": "b",
        "cluster": FACTS,
        "created": "2026-11-20T10:00:00.000+00:00",
        "started": "2026-11-20T10:00:05.000+00:00",
        "ended": "2026-11-20T10:01:05.500+00:00",
        "state": "COMPLETED",
        "settings": {"executors": 4, "conf": {"spark.x": "é\N{SNOWMAN}"}},
        "tags": {"team": "vision"},
    }
    return Run(**{**facts, **changes})


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    found = Workspace(Config(ProjectSpec(project="pets"), tmp_path, {}))
    store = Store(LocalStorage(tmp_path / "runs"))
    found.__dict__["store"] = store
    trial = TrialFacts(experiment="allocation", cell="executors=4", repeat=1)
    for run in (_run("r-1", trial=trial), _run("r-2", state="FAILED", failure="ValueError: x")):
        store.save(run)
        store.files(run.id).write_json(RunFiles.RESULT, {"accuracy": 0.9, "by": {"7 é": 3}})
    return found


def test_export_writes_parameters_metrics_tags_and_files_once(
    workspace: Workspace, server: str
) -> None:
    from mlflow.tracking import MlflowClient

    runs = [*workspace.store.all(), _run("r-3", state="RUNNING", ended=None)]
    first, second = mlflow_export.export(workspace, runs, server)
    assert (first.run, second.run) == ("r-1", "r-2")
    client = MlflowClient(server)
    found = client.get_run(first.mlflow_run)
    assert client.get_experiment(found.info.experiment_id).name == "allocation"
    assert found.info.status == "FINISHED"
    assert found.info.end_time - found.info.start_time == 60_500
    assert found.data.params["executors"] == "4"
    assert found.data.params["conf.spark.x"] == "é\N{SNOWMAN}"
    assert found.data.metrics["duration_s"] == 60.5
    assert found.data.metrics["result.accuracy"] == 0.9
    assert found.data.tags["team"] == "vision"
    assert found.data.tags["emrctl.configuration"] == "executors=4"
    names = {item.path for item in client.list_artifacts(first.mlflow_run)}
    assert names == {"run.json", "result.json"}
    failed = client.get_run(second.mlflow_run)
    assert failed.info.status == "FAILED"
    assert failed.data.tags["emrctl.failure"] == "ValueError: x"

    again = list(mlflow_export.export(workspace, runs, server))
    assert [item.known for item in again] == [True, True]
    assert [item.mlflow_run for item in again] == [first.mlflow_run, second.mlflow_run]


def test_export_to_absent_server_names_the_address(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(UnavailableError, match=r"MLflow at http://127\.0\.0\.1:9"):
        list(mlflow_export.export(workspace, workspace.store.all(), "http://127.0.0.1:9"))
