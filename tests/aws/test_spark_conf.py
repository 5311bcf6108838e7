"""Effective Spark settings: sizes in Spark's notation, memory of processes, task slots."""

from __future__ import annotations

import pytest

from emrctl.aws.spark_conf import SparkConf, memory_mb, size_mb
from emrctl.errors import SpecError


@pytest.mark.parametrize(
    ("text", "mb"),
    [
        ("512m", 512),
        ("4g", 4096),
        ("2G", 2048),
        ("4gb", 4096),
        ("4GB", 4096),
        ("2048", 2048),
        ("1048576k", 1024),
        ("1073741824b", 1024),
        ("1t", 1_048_576),
        (" 4g ", 4096),
    ],
)
def test_memory_mb_reads_sizes_that_spark_takes(text: str, mb: int) -> None:
    assert memory_mb(text) == mb


@pytest.mark.parametrize("text", ["4 gigs", "1.5g", "", "0", "0g", "-1g", "g", "4gib", "1b"])
def test_memory_mb_rejects_what_spark_rejects(text: str) -> None:
    with pytest.raises(SpecError, match="invalid memory size"):
        memory_mb(text)


def test_size_without_unit_has_unit_of_property() -> None:
    assert size_mb("2147483648", "b") == 2048
    assert size_mb("2", "g") == 2048


@pytest.mark.parametrize(
    ("properties", "heap", "overhead", "beside"),
    [
        ({}, 1024, 384, 384),
        ({"spark.executor.memory": "8g"}, 8192, 819, 819),
        ({"spark.executor.memory": "8g", "spark.executor.memoryOverhead": "2g"}, 8192, 2048, 2048),
        ({"spark.executor.memory": "8192", "spark.executor.memoryOverhead": "512"}, 8192, 512, 512),
        ({"spark.yarn.executor.memoryOverhead": "600"}, 1024, 600, 600),
        (
            {"spark.executor.memory": "8g", "spark.yarn.executor.memoryOverheadFactor": "0.18750"},
            8192,
            1536,
            1536,
        ),
        ({"spark.executor.minMemoryOverhead": "1g"}, 1024, 1024, 1024),
        ({"spark.executor.pyspark.memory": "1g"}, 1024, 384, 1408),
        ({"spark.memory.offHeap.size": "1g"}, 1024, 384, 384),
        (
            {"spark.memory.offHeap.enabled": "true", "spark.memory.offHeap.size": "1073741824"},
            1024,
            384,
            1408,
        ),
    ],
)
def test_executor_memory_has_all_parts(
    properties: dict[str, str], heap: int, overhead: int, beside: int
) -> None:
    memory = SparkConf(properties).executor
    assert (memory.heap_mb, memory.overhead_mb, memory.beside_mb) == (heap, overhead, beside)
    assert memory.container_mb - 32 < heap + beside <= memory.container_mb


def test_driver_and_application_master_have_their_own_properties() -> None:
    conf = SparkConf(
        {
            "spark.driver.memory": "4g",
            "spark.driver.memoryOverhead": "1g",
            "spark.yarn.am.memory": "1g",
            "spark.memory.offHeap.enabled": "true",
            "spark.memory.offHeap.size": "1g",
        }
    )
    assert (conf.driver.heap_mb, conf.driver.beside_mb) == (4096, 1024)
    assert (conf.client_master.heap_mb, conf.client_master.beside_mb) == (1024, 384)


def test_slots_divide_cores_by_task_cpus() -> None:
    assert SparkConf({}).slots(4) == 4
    assert [SparkConf({"spark.task.cpus": "4"}).slots(cores) for cores in (3, 4, 15)] == [0, 1, 3]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("200ms", 0.2), ("3", 3.0), (" 2M ", 120.0), ("1h", 3600.0), ("1.5s", 9.0), ("x", 9.0)],
)
def test_seconds_reads_units_of_spark(text: str, seconds: float) -> None:
    assert SparkConf({"spark.x": text}).seconds("spark.x", 9.0) == pytest.approx(seconds)
