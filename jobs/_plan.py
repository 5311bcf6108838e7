"""What a way of solving costs, counted before anything runs: operations, bytes, whole tasks.

An operation is a multiplication or an addition. Moving a byte from one Python worker through Spark
to another counts as `BYTE` operations: 300 MB/s beside 60 GFLOP/s on the machine that this was
measured on. What matters is the order of magnitude: whether tasks should be few or many.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

BYTE = 200
BUSY = 0.15  # with hinge loss: see `Sizes`; measured 0.16 (pairs) and 0.01 (one-vs-all)
MOST_GROUPS = 24  # 300 tiles: enough for a hundred cores, and tasks of some seconds


class Node(NamedTuple):
    """What the tasks run on.

    Attributes:
        cores: Of all executors together.
        executor_cores: Of one executor.
        memory_bytes: What the Python workers of one executor may take together.
    """

    cores: int
    executor_cores: int
    memory_bytes: int

    def together(self, tasks: int) -> int:
        """How many of so many tasks may run in one executor at a time."""
        return max(1, min(self.executor_cores, tasks))

    def threads(self, tasks: int) -> int:
        """BLAS threads for each of so many tasks: even if all meet in one executor, it has them."""
        return max(1, self.executor_cores // self.together(tasks))


class Sizes(NamedTuple):
    """Rows, features and steps of one set of models.

    Attributes:
        rows: All rows, those that only test too.
        trained: Rows that train, for each share.
        dimension: Features of a row.
        models: Models for each share.
        iterations: Steps of the descent.
        busy: Part of the rows whose pull changes in a step; the Gram matrix serves those alone.
    """

    rows: int
    trained: tuple[int, ...]
    dimension: int
    models: int
    iterations: int
    busy: float = 1.0


def busy(loss: str) -> float:
    """Part of the rows whose pull changes in a step: all, unless the loss is flat beyond a margin.

    How many depends on the data: it is some rows in a hundred once the first steps are over.
    """
    return BUSY if loss == "hinge" else 1.0


def span_operations(sizes: Sizes) -> float:
    """Gram matrix (symmetric: half) and, for each step and share, its leading square times a.

    Of that square only what is busy is multiplied.
    """
    largest = float(max(sizes.trained, default=0))
    each = sum(float(rows) ** 2 for rows in sizes.trained)
    steps = 2.0 * sizes.iterations * sizes.models * each * sizes.busy
    return largest**2 * sizes.dimension + steps


def primal_operations(sizes: Sizes) -> float:
    """For each step and share: margins, and the gradient."""
    return 4.0 * sizes.iterations * sizes.models * sizes.dimension * sum(sizes.trained)


def span_bytes(sizes: Sizes, itemsize: int) -> int:
    """Rows as they came and as they are multiplied, the Gram matrix, four arrays of the descent."""
    largest = max(sizes.trained, default=0)
    return primal_bytes(sizes, itemsize) + itemsize * (largest**2 + 4 * largest * sizes.models)


def primal_bytes(sizes: Sizes, itemsize: int) -> int:
    """Rows as they came (float32) and as they are multiplied, weights, arrays of the descent."""
    rows = (itemsize + 4) * sizes.rows * sizes.dimension
    steps = 4 * (max(sizes.trained, default=0) + sizes.dimension) * sizes.models
    return rows + itemsize * steps


def cheaper(sizes: Sizes) -> str:
    """`span` or `primal`, by operations alone: span while rows are fewer than some 2.6 d."""
    return "span" if span_operations(sizes) <= primal_operations(sizes) else "primal"


class Way(NamedTuple):
    """How all one-vs-all models are made: `span` or `primal` in tasks, or `spread` over tasks."""

    name: str
    tasks: int
    operations: float
    bytes: int

    def told(self) -> str:
        """For the log."""
        size = f"{self.operations / 1e12:.2f} tera-operations, {self.bytes / 1e6:.0f} MB a task"
        return f"{self.name}, {self.tasks} tasks, {size}"


def way_of(sizes: Sizes, node: Node, itemsize: int) -> Way:
    """The way that is over first, of those whose memory is there; `spread` always is.

    A task trains some of the models; each needs the Gram matrix for itself.
    """
    most = min(node.cores, sizes.models * len(sizes.trained))
    ways = [
        way
        for tasks in range(1, most + 1)
        for way in (
            Way("span", tasks, span_operations(sizes), span_bytes(sizes, itemsize)),
            Way("primal", tasks, primal_operations(sizes), primal_bytes(sizes, itemsize)),
        )
    ]
    fit = [way for way in ways if way.bytes * node.together(way.tasks) <= node.memory_bytes]
    models = sizes.models * len(sizes.trained)
    spread = Way("spread", node.cores, primal_operations(sizes), 24 * sizes.dimension * models)
    return min(fit, key=lambda way: duration(way, sizes, node), default=spread)


def duration(way: Way, sizes: Sizes, node: Node) -> float:
    """Operations one after another until the last task is done, with what it costs to feed them.

    The Gram matrix is made by all threads of a task; the steps count as if by one, since products
    with so few rows gained nothing from a second thread, and lost by it on a busy machine.
    """
    gram = float(max(sizes.trained)) ** 2 * sizes.dimension if way.name == "span" else 0.0
    costs = [cost(part, sizes, way.name) for part in parts_of(sizes, way)]
    steps = (way.operations - gram) / sum(costs)
    fed = BYTE * 4.0 * sizes.rows * sizes.dimension
    start = fed + gram / node.threads(way.tasks)
    return max(start + steps * sum(hand) for hand in dealt(costs, way.tasks))


class Part(NamedTuple):
    """Some models of one share: its number, and which of the share's models."""

    share: int
    first: int
    last: int


