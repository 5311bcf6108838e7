"""Count the rows of a data set and compute a checksum that does not depend on their order.

Each task adds up the digests of its own rows, and the driver receives one row of sums.

Reads Parquet, CSV, JSON lines or text, and writes OUTPUT/result.json. The checksum is the sum of
the MD5 digests of all rows, modulo 2^64 for each half. Fractions are not part of it, since their
last digits vary with the order of sums: of each column of fractions there is a sum, weighted by the
digest of the rest of the row, and the sum of absolute values.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - the name in Spark's documentation
from pyspark.sql import types as T  # noqa: N812

MODULUS = 1 << 64
DOUBLE_TOLERANCE, FLOAT_TOLERANCE = 1e-9, 1e-6
_FRACTION = r"^[+-]?(\d+\.\d*|\.\d+|\d+(\.\d*)?[eE][+-]?\d+)([eE][+-]?\d+)?$"
_JSON = {
    "ignoreNullFields": "false",
    "timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX",
    "timestampNTZFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSS",
}


def read(spark: SparkSession, args: argparse.Namespace) -> DataFrame:
    """Return the data set; the columns of CSV files are texts."""
    if args.format == "csv":
        return spark.read.csv(args.input, header=args.header, sep=args.sep, inferSchema=False)
    return spark.read.format(args.format).load(args.input)


def checksum(frame: DataFrame, *, texts: bool = False) -> dict[str, Any]:
    """Return rows, checksum and sums; with `texts` fractions are recognised in texts."""
    names = sorted(frame.columns)
    fractions = {
        name: value
        for name in names
        if (value := _fraction(frame[_quoted(name)], frame.schema[name].dataType, texts=texts))
        is not None
    }
    members = [
        _exact(frame[_quoted(name)], frame.schema[name].dataType, fractions.get(name)).alias(name)
        for name in names
    ]
    numbers = {f"f{n}": fractions[name] for n, name in enumerate(fractions)}
    rows = frame.select(
        F.md5(F.to_json(F.struct(*members), _JSON)).alias("digest"),
        *(value.alias(alias) for alias, value in numbers.items()),
    )
    halves = [F.conv(F.substring("digest", at, 16), 16, 10) for at in (1, 17)]
    weight = 1 + halves[0].cast("double") / float(MODULUS)
    sums = [
        column
        for alias in numbers
        for column in (F.sum(F.col(alias) * weight), F.sum(F.abs(F.col(alias))))
    ]
    totals = [F.sum(half.cast("decimal(20,0)")) for half in halves]
    [(count, first, second, *values)] = rows.agg(F.count(F.lit(1)), *totals, *sums).collect()
    return {
        "rows": count,
        "checksum": f"{int(first or 0) % MODULUS:016x}{int(second or 0) % MODULUS:016x}",
        "sums": {
            name: {
                "weighted": values[2 * n] or 0.0,
                "absolute": values[2 * n + 1] or 0.0,
                "tolerance": _tolerance(frame.schema[name].dataType),
            }
            for n, name in enumerate(fractions)
            if values[2 * n] is not None or not texts
        },
    }


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _tolerance(type_: T.DataType) -> float:
    return DOUBLE_TOLERANCE if isinstance(type_, T.DoubleType) else FLOAT_TOLERANCE


def _fraction(column: Column, type_: T.DataType, *, texts: bool) -> Column | None:
    """Return the finite fractions of a column and null elsewhere; None if it can have none."""
    if isinstance(type_, (T.FloatType, T.DoubleType)):
        value = column.cast("double")
        # Infinity minus infinity is NaN, as is NaN minus NaN.
        return F.when(~F.isnan(value - value), value)
    if texts:
        return F.when(column.rlike(_FRACTION), column.cast("double"))
    return None


def _exact(column: Column, type_: T.DataType, fraction: Column | None) -> Column:
    """Return what the digest of a row covers: of a finite fraction only that it is one."""
    if fraction is not None:
        return F.when(fraction.isNotNull(), F.lit("fraction")).otherwise(column.cast("string"))
    if isinstance(type_, T.MapType):
        return F.array_sort(F.map_entries(column))
    return column.cast("string") if isinstance(type_, T.DecimalType) else column


def work(args: argparse.Namespace, spark: SparkSession) -> None:
    """Compute the checksum, and write result.json."""
    start = time.perf_counter()
    spark.sql("SET TIME ZONE 'UTC'")  # times as text would depend on the cluster
    figures = checksum(read(spark, args), texts=args.format == "csv")
    total_s = round(time.perf_counter() - start, 3)
    print(f"checksum: {figures['rows']} rows, {figures['checksum']} in {total_s} s", flush=True)
    result = {
        "job": "checksum",
        "arguments": vars(args),
        "steps_s": {"read": total_s},
        "total_s": total_s,
        "figures": figures,
    }
    jvm: Any = spark._jvm  # noqa: SLF001
    conf: Any = spark._jsc.hadoopConfiguration()  # noqa: SLF001
    path = jvm.org.apache.hadoop.fs.Path(f"{args.output.rstrip('/')}/result.json")
    stream = path.getFileSystem(conf).create(path, True)
    stream.write((json.dumps(result, indent=2, ensure_ascii=False) + "\n").encode())
    stream.close()


def main(argv: list[str] | None = None) -> int:
    """Run the job."""
    parser = argparse.ArgumentParser(
        "checksum", description="Count the rows of a data set and compute a checksum of them."
    )
    add_argument = parser.add_argument
    add_argument("--input", required=True, metavar="PATH", help="data set")
    add_argument("--output", required=True, metavar="PATH", help="output folder")
    add_argument(
        "--format",
        choices=("parquet", "orc", "csv", "json", "text"),
        default="parquet",
        help="format of the data set",
    )
    add_argument("--header", action="store_true", help="CSV files begin with the column names")
    add_argument("--sep", default=",", metavar="CHARACTER", help="separator of CSV files")
    args = parser.parse_args(argv)
    active = SparkSession.getActiveSession()
    spark = active or SparkSession.builder.getOrCreate()
    try:
        work(args, spark)
    finally:
        if active is None:
            spark.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
