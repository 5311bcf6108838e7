"""Compare the run time of `emrctl --help` and `flintrock --help`, run alternately.

flintrock is installed into its own environment: it pins other versions of boto3 and click.
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from statistics import median

from _common import programs, time_s  # type: ignore[import-not-found,unused-ignore]

FLINTROCK = ("flintrock==2.1.0", "setuptools<81")
ROUNDS = 15


def main() -> None:
    """Print the median wall-clock seconds of each, and their ratio."""
    folders = {
        "emrctl": Path(sys.executable).parent,
        "flintrock": programs("bench-flintrock", *FLINTROCK),
    }
    times: dict[str, list[float]] = {name: [] for name in folders}
    for _ in range(ROUNDS):
        for name, folder in folders.items():
            command = [folder / name, "--help"]
            run = partial(subprocess.run, command, check=True, capture_output=True)
            times[name].append(time_s(run))
    medians = {name: median(seconds) for name, seconds in times.items()}
    for name, seconds in times.items():
        spread = f"({min(seconds):.3f}-{max(seconds):.3f})"
        print(f"{name:10} --help  median {medians[name]:.3f} s  {spread}")
    print(f"ratio emrctl/flintrock {medians['emrctl'] / medians['flintrock']:.2f}  (bar: 0.150 s)")


if __name__ == "__main__":
    main()
