"""Run the failing jobs of the corpus and print how many causes `emrctl` names correctly.

`python -m tests.runs.failures.record [KIND|CASE...]` runs them on the emulator, prints the table
and records their logs, which the unit test replays.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from emrctl.emulator.hadoop import hadoop_jars
from emrctl.runs import lifecycle, submission
from emrctl.runs.record import Run
from emrctl.runs.store import RunFiles
from emrctl.runs.workspace import Workspace
from emrctl.spec import SparkSettings
from emrctl.spec import config as configuration
from tests.runs.failures.case import CLUSTER, EC2, KINDS, is_right
from tests.runs.failures.corpus import CASES
from tests.runs.failures.corpus import kinds as kinds_of

HERE = Path(__file__).resolve().parent
RECORDED = HERE / "recorded"
CONCURRENCY = 2
EMR_YAML = f"""\
project: failures
cluster:
  core: {{type: m5.xlarge, count: 2}}
  step_concurrency: {CONCURRENCY}
"""
EC2_YAML = f"""\
project: failures
cluster:
  name: plain
  kind: ec2
  primary: {{type: m5.xlarge}}
  worker: {{type: m5.xlarge, count: 2, spot: false}}
  step_concurrency: {CONCURRENCY}
"""
SETTINGS = {"executors": 1, "executor_cores": 1, "executor_memory": "512m", "partitions": 2}
RUN = "run.txt"
# Recorded with the application master's second attempt.
_RETRIED = frozenset({"own_master", "exit_code"})


@dataclass(frozen=True)
class Project:
    """The project of the recordings in a folder of its own."""

    folder: Path

    def emrctl(self, *arguments: str) -> None:
        """Run a command; raise if it fails."""
        command = [sys.executable, "-m", "emrctl.cli", *arguments]
        subprocess.run(command, cwd=self.folder, check=True, stdin=subprocess.DEVNULL)

    def workspace(self, where: str) -> Workspace:
        """Return the project with the cluster of that kind."""
        name = "ec2.yaml" if where == EC2 else "emrctl.yaml"
        return Workspace(configuration.load(self.folder / name))


@contextmanager
def project(kinds: set[str]) -> Iterator[Project]:
    """Create an emulator and the clusters; delete them at the end."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    with tempfile.TemporaryDirectory(prefix="failures-") as folder:
        os.environ.setdefault("EMRCTL_CACHE", str(Path.home() / ".emrctl" / "cache"))
        os.environ["EMRCTL_HOME"] = f"{folder}/home"
        created = Project(Path(folder))
        (created.folder / "emrctl.yaml").write_text(EMR_YAML)
        (created.folder / "ec2.yaml").write_text(EC2_YAML)
        created.emrctl("local", "up")
        try:
            if kinds - {EC2}:
                created.emrctl("up")
            if EC2 in kinds:
                created.emrctl("up", "--config", "ec2.yaml")
            yield created
        finally:
            created.emrctl("local", "down")


def run(workspace: Workspace, folder: Path, name: str, where: str) -> Run:
    """Submit a case and return the finished run."""
    case, cluster = CASES[name], workspace.cluster()

    def fill(text: str) -> str:
        return text.replace("{bucket}", cluster.bucket).replace("{id}", f"{name}-{where}")

    script = fill(case.script)
    if case.program:
        path = folder / where / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(fill(case.program))
        script = str(path)
    conf = {fill(key): fill(value) for key, value in case.conf.items()}
    if where == CLUSTER and name not in _RETRIED:  # YARN runs a failed driver twice
        conf["spark.yarn.maxAppAttempts"] = "1"
    mode = {} if where == EC2 else {"deploy_mode": where}
    settings = {**SETTINGS, **mode, **case.settings, "conf": conf}
    order = submission.Submission(
        job=script,
        arguments=tuple(fill(item) for item in case.arguments),
        settings=SparkSettings.model_validate(settings),
    )
    submitted = submission.submit(workspace, order, cluster)
    started = threading.Event()

    def report(current: Run, _progress: object) -> None:
        if case.cause is None and current.state == "RUNNING" and not started.is_set():
            threading.Event().wait(10)
            started.set()
            lifecycle.cancel(workspace, current)

    return lifecycle.wait(workspace, submitted, report, timeout_s=300)


# --- recordings -----------------------------------------------------------------------------------

_INFO = re.compile(rb"^\d\d/\d\d/\d\d \d\d:\d\d:\d\d (?:INFO|DEBUG) ([\w$]+):")
# Loggers whose messages the explanation reads, or must not take for a cause.
_KEPT = frozenset({b"ApplicationMaster", b"Client", b"YarnAllocator", b"SparkContext"})
_EDGE, _FRAMES = 3, 6
_HEX = re.compile(rb"\b[0-9a-f]{32,}\b")


