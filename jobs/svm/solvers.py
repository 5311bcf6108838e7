"""Train with Spark MLlib, and code that both solvers share."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

import numpy as np
from pyspark import StorageLevel

from svm import Array
from svm.dataset import Block, ClassPair, Dataset, TrainingTask
from svm.gradient_descent import DescentSettings
from svm.scores import ModelScores, TrainedModel, best_of, figures, score_models

if TYPE_CHECKING:
    from pyspark.mllib.regression import LabeledPoint


class SolverSettings(NamedTuple):
    """How models are trained, and which results are returned."""

    descent: DescentSettings
    keep: str = "best"  # models whose weights are returned in float64: `best`, `all` or `none`
    multiclass: bool = False  # return the weights of the other models too, in float32
    # Return the predictions of one-vs-all models. Those of pairs are small and always returned.
    predictions: bool = False
    # For the Python workers of an executor; None: derived from Spark's settings.
    memory_bytes: int | None = None
    threads: int = 1  # of BLAS in each Spark task


Solved = Iterator[tuple[TrainingTask, list[TrainedModel]]]
KeyedBlock = tuple[int, Block]


def select_weights(
    task: TrainingTask, models: list[TrainedModel], settings: SolverSettings
) -> list[TrainedModel]:
    """Return models with the requested weights and predictions only, to transfer less data."""
    rows = [
        {"share": share, **figures(model.scores.counts)}
        for share, model in zip(task.shares, models)
    ]
    best = best_of(rows)

    def selected(share: float, weights: Array | None) -> Array | None:
        is_best = best is not None and share == best["share"]
        if weights is None:
            return None
        if settings.keep == "all" or (settings.keep == "best" and is_best):
            return weights.astype(np.float64)
        return weights.astype(np.float32) if settings.multiclass else None

    keep_predictions = settings.predictions or task.pair.task == "pairs"
    return [
        model._replace(
            weights=selected(share, model.weights),
            scores=model.scores if keep_predictions else model.scores._replace(predictions=b""),
        )
        for share, model in zip(task.shares, models)
    ]


def run_tasks(
    blocks: Any,
    tasks_of: Callable[[str], list[int]],
    number: int,
    train: Callable[[int, Iterable[KeyedBlock]], Solved],
) -> Solved:
    """Send the rows of each class to the Spark tasks that need them, and train there.

    All tasks run at once; their results are then fetched one task at a time.

    Args:
        blocks: RDD of blocks.
        tasks_of: Returns the numbers of the tasks that need a class.
        number: Number of tasks.
        train: For mapPartitionsWithIndex.
    """

    def keyed(block: Block) -> Iterator[KeyedBlock]:
        for task in tasks_of(block[0]):
            yield task, block

    solved = blocks.flatMap(keyed).partitionBy(number, int).mapPartitionsWithIndex(train)
    persisted = solved.persist(StorageLevel.MEMORY_AND_DISK)
    persisted.count()
    yield from persisted.toLocalIterator()
    persisted.unpersist()


@contextmanager
def blas_threads(threads: int) -> Iterator[None]:
    """Limit the threads of BLAS, so that tasks do not compete for the executor's cores."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped,unused-ignore]

    with threadpool_limits(limits=threads):
        yield


def train_by_mllib(
    data: Dataset, tasks: Iterable[TrainingTask], settings: DescentSettings
) -> Solved:
    """Train with SVMWithSGD (or LogisticRegressionWithSGD): L2, full batches, no intercept.

    One model is trained after another, and every gradient step is a Spark job. The rows of a pair
    stay persisted for all shares. All weights are returned.
    """
    for task in tasks:
        trained = [train_model(data, task.pair, share, settings) for share in task.shares]
        weights = np.stack([model for model, _, _ in trained], axis=1)
        scores = score_distributed(data.blocks_of(task.pair), task, weights)
        yield task, [TrainedModel(*model, score) for model, score in zip(trained, scores)]


