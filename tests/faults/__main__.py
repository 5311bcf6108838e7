"""Mistreats clients of emrctl and prints what was lost or left behind; exits with 1 if anything.

python -m tests.faults FOLDER --points 20 --only kill
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.faults import report, scenario, sweeps


def main() -> None:
    """Run the sweeps whose names begin with `--only`."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--points", type=int, default=0, help="of each sweep; 0 is all of them")
    parser.add_argument("--only", default="", help="beginning of the names of the sweeps")
    chosen = parser.parse_args()
    rows = []
    with scenario.running(chosen.folder / "home") as emulator:
        world = sweeps.World(emulator, chosen.folder, chosen.points)
        for name, fill in sweeps.rows(world):
            if not name.startswith(chosen.only):
                continue
            start = time.monotonic()
            row = fill()
            rows.append(row)
            seconds = time.monotonic() - start
            sys.stderr.write(f"{' | '.join(row.cells)} ({seconds:.0f} s)\n")
            for problem in row.problems[: report.SHOWN]:
                sys.stderr.write(f"    {problem}\n")
    sys.exit(not report.show(rows))


if __name__ == "__main__":
    main()
