"""Choose the priors of emrctl/predict/curves.py on public times, without the job to predict.

Draws priors at random. For each job, takes those with the smallest mean error on the other jobs,
and prints their error on the job beside that of the priors in use: `choose_curve_priors.py
[--draws N]`. A draw takes some seconds.
"""

from __future__ import annotations

import argparse
import random
from statistics import mean
from typing import Any

from bench_predict import (  # type: ignore[import-not-found,unused-ignore]
    MEASURED,
    PUBLIC,
    curve_rows,
    times,
)

from emrctl.predict import curves


def main() -> None:
    """Print the choice without each job, and its error."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    draw = random.Random(options.seed)  # noqa: S311
    jobs = {path.stem: times(path) for path in sorted(PUBLIC.glob("*.tsv"))}
    in_use = errors(jobs, {})
    drawn = [(prior := draw_prior(draw), errors(jobs, prior)) for _ in range(options.draws)]
    for job in jobs:
        others = [name for name in jobs if name != job]
        prior, chosen = min(drawn, key=lambda row: mean(row[1][name] for name in others))
        print(f"{job}: mean error {100 * chosen[job]:.2f} %, in use {100 * in_use[job]:.2f} %")
        print(f"  chosen on {', '.join(others)}: {prior}")


def draw_prior(draw: random.Random) -> dict[str, Any]:
    """Return constants of `curves` by their names."""
    reserved = draw.choice([0.5, 0.7, 0.8, 0.9])
    return {
        "_RESERVED": {0: round(1 - reserved, 1), 1: reserved},
        "_SHARE_RATE": draw.choice([0.0, 0.5, 1.0, 1.5]),
        "_EXPONENT_LOG_MEAN": round(draw.uniform(-0.05, 0.15), 2),
        "_EXPONENT_LOG_SLOPE": round(draw.uniform(-0.1, 0.7), 2),
        "_EXPONENT_LOG_SD": draw.choice([0.1, 0.15, 0.2, 0.3]),
        "_SHARED_VARIANCE": draw.choice([0.001, 0.002, 0.003]),
        "_LENGTH": draw.choice([0.5, 0.7, 1.0]),
        "_WAVE_VARIANCE": draw.choice([0.0012, 0.0018, 0.0024]),
    }


def errors(
    jobs: dict[str, list[dict[int, list[float]]]], prior: dict[str, Any]
) -> dict[str, float]:
    """Return the mean relative error of each job with `prior` in place of the constants in use."""
    in_use = {name: getattr(curves, name) for name in prior}
    for name, value in prior.items():
        setattr(curves, name, value)
    result = {
        job: mean(
            row[0] for group in groups for scales in MEASURED for row in curve_rows(group, scales)
        )
        for job, groups in jobs.items()
    }
    for name, value in in_use.items():
        setattr(curves, name, value)
    return result


if __name__ == "__main__":
    main()
