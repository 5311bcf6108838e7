"""Three passes over a parsed file that is read each time, or kept."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from pyspark.sql import SparkSession

sc = SparkSession.builder.getOrCreate().sparkContext


def parsed(line: str) -> list[float]:
    return [float(word) for word in line.split(",")]


with tempfile.TemporaryDirectory() as folder:
    line = ",".join(f"{n}.25" for n in range(60))
    (Path(folder) / "rows.csv").write_text(f"{line}\n" * 60_000)
    rows = sc.textFile(folder, 4).map(parsed)
    if sys.argv[1] != "ill":
        rows.persist()
    for column in range(4):
        rows.map(lambda row, column=column: row[column]).sum()
