"""Sales by region of generated orders, some of which have an amount that is no number.

`cast` returns NULL for such an amount up to Spark 3.5. With the ANSI mode, which is the default
since Spark 4.0, it fails, and `try_cast` returns NULL on both.
"""

from __future__ import annotations

import argparse
import json

from pyspark.sql import SparkSession

QUERY = """
    SELECT region, count(*) AS orders, count(amount) AS valid, sum(amount) AS cents
    FROM (SELECT region, {cast}(text AS BIGINT) AS amount FROM orders)
    GROUP BY region ORDER BY region
"""


def main() -> None:
    """Write the sales of each region to OUTPUT/result.json."""
    parser = argparse.ArgumentParser("sales", description="Sales by region of generated orders.")
    parser.add_argument("--output", required=True, help="output folder")
    parser.add_argument("--rows", type=int, default=200_000, help="number of orders")
    parser.add_argument("--cast", choices=("cast", "try_cast"), default="cast", help="SQL function")
    args = parser.parse_args()
    spark = SparkSession.builder.getOrCreate()
    orders = spark.range(args.rows).selectExpr(
        "concat('region ', id % 5) AS region",
        "if(id % 1000 = 7, 'n/a', string(id % 10000)) AS text",
    )
    orders.createOrReplaceTempView("orders")
    rows = spark.sql(QUERY.format(cast=args.cast)).collect()
    figures = {"rows": len(rows), "regions": [row.asDict() for row in rows]}
    print(f"sales: {figures}")
    jvm = spark._jvm  # noqa: SLF001
    path = jvm.org.apache.hadoop.fs.Path(f"{args.output}/result.json")
    stream = path.getFileSystem(spark._jsc.hadoopConfiguration()).create(path, True)  # noqa: SLF001
    stream.write((json.dumps({"job": "sales", "figures": figures}) + "\n").encode())
    stream.close()
    spark.stop()


if __name__ == "__main__":
    main()
