"""Effective Spark settings: sizes in Spark's notation, memory of processes, task slots."""

from __future__ import annotations

import pytest

from emrctl.aws.instance_types import instance_type
from emrctl.aws.spark_conf import (
    ProcessMemory,
    SparkConf,
    emr_defaults,
    fitted_executor,
    heap_mb,
    maximized,
    memory_mb,
    size_mb,
)
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
        ("1p", 1_073_741_824),
        ("1m", 1),
        ("1024k", 1),
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
    [
        ("200ms", 0.2),
        ("3", 3.0),
        (" 2M ", 120.0),
        ("1h", 3600.0),
        ("1.5s", 9.0),
        ("x", 9.0),
        ("", 9.0),
        ("5us", 5e-6),
        ("2s", 2.0),
        ("3min", 180.0),
        ("2d", 172_800.0),
        ("2w", 9.0),
    ],
)
def test_seconds_reads_units_of_spark(text: str, seconds: float) -> None:
    assert SparkConf({"spark.x": text}).seconds("spark.x", 9.0) == pytest.approx(seconds)


def test_heap_smaller_than_spark_needs_is_rejected() -> None:
    assert heap_mb("450m") == 450
    with pytest.raises(SpecError, match="'449' is a heap of 449 MB"):
        heap_mb("449")


M5 = instance_type("m5.xlarge")


def test_emr_defaults_are_those_of_the_documentation() -> None:
    """m5.xlarge in "Configure Spark" of the EMR release guide."""
    assert emr_defaults(M5) == {
        "spark.dynamicAllocation.enabled": "true",
        "spark.executor.cores": "4",
        "spark.executor.memory": "9486M",
        "spark.executor.memoryOverheadFactor": "0.1875",
        "spark.driver.memory": "2048M",
    }


def test_maximized_executor_takes_the_whole_node() -> None:
    # 12,288 MB x 11 / 12 / 1.1875 = 9,485.5
    allocated = {
        "spark.executor.cores": "4",
        "spark.executor.memory": "9485M",
        "spark.default.parallelism": "24",
    }
    assert maximized(M5, 3, {"spark.dynamicAllocation.enabled": "TRUE"}) == allocated
    fixed = {"spark.executor.instances": "3", "spark.dynamicAllocation.enabled": "false"}
    assert maximized(M5, 3, {}) == allocated | fixed


@pytest.mark.parametrize(
    ("nodes", "user", "heap"),
    [
        # 12,288 MB less 2,048 + 384 of the driver are 9,856: 8,300 + 18.75 % of it.
        (1, {}, "8300M"),
        (2, {}, None),
        (1, {"spark.yarn.heterogeneousExecutors.enabled": "False"}, None),
        (1, {"spark.yarn.heterogeneousExecutors.enabled": "true"}, "8300M"),
        (1, {"spark.executor.memory": "9486M"}, None),
        # A driver of 1,024 MB leaves exactly the 11,264 of EMR's default.
        (1, {"spark.driver.memory": "640m"}, None),
        (1, {"spark.driver.memory": "641m"}, "9459M"),
        # 864 MB are left: a heap of 450, the smallest one, and of 449.
        (1, {"spark.executor.minMemoryOverhead": "414m"}, "450M"),
        (1, {"spark.executor.minMemoryOverhead": "415m"}, None),
    ],
)
def test_fitted_executor_has_room_beside_a_driver(
    nodes: int, user: dict[str, str], heap: str | None
) -> None:
    if "spark.executor.minMemoryOverhead" in user:
        driver = {"spark.driver.memory": "11040m", "spark.driver.memoryOverhead": "384m"}
        user = {**user, **driver}
    expected = {} if heap is None else {"spark.executor.memory": heap}
    assert fitted_executor(M5, nodes, user) == expected


