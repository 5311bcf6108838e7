"""`runs check`: every kind of damage is reported, and repaired without losing data."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from emrctl.aws.target import Target
from emrctl.metrics.eventlog import layout
from emrctl.runs import import_logs, lifecycle
from emrctl.runs.check import Problem, check
from emrctl.runs.index import RunIndex
from emrctl.runs.record import TrialFacts
from emrctl.runs.storage import LocalStorage, S3Storage
from emrctl.runs.store import RunFiles, Store
from emrctl.runs.workspace import Workspace
from emrctl.spec import ProjectSpec
from emrctl.spec.config import Config
from tests import facts
from tests.event_logs import SAMPLE
from tests.runs.command import emrctl
from tests.runs.damage import FIXED

RUN = replace(
    facts.RUN,
    id="20261120-101502123-svm-3f9a",
    state="COMPLETED",
    started="2026-11-20T10:15:02.000+00:00",
    ended="2026-11-20T10:16:02.000+00:00",
    step_id="s-1",
    settings={"executors": 2, "conf": {"spark.x": "1"}},
    arguments=("--scale", "1"),
    trial=TrialFacts(experiment="grid", cell="c", repeat=1),
)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(Config(ProjectSpec(project="pets"), tmp_path, {}))


@pytest.fixture
def files(workspace: Workspace) -> RunFiles:
    """A run with a record, tags and a result."""
    workspace.store.save(RUN)
    files = workspace.store.files(RUN.id)
    files.write_json("tags.json", {"author": "me"})
    files.write_json("result.json", {"accuracy": 0.5})
    return files


def path_of(files: RunFiles, name: str) -> Path:
    return Path(files.location(name))


def repair(workspace: Workspace) -> list[Problem]:
    """Repair the store, check that nothing is left to repair, and return the problems."""
    problems = list(check(workspace, repair=True))
    assert [item for item in check(workspace) if item.repair] == []
    return problems


def test_check_of_valid_store_finds_nothing(workspace: Workspace, files: RunFiles) -> None:
    (Path(workspace.store.storage.location("")) / "notes").mkdir()
    assert list(check(workspace)) == []


_VALID = {
    "tags.json": {"object", "NaN", "huge numbers", "digits"},
    "result.json": {"null", "list", "object", "NaN", "huge numbers", "digits", "UTF-16"},
}


@pytest.mark.parametrize("kind", sorted(FIXED))
@pytest.mark.parametrize("name", ["tags.json", "result.json"])
def test_check_renames_damaged_file(
    workspace: Workspace, files: RunFiles, name: str, kind: str
) -> None:
    FIXED[kind](path_of(files, name))
    content = None if kind in {"folder", "pipe", "link to itself"} else files.read(name)
    problems = repair(workspace)
    assert workspace.store.load(RUN.id).state == "COMPLETED"
    if kind in _VALID[name]:
        assert problems == []
        return
    [problem] = problems
    assert (problem.run, problem.file, problem.repaired) == (RUN.id, files.location(name), True)
    assert content is None or files.read(f"{name}.damaged") == content
    assert path_of(files, f"{name}.damaged").lstat()
    assert files.read(name) is None


def test_check_rebuilds_truncated_record_from_its_lines(
    workspace: Workspace, files: RunFiles
) -> None:
    body = files.read("run.json") or b""
    files.write("run.json", body[: body.index(b'"trial"')])
    [problem] = repair(workspace)
    assert (problem.repair, problem.repaired) == ("rebuild it from its readable keys", True)
    found = workspace.store.load(RUN.id)
    assert (found.state, found.settings, found.arguments) == (
        "COMPLETED",
        RUN.settings,
        RUN.arguments,
    )
    assert found.cluster == RUN.cluster
    assert found.trial is None
    assert "was damaged and repaired" in found.warnings[-1]
    assert files.read("run.json.damaged") is not None


@pytest.mark.parametrize(
    ("key", "value", "lost"),
    [
        ("settings", 5, "settings"),
        ("settings", {"conf": [1]}, "settings"),
        ("arguments", "--x", "arguments"),
        ("started", "yesterday", "started"),
        ("cluster", {"name": "main", "id": 7}, "cluster.id"),
        ("trial", {"experiment": "grid"}, "trial"),
        ("bucket", None, "bucket"),
    ],
)
def test_check_rebuilds_record_with_mistyped_key(
    workspace: Workspace, files: RunFiles, key: str, value: object, lost: str
) -> None:
    document = files.read_json("run.json") or {}
    files.write_json("run.json", {**document, key: value})
    [problem] = repair(workspace)
    assert problem.repaired
    found = workspace.store.load(RUN.id)
    assert lost in found.warnings[-1]
    changed = {"warnings": None, "tags": None, key: None}
    assert {**asdict(found), **changed} == {**asdict(RUN), **changed}


def test_check_with_lost_state_is_lost_until_observed(
    workspace: Workspace, files: RunFiles
) -> None:
    document = files.read_json("run.json") or {}
    files.write_json("run.json", {**document, "state": "EXPLODED"})
    repair(workspace)
    found = workspace.store.load(RUN.id)
    assert (found.state, found.inferred, found.settled) == ("LOST", True, False)


def test_check_rebuilds_record_from_index(
    workspace: Workspace, files: RunFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RunIndex, "SETTLED_S", -1e9)
    monkeypatch.setattr(RunIndex, "SLACK", 0)
    whole = workspace.store.all()
    path_of(files, "run.json").write_bytes(b"")
    [problem] = repair(workspace)
    assert problem.repair == "rebuild it from the index"
    assert workspace.store.all() == whole


@pytest.mark.parametrize("body", [None, b"", b"[" * 100_000])
def test_check_rebuilds_record_and_metrics_from_event_log(
    workspace: Workspace, body: bytes | None
) -> None:
    [item] = import_logs.import_files(workspace, layout.list_files(SAMPLE), remote=False)
    assert item.run is not None
    files = workspace.store.files(item.run.id)
    metrics = files.read("metrics.json")
    path_of(files, "run.json").unlink()
    if body is not None:
        path_of(files, "run.json").write_bytes(body)
    path_of(files, "metrics.json").write_bytes(b"{")
    problems = repair(workspace)
    assert {problem.repair for problem in problems} == {
        "rebuild it from the event log",
        "compute it from the event log again",
    }
    found = workspace.store.load(item.run.id)
    assert (found.state, found.application_id) == ("COMPLETED", item.run.application_id)
    assert files.read("metrics.json") == metrics
    assert lifecycle.describe(workspace, found)["metrics"] is not None


def test_check_keeps_valid_lines_of_samples(workspace: Workspace, files: RunFiles) -> None:
    files.write("nodes.jsonl", b'{"at_ms": 1}\n{"at_ms": "x"}\n{"at_ms": 3}\n{"at')
    [problem] = repair(workspace)
    assert problem.reason == "2 of 4 lines are not samples"
    assert files.read("nodes.jsonl") == b'{"at_ms": 1}\n{"at_ms": 3}\n'


def test_check_deletes_old_leftovers_only(workspace: Workspace, files: RunFiles) -> None:
    old, young = f".{'a' * 16}.part", f".{'b' * 16}.part"
    for name in (old, young):
        files.write(name, b"half")
    os.utime(path_of(files, old), (0, 0))
    [problem] = repair(workspace)
    assert (problem.reason, problem.file) == (
        "it is left over from an interrupted write",
        files.location(old),
    )
    assert not path_of(files, old).exists()
    assert path_of(files, young).exists()


def test_check_leaves_copies_and_newer_records(workspace: Workspace, files: RunFiles) -> None:
    """A copied folder would double the run, and only a newer emrctl understands its records."""
    document = files.read_json("run.json") or {}
    copy = workspace.store.files(f"{RUN.id}-copy")
    copy.write_json("run.json", document)
    newer = workspace.store.files("20261120-101502123-svm-0000")
    newer.write_json("run.json", {**document, "id": newer.run_id, "schema": 2, "state": {"x": 1}})
    problems = list(check(workspace, repair=True))
    assert [(item.run, item.repair, item.repaired) for item in problems] == [
        (newer.run_id, "", False),
        (copy.run_id, "", False),
    ]
    assert "a newer emrctl wrote it" in problems[0].reason
    assert [run.id for run in workspace.store.all()] == [RUN.id]


def test_set_aside_keeps_earlier_damaged_files(files: RunFiles) -> None:
    names = []
    for body in (b"1", b"2", b"3"):
        files.write("tags.json", body)
        names.append(files.set_aside("tags.json"))
    assert names == ["tags.json.damaged", "tags.json.damaged-2", "tags.json.damaged-3"]
    assert [files.read(name) for name in names] == [b"1", b"2", b"3"]


def test_check_repairs_store_on_s3(mocked: Target, workspace: Workspace) -> None:
    s3 = mocked.client("s3")
    s3.create_bucket(Bucket="pets-runs")
    workspace.__dict__["store"] = Store(S3Storage(s3, "pets-runs"))
    other = replace(RUN, id="20261120-101502123-svm-0001")
    for run in (RUN, other):
        workspace.store.save(run)
    files = workspace.store.files(RUN.id)
    body = files.read("run.json") or b""
    files.write("run.json", body[: body.index(b'"trial"')])
    files.write("tags.json", b"\xff")
    s3.put_object(Bucket="pets-runs", Key="runs/deleted/output/part-0", Body=b"")
    assert [run.id for run in workspace.store.all()] == [other.id]
    problems = list(check(workspace, repair=True))
    assert [Path(item.file).name for item in problems] == ["run.json", "tags.json"]
    assert problems[0].file == f"s3://pets-runs/runs/{RUN.id}/run.json"
    assert all(item.repaired for item in problems)
    assert list(check(workspace)) == []
    assert [run.id for run in Store(workspace.store.storage).all()] == [other.id, RUN.id]
    assert files.read("tags.json.damaged") == b"\xff"


def test_command_check_reports_and_repairs(
    workspace: Workspace, files: RunFiles, tmp_path: Path
) -> None:
    (tmp_path / "emrctl.yaml").write_text("project: pets\n")
    assert emrctl(tmp_path, "runs", "check") == (0, "", "No problems.\n")
    path_of(files, "tags.json").write_bytes(b"")
    found = emrctl(tmp_path, "runs", "check")
    assert found.code == 10
    assert "it is empty" in found.out
    assert "emrctl runs check --repair" in found.err
    assert emrctl(tmp_path, "runs", "check", "--repair").code == 0
    assert json.loads(emrctl(tmp_path, "runs", "check", "--json").out) == []


def test_local_storage_without_permission_names_file(
    workspace: Workspace, files: RunFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that may not be read is not damaged: it is neither renamed nor replaced."""

    def denied(path: str, flags: int) -> int:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("emrctl.runs.storage._open_without_waiting", denied)
    problems = list(check(workspace, repair=True))
    assert {(item.reason, item.repair) for item in problems} == {("Permission denied", "")}
    monkeypatch.undo()
    assert workspace.store.all() != []
    assert isinstance(workspace.store.storage, LocalStorage)
