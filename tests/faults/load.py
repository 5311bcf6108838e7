"""Large loads: many runs and steps, large logs. Prints times, and the peak memory.

    python -m tests.faults.load FOLDER --runs 1000 --megabytes 1000 --clusters 100 --only store

Steps are fake, except the real ones; the clients are whole processes, except those that submit the
many runs. Exits with 1 if a run was lost or a client failed.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import bench_eventlog, bench_store
from emrctl.runs.index import RunIndex
from emrctl.runs.storage import LocalStorage
from emrctl.runs.store import Store
from tests.event_logs import SAMPLE, text_of
from tests.faults import report, scenario
from tests.faults.real_clusters import AT_ONCE, RealClusters
from tests.faults.real_steps import RealSteps
from tests.faults.report import Row
from tests.faults.scenario import Emulator, Project

COLUMNS = (*report.COLUMNS, "seconds", "client MB", "emulator MB")
# EMR's limit of active steps is 256.
BATCH, CLIENTS = 200, 4
_PEAK = re.compile(r"VmHWM:\s+(\d+) kB")


@dataclass
class Load:
    """A project on an emulator, the numbers of runs and clusters, and the size of logs in MB."""

    project: Project
    emulator: Emulator
    runs: int
    megabytes: int
    clusters: int

    def spent(self, folder: Path, row: Row, *commands: str) -> Row:
        """Run commands as whole processes; add their time, and the peaks of the memory."""
        start, peak_kb = time.monotonic(), 0
        for command in commands:
            process = subprocess.Popen(
                [sys.executable, "-m", "emrctl.cli", *shlex.split(command)],
                cwd=folder,
                env=self.project.environment | {"PYTHONPATH": str(scenario.ROOT)},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
            assert process.stderr is not None
            message = process.stderr.read().decode()
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            process.stderr.close()
            row.tried += 1
            peak_kb = max(peak_kb, used.ru_maxrss)
            if process.returncode:
                row.problems.append(f"{command}: exit code {process.returncode}: {message[-500:]}")
        return self._measured(row, start, f"{peak_kb / 1024:.0f}")

    def _measured(
        self, row: Row, start: float, client_mb: str, emulator: Emulator | None = None
    ) -> Row:
        text = Path(f"/proc/{(emulator or self.emulator).info.pid}/status").read_text()
        found = _PEAK.search(text)
        emulator_mb = int(found[1]) / 1024 if found else 0.0
        row.figures = (f"{time.monotonic() - start:.1f}", client_mb, f"{emulator_mb:.0f}")
        return row

    def submit_many(self) -> Row:
        """Submit runs with several clients at a time, and wait for all of them."""
        row, start = Row(f"{self.runs} runs submitted to one emulator"), time.monotonic()
        while row.tried < self.runs:
            for _ in range(0, min(BATCH, self.runs - row.tried), CLIENTS):
                clients = [self.project.start("submit --detach job") for _ in range(CLIENTS)]
                for client in clients:
                    self.project.check_message(client.wait())
                row.tried += CLIENTS
            for _ in range(3):  # a fake step ends when it has been listed
                self.project.run(f"runs --last {BATCH}")
        self.project.check_runs()
        row.lost, row.problems = self.project.lost, self.project.problems
        return self._measured(row, start, "")

    def real_steps(self) -> Row:
        """Run shell steps on a local cluster."""
        steps = RealSteps.create(self.project.folder.parent / "steps")
        start = time.monotonic()
        try:
            steps.run()
            self._measured(steps.row, start, "", steps.emulator)
        finally:
            steps.close()
        return steps.row

    def clusters_at_once(self) -> Row:
        """Start and terminate local clusters at the same time."""
        return self._real_clusters(AT_ONCE, AT_ONCE, f"{AT_ONCE} clusters at once")

    def clusters_in_sequence(self) -> Row:
        """Start and terminate local clusters one after another."""
        return self._real_clusters(self.clusters, 1, f"{self.clusters} clusters in sequence")

    def _real_clusters(self, count: int, at_once: int, label: str) -> Row:
        folder = self.project.folder.parent / label.replace(" ", "-")
        clusters = RealClusters.create(folder, Row(label))
        start = time.monotonic()
        try:
            clusters.run(count, at_once)
            self._measured(clusters.row, start, "", clusters.emulator)
        finally:
            clusters.close()
        return clusters.row

    def large_store(self) -> Row:
        """List and query a store of 10,000 runs; the first query creates the index."""
        folder = self.project.folder.parent / "store"
        folder.mkdir()
        (folder / "emrctl.yaml").write_text("project: pets\n")
        bench_store.fill(Store(LocalStorage(folder / ".emrctl" / "runs")))
        time.sleep(RunIndex.SETTLED_S)  # runs that have just changed are not indexed
        self.spent(folder, Row(""), "runs")
        return self.spent(folder, Row(f"{bench_store.RUNS} runs in the store: runs"), "runs")

    def query_store(self) -> Row:
        """Query the store."""
        folder = self.project.folder.parent / "store"
        command = "runs query 'select count(*), avg(duration_s) from runs'"
        self.spent(folder, Row(""), command)
        return self.spent(folder, Row("10000 runs in the store: second query"), command)

    def large_event_log(self) -> Row:
        """Compute the metrics of an event log."""
        log = self.project.folder / "application_1"
        with log.open("wb") as file:
            for piece in bench_eventlog.repeat(text_of(SAMPLE), self.megabytes * 1_000_000):
                file.write(piece)
        row = Row(f"event log of {self.megabytes} MB: metrics")
        return self.spent(self.project.folder, row, f"metrics {log} --json")

    def large_output(self) -> Row:
        """Run a job that prints much; its log is pulled to the store."""
        row = Row(f"a job that logs {self.megabytes} MB: submit")
        self.spent(self.project.folder, row, f"submit job --log-mb {self.megabytes}")
        sizes = [
            path.stat().st_size
            for path in (self.project.folder / ".emrctl").rglob("logs/step/stdout")
        ]
        if max(sizes, default=0) < self.megabytes * 1_000_000:
            row.lost = 1
            row.problems.append(f"the stored logs have at most {max(sizes, default=0)} bytes")
        return row


def main() -> None:
    """Run the loads and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.load", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--clusters", type=int, default=100)
    parser.add_argument("--only", default="", help="beginning of the names of the loads")
    chosen = parser.parse_args()
    with scenario.running(chosen.folder / "home") as emulator:
        project = Project.create(emulator, chosen.folder / "project", "pets")
        load = Load(project, emulator, chosen.runs, chosen.megabytes, chosen.clusters)
        assert project.run("up").code == 0
        assert not project.earlier_steps  # checks compare the runs with all steps
        rows = list[Row]()
        loads: dict[str, Callable[[], Row]] = {
            "output": load.large_output,
            "event log": load.large_event_log,
            "store": load.large_store,
            "store: query": load.query_store,
            "steps": load.real_steps,
            "clusters: at once": load.clusters_at_once,
            "clusters: in sequence": load.clusters_in_sequence,
            "runs": load.submit_many,
        }
        for name, work in loads.items():
            if not name.startswith(chosen.only):
                continue
            rows.append(work())
            sys.stderr.write(f"{' | '.join(rows[-1].cells)}\n")
    sys.exit(not report.show(rows, COLUMNS))


if __name__ == "__main__":
    main()
