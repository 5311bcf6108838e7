"""Measure commands on a store of 10,000 runs: list, SQL query, and loading 1,000 for a comparison.

`emrctl runs` and `emrctl runs query` are whole processes; beside them a process that only imports
the libraries of every command. The first query creates the index. Exits with 1 if a bar is missed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from emrctl.compare import records
from emrctl.metrics.eventlog import layout, reader
from emrctl.runs.index import RunIndex
from emrctl.runs.record import TrialFacts, new_id
from emrctl.runs.storage import LocalStorage
from emrctl.runs.store import Store
from emrctl.runs.workspace import Workspace
from emrctl.spec import config
from tests.event_logs import SAMPLE
from tests.facts import RUN

RUNS, TRIALS, ROUNDS = 10_000, 1000, 7
LIST_BAR_S, LOAD_BAR_S, QUERY_BAR_S = 0.5, 3.0, 0.5
QUERIES = {
    "count(*)": "select count(*) from runs",
    "mean by setting": "select settings->>'executors', avg(tasks_ok) from runs group by 1",
    "stages": "select count(*), max(tasks) from stages where tasks_failed = 0",
}
START = datetime(2026, 1, 1, tzinfo=UTC)
LIBRARIES = "import typer, rich.console, rich.table, pydantic; pydantic.BaseModel"


class Spent(NamedTuple):
    """Wall and CPU time of a process in seconds, and its peak memory in MB (0: not measured)."""

    wall_s: float
    cpu_s: float
    memory_mb: float = 0.0


def fill(store: Store) -> None:
    """Write 10,000 completed runs of experiments with 1,000 trials each."""
    [found] = reader.read_logs(layout.list_files(SAMPLE))
    metrics = json.dumps(found.to_json()).encode()
    for number in range(RUNS):
        start = START + timedelta(minutes=number)
        run = replace(
            RUN,
            id=new_id("svm", start),
            created=start.isoformat(timespec="milliseconds"),
            started=start.isoformat(timespec="milliseconds"),
            ended=(start + timedelta(seconds=20 + number % 7)).isoformat(timespec="milliseconds"),
            state="COMPLETED",
            step_id=f"s-{number}",
            settings={"executors": number % 8 + 1, "conf": {"spark.x": "1"}},
            arguments=("--features", "s3://b/f", "--reg", "0.1"),
            code=("s3://b/emrctl/code/abc/svm.py",),
            trial=TrialFacts(
                experiment=f"e{number // TRIALS}",
                cell=f"executors={number % 8 + 1}",
                repeat=number % TRIALS // 8 + 1,
                position=number % 8,
            ),
        )
        files = store.files(run.id)
        files.write_json("run.json", asdict(run), indent=1)
        files.write("metrics.json", metrics)
        files.write("stdout", b"done\n", "logs/step/")


def process(*command: str, folder: Path) -> Spent:
    """Run a process and return its wall and CPU time."""
    start = time.perf_counter()
    child = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {child.returncode}")
    wall_s = time.perf_counter() - start
    return Spent(wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def call(work: Callable[[], object]) -> Spent:
    """Return the wall and CPU time of a function."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Spent(time.perf_counter() - wall, time.process_time() - cpu)


def report(name: str, times: list[Spent]) -> Spent:
    """Print and return the medians."""
    spent = Spent(*(median(values) for values in zip(*times, strict=True)))
    memory = f", {spent.memory_mb:.0f} MB" if spent.memory_mb else ""
    print(f"{name:<52} median {spent.wall_s:.3f} s, {spent.cpu_s:.3f} s of CPU{memory}")
    return spent


def main() -> None:
    """Print the medians beside their bars."""
    emrctl = str(Path(sys.executable).parent / "emrctl")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "emrctl.yaml").write_text("project: pets\n")
        fill(Store(LocalStorage(folder / ".emrctl" / "runs")))
        time.sleep(RunIndex.SETTLED_S)
        listed, imports = list[Spent](), list[Spent]()
        for _ in range(ROUNDS):
            listed.append(process(emrctl, "runs", folder=folder))
            imports.append(process(sys.executable, "-c", LIBRARIES, folder=folder))
        first_query = process(emrctl, "runs", "query", QUERIES["count(*)"], folder=folder)
        queries = {
            name: [process(emrctl, "runs", "query", sql, folder=folder) for _ in range(ROUNDS)]
            for name, sql in QUERIES.items()
        }
        workspace = Workspace(config.load(folder / "emrctl.yaml"))
        first = call(workspace.store.all)
        again = [call(workspace.store.all) for _ in range(ROUNDS)]
        loads = [call(lambda: records.load(workspace, [], "e5")) for _ in range(3)]
    runs = report(f"emrctl runs, {RUNS:,} runs in the store", listed)
    libraries = report("import of typer, Rich and pydantic alone", imports)
    print(f"  CPU ratio {runs.cpu_s / libraries.cpu_s:.2f} (bar: 1.5)")
    report("emrctl runs query, the first time", [first_query])
    counts = [report(f"emrctl runs query: {name}", times) for name, times in queries.items()]
    report("all records, the first time", [first])
    report("all records", again)
    load = report(f"load {TRIALS:,} of {RUNS:,} runs for a comparison", loads)
    print(f"  bars: runs {LIST_BAR_S} s, count(*) {QUERY_BAR_S} s, load {LOAD_BAR_S} s")
    slow = runs.cpu_s > 1.5 * libraries.cpu_s or counts[0].wall_s > QUERY_BAR_S
    sys.exit(runs.wall_s > LIST_BAR_S or load.wall_s > LOAD_BAR_S or slow)


if __name__ == "__main__":
    main()
