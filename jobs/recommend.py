"""Recommend items to users by matrix factorization (ALS), and measure the latency of serving.

ALS gives every user and item a vector of --rank numbers; their product is the predicted rating. It
solves for all users, then for all items, in turn, in --blocks that are tasks: each half sends the
vectors to the blocks with ratings that need them (a shuffle). One Spark job recommends to all
users. For one user it is too slow: a server keeps the vectors in memory. The job measures both.

Output, below --output:
  recommendations/  Parquet: user, items and predicted ratings, best first
  result.json       step durations; error on the test ratings, latencies in ms
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from typing import Any, Callable

import numpy as np
from pyspark.sql import DataFrame, SparkSession

from common import job
from common.files import HadoopFiles, join
from common.job import JobError, JobLog

COLUMNS = "user int, item int, rating double"
TOP, WARM_UP = 10, 10


def generate(user: int, args: argparse.Namespace) -> list[tuple[int, int, float]]:
    """Return the ratings of a user: products of vectors with 3 numbers, and noise."""
    rng = np.random.default_rng([args.seed, user])
    items = np.random.default_rng(args.seed).normal(size=(args.items, 3))
    seen = rng.choice(args.items, size=min(args.ratings, args.items), replace=False)
    values = 3 + items[seen] @ rng.normal(size=3) + rng.normal(scale=0.3, size=len(seen))
    return [(user, int(item), float(value)) for item, value in zip(seen, values)]


def ratings(spark: SparkSession, args: argparse.Namespace, partitions: int) -> DataFrame:
    """Read or generate the ratings; raises JobError if --input does not exist."""
    if args.input is None:
        users = spark.sparkContext.parallelize(range(args.users), partitions)
        return spark.createDataFrame(users.flatMap(partial(generate, args=args)), COLUMNS)
    if not HadoopFiles(spark).exists(args.input):
        raise JobError(f"--input {args.input}: no such file or folder")
    return spark.read.csv(args.input, schema=COLUMNS, mode="FAILFAST").repartition(partitions)


def vectors(factors: DataFrame) -> dict[int, Any]:
    """Return the vectors of users or items by id, in the driver."""
    return {row["id"]: np.array(row["features"]) for row in factors.collect()}


def best(user: Any, items: Any, ids: Any) -> list[int]:
    """Return the ids of the items with the largest predicted ratings for a user's vector."""
    predicted = items @ user
    few = np.argpartition(-predicted, min(TOP, len(ids)) - 1)[:TOP]
    return [int(ids[index]) for index in few[np.argsort(-predicted[few])]]


def latencies_ms(call: Callable[[int], object], users: list[int]) -> dict[str, float]:
    """Return quantiles of the duration of a call for each user; the first WARM_UP do not count."""
    durations = []
    for user in users:
        start = time.perf_counter()
        call(user)
        durations.append((time.perf_counter() - start) * 1000)
    p50, p95 = np.percentile(durations[WARM_UP:], (50, 95))
    return {"p50_ms": round(p50, 4), "p95_ms": round(p95, 4)}


def recommend(args: argparse.Namespace, spark: SparkSession, log: JobLog) -> None:
    """Fit, recommend to all users, and to single ones with and without Spark."""
    from pyspark.ml.evaluation import RegressionEvaluator
    from pyspark.ml.recommendation import ALS

    data = ratings(spark, args, job.partitions(spark, args.partitions)).persist()
    train, test = data.randomSplit([0.9, 0.1], seed=args.seed)
    als = ALS(rank=args.rank, maxIter=args.iterations, regParam=args.reg, seed=args.seed)
    als.setUserCol("user").setItemCol("item").setColdStartStrategy("drop").setNumBlocks(args.blocks)
    with log.step("fit"):
        model = als.fit(train)
    with log.step("test"):
        rmse = RegressionEvaluator(labelCol="rating").evaluate(model.transform(test))
    with log.step("recommend to all"):
        path = join(args.output, "recommendations")
        model.recommendForAllUsers(TOP).write.mode("overwrite").parquet(path)
    users, items = vectors(model.userFactors), vectors(model.itemFactors)
    matrix, ids = np.stack(list(items.values())), np.array(list(items))
    with log.step("serve"):
        some = [sorted(users)[n % len(users)] for n in range(WARM_UP + args.requests)]
        served = latencies_ms(lambda user: best(users[user], matrix, ids), some)
        one = {user: spark.range(user, user + 1, 1, 1).toDF("user") for user in some}
        subset = model.recommendForUserSubset
        by_spark = latencies_ms(lambda user: subset(one[user], TOP).collect(), some)
    figures = {"users": len(users), "items": len(items), "rmse": rmse, "served": served}
    log.write_result(HadoopFiles(spark), args, {**figures, "served_by_spark": by_spark})


def main(argv: list[str] | None = None) -> int:
    """Run the job. Return 0, or 2 after an error in the input."""
    parser = job.argument_parser("recommend", "Recommend items to users by ALS; measure serving.")
    add, count = parser.add_argument, job.positive_int
    add("--input", metavar="PATH", help="CSV files of user, item, rating, no header")
    add("--users", type=count, default=2000, metavar="N", help="generated users (default: 2000)")
    add("--items", type=count, default=500, metavar="N", help="generated items (default: 500)")
    add("--ratings", type=count, default=50, metavar="N", help="per generated user (default: 50)")
    add("--rank", type=count, default=10, metavar="N", help="numbers per vector (default: 10)")
    add("--iterations", type=count, default=10, metavar="N", help="default: 10")
    add("--blocks", type=count, default=10, metavar="N", help="of users, of items (default: 10)")
    add("--reg", type=job.positive, default=0.1, metavar="X", help="regParam (default: 0.1)")
    add("--requests", type=count, default=200, metavar="N", help="of each way (default: 200)")
    add("--seed", type=count, default=1, metavar="N", help="default: 1")
    return job.run_job("recommend", ("numpy",), partial(recommend, parser.parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
