"""The nightly examples: a GitHub Actions workflow and an Airflow DAG that call emrctl."""

from __future__ import annotations

import runpy
import shlex
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import pytest
import yaml

from emrctl.spec import config
from tests.test_language import parse_command

FOLDER = Path(__file__).parents[2] / "examples" / "nightly"
SEQUENCE = ["up", "experiment run nightly", "compare --experiment nightly", "down --yes"]


def _starts(commands: list[str]) -> list[str]:
    """Parse the commands; return the expected beginnings that they have, in their order."""
    for command in commands:
        parse_command(shlex.split(command)[1:])
    words = [command.removeprefix("emrctl ") for command in commands]
    return [start for word in words for start in SEQUENCE if word.startswith(start)]


def test_project_is_valid_and_experiment_has_configurations() -> None:
    project = config.load(FOLDER / "emrctl.yaml", {}).project
    assert len(project.experiments["nightly"].configurations) == 2
    assert project.cluster.ttl_s


def test_workflow_runs_the_sequence_and_always_deletes_the_cluster() -> None:
    workflow = yaml.safe_load((FOLDER / "nightly.yml").read_text())
    assert set(workflow) == {"name", True, "permissions", "concurrency", "jobs"}  # `on` is true
    [job] = workflow["jobs"].values()
    runs = [step for step in job["steps"] if step.get("run", "").startswith("emrctl")]
    assert _starts([step["run"] for step in runs]) == SEQUENCE
    assert [step.get("if") for step in runs if "down" in step["run"]] == ["always()"]
    assert all(("run" in step) != ("uses" in step) for step in job["steps"])
    assert "--fail-if" in next(step["run"] for step in runs if "compare" in step["run"])


class _Task:
    """A stand-in for BashOperator: records its order and whether it is a teardown."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.downstream: list[_Task] = []
        self.setups: _Task | None = None

    def __rshift__(self, other: _Task) -> _Task:
        self.downstream.append(other)
        return other

    def as_teardown(self, *, setups: _Task) -> Self:
        self.setups = setups
        return self


class _Dag:
    def __init__(self, **settings: Any) -> None:
        self.settings = settings

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return


def test_dag_runs_the_sequence_with_down_as_teardown(monkeypatch: pytest.MonkeyPatch) -> None:
    names = "airflow airflow.sdk airflow.providers airflow.providers.standard"
    names += " airflow.providers.standard.operators airflow.providers.standard.operators.bash"
    modules = {name: ModuleType(name) for name in names.split()}
    modules["airflow.sdk"].DAG = _Dag  # type: ignore[attr-defined]
    modules["airflow.providers.standard.operators.bash"].BashOperator = _Task  # type: ignore[attr-defined]
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    found = runpy.run_path(str(FOLDER / "airflow_dag.py"))
    task, commands = found["up"], [found["up"].settings["bash_command"]]
    while task.downstream:
        [task] = task.downstream
        commands.append(task.settings["bash_command"])
    assert _starts(commands) == SEQUENCE
    assert task.setups is found["up"]
    assert not found["dag"].settings["catchup"]
    assert found["dag"].settings["max_active_runs"] == 1
