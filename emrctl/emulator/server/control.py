"""Start, find and stop the emulator, one background process per home."""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from emrctl import paths
from emrctl.aws import http
from emrctl.emulator.cluster.scaling import INTERVAL_S
from emrctl.emulator.faults import Fault
from emrctl.emulator.hadoop import hadoop_jars
from emrctl.emulator.server import processes, state
from emrctl.emulator.server.state import EmulatorInfo
from emrctl.errors import (
    EmrctlError,
    NotFoundError,
    ProvisioningError,
    UsageError,
    WaitTimeoutError,
)

Report = Callable[[str], None]

CONSENT_TEXT = """\
The EMR on localhost runs bootstrap actions and steps on this machine, with your own rights.

Each node is a folder with its own home and Python, and `sudo` does not change the user. Scripts can
read and change everything that you can. Run only what you would run in your own shell.
"""

_STOP_TIMEOUT_S = 20.0


def up(
    *,
    region: str,
    report: Report,
    port: int = 0,
    timeout_s: float = 60.0,
    jars: bool = True,
    scaling_interval_s: float = INTERVAL_S,
) -> EmulatorInfo:
    """Start the emulator of this home unless it is running; return it once it answers.

    Downloads missing Hadoop jars first, with progress; without `jars` the first cluster downloads
    them. Managed scaling evaluates the clusters' metrics every `scaling_interval_s`.
    """
    home = paths.emulator_home()
    state.prepare_home(home)
    if jars:
        hadoop_jars.ensure(report)
    with state.locked(home, timeout_s=timeout_s) as lock:
        running = state.read(home)
        if running is not None and running.alive:
            return _check_same(running, region, port)
        if running is not None:
            report("Cleaning up after an emulator that died.")
            _clean_up(home, running)
        _check_port(port)
        report("Starting the EMR on localhost.")
        options = ["--region", region, "--port", str(port)]
        options += ["--scaling-interval-s", str(scaling_interval_s)]
        return _start(home, options, lock, timeout_s)


def status() -> EmulatorInfo | None:
    """Return the running emulator of this home, or None."""
    info = state.read(paths.emulator_home())
    return info if info is not None and info.alive else None


def down(report: Report, *, delete: bool = False) -> bool:
    """Stop the emulator of this home and all its processes; return whether there was one.

    Buckets and the history of clusters are kept for the next one unless `delete` is set.
    """
    home = paths.emulator_home()
    if not home.is_dir():
        return False
    with state.locked(home, timeout_s=_STOP_TIMEOUT_S * 2):
        info = state.read(home)
        if info is not None:
            _stop(home, info, report)
        if delete and state.delete_storage(home):
            report("Deleted the buckets and the history of clusters.")
    return info is not None


def _stop(home: Path, info: EmulatorInfo, report: Report) -> None:
    if info.alive:
        report("Terminating the clusters of the EMR on localhost.")
        os.kill(info.pid, signal.SIGTERM)
        if not processes.wait_gone(info.pid, timeout_s=_STOP_TIMEOUT_S):
            os.kill(info.pid, signal.SIGKILL)
            processes.wait_gone(info.pid, timeout_s=_STOP_TIMEOUT_S)
    _clean_up(home, info)


def logs() -> Path:
    """Return the emulator's log file."""
    return state.log_file(paths.emulator_home())


def first_use() -> bool:
    """Return whether it is called for the first time in this home."""
    home = paths.emulator_home()
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    marker = home / "consent"
    first = not marker.exists()
    marker.touch(mode=0o600)
    return first


def page(
    info: EmulatorInfo,
    path: str,
    *,
    timeout_s: float = 10.0,
    method: str = "GET",
    body: bytes | None = None,
) -> bytes:
    """Return the body of the response to `GET <endpoint><path>` with the emulator's token."""
    headers = {"X-Emrctl-Token": info.token}
    url = info.endpoint + path
    return http.request(url, method=method, body=body, headers=headers, timeout_s=timeout_s)


def overview(info: EmulatorInfo) -> dict[str, object]:
    """Return clusters with their addresses and steps, differences from EMR, and warnings."""
    document: dict[str, object] = json.loads(page(info, "/emrctl/status"))
    return document


def faults(info: EmulatorInfo) -> list[dict[str, object]]:
    """Return the active faults."""
    return list(json.loads(page(info, "/emrctl/faults"))["faults"])


