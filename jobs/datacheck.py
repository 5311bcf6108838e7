"""Check the schema and the values of data before other jobs use them.

--rules is JSON, or a file of it: {"rows": 1, "columns": {"user": {"type": "int"}, "kind": {"in":
["a", "b"]}, "rating": {"type": "double", "nullable": false, "min": 0, "max": 5}}}. `rows` is the
least number of rows. A column may have type (Spark's, also to read CSV and JSON), nullable, min,
max, in, pattern and unique; a null breaks nullable only. All rules are columns of one aggregation:
each executor reads its part of the data once, and sends counts. A broken rule fails the job.

Output, below --output: result.json, and rejected/ (JSON lines: the first 100 rows that break one).
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial, reduce
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession, functions

from common import job
from common.files import HadoopFiles, join
from common.job import JobError, JobLog

CHECKS = {"type", "nullable", "min", "max", "in", "pattern", "unique"}
UNREADABLE = "_corrupt_record"  # Spark's column of the lines whose values do not have the types


def parse(text: bytes) -> tuple[int, dict[str, Any]]:
    """Return the least number of rows and the rules; raises JobError for another form."""
    try:
        document = json.loads(text)
        rules = document["columns"]
        unknown = {check for checks in rules.values() for check in checks} - CHECKS
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise JobError(f"--rules: not an object with columns: {error!r}") from error
    if unknown:
        raise JobError(f"--rules: no check is called {', '.join(sorted(unknown))}")
    return document.get("rows", 0), rules


def read(spark: SparkSession, args: argparse.Namespace, rules: dict[str, Any]) -> DataFrame:
    """Read the data; CSV (with a header) and JSON with the types of the rules."""
    if args.format == "parquet":
        return spark.read.parquet(args.input)
    types = [f"`{name}` {checks.get('type', 'string')}" for name, checks in rules.items()]
    reader = spark.read.format(args.format).option("header", True).option("enforceSchema", False)
    return reader.schema(", ".join([*types, f"{UNREADABLE} string"])).load(args.input)


def schema_faults(frame: DataFrame, rules: dict[str, Any]) -> dict[str, Any]:
    """Return the columns that do not exist or have another type."""
    types = dict(frame.dtypes)
    return {
        f"{name}: type {checks.get('type', 'any')}": types.get(name, "no such column")
        for name, checks in rules.items()
        if name not in types or checks.get("type", types[name]) != types[name]
    }


def violations(frame: DataFrame, rules: dict[str, Any]) -> dict[str, Column]:
    """Return for each rule of single rows a column that is true in the rows that break it."""
    columns = {} if UNREADABLE not in frame.columns else {"type": frame[UNREADABLE].isNotNull()}
    for name, checks in rules.items():
        column, tests = functions.col(f"`{name}`"), dict(checks)
        if tests.pop("nullable", True) is False:
            columns[f"{name}: nullable"] = column.isNull()
        for test, limit in tests.items():
            if test in {"min", "max"}:
                broken = column < limit if test == "min" else column > limit
                columns[f"{name}: {test} {limit}"] = broken
            elif test in {"in", "pattern"}:
                fits = column.isin(limit) if test == "in" else column.rlike(f"^(?:{limit})$")
                columns[f"{name}: {test} {limit}"] = ~fits
    return columns


def check(args: argparse.Namespace, spark: SparkSession, log: JobLog) -> None:
    """Check, write the result, and raise JobError if a rule is broken."""
    files = HadoopFiles(spark)
    inline = args.rules.startswith("{")
    for path in (args.input,) if inline else (args.input, args.rules):
        if not files.exists(path):
            raise JobError(f"{path}: no such file or folder")
    least, rules = parse(args.rules.encode() if inline else files.read(args.rules))
    frame = read(spark, args, rules).persist()
    figures: dict[str, Any] = {"columns": len(rules), "broken": schema_faults(frame, rules)}
    if not figures["broken"]:
        broken = violations(frame, rules)
        counts = {rule: functions.count(functions.when(v, 1)) for rule, v in broken.items()}
        for name in [name for name, checks in rules.items() if checks.get("unique")]:
            repeated = f"count(`{name}`) - count(DISTINCT `{name}`)"
            counts[f"{name}: unique"] = functions.expr(repeated)
        with log.step("check"):
            [row] = frame.agg(functions.count("*"), *counts.values()).collect()
        figures["rows"], *totals = row
        figures["broken"] = {rule: n for rule, n in zip(counts, totals) if n}
        if figures["broken"].keys() & broken.keys():
            rejected = frame.where(reduce(Column.__or__, broken.values())).limit(100)
            rejected.write.mode("overwrite").json(join(args.output, "rejected"))
        if figures["rows"] < least:
            figures["broken"][f"rows: at least {least}"] = figures["rows"]
    log.write_result(files, args, figures)
    if figures["broken"]:
        raise JobError("; ".join(f"{rule} ({n})" for rule, n in figures["broken"].items()))


def main(argv: list[str] | None = None) -> int:
    """Run the job. Return 0, or 2 if a rule is broken or the input does not exist."""
    parser = job.argument_parser("datacheck", "Check schema and values of data.", partitions=False)
    add = parser.add_argument
    add("--input", required=True, metavar="PATH", help="files of --format")
    add("--rules", required=True, metavar="JSON|PATH", help="rules in JSON, or a file of them")
    add("--format", choices=("parquet", "csv", "json"), default="parquet", help="default: parquet")
    return job.run_job("datacheck", (), partial(check, parser.parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
