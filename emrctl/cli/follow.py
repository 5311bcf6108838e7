"""Following of runs in the terminal: live progress, and a choice on Ctrl-C."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from emrctl.cli import options, render
from emrctl.cli.render import runs as show
from emrctl.errors import StepFailedError
from emrctl.runs import lifecycle
from emrctl.runs import submission as submitting

if TYPE_CHECKING:
    from rich.status import Status

    from emrctl.runs.progress import Progress
    from emrctl.runs.record import Run
    from emrctl.runs.workspace import Workspace


def submit(
    workspace: Workspace,
    submission: submitting.Submission,
    repeat: int = 1,
    *,
    timeout_s: float | None = None,
    detach: bool = False,
) -> list[Run]:
    """Submit a job `repeat` times, each after the last has completed, and return the runs.

    With `detach` do not wait for them.
    """
    if submission.settings.requirements:
        render.note(f"Preparing the packages of {submission.settings.requirements}.")

    def follow(run: Run) -> Run:
        show.note_submitted(workspace, run)
        return run if detach else wait(workspace, run, timeout_s)

    return submitting.submit_repeatedly(workspace, submission, repeat, follow)


def wait(workspace: Workspace, run: Run, timeout_s: float | None = None) -> Run:
    """Wait for a run; on Ctrl-C ask whether to cancel its step or only to stop waiting."""
    printed = len(run.warnings)
    with _display() as display:
        try:
            run = lifecycle.wait(workspace, run, display.update, timeout_s)
        except KeyboardInterrupt:
            display.stop()
            run = _interrupted(workspace, run)
    show.note_finished(run, printed)
    return run


def raise_for_state(runs: Sequence[Run]) -> None:
    """Raise `StepFailedError` for the first run that finished without completing."""
    for run in runs:
        if run.finished and run.state != "COMPLETED":
            log = f" Full log: {run.failure_log}." if run.failure_log else ""
            cause = run.failure or (
                "by the user" if run.state == "CANCELLED" else "no cause in logs"
            )
            raise StepFailedError(
                f"run {run.id} is {run.state}: {cause}",
                hint=f"Print its logs with `emrctl logs {run.id}`.{log}",
            )


def _interrupted(workspace: Workspace, run: Run) -> Run:
    run = workspace.store.load(run.id)
    if sys.stdin.isatty() and typer.confirm("\nCancel the step (no: only stop waiting)?"):
        cancelled = lifecycle.cancel(workspace, run)
        typer.echo("Waiting for the step to end.", err=True)
        return lifecycle.wait(workspace, cancelled, lambda _run, _progress: None)
    typer.echo(
        f"\nThe step continues. Wait for it with `emrctl wait {run.id}`, "
        f"cancel it with `emrctl cancel {run.id}`.",
        err=True,
    )
    raise typer.Exit(options.INTERRUPTED)


class ProgressDisplay:
    """One live line on a terminal, otherwise one line per state."""

    def __init__(self, status: Status | None) -> None:
        self._status = status
        self._start = time.monotonic()
        self._state = ""

    def update(self, run: Run, progress: Progress) -> None:
        """Show the state and the progress of the run."""
        if self._status is not None:
            seconds = time.monotonic() - self._start
            self._status.update(f"{show.progress_line(run, progress)}  {seconds:.0f} s")
        elif run.state != self._state:
            typer.echo(f"  {run.state.lower()}", err=True)
        self._state = run.state

    def stop(self) -> None:
        """Remove the live line, so that a question can be asked."""
        if self._status is not None:
            self._status.stop()


@contextmanager
def _display() -> Iterator[ProgressDisplay]:
    if not sys.stderr.isatty():
        yield ProgressDisplay(None)
        return
    with render.errors().status("submitting") as status:
        yield ProgressDisplay(status)
