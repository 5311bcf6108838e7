"""What an earlier run of the features job has left: a rerun does only what is missing."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from typing import Any, NamedTuple

from _common import Files, join, label_of, relative
from pyspark.sql import SparkSession

ARCHIVES = (".tar", ".gz", ".tgz", ".zip")
SAME = ("input", "labels", "format")  # arguments on which the rows depend, beside the extractor


class Inputs(NamedTuple):
    """The input's files: qualified names, and the folder that their paths are told from."""

    root: str
    names: list[str]


class Earlier(NamedTuple):
    """Pictures that have their vectors, by path, counted by class; and why there are none."""

    paths: frozenset[str]
    classes: dict[str, int]
    dimension: int | None
    why: str

    def told(self) -> str:
        """For the log."""
        if self.paths:
            return f"{len(self.paths)} pictures have their features from an earlier run"
        return f"all pictures are extracted: {self.why}"


def nothing(why: str) -> Earlier:
    """No picture has its vector."""
    return Earlier(frozenset(), {}, None, why)


def of(
    spark: SparkSession, args: argparse.Namespace, settings: dict[str, Any], inputs: Inputs
) -> Earlier:
    """What is in --output of the same settings and is not older than its picture.

    Pictures inside an archive are as old as the archive, and not known to be gone.
    """
    files = Files(spark)
    result = join(args.output, "result.json")
    if args.anew or not files.exists(result):
        return nothing("asked to" if args.anew else "nothing is there yet")
    told = json.loads(files.read(result))
    before = {name: told["arguments"].get(name) for name in SAME}
    if told["figures"].get("extractor") != settings or before != {
        name: getattr(args, name) for name in SAME
    }:
        return nothing("the earlier ones are of other settings")
    rows = written(spark, files, join(args.output, "features"))
    since = files.modified(result)
    times = {relative(inputs.root, name): time for name, time in files.times(args.input).items()}
    packed = any(name.lower().endswith(ARCHIVES) for name in inputs.names)
    if any(time >= since and (packed or path in rows) for path, time in times.items()):
        return nothing("pictures have changed since")
    if not packed and not rows.keys() <= times.keys():
        return nothing("pictures are gone since")
    return Earlier(
        frozenset(rows), dict(Counter(rows.values())), told["figures"].get("dimension"), ""
    )


def written(spark: SparkSession, files: Files, folder: str) -> dict[str, str]:
    """Label by path of the vectors that are there."""
    names = [name for name, _ in files.listed(folder)] if files.exists(folder) else []
    if any(name.endswith(".parquet") for name in names):
        rows = spark.read.parquet(folder).select("path", "label").collect()
        return {row["path"]: row["label"] for row in rows}
    base = files.qualified(folder)
    paths = [relative(base, name)[: -len(".json")] for name in names if name.endswith(".json")]
    return {path: label_of(path) or "" for path in paths}
