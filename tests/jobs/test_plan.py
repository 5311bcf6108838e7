"""jobs/_plan.py: which way is taken, counted before anything runs."""

from pathlib import Path

import pytest
from _plan import (
    Node,
    Sizes,
    Way,
    busy,
    cheaper,
    free_memory,
    hands_of,
    primal_operations,
    python_memory,
    span_operations,
    tiling,
    to_bytes,
    way_of,
)

LAPTOP = Node(cores=2, executor_cores=2, memory_bytes=8 << 30)
SHARES = tuple(share / 10 for share in range(1, 10))


def study(rows: int, classes: int = 37) -> Sizes:
    return Sizes(rows, tuple(int(rows * share) for share in SHARES), 4096, classes, 100)


def test_gram_for_few_rows_primal_for_many() -> None:
    assert way_of(study(7_400), LAPTOP, 8).name == "span"
    assert way_of(study(30_000), LAPTOP, 8).name == "primal"
    assert cheaper(study(7_400)) == "span"
    assert cheaper(study(14_000)) == "primal"


def test_operations_are_counted() -> None:
    sizes = Sizes(10, (4, 8), 3, 2, 5)
    assert span_operations(sizes) == 8 * 8 * 3 + 2 * 5 * 2 * (16 + 64)
    assert primal_operations(sizes) == 4 * 5 * 2 * 3 * 12


def test_hinge_loss_makes_the_steps_of_the_gram_matrix_cheap() -> None:
    assert busy("logistic") == 1
    sizes = study(14_000)
    quick = sizes._replace(busy=busy("hinge"))
    assert (cheaper(sizes), cheaper(quick)) == ("primal", "span")
    assert way_of(study(7_400)._replace(busy=busy("hinge")), LAPTOP, 8).tasks == 1


def test_what_fits_nowhere_is_spread_over_the_tasks() -> None:
    assert way_of(study(7_400), LAPTOP._replace(memory_bytes=100 << 20), 8).name == "spread"
    # Where only the Gram matrix is too large, the rows themselves will do.
    assert way_of(study(20_000), LAPTOP._replace(memory_bytes=2 << 30), 8).name == "primal"


def test_every_model_is_in_one_part() -> None:
    node = Node(cores=32, executor_cores=4, memory_bytes=64 << 30)
    for tasks in (1, 2, 9, 32):
        way = Way("span", tasks, 0.0, 0)
        hands = hands_of(study(7_400), way)
        models = [
            (part.share, model)
            for hand in hands
            for part in hand
            for model in range(part.first, part.last)
        ]
        assert len(hands) == tasks
        assert all(hands)
        assert sorted(models) == [(share, model) for share in range(9) for model in range(37)]
    assert way_of(study(7_400), node, 8).tasks > 9


def test_blas_threads_never_exceed_the_cores() -> None:
    for cores in (1, 2, 3, 4, 8):
        node = Node(cores=16, executor_cores=cores, memory_bytes=1)
        for tasks in range(1, 20):
            assert node.threads(tasks) * min(tasks, cores) <= cores


def test_tiles_hold_every_pair_once_and_fit() -> None:
    rows = {f"c{n}": 200 for n in range(37)}
    sizes = Sizes(7_400, (), 4096, 9, 100)
    cut = tiling(rows, sizes, LAPTOP, 8)
    assert len(cut.tiles) == 3  # two groups for two cores: 342 pairs, and 324 in two tiles
    for a in rows:
        for b in rows:
            if a < b:
                number = cut.of_pair(a, b)
                assert number in cut.of_label(a)
                assert number in cut.of_label(b)
    small = tiling(rows, sizes, LAPTOP._replace(memory_bytes=100 << 20), 8)
    assert len(small.tiles) > len(cut.tiles)
    wide = tiling(rows, sizes, Node(16, 4, 8 << 30), 8)
    assert len(wide.tiles) >= 16
    assert len(tiling({"a": 5, "b": 3}, sizes, LAPTOP, 8).tiles) >= 1


@pytest.mark.parametrize(
    ("text", "size"),
    [("512m", 512 << 20), ("4g", 4 << 30), ("4743M", 4743 << 20), ("100", 100 << 20)],
)
def test_sparks_sizes(text: str, size: int) -> None:
    assert to_bytes(text) == size


def test_memory_for_python_is_what_spark_leaves() -> None:
    conf = {"spark.executor.memory": "3g"}
    assert python_memory(conf, local=False) == (384 << 20) + (1 << 30)
    told = {**conf, "spark.executor.pyspark.memory": "2g"}
    assert python_memory(told, local=False) == 2 << 30
    assert python_memory({}, local=True) > 0
    assert free_memory() > 0
    assert Path("/proc/meminfo").exists() or free_memory() == 4 << 30
