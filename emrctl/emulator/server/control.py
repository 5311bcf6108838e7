"""Start, find and stop the emulator: one background process for each home."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
from collections.abc import Callable
from pathlib import Path

from emrctl import paths as places
from emrctl.aws import http
from emrctl.emulator.hadoop import hadoop_jars
from emrctl.emulator.server import processes, state
from emrctl.emulator.server.state import EmulatorInfo
from emrctl.errors import EmrctlError, ProvisioningError, UsageError, WaitTimeoutError

Report = Callable[[str], None]

_STOP_TIMEOUT_S = 20.0


def up(
    *, region: str, report: Report, port: int = 0, timeout_s: float = 60.0, jars: bool = True
) -> EmulatorInfo:
    """The emulator of this home runs and answers; one that ran already is returned as it is.

    Hadoop's jars are fetched first, where the cache lacks them, so that the wait is seen; without
    `jars` the first cluster fetches them.
    """
    home = places.emulator_home()
    state.prepare_home(home)
    if jars:
        hadoop_jars.ensure(report)
    with state.locked(home, timeout_s=timeout_s):
        running = state.read(home)
        if running is not None and running.alive:
            return _same(running, region, port)
        if running is not None:
            report("Clearing up after an emulator that did not end by itself.")
            _clear(home, running)
        _refuse_taken(port)
        report("Starting the EMR on localhost.")
        return _start(home, region=region, port=port, timeout_s=timeout_s)


def status() -> EmulatorInfo | None:
    """The emulator of this home, None where none runs."""
    found = state.read(places.emulator_home())
    return found if found is not None and found.alive else None


def down(report: Report) -> bool:
    """No emulator of this home runs and none of its processes either; whether there was one."""
    home = places.emulator_home()
    if not home.is_dir():
        return False
    with state.locked(home, timeout_s=_STOP_TIMEOUT_S * 2):
        info = state.read(home)
        if info is None:
            return False
        if info.alive:
            report("Ending the clusters of the EMR on localhost.")
            os.kill(info.pid, signal.SIGTERM)
            if not processes.wait_gone(info.pid, timeout_s=_STOP_TIMEOUT_S):
                os.kill(info.pid, signal.SIGKILL)
        _clear(home, info)
    return True


def logs() -> Path:
    """The file with what the emulator printed."""
    return state.log_file(places.emulator_home())


def page(info: EmulatorInfo, path: str, *, timeout_s: float = 10.0) -> bytes:
    """The body of `GET <endpoint><path>`, asked with the emulator's token."""
    headers = {"X-Emrctl-Token": info.token}
    return http.get(info.endpoint + path, headers=headers, timeout_s=timeout_s)


def overview(info: EmulatorInfo) -> dict[str, object]:
    """Clusters with their addresses and steps, differences from EMR, and warnings."""
    found: dict[str, object] = json.loads(page(info, "/emrctl/status"))
    return found


def browser_url(info: EmulatorInfo, url: str) -> str:
    """An address that lets a browser in and takes it on to `url`, a page of YARN or Spark."""
    from emrctl.emulator.server import web

    port = urllib.parse.urlsplit(info.endpoint).port
    return web.browser_url(int(port or 0), info.token, url)


def _same(running: EmulatorInfo, region: str, port: int) -> EmulatorInfo:
    taken = urllib.parse.urlsplit(running.endpoint).port
    if running.region != region or port not in (0, taken):
        raise UsageError(
            f"the emulator already runs in {running.region} at {running.endpoint}",
            hint="Stop it first: `emrctl local down`.",
        )
    return running


def _clear(home: Path, info: EmulatorInfo) -> None:
    processes.kill_marked(processes.EMULATOR_MARK, info.id)
    state.forget(home)


def _refuse_taken(port: int) -> None:
    if not port:
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            raise UsageError(
                f"port {port} of 127.0.0.1 cannot be had: {error}",
                hint="Leave --port out: a free one is found.",
            ) from error


def _start(home: Path, *, region: str, port: int, timeout_s: float) -> EmulatorInfo:
    emulator_id = secrets.token_hex(8)
    log = state.log_file(home)
    log.unlink(missing_ok=True)
    process = processes.start(
        processes.ProcessSpec(
            argv=[
                *(sys.executable, "-m", "emrctl.emulator"),
                *("--home", str(home), "--region", region, "--port", str(port)),
            ],
            cwd=home,
            env=_environment(emulator_id),
            stdout=log,
            stderr=log,
        )
    )
    log.chmod(0o600)
    try:
        return _await(home, process, timeout_s)
    except BaseException:
        process.kill()
        process.wait()
        processes.kill_marked(processes.EMULATOR_MARK, emulator_id)
        state.forget(home)
        raise


def _environment(emulator_id: str) -> dict[str, str]:
    """Ours, less any credentials: the emulator has no use for an AWS account."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "EMRCTL_EMULATOR"))}
    return kept | {processes.EMULATOR_MARK: emulator_id, "PYTHONUNBUFFERED": "1"}


def _await(home: Path, process: subprocess.Popen[bytes], timeout_s: float) -> EmulatorInfo:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ProvisioningError(
                f"the emulator ended at once: {_last_line(home)}", hint=f"See {logs()}."
            )
        info = state.read(home)
        if info is not None and info.alive and _answers(info):
            # The child outlives us: its Popen must not warn that nobody waited for it.
            process.returncode = 0
            return info
        time.sleep(0.03)
    raise WaitTimeoutError(
        f"the emulator did not answer within {timeout_s:.0f} s", hint=f"See {logs()}."
    )


def _answers(info: EmulatorInfo) -> bool:
    try:
        page(info, "/emrctl/status", timeout_s=2.0)
    except (OSError, urllib.error.URLError, EmrctlError):
        return False
    return True


def _last_line(home: Path) -> str:
    lines = state.log_file(home).read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "it printed nothing")
