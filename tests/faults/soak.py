"""Random operations of clients on one emulator, and what must hold after each of them.

    python -m tests.faults.soak FOLDER --minutes 120

A state machine of Hypothesis: clusters are created and deleted, runs submitted, cancelled, waited
for, pulled and tagged, clients killed at a random point, the emulator killed and started again.
A failure is printed with the operations that led to it; they are not shortened, since the same
operations take other times.
"""

from __future__ import annotations

import argparse
import json
import math
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.faults import report
from tests.faults.client import Fault
from tests.faults.report import Row
from tests.faults.scenario import Emulator, Project

FINAL = frozenset({"COMPLETED", "FAILED", "CANCELLED", "INTERRUPTED"})
KILLED = ("up", "submit job", "wait latest", "pull latest", "experiment run grid", "down --yes")
COLUMNS = ("what", "operations", "lost", "left", "sequences", "minutes")


class TimeOver(BaseException):
    """Ends the search, and is no failure: Hypothesis does not catch it."""


class Soak(RuleBasedStateMachine):
    """Operations of users on one project; every sequence begins on an empty account.

    `done` counts the operations of all sequences, which begin before `end`. `final` are the states
    of runs that have been observed, which must not change, and `seen` all runs there ever were.
    """

    done: ClassVar[Counter[str]] = Counter()
    sequences: ClassVar[int] = 0
    failures: ClassVar[list[str]] = []
    end: ClassVar[float] = math.inf
    over: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="soak-")
        self.emulator = Emulator(Path(self.folder.name) / "home")
        self.project = Project.create(self.emulator, Path(self.folder.name) / "project", "pets")
        self.final: dict[str, str] = {}
        self.seen: set[str] = set()
        self.trace: list[str] = []

    @initialize()
    def start(self) -> None:
        """Start the emulator, unless the time is over."""
        if time.monotonic() > Soak.end:
            Soak.over = True
            raise TimeOver
        Soak.sequences += 1
        self.emulator.start()
        self.account = self.emulator.inventory()

    def run(self, command: str, fault: Fault | None = None) -> int:
        """Run a command; no traceback, no hang, and a message with every failure."""
        Soak.done[command.split(maxsplit=1)[0] if fault is None else "kill a client"] += 1
        self.trace.append(command if fault is None else f"{command} (killed at {fault.at})")
        return self.project.run(command, fault).code

    @property
    def records(self) -> list[dict[str, Any]]:
        """The records of all runs, as they are stored."""
        files = (self.project.folder / ".emrctl" / "runs").glob("*/run.json")
        return [json.loads(path.read_text()) for path in files]

    # --- operations -------------------------------------------------------------------------------

    @rule()
    def up(self) -> None:
        """Create the cluster, or change nothing."""
        assert self.run("up") == 0, self.project.problems

    @rule(detach=st.booleans())
    def submit(self, detach: bool) -> None:
        """Submit a job, which needs a cluster."""
        assert self.run("submit --detach job" if detach else "submit job") in {0, 3, 6}

    # Without preconditions: what a killed client has stored differs when operations are repeated.
    @rule(command=st.sampled_from(["cancel", "wait", "pull", "runs show", "logs"]))
    def use_latest(self, command: str) -> None:
        """Use the newest run in any state, or none."""
        self.run(f"{command} latest")

    @rule(value=st.integers(0, 9))
    def tag(self, value: int) -> None:
        """Tag the newest run, if there is one; the tag is listed."""
        if self.run(f"runs tag latest n={value}"):
            assert not self.records
            return
        newest = max(self.project.json("runs"), key=lambda run: str(run["id"]))
        assert newest["tags"]["n"] == str(value)

    @rule(command=st.sampled_from(["runs", "list", "gc", "runs check --repair", "preview"]))
    def look(self, command: str) -> None:
        """Run a command that changes nothing on the account."""
        assert self.run(command) == 0, self.project.problems

    @rule()
    def experiment(self) -> None:
        """Run the trials that are left."""
        assert self.run("experiment run grid") in {0, 3, 6}

    @rule()
    def down(self) -> None:
        """Delete the cluster."""
        assert self.run("down --yes") == 0, self.project.problems

    @rule(command=st.sampled_from(KILLED), at=st.integers(1, 150))
    def kill_client(self, command: str, at: int) -> None:
        """Kill a client at a point, if it gets that far."""
        self.run(command, Fault(action="kill", at=at))

    @rule(number=st.sampled_from([signal.SIGTERM, signal.SIGKILL]))
    def restart_emulator(self, number: int) -> None:
        """Stop or kill the emulator, and start it again."""
        Soak.done["restart the emulator"] += 1
        self.trace.append(f"restart the emulator ({signal.Signals(number).name})")
        self.emulator.stop(number)
        self.emulator.start()

    # --- invariants -------------------------------------------------------------------------------

    @invariant()
    def nothing_unexpected_was_printed(self) -> None:
        """No client printed a traceback, ended without a message or did not end."""
        assert not self.project.problems, self.project.problems

    @invariant()
    def no_run_is_lost(self) -> None:
        """Every record is readable, no run disappears, no observed final state changes."""
        records = {record["id"]: record for record in self.records}
        assert self.seen <= records.keys()
        self.seen |= records.keys()
        for run_id, record in records.items():
            if record["state"] in FINAL and not record["inferred"]:
                assert self.final.setdefault(run_id, record["state"]) == record["state"]

    @invariant()
    def no_step_is_doubled_or_unknown(self) -> None:
        """Each step has one record, and no run two steps."""
        if self.emulator.process is None:
            return
        names = Counter(step["Name"] for step in self.project.steps())
        known = {f"job [{run_id}]" for run_id in self.seen}
        assert not names.keys() - known, names
        assert not names or max(names.values()) == 1, names

    def teardown(self) -> None:
        """Take everything down: nothing is left on the account. Record the failure, if any."""
        error = sys.exc_info()[1]
        if isinstance(error, Exception):
            self._record(error)
        try:
            if self.emulator.process is not None and error is None:
                for command in ("down --yes", "down --storage --yes"):
                    assert self.run(command) == 0, self.project.problems
                self.project.check_nothing_left(self.account)
                assert not self.project.problems, self.project.problems
        except AssertionError as failure:
            self._record(failure)
            raise
        finally:
            self.emulator.stop()
            self.folder.cleanup()

    def _record(self, error: Exception) -> None:
        Soak.failures.append(f"{error!r} after: {', '.join(self.trace)}"[:3000])


