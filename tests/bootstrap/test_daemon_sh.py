"""bootstrap/daemon.sh: programs really kept running; systemd's way with tools that write down."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "bootstrap" / "daemon.sh"


class Node:
    """A node whose program says that it began, and then waits."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = folder / "program.sh"
        self.write("sleep 300")

    def write(self, rest: str) -> None:
        self.program.write_text(f'echo "$$" >>{self.folder}/begun\n{rest}\n')

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
    def begun(self) -> list[int]:
        """The process ids of the program, each time that it began."""
        try:
            return [int(line) for line in (self.folder / "begun").read_text().split()]
        except FileNotFoundError:
            return []

    def kept(self) -> bool:
        return self.run("status", "demo").returncode == 0


def until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.05)


def lives(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and ") Z " not in stat.read_text()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    found = Node(tmp_path)
    yield found
    found.run("stop", "demo")


def test_a_program_runs_until_it_is_stopped(node: Node) -> None:
    assert not node.kept()
    node.start()
    until(lambda: len(node.begun) == 1)
    assert node.kept()
    node.start()  # it runs already
    assert len(node.begun) == 1
    [pid] = node.begun
    assert os.getsid(pid) != os.getsid(0)
    assert node.run("stop", "demo").returncode == 0
    assert not node.kept()
    assert not lives(pid)
    assert node.run("stop", "demo").returncode == 0


def test_a_program_that_ends_begins_again(node: Node) -> None:
    node.start()
    until(lambda: len(node.begun) == 1)
    os.kill(node.begun[0], signal.SIGKILL)
    until(lambda: len(node.begun) == 2)
    assert node.kept()
    log = (node.folder / "node/log/demo.log").read_text()
    assert "demo ended at" in log


def test_a_restart_begins_it_anew_once(node: Node) -> None:
    node.start()
    until(lambda: len(node.begun) == 1)
    node.start("restart")
    until(lambda: len(node.begun) == 2)
    assert not lives(node.begun[0])


def test_what_a_program_started_ends_with_it(node: Node) -> None:
    node.write(f"sleep 301 & echo $! >>{node.folder}/begun; wait")
    node.start()
    until(lambda: len(node.begun) == 2)
    node.run("stop", "demo")
    until(lambda: not any(map(lives, node.begun)))


def test_a_number_that_another_process_has_got_is_not_the_program(node: Node) -> None:
    (node.folder / "node/run").mkdir(parents=True)
    (node.folder / "node/run/demo.pid").write_text(f"{os.getpid()}\n")
    assert not node.kept()
    node.start()
    until(lambda: len(node.begun) == 1)


def test_a_signal_reaches_the_program_itself(node: Node) -> None:
    node.write(f"trap 'echo 1 >>{node.folder}/begun' USR1; while true; do sleep 0.1; done")
    node.start()
    until(lambda: len(node.begun) == 1)
    time.sleep(0.3)  # until bash has set its trap
    assert node.run("signal", "demo", "USR1").returncode == 0
    until(lambda: node.begun[1:] == [1])


@pytest.mark.parametrize("arguments", [(), ("start",), ("start", "Demo"), ("leap", "demo")])
def test_bad_arguments_are_told(node: Node, arguments: tuple[str, ...]) -> None:
    done = node.run(*arguments)
    assert (done.returncode, "daemon.sh start NAME PROGRAM" in done.stderr) == (1, True)


def test_systemd_keeps_it_where_there_is_one(node: Node) -> None:
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
    assert node.begun == []
