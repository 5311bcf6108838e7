"""Estimated costs, and the strategies that are chosen by them."""

from pathlib import Path

import pytest

from svm.cost_model import (
    ExecutorResources,
    ProblemSize,
    Strategy,
    assign_slices,
    changed_rows,
    cheaper,
    fastest_strategy,
    fastest_tiling,
    free_memory,
    gram_operations,
    parse_bytes,
    primal_operations,
    python_memory,
)

LAPTOP = ExecutorResources(cores=2, executor_cores=2, memory_bytes=8 << 30)
SHARES = tuple(share / 10 for share in range(1, 10))


def study(rows: int, classes: int = 37) -> ProblemSize:
    return ProblemSize(rows, tuple(int(rows * share) for share in SHARES), 4096, classes, 100)


def test_fastest_strategy_is_gram_for_few_rows_primal_for_many() -> None:
    assert fastest_strategy(study(7_400), LAPTOP, 8).name == "gram"
    assert fastest_strategy(study(30_000), LAPTOP, 8).name == "primal"
    assert cheaper(study(7_400)) == "gram"
    assert cheaper(study(14_000)) == "primal"


def test_operations_of_gram_and_primal() -> None:
    size = ProblemSize(10, (4, 8), 3, 2, 5)
    assert gram_operations(size) == 8 * 8 * 3 + 2 * 5 * 2 * (16 + 64)
    assert primal_operations(size) == 4 * 5 * 2 * 3 * 12


def test_hinge_loss_makes_gram_steps_cheaper() -> None:
    assert changed_rows("logistic") == 1
    size = study(14_000)
    hinge = size._replace(changed_rows=changed_rows("hinge"))
    assert (cheaper(size), cheaper(hinge)) == ("primal", "gram")
    assert (
        fastest_strategy(study(7_400)._replace(changed_rows=changed_rows("hinge")), LAPTOP, 8).tasks
        == 1
    )


def test_fastest_strategy_without_memory_is_distributed() -> None:
    assert (
        fastest_strategy(study(7_400), LAPTOP._replace(memory_bytes=100 << 20), 8).name
        == "distributed"
    )
    # Only the Gram matrix does not fit.
    assert (
        fastest_strategy(study(20_000), LAPTOP._replace(memory_bytes=2 << 30), 8).name == "primal"
    )


def test_assign_slices_contains_every_model_once() -> None:
    resources = ExecutorResources(cores=32, executor_cores=4, memory_bytes=64 << 30)
    for tasks in (1, 2, 9, 32):
        strategy = Strategy("gram", tasks, 0.0, 0)
        slices = assign_slices(study(7_400), strategy)
        models = [
            (part.share, model)
            for task in slices
            for part in task
            for model in range(part.first, part.last)
        ]
        assert len(slices) == tasks
        assert all(slices)
        assert sorted(models) == [(share, model) for share in range(9) for model in range(37)]
    assert fastest_strategy(study(7_400), resources, 8).tasks > 9


def test_threads_never_exceed_executor_cores() -> None:
    for cores in (1, 2, 3, 4, 8):
        resources = ExecutorResources(cores=16, executor_cores=cores, memory_bytes=1)
        for tasks in range(1, 20):
            assert resources.threads(tasks) * min(tasks, cores) <= cores


def test_fastest_tiling_contains_every_pair_and_fits_memory() -> None:
    rows = {f"c{n}": 200 for n in range(37)}
    size = ProblemSize(7_400, (), 4096, 9, 100)
    tiling = fastest_tiling(rows, size, LAPTOP, 8)
    assert len(tiling.tiles) == 3  # two groups for two cores: 342 pairs, and 324 in two tiles
    for a in rows:
        for b in rows:
            if a < b:
                number = tiling.tile_of(a, b)
                assert number in tiling.tiles_of(a)
                assert number in tiling.tiles_of(b)
    small = fastest_tiling(rows, size, LAPTOP._replace(memory_bytes=100 << 20), 8)
    assert len(small.tiles) > len(tiling.tiles)
    wide = fastest_tiling(rows, size, ExecutorResources(16, 4, 8 << 30), 8)
    assert len(wide.tiles) >= 16
    assert len(fastest_tiling({"a": 5, "b": 3}, size, LAPTOP, 8).tiles) >= 1


@pytest.mark.parametrize(
    ("text", "size"),
    [("512m", 512 << 20), ("4g", 4 << 30), ("4743M", 4743 << 20), ("100", 100 << 20)],
)
def test_parse_bytes_of_spark_sizes(text: str, size: int) -> None:
    assert parse_bytes(text) == size


def test_python_memory_from_spark_settings() -> None:
    conf = {"spark.executor.memory": "3g"}
    assert python_memory(conf, local=False) == (384 << 20) + (1 << 30)
    limited = {**conf, "spark.executor.pyspark.memory": "2g"}
    assert python_memory(limited, local=False) == 2 << 30
    assert python_memory({}, local=True) > 0
    assert free_memory() > 0
    assert Path("/proc/meminfo").exists() or free_memory() == 4 << 30
