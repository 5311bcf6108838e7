"""Rules about plans of queries: adaptive execution, Python functions, windows, exchanges."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from emrctl.metrics.findings.base import (
    Advice,
    Finding,
    RunView,
    count_of,
    ids,
    median,
    memory,
    size,
    stage_names,
)
from emrctl.metrics.findings.tasks import skewed_by_data, waited_s
from emrctl.metrics.model import SqlMetrics, SqlOperator, StageMetrics

_ADAPTIVE = "spark.sql.adaptive"
_SKEW = f"{_ADAPTIVE}.skewJoin"
_REUSE = "spark.sql.exchange.reuse"


def skew_not_split(view: RunView) -> Iterator[Finding]:
    """Skewed partitions that adaptive execution left as they were, and why."""
    if not view.settings.adaptive:
        return
    cases = [
        (waited_s(view, stage), query, stage)
        for query in view.run.sql
        for stage in view.stages_of(query)
        if stage.status == "COMPLETE"
        and stage.shuffle_read_bytes >= stage.input_bytes
        and skewed_by_data(view, stage)
    ]
    seconds = sum(case[0] for case in cases)
    if not cases or not view.is_significant(seconds):
        return
    _, query, worst = max(cases, key=lambda case: case[0])
    advice = _why_not_split(view, query, worst)
    quantiles = worst.shuffle_read_bytes_quantiles
    largest = quantiles.max if quantiles else 0
    yield Finding(
        kind="skew_not_split",
        evidence=f"stage {worst.id} of query {query.id}: the largest partition has "
        f"{size(largest)}, the median {size(median(quantiles))}, and adaptive execution "
        "did not split it",
        advice=advice.text,
        seconds=seconds,
        stages=ids(case[2] for case in cases),
        figures={"largest_bytes": largest, "median_bytes": median(quantiles)},
        settings=advice.settings,
    )


def _why_not_split(view: RunView, query: SqlMetrics, stage: StageMetrics) -> Advice:
    """Return the first condition of Spark's OptimizeSkewedJoin that is not met."""
    joins = [op for op in query.operators or () if op.name in {"SortMergeJoin", "ShuffledHashJoin"}]
    quantiles = stage.shuffle_read_bytes_quantiles
    largest, typical = (quantiles.max, quantiles.median) if quantiles else (0, 0)
    if not view.settings.on(f"{_SKEW}.enabled", default=True):
        key = f"{_SKEW}.enabled"
        return Advice(f"It is off for joins: set {key}=true.", {key: "true"})
    if not joins:
        return Advice(
            "It splits partitions of joins only, and this query has none that shuffles: salt the "
            "key and aggregate twice, or aggregate before the window or repartition."
        )
    if all("FullOuter" in join.detail for join in joins):
        return Advice("It cannot split full outer joins: salt the key, or join in two steps.")
    if any("REPARTITION" in op.detail for op in query.operators or ()):
        return Advice("The code repartitions by the key itself: remove that repartition().")
    return _below_threshold(view, largest, typical)


def _below_threshold(view: RunView, largest: int, typical: int) -> Advice:
    threshold, advisory = (
        f"{_SKEW}.skewedPartitionThresholdInBytes",
        (f"{_ADAPTIVE}.advisoryPartitionSizeInBytes"),
    )
    least_mb = view.settings.mb(threshold, "256m", "b")
    factor = float(view.settings.text(f"{_SKEW}.skewedPartitionFactor", "5") or 5)
    if largest <= least_mb * 2**20:
        wanted = max(1, round(largest / 2**20 / 4))
        settings = {threshold: memory(wanted), advisory: memory(wanted)}
        pairs = " and ".join(f"{key}={value}" for key, value in settings.items())
        return Advice(
            f"The partition is below the threshold of {least_mb} MB: set {pairs}.", settings
        )
    if largest <= factor * typical:
        return Advice(
            f"The partition is not {factor:g} x the median: lower {_SKEW}.skewedPartitionFactor."
        )
    return Advice(
        "The sizes allow it, so the plan does not: the skewed side is the outer one, or a further "
        f"shuffle would be needed ({_ADAPTIVE}.forceOptimizeSkewedJoin allows that)."
    )


