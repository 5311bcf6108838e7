"""Output of `emrctl tune`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from emrctl.cli import render

if TYPE_CHECKING:
    from emrctl.tune.replay import Measurements, Replay, Searches
    from emrctl.tune.result import Row, TuneResult


def show(found: TuneResult) -> None:
    """Print what was measured, the best configuration and how to use it."""
    columns = ("runs", "failed", "time s", "USD", "ratio to the reference", "verdict")
    rows = [[row.name, *_cells(row, found)] for row in found.rows]
    render.table("configuration", *columns, rows=rows, right=columns[:5])
    render.line(f"Best: {found.best}{_against(found)}")
    for goal in found.expected_gain:
        render.line(
            f"  {goal}: another configuration is expected to gain "
            f"{_percent(found.expected_gain[goal])}; with a probability of 90 % none gains more "
            f"than {_percent(found.possible_gain[goal])}. Repeats differ by "
            f"{_percent(found.noise)}."
        )
    if found.goal == "both":
        front = "; ".join(row.name for row in found.rows if row.on_front)
        render.line(f"No other configuration is both faster and cheaper than these: {front}")
    shares = sorted(found.importance.items(), key=lambda item: -item[1])
    text = ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares)
    render.line(f"Share of each factor in the expected variation: {text}")
    render.line(f"Stopped: {found.stopped}.")
    render.line(f"\nRun it with\n  {found.command}\nor add to emrctl.yaml")
    render.line("\n".join(f"  {line}" for line in _yaml(found.document).splitlines()))


def _cells(row: Row, found: TuneResult) -> list[str]:
    if row.name == found.reference:
        ratio, verdict = "1", "reference"
    elif row.difference is None or row.difference.ratio is None:
        ratio, verdict = "", row.failure
    else:
        ratio, verdict = f"{row.difference.ratio:.3f}", row.difference.verdict
        if row.difference.low is not None:
            ratio += f" ({row.difference.low:.3f} to {row.difference.high:.3f})"
    means = ("" if value is None else f"{value:.4g}" for value in (row.time_s, row.usd))
    return [str(row.runs), str(row.failed), *means, ratio, verdict]


def _against(found: TuneResult) -> str:
    row = next(row for row in found.rows if row.name == found.best)
    if row.difference is None or row.difference.ratio is None:
        return ""
    text = f", {row.difference.ratio:.2f} times the duration of {found.reference}"
    if row.difference.low is not None:
        text += f" (95 % interval {row.difference.low:.2f} to {row.difference.high:.2f})"
    return f"{text}: {row.difference.verdict}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _yaml(document: Any) -> str:
    import yaml

    return yaml.safe_dump(document, sort_keys=False)


def show_replays(
    results: Sequence[Replay], measurements: Measurements, searches: Searches, *, as_json: bool
) -> None:
    """Print how many runs searches take on a table."""
    truth = measurements.truth()
    best = measurements.candidates[truth.index(min(truth))]
    if as_json:
        render.json_document(
            {
                "configurations": len(truth),
                "best": best,
                "within": searches.within,
                "searches": [asdict(item) for item in results],
            }
        )
        return
    names = [item.sampler for item in results]
    heads = [f"{name}: {text}" for name in names for text in ("within", "behind")]
    rows = [
        [
            str(run + 1),
            *(
                text
                for item in results
                for text in (f"{100 * item.within[run]:.0f} %", f"{100 * item.behind[run]:.1f} %")
            ),
        ]
        for run in range(len(results[0].within))
    ]
    render.line(
        f"{len(truth)} configurations; the best is {', '.join(f'{k}={v}' for k, v in best.items())}"
    )
    render.table("runs", *heads, rows=rows, right=("runs", *heads))
    render.line(
        f"within: share of {searches.seeds} searches whose best configuration is at most "
        f"{100 * searches.within:g} % worse than the best of all.\n"
        "behind: by how much it is worse in the median search."
    )
