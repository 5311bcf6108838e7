"""Spark's history server of a cluster, started when somebody first asks for it."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from emrctl.emulator.hadoop import auth, hadoop_jars
from emrctl.emulator.hadoop.yarn import Yarn
from emrctl.emulator.server import processes
from emrctl.errors import EmrctlError

_MAIN = "org.apache.spark.deploy.history.HistoryServer"
_FILTER = "org.apache.hadoop.security.authentication.server.AuthenticationFilter"
_STARTED = re.compile(r"started at http://[^:\s]+:(\d+)")
_TIMEOUT_S = 40.0


@dataclass(kw_only=True, eq=False)
class HistoryServer:
    """The history server of one YARN's applications."""

    yarn: Yarn
    process: subprocess.Popen[bytes] | None = None
    directory: str = ""
    port: int | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def running(self) -> str | None:
        """Where it answers, None where it does not run."""
        alive = self.process is not None and self.process.poll() is None
        return f"http://127.0.0.1:{self.port}" if alive and self.port else None

    def address(self) -> str:
        """Where it answers; it runs from now on, over the event logs that steps write now."""
        with self.lock:
            if self.running is None or self.directory != self.events():
                self._stop()
                self._start()
        return f"http://127.0.0.1:{self.port}"

    def events(self) -> str:
        """Where event logs are: where the newest step that says so writes, else the default."""
        for step in reversed(self.yarn.cluster.steps):
            for text in step.args:
                if text.startswith("spark.eventLog.dir="):
                    return text.partition("=")[2]
        defaults = self._defaults()
        chosen = defaults["spark.history.fs.logDirectory"]
        return defaults["spark.eventLog.dir"] if chosen.startswith("file:") else chosen

    def _defaults(self) -> dict[str, str]:
        text = (self.yarn.folder / "conf/spark-defaults.conf").read_text(encoding="utf-8")
        return dict(line.split(" ", 1) for line in text.splitlines())

    def _stop(self) -> None:
        if self.process is not None:
            processes.signal_group(self.process, signal.SIGKILL)
            self.process.wait()
        self.process = self.port = None

    def _start(self) -> None:
        primary = self.yarn.cluster.primary
        folder = self.yarn.place.node(self.yarn.cluster, primary) / "mnt/var/log/spark"
        folder.mkdir(parents=True, exist_ok=True)
        log = folder / "spark-history-server.log"
        log.unlink(missing_ok=True)
        settings = self._properties(folder)
        program = processes.ProcessSpec(
            argv=[
                str(hadoop_jars.java_home() / "bin" / "java"),
                *hadoop_jars.JVM_OPTIONS,
                *_opens(),
                "-Xmx512m",
                *("-cp", self._class_path()),
                *(_MAIN, "--properties-file", str(settings)),
            ],
            cwd=folder,
            env=self.yarn.environment(primary),
            stdout=log,
            stderr=log,
        )
        self.process = processes.start(program)
        self.port = self._await_port(log)

    def _class_path(self) -> str:
        """Spark's, with Hadoop's own filter before the one in Spark's shaded Hadoop.

        The shaded one wants a shaded servlet API, which Spark's server does not speak.
        """
        auth = next((self.yarn.hadoop.folder / "yarn").glob("hadoop-auth-*.jar"))
        conf = self.yarn.folder / "conf"
        return f"{conf}:{auth}:{hadoop_jars.spark_home()}/jars/*:{self.yarn.hadoop.s3a}"

    def _properties(self, folder: Path) -> Path:
        """spark-defaults.conf's words, with the door before the pages."""
        self.directory = self.events()
        filters = auth.settings(self.yarn.secrets.signing, f"spark.{_FILTER}.param.")
        found = self._defaults() | {
            "spark.history.fs.logDirectory": self.directory,
            "spark.history.ui.port": "0",
            "spark.history.fs.update.interval": "2s",
            "spark.ui.filters": _FILTER,
            **filters,
        }
        path = folder / "history.conf"
        path.touch(mode=0o600)
        lines = [f"{key} {value}\n" for key, value in sorted(found.items())]
        path.write_text("".join(lines), encoding="utf-8")
        return path

    def _await_port(self, log: Path) -> int:
        deadline = time.monotonic() + _TIMEOUT_S
        while time.monotonic() < deadline and self.process and self.process.poll() is None:
            started = _STARTED.search(log.read_text(encoding="utf-8", errors="replace"))
            if started:
                return int(started[1])
            time.sleep(0.05)
        raise EmrctlError(f"Spark's history server did not start: see {log}")


def _opens() -> list[str]:
    """What Spark opens of Java's modules for itself when it is started by its own scripts."""
    if hadoop_jars.version(hadoop_jars.java_home()) == 8:
        return []
    packages = ("java.lang", "java.nio", "java.util", "java.net", "sun.nio.ch", "java.io")
    return [text for one in packages for text in ("--add-opens", f"java.base/{one}=ALL-UNNAMED")]
