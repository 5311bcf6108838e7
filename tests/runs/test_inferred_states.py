"""States that were inferred are corrected by what the cluster reports; phases are stepped through.

A client that is suspended (SIGSTOP, closed lid) is a client whose next action happens later: the
tests do what other clients do in between.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from emrctl.errors import EmrctlError, NotFoundError, UnavailableError
from emrctl.runs import lifecycle
from emrctl.runs.backends.base import Step, StepState
from emrctl.runs.record import Run
from emrctl.runs.submission import Submission, submit
from emrctl.spec import ProjectSpec
from tests.runs.fake_cluster import START, FakeWorkspace, without_uploads


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[FakeWorkspace]:
    """A cluster on which a run without a step counts as lost at once."""
    with without_uploads():
        yield FakeWorkspace(ProjectSpec(project="pets"), tmp_path)


def stored(workspace: FakeWorkspace, run: Run) -> Run:
    """Return the record as another client reads it."""
    return workspace.store.load(run.id)


def test_submit_suspended_before_its_step_replaces_lost(workspace: FakeWorkspace) -> None:
    """Another client's listing marks the run as lost; then the first client continues."""
    listed = list[Run]()

    def suspended() -> None:
        if not listed:
            listed.extend(lifecycle.refresh_all(workspace))

    workspace.fake.event = suspended
    run = submit(workspace, Submission(job="wordcount"))
    assert [(item.state, item.inferred, item.step_id) for item in listed] == [("LOST", True, None)]
    assert (stored(workspace, run).state, stored(workspace, run).step_id) == ("PENDING", "s-0")
    done = lifecycle.refresh(workspace, stored(workspace, run))
    assert (done.state, done.inferred, done.failure) == ("COMPLETED", False, None)
    assert stored(workspace, run) == done


def test_submit_killed_after_its_step_was_added_is_found_by_name(workspace: FakeWorkspace) -> None:
    """The record is LOST, the step runs, and no client knows its id."""
    run = submit(workspace, Submission(job="wordcount"))
    lost = replace(run, step_id=None, state="LOST", inferred=True, failure="not submitted")
    workspace.store.save(lost)
    [found] = lifecycle.refresh_all(workspace)
    assert (found.state, found.step_id, found.failure) == ("COMPLETED", "s-0", None)
    assert found.duration_s == 10
    assert stored(workspace, run) == found


def test_listing_suspended_before_it_stores_lost_keeps_later_step(
    workspace: FakeWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listing finds no step; the submission adds it; the listing continues."""
    run = submit(workspace, Submission(job="wordcount"))
    old = replace(run, step_id=None, state="SUBMITTING")
    monkeypatch.setattr(workspace.fake, "find", lambda _name: None)
    assert lifecycle.refresh(workspace, old) == run
    assert stored(workspace, run) == run


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED"])
def test_refresh_of_lost_run_stores_observed_state(
    workspace: FakeWorkspace, monkeypatch: pytest.MonkeyPatch, state: StepState
) -> None:
    run = submit(workspace, Submission(job="wordcount"))

    def missing(_step_id: str) -> Step:
        raise NotFoundError("no such step")

    monkeypatch.setattr(workspace.fake, "step", missing)
    lost = lifecycle.refresh(workspace, run)
    assert (lost.state, lost.inferred, lost.failure) == (
        "LOST",
        True,
        "its cluster has no such step",
    )
    assert lifecycle.refresh(workspace, lost) == lost
    step = Step(id="s-0", name=run.step_name, state=state, started=START)
    monkeypatch.setattr(workspace.fake, "step", lambda _step_id: step)
    found = lifecycle.refresh(workspace, lost)
    assert (found.state, found.inferred, found.failure) == (state, False, None)
    assert stored(workspace, run) == found


def test_refresh_of_run_of_restarted_emulator_stores_observed_state(
    workspace: FakeWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = submit(workspace, Submission(job="wordcount"))
    target = workspace.target
    workspace.__dict__["target"] = replace(target, identity="another")
    assert lifecycle.refresh(workspace, run).failure == "its emulator was stopped"
    workspace.__dict__["target"] = target
    assert lifecycle.refresh(workspace, stored(workspace, run)).state == "COMPLETED"


def test_interrupted_by_inference_is_replaced_by_observed_end(
    workspace: FakeWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cluster is terminated while EMR still reports the step as running."""
    run = submit(workspace, Submission(job="wordcount"))
    cut = Step(
        id="s-0", name=run.step_name, state="INTERRUPTED", started=START, ended=START, inferred=True
    )
    monkeypatch.setattr(workspace.fake, "step", lambda _step_id: cut)
    interrupted = lifecycle.refresh(workspace, run)
    assert (interrupted.state, interrupted.inferred) == ("INTERRUPTED", True)
    assert lifecycle.refresh(workspace, interrupted) == interrupted
    monkeypatch.undo()
    [found] = lifecycle.refresh_all(workspace)
    assert (found.state, found.inferred, found.duration_s) == ("COMPLETED", False, 10)


def test_observed_end_is_not_replaced_by_stale_client(workspace: FakeWorkspace) -> None:
    run = submit(workspace, Submission(job="wordcount"))
    done = lifecycle.refresh(workspace, run)
    for stale in (run, replace(run, state="LOST", inferred=True), replace(run, state="FAILED")):
        workspace.store.save(stale)
        assert stored(workspace, run) == done


@pytest.mark.parametrize("error", [UnavailableError("throttled"), EmrctlError("rejected")])
def test_refresh_of_lost_run_returns_it_if_cluster_does_not_respond(
    workspace: FakeWorkspace, monkeypatch: pytest.MonkeyPatch, error: EmrctlError
) -> None:
    run = submit(workspace, Submission(job="wordcount"))
    lost = replace(run, state="LOST", inferred=True)
    workspace.store.save(lost)

    def failing(_step_id: str) -> Step:
        raise error

    monkeypatch.setattr(workspace.fake, "step", failing)
    assert lifecycle.refresh(workspace, lost) == lost


def test_refresh_all_keeps_other_runs_if_one_cluster_fails(
    workspace: FakeWorkspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first = submit(workspace, Submission(job="wordcount"))
    other = submit(workspace, Submission(job="wordcount"))
    broken = replace(other, cluster=replace(other.cluster, id="j-broken"))
    workspace.store.save(broken)
    adapter = workspace.adapter("j-1")

    class Failing:
        def backend(self, cluster: object) -> object:
            raise EmrctlError("EMR rejected list_steps on j-broken")

    monkeypatch.setattr(
        FakeWorkspace, "adapter", lambda _self, id_: Failing() if id_ == "j-broken" else adapter
    )
    states = {run.id: run.state for run in lifecycle.refresh_all(workspace)}
    assert states == {first.id: "COMPLETED", broken.id: "PENDING"}
    assert "j-broken" in caplog.text


def test_refresh_all_leaves_old_and_observed_states(
    workspace: FakeWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listing looks again for recent inferred states only; a single run is always looked for."""
    run = submit(workspace, Submission(job="wordcount"))
    lost = replace(run, state="LOST", inferred=True)
    old = replace(lost, id=f"{run.id[:-4]}aaaa", created="2026-01-01T00:00:00+00:00")
    recent = replace(lost, created=datetime.now(UTC).isoformat())
    for item in (old, recent):
        workspace.store.save(item)
    states = {item.id: item.state for item in lifecycle.refresh_all(workspace)}
    assert states == {old.id: "LOST", recent.id: "COMPLETED"}
    assert lifecycle.refresh(workspace, old).state == "COMPLETED"
