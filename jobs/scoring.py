"""Predict with a fitted scikit-learn model: each executor predicts its part of the rows.

A Python function sees the rows of a DataFrame through a UDF. --udf row calls it once for each row:
the JVM pickles the row, Python unpickles it and calls the model for a single row. --udf pandas
calls it for thousands of rows at once, which Arrow passes as columns without pickling. Both return
the same. The model is sent to each executor once (broadcast). The rows are those of --input (LIBSVM
files), or generated ones.

--model is the model.joblib of the gridsearch job, or another that joblib.dump wrote with the same
version of scikit-learn. Loading it runs code that the file contains: use files that you trust only.

Output, below --output:
  predictions/  Parquet: label, prediction
  result.json   step durations; rows per second, accuracy
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql import SparkSession

from common import blocks, job
from common.files import HadoopFiles, join
from common.job import JobError, JobLog
from common.models import load


def predict_row(row: list[float], shared: Any) -> float:
    """Return the prediction for one row."""
    return float(shared.value.predict(np.array([row]))[0])


def prediction(column: Any, udf: str, shared: Any) -> Any:
    """Return the column of predictions for a column of arrays."""
    from pyspark.sql import functions

    if udf == "row":
        return functions.udf(partial(predict_row, shared=shared), "double")(column)

    def predict(parts: Iterator[pd.Series]) -> Iterator[pd.Series]:
        for part in parts:  # a batch of rows, each an array
            yield pd.Series(shared.value.predict(np.stack(part)).astype(float))

    return functions.pandas_udf(predict, "double")(column)


def score(args: argparse.Namespace, spark: SparkSession, log: JobLog) -> None:
    """Predict, and write predictions and result.json."""
    from pyspark.ml.functions import vector_to_array

    files = HadoopFiles(spark)
    if not files.exists(args.model):
        raise JobError(f"--model {args.model}: no such file")
    model = load(files, args.model)
    partitions = job.partitions(spark, args.partitions)
    data = blocks.frame(spark, args, partitions, "classes")
    rows = data.select("label", vector_to_array("features").alias("features")).persist()
    with log.step("read"):
        count, width = rows.count(), len(rows.first()["features"]) if rows.first() else 0
    if width != model.n_features_in_:
        raise JobError(f"the rows have {width} features, the model {model.n_features_in_}")
    shared = spark.sparkContext.broadcast(model)
    predicted = rows.select(
        "label", prediction(rows.features, args.udf, shared).alias("prediction")
    )
    with log.step("predict"):
        predicted.write.mode("overwrite").parquet(join(args.output, "predictions"))
    stored = spark.read.parquet(join(args.output, "predictions"))
    correct = stored.where("label = prediction").count()
    figures = {"rows": count, "n_correct": correct, "accuracy": correct / count}
    figures["rows_per_s"] = round(count / log.seconds["predict"], 1)
    log.write_result(files, args, figures)


def main(argv: list[str] | None = None) -> int:
    """Run the job. Return 0, or 2 after an error in the arguments or the input."""
    parser = job.argument_parser("scoring", "Predict with a scikit-learn model, in parallel.")
    blocks.add_arguments(parser, classes=2)
    add = parser.add_argument
    add("--model", required=True, metavar="PATH", help="model.joblib of the gridsearch job")
    add("--udf", choices=("pandas", "row"), default="pandas", help="default: pandas")
    modules = ("numpy", "pandas", "pyarrow", "sklearn")
    return job.run_job("scoring", modules, partial(score, parser.parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
