"""What the jobs share: arguments, files on any Hadoop path, the time of each step, result.json.

A job imports nothing of emrctl and sets no Spark settings: those are spark-submit's to give. Under
emrctl the files `_*.py` of this folder are staged by `--py-files`; under a bare spark-submit `ship`
sends to the executors what they need.
"""

from __future__ import annotations

import argparse
import difflib
import importlib.util
import json
import re
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Callable

from pyspark.sql import SparkSession

USAGE_EXIT = 2
WRITERS = 8  # files on their way at once: an object store's time is waiting
_NUMBERED = re.compile(r"(?P<label>.+)_\d+")


class JobError(Exception):
    """What the user can put right: `main` prints it without a traceback and returns 2."""


def run(job: str, body: Callable[[], None]) -> int:
    """Exit code of `body`: 0, or 2 with the message on stderr when the user can put it right."""
    try:
        body()
    except JobError as error:
        print(f"{job}: error: {error}", file=sys.stderr, flush=True)
        return USAGE_EXIT
    return 0


# ---- arguments -----------------------------------------------------------------------------------


def parser(job: str, description: str) -> argparse.ArgumentParser:
    """A parser with what every job takes: --output and --partitions."""
    made = argparse.ArgumentParser(
        prog=job, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--output", required=True, metavar="PATH", help="folder for what comes out")
    made.add_argument(
        "--partitions",
        type=positive_int,
        metavar="N",
        help="partitions of the data (default: spark.default.parallelism)",
    )
    return made


def positive_int(text: str) -> int:
    """An argparse type: a whole number of at least 1."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of at least 1")
    return int(text)


def nearest(name: str, known: Iterable[str]) -> str:
    """`; nearest: …` when something of `known` looks like `name`, else nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; nearest: {close[0]}" if close else ""


def require(*modules: str) -> None:
    """Refuse to start where a module is missing, before Spark has spent a minute on it.

    Raises:
        JobError: With the names to give to bootstrap/python.sh.
    """
    packages = {"PIL": "pillow", "skimage": "scikit-image"}
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        wanted = " ".join(packages.get(name, name) for name in missing)
        raise JobError(
            f"this Python ({sys.executable}) lacks {', '.join(missing)}; "
            f"install it on every node: bootstrap/python.sh {wanted}"
        )


# ---- Spark ---------------------------------------------------------------------------------------


@contextmanager
def session() -> Iterator[SparkSession]:
    """The session, as spark-submit configured it; stopped at the end only when it was made here."""
    found = SparkSession.getActiveSession()
    spark = found or SparkSession.builder.getOrCreate()
    try:
        yield spark
    finally:
        if found is None:
            spark.stop()


def ship(spark: SparkSession, *modules: ModuleType) -> None:
    """Send modules to the executors, unless --py-files already did.

    A module out of a zip has no file of its own: it came through --py-files, so it is there.
    """
    conf = spark.sparkContext.getConf()
    keys = ("spark.submit.pyFiles", "spark.yarn.dist.pyFiles")
    listed = ",".join(conf.get(key, "") for key in keys).split(",")
    staged = {path.rpartition("/")[2] for path in listed}
    for module in modules:
        path = Path(str(module.__file__))
        if path.is_file() and path.name not in staged:
            spark.sparkContext.addPyFile(str(path))


def partitions(spark: SparkSession, asked: int | None) -> int:
    """--partitions, else what spark.default.parallelism or the cluster's size says."""
    parallelism: int = spark.sparkContext.defaultParallelism
    return asked or parallelism


class Files:
    """Whole files on any path that Hadoop knows: s3://, hdfs://, file: or none.

    Local files are written by Python: Hadoop's local file system would leave a .crc beside each.
    """

    def __init__(self, spark: SparkSession) -> None:
        self._jvm: Any = spark._jvm  # noqa: SLF001 - PySpark offers no file system of its own
        self._conf: Any = spark._jsc.hadoopConfiguration()  # noqa: SLF001

    def _open(self, path: str) -> tuple[Any, Any]:
        wanted = self._jvm.org.apache.hadoop.fs.Path(path)
        system = wanted.getFileSystem(self._conf)
        return system, system.makeQualified(wanted)

    def _local(self, qualified: Any) -> Path | None:
        uri = qualified.toUri()
        return Path(uri.getPath()) if uri.getScheme() == "file" else None

    def qualified(self, path: str) -> str:
        """The path with its scheme, as Spark reports the paths of what it reads."""
        return str(self._open(path)[1].toString())

    def exists(self, path: str) -> bool:
        """Whether a file or folder is there."""
        system, wanted = self._open(path)
        return bool(system.exists(wanted))

    def listed(self, path: str) -> Iterator[tuple[str, int]]:
        """Qualified name and bytes of each file below a folder (or of the file itself).

        Hidden ones, which Spark does not read either, are left out: those below `path` with a part
        that begins with `_` or `.`.
        """
        system, wanted = self._open(path)
        base = str(wanted.toString())
        found = system.listFiles(wanted, True)
        while found.hasNext():
            status = found.next()
            name = str(status.getPath().toString())
            if not any(part[:1] in "._" for part in relative(base, name).split("/")):
                yield name, int(status.getLen())

    def times(self, path: str) -> dict[str, int]:
        """When each file below a folder (or the file itself) was last written, in milliseconds."""
        system, wanted = self._open(path)
        found = system.listFiles(wanted, True)
        times = {}
        while found.hasNext():
            status = found.next()
            times[str(status.getPath().toString())] = int(status.getModificationTime())
        return times

    def modified(self, path: str) -> int:
        """When a file was last written, in milliseconds."""
        system, wanted = self._open(path)
        return int(system.getFileStatus(wanted).getModificationTime())

    def write(self, path: str, content: bytes) -> None:
        """Write a file, over one of that name; folders are made."""
        system, wanted = self._open(path)
        local = self._local(wanted)
        if local is not None:
            local.parent.mkdir(parents=True, exist_ok=True)
            local.write_bytes(content)
            return
        stream = system.create(wanted, True)
        try:
            stream.write(content)
        finally:
            stream.close()

    def folder(self, path: str) -> Folder:
        """A folder that many files will be written to."""
        return Folder(self, path, self._local(self._open(path)[1]))

    def read(self, path: str) -> bytes:
        """The bytes of a file."""
        system, wanted = self._open(path)
        stream = system.open(wanted)
        try:
            return bytes(self._jvm.org.apache.commons.io.IOUtils.toByteArray(stream))
        finally:
            stream.close()

    def delete(self, path: str) -> None:
        """Delete a file or a folder with what is in it; nothing happens when it is absent."""
        system, wanted = self._open(path)
        system.delete(wanted, True)


class Folder:
    """Many files below one folder: several at a time where each is mostly waiting.

    A context manager: at its end all files are there, or the first failure is raised.
    """

    def __init__(self, files: Files, path: str, local: Path | None) -> None:
        self._files = files
        self._path = path
        self._local = local
        self._pool = None if local else ThreadPoolExecutor(WRITERS)
        self._begun: deque[Future[None]] = deque()

    def write(self, name: str, content: bytes) -> None:
        """Write a file, its name relative to the folder; maybe later."""
        if self._local:
            path = self._local / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        elif self._pool:
            self._begun.append(
                self._pool.submit(self._files.write, join(self._path, name), content)
            )
            while len(self._begun) > 4 * WRITERS:  # what waits is held in memory
                self._begun.popleft().result()

    def __enter__(self) -> Folder:  # noqa: PYI034 - Self is Python 3.11's
        return self

    def __exit__(self, *error: object) -> None:
        if self._pool:
            self._pool.shutdown(wait=True)
        if error[0] is None:
            for written in self._begun:
                written.result()


def join(folder: str, *names: str) -> str:
    """A path below a folder, s3:// or not."""
    return "/".join([folder.rstrip("/"), *names])


def relative(base: str, path: str) -> str:
    """`path` as seen from the folder `base`; its own name when both are the same file."""
    prefix = base.rstrip("/") + "/"
    return path[len(prefix) :] if path.startswith(prefix) else path.rpartition("/")[2]


# ---- names ---------------------------------------------------------------------------------------


def label_of(path: str, source: str = "auto") -> str | None:
    """Class of a picture, from its path relative to the data's folder.

    `name`: the file's name up to the last `_<n>` (`great_pyrenees_12.jpg` is a great_pyrenees).
    `folder`: the name of the folder that it lies in. `auto`: by name where the name has that form,
    else by folder: pictures like `cats/IMG_0001.jpg`, whose name says nothing, want `folder`.

    Returns:
        The label, or None when the path holds none.
    """
    folder, _, name = path.rpartition("/")
    stem = name.rpartition(".")[0] or name
    numbered = _NUMBERED.fullmatch(stem) if source != "folder" else None
    if numbered:
        return numbered["label"]
    return (folder.rpartition("/")[2] or None) if source != "name" else None


# ---- the time of each step, and what the job says at the end -------------------------------------


class Steps:
    """Seconds of each named step, summed where a step comes again, told as they pass."""

    def __init__(self, job: str) -> None:
        self.job = job
        self.seconds: dict[str, float] = {}
        self.lines: list[str] = []
        self._untold: set[str] = set()
        self._began = time.perf_counter()

    @contextmanager
    def step(self, name: str, *, tell: bool = True) -> Iterator[None]:
        """Time what happens inside under `name`."""
        began = time.perf_counter()
        try:
            yield
        finally:
            took = time.perf_counter() - began
            self.seconds[name] = self.seconds.get(name, 0.0) + took
            if not tell:
                self._untold.add(name)
            else:
                self.say(f"time of {name}: {took:.3f} s")

    def say(self, text: str) -> None:
        """Print a line with the time of day, and keep it for log.txt."""
        line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {self.job}: {text}"
        self.lines.append(line)
        print(line, flush=True)

    def finish(
        self, files: Files, args: argparse.Namespace, figures: dict[str, Any], *, log: bool = False
    ) -> None:
        """Write result.json (and log.txt) to --output, as the last thing that a job does.

        result.json: job, arguments, steps_s (seconds by step), total_s, figures.
        """
        for name in sorted(self._untold):
            self.say(f"time of {name} in all: {self.seconds[name]:.3f} s")
        total_s = time.perf_counter() - self._began
        self.say(f"time of the whole job: {total_s:.3f} s")
        if log:
            files.write(join(args.output, "log.txt"), ("\n".join(self.lines) + "\n").encode())
        result = {
            "job": self.job,
            "arguments": vars(args),
            "steps_s": {name: round(took, 3) for name, took in self.seconds.items()},
            "total_s": round(total_s, 3),
            "python": sys.version.split()[0],
            "figures": figures,
        }
        files.write(join(args.output, "result.json"), to_json(result))


def to_json(value: Any) -> bytes:
    """JSON for people and programs; NaN is refused, since most readers refuse it."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()
