"""bootstrap/daemon.sh: the loop with real processes, systemd with stubs that record their calls."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "bootstrap" / "daemon.sh"


class DaemonNode:
    """A node with a program that records its process id and waits."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = folder / "program.sh"
        self.write("sleep 300")

    def write(self, rest: str) -> None:
        self.program.write_text(f'echo "$$" >>{self.folder}/pids\n{rest}\n')

    def run(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": os.environ["PATH"],
            "EMRCTL_NODE": str(self.folder / "node"),
            "EMRCTL_NODE_ROOT": str(self.folder),
            "DAEMON_SH_PAUSE_S": "0.1",
        }
        return subprocess.run(
            ["bash", str(SCRIPT), *arguments],
            capture_output=True,
            text=True,
            env=environment | more,
            check=False,
            timeout=30,
        )

    def start(self, verb: str = "start") -> None:
        done = self.run(verb, "demo", str(self.program))
        assert done.returncode == 0, done.stderr

    @property
    def pids(self) -> list[int]:
        """The process ids of all starts of the program."""
        try:
            return [int(line) for line in (self.folder / "pids").read_text().split()]
        except FileNotFoundError:
            return []

    def is_running(self) -> bool:
        return self.run("status", "demo").returncode == 0


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and ") Z " not in stat.read_text()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[DaemonNode]:
    node = DaemonNode(tmp_path)
    yield node
    node.run("stop", "demo")


def test_start_runs_program_until_stop(node: DaemonNode) -> None:
    assert not node.is_running()
    node.start()
    wait_until(lambda: len(node.pids) == 1)
    assert node.is_running()
    node.start()  # already running
    assert len(node.pids) == 1
    [pid] = node.pids
    assert os.getsid(pid) != os.getsid(0)
    assert node.run("stop", "demo").returncode == 0
    assert not node.is_running()
    assert not is_alive(pid)
    assert node.run("stop", "demo").returncode == 0


def test_killed_program_is_restarted(node: DaemonNode) -> None:
    node.start()
    wait_until(lambda: len(node.pids) == 1)
    os.kill(node.pids[0], signal.SIGKILL)
    wait_until(lambda: len(node.pids) == 2)
    assert node.is_running()
    log = (node.folder / "node/log/demo.log").read_text()
    assert "demo exited at" in log


def test_restart_stops_and_starts_program_once(node: DaemonNode) -> None:
    node.start()
    wait_until(lambda: len(node.pids) == 1)
    node.start("restart")
    wait_until(lambda: len(node.pids) == 2)
    assert not is_alive(node.pids[0])


def test_stop_kills_child_processes(node: DaemonNode) -> None:
    node.write(f"sleep 301 & echo $! >>{node.folder}/pids; wait")
    node.start()
    wait_until(lambda: len(node.pids) == 2)
    node.run("stop", "demo")
    wait_until(lambda: not any(map(is_alive, node.pids)))


def test_status_with_reused_process_id_is_not_running(node: DaemonNode) -> None:
    (node.folder / "node/run").mkdir(parents=True)
    (node.folder / "node/run/demo.pid").write_text(f"{os.getpid()}\n")
    assert not node.is_running()
    node.start()
    wait_until(lambda: len(node.pids) == 1)


def test_signal_is_sent_to_program(node: DaemonNode) -> None:
    node.write(f"trap 'echo 1 >>{node.folder}/pids' USR1; while true; do sleep 0.1; done")
    node.start()
    wait_until(lambda: len(node.pids) == 1)
    time.sleep(0.3)  # until bash has set its trap
    assert node.run("signal", "demo", "USR1").returncode == 0
    wait_until(lambda: node.pids[1:] == [1])


@pytest.mark.parametrize("arguments", [(), ("start",), ("start", "Demo"), ("leap", "demo")])
def test_invalid_arguments_print_usage(node: DaemonNode, arguments: tuple[str, ...]) -> None:
    done = node.run(*arguments)
    assert (done.returncode, "daemon.sh start NAME PROGRAM" in done.stderr) == (1, True)


def test_start_with_systemd_installs_unit(node: DaemonNode) -> None:
    tools, units = node.folder / "tools", node.folder / "units"
    tools.mkdir()
    units.mkdir()
    calls = node.folder / "calls"
    for name, body in (("sudo", 'shift; exec "$@"'), ("systemctl", f'echo "$*" >>{calls}')):
        (tools / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (tools / name).chmod(0o755)
    more = {"PATH": f"{tools}:{os.environ['PATH']}", "DAEMON_SH_UNITS": str(units)}
    assert node.run("start", "demo", str(node.program), **more).returncode == 0
    unit = (units / "emrctl-demo.service").read_text()
    assert f"ExecStart=/usr/bin/env bash {node.program}" in unit
    assert "Restart=always" in unit
    assert "WantedBy=multi-user.target" in unit
    assert calls.read_text().splitlines() == [
        "daemon-reload",
        "enable --quiet emrctl-demo",
        "start emrctl-demo",
    ]
    calls.unlink()
    node.run("restart", "demo", str(node.program), **more)
    node.run("stop", "demo", **more)
    assert calls.read_text().splitlines() == [
        "restart emrctl-demo",
        "disable --quiet --now emrctl-demo",
    ]
    assert node.pids == []
