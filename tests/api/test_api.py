"""The library against moto, with a fake runtime for steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from emrctl import api
from emrctl.aws.target import Target
from emrctl.errors import NotFoundError, UsageError
from emrctl.runs.record import Run
from emrctl.runs.store import RunFiles
from emrctl.runs.workspace import Workspace
from emrctl.spec import config
from tests.cost.works import metrics
from tests.emulator.fake_runtime import FakeRuntime
from tests.predict.logs import one_stage

YAML = "project: pets\ncluster: {core: {count: 2}}\njobs: {mine: {script: mine.py}}\n"


@pytest.fixture
def project(
    runtime: FakeRuntime, mocked: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    monkeypatch.setattr("emrctl.aws.target.emulator", lambda _region: mocked)
    (tmp_path / "emrctl.yaml").write_text(YAML)
    (tmp_path / "mine.py").write_text("print(1)")
    return tmp_path


def test_session_from_up_to_down_succeeds(project: Path) -> None:
    cluster = api.up(project=project, cluster__core__count=1)
    assert (cluster.cluster.state, cluster.cluster.spec.core_group.count) == ("WAITING", 1)
    assert list(cluster.frame()["role"]) == ["primary", "core"]
    assert "<td>WAITING" not in cluster._repr_html_()
    assert "main" in cluster._repr_html_()

    seen: list[Run] = []
    first = api.submit(
        "mine",
        "--x",
        "<b>",
        project=project,
        repeat=2,
        report=lambda run, _progress: seen.append(run),
        executors=1,
    )
    assert [run.state for run in first] == ["COMPLETED", "COMPLETED"]
    assert {run.id for run in seen} <= {run.id for run in first}
    assert first[0].arguments == ("--x", "<b>")
    second = api.submit("mine", project=project / "emrctl.yaml", executors=2)

    listed = api.runs(project=project)
    assert [run.id for run in listed] == [run.id for run in (*first, *second)]
    assert list(listed.frame()["executors"]) == [1, 1, 2]
    assert len(listed[1:]) == 2
    assert "COMPLETED" in listed._repr_html_()

    compared = api.compare(*listed, project=project)
    assert len(compared.comparison.configurations) == 2
    frame = compared.frame()
    durations = frame[frame["name"] == "duration_s"]["value"]
    assert [type(value) for value in durations] == [float, float]  # although others are texts
    assert "<table>" in compared._repr_html_()

    deleted = api.down(project=project)
    assert any(change.operation == "delete" for change in deleted.changes)


def test_submit_stops_repeating_after_a_failure(project: Path, runtime: FakeRuntime) -> None:
    api.up(project=project)
    runtime.on_step = lambda _args: (1, "", "ValueError: x")
    [run] = api.submit("mine", project=project, repeat=3)
    assert run.state == "FAILED"


def test_submit_takes_what_a_job_of_the_yaml_has(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DB_PWD", "hunter2-hunter2")
    (tmp_path / "helper.py").touch()
    api.up(project=project)
    [run] = api.submit(
        "mine",
        project=project,
        env={"MODE": "fast"},
        secrets=["DB_PWD"],
        py_files=[str(tmp_path / "helper.py")],
        tags={"why": "test"},
        check_output=["{run}/words"],
        executors=2,
    )
    assert run.tags == {"why": "test"}
    assert run.environment["MODE"] == "fast"
    assert "DB_PWD" in run.environment
    assert "hunter2" not in repr(run)
    assert any("helper" in uri for uri in run.code)
    assert run.settings["executors"] == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"executors": 0}, "executors: "),
        ({"executor": 2}, "executor: "),
        ({"tags": "slow"}, "tags: "),
    ],
)
def test_submit_refuses_settings_with_their_names(
    project: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        api.submit("mine", project=project, **options)
    assert "pydantic" not in str(caught.value)


def test_runs_frame_has_numbers_of_the_result(project: Path) -> None:
    api.up(project=project)
    [run] = api.submit("mine", project=project)
    files = Workspace(config.load(project / "emrctl.yaml")).store.files(run.id)
    files.write_json(RunFiles.RESULT, {"rows": 7, "name": "<x>"})
    listed = api.runs(project=project)
    assert list(listed.frame()["result.rows"]) == [7]


def test_predict_of_stored_event_log_has_a_row_per_count(project: Path) -> None:
    api.up(project=project)
    [run] = api.submit("mine", project=project)
    log = one_stage([1.0, 1.0, 1.0, 1.0], executors=(0.0, 0.0))
    files = Workspace(config.load(project / "emrctl.yaml")).store.files(run.id)
    lines = "".join(f"{json.dumps(line)}\n" for line in log.lines)
    files.write("app-1", lines.encode(), RunFiles.EVENT_LOG)
    predicted = api.predict(run, [1, 2, 4], project=project)
    assert list(predicted.frame()["executors"]) == [1, 2, 4]
    assert predicted.frame()["predicted_in_job_s"][0] > predicted.frame()["predicted_in_job_s"][1]
    assert "Observed with 2 executors" in predicted._repr_html_()


def test_tune_returns_the_configurations_the_best_first(project: Path) -> None:
    api.up(project=project)
    (project / "search.yaml").write_text(
        "name: search\njob: mine\nfactors: {executors: [1, 2]}\nrepeats: 1\n"
    )
    found = api.tune(str(project / "search.yaml"), project=project, runs=2, repeats=1)
    names = list(found.frame()["configuration"])
    assert names[0] == found.result.best
    assert len(names) == len({*names}) >= 2
    assert found.frame()["runs"].sum() >= 2
    assert "emrctl submit" in found._repr_html_()


def test_compare_of_unknown_experiment_raises_not_found(project: Path) -> None:
    with pytest.raises(NotFoundError, match="no completed run"):
        api.compare(project=project, experiment="absent")


def test_functions_without_project_name_the_missing_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"emrctl\.yaml"):
        api.runs()


def test_cost_has_a_row_per_option_with_assumptions(project: Path) -> None:
    api.up(project=project)
    [run] = api.submit("mine", project=project)
    files = Workspace(config.load(project / "emrctl.yaml", {})).store.files(run.id)
    files.write_json(RunFiles.METRICS, metrics().to_json())
    found = api.cost(run, project=project, spot_discount=0.5)
    assert len(found.frame()) == len(found.cost.options)
    assert any("50 % below" in text for text in found.frame()["assumptions"])
    assert "EMR Serverless" in found._repr_html_()
