"""An EC2 instance as it is here: a folder, programs in it, and what its console shows.

As with EMR's nodes nothing is isolated: the folder sees to it that one instance's files are not
another's, and a mark in the environment that whatever runs there is found again.
"""

from __future__ import annotations

import base64
import contextlib
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emrctl.emulator.cluster import node_folder
from emrctl.emulator.cluster.node_folder import EmulatorContext
from emrctl.emulator.hadoop import hadoop_jars
from emrctl.emulator.server import processes

USER = "ec2-user"
# What an instance has of Amazon Linux; Spark and Hadoop come with whoever installs them.
SHIMS: Mapping[str, tuple[str, ...]] = {
    "sudo": node_folder.SHIMS["sudo"],
    "unavailable": node_folder.SHIMS["unavailable"],
    "power": node_folder.SHIMS["refuse"],
}
_STOP_GRACE_S = 2.0
_CONSOLE_BYTES = 64 * 1024


@dataclass(kw_only=True, eq=False)
class Machine:
    """One instance: who it is, who may log in, and its addresses, of which `public` changes."""

    place: EmulatorContext
    id: str
    region: str
    private: str
    public: str | None = None
    public_key: str | None = None
    user_data: bytes = b""
    host_keys: tuple[Any, ...] = ()

    @property
    def root(self) -> Path:
        """The instance's folder."""
        return self.place.instance(self.id)

    @property
    def home(self) -> Path:
        """The user's home."""
        return self.root / "home"

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where the instance answers."""
        return (self.private,) if self.public is None else (self.private, self.public)

    @property
    def comment(self) -> str:
        """What the instance calls itself in its host keys."""
        return f"root@ip-{self.private.replace('.', '-')}"

    def prepare(self) -> None:
        """The folder has a home, a Python and programs, and the SSH server its keys."""
        import asyncssh

        kinds = ("ssh-ed25519", "ecdsa-sha2-nistp256")
        self.host_keys = tuple(asyncssh.generate_private_key(k, self.comment) for k in kinds)
        node_folder.furnish(self.root, self.region, SHIMS)
        (self.root / "var/log").mkdir(parents=True, exist_ok=True)
        # /etc/profile, which login shells read first, sets a PATH of its own.
        profile = 'export PATH="$EMRCTL_NODE_PATH"\n. ~/.bashrc\n'
        (self.home / ".bash_profile").write_text(profile, encoding="utf-8")
        prompt = f"PS1='[{USER}@{self.comment[5:]} \\W]\\$ '\n"
        (self.home / ".bashrc").write_text(prompt, encoding="utf-8")

    def environment(self) -> dict[str, str]:
        """The environment of whatever runs on the instance; no secret is in it."""
        seat = node_folder.Seat(root=self.root, user=USER, region=self.region, address=self.private)
        found = node_folder.common_environment(self.place, seat)
        jars = hadoop_jars.cached()
        return (
            found
            | {"EMRCTL_NODE_PATH": found["PATH"], processes.INSTANCE_MARK: self.id}
            | {"EMRCTL_JAVA_OPTIONS": " ".join(hadoop_jars.JVM_OPTIONS)}
            | ({"EMRCTL_JARS": str(jars.folder / "s3a")} if jars else {})
        )

    def first_boot(self) -> None:
        """User data that is a script begins to run, as cloud-init has it."""
        log = self.root / "var/log/cloud-init-output.log"
        if not self.user_data.startswith(b"#!"):
            if self.user_data:
                log.write_text("cloud-init: user data is no script: not run\n", encoding="utf-8")
            return
        script = self.root / "var/user-data"
        script.write_bytes(self.user_data)
        script.chmod(0o700)
        program = processes.ProcessSpec(
            argv=[str(script)], cwd=self.root, env=self.environment(), stdout=log, stderr=log
        )
        try:
            process = processes.start(program)
        except OSError as error:
            log.write_text(f"user data: {error.strerror}\n", encoding="utf-8")
            return
        threading.Thread(target=_await, args=(process, log), daemon=True).start()

    def halt(self) -> None:
        """Nothing runs on the instance: programs have been asked to end, then made to."""
        processes.kill_marked(processes.INSTANCE_MARK, self.id, grace_s=_STOP_GRACE_S)

    def discard(self) -> None:
        """The instance's bulk is off the disk; its logs are left to be looked at."""
        for bulk in ("home", "tmp", "venv", "bin"):
            hadoop_jars.remove_quietly(self.root / bulk)

    def console(self) -> str:
        """What the instance has printed: user data's output, and host keys as cloud-init does."""
        said = b""
        with contextlib.suppress(FileNotFoundError):
            said = (self.root / "var/log/cloud-init-output.log").read_bytes()
        lines = [f"cloud-init: {self.id} is up (local)", said.decode(errors="replace").rstrip("\n")]
        text = "\n".join([*lines, _told_keys(self.host_keys), f"{self.comment[5:]} login: "])
        return text[-_CONSOLE_BYTES:]


def _await(process: subprocess.Popen[bytes], log: Path) -> None:
    code = process.wait()
    processes.forget(process)
    with contextlib.suppress(OSError), log.open("a", encoding="utf-8") as file:
        file.write(f"cloud-init: user data ended with exit code {code}\n")


def _told_keys(keys: tuple[Any, ...]) -> str:
    if not keys:
        return ""
    public = [key.export_public_key().decode().strip() for key in keys]
    return "\n".join(
        ["-----BEGIN SSH HOST KEY KEYS-----", *public, "-----END SSH HOST KEY KEYS-----"]
    )


def decoded(user_data: str | None) -> bytes:
    """User data as EC2 keeps it, base64, in bytes."""
    return base64.b64decode(user_data) if user_data else b""
