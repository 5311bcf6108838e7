"""`make quickstart`: an emrctl session on real pictures, on this machine only.

Runs the commands of a normal session, prints each of them first, and deletes all resources at the
end, also after a failure.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE / "quickstart"
ROOT = HERE.parent
PAGE = ROOT / "comparison.html"

EMULATOR = """Start the EMR on localhost: the APIs of EMR and S3, and a YARN for each cluster. The
# first start downloads Hadoop (about a minute)."""
CREATE = """Create a bucket and a cluster with the Pulumi program. Each node runs a bootstrap action
# that installs Python 3 and boto3."""
SVM = """Train SVMs for one class against another on two shares of the pictures; the lecture that
# emrctl started from used nine shares and 100 iterations."""
EXPERIMENT = """Run a grid search on one executor and on two, three times each, in a random order.
# The emulator's JVMs run with -XX:+UseSerialGC -XX:TieredStopAtLevel=1."""
COMPARE = """Compare the runs. The interval says how certain the difference is: it contains the true
# ratio with a probability of 95 %."""

STEPS: tuple[tuple[str, str], ...] = (
    (EMULATOR, "local up"),
    ("Show the resources to create, and their price per hour on AWS.", "preview"),
    (CREATE, "up"),
    ("Show the cluster and the addresses of its YARN and Spark pages.", "show"),
    (
        "Upload pictures: 25 handwritten digits per class, of 1,797.",
        "data digits --per-class 25",
    ),
    ("Compute feature vectors with Spark.", "submit digits-features"),
    (SVM, "submit digits-svm"),
    (EXPERIMENT, "experiment run executors.yaml"),
    (COMPARE, f"compare --experiment executors --html {PAGE}"),
)
CLEAN_UP: tuple[tuple[str, str], ...] = (
    ("Delete the cluster.", "down --yes"),
    ("Delete the bucket with its objects.", "down --storage --yes"),
    ("Stop the EMR on localhost and delete its files.", "local down --delete"),
)


def main() -> int:
    """Run all steps, then clean up; return the exit code of the first step that failed."""
    start = time.monotonic()
    code = 0
    try:
        for comment, command in STEPS:
            code = run(comment, command)
            if code:
                break
        else:
            code = check_prediction()
    except KeyboardInterrupt:
        code = 130
    for comment, command in CLEAN_UP:
        code = run(comment, command) or code
    seconds = time.monotonic() - start
    if code:
        print(
            f"\nThe quickstart failed with exit code {code} after {seconds:.0f} s.", file=sys.stderr
        )
    else:
        print(f"\nDone in {seconds:.0f} s. Comparison page: {PAGE.relative_to(ROOT)}")
        print("The runs are stored: cd examples/quickstart && emrctl runs")
    return code


def check_prediction() -> int:
    """Predict two executors from a run with one, and print the measured times beside it."""
    times_s: dict[str, list[float]] = {}
    logs: dict[str, str] = {}
    for item in json.loads(output("runs", "--json")):
        if item["trial"] is not None:
            cell = item["trial"]["cell"]
            times_s.setdefault(cell, []).append(item["metrics"]["duration_ms"] / 1000)
            logs.setdefault(cell, f"{item['location']}/eventlog")
    # From the event log: a prediction for the run would use the other runs, which are measured.
    command = f"predict {logs['executors=1']} --executors 1,2"
    code = run("Predict the time on two executors from the event log of one run on one.", command)
    if code:
        return code
    _, two = json.loads(output(*command.split(), "--json"))["points"]
    measured = ", ".join(f"{seconds:.1f}" for seconds in times_s["executors=2"])
    print(
        f"\nPredicted for two executors: {two['predicted_wall_s']:.1f} s; "
        f"the measured applications took {measured} s.\n"
        "It assumes that tasks, once started, do not compete for the cores of one machine."
    )
    return 0


def output(*arguments: str) -> str:
    """Return what a command prints on stdout; raises if it fails."""
    command = [sys.executable, "-m", "emrctl.cli", *arguments]
    return subprocess.run(
        command, cwd=PROJECT, env=environment(), check=True, capture_output=True, text=True
    ).stdout


def run(comment: str, command: str) -> int:
    """Print a comment and the command, run it in the quickstart's folder; return its exit code."""
    print(f"\n\033[2m# {comment}\033[0m\n\033[1m$ emrctl {command}\033[0m", flush=True)
    start = time.monotonic()
    process = subprocess.run(
        [sys.executable, "-m", "emrctl.cli", *command.split()],
        cwd=PROJECT,
        env=environment(),
        check=False,
    )
    print(f"\033[2m# {time.monotonic() - start:.1f} s\033[0m", flush=True)
    return process.returncode


def environment() -> dict[str, str]:
    """Return an environment with a separate EMRCTL_HOME, so that a running emulator is not used.

    Downloads are shared through EMRCTL_CACHE.
    """
    usual = Path(os.environ.get("EMRCTL_HOME", Path.home() / ".emrctl"))
    cache = os.environ.get("EMRCTL_CACHE", str(usual / "cache"))
    return {**os.environ, "EMRCTL_HOME": str(PROJECT / ".emrctl" / "home"), "EMRCTL_CACHE": cache}


if __name__ == "__main__":
    sys.exit(main())
