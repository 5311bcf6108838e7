"""Measure commands on a store of 10,000 runs: the list of runs, and loading 1,000 for a comparison.

`emrctl runs` is a whole process; beside it a process that only imports the libraries of every
command. Exits with 1 if a bar is missed.
"""

from __future__ import annotations

import resource
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
from emrctl.runs.index import RunIndex
from emrctl.runs.record import TrialFacts, new_id
from emrctl.runs.storage import LocalStorage
from emrctl.runs.store import Store
from emrctl.runs.workspace import Workspace
from emrctl.spec import config
from tests.facts import RUN

RUNS, TRIALS, ROUNDS = 10_000, 1000, 7
LIST_BAR_S, LOAD_BAR_S = 0.5, 3.0
START = datetime(2026, 1, 1, tzinfo=UTC)
METRICS = Path(__file__).resolve().parents[1] / "tests" / "metrics" / "findings"
LIBRARIES = "import typer, rich.console, rich.table, pydantic; pydantic.BaseModel"


class Spent(NamedTuple):
    """Wall and CPU time of a process in seconds."""

    wall_s: float
    cpu_s: float


def fill(store: Store) -> None:
    """Write 10,000 completed runs of experiments with 1,000 trials each."""
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
        files.write("stdout", b"done\n", "logs/step/")


def process(*command: str, folder: Path) -> Spent:
    """Run a process and return its wall and CPU time."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    user_s, system_s = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    return Spent(time.perf_counter() - start, user_s + system_s)


def call(work: Callable[[], object]) -> Spent:
    """Return the wall and CPU time of a function."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Spent(time.perf_counter() - wall, time.process_time() - cpu)


def report(name: str, times: list[Spent]) -> Spent:
    """Print and return the medians."""
    spent = Spent(median(item.wall_s for item in times), median(item.cpu_s for item in times))
    print(f"{name:<52} median {spent.wall_s:.3f} s, {spent.cpu_s:.3f} s of CPU")
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
        workspace = Workspace(config.load(folder / "emrctl.yaml"))
        first = call(workspace.store.all)
        again = [call(workspace.store.all) for _ in range(ROUNDS)]
        loads = [call(lambda: records.load(workspace, [], "e5")) for _ in range(3)]
    runs = report(f"emrctl runs, {RUNS:,} runs in the store", listed)
    libraries = report("import of typer, Rich and pydantic alone", imports)
    print(f"  CPU ratio {runs.cpu_s / libraries.cpu_s:.2f} (bar: 1.5)")
    report("all records, the first time", [first])
    report("all records", again)
    load = report(f"load {TRIALS:,} of {RUNS:,} runs for a comparison", loads)
    print(f"  bars: runs {LIST_BAR_S} s, load {LOAD_BAR_S} s")
    slow = runs.cpu_s > 1.5 * libraries.cpu_s
    sys.exit(runs.wall_s > LIST_BAR_S or load.wall_s > LOAD_BAR_S or slow)


if __name__ == "__main__":
    main()
