"""Spark's history server of a cluster, which starts on the first request for it."""

from __future__ import annotations

import re
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from emrctl.emulator.hadoop import hadoop_conf, hadoop_jars
from emrctl.emulator.hadoop.yarn import Yarn
from emrctl.emulator.server import processes
from emrctl.errors import EmrctlError

_HISTORY_SERVER = "org.apache.spark.deploy.history.HistoryServer"
_FILTER = "org.apache.hadoop.security.authentication.server.AuthenticationFilter"
_HISTORY_STARTED = re.compile(r"started at http://[^:\s]+:(\d+)")
# Spark's own scripts open these.
_INTERNAL_PACKAGES = ("java.lang", "java.nio", "java.util", "java.net", "sun.nio.ch", "java.io")
_HISTORY_START_TIMEOUT_S = 40.0


@dataclass(kw_only=True, eq=False)
class HistoryServer:
    """The history server of a cluster; `directory` is the event-log directory that it reads.

    It is that of emrctl's own PySpark, which reads the logs of later versions: Hadoop's
    authentication filter does not work with the servlet API of Spark 4.
    """

    yarn: Yarn
    process: subprocess.Popen[bytes] | None = None
    directory: str = ""
    port: int | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str | None:
        """URL of the server, or None if it is not running."""
        running = self.process is not None and self.process.poll() is None
        return f"http://127.0.0.1:{self.port}" if running and self.port else None

    def start(self) -> str:
        """Start the server, or restart it if the event-log directory changed; return its URL."""
        with self.lock:
            if self.url is None or self.directory != self._event_log_dir():
                self._stop()
                self._start()
        return f"http://127.0.0.1:{self.port}"

    def _event_log_dir(self) -> str:
        """Return spark.eventLog.dir of the newest step that sets it, else the cluster's."""
        for step in reversed(self.yarn.cluster.steps):
            for argument in step.args:
                if argument.startswith("spark.eventLog.dir="):
                    return argument.partition("=")[2]
        defaults = self._spark_defaults()
        history_dir = defaults["spark.history.fs.logDirectory"]
        return defaults["spark.eventLog.dir"] if history_dir.startswith("file:") else history_dir

    def _spark_defaults(self) -> dict[str, str]:
        text = (self.yarn.folder / "conf/spark-defaults.conf").read_text(encoding="utf-8")
        return dict(line.split(" ", 1) for line in text.splitlines())

    def _stop(self) -> None:
        if self.process is not None:
            processes.kill_all([self.process])
        self.process = self.port = None

    def _start(self) -> None:
        primary = self.yarn.cluster.primary
        folder = self.yarn.context.node_folder(self.yarn.cluster, primary) / "mnt/var/log/spark"
        folder.mkdir(parents=True, exist_ok=True)
        # Deleted with a terminated cluster, whose history can still be shown.
        (self.yarn.context.node_folder(self.yarn.cluster, primary) / "tmp").mkdir(exist_ok=True)
        log = folder / "spark-history-server.log"
        log.unlink(missing_ok=True)
        properties = self._write_properties(folder)
        program = processes.ProcessSpec(
            argv=[
                *hadoop_jars.java(*_INTERNAL_PACKAGES),
                "-Xmx512m",
                *("-cp", self._class_path()),
                *(_HISTORY_SERVER, "--properties-file", str(properties)),
            ],
            cwd=folder,
            env=self.yarn.environment(primary),
            stdout=log,
            stderr=log,
        )
        self.process = processes.start(program)
        self.port = self._wait_for_port(log)

    def _class_path(self) -> str:
        """Return Spark's class path, preceded by Hadoop's authentication filter.

        The filter in Spark's shaded Hadoop does not work: it needs a shaded servlet API.
        """
        auth_jar = next((self.yarn.jars.folder / "yarn").glob("hadoop-auth-*.jar"))
        conf = self.yarn.folder / "conf"
        return f"{conf}:{auth_jar}:{hadoop_jars.spark_home()}/jars/*:{self.yarn.jars.s3a}"

    def _write_properties(self, folder: Path) -> Path:
        self.directory = self._event_log_dir()
        signing_key = self.yarn.credentials.signing_key
        properties = self._spark_defaults() | {
            "spark.history.fs.logDirectory": self.directory,
            "spark.history.ui.port": "0",
            "spark.history.fs.update.interval": "2s",
            "spark.ui.filters": _FILTER,
            # core-site.xml names the provider of the cluster's Spark.
            "spark.hadoop.fs.s3a.aws.credentials.provider": hadoop_conf.SDK_1_CREDENTIALS,
            **hadoop_conf.filter_settings(signing_key, f"spark.{_FILTER}.param."),
        }
        path = folder / "history.conf"
        path.touch(mode=0o600)
        lines = [f"{key} {value}\n" for key, value in sorted(properties.items())]
        path.write_text("".join(lines), encoding="utf-8")
        return path

    def _wait_for_port(self, log: Path) -> int:
        deadline = time.monotonic() + _HISTORY_START_TIMEOUT_S
        while time.monotonic() < deadline and self.process and self.process.poll() is None:
            started = _HISTORY_STARTED.search(log.read_text(encoding="utf-8", errors="replace"))
            if started:
                return int(started[1])
            time.sleep(0.05)
        raise EmrctlError(f"the Spark history server did not start: see {log}")
