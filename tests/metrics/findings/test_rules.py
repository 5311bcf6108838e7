"""Edge cases of the rules on hand-made records."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from emrctl.aws.spark_conf import SparkConf
from emrctl.metrics import timeline
from emrctl.metrics.findings import KINDS, Finding, Report, check, diagnose
from emrctl.metrics.findings.base import RunView
from emrctl.metrics.model import (
    ApplicationAccount,
    CachedRdd,
    ClusterAccount,
    ExecutorMetrics,
    NodeAccount,
    Quantiles,
    Reuse,
    RunMetrics,
    SqlMetrics,
    SqlOperator,
    StageMetrics,
    Straggler,
)

MB = 2**20


def even(value: int) -> Quantiles:
    return Quantiles(min=value, p25=value, median=value, p75=value, max=value)


def stage(number: int = 0, **more: Any) -> StageMetrics:
    """Return a stage of 40 tasks of 2 s that kept 8 cores busy for 10 s."""
    fields: dict[str, Any] = {
        "id": number,
        "status": "COMPLETE",
        "name": "count at job.py:1",
        "submitted_ms": 10_000,
        "first_task_ms": 10_000,
        "completed_ms": 20_000,
        "tasks": 40,
        "tasks_ok": 40,
        "task_time_ms": 80_000,
        "executor_run_time_ms": 78_000,
        "duration_ms_quantiles": even(2_000),
    }
    return StageMetrics(**(fields | more))


def worker(name: str, **more: Any) -> ExecutorMetrics:
    fields: dict[str, Any] = {
        "host": f"h{name}",
        "cores": 4,
        "added_ms": 0,
        "task_time_ms": 40_000,
        "complete_tasks": 20,
    }
    return ExecutorMetrics(id=name, **(fields | more))


def run(*stages: StageMetrics, **more: Any) -> RunMetrics:
    """Return a run of 30 s on two executors with four cores."""
    given = stages or (stage(),)
    fields: dict[str, Any] = {
        "start_ms": 0,
        "end_ms": 22_000,
        "duration_ms": 22_000,
        "complete": True,
        "stages": given,
        "executors": (worker("1"), worker("2")),
        "peak_executors": 2,
        "tasks_ok": sum(item.tasks_ok for item in given),
        "executor_run_time_ms": sum(item.executor_run_time_ms for item in given),
        "spark_version": "3.5.6",
    }
    return RunMetrics(**(fields | more))


def only(found: tuple[Finding, ...], kind: str) -> Finding:
    [item] = [item for item in found if item.kind == kind]
    return item


def kinds(record: RunMetrics) -> set[str]:
    return {item.kind for item in diagnose(record)}


def test_diagnose_healthy_run_has_no_findings() -> None:
    assert diagnose(run()) == ()


def test_diagnose_empty_record_has_no_findings() -> None:
    assert diagnose(RunMetrics()) == ()


def slow(**more: Any) -> StageMetrics:
    """Return a stage that waits 8 s for one task, or for the given tasks."""
    tasks = more.pop("tasks_slow", None) or (Straggler(task=9, executor="1", **more.pop("of", {})),)
    times = Quantiles(min=900, p25=1_000, median=1_000, p75=1_000, max=9_000)
    return stage(
        completed_ms=19_000,
        task_time_ms=30_000,
        duration_ms_quantiles=times,
        stragglers=tasks,
        **more,
    )


LONG = {"duration_ms": 9_000, "run_time_ms": 8_900}


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


def _join(name: str, detail: str = "Inner", **figures: int) -> SqlMetrics:
    operator = SqlOperator(name=name, detail=f"{name} [k], [k], {detail}", figures=figures)
    return SqlMetrics(id=3, start_ms=0, end_ms=20_000, stages=(0,), operators=(operator,))


GB = 1024 * MB


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (_join("SortMergeJoin", left_bytes=8 * GB, right_bytes=5 * MB), True),
        (_join("SortMergeJoin", left_bytes=5 * MB, right_bytes=8 * GB), True),
        (_join("SortMergeJoin", left_bytes=8 * GB, right_bytes=50 * MB), False),
        (_join("SortMergeJoin", left_bytes=80 * GB, right_bytes=50 * MB), True),
        (_join("SortMergeJoin", left_bytes=400 * GB, right_bytes=500 * MB), True),
        (_join("SortMergeJoin", left_bytes=8 * GB), False),
        (_join("SortMergeJoin", left_bytes=0, right_bytes=0), False),
        (_join("SortMergeJoin", "FullOuter", left_bytes=8 * GB, right_bytes=5 * MB), False),
        (_join("SortMergeJoin", "LeftOuter", left_bytes=8 * GB, right_bytes=5 * MB), True),
        (_join("SortMergeJoin", "LeftOuter", left_bytes=5 * MB, right_bytes=8 * GB), False),
        (_join("SortMergeJoin", "RightOuter", left_bytes=5 * MB, right_bytes=8 * GB), True),
        (_join("BroadcastHashJoin", left_bytes=8 * GB, right_bytes=5 * MB), False),
    ],
)
def test_missed_broadcast_depends_on_sizes_and_join_type(query: SqlMetrics, found: bool) -> None:
    assert ("missed_broadcast" in kinds(run(sql=(query,)))) is found


@pytest.mark.parametrize(("now", "wanted"), [("10m", None), ("-1", "10m"), ("1m", "10m")])
def test_missed_broadcast_advice_depends_on_threshold(now: str, wanted: str | None) -> None:
    key = "spark.sql.autoBroadcastJoinThreshold"
    query = _join("SortMergeJoin", left_bytes=8 * GB, right_bytes=5 * MB)
    record = run(sql=(query,), environment={key: now})
    settings = only(diagnose(record), "missed_broadcast").settings
    assert settings == ({key: wanted} if wanted else {})


@pytest.mark.parametrize(
    ("environment", "detail", "bytes_", "reason"),
    [
        ({"spark.sql.adaptive.skewJoin.enabled": "false"}, "Inner", 500, "skewJoin.enabled=true"),
        ({}, "", 500, "none that shuffles"),
        ({}, "FullOuter", 500, "full outer"),
        ({}, "Inner", 100, "below the threshold of 256 MB"),
        ({}, "Inner", 500, "so the plan does not"),
    ],
)
def test_skew_not_split_names_reason(
    environment: dict[str, str], detail: str, bytes_: int, reason: str
) -> None:
    sizes = Quantiles(min=MB, p25=MB, median=MB, p75=MB, max=bytes_ * MB)
    skewed = slow(
        of=LONG | {"read_bytes": bytes_ * MB},
        shuffle_read_bytes=4_000 * MB,
        shuffle_read_bytes_quantiles=sizes,
    )
    query = _join("SortMergeJoin", detail) if detail else SqlMetrics(id=0, stages=(0,))
    found = diagnose(run(skewed, sql=(query,), environment=environment))
    assert reason in only(found, "skew_not_split").advice


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("Executor heartbeat timed out after 124000 ms", "no heartbeat"),
        ("Container preempted by scheduler", "preempted"),
        ("Executor decommission: spot interruption", "decommissioned"),
        ("Container released on a *lost* node: Node was lost", "lost node"),
        ("Container from unhealthy node: No space left on device", "unhealthy node"),
        ("Executor killed by driver.", None),
        (None, None),
    ],
)
def test_lost_executors_names_cause(reason: str | None, cause: str | None) -> None:
    gone = worker("2", removed_ms=15_000, remove_reason=reason)
    found = [
        item
        for item in diagnose(run(executors=(worker("1"), gone)))
        if item.kind == "lost_executors"
    ]
    assert [cause in item.evidence for item in found if cause] == ([True] if cause else [])
    assert bool(found) is (cause is not None)


def test_cache_evicted_partly_computed_rdd_is_not_evicted() -> None:
    rows = (worker("1", storage_total_bytes=GB), worker("2", storage_total_bytes=GB))
    taken = CachedRdd(rdd=1, partitions=100, stored=3, memory_bytes=30 * MB)
    assert "cache_evicted" not in kinds(run(executors=rows, cached=(taken,)))
    full = dataclasses.replace(taken, memory_bytes=2_000 * MB)
    assert "cache_evicted" in kinds(run(executors=rows, cached=(full,)))


def test_large_result_ignores_broadcasts_and_names_failure() -> None:
    large = stage(result_bytes=900 * MB)
    assert "large_result" in kinds(run(large))
    sent = stage(result_bytes=900 * MB, operators=("BroadcastExchange",))
    assert "large_result" not in kinds(run(sent))
    why = "Total size of serialized results is bigger than spark.driver.maxResultSize (1g)"
    failed = stage(status="FAILED", failure_reason=why)
    assert only(diagnose(run(failed)), "large_result").severity == "high"


def _query(*operators: SqlOperator, **more: Any) -> SqlMetrics:
    fields: dict[str, Any] = {"id": 3, "start_ms": 0, "end_ms": 20_000, "stages": (0,)}
    return SqlMetrics(**(fields | more), operators=operators)


def _operator(name: str, detail: str = "", nodes: int = 0, **figures: int) -> SqlOperator:
    fingerprint = f"{name} {detail}"
    return SqlOperator(
        name=name, detail=detail, fingerprint=fingerprint, nodes=nodes, figures=figures
    )


def test_large_partitions_advice_is_a_number_of_partitions() -> None:
    sizes = even(600 * MB)
    large = stage(
        tasks=8, tasks_ok=8, shuffle_read_bytes=4_800 * MB, shuffle_read_bytes_quantiles=sizes
    )
    environment = {"spark.default.parallelism": "8"}
    found = only(diagnose(run(large, environment=environment)), "large_partitions")
    assert found.settings == {"spark.default.parallelism": "38"}
    ignored = run(large, environment={"spark.default.parallelism": "400"})
    assert only(diagnose(ignored), "large_partitions").settings == {}
    small = dataclasses.replace(large, shuffle_read_bytes_quantiles=even(60 * MB))
    assert "large_partitions" not in kinds(run(small))


def test_shuffle_bound_needs_half_of_the_run_time() -> None:
    assert "shuffle_bound" in kinds(run(stage(fetch_wait_time_ms=50_000)))
    assert "shuffle_bound" not in kinds(run(stage(fetch_wait_time_ms=30_000)))


def test_long_lineage_needs_growth() -> None:
    growing = [stage(number, rdds=10 * number) for number in range(1, 13)]
    assert only(diagnose(run(*growing)), "long_lineage").figures == {"rdds": 120, "sizes": 12}
    equal = [stage(number, rdds=120) for number in range(12)]
    assert "long_lineage" not in kinds(run(*equal))


def test_many_queries_counts_short_queries_of_one_place() -> None:
    def queries(count: int, length_ms: int) -> tuple[SqlMetrics, ...]:
        return tuple(
            SqlMetrics(id=n, description="count at job.py:9", start_ms=0, end_ms=length_ms)
            for n in range(count)
        )

    assert "many_queries" in kinds(run(sql=queries(120, 100)))
    assert "many_queries" not in kinds(run(sql=queries(90, 100)))
    assert "many_queries" not in kinds(run(sql=queries(120, 5_000)))


def test_repeated_exchange_needs_equal_subtrees_and_bytes() -> None:
    equal = [_operator("Exchange", "hash k", nodes=4, bytes=80 * MB) for _ in range(2)]
    found = only(diagnose(run(sql=(_query(*equal),))), "repeated_exchange")
    assert (found.figures["times"], found.settings) == (2, {})
    off = run(sql=(_query(*equal),), environment={"spark.sql.exchange.reuse": "false"})
    assert only(diagnose(off), "repeated_exchange").settings == {"spark.sql.exchange.reuse": "true"}
    other = _operator("Exchange", "hash v", nodes=4, bytes=80 * MB)
    assert "repeated_exchange" not in kinds(run(sql=(_query(equal[0], other),)))
    cached = [dataclasses.replace(item, cached=True) for item in equal]
    assert "repeated_exchange" not in kinds(run(sql=(_query(*cached),)))


@pytest.mark.parametrize(
    ("detail", "bytes_", "found"),
    [
        ("Format: CSV, Location: s3://b", 500, True),
        ("Format: JSON, Location: s3://b", 500, True),
        ("Format: Parquet, Location: s3://b", 500, False),
        ("Format: CSV, Location: s3://b", 20, False),
    ],
)
def test_text_format_depends_on_format_and_size(detail: str, bytes_: int, found: bool) -> None:
    name = f"Scan {detail.split()[1].rstrip(',').lower()} "
    query = _query(_operator(name, detail, bytes=bytes_ * MB))
    assert ("text_format" in kinds(run(sql=(query,)))) is found


def test_slow_commit_names_partitions_and_overwrite_mode() -> None:
    query = _query(_operator("Write", files=900, partitions=40, job_commit_ms=9_000))
    found = only(diagnose(run(sql=(query,))), "slow_commit")
    assert found.seconds == 9.0
    assert "40 partitions" in found.advice
    environment = {"spark.sql.sources.partitionOverwriteMode": "dynamic"}
    dynamic = only(diagnose(run(sql=(query,), environment=environment)), "slow_commit")
    assert "turns EMR's committer off" in dynamic.advice
    quick = _query(_operator("Write", files=900, job_commit_ms=100))
    assert "slow_commit" not in kinds(run(sql=(quick,)))
