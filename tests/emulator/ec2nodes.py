"""Instances of an emulator as a test needs them: launched with a key, waited for, logged in to."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import asyncssh
import paramiko

from emrctl.reach import hostkeys
from emrctl.target import Target


class _AsItsConsoleSays(paramiko.MissingHostKeyPolicy):
    def __init__(self, target: Target, node: str) -> None:
        self.keys, _ = hostkeys.told(hostkeys.console(target, node))

    def missing_host_key(self, client: Any, hostname: str, key: paramiko.PKey) -> None:
        assert hostkeys.HostKey(type=key.get_name(), text=key.get_base64()) in self.keys


class Ec2Nodes:
    """Launches instances with a key pair of its own and ends them all."""

    def __init__(self, target: Target, folder: Path) -> None:
        self.target = target
        self.ec2 = target.client("ec2")
        self.identity = folder / "identity.pem"
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(self.identity)
        self.identity.chmod(0o600)
        self.key_name = f"key-{time.monotonic_ns()}"
        self.ec2.import_key_pair(
            KeyName=self.key_name, PublicKeyMaterial=key.export_public_key("openssh")
        )
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

    def client(self, node: str, user: str = "ec2-user", key: Path | None = None) -> Any:
        """A paramiko client that has logged in."""
        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(_AsItsConsoleSays(self.target, node))
        client.connect(
            self.described(node)["PublicIpAddress"],
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
        address = self.described(node)["PublicIpAddress"]
        quiet = ("-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR")
        where = ("-o", "UserKnownHostsFile=/dev/null", "-p", str(self.target.ssh_port))
        return ["ssh", *quiet, *where, "-i", str(self.identity), *options, f"ec2-user@{address}"]

    def end(self) -> None:
        if self.launched:
            self.ec2.terminate_instances(InstanceIds=self.launched)
        for node in self.launched:
            self.until(node, "terminated")
        self.ec2.delete_key_pair(KeyName=self.key_name)
