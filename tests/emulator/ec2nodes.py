"""Instances of an emulator as a test needs them: launched with a key, waited for, logged in to."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import asyncssh
import paramiko
import psutil

from emrctl.aws.target import Target
from emrctl.remote import host_keys


class _AsItsConsoleSays(paramiko.MissingHostKeyPolicy):
    def __init__(self, target: Target, node: str) -> None:
        self.keys, _ = host_keys.parse_console(host_keys.console_output(target, node))

    def missing_host_key(self, client: Any, hostname: str, key: paramiko.PKey) -> None:
        assert host_keys.HostKey(type=key.get_name(), text=key.get_base64()) in self.keys


class Ec2Nodes:
    """Launches instances with a key pair of its own and ends them all."""

    def __init__(self, target: Target, folder: Path) -> None:
        self.target = target
        self.ec2 = target.client("ec2")
        self.identity = new_key(folder / "identity.pem")
        self.key_name = f"key-{time.monotonic_ns()}"
        public = asyncssh.read_private_key(self.identity).export_public_key("openssh")
        self.ec2.import_key_pair(KeyName=self.key_name, PublicKeyMaterial=public)
        self.launched: list[str] = []

    def launch(self, **options: Any) -> str:
        """The id of a new instance that runs."""
        asked = {"ImageId": "ami-12c6146b", "InstanceType": "m5.large", "KeyName": self.key_name}
        made = self.ec2.run_instances(MinCount=1, MaxCount=1, **(asked | options))
        found = str(made["Instances"][0]["InstanceId"])
        self.launched.append(found)
        self.until(found, "running")
        return found

    def described(self, node: str) -> dict[str, Any]:
        answer = self.ec2.describe_instances(InstanceIds=[node])
        found: dict[str, Any] = answer["Reservations"][0]["Instances"][0]
        return found

    def until(self, node: str, state: str, timeout_s: float = 20.0) -> float:
        """How long it took until the instance was in that state."""
        began = time.monotonic()
        while (now := self.described(node)["State"]["Name"]) != state:
            assert time.monotonic() < began + timeout_s, now
            time.sleep(0.02)
        return time.monotonic() - began

    def address(self, node: str) -> str:
        return str(self.described(node)["PublicIpAddress"])

    def client(self, node: str, user: str = "ec2-user", key: Path | None = None) -> Any:
        """A paramiko client that has logged in, once the node's console vouched for its key."""
        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(_AsItsConsoleSays(self.target, node))
        client.connect(
            self.address(node),
            port=self.target.ssh_port,
            username=user,
            pkey=paramiko.PKey.from_path(key or self.identity),
            allow_agent=False,
            look_for_keys=False,
            timeout=10,
        )
        return client

    def ssh(self, node: str, *options: str) -> list[str]:
        """OpenSSH's client, as far as the command to run."""
        quiet = ("-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR")
        where = ("-o", "UserKnownHostsFile=/dev/null", "-p", str(self.target.ssh_port))
        who = f"ec2-user@{self.address(node)}"
        return ["ssh", *quiet, *where, "-i", str(self.identity), *options, who]

    def run(self, node: str, command: str, *options: str) -> subprocess.CompletedProcess[str]:
        """What OpenSSH's client came to with that command."""
        argv = [*self.ssh(node, *options), command]
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)

    def end(self) -> None:
        if self.launched:
            self.ec2.terminate_instances(InstanceIds=self.launched)
        for node in self.launched:
            self.until(node, "terminated")
        self.ec2.delete_key_pair(KeyName=self.key_name)


def new_key(path: Path) -> Path:
    """A file with a private key that nobody else has."""
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(path)
    path.chmod(0o600)
    return path


def alive(pid: str) -> bool:
    """Whether that process runs; one that ended and was not collected yet does not."""
    try:
        return psutil.Process(int(pid)).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def gone(pid: str, timeout_s: float = 5.0) -> bool:
    """Whether the process ends within that time."""
    deadline = time.monotonic() + timeout_s
    while alive(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
