"""New pictures to classes, in parallel: decode, extract, and let the study's models say.

classify.py --input PATH --models PATH --output PATH [--method one-vs-all|voting]
            [--extractor hog|vgg16|… --size N --layer NAME --weights …] [--partitions N]

--models is the svm job's --output. What made its features is known from there where the features
job wrote them; else --extractor says it. Pictures as for the features job; their names need hold no
class, but where they do, right answers are counted.

Writes, below --output:
  classes/     Parquet: path, label (from the name; null), said, margin (of the class said), reason
               (why a picture could not be read; then nothing is said)
  result.json  times, counts by class, accuracy on the pictures whose class is known
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Callable

import _common
import _descent
import _extractors
import _learning
import _models
import _multiclass
import _networks
import _pictures
import _pieces
import _scores
import _solvers
import _sources
import numpy as np
from _common import Files, JobError, Steps, join
from _extractors import Extractor
from _multiclass import Panel
from _pictures import Picture, Reading, Table
from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession

if TYPE_CHECKING:
    import pandas as pd

SAID = "path string, label string, said string, margin double, reason string"
TASKS = {"one-vs-all": "one-vs-all", "voting": "pairs"}


def answered(reading: Reading, panel: Any) -> Callable[[Table], Table]:
    """For mapInPandas: RAW in, SAID out; `panel` is a broadcast."""

    def made(tables: Table) -> Table:
        for batch in reading.batches(tables, frozenset()):
            yield table(batch, reading.extractor, panel.value)

    return made


def table(batch: list[Picture], extractor: Extractor, panel: Panel) -> pd.DataFrame:
    """What is said of one batch."""
    import pandas as pd

    good = [picture for picture in batch if picture.pixels is not None]
    answers: Iterator[tuple[str, float]] = iter(())
    if good:
        rows = extractor.features(np.stack([picture.pixels for picture in good]))
        said, margins = panel.say(rows.astype(np.float64))
        answers = iter([(panel.classes[place], m) for place, m in zip(said, margins.tolist())])
    lines = []
    for picture in batch:
        known = picture.pixels is not None
        lines.append(
            (
                picture.path,
                picture.label,
                *(next(answers) if known else (None, None)),
                None if known else picture.reason,
            )
        )
    return pd.DataFrame(lines, columns=["path", "label", "said", "margin", "reason"])


def settings_of(files: Files, args: argparse.Namespace) -> dict[str, Any]:
    """What makes vectors as the models know them.

    Raises:
        JobError: Neither the study nor the user says.
    """
    path = join(args.models, "result.json")
    if not files.exists(path):
        raise JobError(f"--models {args.models}: not the --output of the svm job")
    known = json.loads(files.read(path))["figures"].get("extractor")
    if args.extractor:
        size = args.size or _extractors.default_size(args.extractor)
        return {**vars(args), "name": args.extractor, "size": size}
    if not known:
        raise JobError(f"--models {args.models} does not say what made its features: --extractor")
    return dict(known)


def figures_of(results: DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    """Counts by class, and accuracy where the name tells the class and a model knows it."""
    rows = results.groupBy("label", "said").count().collect()
    counted = [(row["label"], row["said"], row["count"]) for row in rows]
    known = [row for row in counted if row[0] in classes and row[1] is not None]
    n, right = sum(row[2] for row in known), sum(row[2] for row in known if row[0] == row[1])
    said: dict[str, int] = {}
    for _, name, count in counted:
        if name is not None:
            said[name] = said.get(name, 0) + count
    return {
        "pictures": sum(row[2] for row in counted),
        "broken": sum(row[2] for row in counted if row[1] is None),
        "said": dict(sorted(said.items())),
        "n_known": n,
        "n_correct": right,
        "accuracy": right / n if n else None,
    }


def work(args: argparse.Namespace, spark: SparkSession, steps: Steps) -> None:
    """Load the models, let them say, write, report."""
    modules = (_common, _descent, _extractors, _learning, _models, _multiclass, _networks)
    _common.ship(spark, *modules, _pictures, _pieces, _scores, _solvers, _sources)
    files = Files(spark)
    with steps.step("models"):
        settings = settings_of(files, args)
        _common.require(*_extractors.modules(settings["name"]))
        panel = Panel.of(_models.read_all(files, args.models, TASKS[args.method]))
        extractor = _extractors.make(spark, settings)
    with steps.step("list"):
        found = _pictures.find(files, args.input)
        raw = _pictures.read(spark, args.input, found, _common.partitions(spark, args.partitions))
    root = _pictures.root_of(files.qualified(args.input), found.names)
    carried = spark.sparkContext.broadcast(panel)
    results = raw.mapInPandas(
        answered(Reading(extractor, args.labels, root, named=False), carried), SAID
    )
    results = results.persist(StorageLevel.MEMORY_AND_DISK)
    with steps.step("extract and say"):
        results.write.mode("overwrite").parquet(join(args.output, "classes"))
    figures = figures_of(results, panel.classes)
    results.unpersist()
    steps.say(f"{figures['pictures']} pictures, {figures['broken']} broken")
    steps.finish(files, args, {**figures, "extractor": settings["name"], "method": args.method})


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The arguments, checked."""
    parser = _common.parser("classify", "New pictures to classes, in parallel.")
    add = parser.add_argument
    add("--input", required=True, metavar="PATH", help="pictures, or archives of them")
    add("--models", required=True, metavar="PATH", help="the svm job's --output")
    add("--method", choices=sorted(TASKS), default="one-vs-all")
    add("--labels", choices=("auto", "name", "folder"), default="auto")
    _extractors.add_arguments(parser)
    parser.set_defaults(extractor=None)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the job; 0, or 2 when its arguments or its input are at fault."""
    args = parse(argv)
    steps = Steps("classify")

    def body() -> None:
        _common.require("numpy", "pandas", "pyarrow")
        with _common.session() as spark:
            work(args, spark, steps)

    return _common.run("classify", body)


if __name__ == "__main__":
    sys.exit(main())
