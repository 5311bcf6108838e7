"""Measure the S3 of the emulator beside moto's server and other S3 servers from PyPI.

bench_s3.py [--requests N] [--peer NAME ...]

Each server answers the same requests of boto3, one after another and from 8 threads: put and get of
30 KB, head, a list of 1,000 keys. Printed are requests per second (of the client, which takes more
time than our server) and the server's CPU time per request; the last column is the peer's CPU time
as a multiple of ours. The servers run one after another, each for the same requests in the same
order. Bar: 1.2 ms of CPU per small request.

Peers are installed by the first run in environments below .cache.
"""

from __future__ import annotations

import argparse
import configparser
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import psutil
from _common import programs  # type: ignore[import-not-found,unused-ignore]
from botocore.config import Config

from emrctl import ports

BUCKET = "bench-bucket"
BODY = os.urandom(30_000)
THREADS = 8
BAR_MS = 1.2


class Server(NamedTuple):
    """A running server: its endpoint, the arguments of a session, and its process."""

    endpoint: str
    keys: dict[str, Any]
    process: psutil.Process


class Figures(NamedTuple):
    """Requests per second, and the server's CPU milliseconds per request."""

    per_s: float
    cpu_ms: float


def main() -> None:
    """Print a table of all servers."""
    parser = argparse.ArgumentParser(description="S3 of the emulator, beside other servers.")
    parser.add_argument("--requests", type=int, default=1000, help="of each kind (1000)")
    parser.add_argument("--peer", nargs="*", default=list(PEERS), choices=PEERS)
    args = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {len(BODY):,} bytes")
    with emulator() as server:
        ours = measure(server, args.requests)
        memory = server.process.memory_info().rss / 2**20
    report("emrctl", ours, ours)
    print(f"memory of the emulator with {2 * args.requests:,} objects: {memory:.0f} MB")
    for name in args.peer:
        with PEERS[name]() as server:
            report(name, measure(server, args.requests), ours)
    worst = max(ours[name].cpu_ms for name in ("put", "get", "head"))
    print(f"emrctl's most expensive small request: {worst:.2f} ms of CPU  (bar: {BAR_MS} ms)")


def report(name: str, figures: dict[str, Figures], ours: dict[str, Figures]) -> None:
    """Print one line for each kind of request."""
    for kind, one in figures.items():
        ratio = one.cpu_ms / ours[kind].cpu_ms
        print(
            f"{name:12} {kind:14} {one.per_s:7.0f} requests/s  {one.cpu_ms:6.2f} ms of server CPU"
            f"  {ratio:5.1f} x"
        )


def measure(server: Server, count: int) -> dict[str, Figures]:
    """Return the figures of each kind of request."""
    config = Config(s3={"addressing_style": "path"}, max_pool_connections=THREADS)
    s3: Any = boto3.Session(region_name="us-east-1", **server.keys).client(
        "s3", endpoint_url=server.endpoint, config=config
    )
    s3.create_bucket(Bucket=BUCKET)

    def put(number: int) -> None:
        s3.put_object(Bucket=BUCKET, Key=f"pets/{number:06d}.jpg", Body=BODY)

    def get(number: int) -> None:
        s3.get_object(Bucket=BUCKET, Key=f"pets/{number:06d}.jpg")["Body"].read()

    def head(number: int) -> None:
        s3.head_object(Bucket=BUCKET, Key=f"pets/{number:06d}.jpg")

    def list_keys(_number: int) -> None:
        s3.list_objects_v2(Bucket=BUCKET, Prefix="pets/")

    for number in range(20):  # warm up
        put(number)
        get(number)
    kinds: dict[str, tuple[Callable[[int], None], int, int]] = {
        "put": (put, count, 1),
        "get": (get, count, 1),
        "head": (head, count, 1),
        "list of 1,000": (list_keys, max(1, count // 20), 1),
        f"put, {THREADS} threads": (lambda number: put(count + number), count, THREADS),
        f"get, {THREADS} threads": (get, count, THREADS),
    }
    return {
        name: run(server.process, work, requests, threads)
        for name, (work, requests, threads) in kinds.items()
    }


def run(process: psutil.Process, work: Callable[[int], None], count: int, threads: int) -> Figures:
    """Run the work for each number and return its figures."""
    before, start = cpu_s(process), time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(count)))
    seconds, used = time.perf_counter() - start, cpu_s(process) - before
    return Figures(count / seconds, 1000 * used / count)


def cpu_s(process: psutil.Process) -> float:
    """Return the CPU seconds of a server's processes."""
    times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
    return sum(one.user + one.system for one in times)


# --- servers


@contextlib.contextmanager
def emulator() -> Iterator[Server]:
    """Run the emulator in a temporary home."""
    with tempfile.TemporaryDirectory(prefix="emrctl-bench-") as folder:
        environment = {**os.environ, "EMRCTL_HOME": folder}
        script = (
            "from emrctl.emulator.server import control\n"
            "control.up(region='us-east-1', report=lambda _: None, jars=False)"
        )
        subprocess.run([sys.executable, "-c", script], env=environment, check=True)
        state = json.loads((Path(folder) / "local" / "emulator.json").read_text())
        keys = configparser.ConfigParser(interpolation=None)
        keys.read(state["credentials"])
        session = {
            "aws_access_key_id": keys["default"]["aws_access_key_id"],
            "aws_secret_access_key": keys["default"]["aws_secret_access_key"],
        }
        try:
            yield Server(state["endpoint"], session, psutil.Process(state["pid"]))
        finally:
            command = [sys.executable, "-m", "emrctl.cli", "local", "down", "--delete"]
            subprocess.run(command, env=environment, check=True, capture_output=True)


@contextlib.contextmanager
def started(
    command: Sequence[str | Path], port: int, environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Run a peer's server until the end of the block."""
    with subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **(environment or {})},
    ) as process:
        try:
            await_port(process, port)
            keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
            yield Server(f"http://127.0.0.1:{port}", keys, psutil.Process(process.pid))
        finally:
            process.terminate()


def await_port(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until the server accepts connections."""
    for _ in range(600):
        if process.poll() is not None:
            raise SystemExit(f"the server exited with {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.1)
    raise SystemExit("the server does not accept connections")


def moto() -> contextlib.AbstractContextManager[Server]:
    """Run moto's server."""
    port = ports.preferred(0)
    return started([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], port)


@contextlib.contextmanager
def ministack() -> Iterator[Server]:
    """Run MiniStack, an emulator of AWS, with its data in a temporary folder."""
    program = programs("ministack", "ministack") / "ministack"
    port = ports.preferred(0)
    with tempfile.TemporaryDirectory(prefix="ministack-") as folder:
        environment = {"GATEWAY_PORT": str(port), "HOME": folder, "TMPDIR": folder}
        with started([program], port, environment) as server:
            yield server


PEERS: dict[str, Callable[[], contextlib.AbstractContextManager[Server]]] = {
    "moto": moto,
    "ministack": ministack,
}


if __name__ == "__main__":
    main()
