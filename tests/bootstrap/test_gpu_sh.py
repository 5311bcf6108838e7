"""bootstrap/gpu.sh, with a `sudo` that records its commands."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "bootstrap" / "gpu.sh"


def _commands(folder: Path, *, mounted: bool = False) -> list[str]:
    """Run the script below `folder`; return the commands that it runs as root."""
    tools = folder / "bin"
    tools.mkdir()
    for name, body in (
        ("sudo", f'echo "$*" >> {folder}/calls'),
        ("mountpoint", f"exit {0 if mounted else 1}"),
    ):
        (tools / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (tools / name).chmod(0o755)
    environment = {"PATH": f"{tools}:{os.environ['PATH']}", "GPU_SH_ROOT": str(folder)}
    subprocess.run(["bash", str(SCRIPT)], check=True, env=environment)
    return (folder / "calls").read_text().replace(str(folder), "").splitlines()


@pytest.mark.parametrize("mounted", [False, True])
def test_devices_are_mounted_once_where_cgroups_have_version_2(
    tmp_path: Path, mounted: bool
) -> None:
    devices = "/spark-rapids-cgroup/devices"
    mount = [] if mounted else [f"mount -t cgroup -o devices cgroupv1-devices {devices}"]
    assert _commands(tmp_path, mounted=mounted) == [
        f"mkdir -p {devices}",
        *mount,
        "chmod a+rwx -R /spark-rapids-cgroup",
    ]


def test_permissions_are_set_where_cgroups_have_version_1(tmp_path: Path) -> None:
    (tmp_path / "sys/fs/cgroup/devices").mkdir(parents=True)
    assert _commands(tmp_path) == [
        "chmod a+rwx -R /sys/fs/cgroup/devices /sys/fs/cgroup/cpu,cpuacct"
    ]
