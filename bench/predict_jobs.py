"""The PySpark jobs whose event logs bench_predict.py records: `predict_jobs.py NAME`.

Their tasks sleep, so that sixteen executors run in parallel on two cores; `cpu` computes.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from pyspark import RDD, SparkContext
from pyspark.sql import SparkSession


def scaled(context: SparkContext, durations_s: Sequence[float]) -> list[float]:
    """Return the durations times `spark.emrctl.scale`."""
    scale = float(context.getConf().get("spark.emrctl.scale", "1") or 1)
    return [scale * duration_s for duration_s in durations_s]


def sleeping(context: SparkContext, durations_s: Sequence[float]) -> RDD[tuple[int, int]]:
    """Return an RDD of one pair per partition that takes that long to compute."""
    plan = scaled(context, durations_s)

    def work(index: int, rows: Iterator[int]) -> Iterator[tuple[int, int]]:
        del rows
        time.sleep(plan[index])
        yield index, 1

    return context.parallelize(range(len(plan)), len(plan)).mapPartitionsWithIndex(work)


def after_shuffle(
    pairs: RDD[tuple[int, int]], durations_s: Sequence[float]
) -> RDD[tuple[int, int]]:
    """Return the pairs of the next stage, whose tasks take that long."""
    plan = scaled(pairs.context, durations_s)

    def work(index: int, rows: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        time.sleep(plan[index])
        yield from rows

    return pairs.partitionBy(len(plan)).mapPartitionsWithIndex(work)


def skewed(context: SparkContext, draw: random.Random) -> None:
    """Two stages of log-normal task times, the second with one task ten times as long."""
    first = [0.3 + 0.4 * draw.lognormvariate(0, 0.8) for _ in range(40)]
    second = [0.3 + 0.2 * draw.lognormvariate(0, 0.5) for _ in range(24)]
    second[draw.randrange(24)] = 5.0
    after_shuffle(sleeping(context, first), second).count()
    sleeping(context, [draw.uniform(0.2, 0.6) for _ in range(33)]).count()


def short(context: SparkContext, draw: random.Random) -> None:
    """Fifty jobs of six short tasks."""
    for _ in range(50):
        sleeping(context, [draw.uniform(0.05, 0.3) for _ in range(6)]).count()


def dag(context: SparkContext, draw: random.Random) -> None:
    """A join of two branches of different length, then an aggregation."""
    for _ in range(2):
        left = sleeping(context, [draw.uniform(0.4, 1.2) for _ in range(14)])
        left = after_shuffle(left, [draw.uniform(0.3, 0.9) for _ in range(10)])
        right = sleeping(context, [draw.uniform(0.5, 2.5) for _ in range(9)])
        joined = left.join(right, 12).map(lambda row: (row[0] % 4, 1))
        after_shuffle(joined, [draw.uniform(0.5, 1.0) for _ in range(4)]).count()


def parallel(context: SparkContext, draw: random.Random) -> None:
    """Jobs of four threads at once."""
    plans = [[draw.uniform(0.3, 1.5) for _ in range(draw.randrange(3, 9))] for _ in range(10)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda plan: sleeping(context, plan).count(), plans))


def fair(context: SparkContext, draw: random.Random) -> None:
    """Jobs of three threads in pools of their own; the application uses the FAIR scheduler."""
    plans = [[draw.uniform(0.3, 1.2) for _ in range(count)] for count in (30, 12, 6)]

    def run(number: int) -> int:
        context.setLocalProperty("spark.scheduler.pool", f"pool{number}")
        return int(sleeping(context, plans[number]).count())

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(run, range(3)))


def gaps(context: SparkContext, draw: random.Random) -> None:
    """Jobs with work of the driver in between."""
    for _ in range(8):
        sleeping(context, [draw.uniform(0.4, 1.0) for _ in range(draw.randrange(4, 14))]).count()
        time.sleep(draw.uniform(0.3, 2.0))


def dynamic(context: SparkContext, draw: random.Random) -> None:
    """Two large stages and a small one, for dynamic allocation."""
    sleeping(context, [draw.uniform(0.8, 1.6) for _ in range(36)]).count()
    time.sleep(3)
    sleeping(context, [draw.uniform(0.8, 1.6) for _ in range(3)]).count()
    sleeping(context, [draw.uniform(0.4, 0.8) for _ in range(36)]).count()


def cpu(context: SparkContext, draw: random.Random) -> None:
    """Tasks that compute."""

    def work(seed: int) -> float:
        numbers = random.Random(seed)  # noqa: S311
        return sum(numbers.random() for _ in range(4_000_000))

    for _ in range(2):
        seeds = [draw.randrange(1 << 30) for _ in range(16)]
        context.parallelize(seeds, 16).map(work).count()


def query(context: SparkContext, draw: random.Random) -> None:
    """Spark SQL with a join, aggregations and adaptive execution; each batch of rows sleeps."""
    from pyspark.sql import functions as f

    del draw
    session = SparkSession(context)

    def wait(value: int) -> int:
        time.sleep(0.03)
        return value

    sleep = f.udf(wait, "long")
    facts = session.range(0, 600, 1, 12).withColumn("key", sleep("id") % 7)
    names = session.range(0, 7, 1, 2).withColumn("name", sleep("id"))
    for _ in range(3):
        joined = facts.join(names, facts["key"] == names["id"])
        joined.groupBy("name").count().orderBy("count").collect()


JOBS: dict[str, Callable[[SparkContext, random.Random], None]] = {
    job.__name__: job for job in (skewed, short, dag, parallel, fair, gaps, dynamic, cpu, query)
}


def main(name: str) -> None:
    """Run one job in a Spark application of its own."""
    with SparkContext(appName=name) as context:
        JOBS[name](context, random.Random(name))  # noqa: S311


if __name__ == "__main__":
    main(sys.argv[1])
