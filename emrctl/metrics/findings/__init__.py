"""Findings: diagnoses of a run from a fixed list of rules.

Each finding has evidence, the largest possible saving, and advice that does not repeat settings
already in effect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from emrctl.metrics.findings import (
    driver,
    executors,
    failures,
    files,
    joins,
    memory,
    partitions,
    queries,
    tasks,
)
from emrctl.metrics.findings.base import SEVERITIES, Finding, RunView
from emrctl.metrics.findings.catalog import KINDS, NEEDS
from emrctl.metrics.model import RunMetrics
from emrctl.metrics.record import Record

__all__ = ["KINDS", "SEVERITIES", "Finding", "Report", "check", "diagnose"]

_RULES: tuple[Callable[[RunView], Iterator[Finding]], ...] = (
    tasks.skew,
    tasks.few_partitions,
    tasks.many_tasks,
    partitions.large_partitions,
    partitions.shuffle_bound,
    executors.idle_executors,
    executors.allocation_churn,
    executors.missing_executors,
    executors.cold_start,
    executors.slow_ramp,
    executors.large_executors,
    memory.memory_unused,
    memory.memory_short,
    memory.container_killed,
    memory.low_overhead,
    memory.gc,
    memory.spill,
    memory.cache_evicted,
    driver.driver_bound,
    driver.uncached_reuse,
    driver.large_result,
    driver.long_lineage,
    driver.many_queries,
    files.small_files,
    files.text_format,
    files.full_partition_scan,
    files.repeated_scan,
    files.slow_commit,
    joins.wide_broadcast,
    joins.missed_broadcast,
    joins.nested_loop_join,
    joins.exploding_join,
    joins.broadcast_timeout,
    queries.skew_not_split,
    queries.adaptive_off,
    queries.python_udf,
    queries.single_partition_window,
    queries.repeated_exchange,
    failures.failed_work,
    failures.fetch_failures,
    failures.speculation_waste,
    failures.lost_executors,
    failures.excluded_executors,
    failures.dropped_events,
)
_LEVELS = ("low", "medium", "high")


@dataclass(frozen=True, kw_only=True)
class Report(Record):
    """The findings of a run by severity and saving, and the kinds that were not found.

    `clean` are the kinds that were checked; `unchecked` has the reason for those that were not.
    """

    findings: tuple[Finding, ...] = ()
    clean: tuple[str, ...] = ()
    unchecked: Mapping[str, str] = field(default_factory=dict)


def check(run: RunMetrics, limits: Mapping[str, float] | None = None) -> Report:
    """Apply all rules to `run`; `limits` override thresholds of `emrctl.metrics.limits`."""
    view = RunView(run, limits)
    found = [_rated(view, item) for rule in _RULES for item in rule(view)]
    # A heap is not too large if another finding asks for more.
    raised = {key for item in found if item.kind != "memory_unused" for key in item.settings}
    found = [
        item for item in found if item.kind != "memory_unused" or not raised & item.settings.keys()
    ]
    found.sort(key=lambda item: (SEVERITIES.index(item.severity), -item.seconds))
    reasons = {need: reason(view) for need, reason in NEEDS.items()}
    missing = [kind for kind in KINDS if kind not in {item.kind for item in found}]
    unchecked = {kind: why for kind in missing if (why := reasons[KINDS[kind].needs])}
    clean = tuple(kind for kind in missing if kind not in unchecked)
    return Report(findings=tuple(found), clean=clean, unchecked=unchecked)


def diagnose(run: RunMetrics, limits: Mapping[str, float] | None = None) -> tuple[Finding, ...]:
    """Return all findings about `run` by severity, then by possible saving."""
    return check(run, limits).findings


def _rated(view: RunView, item: Finding) -> Finding:
    """Return the finding with its severity and confidence."""
    level = _LEVELS.index(KINDS[item.kind].confidence)
    if not view.run.complete:
        level = max(0, level - 1)
    severity = item.severity or view.severity(item.seconds)
    return replace(item, severity=severity, confidence=_LEVELS[level])
