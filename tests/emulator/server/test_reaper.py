"""The reaper kills EC2 instances of an emulator that died."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emrctl.emulator.server import control, processes, state
from tests.conftest import target_of
from tests.emulator.conftest import Await
from tests.emulator.ec2nodes import Ec2Nodes, alive, gone


@pytest.fixture
def emulator(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[state.EmulatorInfo]:
    monkeypatch.setenv("EMRCTL_HOME", str(tmp_path_factory.mktemp("e")))
    yield control.up(region="us-east-1", report=lambda _: None, jars=False)
    control.down(lambda _: None)


def _killed(info: state.EmulatorInfo) -> None:
    os.kill(info.pid, signal.SIGKILL)


def _told_to_end(_: state.EmulatorInfo) -> None:
    control.down(lambda _: None)


@pytest.mark.parametrize("end", [_killed, _told_to_end])
def test_reaper_kills_instances_of_dead_emulator(
    emulator: state.EmulatorInfo,
    tmp_path: Path,
    until: Await,
    end: Callable[[state.EmulatorInfo], None],
) -> None:
    nodes = Ec2Nodes(target_of(emulator), tmp_path)
    node = nodes.launch()
    address = nodes.address(node)
    daemon = nodes.run(node, "setsid sleep 300 >/dev/null 2>&1 </dev/null & echo $!").stdout.strip()
    assert alive(daemon)
    end(emulator)
    assert gone(daemon)
    until(lambda: processes.marked(processes.EMULATOR_MARK, emulator.id), [])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address, emulator.ssh_port), timeout=5)


def test_reaper_waits_for_its_emulator(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], processes.EMULATOR_MARK: "test-warden"}
    program = processes.ProcessSpec(
        argv=["sleep", "300"],
        cwd=tmp_path,
        env=environment,
        stdout=tmp_path / "out",
        stderr=tmp_path / "err",
    )
    watched = processes.start(program)
    with processes.reaper(tmp_path / "log", "test-warden") as watching:
        assert watched.poll() is watching.poll() is None
        watching.communicate(timeout=60)
    assert watched.wait(timeout=60) == -signal.SIGKILL


def test_reaper_stops_with_its_emulator(tmp_path: Path) -> None:
    with processes.reaper(tmp_path / "log", "test-warden") as watching:
        assert watching.poll() is None
    assert watching.returncode == -signal.SIGKILL
