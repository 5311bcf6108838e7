"""`make quickstart`: the whole of emrctl on real pictures, on this machine alone.

It only types the commands that anybody would type, shows each before it runs, and takes
everything down again, whatever happens.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE / "quickstart"
ROOT = HERE.parent
PAGE = ROOT / "comparison.html"

EMULATOR = """An EMR on localhost: EMR's and S3's API, and a real YARN for each cluster. The first
# time it fetches Hadoop (about a minute)."""
BRING_UP = """A bucket and a cluster through the Pulumi program; each node runs the bootstrap action
# that brings Python 3 and boto3."""
SETTINGS = """The lecture's three settings, one after another: SVMs for one class against another,
# two training shares, 20 iterations (the lecture took 100, and nine shares). The emulator's
# JVMs run with -XX:+UseSerialGC -XX:TieredStopAtLevel=1."""

STEPS: tuple[tuple[str, str], ...] = (
    (EMULATOR, "local up"),
    ("What would be made, and what it would cost an hour on AWS.", "preview"),
    (BRING_UP, "up"),
    ("Where its YARN and Spark pages are.", "show"),
    (
        "Real pictures: 25 handwritten digits of each class (of 1,797 that there are).",
        "data digits --per-class 25",
    ),
    ("Pictures to feature vectors on Spark.", "submit digits-features"),
    (SETTINGS, "experiment run allocation.yaml"),
    ("What came of them, side by side.", f"compare --experiment allocation --html {PAGE}"),
)
CLEAN_UP: tuple[tuple[str, str], ...] = (
    ("The cluster goes.", "down --yes"),
    ("The bucket goes, with all that is in it.", "down --storage --yes"),
    ("The EMR on localhost ends; nothing of it is left running.", "local down"),
)


def main() -> int:
    """Every step, then everything down again; the exit code of the first step that failed."""
    began = time.monotonic()
    code = 0
    try:
        for why, command in STEPS:
            code = run(why, command)
            if code:
                break
    except KeyboardInterrupt:
        code = 130
    for why, command in CLEAN_UP:
        code = run(why, command) or code
    took = time.monotonic() - began
    if code:
        print(f"\nThe quickstart ended with exit code {code} after {took:.0f} s.", file=sys.stderr)
    else:
        print(f"\nDone in {took:.0f} s. The comparison as a page: {PAGE.relative_to(ROOT)}")
        print("The runs are kept: cd examples/quickstart && emrctl runs")
    return code


def run(why: str, command: str) -> int:
    """Say why and what, run it in the quickstart's project; its exit code."""
    print(f"\n\033[2m# {why}\033[0m\n\033[1m$ emrctl {command}\033[0m", flush=True)
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "emrctl.cli", *command.split()],
        cwd=PROJECT,
        env=environment(),
        check=False,
    )
    print(f"\033[2m# {time.monotonic() - began:.1f} s\033[0m", flush=True)
    return done.returncode


def environment() -> dict[str, str]:
    """A home of the quickstart's own, so that an emulator that runs already is left alone.

    Downloads are shared with the user's other projects.
    """
    usual = Path(os.environ.get("EMRCTL_HOME", Path.home() / ".emrctl"))
    cache = os.environ.get("EMRCTL_CACHE", str(usual / "cache"))
    return {**os.environ, "EMRCTL_HOME": str(PROJECT / ".emrctl" / "home"), "EMRCTL_CACHE": cache}


if __name__ == "__main__":
    sys.exit(main())
