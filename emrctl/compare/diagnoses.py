"""Findings of configurations: those of most repeats, and how they differ from the reference's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from emrctl.compare.records import RunRecord
from emrctl.metrics.findings import Finding, diagnose

# Diagnosing more repeats takes time and changes little.
_MAX_REPEATS = 9


@dataclass(frozen=True)
class Diagnosis:
    """Findings of a configuration: `usual` are in most of its repeats, `kinds` in any."""

    usual: tuple[Finding, ...] = ()
    kinds: frozenset[str] = frozenset()


@dataclass(frozen=True)
class FindingChanges:
    """Findings that one side usually has and no repeat of the other side."""

    appeared: tuple[Finding, ...]
    disappeared: tuple[Finding, ...]


def of_runs(records: Sequence[RunRecord]) -> Diagnosis:
    """Return the findings of runs with equal settings; those without metrics are ignored."""
    read = [(item.metrics, item.limits) for item in records if item.metrics is not None]
    runs = [diagnose(metrics, limits) for metrics, limits in read[:_MAX_REPEATS]]
    counts = Counter(kind for run in runs for kind in {item.kind for item in run})
    usual: dict[str, Finding] = {}
    for run in runs:
        for item in run:  # the most severe finding of a kind comes first
            if 2 * counts[item.kind] > len(runs):
                usual.setdefault(item.kind, item)
    return Diagnosis(tuple(usual.values()), frozenset(counts))


def changes(reference: Diagnosis, other: Diagnosis) -> FindingChanges:
    """Return the findings that appeared and disappeared."""
    return FindingChanges(
        appeared=tuple(item for item in other.usual if item.kind not in reference.kinds),
        disappeared=tuple(item for item in reference.usual if item.kind not in other.kinds),
    )