def adaptive_off(view: RunView) -> Iterator[Finding]:
    """Queries that shuffle without adaptive execution."""
    if view.settings.adaptive or view.settings.version < (3, 0):
        return
    queries = {query.id: query for query, _ in view.operators("Exchange")}
    stages = view.stages_of(*queries.values())
    shuffled = [stage for stage in stages if stage.shuffle_read_bytes]
    if not view.is_significant(sum(map(view.wall_s, shuffled))):
        return
    key = f"{_ADAPTIVE}.enabled"
    yield Finding(
        kind="adaptive_off",
        severity="low",
        evidence=f"{count_of(len(queries), 'query')} with shuffles in {stage_names(shuffled)}, "
        f"{key}=false",
        advice=f"Set {key}=true: Spark then merges small partitions, splits skewed ones and "
        "switches to broadcasts by the sizes that it measures.",
        stages=ids(shuffled),
        figures={"queries": len(queries)},
        settings={key: "true"},
    )


def python_udf(view: RunView) -> Iterator[Finding]:
    """Functions of Python that get one row at a time."""
    cases = [
        (query, item)
        for query, item in view.operators("BatchEvalPython")
        if item.figures.get("sent_bytes")
    ]
    sent = sum(item.figures["sent_bytes"] for _, item in cases)
    if sent < view.limit("python_bytes"):
        return
    query, worst = max(cases, key=lambda case: case[1].figures["sent_bytes"])
    stages = view.stages_of(*(query for query, _ in cases))
    task_ms = sum(stage.task_time_ms for stage in stages)
    seconds = view.limit("python_saving") * view.over_cores(task_ms)
    if not view.is_significant(seconds):
        return
    yield Finding(
        kind="python_udf",
        evidence=f"query {query.id} sent {worst.figures.get('rows', 0):,} rows one by one to "
        f"Python ({size(sent)} in {len(cases)} operators): {worst.detail}",
        advice="Use built-in functions (they run in the JVM), or pandas_udf, which gets whole "
        "columns through Arrow. From Spark 3.5 on udf(..., useArrow=True) helps, too.",
        seconds=min(seconds, view.duration_s),
        stages=ids(stages),
        figures={"sent_bytes": sent, "operators": len(cases)},
    )


def single_partition_window(view: RunView) -> Iterator[Finding]:
    """Windows without PARTITION BY, which sort the whole table in one task."""
    cases = [
        (query, item)
        for query, item in view.operators("Window")
        if item.figures.get("rows", 0) >= view.limit("window_rows")
    ]
    if not cases:
        return
    query, worst = max(cases, key=lambda case: case[1].figures["rows"])
    single = [stage for stage in view.stages_of(query) if stage.tasks == 1]
    yield Finding(
        kind="single_partition_window",
        evidence=f"query {query.id} moved {worst.figures['rows']:,} rows into one partition for a "
        f"window: {worst.detail}",
        advice="Add PARTITION BY to the window. To number all rows use zipWithIndex() or "
        "monotonically_increasing_id(); for totals aggregate and join the result.",
        seconds=sum(map(view.idle_s, single)),
        stages=ids(single),
        figures={"rows": worst.figures["rows"]},
    )


def repeated_exchange(view: RunView) -> Iterator[Finding]:
    """Equal subtrees that a query computes and shuffles more than once."""
    cases: list[tuple[int, SqlMetrics, list[SqlOperator]]] = []
    for query in view.run.sql:
        for equal in _equal_exchanges(view, query):
            again = sum(item.figures["bytes"] for item in equal[1:])
            if again >= view.limit("exchange_bytes"):
                cases.append((again, query, equal))
    if not cases:
        return
    again, query, equal = max(cases, key=lambda case: case[0])
    hosts = len({row.host for row in view.run.busy_rows}) or 1
    total = sum(case[0] for case in cases)
    off = not view.settings.on(_REUSE, default=True)
    yield Finding(
        kind="repeated_exchange",
        evidence=f"query {query.id} shuffled the same {size(again)} {len(equal)} times, each "
        f"computed by the same {equal[0].nodes} operators: {equal[0].detail}",
        advice=f"Set {_REUSE}=true: Spark then shuffles it once."
        if off
        else "Spark reuses exchanges of equal plans only: select the same columns with the same "
        "filters on both sides, or persist the shared part.",
        seconds=min(2 * total / view.limit("disk_bytes_s") / hosts, view.query_s(query)),
        stages=query.stages,
        figures={"bytes": total, "times": len(equal)},
        settings={_REUSE: "true"} if off else {},
    )


def _equal_exchanges(view: RunView, query: SqlMetrics) -> Iterator[list[SqlOperator]]:
    groups: defaultdict[str, list[SqlOperator]] = defaultdict(list)
    for item in query.operators or ():
        measured = item.figures.get("bytes") and not item.cached
        if item.name == "Exchange" and measured and item.nodes >= view.limit("exchange_nodes"):
            groups[item.fingerprint].append(item)
    yield from (group for group in groups.values() if len(group) > 1)
