"""Run a job: command-line arguments, SparkSession, log and result.json.

Jobs import nothing from emrctl and set no Spark properties; those are set on spark-submit. emrctl
stages the packages of a job as one zip file (--py-files). Without that file, `run_job` sends the
packages to the executors.
"""

from __future__ import annotations

import argparse
import difflib
import importlib.util
import json
import math
import sys
import time
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable

from pyspark.sql import SparkSession

from common import tracking
from common.files import HadoopFiles, join

USAGE_EXIT = 2
PACKAGES = {
    "PIL": "pillow",
    "skimage": "scikit-image",
    "mlflow": "mlflow-skinny",
}  # where the package has another name


class JobError(Exception):
    """An error that the user can fix; `run_job` prints it without a traceback."""


def run_job(job: str, modules: Iterable[str], body: Callable[[SparkSession, JobLog], None]) -> int:
    """Run the body of a job in a SparkSession.

    An active session is used and left open; otherwise one is created and stopped.

    Args:
        job: Name of the job, for messages.
        modules: Python modules that the job needs on every node.
        body: Called with the session and the log.

    Returns:
        The exit code: 0, or 2 after a `JobError`, which is printed to stderr.
    """
    log = JobLog(job)
    try:
        require(*modules, *(("mlflow",) if tracking.is_enabled() else ()))
        active = SparkSession.getActiveSession()
        spark = active or SparkSession.builder.getOrCreate()
        try:
            ship_packages(spark)
            body(spark, log)
        finally:
            if active is None:
                spark.stop()
    except JobError as error:
        print(f"{job}: error: {error}", file=sys.stderr, flush=True)
        return USAGE_EXIT
    return 0


def require(*modules: str) -> None:
    """Check that Python modules are installed, before Spark starts.

    Raises:
        JobError: A module is missing; the message names the packages to install.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        packages = " ".join(PACKAGES.get(name, name) for name in missing)
        raise JobError(
            f"missing Python modules in {sys.executable}: {', '.join(missing)}; "
            f"install them on every node: bootstrap/python.sh {packages}"
        )


def ship_packages(spark: SparkSession) -> None:
    """Send the packages of jobs/ to the executors, unless they came in a zip of --py-files."""
    root = Path(__file__).resolve().parents[1]
    if not root.is_dir():  # inside a zip file
        return
    archive = Path(spark.sparkContext._temp_dir) / "jobs.zip"  # noqa: SLF001 - deleted by Spark
    if not archive.exists():
        with zipfile.ZipFile(archive, "w") as packed:
            for path in sorted(root.glob("*/*.py")):
                packed.write(path, path.relative_to(root))
        spark.sparkContext.addPyFile(str(archive))


def partitions(spark: SparkSession, requested: int | None) -> int:
    """Return --partitions, or spark.default.parallelism when it is not set."""
    parallelism: int = spark.sparkContext.defaultParallelism
    return requested or parallelism


# ---- arguments -----------------------------------------------------------------------------------


def argument_parser(
    job: str, description: str, *, partitions: bool = True
) -> argparse.ArgumentParser:
    """Create a parser with --output and, for jobs over a data set, --partitions."""
    parser = argparse.ArgumentParser(
        prog=job, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", required=True, metavar="PATH", help="output folder")
    if partitions:
        parser.add_argument(
            "--partitions",
            type=positive_int,
            metavar="N",
            help="number of partitions of the data (default: spark.default.parallelism)",
        )
    return parser


def positive_int(text: str) -> int:
    """Parse an integer of at least 1 (an argparse type)."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of at least 1")
    return int(text)


def not_negative(text: str) -> float:
    """Parse a finite number of at least 0 (an argparse type)."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number") from None
    if not math.isfinite(value) or value < 0:
        raise argparse.ArgumentTypeError(f"{text} is not at least 0")
    return value


def positive(text: str) -> float:
    """Parse a finite number above 0 (an argparse type)."""
    value = not_negative(text)
    if value == 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def share(text: str) -> float:
    """Parse a number above 0 and at most 1 (an argparse type)."""
    value = positive(text)
    if value > 1:
        raise argparse.ArgumentTypeError(f"{text} is more than 1")
    return value


def nearest(name: str, names: Iterable[str]) -> str:
    """Return `; nearest: …` with the most similar of `names`, or an empty string."""
    close = difflib.get_close_matches(name, list(names), n=1)
    return f"; nearest: {close[0]}" if close else ""


# ---- log and result ------------------------------------------------------------------------------


class JobLog:
    """Log lines of a job, and the seconds that each of its steps took."""

    def __init__(self, job: str) -> None:
        self.job = job
        self.seconds: dict[str, float] = {}
        self.lines: list[str] = []
        self._repeated: set[str] = set()
        self._start = time.perf_counter()

    @contextmanager
    def step(self, name: str, *, repeated: bool = False) -> Iterator[None]:
        """Measure a step. A repeated step is logged once, with its total, at the end of the job."""
        start = time.perf_counter()
        try:
            yield
        finally:
            duration = time.perf_counter() - start
            self.seconds[name] = self.seconds.get(name, 0.0) + duration
            if repeated:
                self._repeated.add(name)
            else:
                self.write(f"time of {name}: {duration:.3f} s")

    def write(self, text: str) -> None:
        """Print a line with a timestamp, and keep it for log.txt."""
        line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {self.job}: {text}"
        self.lines.append(line)
        print(line, flush=True)

    def write_result(
        self,
        files: HadoopFiles,
        args: argparse.Namespace,
        figures: dict[str, Any],
        *,
        log_file: bool = False,
        final: bool = True,
    ) -> None:
        """Write result.json (and log.txt) to --output. A job does this last.

        Keys of result.json: job, arguments, steps_s (seconds by step), total_s, python, figures.
        A job that may be cancelled also writes the figures so far, which are not `final`. Final
        ones are also logged to MLflow if MLFLOW_TRACKING_URI is set.
        """
        total_s = time.perf_counter() - self._start
        if final:
            for name in sorted(self._repeated):
                self.write(f"total time of {name}: {self.seconds[name]:.3f} s")
            self.write(f"total time of the job: {total_s:.3f} s")
        if log_file:
            files.write(join(args.output, "log.txt"), ("\n".join(self.lines) + "\n").encode())
        result = {
            "job": self.job,
            "arguments": vars(args),
            "steps_s": {name: round(duration, 3) for name, duration in self.seconds.items()},
            "total_s": round(total_s, 3),
            "python": sys.version.split()[0],
            "figures": figures,
        }
        files.write(join(args.output, "result.json"), to_json(result))
        if final and tracking.is_enabled():
            tracking.log_result(result, files.application_id)


def to_json(value: Any) -> bytes:
    """Encode indented JSON. NaN raises ValueError, since most readers reject it."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()
