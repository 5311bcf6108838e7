"""When a configuration of an experiment needs no more repeats."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from emrctl.compare.statistics import DEFAULT_PRIOR, difference

if TYPE_CHECKING:
    from emrctl.compare.statistics import VariancePrior
    from emrctl.runs.experiment_state import StopRule
    from emrctl.spec import ExperimentSpec

# Of "certainly slower". It is tested after every repeat, which finds more differences by chance.
CONFIDENCE = 0.99


def stop_rule(prior: VariancePrior | None = None) -> StopRule:
    """Return the rule of an experiment's `stop` section; `prior` as in `difference`."""
    return partial(_enough, prior or DEFAULT_PRIOR)


def _enough(
    prior: VariancePrior, spec: ExperimentSpec, durations: Mapping[str, Sequence[float]]
) -> dict[str, str]:
    """Return why configurations need no more repeats, by name.

    A configuration has at least two repeats before it is judged. The reference is repeated until
    all others are done.
    """
    if spec.stop is None:
        return {}
    repeated = {name: values for name, values in durations.items() if len(values) > 1}
    reasons: dict[str, str] = {}
    if spec.stop.worse and repeated:
        fastest = min(repeated, key=lambda name: _mean_logarithm(repeated[name]))
        for name, values in repeated.items():
            result = difference(repeated[fastest], values, prior=prior, confidence=CONFIDENCE)
            if name != fastest and result.verdict == "slower":
                reasons[name] = f"certainly slower than {fastest}{_shown(result.low, result.high)}"
    reference = spec.combinations[0].name
    if spec.stop.interval is not None and reference in repeated:
        for name in repeated.keys() - {reference} - reasons.keys():
            result = difference(repeated[reference], repeated[name], prior=prior)
            if _is_narrow(result.ratio, result.low, result.high, spec.stop.interval):
                shown = _shown(result.low, result.high)
                reasons[name] = f"known well enough beside {reference}{shown}"
        others = {item.name for item in spec.combinations[1:]}
        if others and others <= reasons.keys():
            reasons.setdefault(reference, "all other configurations are done")
    return reasons


def _mean_logarithm(values: Sequence[float]) -> float:
    return math.fsum(map(math.log, values)) / len(values) if min(values) > 0 else math.inf


def _is_narrow(ratio: float | None, low: float | None, high: float | None, limit: float) -> bool:
    if not ratio or not low or not high:
        return False
    return max(high / ratio, ratio / low) - 1 <= limit


def _shown(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return ""
    return f" ({100 * (low - 1):+.1f} % … {100 * (high - 1):+.1f} %)"
