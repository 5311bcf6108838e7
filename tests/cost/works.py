"""A run with four executors of two cores, for tests of its cost elsewhere."""

from __future__ import annotations

from typing import Any

from emrctl.metrics.model import ExecutorMetrics, RunMetrics

HOUR_MS = 3_600_000
CONF = {
    "spark.executor.memory": "4g",
    "spark.executor.memoryOverhead": "1g",
    "spark.driver.memory": "2g",
}


def metrics(lifetimes_s: tuple[float, ...] = (3600, 3600, 3600, 30), **conf: str) -> RunMetrics:
    """Return a run of an hour; the containers have 5,120 MB, that of the driver has 2,432 MB."""
    executors = [
        _executor(f"{n}", cores=2, host=f"node-{n % 2}:1", removed_ms=int(1000 * lifetime_s))
        for n, lifetime_s in enumerate(lifetimes_s)
    ]
    return RunMetrics(
        spark_version="3.5.9",
        start_ms=0,
        end_ms=HOUR_MS,
        duration_ms=HOUR_MS,
        peak_executors=len(executors),
        executors=(_executor("driver", host="primary:1"), *executors),
        environment={**CONF, **{key.replace("_", "."): value for key, value in conf.items()}},
    )


def _executor(id_: str, **values: Any) -> ExecutorMetrics:
    defaults = {"task_time_ms": 0 if id_ == "driver" else HOUR_MS // 2, "added_ms": 0}
    return ExecutorMetrics(id=id_, **(defaults | values))