def train_model(
    data: Dataset, pair: ClassPair, share: float, settings: DescentSettings
) -> tuple[Array, int | None, float]:
    """Return weights, number of steps (None if unknown) and seconds of one model."""
    # Imported here: with pyspark.ml and SciPy it takes each process a second.
    from pyspark.mllib.classification import LogisticRegressionWithSGD, SVMWithSGD

    start = time.perf_counter()
    blocks = data.blocks_of(pair)
    rows = blocks.mapPartitions(labelled_points(pair.positive, share))
    algorithm: Any = SVMWithSGD if settings.loss == "hinge" else LogisticRegressionWithSGD
    name = f"{pair} share={share}"
    with warnings.catch_warnings(), spark_job_group(blocks.context, name) as group:
        # LogisticRegressionWithSGD is deprecated, but spark.ml has no such gradient descent.
        warnings.simplefilter("ignore", FutureWarning)
        model = algorithm.train(
            rows,
            iterations=settings.iterations,
            step=settings.step,
            regParam=settings.reg,
            miniBatchFraction=1.0,
            initialWeights=np.zeros(data.dimension),  # the default takes a job
            intercept=False,
            validateData=False,  # the labels are valid: saves a job
        )
    train_s = time.perf_counter() - start
    passes = gradient_passes(blocks.context, group)
    # Spark 3.5 makes one pass more than steps, for the last loss, unless it converged before.
    steps = None if passes is None else min(passes, settings.iterations)
    return model.weights.toArray(), steps, train_s


def labelled_points(
    positive: str, share: float
) -> Callable[[Iterable[Block]], Iterator[LabeledPoint]]:
    """Return a function for mapPartitions that returns the training rows, labelled 1 and 0.

    It reads all blocks of the partition before it returns the first row: MLlib takes the first row
    only, and Spark does not reuse a Python worker with unread input, which cost 0.5 s per model.
    """

    def points(blocks: Iterable[Block]) -> Iterator[LabeledPoint]:
        from pyspark.mllib.regression import LabeledPoint

        for label, u, x in list(blocks):
            for row in x[u < share].astype(np.float64):
                yield LabeledPoint(float(label == positive), row)

    return points


def score_distributed(blocks: Any, task: TrainingTask, weights: Array) -> list[ModelScores]:
    """Score the models of a task, weights [d, shares], in one pass over the blocks of its pair.

    The margins (rows x shares numbers) are collected on the driver.
    """
    shared = blocks.context.broadcast(weights)

    def block_margins(block: Block) -> tuple[str, Array, Array]:
        label, u, x = block
        return label, u, x.astype(np.float64) @ shared.value

    collected = blocks.map(block_margins).collect()
    shared.unpersist()
    labels = np.concatenate([np.full(len(u), label, dtype=object) for label, u, _ in collected])
    u = np.concatenate([positions for _, positions, _ in collected])
    order = np.lexsort((u, labels))
    margins = np.concatenate([values for _, _, values in collected])[order].T
    tests = u[order] >= np.asarray(task.shares)[:, None]
    return score_models(margins, labels[order] == task.pair.positive, tests)


@contextmanager
def spark_job_group(context: Any, name: str) -> Iterator[str]:
    """Run Spark jobs as a group that the Spark UI shows. Yield the id of the group."""
    group = f"{name} #{time.monotonic_ns()}"  # the same model may be trained twice
    context.setJobGroup(group, f"training {name}")
    try:
        yield group
    finally:
        context.setLocalProperty("spark.jobGroup.id", None)
        context.setLocalProperty("spark.job.description", None)


def gradient_passes(context: Any, group: str) -> int | None:
    """Count the gradient passes, which PySpark's model does not report: each was one job.

    None if Spark has already discarded some of the jobs (spark.ui.retainedJobs).
    """
    tracker = context.statusTracker()
    # The tracker is updated asynchronously: wait for the last jobs.
    context._jsc.sc().listenerBus().waitUntilEmpty()  # noqa: SLF001
    passes = []
    for job in tracker.getJobIdsForGroup(group):
        info = tracker.getJobInfo(job)
        stages = [tracker.getStageInfo(stage) for stage in info.stageIds] if info else []
        names = [stage.name for stage in stages if stage]
        if not names:
            return None
        passes.append(any(n.startswith("treeAggregate at GradientDescent") for n in names))
    # MLlib runs jobs that count and measure before the first pass: without them, jobs are lost.
    return None if all(passes) else sum(passes)
