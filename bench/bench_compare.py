"""Compare the statistics of `emrctl compare` with Mann-Whitney, Welch and a 10 % gate.

bench_compare.py [--draws N] [--folder FOLDER]

FOLDER (../shared/data/c3o) has TSV files of real run times: five repeats of each configuration, the
last column is the time in whole seconds. For every configuration, the prior is fitted on all
others. Then false alarms (both sides from the same configuration), the share of simulated
slow-downs that are found, and the share of intervals that contain the true ratio.

Five repeats are not enough for two sides, so both are drawn from the same five. Three ways, since
each is wrong in its own direction:

- drawn: with replacement from the residuals of the logarithms, which are multiplied by sqrt(5/4)
  because residuals around their own mean are too small; rounded to seconds as the data are.
  Values repeat, so that small samples seem more alike than real ones.
- normal: from a normal distribution with the configuration's deviation.
- split: real times only, two repeats against the other three in all ten ways.

The bars are those of the first way, and false alarms of all. Peers: Mann-Whitney (exact) and
Welch's test on logarithms by scipy at p < 0.05, and the gate "mean more than 10 % above, ranges do
not overlap". Then synthetic times that the method was not made for, each with a prior fitted on 30
other configurations of the same kind, and with the default prior.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _common import ROOT  # type: ignore[import-not-found,unused-ignore]
from scipy import stats

from emrctl.compare.statistics import DEFAULT_PRIOR, VariancePrior, difference, fit_prior

EFFECTS = (0.0, 0.05, 0.10)
Times = list[float]
Pair = tuple[Times, Times]


class Bar(NamedTuple):
    """Repeats, effect, and the least share found, or the largest of false alarms."""

    repeats: int
    effect: float
    share: float


BARS = (Bar(3, 0.0, 0.05), Bar(5, 0.0, 0.05), Bar(3, 0.10, 0.90), Bar(5, 0.05, 0.80))


def read(folder: Path) -> list[Times]:
    """Return the repeats of each configuration."""
    groups: dict[tuple[str, ...], Times] = {}
    for path in sorted(folder.glob("*.tsv")):
        with path.open(newline="") as file:
            for row in list(csv.reader(file, delimiter="\t"))[1:]:
                groups.setdefault((path.stem, *row[:-1]), []).append(float(row[-1]))
    if not groups:
        raise SystemExit(f"{folder} has no TSV files")
    return list(groups.values())


def drawn(times: Times, repeats: int, rng: np.random.Generator) -> Iterator[Pair]:
    logs = np.log(times)
    residuals = (logs - logs.mean()) * math.sqrt(len(times) / (len(times) - 1))
    while True:
        first, second = (np.exp(logs.mean() + rng.choice(residuals, repeats)) for _ in range(2))
        yield first.round().tolist(), second.tolist()


def normal(times: Times, repeats: int, rng: np.random.Generator) -> Iterator[Pair]:
    logs = np.log(times)
    while True:
        sides = (np.exp(rng.normal(logs.mean(), logs.std(ddof=1), repeats)) for _ in range(2))
        first, second = sides
        yield first.round().tolist(), second.tolist()


def split(times: Times, _repeats: int, rng: np.random.Generator) -> Iterator[Pair]:
    chosen = list(itertools.combinations(range(len(times)), 2))
    rng.shuffle(chosen)
    for pair in chosen:
        yield [times[n] for n in pair], [t for n, t in enumerate(times) if n not in pair]


Draw = Callable[[Times, int, np.random.Generator], Iterator[Pair]]
Test = Callable[[Times, Times, VariancePrior], str]


def ours(first: Times, second: Times, prior: VariancePrior) -> str:
    return difference(first, second, prior=prior).verdict


def mann_whitney(first: Times, second: Times, _prior: VariancePrior) -> str:
    p_value = stats.mannwhitneyu(first, second, method="exact").pvalue
    return _word(p_value, bool(np.median(second) > np.median(first)))


def welch(first: Times, second: Times, _prior: VariancePrior) -> str:
    logs = np.log(first), np.log(second)
    if all(np.ptp(side) == 0 for side in logs):
        return "inconclusive"
    p_value = stats.ttest_ind(*logs, equal_var=False).pvalue
    return _word(p_value, bool(logs[1].mean() > logs[0].mean()))


def gate(first: Times, second: Times, _prior: VariancePrior) -> str:
    for word, low, high in (("slower", first, second), ("faster", second, first)):
        if np.mean(high) > 1.1 * np.mean(low) and min(high) > max(low):
            return word
    return "inconclusive"


def _word(p_value: float, is_slower: bool) -> str:
    if not p_value < 0.05:
        return "inconclusive"
    return "slower" if is_slower else "faster"


TESTS: Mapping[str, Test] = {
    "emrctl": ours,
    "Welch": welch,
    "Mann-Whitney": mann_whitney,
    "10 % gate": gate,
}


def shares(
    groups: list[Times], priors: list[VariancePrior], draw: Draw, repeats: int, draws: int
) -> dict[str, list[float]]:
    """Return the share of verdicts per test: alarms without effect, "slower" with one."""
    rng = np.random.default_rng(13)
    counts = {name: np.zeros(len(EFFECTS)) for name in TESTS}
    total = 0
    for times, prior in zip(groups, priors, strict=True):
        for first, second in itertools.islice(draw(times, repeats, rng), draws):
            total += 1
            for at, effect in enumerate(EFFECTS):
                slowed = [float(round(value * (1 + effect))) for value in second]
                wanted = {"slower"} if effect else {"slower", "faster"}
                for name, test in TESTS.items():
                    counts[name][at] += test(first, slowed, prior) in wanted
    return {name: list(values / total) for name, values in counts.items()}


def coverage(pairs: Iterable[tuple[Pair, VariancePrior]]) -> tuple[float, float]:
    """Return the share of intervals that contain 1, and of false alarms."""
    covered = alarms = total = 0
    for (first, second), prior in pairs:
        result = difference(first, second, prior=prior)
        total += 1
        covered += (result.low or math.inf) <= 1 <= (result.high or 0.0)
        alarms += result.verdict in {"faster", "slower"}
    return covered / total, alarms / total


Noise = Callable[[np.random.Generator, tuple[int, int]], tuple[Times, Times]]


def _times(logs: np.ndarray) -> Times:
    return [float(value) for value in np.exp(5 + logs)]


def _equal(deviation: float) -> Noise:
    return lambda rng, sizes: (
        _times(rng.normal(0, deviation, sizes[0])),
        _times(rng.normal(0, deviation, sizes[1])),
    )


def _heavy(rng: np.random.Generator, sizes: tuple[int, int]) -> tuple[Times, Times]:
    first, second = (_times(0.02 * rng.standard_t(3, size)) for size in sizes)
    return first, second


def _skewed(rng: np.random.Generator, sizes: tuple[int, int]) -> tuple[Times, Times]:
    first, second = (_times(0.03 * rng.exponential(size=size)) for size in sizes)
    return first, second


def _unequal(rng: np.random.Generator, sizes: tuple[int, int]) -> tuple[Times, Times]:
    return _times(rng.normal(0, 0.05, sizes[0])), _times(rng.normal(0, 0.01, sizes[1]))


def _mixed(rng: np.random.Generator, sizes: tuple[int, int]) -> tuple[Times, Times]:
    """Return times of which a fifth of the configurations vary ten times as much."""
    deviation = 0.1 if rng.random() < 0.2 else 0.01
    return _equal(deviation)(rng, sizes)


SYNTHETIC: Mapping[str, Noise] = {
    "normal, 0.5 %": _equal(0.005),
    "normal, 5 %": _equal(0.05),
    "normal, 20 %": _equal(0.20),
    "t with 3 degrees, 2 %": _heavy,
    "exponential, 3 %": _skewed,
    "a fifth varies tenfold": _mixed,
    "5 % against 1 %": _unequal,
}


def synthetic(draws: int) -> None:
    print("\nSynthetic times: share of 95 % intervals with the true ratio, false alarms")
    print(f"{'':26}{'own prior':>20}{'default prior':>20}")
    rng = np.random.default_rng(14)
    for name, noise in SYNTHETIC.items():
        for sizes in ((3, 3), (3, 8), (6, 6)):
            prior = fit_prior(side for _ in range(15) for side in noise(rng, (4, 4)))
            pairs = [noise(rng, sizes) for _ in range(draws)]
            cells = ""
            for used in (prior, DEFAULT_PRIOR):
                covered, alarms = coverage((pair, used) for pair in pairs)
                cells += f"{100 * covered:12.1f} %{100 * alarms:5.1f}%"
            print(f"{f'{name}, {sizes[0]} v {sizes[1]}':30}{cells}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--draws", type=int, default=4, help="per configuration")
    parser.add_argument("--folder", type=Path, default=ROOT.parent / "shared" / "data" / "c3o")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # scipy's, about equal values
    groups = read(arguments.folder)
    priors = [fit_prior(groups[:at] + groups[at + 1 :]) for at in range(len(groups))]
    print(f"{len(groups)} configurations; prior of all: {fit_prior(groups)!r}")
    missed = []
    print(f"\n{'':22}" + "".join(f"{name:>20}" for name in TESTS))
    print(f"{'':22}" + f"{'alarm   +5%  +10%':>20}" * len(TESTS))
    for draw, repeats in ((drawn, 3), (drawn, 5), (drawn, 8), (normal, 3), (normal, 5), (split, 0)):
        found = shares(groups, priors, draw, repeats, arguments.draws)
        label = f"{draw.__name__}, {repeats} v {repeats}" if repeats else "split, 2 v 3"
        cells = ("".join(f"{100 * value:6.1f}" for value in row) for row in found.values())
        print(f"{label:22}" + "".join(f"{cell:>20}" for cell in cells), flush=True)
        if found["emrctl"][0] > 0.05:
            missed.append(f"{label}: {100 * found['emrctl'][0]:.1f} % false alarms")
        for bar in BARS:
            share = found["emrctl"][EFFECTS.index(bar.effect)]
            if bar.effect and draw is drawn and bar.repeats == repeats and share < bar.share:
                missed.append(f"{label}: {100 * share:.1f} % of +{100 * bar.effect:.0f} % found")
    synthetic(100 * arguments.draws)
    if missed:
        raise SystemExit("missed: " + "; ".join(missed))


if __name__ == "__main__":
    main()
