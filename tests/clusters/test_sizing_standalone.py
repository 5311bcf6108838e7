"""What settings come to on standalone workers."""

from __future__ import annotations

import pytest

from emrctl.clusters import sizing_standalone
from emrctl.clusters.sizing_standalone import Workers, allot
from emrctl.errors import UsageError
from emrctl.spec import SparkSettings

TWO = Workers(count=2, cores=4, memory_mb=15_360)


def test_workers_lend_all_cores_and_all_memory_but_one_gib() -> None:
    assert Workers.of("m5.xlarge", 2) == TWO


@pytest.mark.parametrize(
    ("settings", "cores", "heap_mb", "room"),
    [
        ({}, 4, 12_934, 2),
        ({"executors": 2}, 4, 12_934, 2),
        ({"executors": 4}, 2, 6_467, 4),
        ({"executors": 5}, 1, 3_233, 8),
        ({"executors": 99}, 1, 3_233, 8),
        ({"executor_cores": 2}, 2, 6_467, 4),
        ({"executor_cores": 3}, 3, 12_934, 2),
        ({"executor_memory": "8g"}, 4, 8_192, 2),
        ({"executor_cores": 1, "executor_memory": "8g"}, 1, 8_192, 2),
        ({"conf": {"spark.executor.cores": "2", "spark.executor.memory": "1g"}}, 2, 1_024, 4),
    ],
)
def test_cores_are_shared_and_memory_goes_along(
    settings: dict[str, object], cores: int, heap_mb: int, room: int
) -> None:
    found = allot(TWO, SparkSettings.model_validate(settings))
    assert (found.cores, found.heap_mb, found.room) == (cores, heap_mb, room)


def test_the_number_of_executors_is_a_number_of_cores() -> None:
    asked = SparkSettings(executors=5, executor_cores=1, executor_memory="2g")
    assert sizing_standalone.conf(allot(TWO, asked), asked) == {
        "spark.executor.cores": "1",
        "spark.executor.memory": "2048m",
        "spark.cores.max": "5",
    }
    whole = SparkSettings()
    assert "spark.cores.max" not in sizing_standalone.conf(allot(TWO, whole), whole)


def test_dynamic_allocation_begins_with_the_number_that_was_asked_for() -> None:
    asked = SparkSettings(executors=2, dynamic_allocation=True)
    found = sizing_standalone.conf(allot(TWO, asked), asked)
    assert found["spark.dynamicAllocation.initialExecutors"] == "2"
    assert "spark.cores.max" not in found


def test_more_than_there_is_room_for_is_told() -> None:
    found = allot(TWO, SparkSettings(executors=9))
    assert found.warning == (
        "asked 9 executors, room for 8 (1 core and 3233 MB each, 2 workers of 4 cores and 15360 MB)"
    )
    assert allot(TWO, SparkSettings(executors=8)).warning is None


@pytest.mark.parametrize(
    ("settings", "flag"),
    [({"executor_cores": 5}, "--executor-cores"), ({"executor_memory": "16g"}, "15360m")],
)
def test_an_executor_larger_than_a_worker_is_refused(
    settings: dict[str, object], flag: str
) -> None:
    with pytest.raises(UsageError) as caught:
        allot(TWO, SparkSettings.model_validate(settings))
    assert flag in caught.value.hint
