"""Spark's history server of a cluster, started when somebody first asks for it."""

from __future__ import annotations

import re
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from emrctl.emulator import door, java, processes
from emrctl.emulator.yarn import Yarn
from emrctl.errors import EmrctlError

_MAIN = "org.apache.spark.deploy.history.HistoryServer"
_FILTER = "org.apache.hadoop.security.authentication.server.AuthenticationFilter"
_STARTED = re.compile(r"started at http://[^:\s]+:(\d+)")
_TIMEOUT_S = 40.0


@dataclass(kw_only=True, eq=False)
class History:
    """The history server of one YARN's applications."""

    yarn: Yarn
    process: subprocess.Popen[bytes] | None = None
    port: int | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def running(self) -> str | None:
        """Where it answers, None where it does not run."""
        alive = self.process is not None and self.process.poll() is None
        return f"http://127.0.0.1:{self.port}" if alive and self.port else None

    def address(self) -> str:
        """Where it answers; it runs from now on."""
        with self.lock:
            if self.running is None:
                self._start()
        return f"http://127.0.0.1:{self.port}"

    def _start(self) -> None:
        primary = self.yarn.cluster.primary
        folder = self.yarn.place.node(self.yarn.cluster, primary) / "mnt/var/log/spark"
        folder.mkdir(parents=True, exist_ok=True)
        log = folder / "spark-history-server.log"
        log.unlink(missing_ok=True)
        settings = self._properties(folder)
        spark = java.spark_home()
        program = processes.Program(
            argv=[
                str(java.java_home() / "bin" / "java"),
                *java.JVM_OPTIONS,
                *_opens(),
                "-Xmx512m",
                *("-cp", f"{self.yarn.folder / 'conf'}:{spark}/jars/*:{self.yarn.hadoop.s3a}"),
                *(_MAIN, "--properties-file", str(settings)),
            ],
            cwd=folder,
            env=self.yarn.environment(primary),
            stdout=log,
            stderr=log,
        )
        self.process = processes.start(program)
        self.port = self._await_port(log)

    def _properties(self, folder: Path) -> Path:
        """spark-defaults.conf's words, with the door before the pages.

        Event logs are where the cluster's Spark writes them, unless the user says otherwise.
        """
        text = (self.yarn.folder / "conf/spark-defaults.conf").read_text(encoding="utf-8")
        found = dict(line.split(" ", 1) for line in text.splitlines())
        events = found["spark.eventLog.dir"]
        if found["spark.history.fs.logDirectory"].startswith("file:"):
            found["spark.history.fs.logDirectory"] = events
        filters = door.settings(self.yarn.secrets.signing, f"spark.{_FILTER}.param.")
        found |= {
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
    if java.version(java.java_home()) == 8:
        return []
    packages = ("java.lang", "java.nio", "java.util", "java.net", "sun.nio.ch", "java.io")
    return [text for one in packages for text in ("--add-opens", f"java.base/{one}=ALL-UNNAMED")]
