"""Runs an experiment in clients that are killed (SIGKILL), and checks the store all the time.

    python -m tests.runs.killed_clients FOLDER --trials 500 --kills 10 --seed 1

Each client is killed at a random write or submission. Exits with 1 if a record of the store could
not be read at any moment, or if a trial was lost or run twice.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from emrctl.runs import experiment_state, experiments
from emrctl.runs.storage import LocalStorage
from emrctl.spec import ExperimentSpec, ProjectSpec
from tests.runs.fake_cluster import FakeWorkspace, Report, without_uploads


def _spec(trials: int, parallel: int) -> ExperimentSpec:
    return ExperimentSpec.model_validate(
        {
            "name": "killed",
            "job": "wordcount",
            "factors": {"partitions": list(range(1, trials // 2 + 1)), "executors": [1]},
            "settings": {"dynamic_allocation": False, "executor_cores": 1},
            "repeats": 2,
            "parallel": parallel,
        }
    )


def _workspace(folder: Path, event: Callable[[], None]) -> FakeWorkspace:
    project = ProjectSpec.model_validate({"project": "pets", "cluster": {"step_concurrency": 8}})
    return FakeWorkspace(project, folder, polls=2, event=event)


def _run_client(folder: Path, spec: ExperimentSpec, kill_at: int) -> None:
    """Run the experiment; kill this process at the event of that number, counted from 1."""
    events = 0

    def event() -> None:
        nonlocal events
        events += 1
        if events == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    write = LocalStorage.write

    def write_with_events(self: LocalStorage, key: str, body: bytes | BinaryIO) -> None:
        event()
        write(self, key, body)
        event()

    LocalStorage.write = write_with_events  # type: ignore[method-assign]
    with without_uploads():
        experiment_state.run(
            _workspace(folder, event), spec, Report(), experiment_state.RunOptions()
        )


def _fork_client(folder: Path, spec: ExperimentSpec, kill_at: int) -> tuple[bool, int]:
    """Run a client in a new process; return whether it was killed, and how often it was read."""
    pid = os.fork()
    if pid == 0:
        try:
            _run_client(folder, spec, kill_at)
            os._exit(0)
        except BaseException as error:  # noqa: BLE001 - the process ends here
            sys.stderr.write(f"client: {error!r}\n")
            os._exit(1)
    store, reads = _workspace(folder, lambda: None).store, 0
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        ids = store.ids()
        if len({run.id for run in store.all()} & {*ids}) != len(ids):
            sys.stderr.write("a record of the store cannot be read\n")
            sys.exit(1)
        reads += 1
        if ended:
            if os.WIFEXITED(status) and os.WEXITSTATUS(status):
                sys.exit(1)
            return os.WIFSIGNALED(status), reads


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--parallel", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    spec, rng = _spec(chosen.trials, chosen.parallel), random.Random(chosen.seed)  # noqa: S311
    # A trial has 2 events of its step, and 2 of each of its 4 writes.
    most, kills, reads = 20 * chosen.trials // (chosen.kills + 1), 0, 0
    while True:
        kill_at = rng.randint(1, most) if kills < chosen.kills else 0
        killed, times = _fork_client(chosen.folder, spec, kill_at)
        kills, reads = kills + killed, reads + times
        if not killed:
            break
    workspace = _workspace(chosen.folder, lambda: None)
    runs = {run.step_name: run for run in workspace.store.all()}
    steps = Counter(runs[name].trial for name in workspace.fake.names())
    lost = [trial.facts for trial in experiments.trials(spec) if steps[trial.facts] == 0]
    twice = [trial for trial, count in steps.items() if count > 1]
    sys.stdout.write(
        f"{len(experiments.trials(spec))} trials, {kills} kills, {len(runs)} runs, "
        f"{len(workspace.fake.names())} steps; {len(lost)} trials lost, {len(twice)} run twice; "
        f"all records were read {reads} times\n"
    )
    states = Counter(runs[name].state for name in workspace.fake.names())
    sys.exit(bool(lost or twice or states.keys() != {"COMPLETED"} or kills < chosen.kills))


if __name__ == "__main__":
    main()