def add_fault(info: EmulatorInfo, fault: Fault) -> None:
    """Activate a fault, instead of an active one of its name."""
    body = json.dumps({"kind": fault.kind, **dataclasses.asdict(fault)}).encode()
    page(info, "/emrctl/faults", method="POST", body=body)


def clear_faults(info: EmulatorInfo, kind: str = "") -> int:
    """End the active faults, or those of a kind; return how many there were."""
    query = urllib.parse.urlencode({"kind": kind})
    answer = json.loads(page(info, f"/emrctl/faults?{query}", method="DELETE"))
    return int(answer["cleared"])


def lose_node(
    info: EmulatorInfo, cluster: str, node: str = "", *, spot_interruption: bool = False
) -> str:
    """Terminate an instance as by a failure or a Spot interruption; return its EC2 id.

    `cluster` is an id or a name. Without `node`, the newest running core or task instance is
    terminated, by an interruption the newest Spot instance. Raises `NotFoundError`.
    """
    clusters: Any = overview(info)["clusters"]
    active = [one for one in clusters if one["nodes"]]
    selected = [one for one in active if cluster in (one["id"], one["name"])]
    if len(selected) != 1:
        found = "several clusters are named" if selected else "no active cluster is"
        ids = ", ".join(one["id"] for one in selected or active) or "none"
        raise NotFoundError(f"{found} {cluster!r}", hint=f"Ids of active clusters: {ids}.")
    nodes = [
        one
        for one in selected[0]["nodes"]
        if (one["id"] == node if node else one["role"] != "MASTER" and one["state"] == "RUNNING")
        and (one["market"] == "SPOT" or not spot_interruption)
    ]
    if not nodes:
        kind = "running Spot instance" if spot_interruption else "running core or task instance"
        ids = ", ".join(f"{one['id']} ({one['market']})" for one in selected[0]["nodes"])
        raise NotFoundError(
            f"cluster {selected[0]['id']} has no {kind}{f' {node}' if node else ''}",
            hint=f"Its instances: {ids}.",
        )
    body = {
        "cluster": selected[0]["id"],
        "node": nodes[-1]["id"],
        "spot_interruption": spot_interruption,
    }
    page(info, "/emrctl/lost-nodes", method="POST", body=json.dumps(body).encode())
    return str(nodes[-1]["id"])


def _check_same(running: EmulatorInfo, region: str, port: int) -> EmulatorInfo:
    current = urllib.parse.urlsplit(running.endpoint).port
    if running.region != region or port not in (0, current):
        raise UsageError(
            f"the emulator already runs in {running.region} at {running.endpoint}",
            hint="Stop it first: `emrctl local down`.",
        )
    return running


def _clean_up(home: Path, info: EmulatorInfo) -> None:
    processes.kill_marked(processes.EMULATOR_MARK, info.id)
    state.forget(home)


def _check_port(port: int) -> None:
    if not port:
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            raise UsageError(
                f"cannot use port {port} of 127.0.0.1: {error}",
                hint="Omit --port to use any free port.",
            ) from error


def _start(home: Path, options: list[str], lock: int, timeout_s: float) -> EmulatorInfo:
    """Start the emulator; it holds `lock` until it serves, even if this process is killed."""
    emulator_id = secrets.token_hex(8)
    log = state.log_file(home)
    log.unlink(missing_ok=True)
    process = processes.start(
        processes.ProcessSpec(
            argv=[
                *(sys.executable, "-m", "emrctl.emulator", "--home", str(home)),
                *("--start-lock", str(lock), *options),
            ],
            inherited=(lock,),
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
    """Return this environment without AWS credentials, which the emulator does not use."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "EMRCTL_EMULATOR"))}
    return kept | {processes.EMULATOR_MARK: emulator_id, "PYTHONUNBUFFERED": "1"}


def _await(home: Path, process: subprocess.Popen[bytes], timeout_s: float) -> EmulatorInfo:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ProvisioningError(
                f"the emulator failed to start: {_last_line(home)}", hint=f"See {logs()}."
            )
        info = state.read(home)
        if info is not None and info.alive and _answers(info):
            # The child outlives this process: avoid Popen's ResourceWarning.
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
    last = next((line for line in reversed(lines) if line.strip()), "")
    free = shutil.disk_usage(home).free
    return last or (f"{home} is on a full disk" if free < 4096 else "it printed nothing")
