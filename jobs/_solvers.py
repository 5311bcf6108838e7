"""Solvers of the linear SVM, behind one interface: the same splits, scores and files for all."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Callable, NamedTuple, Protocol

import numpy as np
from _descent import Array, Settings
from _learning import Block, Data, Group
from _scores import Scores, scores_of

if TYPE_CHECKING:
    from pyspark.mllib.regression import LabeledPoint


class Fit(NamedTuple):
    """One model and what its making took.

    Attributes:
        weights: float64 [d], or float32 where only its votes are wanted; no intercept. None: the
            model was not to be kept.
        iterations_run: None when the solver cannot tell.
        train_s: Seconds; of models that were made together, an equal part each.
        scores: Its answers on the rows that did not train.
    """

    weights: Array | None
    iterations_run: int | None
    train_s: float
    scores: Scores


class Task(NamedTuple):
    """A group and the shares at which both of its classes have rows to train on."""

    group: Group
    shares: tuple[float, ...]


class Wanted(NamedTuple):
    """What is to come back of the models.

    Attributes:
        keep: `best`, `all` or `none`: whose weights, in float64.
        voters: The others' weights too, in float32: they will vote on all classes.
        says: One-vs-all's answers row by row too; those of pairs are few and always come.
        memory_bytes: For the Python workers of one executor; None: what Spark's settings leave.
    """

    keep: str = "best"
    voters: bool = False
    says: bool = False
    memory_bytes: int | None = None


Solved = Iterator[tuple[Task, list[Fit]]]


class Solver(Protocol):
    """Trains all tasks; in what order of work, and what they share, is its own affair.

    Attributes:
        fixed: Whether its sums depend on which partition a row lies in.
    """

    fixed: bool

    def __init__(self, wanted: Wanted, say: Callable[[str], None]) -> None: ...

    def solve(self, data: Data, tasks: Sequence[Task], settings: Settings) -> Solved:
        """Fits of each task, one for each share, as they are ready."""


class Mllib:
    """Spark MLlib's own: L2, full batches, no intercept; a Spark job for each pass.

    SVMWithSGD for hinge loss, LogisticRegressionWithSGD for logistic.
    """

    fixed = True

    def __init__(self, wanted: Wanted, say: Callable[[str], None]) -> None:
        """It keeps the weights of all models, and has nothing to tell."""

    def solve(self, data: Data, tasks: Sequence[Task], settings: Settings) -> Solved:
        """Task after task, share after share; a group's rows are persisted across its shares."""
        for task in tasks:
            made = [self._fit(data, task.group, share, settings) for share in task.shares]
            weights = np.stack([model for model, _, _ in made], axis=1)
            scores = scored(data.of(task.group), task, weights)
            yield task, [Fit(*model, score) for model, score in zip(made, scores)]

    def _fit(
        self, data: Data, group: Group, share: float, settings: Settings
    ) -> tuple[Array, int | None, float]:
        # Imported where it is used: with pyspark.ml and SciPy it takes each process a second.
        from pyspark.mllib.classification import LogisticRegressionWithSGD, SVMWithSGD

        began = time.perf_counter()
        blocks = data.of(group)
        rows = blocks.mapPartitions(points(group.positive, share))
        with_jobs = JobsOf(blocks.context, f"{group} share={share}")
        algorithm: Any = SVMWithSGD if settings.loss == "hinge" else LogisticRegressionWithSGD
        with warnings.catch_warnings():
            # Of the logistic one: spark.ml has others, but only this one is this descent.
            warnings.simplefilter("ignore", FutureWarning)
            model = with_jobs.run(
                lambda: algorithm.train(
                    rows,
                    iterations=settings.iterations,
                    step=settings.step,
                    regParam=settings.reg,
                    miniBatchFraction=1.0,
                    initialWeights=np.zeros(data.dimension),  # the default, without a job for it
                    intercept=False,
                    validateData=False,  # the labels are ours: one job less
                )
            )
        train_s = time.perf_counter() - began
        passes = with_jobs.passes()
        # Spark 3.5 makes one pass more than steps, for the last loss, unless it converged before.
        steps = None if passes is None else min(passes, settings.iterations)
        return model.weights.toArray(), steps, train_s


def points(positive: str, share: float) -> Callable[[Iterable[Block]], Iterator[LabeledPoint]]:
    """For mapPartitions: the training rows of blocks, labelled 1 and 0.

    All blocks of the partition are read before the first row goes out: MLlib asks for the first row
    alone, and a Python worker with input left is not used again, which cost half a second a model.
    """

    def made(blocks: Iterable[Block]) -> Iterator[LabeledPoint]:
        from pyspark.mllib.regression import LabeledPoint

        for label, u, x in list(blocks):
            for row in x[u < share].astype(np.float64):
                yield LabeledPoint(float(label == positive), row)

    return made


def scored(blocks: Any, task: Task, weights: Array) -> list[Scores]:
    """Scores of one group's models, one pass for all shares.

    The margins of this group's rows come to the driver (rows x shares numbers), then they are gone.

    Args:
        blocks: RDD of the group's blocks.
        task: Which class is positive, and the shares.
        weights: A column for each share, float64 [d, s].
    """
    carried = blocks.context.broadcast(weights)

    def margins(block: Block) -> tuple[str, Array, Array]:
        label, u, x = block
        return label, u, x.astype(np.float64) @ carried.value

    found = blocks.map(margins).collect()
    carried.unpersist()
    labels = np.concatenate([np.full(len(u), label, dtype=object) for label, u, _ in found])
    u = np.concatenate([places for _, places, _ in found])
    order = np.lexsort((u, labels))
    columns = np.concatenate([values for _, _, values in found])[order].T
    tests = u[order] >= np.asarray(task.shares)[:, None]
    return scores_of(columns, labels[order] == task.group.positive, tests)


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
