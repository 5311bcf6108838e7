"""Compare the run time of `emrctl --help` and `flintrock --help`, run alternately.

flintrock is installed into its own environment: it pins other versions of boto3 and click.
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
    """Print the median wall-clock seconds of each, and their ratio."""
    commands = {
        "emrctl": [str(Path(sys.executable).with_name("emrctl")), "--help"],
        "flintrock": [str(install_flintrock()), "--help"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            times[name].append(time_s(command))
    medians = {name: median(seconds) for name, seconds in times.items()}
    for name, seconds in times.items():
        spread = f"({min(seconds):.3f}-{max(seconds):.3f})"
        print(f"{name:10} --help  median {medians[name]:.3f} s  {spread}")
    print(f"ratio emrctl/flintrock {medians['emrctl'] / medians['flintrock']:.2f}  (bar: 0.150 s)")


def install_flintrock() -> Path:
    """Install flintrock unless it is installed; return its program."""
    program = CACHE / "bin" / "flintrock"
    if not program.exists():
        venv.create(CACHE, with_pip=True)
        pip = [str(CACHE / "bin" / "python"), "-m", "pip", "install", "--quiet", FLINTROCK]
        subprocess.run([*pip, "setuptools<81"], check=True)
    return program


def time_s(command: list[str]) -> float:
    """Return the wall-clock seconds of one run of the command."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
