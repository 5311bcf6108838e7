"""Rules about shuffled partitions: their size, and waiting for them."""

from __future__ import annotations

import math
from collections.abc import Iterator

from emrctl.metrics.findings.base import Advice, Finding, RunView, ids, size, stage_names
from emrctl.metrics.findings.tasks import PARALLELISM, PARTITIONS
from emrctl.metrics.model import StageMetrics


def large_partitions(view: RunView) -> Iterator[Finding]:
    """Stages with a shuffle partition that is larger than a task can hold."""
    hit = [stage for stage in view.completed if _largest(stage) >= view.limit("partition_bytes")]
    if not hit:
        return
    worst = max(hit, key=_largest)
    hosts = len({row.host for row in view.run.busy_rows}) or 1
    spilled = sum(stage.disk_spilled_bytes for stage in hit)
    seconds = 2 * spilled / view.limit("disk_bytes_s") / hosts + sum(map(view.idle_s, hit))
    advice = _smaller(view, worst)
    yield Finding(
        kind="large_partitions",
        evidence=f"stage {worst.id} ({worst.name}): a task reads {size(_largest(worst))} of "
        f"{size(worst.shuffle_read_bytes)} in {worst.tasks} shuffle partitions; "
        f"{size(spilled)} spilled in {stage_names(hit)}",
        advice=advice.text,
        seconds=min(seconds, view.duration_s),
        stages=ids(hit),
        figures={"largest_bytes": _largest(worst), "tasks": worst.tasks},
        settings=advice.settings,
    )


def _largest(stage: StageMetrics) -> int:
    return stage.shuffle_read_bytes_quantiles.max if stage.shuffle_read_bytes_quantiles else 0


def _smaller(view: RunView, stage: StageMetrics) -> Advice:
    quantiles = stage.shuffle_read_bytes_quantiles
    if quantiles and quantiles.max > view.limit("skew_ratio") * max(1, quantiles.median):
        return Advice("Only some partitions are that large: distribute the largest key first.")
    wanted = str(math.ceil(stage.shuffle_read_bytes / view.limit("wanted_partition_bytes")))
    key = PARTITIONS if view.run.sql else PARALLELISM
    now = view.settings.number(key) or (200 if view.run.sql else 0)
    if now > stage.tasks:
        return Advice(
            f"Repartition to {wanted} in the code: {key} is {now} and has no effect here."
        )
    return Advice(f"Set {key}={wanted}, or repartition to as many.", {key: wanted})


def shuffle_bound(view: RunView) -> Iterator[Finding]:
    """Stages whose tasks wait for shuffle data most of the time."""
    hit = [
        stage
        for stage in view.completed
        if stage.fetch_wait_time_ms
        >= view.limit("fetch_share") * max(1, stage.executor_run_time_ms)
    ]
    seconds = view.over_cores(sum(stage.fetch_wait_time_ms for stage in hit))
    if not hit or not view.is_significant(seconds):
        return
    worst = max(hit, key=lambda stage: stage.fetch_wait_time_ms)
    share = worst.fetch_wait_time_ms / worst.executor_run_time_ms
    key = "spark.reducer.maxSizeInFlight"
    now = view.settings.text(key, "48m")
    yield Finding(
        kind="shuffle_bound",
        evidence=f"stage {worst.id} ({worst.name}): tasks waited {share:.0%} of their run time for "
        f"{size(worst.shuffle_read_bytes)} of shuffle data; {stage_names(hit)} affected",
        advice="Check the disks and the network of the nodes that serve the data (a stopped or "
        f"collecting executor, throttled EBS volumes), shuffle less, or raise {key} above {now}.",
        seconds=seconds,
        stages=ids(hit),
        figures={"fetch_share": round(share, 3), "bytes": worst.shuffle_read_bytes},
    )
