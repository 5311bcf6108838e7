"""What a run's figures mean: findings of a closed list, the costliest first.

Each has its evidence, what acting on it may win at the most, and advice that knows the settings
in force and never asks for what is so already. Pure: a record in, findings out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from emrctl.metrics.findings import executors, tasks, work
from emrctl.metrics.findings.base import KINDS, SEVERITIES, Finding, View
from emrctl.metrics.model import RunMetrics

__all__ = ["KINDS", "SEVERITIES", "Finding", "of"]

_RULES: tuple[Callable[[View], Iterator[Finding]], ...] = (
    tasks.skew,
    tasks.few_partitions,
    tasks.many_tasks,
    executors.idle_executors,
    executors.allocation_churn,
    executors.missing_executors,
    executors.memory_unused,
    executors.memory_short,
    executors.container_killed,
    work.driver_bound,
    work.gc,
    work.spill,
    work.small_files,
    work.wide_broadcast,
    work.uncached_reuse,
    work.failed_work,
    work.fetch_failures,
    work.speculation_waste,
)


def of(run: RunMetrics) -> tuple[Finding, ...]:
    """All findings about `run`, the gravest first, then those that may win most."""
    view = View(run)
    found = [finding for rule in _RULES for finding in rule(view)]
    return tuple(sorted(found, key=lambda item: (SEVERITIES.index(item.severity), -item.seconds)))