def trimmed(log: bytes, places: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Return a log without most INFO messages and stack frames, and without local paths."""
    lines, kept, dropping, frames = log.splitlines(keepends=True), [], False, 0
    for number, line in enumerate(lines):
        match = _INFO.match(line)
        if match:
            inside = _EDGE <= number < len(lines) - _EDGE
            dropping = inside and match[1] not in _KEPT
        elif not line.startswith((b" ", b"\t")):
            dropping = False
        frames = frames + 1 if line.startswith(b"\tat ") else 0
        if not dropping and frames <= _FRAMES:
            kept.append(line)
    text = b"".join(kept)
    for place, name in places:
        text = text.replace(place, name)
    text = re.sub(rb"\b" + re.escape(os.uname().nodename.encode()) + rb"\b", b"localhost", text)
    return _HEX.sub(b"0" * 32, text)


def places(folder: Path) -> list[tuple[bytes, bytes]]:
    """Return paths of this machine and what they are replaced with, the longer ones first."""
    names = {
        str(folder): "/emr",
        str(hadoop_jars.spark_home()): "/usr/lib/spark",
        str(hadoop_jars.java_home()): "/usr/lib/jvm",
        os.environ["EMRCTL_CACHE"]: "/usr/lib/hadoop",
        str(HERE.parents[2]): "/emrctl",
        sys.prefix: "/venv",
        sys.base_prefix: "/python",
        str(Path.home()): "/home",
    }
    ordered = sorted(names.items(), key=lambda item: -len(item[0]))
    return [(place.encode(), name.encode()) for place, name in ordered]


def stored_logs(workspace: Workspace, finished: Run) -> dict[str, bytes]:
    """Return the logs in the run's folder by name."""
    files = workspace.store.files(finished.id)
    return {name: files.read(name, RunFiles.LOGS) or b"" for name in files.names(RunFiles.LOGS)}


def read(where: str) -> dict[str, dict[str, bytes]]:
    """Return the recorded files of each case; `run.txt` is the run's state."""
    recorded: dict[str, dict[str, bytes]] = {}
    path = RECORDED / f"{where}.tar.xz"
    if path.is_file():
        with tarfile.open(path) as archive:
            for member in archive:
                name, _, log = member.name.partition("/")
                file = archive.extractfile(member)
                recorded.setdefault(name, {})[log] = file.read() if file else b""
    return recorded


def write(where: str, recorded: dict[str, dict[str, bytes]]) -> None:
    """Write the recorded files of all cases."""
    RECORDED.mkdir(exist_ok=True)
    with tarfile.open(RECORDED / f"{where}.tar.xz", "w:xz") as archive:
        for name, logs in sorted(recorded.items()):
            for log, text in sorted(logs.items()):
                member = tarfile.TarInfo(f"{name}/{log}")
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text))


def main(words: Sequence[str]) -> int:
    """Run the cases and print the table; return 1 if a cause is wrong."""
    unknown = {*words} - {*KINDS, *CASES}
    if unknown:
        known = ", ".join((*KINDS, *CASES))
        sys.stderr.write(f"no kind or case is called {min(unknown)}; known are {known}\n")
        return 2
    kinds = [kind for kind in KINDS if kind in words] or list(KINDS)
    names = [name for name in CASES if name in words] or list(CASES)
    pairs = [(name, where) for where in kinds for name in names if where in kinds_of(name)]
    recorded = {where: read(where) for where in kinds}
    right = 0
    with project(set(kinds)) as created, ThreadPoolExecutor(CONCURRENCY) as pool:

        def each(pair: tuple[str, str]) -> tuple[str, str, Run | None]:
            name, where = pair
            workspace = created.workspace(where)
            try:
                finished = run(workspace, created.folder, name, where)
            except Exception as error:  # noqa: BLE001 - one case must not end the others
                sys.stderr.write(f"{name} on {where}: {error!r}\n")
                return name, where, None
            logs = stored_logs(workspace, finished)
            local = places(created.folder)
            files = {
                log: trimmed(text, local)
                for log, text in logs.items()
                if not log.endswith("directory.info")
            }
            files[RUN] = finished.state.encode()
            recorded[where][name] = files
            return name, where, finished

        for name, where, finished in pool.map(each, pairs):
            correct = finished is not None and is_right(CASES[name], finished.failure)
            right += correct
            cause = finished.failure if finished else "not run"
            word = "right" if correct else "WRONG"
            sys.stdout.write(f"{word}  {where:8}{name:26}{cause}\n")
            sys.stdout.flush()
            write(where, recorded[where])
    sys.stdout.write(f"{right} of {len(pairs)} causes are right\n")
    return int(right < len(pairs))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
