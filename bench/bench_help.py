"""`emrctl --help` beside flintrock's, both as whole processes, in turn; prints the ratio.

flintrock is installed into a folder of its own (its pins of boto3 and click suit nobody else).
"""

from __future__ import annotations

import subprocess
import sys
import time
import venv
from pathlib import Path
from statistics import median

CACHE = Path(__file__).resolve().parents[1] / ".cache" / "bench-flintrock"
FLINTROCK = "flintrock==2.1.0"
ROUNDS = 15


def main() -> None:
    """Print median wall seconds of each, and their ratio."""
    ours = [str(Path(sys.executable).with_name("emrctl")), "--help"]
    theirs = [str(peer()), "--help"]
    measured: dict[str, list[float]] = {"emrctl": [], "flintrock": []}
    for _ in range(ROUNDS):
        measured["emrctl"].append(seconds(ours))
        measured["flintrock"].append(seconds(theirs))
    medians = {name: median(times) for name, times in measured.items()}
    for name, times in measured.items():
        print(
            f"{name:10} --help  median {medians[name]:.3f} s  ({min(times):.3f}-{max(times):.3f})"
        )
    print(f"ratio emrctl/flintrock {medians['emrctl'] / medians['flintrock']:.2f}  (bar: 0.150 s)")


def peer() -> Path:
    """flintrock's program, installed once."""
    program = CACHE / "bin" / "flintrock"
    if not program.exists():
        venv.create(CACHE, with_pip=True)
        pip = [str(CACHE / "bin" / "python"), "-m", "pip", "install", "--quiet", FLINTROCK]
        subprocess.run([*pip, "setuptools<81"], check=True)
    return program


def seconds(command: list[str]) -> float:
    """Wall seconds of one run of `command`."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
