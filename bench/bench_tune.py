"""Searches on tables of measured clusters: how often a few runs find a good configuration.

bench_tune.py [--seeds N] [--samplers search,tpe,random]

Replays searches on every complete space of ../shared/data/c3o (a job and its input: 17 or 18
clusters) and of ../shared/data/scout (69 clusters), for the goals cost and time, with several sets
of features. A run returns one of the repeats at random; configurations are judged by the mean of
their repeats. Exits with 1 if emrctl's search misses a bar: c3o within 5 % of the best after 8 runs
and scout within 10 % after 12, in at least 85 % of the searches for each goal and set of features.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import math
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

from _common import ROOT  # type: ignore[import-not-found,unused-ignore]

from emrctl.aws.instance_types import instance_type
from emrctl.tune.replay import Measurements, regrets

DATA = ROOT.parent / "shared" / "data"
GOALS = ("cost", "time")
FEATURES = {
    "type and count": ("machine_type", "instance_count"),
    "sizes": ("instance_count", "vcpus", "memory", "price"),
    "all": ("machine_type", "instance_count", "vcpus", "memory", "price"),
}
BAR = 0.85
BARS = {"c3o": (8, 0.05), "scout": (12, 0.10)}
Table = dict[tuple[str, int], list[float]]


def spaces() -> Iterator[tuple[str, str, Table]]:
    """Yield source, job and the repeats of each machine type and count."""
    measured = {"instance_count", "machine_type", "slots", "memory", "gross_runtime"}
    for path in sorted((DATA / "c3o").glob("*.tsv")):
        inputs: dict[tuple[str, ...], Table] = defaultdict(lambda: defaultdict(list))
        for row in csv.DictReader(path.read_text().splitlines(), delimiter="\t"):
            key = tuple(value for name, value in row.items() if name not in measured)
            cluster = row["machine_type"], int(row["instance_count"])
            inputs[key][cluster].append(float(row["gross_runtime"]))
        for table in inputs.values():
            if len(table) >= 17:
                yield "c3o", path.stem, table
    for path in sorted((DATA / "scout").glob("*.tsv")):
        table = {}
        for row in csv.DictReader(path.read_text().splitlines(), delimiter="\t"):
            seconds = float(row["elapsed_s"]) if row["completed"] == "true" else math.nan
            table[row["machine_type"], int(row["instance_count"])] = [seconds]
        yield "scout", path.stem, table


def measurements(table: Table, goal: str, names: tuple[str, ...]) -> Measurements:
    """Return the space with the features `names`, sorted by type and count."""
    candidates: list[dict[str, float | str]] = []
    values = []
    for (name, count), repeats in sorted(table.items()):
        item = instance_type(name)
        features: dict[str, float | str] = {
            "machine_type": name,
            "instance_count": count,
            "vcpus": item.vcpus,
            "memory": item.memory_gib,
            "price": item.ec2_usd,
        }
        candidates.append({key: features[key] for key in names})
        factor = item.ec2_usd * count / 3600 if goal == "cost" else 1.0
        values.append([factor * value for value in repeats])
    return Measurements(candidates=candidates, values=values)


def shares(sampler: str, goal: str, names: tuple[str, ...], seeds: int) -> dict[str, list[float]]:
    """Return by source, and by source and job, the share of searches within the bar per run."""
    hits: dict[str, list[list[bool]]] = defaultdict(list)
    for source, job, table in spaces():
        runs, within = BARS[source]
        space = measurements(table, goal, names)
        for seed in range(seeds):
            hit = [value <= within for value in regrets(space, sampler, runs=runs, seed=seed)]
            hits[source].append(hit)
            hits[f"{source} {job[:5]}"].append(hit)
    return {key: [sum(c) / len(c) for c in zip(*every, strict=True)] for key, every in hits.items()}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--samplers", default="search,tpe,random")
    options = parser.parse_args()
    if not DATA.is_dir():
        print(f"not run: no measured tables in {DATA}")
        return 0
    missed = 0
    print(f"{'table':13}{'goal':6}{'features':16}{'sampler':9}% within the bar after each run")
    for goal, label, sampler in itertools.product(GOALS, FEATURES, options.samplers.split(",")):
        if sampler != "search" and label != "type and count":
            continue  # the others make no use of the sizes
        start = time.perf_counter()
        for key, column in sorted(shares(sampler, goal, FEATURES[label], options.seeds).items()):
            missed += sampler == "search" and key in BARS and column[-1] < BAR
            line = " ".join(f"{100 * share:3.0f}" for share in column)
            print(f"{key:13}{goal:6}{label:16}{sampler:9}{line}")
        print(f"{'':13}{time.perf_counter() - start:.1f} s", flush=True)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
