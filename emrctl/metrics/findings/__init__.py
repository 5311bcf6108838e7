"""Findings: diagnoses of a run from a fixed list of rules.

Each finding has evidence, the largest possible saving, and advice that does not repeat settings
already in effect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from emrctl.metrics.findings import executors, tasks, work
from emrctl.metrics.findings.base import KINDS, SEVERITIES, Finding, RunView
from emrctl.metrics.model import RunMetrics

__all__ = ["KINDS", "SEVERITIES", "Finding", "diagnose"]

_RULES: tuple[Callable[[RunView], Iterator[Finding]], ...] = (
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


def diagnose(run: RunMetrics) -> tuple[Finding, ...]:
    """Return all findings about `run` by severity, then by possible saving."""
    view = RunView(run)
    findings = [
        replace(item, severity=item.severity or view.severity(item.seconds))
        for rule in _RULES
        for item in rule(view)
    ]
    findings.sort(key=lambda item: (SEVERITIES.index(item.severity), -item.seconds))
    return tuple(findings)
