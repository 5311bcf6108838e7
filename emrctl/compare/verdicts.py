"""Verdicts on configurations, in one sentence each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from emrctl.compare.figures import FigureRow, Ratio
from emrctl.compare.records import Configuration

if TYPE_CHECKING:
    from emrctl.compare.statistics import Verdict

TIMES = "\N{MULTIPLICATION SIGN}"
ONE_RUN_EACH = "one run each: a difference may be noise; three or more repeats show a verdict"


def judge(
    configurations: tuple[Configuration, ...],
    rows: tuple[FigureRow, ...],
    at: int,
    n: int,
    different_results: Sequence[str] = (),
) -> tuple[str, Verdict | None]:
    """Return the verdict on configuration `n` against the reference `at`, as sentence and word.

    The word is None for the reference, and if the runs allow no verdict on their durations.
    `different_results` come first in the sentence.
    """
    item, reference = configurations[n], configurations[at]
    if not item.completed_records:
        return f"{item.state}: no completed run to compare", None
    by_key = {row.key: row for row in rows}
    sentence, outcome = _on_duration(by_key.get("duration_s"), item, reference, n, at)
    if different_results:
        listed = "; ".join(different_results[:2])
        more = len(different_results) - 2
        listed += f"; {more} more" if more > 0 else ""
        sentence = f"DIFFERENT RESULTS ({listed}): {sentence}"
    return "; ".join([sentence, *_remarks(by_key, n, at)]), outcome


def _on_duration(
    row: FigureRow | None, item: Configuration, reference: Configuration, n: int, at: int
) -> tuple[str, Verdict | None]:
    measure = row.measures[n] if row else None
    if row is None or measure is None:
        return "duration unknown", None
    if n == at:
        runs = "one run" if measure.stddev is None else f"{measure.count} runs"
        deviation = "" if measure.stddev is None else f" ± {measure.stddev:.1f}"
        return f"the reference: {measure.mean:.1f} s{deviation}, {runs}", None
    base, ratio = row.measures[at], row.ratios[n]
    if base is None or ratio is None or ratio.value <= 0:
        return f"{measure.mean:.1f} s; {reference.label} has no duration to compare with", None
    for side in (item, reference):
        if not side.on_cluster:
            reason = f"{side.label} did not run on the cluster's executors only"
            return f"no verdict: {reason} ({measure.mean:.1f} s)", None
    return _sentence(ratio, (base.count, measure.count), reference.label), ratio.verdict


def _sentence(ratio: Ratio, counts: tuple[int, int], reference: str) -> str:
    """Return e.g. "slower: takes 12.0 % longer than a (95 % interval +9.1 to +15.0 %; ...)"."""
    changed = change(ratio.value, reference)
    if ratio.low is None or ratio.high is None:
        reason = "one run each" if max(counts) == 1 else "one side has a single run"
        return f"inconclusive: {changed}, but {reason}: a difference may be noise"
    interval = f"95 % interval {percent(ratio.low)} to {percent(ratio.high)} %"
    basis = f"{interval}; {counts[0]} and {counts[1]} runs"
    if ratio.verdict == "inconclusive":
        return f"inconclusive: {changed}, but a difference may be noise ({basis}{_more(ratio)})"
    word = "no difference of 5 % or more" if ratio.verdict == "no difference" else ratio.verdict
    return f"{word}: {changed} ({basis})"


def _more(ratio: Ratio) -> str:
    """Return why a difference is uncertain: what the repeats can show, and how many more do."""
    parts = []
    if ratio.low and ratio.high and ratio.p_corrected and not ratio.low <= 1 <= ratio.high:
        parts.append(f"corrected p = {ratio.p_corrected:.2g}")
    if ratio.smallest_detectable is not None:
        parts.append(f"they can show {percent(1 + ratio.smallest_detectable)} %")
    if ratio.further_repeats:
        noun = "repeat" if ratio.further_repeats == 1 else "repeats"
        parts.append(f"{ratio.further_repeats} more {noun} of each would show 5 %")
    return "".join(f"; {part}" for part in parts)


def change(ratio: float, reference: str) -> str:
    """Return a ratio of times in words."""
    if round(ratio, 2) >= 2:
        return f"takes {ratio:,.2f} {TIMES} as long as {reference}"
    share = f"{100 * abs(ratio - 1):.1f} %"
    if share == "0.0 %":
        return f"takes as long as {reference}"
    return f"takes {share} {'longer' if ratio > 1 else 'less time'} than {reference}"


def percent(ratio: float) -> str:
    """Return the change of a ratio in percent with its sign, e.g. `+9.1`."""
    return f"{100 * (ratio - 1):+,.1f}".replace("-", "\N{MINUS SIGN}")


def _remarks(rows: dict[str, FigureRow], n: int, at: int) -> list[str]:
    """Return other figures of configuration `n` that deserve attention."""

    def mean(key: str, index: int) -> float | None:
        measure = rows[key].measures[index] if key in rows else None
        return None if measure is None else measure.mean

    remarks = []
    busy, reference_busy = mean("busy_percent", n), mean("busy_percent", at)
    if busy is not None and reference_busy is not None and abs(busy - reference_busy) >= 10:
        remarks.append(f"cores {busy:.0f} % busy against {reference_busy:.0f} %")
    imbalance = mean("imbalance", n)
    if imbalance is not None and imbalance >= 1.5:
        remarks.append(
            f"tasks unevenly distributed: {imbalance:.1f} {TIMES} the mean on one executor"
        )
    failed = mean("failed_tasks", n)
    if failed:
        remarks.append(f"{failed:g} failed tasks")
    cost, reference_cost = mean("cost_usd", n), mean("cost_usd", at)
    if n != at and cost is not None and reference_cost:
        remarks.append(f"{cost / reference_cost:.2f} {TIMES} the cost")
    return remarks
