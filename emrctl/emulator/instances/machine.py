"""The machine of an emulated EC2 instance: its folder, its processes and its console output.

A machine is not isolated: the folder only keeps the files of instances apart, and an environment
variable marks their processes, so that these can be killed.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emrctl.emulator.cluster import node_folder
from emrctl.emulator.cluster.node_folder import EmulatorContext
from emrctl.emulator.hadoop import hadoop_jars, ui_filter
from emrctl.emulator.server import processes

USER = "ec2-user"
# Programs of Amazon Linux; Spark and Hadoop are installed by the user.
SHIMS: Mapping[str, tuple[str, ...]] = {
    "sudo": node_folder.SHIMS["sudo"],
    "aws": node_folder.SHIMS["aws"],
    "unavailable": node_folder.SHIMS["unavailable"],
    "power": node_folder.SHIMS["refuse"],
}
_SIGTERM_GRACE_S = 2.0
_CONSOLE_BYTES = 64 * 1024


@dataclass(kw_only=True, eq=False)
class Machine:
    """The machine of an instance; `public_ip` changes when the instance is restarted."""

    context: EmulatorContext
    id: str
    region: str
    private_ip: str
    public_ip: str | None = None
    public_key: str | None = None
    user_data: bytes = b""
    host_keys: tuple[Any, ...] = ()

    @property
    def root(self) -> Path:
        """Folder of the instance."""
        return self.context.instance_folder(self.id)

    @property
    def home(self) -> Path:
        """Home of ec2-user."""
        return self.root / "home"

    @property
    def addresses(self) -> tuple[str, ...]:
        """Private and public address."""
        return (self.private_ip,) if self.public_ip is None else (self.private_ip, self.public_ip)

    @property
    def hostname(self) -> str:
        """Host name, as EC2 derives it from the private address."""
        return f"ip-{self.private_ip.replace('.', '-')}"

    @property
    def _cloud_init_log(self) -> Path:
        return self.root / "var/log/cloud-init-output.log"

    def prepare(self) -> None:
        """Create the folder and the SSH host keys."""
        import asyncssh

        algorithms = ("ssh-ed25519", "ecdsa-sha2-nistp256")
        comment = f"root@{self.hostname}"
        self.host_keys = tuple(asyncssh.generate_private_key(one, comment) for one in algorithms)
        node_folder.create(self.root, self.region, SHIMS)
        self._cloud_init_log.parent.mkdir(parents=True, exist_ok=True)
        # Login shells read /etc/profile first, which sets PATH.
        profile = 'export PATH="$EMRCTL_NODE_PATH"\n. ~/.bashrc\n'
        (self.home / ".bash_profile").write_text(profile, encoding="utf-8")
        prompt = f"PS1='[{USER}@{self.hostname} \\W]\\$ '\n"
        (self.home / ".bashrc").write_text(prompt, encoding="utf-8")

    def environment(self) -> dict[str, str]:
        """Return the environment variables of the instance's processes, without secrets."""
        variables = node_folder.common_environment(
            self.context,
            root=self.root,
            user=USER,
            region=self.region,
            java=hadoop_jars.java_home(),
            address=self.private_ip,
        )
        variables["EMRCTL_NODE_PATH"] = variables["PATH"]
        variables["EMRCTL_UI_FILTER"] = str(ui_filter.SOURCES)
        variables["EMRCTL_UI_COMPILER"] = str(hadoop_jars.spark_home())
        variables["EMRCTL_JAVA_OPTIONS"] = " ".join(hadoop_jars.JVM_OPTIONS)
        variables[processes.INSTANCE_MARK] = self.id
        jars = hadoop_jars.cached()
        return variables | ({"EMRCTL_JARS": str(jars.folder / "s3a")} if jars else {})

    def run_user_data(self) -> None:
        """Start user data in the background if it is a script, as cloud-init does."""
        log = self._cloud_init_log
        if not self.user_data.startswith(b"#!"):
            if self.user_data:
                message = "cloud-init: user data was not run: it is not a script\n"
                log.write_text(message, encoding="utf-8")
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
        threading.Thread(target=_log_exit_code, args=(process, log), daemon=True).start()

    def kill_processes(self) -> None:
        """Terminate all processes of the instance, with SIGKILL after 2 s."""
        processes.kill_marked(processes.INSTANCE_MARK, self.id, grace_s=_SIGTERM_GRACE_S)

    def delete_files(self) -> None:
        """Delete the instance's files except its logs."""
        for name in ("home", "tmp", "venv", "bin"):
            shutil.rmtree(self.root / name, ignore_errors=True)

    def console_output(self) -> str:
        """Return the output of user data and the public host keys, as cloud-init prints them."""
        output = b""
        with contextlib.suppress(FileNotFoundError):
            output = self._cloud_init_log.read_bytes()
        keys = "\n".join(key.export_public_key().decode().strip() for key in self.host_keys)
        if keys:
            begin, end = (f"-----{word} SSH HOST KEY KEYS-----" for word in ("BEGIN", "END"))
            keys = f"{begin}\n{keys}\n{end}"
        boot = f"cloud-init: {self.id} is up (local)"
        printed = output.decode(errors="replace").rstrip("\n")
        text = f"{boot}\n{printed}\n{keys}\n{self.hostname} login: "
        return text[-_CONSOLE_BYTES:]


def _log_exit_code(process: subprocess.Popen[bytes], log: Path) -> None:
    code = process.wait()
    processes.forget(process)
    with contextlib.suppress(OSError), log.open("a", encoding="utf-8") as file:
        file.write(f"cloud-init: user data ended with exit code {code}\n")
