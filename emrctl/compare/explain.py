"""Why configurations differ: stages, scaling and findings, as rows of text and as JSON."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from emrctl.compare import diagnoses, export, scaling
from emrctl.compare.comparison import Comparison
from emrctl.compare.stages import Reason, StageChange, StageComparison

# Of more configurations the stages are compared on request only.
MAX_CONFIGURATIONS = 6
_ARROW = "\N{RIGHTWARDS ARROW}"


def stage_rows(compared: StageComparison, limit: int | None = None) -> list[list[str]]:
    """Return stage, times in both configurations, difference and reasons, then the driver's."""
    rows = []
    for item in compared.changes[:limit]:
        seconds = [
            f"{side.seconds:,.1f} s" if side else "-" for side in (item.reference, item.other)
        ]
        rows.append([title(item), *seconds, signed_seconds(item.seconds), reasons(item)])
    if rest := compared.changes[len(rows) :]:
        seconds_rest = signed_seconds(sum(item.seconds for item in rest))
        rows.append([f"{len(rest):,} other stages", "", "", seconds_rest, ""])
    before, after = compared.driver_s
    driver = [f"{before:,.1f} s", f"{after:,.1f} s", signed_seconds(after - before), ""]
    return [*rows, ["driver, no stage running", *driver]]


def finding_changes(comparison: Comparison) -> list[tuple[int, diagnoses.FindingChanges]]:
    """Return the findings of each configuration that appeared or disappeared, by its index."""
    found = comparison.diagnoses
    changes = (
        (n, diagnoses.changes(found[comparison.reference], item))
        for n, item in enumerate(found)
        if n != comparison.reference
    )
    return [(n, item) for n, item in changes if item.appeared or item.disappeared]


def to_json(comparison: Comparison, *, every: bool) -> dict[str, Any]:
    """Return `stages`, `scaling` and `findings`; empty for many configurations unless `every`."""
    if len(comparison.configurations) > MAX_CONFIGURATIONS and not every:
        return {"stages": [], "scaling": None, "findings": []}
    labels = [item.label for item in comparison.configurations]
    scale = scaling.of_comparison(comparison)
    return {
        "stages": [
            {"configuration": labels[n], **_plain(dataclasses.asdict(compared))}
            for n, compared in comparison.stages
        ],
        "scaling": scale and _plain(dataclasses.asdict(scale)),
        "findings": [
            {
                "configuration": labels[n],
                "appeared": [item.to_json() for item in changed.appeared],
                "disappeared": [item.to_json() for item in changed.disappeared],
            }
            for n, changed in finding_changes(comparison)
        ],
    }


def _plain(value: Any) -> Any:
    """Return the value with None in place of NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def title(item: StageChange) -> str:
    """Return the stage's name with its ids in both configurations."""
    if item.reference_id is None:
        return f"{item.name} (stage {item.other_id}, not in the reference)"
    if item.other_id is None:
        return f"{item.name} (stage {item.reference_id}, only in the reference)"
    if item.reference_id == item.other_id:
        return f"{item.name} (stage {item.reference_id})"
    return f"{item.name} (stages {item.reference_id} and {item.other_id})"


def signed_seconds(value: float) -> str:
    """Return e.g. `+12.3 s`."""
    return f"{value:+,.1f} s".replace("-", "\N{MINUS SIGN}")


def reasons(item: StageChange) -> str:
    """Return the reasons of a change in one line."""
    text = "; ".join(map(_reason, item.reasons))
    return f"{text} (within the range of the repeats)" if item.overlap and text else text


def _reason(reason: Reason) -> str:
    values = [
        export.amount(value, reason.unit)
        if reason.unit in {"s", "B"}
        else f"{value:,.1f}".removesuffix(".0")
        for value in (reason.reference, reason.other)
    ]
    effect = "" if reason.seconds is None else f" ({signed_seconds(reason.seconds)})"
    return f"{reason.label} {values[0]} {_ARROW} {values[1]}{effect}"
