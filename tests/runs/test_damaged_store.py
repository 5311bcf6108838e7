"""Damaged files of one run: no command fails with a traceback or loses another run."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emrctl.metrics.eventlog import layout
from emrctl.runs import import_logs
from emrctl.runs.record import Run, TrialFacts
from emrctl.runs.store import RunFiles, Store
from emrctl.runs.workspace import Workspace
from emrctl.spec import config
from tests import facts
from tests.event_logs import RECORDED, SAMPLE
from tests.runs.command import emrctl
from tests.runs.damage import DAMAGES, Damage

FILES = ("run.json", "metrics.json", "tags.json", "result.json", "yarn.json", "nodes.jsonl")
VICTIM = "20261120-100000000-svm-aaaa"
OTHERS = ("20261120-100001000-svm-bbbb", "20261120-100002000-svm-cccc")
EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", "25"))
ALLOWED = {0, 1, 2, 3, 6, 8, 9, 10}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with three equal runs that have every file."""
    root = tmp_path_factory.mktemp("template")
    (root / "emrctl.yaml").write_text("project: pets\n")
    workspace = Workspace(config.load(root / "emrctl.yaml"))
    for log in (SAMPLE, RECORDED / "idle_executors.ill.zstd"):
        list(import_logs.import_files(workspace, layout.list_files(log), remote=False))
    source = workspace.store.files(workspace.store.ids()[-1])
    for number, run_id in enumerate((VICTIM, *OTHERS)):
        _fill(workspace.store, run_id, number, source)
    for path in (root / ".emrctl" / "runs").rglob("*"):
        os.utime(path, (1_795_000_000, 1_795_000_000))
    return root


def _fill(store: Store, run_id: str, number: int, source: RunFiles) -> None:
    files = store.files(run_id)
    for name in source.names(RunFiles.EVENT_LOG):
        files.write(name, source.read(name, RunFiles.EVENT_LOG) or b"", RunFiles.EVENT_LOG)
    metrics = source.read_json("metrics.json") or {}
    files.write_json("metrics.json", metrics)
    files.write_json("tags.json", {"author": "me"})
    files.write_json("result.json", {"accuracy": 0.5 + number, "rows": {"train": 2}})
    account = {"application_id": metrics["app_id"], "state": "FINISHED", "memory_mb_seconds": 1}
    node = {"id": "n1", "state": "RUNNING", "memory_used_mb": 1024, "cpu_used_cores": 1.5}
    cluster = {"apps_submitted": 1, "nodes": [node], "queues": [{"name": "default"}]}
    files.write_json("yarn.json", {"application": account, "cluster": cluster})
    lines = (json.dumps({"at_ms": at, "nodes": [node]}) for at in (1000, 2000, 3000))
    files.write("nodes.jsonl", "\n".join(lines).encode())
    files.write_json("run.json", {"schema": 1, **asdict(_run(run_id, number))}, indent=1)


def _run(run_id: str, number: int) -> Run:
    return replace(
        facts.RUN,
        id=run_id,
        state="COMPLETED",
        created="2026-11-20T10:00:00.000+00:00",
        started="2026-11-20T10:00:01.000+00:00",
        ended=f"2026-11-20T10:00:3{number}.000+00:00",
        step_id="s-1",
        settings={"executors": 2, "conf": {"spark.x": "1"}},
        arguments=("--scale", "1"),
        environment={"LEVEL": "1"},
        code=("s3://b/emrctl/code/abc/svm.py",),
        trial=TrialFacts(experiment="grid", cell=f"c{number % 2}", repeat=1 + number // 2),
        application_id="local-1795797558469",
    )


@pytest.fixture
def project(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMRCTL_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return _copy(template, tmp_path / "project")


def _copy(template: Path, root: Path) -> Path:
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(template, root)
    return root


COMMANDS = (
    ("runs",),
    ("runs", "--json"),
    ("runs", "show", VICTIM),
    ("runs", "show", VICTIM, "--json"),
    ("runs", "show", "bbbb", "--json"),
    ("compare", "--experiment", "grid"),
    ("compare", "aaaa", "bbbb", "cccc", "--json"),
    ("advise", VICTIM),
    ("metrics", VICTIM),
    ("predict", VICTIM, "--executors", "1,2"),
    ("predict", "bbbb", "--executors", "1,2"),
    ("top", VICTIM, "--once"),
    (
        "runs",
        "query",
        "select run, duration_s, result, tags from runs order by run",
        "--json",
    ),
    ("runs", "query", "select count(*) from findings join stages using (run)"),
)


def assert_isolated(root: Path) -> None:
    """Check that every command works, and that the other runs are as they were."""
    for command in COMMANDS:
        answer = emrctl(root, *command)
        assert answer.code in ALLOWED, (command, answer)
        words = " ".join(command)
        if words == "runs show bbbb --json":
            assert json.loads(answer.out)["result"]["accuracy"] == 1.5
        if words == "runs --json":
            listed = {item["id"]: item["state"] for item in json.loads(answer.out)}
            assert {listed[run_id] for run_id in OTHERS} == {"COMPLETED"}
        if "order by" in words:
            rows = {row["run"]: row for row in json.loads(answer.out)}
            for number, run_id in enumerate(OTHERS, start=1):
                assert rows[run_id]["duration_s"] == 29 + number
                assert json.loads(rows[run_id]["tags"]) == {"author": "me"}


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(name=st.sampled_from(FILES), damage=DAMAGES)
def test_commands_with_mutated_file_of_one_run_keep_the_others(
    project: Path, template: Path, name: str, damage: Damage
) -> None:
    _copy(template, project)
    damage(project / ".emrctl" / "runs" / VICTIM / name)
    assert_isolated(project)
    before = {path.name for path in (project / ".emrctl" / "runs" / VICTIM).iterdir()}
    repaired = json.loads(emrctl(project, "runs", "check", "--repair", "--json").out)
    left = json.loads(emrctl(project, "runs", "check", "--json").out)
    assert [item for item in left if item["repair"]] == []
    assert all(item["run"] in {VICTIM, ""} for item in [*repaired, *left])
    after = {path.name for path in (project / ".emrctl" / "runs" / VICTIM).iterdir()}
    kept = {name.partition(".damaged")[0] for name in after}
    assert before <= kept
    assert_isolated(project)
