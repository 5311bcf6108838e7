"""EC2 instances of an emulator for tests: launch, wait for a state, log in, terminate."""

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


class _ConsoleHostKeyPolicy(paramiko.MissingHostKeyPolicy):
    def __init__(self, target: Target, node: str) -> None:
        self.keys, _ = host_keys.parse_console(host_keys.console_output(target, node))

    def missing_host_key(self, client: Any, hostname: str, key: paramiko.PKey) -> None:
        assert host_keys.HostKey(type=key.get_name(), text=key.get_base64()) in self.keys


class Ec2Nodes:
    """Launches instances with its own key pair."""

    def __init__(self, target: Target, folder: Path) -> None:
        self.target = target
        self.ec2 = target.client("ec2")
        self.identity = new_key(folder / "identity.pem")
        self.key_name = f"key-{time.monotonic_ns()}"
        public = asyncssh.read_private_key(self.identity).export_public_key("openssh")
        self.ec2.import_key_pair(KeyName=self.key_name, PublicKeyMaterial=public)
        self.launched: list[str] = []

    def launch(self, **options: Any) -> str:
        """Launch an instance, wait until it is running and return its id."""
        defaults = {"ImageId": "ami-12c6146b", "InstanceType": "m5.large", "KeyName": self.key_name}
        response = self.ec2.run_instances(MinCount=1, MaxCount=1, **(defaults | options))
        instance_id = str(response["Instances"][0]["InstanceId"])
        self.launched.append(instance_id)
        self.until(instance_id, "running")
        return instance_id

    def describe(self, node: str) -> dict[str, Any]:
        response = self.ec2.describe_instances(InstanceIds=[node])
        instance: dict[str, Any] = response["Reservations"][0]["Instances"][0]
        return instance

    def until(self, node: str, state: str, timeout_s: float = 60.0) -> float:
        """Wait until an instance is in a state; return the seconds that it took."""
        started = time.monotonic()
        while (now := self.describe(node)["State"]["Name"]) != state:
            assert time.monotonic() < started + timeout_s, now
            time.sleep(0.02)
        return time.monotonic() - started

    def address(self, node: str) -> str:
        return str(self.describe(node)["PublicIpAddress"])

    def client(self, node: str, user: str = "ec2-user", key: Path | None = None) -> Any:
        """Return a connected paramiko client; the host key is verified by the console output."""
        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(_ConsoleHostKeyPolicy(self.target, node))
        client.connect(
            self.address(node),
            port=self.target.ssh_port,
            username=user,
            pkey=paramiko.PKey.from_path(key or self.identity),
            allow_agent=False,
            look_for_keys=False,
            timeout=60,
        )
        return client

    def ssh(self, node: str, *options: str) -> list[str]:
        """Return the `ssh` command line without the command to run."""
        quiet = ("-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR")
        server = ("-o", "UserKnownHostsFile=/dev/null", "-p", str(self.target.ssh_port))
        destination = f"ec2-user@{self.address(node)}"
        return ["ssh", *quiet, *server, "-i", str(self.identity), *options, destination]

    def run(self, node: str, command: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Run a command with OpenSSH's client."""
        argv = [*self.ssh(node, *options), command]
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)

    def terminate(self) -> None:
        if self.launched:
            self.ec2.terminate_instances(InstanceIds=self.launched)
        for node in self.launched:
            self.until(node, "terminated")
        self.ec2.delete_key_pair(KeyName=self.key_name)


def new_key(path: Path) -> Path:
    """Write a new private key to a file."""
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(path)
    path.chmod(0o600)
    return path


def alive(pid: str) -> bool:
    """Return whether a process is running and not a zombie."""
    try:
        return psutil.Process(int(pid)).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def gone(pid: str, timeout_s: float = 60.0) -> bool:
    """Return whether a process ends within `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while alive(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
