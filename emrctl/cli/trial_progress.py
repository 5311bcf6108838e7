"""Progress of trials on stderr: a bar with time left and cost on a terminal, otherwise lines."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from emrctl.cli import render
from emrctl.cli.render.runs import progress_line

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from emrctl.runs.progress import Progress
    from emrctl.runs.record import Run
    from emrctl.runs.trials import Outlook, Trial


class TrialLines:
    """A line per submitted and per finished trial; with a bar also the state of running ones."""

    def __init__(self, bar: Bar | None, parallel: int) -> None:
        self._bar, self._parallel = bar, parallel
        self._task = bar.add_task("", total=None, running="") if bar is not None else None
        self.running: dict[str, Run] = {}

    def note(self, text: str) -> None:
        """Print a line."""
        render.note(text) if self._bar is None else self._bar.console.print(text, markup=False)

    def started(self, trial: Trial, run: Run) -> None:
        """Print the trial, its run and its warnings."""
        self.running[run.id] = run
        verb = "continues as" if trial.run is not None else "is"
        self.note(f"{_heading(trial)} {verb} run {run.id} on {run.cluster.name}")
        for warning in run.warnings:
            self.note(f"  warning: {warning}")

    def progress(self, running: Sequence[tuple[Trial, Run, Progress]], outlook: Outlook) -> None:
        """Update the bar."""
        if self._bar is None or self._task is None:
            return
        texts = [f"{trial.facts.cell}: {progress_line(run, now)}" for trial, run, now in running]
        total = outlook.done + outlook.failed + outlook.left + len(running)
        self._bar.update(
            self._task,
            total=total,
            completed=outlook.done + outlook.failed,
            description=_summary(outlook, self._parallel),
            running="\n".join(texts),
        )

    def finished(self, trial: Trial, run: Run, outlook: Outlook) -> None:
        """Print the result of the trial, what is left and what was spent."""
        self.running.pop(run.id, None)
        seconds = "" if run.duration_s is None else f" after {run.duration_s:.1f} s"
        cause = f": {run.failure}" if run.failure else ""
        self.note(f"{_heading(trial)} {run.state.lower()}{seconds}{cause}")
        if run.failure_log:
            self.note(f"  log: {run.failure_log}")
        if self._bar is None:
            self.note(f"  {_summary(outlook, self._parallel)}")


@contextmanager
def showing(parallel: int) -> Iterator[TrialLines]:
    """Yield the report of trials; a termination signal interrupts them like Ctrl-C."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = {number: signal.signal(number, interrupt) for number in _SIGNALS}
    try:
        with _bar() as bar:
            lines = TrialLines(bar, parallel)
            try:
                yield lines
            except KeyboardInterrupt:
                for run in lines.running.values():
                    render.note(f"Run {run.id} continues; cancel it with `emrctl cancel {run.id}`.")
                raise
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def _bar() -> Iterator[Bar | None]:
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}", markup=False),
        TextColumn("{task.fields[running]}", markup=False),
    )
    with Progress(*columns, console=render.errors(), transient=True) as bar:
        yield bar


def _heading(trial: Trial) -> str:
    facts = trial.facts
    repeat = "warm-up" if facts.warm_up else f"repeat {facts.repeat}"
    return f"Trial {trial.number} of {trial.total}: {facts.cell} ({repeat})"


def _summary(outlook: Outlook, parallel: int) -> str:
    left = f"{outlook.left} left"
    if outlook.left and outlook.left_s is not None:
        left += f", about {duration_text(outlook.left_s / parallel)}"
    failed = f", {outlook.failed} failed" if outlook.failed else ""
    return f"{outlook.done} done{failed}, {left}; {outlook.use.usd:.4f} USD"


def duration_text(seconds: float) -> str:
    """Return a duration as 45 s, 12 min or 3.5 h."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
