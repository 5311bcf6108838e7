"""Estimate operations and memory of training strategies, to choose one before training.

An operation is a multiplication or an addition. Moving a byte from one Python worker through Spark
to another counts as BYTE_OPERATIONS: measured 300 MB/s against 60 GFLOP/s. Only the order of
magnitude matters: whether tasks should be few or many.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

BYTE_OPERATIONS = 200
# Part of the rows whose gradient changes per step with hinge loss: measured 0.16 for pairs and 0.01
# for one-vs-all.
HINGE_CHANGED_ROWS = 0.15
MAX_CLASS_GROUPS = 24  # 300 tiles: enough for a hundred cores, and tasks of some seconds


class ExecutorResources(NamedTuple):
    """Cores and memory of the executors."""

    cores: int  # of all executors
    executor_cores: int  # of one executor
    memory_bytes: int  # available to all Python workers of one executor

    def concurrent(self, tasks: int) -> int:
        """Return how many of these tasks may run in one executor at the same time."""
        return max(1, min(self.executor_cores, tasks))

    def threads(self, tasks: int) -> int:
        """Return BLAS threads per task, so that they suffice if all tasks run in one executor."""
        return max(1, self.executor_cores // self.concurrent(tasks))


class ProblemSize(NamedTuple):
    """Size of a set of models."""

    rows: int  # all rows, including test rows
    trained: tuple[int, ...]  # training rows, for each share
    dimension: int  # number of features
    models: int  # models for each share
    iterations: int  # maximum number of gradient steps
    # Part of the rows whose gradient changes per step; with the Gram matrix only those cost time.
    changed_rows: float = 1.0


def changed_rows(loss: str) -> float:
    """Return the part of the rows whose gradient changes per step.

    It depends on the data; with hinge loss it is some percent after the first steps.
    """
    return HINGE_CHANGED_ROWS if loss == "hinge" else 1.0


def gram_operations(size: ProblemSize) -> float:
    """Count operations of the Gram matrix (symmetric: half), and of its product with a per step."""
    largest = float(max(size.trained, default=0))
    squares = sum(float(rows) ** 2 for rows in size.trained)
    steps = 2.0 * size.iterations * size.models * squares * size.changed_rows
    return largest**2 * size.dimension + steps


def primal_operations(size: ProblemSize) -> float:
    """Count operations of margins and gradient per step."""
    return 4.0 * size.iterations * size.models * size.dimension * sum(size.trained)


def gram_bytes(size: ProblemSize, itemsize: int) -> int:
    """Return the memory of rows, Gram matrix and four arrays of the descent."""
    largest = max(size.trained, default=0)
    return primal_bytes(size, itemsize) + itemsize * (largest**2 + 4 * largest * size.models)


def primal_bytes(size: ProblemSize, itemsize: int) -> int:
    """Return the memory of rows (also in float32, as loaded), weights and arrays of the descent."""
    rows = (itemsize + 4) * size.rows * size.dimension
    steps = 4 * (max(size.trained, default=0) + size.dimension) * size.models
    return rows + itemsize * steps


def cheaper(size: ProblemSize) -> str:
    """Return `gram` or `primal`, by operations: gram below about 2.6 rows per feature."""
    return "gram" if gram_operations(size) <= primal_operations(size) else "primal"


# ---- one-vs-all: models in tasks -----------------------------------------------------------------


class Strategy(NamedTuple):
    """How to train one-vs-all models: `gram` or `primal` within tasks, or `distributed` rows."""

    name: str
    tasks: int
    operations: float
    bytes: int

    def __str__(self) -> str:
        work = f"{self.operations / 1e12:.2f} tera-operations, {self.bytes / 1e6:.0f} MB a task"
        return f"{self.name}, {self.tasks} tasks, {work}"


def fastest_strategy(size: ProblemSize, resources: ExecutorResources, itemsize: int) -> Strategy:
    """Return the fastest strategy that fits into memory; `distributed` always does.

    A task trains some of the models, and needs its own Gram matrix.
    """
    models = size.models * len(size.trained)
    strategies = [
        strategy
        for tasks in range(1, min(resources.cores, models) + 1)
        for strategy in (
            Strategy("gram", tasks, gram_operations(size), gram_bytes(size, itemsize)),
            Strategy("primal", tasks, primal_operations(size), primal_bytes(size, itemsize)),
        )
    ]
    fitting = [
        one
        for one in strategies
        if one.bytes * resources.concurrent(one.tasks) <= resources.memory_bytes
    ]
    distributed = Strategy(
        "distributed", resources.cores, primal_operations(size), 24 * size.dimension * models
    )
    return min(fitting, key=lambda one: duration(one, size, resources), default=distributed)


def duration(strategy: Strategy, size: ProblemSize, resources: ExecutorResources) -> float:
    """Return the operations, one after another, until the last task ends, and of the transfer.

    The Gram matrix uses all threads of a task; the steps are counted as single-threaded, since
    products with few rows do not gain from a second thread.
    """
    gram = float(max(size.trained)) ** 2 * size.dimension if strategy.name == "gram" else 0.0
    costs = [slice_cost(part, size, strategy.name) for part in model_slices(size, strategy)]
    step_cost = (strategy.operations - gram) / sum(costs)
    transfer = BYTE_OPERATIONS * 4.0 * size.rows * size.dimension
    start = transfer + gram / resources.threads(strategy.tasks)
    return start + step_cost * makespan(costs, strategy.tasks)


class ModelSlice(NamedTuple):
    """Some models of one share: index of the share, first and last model (exclusive)."""

    share: int
    first: int
    last: int


def model_slices(size: ProblemSize, strategy: Strategy) -> list[ModelSlice]:
    """Split all models into slices for the tasks: whole shares while there are enough of them.

    Otherwise the models of each share are split into twice as many slices as there are tasks.
    """
    shares = len(size.trained)
    cuts = 1 if strategy.tasks <= max(1, shares // 2) else -(-2 * strategy.tasks // shares)
    cuts = min(cuts, size.models)
    ends = [cut * size.models // cuts for cut in range(cuts + 1)]
    return [
        ModelSlice(share, first, last)
        for share in range(shares)
        for first, last in zip(ends, ends[1:])
    ]


def slice_cost(part: ModelSlice, size: ProblemSize, strategy: str) -> float:
    """Return the relative cost of a step of a slice."""
    trained = float(size.trained[part.share])
    models = float(part.last - part.first)
    return models * (trained**2 if strategy == "gram" else trained)


def assign_slices(size: ProblemSize, strategy: Strategy) -> list[list[ModelSlice]]:
    """Return the slices of each task."""
    parts = model_slices(size, strategy)
    costs = [slice_cost(part, size, strategy.name) for part in parts]
    return [[parts[index] for index in sorted(task)] for task in balance(costs, strategy.tasks)]


def balance(costs: Sequence[float], tasks: int) -> list[list[int]]:
    """Assign costs, by index, to tasks: the largest first, to the least loaded task."""
    loads = [0.0] * tasks
    assigned: list[list[int]] = [[] for _ in range(tasks)]
    for index in sorted(range(len(costs)), key=lambda index: -costs[index]):
        task = loads.index(min(loads))
        loads[task] += costs[index]
        assigned[task].append(index)
    return assigned


def makespan(costs: Sequence[float], tasks: int) -> float:
    """Return the total cost of the most loaded task."""
    return max(sum(costs[index] for index in task) for task in balance(costs, tasks))


# ---- pairs: tiles of the Gram matrix -------------------------------------------------------------


class GramTile(NamedTuple):
    """Numbers of two groups of classes, whose pairs are trained in one task."""

    left: int
    right: int


class Tiling(NamedTuple):
    """Groups of classes, and the tiles that contain all pairs; each tile is a Spark task."""

    group_of: dict[str, int]
    tiles: tuple[GramTile, ...]

    def tiles_of(self, label: str) -> list[int]:
        """Return the numbers of the tiles that need the rows of a class."""
        group = self.group_of[label]
        return [number for number, tile in enumerate(self.tiles) if group in tile]

    def tile_of(self, positive: str, negative: str) -> int:
        """Return the number of the tile that trains a pair."""
        return self.tiles.index(
            GramTile(*sorted((self.group_of[positive], self.group_of[negative])))
        )

    def rows_of(self, tile: GramTile, rows: dict[str, int]) -> int:
        """Count the rows of a tile."""
        return sum(count for label, count in rows.items() if self.group_of[label] in tile)


def fastest_tiling(
    rows: dict[str, int], size: ProblemSize, resources: ExecutorResources, itemsize: int
) -> Tiling:
    """Return the fastest tiling that fits into memory, or the finest one.

    `rows` are the numbers of rows by class; `size.models` are the shares of one pair.
    """
    most = max(1, min(MAX_CLASS_GROUPS, len(rows)))
    tilings = [tiling_of(rows, groups) for groups in range(1, most + 1)]

    def time(tiling: Tiling) -> float:
        costs = [tile_cost(tiling, tile, rows, size) for tile in tiling.tiles]
        return makespan(costs, resources.cores)

    def fits(tiling: Tiling) -> bool:
        largest = max(tiling.rows_of(tile, rows) for tile in tiling.tiles)
        multiplied = 2 * max(rows.values()) * size.dimension * itemsize  # two classes at a time
        used = largest * size.dimension * 4 + multiplied
        return used * resources.concurrent(len(tiling.tiles)) <= resources.memory_bytes

    return min(filter(fits, tilings), key=time, default=tilings[-1])


def tiling_of(rows: dict[str, int], groups: int) -> Tiling:
    """Distribute classes over groups of about equal numbers of rows."""
    totals = [0] * groups
    group_of = {}
    for label in sorted(rows, key=lambda name: (-rows[name], name)):
        smallest = totals.index(min(totals))
        group_of[label] = smallest
        totals[smallest] += rows[label]
    tiles = tuple(GramTile(a, b) for a in range(groups) for b in range(a, groups))
    # Longest tiles first: Spark starts tasks in this order, and short tasks fill up the stage.
    return Tiling(group_of, tuple(sorted(tiles, key=lambda tile: tile.left == tile.right)))


def tile_cost(tiling: Tiling, tile: GramTile, rows: dict[str, int], size: ProblemSize) -> float:
    """Count operations of a tile: transfer of its rows, blocks of the Gram matrix, descents."""
    left = [rows[label] for label, group in tiling.group_of.items() if group == tile.left]
    right = [rows[label] for label, group in tiling.group_of.items() if group == tile.right]
    pairs = [(a, b) for a in left for b in right]
    if tile.left == tile.right:
        pairs = [(a, b) for i, a in enumerate(left) for b in left[i + 1 :]]
    gram = 2.0 * size.dimension * sum(a * b for a, b in pairs)
    squares = sum(float(a + b) ** 2 for a, b in pairs)
    descents = 2.0 * size.iterations * size.models * squares * size.changed_rows
    transfer = BYTE_OPERATIONS * 4.0 * tiling.rows_of(tile, rows) * size.dimension
    return transfer + gram + descents


# ---- resources of the executors ------------------------------------------------------------------


def executor_resources(context: Any, python_bytes: int | None) -> ExecutorResources:
    """Return the cores of a SparkContext, and the memory for the Python workers of an executor."""
    conf = context.getConf()
    cores = max(1, int(context.defaultParallelism))
    local = context.master.startswith("local[") or context.master == "local"
    each = cores if local else int(conf.get("spark.executor.cores", "1"))
    return ExecutorResources(
        max(cores, each), each, python_bytes or python_memory(conf, local=local)
    )


def python_memory(conf: Any, *, local: bool) -> int:
    """Return the bytes for the Python workers of one executor.

    spark.executor.pyspark.memory if set. Otherwise, half of the machine's free memory (local), or
    the memory overhead and a third of the heap, most of which this job does not use.
    """
    limit = parse_bytes(conf.get("spark.executor.pyspark.memory", "0"))
    if limit:
        return limit
    if local:
        return free_memory() // 2
    heap = parse_bytes(conf.get("spark.executor.memory", "1g"))
    overhead = parse_bytes(conf.get("spark.executor.memoryOverhead", "0"))
    return (overhead or max(384 << 20, heap // 10)) + heap // 3


def parse_bytes(text: str) -> int:
    """Parse a Spark size: 512m, 4g, 4743M; a plain number is MiB."""
    units = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
    lowered = text.strip().lower()
    digits = lowered.rstrip("bkmgti")
    unit = lowered[len(digits) : len(digits) + 1] or "m"
    return int(float(digits or 0) * units[unit])


def free_memory() -> int:
    """Return the free memory of this machine in bytes; 4 GiB if unknown."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:  # noqa: PTH123 - not a regular file
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) << 10
    except OSError:
        pass
    return 4 << 30
