"""The search over a list of configurations."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from emrctl.errors import NotFoundError, UsageError
from emrctl.tune.search import Search

# Time per core, USD per hour, GiB.
TYPES = {
    "c5.xlarge": (1.0, 0.17, 8),
    "m5.xlarge": (1.15, 0.192, 16),
    "r5.xlarge": (1.2, 0.252, 32),
}
CLUSTERS: list[dict[str, float | str]] = [
    {"machine_type": name, "instance_count": count} for name in TYPES for count in range(2, 25, 2)
]
Cost = Callable[[dict[str, float | str]], float]


def _time(cluster: dict[str, float | str]) -> float:
    name, count = str(cluster["machine_type"]), float(cluster["instance_count"])
    work, _, memory = TYPES[name]
    spilled: float = max(1.0, 100 / (memory * count)) ** 0.8
    return 40 + spilled * 3000 * work / count + 4 * count


def _cost(cluster: dict[str, float | str]) -> float:
    name, count = str(cluster["machine_type"]), float(cluster["instance_count"])
    return _time(cluster) * TYPES[name][1] * count


def _run(search: Search, candidates: list[dict[str, float | str]], value: Cost, runs: int) -> None:
    for _ in range(runs):
        index = search.ask()
        search.tell(index, value(candidates[index]))


@pytest.mark.parametrize("value", [_time, _cost])
@pytest.mark.parametrize("seed", range(3))
def test_search_of_clusters_comes_within_ten_percent_in_eight_runs(value: Cost, seed: int) -> None:
    search = Search(CLUSTERS, seed=seed)
    _run(search, CLUSTERS, value, 8)
    assert value(CLUSTERS[search.best()]) <= 1.1 * min(map(value, CLUSTERS))


def test_search_of_spark_settings_beats_the_median_of_all() -> None:
    grid: list[dict[str, float | str]] = [
        {"executors": e, "executor_cores": c, "spark.io.compression.codec": codec, "partitions": p}
        for e in (1, 2, 4)
        for c in (1, 2, 4)
        for codec in ("lz4", "zstd")
        for p in (8, 64, 512)
    ]

    def value(item: dict[str, float | str]) -> float:
        cores = float(item["executors"]) * float(item["executor_cores"])
        tasks = abs(math.log(float(item["partitions"]) / (4 * cores)))
        return (300 / cores + 20) * (1 + 0.2 * tasks) * (1.3 if item["partitions"] == 8 else 1.0)

    search = Search(grid, seed=1)
    _run(search, grid, value, 12)
    assert value(grid[search.best()]) <= 1.1 * min(map(value, grid))


def test_ask_is_the_same_for_the_same_seed_and_order_of_measurements() -> None:
    first, second = Search(CLUSTERS, seed=3), Search(CLUSTERS, seed=3)
    for index in (4, 20, 30, 7):
        first.tell(index, _time(CLUSTERS[index]))
    for index in (7, 30, 20, 4):
        second.tell(index, _time(CLUSTERS[index]))
    assert first.ask() == first.ask() == second.ask()


def test_ask_proposes_each_candidate_once_before_any_is_repeated() -> None:
    search = Search(CLUSTERS[:9], seed=0)
    proposed = []
    for _ in range(9):
        proposed.append(search.ask())
        search.tell(proposed[-1], _time(CLUSTERS[proposed[-1]]))
    assert sorted(proposed) == list(range(9))
    assert search.expected_gain() == 0.0
    assert search.ask() in range(9)


def test_ask_leaves_out_pending_candidates() -> None:
    search = Search(CLUSTERS, seed=0)
    pending: list[int] = []
    for _ in range(len(CLUSTERS)):
        pending.append(search.ask(pending))
    assert sorted(pending) == list(range(len(CLUSTERS)))
    assert search.ask(pending) in pending
    search.tell(5, 100.0)
    assert search.ask([20, 30]) not in {5, 20, 30}


def test_ask_repeats_when_repeats_differ_more_than_others_may_gain() -> None:
    candidates: list[dict[str, float | str]] = [{"nodes": n} for n in (1, 2, 4, 8, 256)]
    search = Search(candidates, seed=0)
    for index, values in enumerate(((800, 810), (400, 410), (100, 118), (101, 116))):
        for value in values:
            search.tell(index, value)
    search.tell(4, math.nan)
    assert search.ask() in {2, 3}


def test_failed_configurations_are_never_the_best_and_repel_the_search() -> None:
    search = Search(CLUSTERS, seed=0)
    for index in range(6):
        search.tell(index, math.inf if index % 2 else math.nan)
    assert search.expected_gain() == math.inf
    assert search.ask() not in range(6)
    search.tell(30, 100.0)
    assert search.best() == 30
    assert math.isfinite(search.expected_gain())


def test_best_without_a_successful_measurement_is_an_error() -> None:
    search = Search(CLUSTERS, seed=0)
    with pytest.raises(NotFoundError):
        search.best()
    search.tell(0, math.nan)
    with pytest.raises(NotFoundError):
        search.best()


def test_best_compares_means_of_repeats() -> None:
    search = Search(CLUSTERS, seed=0)
    search.tell(0, 90.0)
    search.tell(0, 130.0)
    search.tell(1, 100.0)
    search.tell(2, 101.0)
    assert search.best() == 1


def test_maximise_looks_for_the_largest_value() -> None:
    search = Search(CLUSTERS, seed=0, goal="maximise")
    _run(search, CLUSTERS, lambda item: 1e6 / _time(item), 8)
    assert _time(CLUSTERS[search.best()]) <= 1.05 * min(map(_time, CLUSTERS))


@pytest.mark.parametrize("goal", ["minimise", "maximise"])
def test_values_that_are_not_positive_are_searched(goal: str) -> None:
    candidates: list[dict[str, float | str]] = [{"x": x} for x in range(30)]
    sign = 1 if goal == "minimise" else -1
    search = Search(candidates, seed=0, goal="minimise" if goal == "minimise" else "maximise")
    _run(search, candidates, lambda item: sign * ((float(item["x"]) - 21) ** 2 - 100), 12)
    assert abs(search.best() - 21) <= 1


@pytest.mark.parametrize("value", [0.0, 7.0, 1e-300, 1e300, -5.0])
def test_equal_values_are_searched_without_an_error(value: float) -> None:
    search = Search(CLUSTERS[:6], seed=0)
    _run(search, CLUSTERS, lambda _: value, 8)
    assert 0.0 <= search.expected_gain() <= 1.0
    assert search.best() in range(6)


def test_expected_gain_falls_as_the_search_goes_on() -> None:
    search = Search(CLUSTERS, seed=0)
    assert search.expected_gain() == math.inf
    _run(search, CLUSTERS, _cost, 4)
    early = search.expected_gain()
    _run(search, CLUSTERS, _cost, 12)
    assert search.expected_gain() < early < 1


def test_equal_and_single_candidates_are_searched() -> None:
    single = Search([{"x": 1}], seed=0)
    assert single.ask() == 0
    single.tell(0, 5.0)
    assert (single.ask(), single.best(), single.expected_gain()) == (0, 0, 0.0)
    equal = Search([{"x": 1}] * 4, seed=0)
    _run(equal, [{}] * 4, lambda _: 3.0, 5)
    assert equal.best() in range(4)


def test_wrong_arguments_are_usage_errors() -> None:
    with pytest.raises(UsageError, match="at least one candidate"):
        Search([], seed=0)
    with pytest.raises(UsageError, match="goal 'least' is unknown"):
        Search(CLUSTERS, seed=0, goal="least")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no candidate 36"):
        Search(CLUSTERS, seed=0).tell(36, 1.0)
    with pytest.raises(UsageError, match="no candidate -1"):
        Search(CLUSTERS, seed=0).tell(-1, 1.0)
