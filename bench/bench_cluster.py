"""Measure `emrctl up` to WAITING and `preview` on the emulator, and the overhead of a step.

EMR takes 5 to 10 minutes to WAITING. The overhead is the difference to a bare spark-submit on the
primary node of the same cluster with the same settings, run alternately and timed from outside.
Everything is created in a temporary folder and deleted afterwards.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from statistics import median
from typing import Any

import _project  # type: ignore[import-not-found,unused-ignore]

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
    """Print seconds to WAITING and of a preview, memory when idle, and a step's overhead."""
    with _project.running_project("{core: {count: 2}}") as project:
        cluster: dict[str, Any] = {}
        seconds = _project.time_s(
            lambda: cluster.update(json.loads(project.emrctl("up", "--json")))
        )
        print(
            f"emrctl up, bucket and 1 + 2 m5.xlarge to WAITING: {seconds:.1f} s"
            "  (bar: 8 s; EMR: 5 to 10 min)"
        )
        preview = median(_project.time_s(lambda: project.emrctl("preview")) for _ in range(PAIRS))
        print(f"emrctl preview of both stacks, unchanged: {preview:.2f} s, start-up included")
        memory_gb = project.memory_gb()
        print(f"memory of the idle cluster with the emulator: {memory_gb:.2f} GB  (bar: 1.5 GB)")
        [node] = [one["id"] for one in cluster["nodes"] if one["role"] == "primary"]
        nodes = Path(project.home) / "local" / "clusters" / str(cluster["id"]) / "nodes"
        measure_overhead(project, nodes / str(node))


def measure_overhead(project: Any, primary: Path) -> None:
    """Print the difference between `emrctl submit` and spark-submit on the primary node."""
    (primary / "home" / "job.py").write_text(_project.JOB)
    environment = step_environment(project, primary)
    emrctl, bare = [], []
    for _ in range(PAIRS):
        emrctl.append(_project.time_s(lambda: project.emrctl("submit", *CONF, "job.py")))
        bare.append(_project.time_s(lambda: spark_submit(primary, environment)))
    difference = median(a - b for a, b in zip(emrctl, bare, strict=True))
    print(
        f"emrctl submit {median(emrctl):.1f} s, bare spark-submit {median(bare):.1f} s, "
        f"median difference {difference:+.2f} s over {PAIRS} pairs  (bar: 1.5 s)"
    )


def spark_submit(primary: Path, environment: dict[str, str]) -> None:
    """Run spark-submit on the primary node."""
    subprocess.run(
        ["bash", "-c", BARE],
        cwd=primary / "home",
        env=environment,
        check=True,
        capture_output=True,
    )


def step_environment(project: Any, primary: Path) -> dict[str, str]:
    """Return the environment of a step, from a step that writes it to a file."""
    probe = project.folder / "environment.py"
    probe.write_text(PROBE)
    project.emrctl("submit", *CONF, str(probe))
    environment = json.loads((primary / "home" / "environment").read_text())
    # With these, a second spark-submit would assume that it runs inside the first.
    prefixes = ("SPARK_ENV", "PYSPARK_GATEWAY", "_")
    return {key: value for key, value in environment.items() if not key.startswith(prefixes)}


if __name__ == "__main__":
    main()
