"""The EMR on localhost: `emrctl up` to WAITING, and a step beside a bare spark-submit on its YARN.

EMR itself takes 5 to 10 minutes to WAITING. The bare spark-submit runs on the primary node too,
with the same settings, in turn with ours; both are timed from outside. Everything lies in a
temporary folder and is taken down again.
"""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from statistics import median
from typing import Any

import _desk  # type: ignore[import-not-found,unused-ignore]

PAIRS = 3
PROBE = """import json, os, pathlib
pathlib.Path(os.environ["HOME"], "environment").write_text(json.dumps(dict(os.environ)))
"""
CONF = ("--executor-memory", "1g", "--executors", "1", "--no-dynamic-allocation")
BARE = (
    "spark-submit --master yarn --executor-memory 1g --num-executors 1 "
    "--conf spark.dynamicAllocation.enabled=false job.py"
)


def main() -> None:
    """Print seconds to WAITING, memory of the idle cluster, and a step's overhead."""
    with _desk.desk("{core: {count: 2}}") as desk:
        measure(desk)


def measure(desk: Any) -> None:
    """The figures, on an emulator that runs."""
    began = time.perf_counter()
    up = json.loads(desk.emrctl("up", "--json"))
    print(
        f"emrctl up, bucket and 1 + 2 m5.xlarge to WAITING: {time.perf_counter() - began:.1f} s"
        "  (bar: 8 s; EMR: 5 to 10 min)"
    )
    memory_gb = _desk.memory_gb(desk)
    print(f"memory of the idle cluster with the emulator: {memory_gb:.2f} GB  (bar: 1.5 GB)")
    node = primary(desk, up)
    (node / "home" / "job.py").write_text(_desk.JOB)
    ours, bare = [], []
    for _ in range(PAIRS):
        ours.append(_desk.timed(lambda: desk.emrctl("submit", *CONF, "job.py")))
        bare.append(_desk.timed(lambda: spark_submit(desk, node)))
    difference = median(a - b for a, b in zip(ours, bare, strict=True))
    print(
        f"emrctl submit {median(ours):.1f} s, bare spark-submit {median(bare):.1f} s, "
        f"median difference {difference:+.2f} s over {PAIRS} pairs  (bar: 1.5 s)"
    )


def primary(desk: Any, up: dict[str, Any]) -> Path:
    """The primary node's folder."""
    [node] = [item["id"] for item in up["nodes"] if item["role"] == "primary"]
    return Path(desk.home) / "local" / "clusters" / str(up["id"]) / "nodes" / str(node)


def spark_submit(desk: Any, node: Path) -> None:
    """A bare spark-submit on the primary node, with the environment that its steps get."""
    subprocess.run(
        ["bash", "-c", BARE],
        cwd=node / "home",
        env=environment(desk, node),
        check=True,
        capture_output=True,
    )


def environment(desk: Any, node: Path) -> dict[str, str]:
    """What a step sees, taken from a step that prints it."""
    wanted = node / "home" / "environment"
    if not wanted.exists():
        probe = desk.folder / "environment.py"
        probe.write_text(PROBE)
        desk.emrctl("submit", *CONF, str(probe))
    kept = json.loads(wanted.read_text())
    # spark-submit's own additions would make the second one believe it is already inside.
    return {
        k: v for k, v in kept.items() if not k.startswith(("SPARK_ENV", "PYSPARK_GATEWAY", "_"))
    }


if __name__ == "__main__":
    main()