@pytest.mark.parametrize("factor", ["0.1", "0.1875", "0.4", "1.0"])
@pytest.mark.parametrize("further", [{}, {"spark.executor.pyspark.memory": "100m"}])
def test_largest_heap_is_the_largest_that_fits(factor: str, further: dict[str, str]) -> None:
    def executor(heap: int) -> ProcessMemory:
        fields = {
            "spark.executor.memory": f"{heap}m",
            "spark.executor.memoryOverheadFactor": factor,
        }
        return SparkConf({**fields, **further}).executor

    for container in (*range(1000, 1100), *range(9000, 9070)):
        heap = executor(1).largest_heap_mb(container)
        assert executor(heap).container_mb <= container < executor(heap + 1).container_mb


def test_largest_heap_beside_a_set_overhead_is_the_rest() -> None:
    parts = {"overhead_mb": 512, "off_heap_mb": 100, "python_mb": 60}
    memory = ProcessMemory(heap_mb=1, **parts)
    assert memory.largest_heap_mb(2079) == 2048 - 672
    assert memory.largest_heap_mb(2047) == 2016 - 672
    assert ProcessMemory(heap_mb=1, overhead_mb=0).container_mb == 32
    assert ProcessMemory(heap_mb=32, overhead_mb=0).largest_heap_mb(32) == 32


def test_number_and_on_read_properties_with_spaces() -> None:
    conf = SparkConf({"a": " 4 ", "b": "4.5", "c": " TRUE ", "d": "false"})
    assert [conf.number(key) for key in ("a", "b", "x")] == [4, None, None]
    assert [conf.on(key) for key in ("a", "c", "d", "x")] == [False, True, False, False]
    assert conf.on("x", default=True)
    assert not conf.on("d", default=True)


def test_mb_of_invalid_size_is_the_default() -> None:
    conf = SparkConf({"a": "much", "b": "2097152", "c": "0"})
    assert conf.mb("a", "3g") == conf.mb("x", "3g") == 3072
    assert conf.mb("b", "3g", "b") == 2
    assert conf.mb("c", "3g") == 0
    assert conf.mb("a", "many") == 0


@pytest.mark.parametrize(
    ("version", "adaptive"),
    [("3.1.9", False), ("3.2.0", True), ("4.0.0", True), ("2.4.8-amzn-1", False), (None, False)],
)
def test_adaptive_execution_is_the_default_since_spark_3_2(
    version: str | None, adaptive: bool
) -> None:
    assert SparkConf({}, version).adaptive is adaptive
    opposite = {"spark.sql.adaptive.enabled": str(not adaptive).lower()}
    assert SparkConf(opposite, version).adaptive is not adaptive


@pytest.mark.parametrize(
    ("master", "local", "heap"),
    [
        ("local", True, 3072),
        ("local[2]", True, 3072),
        ("local-cluster[2,1,1024]", False, 2048),
        ("yarn", False, 2048),
        ("", False, 2048),
    ],
)
def test_heap_of_local_master_is_that_of_the_driver(master: str, local: bool, heap: int) -> None:
    memory = {"spark.driver.memory": "3g", "spark.executor.memory": "2g"}
    conf = SparkConf({"spark.master": master, **memory})
    assert (conf.local, conf.heap_mb) == (local, heap)


def test_requested_executors_are_the_largest_of_the_counts_in_effect() -> None:
    counts = {
        "spark.executor.instances": "2",
        "spark.dynamicAllocation.initialExecutors": "5",
        "spark.dynamicAllocation.minExecutors": "3",
    }
    assert SparkConf(counts).requested_executors == 2
    on = {"spark.dynamicAllocation.enabled": "true"}
    assert SparkConf({**counts, **on}).requested_executors == 5
    least = {**counts, **on, "spark.dynamicAllocation.initialExecutors": "0"}
    assert SparkConf(least).requested_executors == 3
    assert SparkConf({"spark.executor.instances": "0"}).requested_executors is None
    assert SparkConf(on).requested_executors is None


def test_differs_returns_settings_that_are_not_in_effect() -> None:
    conf = SparkConf({"a": str(1024), "b": "2"})
    assert conf.differs({"a": "1024", "b": "3", "c": ""}) == {"b": "3"}
