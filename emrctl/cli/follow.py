"""Following a run from the terminal: its progress live, Ctrl-C answered with a choice."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from emrctl.cli import options, render
from emrctl.cli.render import runs as show
from emrctl.errors import StepFailedError
from emrctl.runs import experiments, lifecycle

if TYPE_CHECKING:
    from rich.status import Status

    from emrctl.clusters.model import Cluster
    from emrctl.runs.progress import Progress
    from emrctl.runs.store import Run
    from emrctl.runs.workspace import Workspace
    from emrctl.spec import ExperimentSpec


@dataclass(frozen=True)
class Way:
    """How a submission is followed: how often it runs, for how long it is watched, if at all."""

    repeat: int = 1
    timeout_s: float | None = None
    detach: bool = False


def submit(workspace: Workspace, order: lifecycle.Order, way: Way) -> list[Run]:
    """The order's runs, finished unless `way` is to detach; told on stderr as they go."""
    place = workspace.cluster()
    found = []
    for _ in range(way.repeat):
        run = lifecycle.submit(workspace, order, place)
        show.note_submitted(workspace, run)
        found.append(run if way.detach else wait(workspace, run, way.timeout_s))
        if found[-1].state not in {"COMPLETED", "PENDING"}:
            break
    return found


def wait(workspace: Workspace, run: Run, timeout_s: float | None = None) -> Run:
    """The run, finished; Ctrl-C asks whether to cancel its step or only to stop watching."""
    with _display() as display:
        try:
            run = lifecycle.wait(workspace, run, display.show, timeout_s)
        except KeyboardInterrupt:
            display.pause()
            run = _interrupted(workspace, run)
    show.note_finished(run)
    return run


def exit_with(found: Sequence[Run]) -> None:
    """Nothing where every run went well; `StepFailedError` names the first that did not."""
    for run in found:
        if run.finished and run.state != "COMPLETED":
            log = f" Whole log: {run.failure_log}." if run.failure_log else ""
            raise StepFailedError(
                f"run {run.id} is {run.state}: {run.failure or 'no log says why'}",
                hint=f"Read on with `emrctl logs {run.id}`.{log}",
            )


def _interrupted(workspace: Workspace, run: Run) -> Run:
    run = workspace.store.load(run.id)
    if sys.stdin.isatty() and typer.confirm("\nCancel the step (no: only stop watching)?"):
        cancelled = lifecycle.cancel(workspace, run)
        typer.echo("Waiting for the step to end.", err=True)
        return lifecycle.wait(workspace, cancelled, lambda _run, _progress: None)
    typer.echo(
        f"\nThe step goes on. Watch it again with `emrctl wait {run.id}`, ", err=True, nl=False
    )
    typer.echo(f"end it with `emrctl cancel {run.id}`.", err=True)
    raise typer.Exit(options.INTERRUPTED)


class Display:
    """One line that changes on a terminal; elsewhere a line for every new state."""

    def __init__(self, status: Status | None) -> None:
        self._status = status
        self._began = time.monotonic()
        self._said = ""

    def show(self, run: Run, progress: Progress) -> None:
        """The run's state and figures are on the screen."""
        if self._status is not None:
            seconds = time.monotonic() - self._began
            self._status.update(f"{show.progress_line(run, progress)}  {seconds:.0f} s")
        elif run.state != self._said:
            typer.echo(f"  {run.state.lower()}", err=True)
        self._said = run.state

    def pause(self) -> None:
        """The line is gone, so that a question can be asked."""
        if self._status is not None:
            self._status.stop()


@contextmanager
def _display() -> Iterator[Display]:
    if not sys.stderr.isatty():
        yield Display(None)
        return
    with render.errors().status("submitting") as status:
        yield Display(status)


def trials(workspace: Workspace, spec: ExperimentSpec, place: Cluster) -> experiments.Runner:
    """What runs a trial of `spec` on `place`, told as it goes."""

    def run(trial: experiments.Trial, unfinished: Run | None) -> Run:
        facts = trial.facts
        heading = f"Trial {trial.number} of {trial.total}: {facts.cell}"
        render.note(f"{heading} (repeat {facts.repeat})")
        if unfinished is None:
            unfinished = lifecycle.submit(workspace, experiments.order(spec, trial), place)
            show.note_submitted(workspace, unfinished)
        return wait(workspace, unfinished)

    return run


def exit_with_experiment(name: str, found: Sequence[Run]) -> None:
    """Nothing where every trial went well; `StepFailedError` counts those that did not."""
    failed = sum(item.state != "COMPLETED" for item in found)
    if failed:
        raise StepFailedError(
            f"experiment '{name}': {failed} of {len(found)} trials did not complete",
            hint=f"Why: `emrctl runs`. `emrctl experiment run {name}` keeps what completed.",
        )
