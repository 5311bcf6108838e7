"""Edge cases of the rules on hand-made records."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from emrctl.aws.spark_conf import SparkConf
from emrctl.metrics import timeline
from emrctl.metrics.findings import KINDS, Report, check, diagnose
from emrctl.metrics.findings.base import RunView
from emrctl.metrics.model import (
    ApplicationAccount,
    CachedRdd,
    ClusterAccount,
    ExecutorMetrics,
    NodeAccount,
    Reuse,
    RunMetrics,
    SqlMetrics,
    StageMetrics,
    Straggler,
)
from tests.metrics.findings.hand_made import LONG, MB, even, kinds, only, run, slow, stage, worker


def test_diagnose_healthy_run_has_no_findings() -> None:
    assert diagnose(run()) == ()


def test_diagnose_empty_record_has_no_findings() -> None:
    assert diagnose(RunMetrics()) == ()


@pytest.mark.parametrize(
    ("figures", "kind"),
    [
        ({"gc_time_ms": 5_000}, "gc_straggler"),
        ({"fetch_wait_time_ms": 5_000}, "fetch_straggler"),
        ({"read_bytes": 400 * MB}, "data_skew"),
        ({"written_bytes": 400 * MB}, "data_skew"),
        ({"read_bytes": 110 * MB}, "straggler"),
        ({}, "straggler"),
    ],
)
def test_skew_distinguishes_causes(figures: dict[str, int], kind: str) -> None:
    data = {"shuffle_read_bytes_quantiles": even(100 * MB)}
    data["shuffle_write_bytes_quantiles"] = even(100 * MB)
    record = run(slow(of=LONG | figures, shuffle_read_bytes=4_000 * MB, **data))
    assert only(diagnose(record), kind).stages == (0,)


def test_skew_slow_tasks_of_one_executor_are_slow_host() -> None:
    slowest = tuple(Straggler(task=n, executor="2", **LONG) for n in range(4))
    found = only(diagnose(run(slow(tasks_slow=slowest))), "slow_host")
    assert "executor 2" in found.evidence
    assert found.settings == {"spark.speculation": "true"}
    there = run(slow(tasks_slow=slowest), environment={"spark.speculation": "true"})
    assert only(diagnose(there), "slow_host").settings == {}


def test_skew_one_very_slow_task_is_not_slow_host() -> None:
    """The first tasks of a cold executor are slow, but the stage did not wait for them."""
    cold = tuple(Straggler(task=n, executor="2", duration_ms=1_600) for n in range(3))
    slowest = (Straggler(task=9, executor="2", **LONG), *cold)
    assert kinds(run(slow(tasks_slow=slowest))) >= {"straggler"}
    assert "slow_host" not in kinds(run(slow(tasks_slow=slowest)))


def test_skew_long_task_without_idle_cores_is_no_straggler() -> None:
    busy = dataclasses.replace(slow(of=LONG), task_time_ms=71_000)
    assert "straggler" not in kinds(run(busy))


def few(**more: Any) -> StageMetrics:
    fields: dict[str, Any] = {"tasks": 2, "tasks_ok": 2, "task_time_ms": 20_000}
    return stage(**(fields | {"duration_ms_quantiles": even(10_000)} | more))


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, {"spark.default.parallelism": "16"}),
        ({"spark.default.parallelism": "16"}, {}),
    ],
)
def test_few_partitions_advice_skips_settings_in_effect(
    environment: dict[str, str], wanted: dict[str, str]
) -> None:
    record = run(few(shuffle_read_bytes=MB), environment=environment)
    found = only(diagnose(record), "few_partitions")
    assert found.settings == wanted
    assert found.seconds == pytest.approx(7.5)


def test_few_partitions_advice_for_sql() -> None:
    sql = (SqlMetrics(id=0),)
    environment = {"spark.sql.adaptive.enabled": "false", "spark.sql.shuffle.partitions": "2"}
    record = run(few(shuffle_read_bytes=MB), sql=sql, environment=environment)
    found = only(diagnose(record), "few_partitions")
    assert found.settings == {"spark.sql.shuffle.partitions": "16"}
    adaptive = run(few(shuffle_read_bytes=MB), sql=sql)
    assert "Adaptive" in only(diagnose(adaptive), "few_partitions").advice


def test_few_partitions_nearly_empty_last_wave() -> None:
    wave = stage(tasks=9, tasks_ok=9, task_time_ms=45_000, duration_ms_quantiles=even(5_000))
    assert only(diagnose(run(wave)), "few_partitions").figures == {"tasks": 9, "cores": 8}


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("Container killed by YARN for exceeding physical memory limits.", "container_killed"),
        ("Container from a bad node. Exit status: 137. Diagnostics:", "container_killed"),
        ("Command exited with code 52", "memory_short"),
        ("Command exited with code 143", None),
    ],
)
def test_executor_exit_reason_determines_kind(reason: str, kind: str | None) -> None:
    gone = worker("2", removed_ms=15_000, remove_reason=reason)
    found = kinds(run(executors=(worker("1"), gone)))
    assert found == ({kind} if kind else set())


def test_container_killed_from_yarn_diagnostics() -> None:
    said = "Container [pid=1] is running beyond physical memory limits. exit code 137"
    account = ApplicationAccount(application_id="a", state="FINISHED", diagnostics=said)
    assert "the driver" in only(diagnose(run(yarn=account)), "container_killed").evidence


def test_missing_executors_advice_compares_with_yarn_memory() -> None:
    nodes = tuple(NodeAccount(id=f"n{n}", state="RUNNING") for n in range(2))
    cluster = ClusterAccount(memory_total_mb=24_576, nodes=nodes)
    environment = {
        "spark.executor.instances": "5",
        "spark.executor.memory": "9486M",
        "spark.yarn.executor.memoryOverheadFactor": "0.1875",
    }
    found = only(diagnose(run(environment=environment, cluster=cluster)), "missing_executors")
    assert found.severity == "high"
    assert "11264 MB" in found.advice
    assert "24576 MB on 2 nodes" in found.advice


@pytest.mark.parametrize(("version", "multiplier"), [("3.5.9", "1.5"), ("4.1.1", "3")])
def test_speculation_waste_advice_names_default_of_version(version: str, multiplier: str) -> None:
    wasted = stage(failures={"TaskKilled another attempt succeeded": 40}, killed_time_ms=60_000)
    found = only(diagnose(run(wasted, spark_version=version)), "speculation_waste")
    assert f"multiplier above {multiplier}," in found.advice


def test_idle_executors_found() -> None:
    rows = (worker("1", task_time_ms=79_000), worker("2", task_time_ms=1_000))
    found = only(diagnose(run(executors=rows)), "idle_executors")
    assert found.figures["busiest_share"] == pytest.approx(0.988)
    assert "cached" in found.advice


def test_idle_executors_dynamic_allocation_tolerates_some() -> None:
    rows = (worker("1", task_time_ms=79_000), worker("2", added_ms=11_000, task_time_ms=1_000))
    environment = {"spark.dynamicAllocation.enabled": "true"}
    assert "idle_executors" not in kinds(run(executors=rows, environment=environment))


def test_driver_bound_ignores_shells() -> None:
    late = run(stage(submitted_ms=60_000, first_task_ms=60_000, completed_ms=70_000), end_ms=90_000)
    assert kinds(late) == {"driver_bound"}
    assert kinds(dataclasses.replace(late, app_name="Spark shell")) == set()


def test_uncached_reuse_ignores_parallelized_lists() -> None:
    again = Reuse(rdd=1, is_source=True, times=3, names=("sum",), repeated_time_ms=40_000)
    assert "uncached_reuse" not in kinds(run(reuses=(again,)))
    read = dataclasses.replace(again, repeated_input_bytes=5 * MB)
    assert only(diagnose(run(reuses=(read,))), "uncached_reuse").seconds == pytest.approx(5.0)


def test_small_files_from_plan_metrics() -> None:
    query = SqlMetrics(id=0, files_written=500, files_written_bytes=500 * MB)
    found = only(diagnose(run(sql=(query,))), "small_files")
    assert "coalesce(4)" in found.advice
    large = SqlMetrics(id=0, files_written=500, files_written_bytes=5_000 * MB)
    assert kinds(run(sql=(large,))) == set()


def test_spark_conf_parses_like_spark() -> None:
    found = SparkConf({"a": "2g", "b": "512", "c": "nonsense", "d": " 1024K "}, "3.5.6-amzn-1")
    assert [found.mb(key, "1g") for key in "abcde"] == [2048, 512, 1024, 1, 1024]
    assert found.version == (3, 5)
    assert found.adaptive
    assert not SparkConf({}, None).adaptive


def test_missing_executors_advice_reads_overhead_with_unit() -> None:
    environment = {
        "spark.executor.instances": "6",
        "spark.executor.memory": "4gb",
        "spark.executor.memoryOverhead": "2g",
        "spark.executor.pyspark.memory": "1024",
    }
    found = only(diagnose(run(environment=environment)), "missing_executors")
    assert "a container of 7168 MB (heap 4096 MB and 3072 MB beside it)" in found.advice


def _driver(heap_mb: int, gc_ms: int) -> ExecutorMetrics:
    peaks = {"JVMHeapMemory": heap_mb * MB, "TotalGCTime": gc_ms}
    return worker("driver", cores=0, task_time_ms=0, complete_tasks=0, peak_memory=peaks)


@pytest.mark.parametrize(
    ("driver", "environment", "kind", "memory"),
    [
        (_driver(1_000, 5_000), {}, "memory_short", "2g"),
        (_driver(1_000, 5_000), {"spark.driver.memory": "2048"}, None, ""),
        (_driver(1_000, 500), {}, None, ""),
        (_driver(1_000, 500), {"spark.driver.memory": "8gb"}, "memory_unused", "1536m"),
        (_driver(1_000, 5_000), {"spark.master": "local[2]"}, None, ""),
    ],
)
def test_driver_heap_is_compared_with_driver_memory(
    driver: ExecutorMetrics, environment: dict[str, str], kind: str | None, memory: str
) -> None:
    found = diagnose(run(executors=(worker("1"), worker("2"), driver), environment=environment))
    expected = [(kind, {"spark.driver.memory": memory})] if kind else []
    assert [(item.kind, dict(item.settings)) for item in found] == expected


def test_task_cpus_reduce_slots_of_executors() -> None:
    """Two executors of four cores run two tasks at a time: they are always full."""
    full = stage(tasks=10, tasks_ok=10, task_time_ms=20_000)
    environment = {"spark.task.cpus": "4"}
    assert diagnose(run(full, environment=environment)) == ()
    assert "few_partitions" in kinds(run(few(shuffle_read_bytes=MB)))
    record = run(few(shuffle_read_bytes=MB), environment=environment)
    assert RunView(record).cores == 2
    assert "few_partitions" not in kinds(record)


def test_task_cpus_are_named_in_evidence() -> None:
    wide = tuple(worker(str(number), cores=16) for number in range(2))
    record = run(few(), executors=wide, environment={"spark.task.cpus": "4"})
    evidence = only(diagnose(record), "few_partitions").evidence
    assert "for 8 task slots (spark.task.cpus=4)" in evidence


def test_timeline_merges_overlaps() -> None:
    assert timeline.merged([(5, 9), (0, 2), (1, 3), (9, 10)]) == [(0, 3), (5, 10)]
    area = timeline.Area([((0, 10), 2.0), ((5, 15), 1.0), ((20, 30), 4.0)])
    assert [area.within(span) for span in ((-5, 5), (0, 15), (12, 22), (40, 50), (5, 5))] == [
        10.0,
        30.0,
        11.0,
        0.0,
        0.0,
    ]
    assert timeline.Area([]).within((0, 9)) == 0
    assert RunView(run()).cores_within((0, 10_000)) == 8


def _with_peaks(heap_mb: int, gc_ms: int) -> RunMetrics:
    peaks = {"JVMHeapMemory": heap_mb * MB}
    rows = tuple(worker(name, peak_memory=peaks) for name in ("1", "2"))
    collected = stage(jvm_gc_time_ms=gc_ms)
    return run(
        collected,
        executors=rows,
        jvm_gc_time_ms=gc_ms,
        environment={"spark.executor.memory": "8g"},
    )


def test_gc_with_unused_heap_does_not_advise_a_larger_heap() -> None:
    found = diagnose(_with_peaks(600, 30_000))
    assert only(found, "gc").settings == {}
    assert "600 of 8192 MB" in only(found, "gc").advice
    assert only(found, "memory_unused").settings == {"spark.executor.memory": "1g"}


def test_gc_with_used_heap_advises_a_larger_heap() -> None:
    found = diagnose(_with_peaks(6_000, 30_000))
    assert only(found, "gc").settings == {"spark.executor.memory": "12g"}
    assert {item.kind for item in found} == {"gc"}


def test_out_of_memory_excludes_unused_heap() -> None:
    record = _with_peaks(600, 0)
    gone = worker("3", removed_ms=15_000, remove_reason="Command exited with code 52")
    found = diagnose(dataclasses.replace(record, executors=(*record.executors, gone)))
    assert {item.kind for item in found} == {"memory_short"}


def test_check_lists_clean_and_unchecked_kinds() -> None:
    report = check(run())
    assert report.findings == ()
    assert set(report.clean) | set(report.unchecked) == set(KINDS)
    assert not set(report.clean) & set(report.unchecked)
    assert "data_skew" in report.clean
    assert report.unchecked["memory_unused"] == (
        "no executor reports the memory that it uses: no executor lived long enough"
    )
    assert report.unchecked["low_overhead"] == "the log has no EnvironmentUpdate event"
    old = check(run(spark_version="2.4.8"))
    assert "2.4.8" in old.unchecked["adaptive_off"]
    assert "before 3.0" in old.unchecked["memory_unused"]


@pytest.mark.parametrize(
    ("fields", "kind", "reason"),
    [
        ({"end_ms": None}, "driver_bound", "ApplicationEnd"),
        ({"sql": (SqlMetrics(id=0),)}, "missed_broadcast", "earlier version"),
        ({"cached": (CachedRdd(rdd=1, partitions=4),)}, "cache_evicted", "logBlockUpdates"),
        ({"environment": {"spark.master": "local[2]"}}, "idle_executors", "local"),
        ({"executors": ()}, "cold_start", "ExecutorAdded"),
        ({}, "large_result", "sums"),
    ],
)
def test_check_names_missing_data(fields: dict[str, Any], kind: str, reason: str) -> None:
    assert reason in check(run(**fields)).unchecked[kind]


def test_check_empty_record_checks_nothing_about_tasks() -> None:
    report = check(RunMetrics())
    assert report.unchecked["data_skew"] == "the log has no task"
    assert Report.from_json(report.to_json()) == report


def test_check_incomplete_log_lowers_confidence() -> None:
    whole = run(few(shuffle_read_bytes=MB))
    assert only(diagnose(whole), "few_partitions").confidence == "high"
    cut = dataclasses.replace(whole, complete=False)
    assert only(diagnose(cut), "few_partitions").confidence == "medium"


def test_check_limits_override_thresholds() -> None:
    record = run(few(shuffle_read_bytes=MB))
    assert "few_partitions" in {item.kind for item in check(record).findings}
    longer = check(record, {"worth_cutting_ms": 20_000})
    assert "few_partitions" not in {item.kind for item in longer.findings}