def parts_of(sizes: Sizes, way: Way) -> list[Part]:
    """All models in parts, of which each task can have some: whole shares while those are enough.

    With more tasks than shares, the models of each share are cut, twice as fine as there are tasks.
    """
    shares = len(sizes.trained)
    cuts = 1 if way.tasks <= max(1, shares // 2) else -(-2 * way.tasks // shares)
    cuts = min(cuts, sizes.models)
    ends = [place * sizes.models // cuts for place in range(cuts + 1)]
    return [
        Part(share, first, last) for share in range(shares) for first, last in zip(ends, ends[1:])
    ]


def cost(part: Part, sizes: Sizes, way: str) -> float:
    """Of a step, up to a factor that is the same for all parts."""
    return float(part.last - part.first) * sizes.trained[part.share] ** (2 if way == "span" else 1)


def hands_of(sizes: Sizes, way: Way) -> list[list[Part]]:
    """The parts of each task."""
    parts = parts_of(sizes, way)
    costs = [cost(part, sizes, way.name) for part in parts]
    held: list[list[int]] = [[] for _ in range(way.tasks)]
    for number in sorted(range(len(parts)), key=lambda place: -costs[place]):
        min(held, key=lambda hand: sum(costs[place] for place in hand)).append(number)
    return [[parts[place] for place in sorted(hand)] for hand in held]


def dealt(costs: Iterable[float], hands: int) -> list[list[float]]:
    """Costs dealt to so many hands, the largest first, each to the hand that has least."""
    held: list[list[float]] = [[] for _ in range(hands)]
    for cost in sorted(costs, reverse=True):
        min(held, key=sum).append(cost)
    return held


def makespan(costs: Sequence[float], cores: int) -> float:
    """When the last task is done on so many cores."""
    return max(map(sum, dealt(costs, cores)), default=0.0)


# ---- tiles: blocks of the Gram matrix by groups of classes ----------------------------------


class Tile(NamedTuple):
    """Pairs of one group of classes with another (or of one group, among themselves)."""

    left: int
    right: int


class Tiling(NamedTuple):
    """Classes in groups, and the tiles in which all their pairs lie; each tile is a Spark task."""

    group_of: dict[str, int]
    tiles: tuple[Tile, ...]

    def of_label(self, label: str) -> list[int]:
        """Numbers of the tiles that need a class's rows."""
        mine = self.group_of[label]
        return [number for number, tile in enumerate(self.tiles) if mine in tile]

    def of_pair(self, positive: str, negative: str) -> int:
        """Number of the tile that solves a pair."""
        ends = sorted((self.group_of[positive], self.group_of[negative]))
        return self.tiles.index(Tile(*ends))


def tiling(rows: dict[str, int], sizes: Sizes, node: Node, itemsize: int) -> Tiling:
    """The tiling that is over first, of those whose tiles fit; the finest where none does.

    Args:
        rows: How many each class has.
        sizes: `models` and `trained` are shares of one pair; `rows` is not used.
        node: What there is.
        itemsize: Bytes of a number.
    """
    most = max(1, min(MOST_GROUPS, len(rows)))
    made = [tiling_of(rows, groups) for groups in range(1, most + 1)]

    def time(cut: Tiling) -> float:
        return makespan(
            [tile_cost(cut, number, rows, sizes) for number in range(len(cut.tiles))], node.cores
        )

    def fits(cut: Tiling) -> bool:
        largest = max(tile_rows(cut, tile, rows) for tile in cut.tiles)
        classes = 2 * max(rows.values()) * sizes.dimension * itemsize  # that are multiplied
        held = largest * sizes.dimension * 4 + classes
        return held * node.together(len(cut.tiles)) <= node.memory_bytes

    return min(filter(fits, made), key=time, default=made[-1])


def tiling_of(rows: dict[str, int], groups: int) -> Tiling:
    """Classes dealt to so many groups, the groups about equally large."""
    totals = [0] * groups
    group_of = {}
    for label in sorted(rows, key=lambda name: (-rows[name], name)):
        smallest = totals.index(min(totals))
        group_of[label] = smallest
        totals[smallest] += rows[label]
    tiles = tuple(Tile(a, b) for a in range(groups) for b in range(a, groups))
    # The long ones first: Spark starts tasks in this order, and a short one ends the stage better.
    return Tiling(group_of, tuple(sorted(tiles, key=lambda tile: tile.left == tile.right)))


def tile_rows(cut: Tiling, tile: Tile, rows: dict[str, int]) -> int:
    """Rows that a tile needs."""
    return sum(count for label, count in rows.items() if cut.group_of[label] in tile)


def tile_cost(cut: Tiling, number: int, rows: dict[str, int], sizes: Sizes) -> float:
    """Operations of a tile: its rows fetched, its part of the Gram matrix, its pairs' descents."""
    tile = cut.tiles[number]
    left = [rows[label] for label, group in cut.group_of.items() if group == tile.left]
    right = [rows[label] for label, group in cut.group_of.items() if group == tile.right]
    pairs = [(a, b) for a in left for b in right]
    if tile.left == tile.right:
        pairs = [(a, b) for i, a in enumerate(left) for b in left[i + 1 :]]
    cross = 2.0 * sizes.dimension * sum(a * b for a, b in pairs)
    squares = sum(float(a + b) ** 2 for a, b in pairs)
    descents = 2.0 * sizes.iterations * sizes.models * squares * sizes.busy
    return BYTE * 4.0 * tile_rows(cut, tile, rows) * sizes.dimension + cross + descents


def node_of(context: Any, python_bytes: int | None) -> Node:
    """The cores that Spark has, and the memory that Python workers may take beside it.

    Args:
        context: A SparkContext.
        python_bytes: Of one executor, where the user says it.
    """
    conf = context.getConf()
    cores = max(1, int(context.defaultParallelism))
    local = context.master.startswith("local[") or context.master == "local"
    each = cores if local else int(conf.get("spark.executor.cores", "1"))
    return Node(max(cores, each), each, python_bytes or python_memory(conf, local=local))


def python_memory(conf: Any, *, local: bool) -> int:
    """Bytes for the Python workers of one executor.

    spark.executor.pyspark.memory where it is set; else half of what the machine has free (local),
    or the container's overhead and a third of the heap, which this job leaves mostly empty.
    """
    told = to_bytes(conf.get("spark.executor.pyspark.memory", "0"))
    if told:
        return told
    if local:
        return free_memory() // 2
    heap = to_bytes(conf.get("spark.executor.memory", "1g"))
    overhead = to_bytes(conf.get("spark.executor.memoryOverhead", "0"))
    return (overhead or max(384 << 20, heap // 10)) + heap // 3


def to_bytes(text: str) -> int:
    """Spark's sizes: 512m, 4g, 4743M, a plain number is MiB."""
    units = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
    lowered = text.strip().lower()
    digits = lowered.rstrip("bkmgti")
    unit = lowered[len(digits) : len(digits) + 1] or "m"
    return int(float(digits or 0) * units[unit])


def free_memory() -> int:
    """Bytes of memory that are free on this machine; 4 GiB where it does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:  # noqa: PTH123 - a file of the kernel's
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) << 10
    except OSError:
        pass
    return 4 << 30
