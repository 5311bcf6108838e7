"""Solvers of the linear SVM, behind one interface: the same splits, scores and files for all."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Callable, NamedTuple, Protocol

import numpy as np
from _learning import Array, Block, Data, Group
from pyspark.mllib.classification import SVMWithSGD
from pyspark.mllib.regression import LabeledPoint


class Settings(NamedTuple):
    """Of the (sub)gradient descent: passes over the data, size of the first step, L2 weight."""

    iterations: int
    step: float
    reg: float


class Fit(NamedTuple):
    """One model: weights (float64 [d], no intercept), what its making took.

    `iterations_run` is None when the solver cannot tell.
    """

    weights: Array
    iterations_run: int | None
    train_s: float


class Task(NamedTuple):
    """A group and the shares at which both of its classes have rows to train on."""

    group: Group
    shares: tuple[float, ...]


class Solver(Protocol):
    """Trains all tasks; in what order of work, and what they share, is its own affair."""

    def solve(
        self, data: Data, tasks: Sequence[Task], settings: Settings
    ) -> Iterator[tuple[Task, list[Fit]]]:
        """Fits of each task, one for each share, as they are ready."""


class Mllib:
    """Spark MLlib's SVMWithSGD: hinge loss, L2, full batches, no intercept; a Spark job a pass."""

    def solve(
        self, data: Data, tasks: Sequence[Task], settings: Settings
    ) -> Iterator[tuple[Task, list[Fit]]]:
        """Task after task, share after share; a group's rows are persisted across its shares."""
        for task in tasks:
            yield task, [self._fit(data, task.group, share, settings) for share in task.shares]

    def _fit(self, data: Data, group: Group, share: float, settings: Settings) -> Fit:
        began = time.perf_counter()
        blocks = data.of(group)
        rows = blocks.mapPartitions(points(group.positive, share))
        with_jobs = JobsOf(blocks.context, f"{group} share={share}")
        model = with_jobs.run(
            lambda: SVMWithSGD.train(
                rows,
                iterations=settings.iterations,
                step=settings.step,
                regParam=settings.reg,
                miniBatchFraction=1.0,
                initialWeights=np.zeros(data.dimension),  # the default, without a job to measure it
                intercept=False,
                validateData=False,  # the labels are ours: one job less
            )
        )
        train_s = time.perf_counter() - began
        passes = with_jobs.passes()
        # Spark 3.5 makes one pass more than steps, for the last loss, unless it converged before.
        steps = None if passes is None else min(passes, settings.iterations)
        return Fit(model.weights.toArray(), steps, train_s)


def points(positive: str, share: float) -> Callable[[Iterable[Block]], Iterator[LabeledPoint]]:
    """For mapPartitions: the training rows of blocks, labelled 1 and 0.

    All blocks of the partition are read before the first row goes out: MLlib asks for the first row
    alone, and a Python worker with input left is not used again, which cost half a second a model.
    """

    def made(blocks: Iterable[Block]) -> Iterator[LabeledPoint]:
        for label, u, x in list(blocks):
            for row in x[u < share].astype(np.float64):
                yield LabeledPoint(float(label == positive), row)

    return made


class JobsOf:
    """The Spark jobs of one training, grouped under its name (which the Spark UI then shows)."""

    def __init__(self, context: Any, name: str) -> None:
        self._context = context
        self._name = f"{name} #{time.monotonic_ns()}"  # the same model may be trained twice

    def run(self, train: Callable[[], Any]) -> Any:
        """Train within the group."""
        self._context.setJobGroup(self._name, f"training {self._name.rpartition(' ')[0]}")
        try:
            return train()
        finally:
            self._context.setLocalProperty("spark.jobGroup.id", None)
            self._context.setLocalProperty("spark.job.description", None)

    def passes(self) -> int | None:
        """Passes over the data: PySpark's model does not tell, but each was one job.

        None when Spark has already forgotten some of the jobs (spark.ui.retainedJobs).
        """
        tracker = self._context.statusTracker()
        # What the tracker knows arrives on a queue; without this the last jobs may be missing.
        self._context._jsc.sc().listenerBus().waitUntilEmpty()  # noqa: SLF001
        names = [self._stage_names(tracker, job) for job in tracker.getJobIdsForGroup(self._name)]
        forgotten = not names or any(found is None for found in names)
        # Before the first pass there are always the counting and measuring jobs.
        begun = any(found and not any(map(is_pass, found)) for found in names)
        if forgotten or not begun:
            return None
        return sum(any(map(is_pass, found)) for found in names if found)

    @staticmethod
    def _stage_names(tracker: Any, job: int) -> list[str] | None:
        known = tracker.getJobInfo(job)
        stages = [tracker.getStageInfo(stage) for stage in known.stageIds] if known else []
        return [stage.name for stage in stages if stage] or None


def is_pass(stage_name: str) -> bool:
    """Whether a stage is one gradient summed over the data."""
    return stage_name.startswith("treeAggregate at GradientDescent")


SOLVERS: dict[str, type[Solver]] = {"mllib": Mllib}
