"""Edge cases of rules about queries, their stages and their data, on hand-made records."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from emrctl.metrics.findings import diagnose
from emrctl.metrics.model import (
    CachedRdd,
    Quantiles,
    SqlMetrics,
    SqlOperator,
)
from tests.metrics.findings.hand_made import LONG, MB, even, kinds, only, run, slow, stage, worker


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