def soak(*, sequences: int, operations: int, derandomize: bool = False) -> None:
    """Run sequences of operations; raises the first failure."""
    run_state_machine_as_test(
        Soak,
        settings=settings(
            max_examples=sequences,
            stateful_step_count=operations,
            derandomize=derandomize,
            deadline=None,
            database=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        ),
    )


def main() -> None:
    """Run sequences until the time is over; print the table of operations."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("folder", type=Path, help="for temporary files")
    parser.add_argument("--minutes", type=float, default=120)
    chosen = parser.parse_args()
    tempfile.tempdir = str(chosen.folder.absolute())
    start, problems = time.monotonic(), list[str]()
    Soak.end = start + 60 * chosen.minutes
    try:
        soak(sequences=1_000_000, operations=30)
    except TimeOver:
        pass
    except Exception as error:  # noqa: BLE001 - it is reported
        # Hypothesis may replace `TimeOver` by an error, since nothing was drawn before it.
        problems += Soak.failures or ([] if Soak.over else [repr(error)])
    sequences, minutes = Soak.sequences, f"{(time.monotonic() - start) / 60:.0f}"
    rows = [
        Row(name, count, figures=(str(sequences), minutes))
        for name, count in sorted(Soak.done.items())
    ]
    total = Row("all", Soak.done.total(), len(problems), 0, problems, (str(sequences), minutes))
    sys.exit(not report.show([*rows, total], COLUMNS))


if __name__ == "__main__":
    main()
