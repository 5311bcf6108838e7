"""Steps: the command that EMR would run on the primary node, run there, with EMR's logs."""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from emrctl.emulator.cluster import bootstrap_actions, s3_logs
from emrctl.emulator.cluster.model import EmulatedCluster, EmulatedStep
from emrctl.emulator.cluster.runtime import StepResult
from emrctl.emulator.hadoop.yarn import Yarn
from emrctl.emulator.server import processes

_APPLICATION = re.compile(rb"application_\d+_\d{4,}")
_SUBMITTED = re.compile(rb"Submitted application (application_\d+_\d{4,})")
_INTERRUPT_GRACE_S = 10.0


@dataclass(frozen=True)
class StepFolders:
    """A step's folders on the primary node."""

    logs: Path
    work: Path


def place(yarn: Yarn, step: EmulatedStep) -> StepFolders:
    """Where the step's logs and its working directory are; both exist."""
    root = yarn.place.node(yarn.cluster, yarn.cluster.primary) / "mnt/var"
    found = StepFolders(root / "log/hadoop/steps" / step.id, root / "lib/hadoop/steps" / step.id)
    for folder in (found.logs, found.work):
        folder.mkdir(parents=True, exist_ok=True)
    return found


def run(yarn: Yarn, step: EmulatedStep) -> StepResult:
    """The step has run to its end, and its logs and its containers' lie on S3."""
    where = place(yarn, step)
    environment = yarn.environment(yarn.cluster.primary)
    try:
        argv = command(step, where.work, environment["PATH"])
    except bootstrap_actions.UnfetchableError as error:
        return _unrunnable(yarn.cluster, step, f"{error} could not be fetched", 1)
    if argv is None:
        return _unrunnable(
            yarn.cluster, step, f"'{(step.args or [''])[0]}' was not found on the primary node", 127
        )
    head = s3_logs.controller_head(step, argv, str(where.logs))
    (where.logs / "controller").write_bytes(head)
    program = processes.ProcessSpec(
        argv=argv,
        cwd=where.work,
        env=environment | {processes.SCOPE_MARK: step.id, "EMR_STEP_ID": step.id},
        stdout=where.logs / "stdout",
        stderr=where.logs / "stderr",
    )
    code = bootstrap_actions.finish(program, step.id, timeout_s=None)
    texts = s3_logs.StepLogs(
        exit_code=code,
        stdout=(where.logs / "stdout").read_bytes(),
        stderr=(where.logs / "stderr").read_bytes(),
        controller=head,
    )
    for application in applications(texts.stdout + texts.stderr):
        upload_containers(yarn, application)
    return s3_logs.step(yarn.cluster, step, texts)


def _unrunnable(cluster: EmulatedCluster, step: EmulatedStep, why: str, code: int) -> StepResult:
    text = f"emrctl: {why}\n".encode()
    return s3_logs.step(cluster, step, s3_logs.StepLogs(exit_code=code, stderr=text))


def command(step: EmulatedStep, work: Path, path: str) -> list[str] | None:
    """What EMR would run for the step; None where the node has no such program."""
    jar = str(step.jar["Jar"])
    name = jar.rsplit("/", 1)[-1]
    if name == "command-runner.jar":
        found = shutil.which(step.args[0], path=path) if step.args else None
        return [found, *step.args[1:]] if found else None
    if name == "script-runner.jar":
        if not step.args:
            return None
        return [*_local_script(step.args[0], work), *step.args[1:]]
    target = work / name
    target.write_bytes(bootstrap_actions.fetch(jar))
    hadoop = shutil.which("hadoop", path=path)
    main = [step.jar["MainClass"]] if step.jar.get("MainClass") else []
    return [hadoop, "jar", str(target), *main, *step.args] if hadoop else None


def _local_script(address: str, work: Path) -> list[str]:
    target = work / address.rsplit("/", 1)[-1]
    content = bootstrap_actions.fetch(address)
    target.write_bytes(content)
    target.chmod(0o755)
    return [str(target)] if content.startswith(b"#!") else ["bash", str(target)]


def cancel(yarn: Yarn, step: EmulatedStep, *, kill: bool) -> None:
    """The step's processes have been interrupted or killed, its YARN applications killed."""
    where = place(yarn, step)
    if kill:
        processes.kill_marked(processes.SCOPE_MARK, step.id)
    else:
        processes.kill_marked(processes.SCOPE_MARK, step.id, grace_s=_INTERRUPT_GRACE_S)
    for application in submitted(where):
        yarn.kill(application)
    _await_finished(yarn, submitted(where))


def _await_finished(yarn: Yarn, wanted: list[str]) -> None:
    deadline = time.monotonic() + 10
    while set(wanted) & set(yarn.applications()) and time.monotonic() < deadline:
        time.sleep(0.1)


def submitted(where: StepFolders) -> list[str]:
    """The YARN applications that the step says it submitted."""
    found = []
    for name in ("stderr", "stdout"):
        with contextlib.suppress(FileNotFoundError):
            found += _SUBMITTED.findall((where.logs / name).read_bytes())
    return sorted({one.decode() for one in found})


def applications(text: bytes) -> list[str]:
    """The YARN applications that a text names."""
    return sorted({one.decode() for one in _APPLICATION.findall(text)})


def upload_containers(yarn: Yarn, application: str) -> None:
    """The logs of the application's containers lie on S3, as EMR puts them there."""
    for node in yarn.cluster.nodes:
        folder = yarn.place.node(yarn.cluster, node) / "containers" / application
        for log in sorted(folder.glob("*/*")):
            if log.is_file():
                key = f"containers/{application}/{log.parent.name}/{log.name}"
                s3_logs.put(yarn.cluster, key, log.read_bytes())


def upload_rest(yarn: Yarn) -> None:
    """Every container's log and every daemon's lies on S3."""
    for node in yarn.cluster.nodes:
        root = yarn.place.node(yarn.cluster, node)
        for folder in sorted(root.glob("containers/application_*")):
            upload_containers(yarn, folder.name)
        for log in sorted((root / "mnt/var/log/hadoop-yarn").glob("*.log")):
            key = f"node/{node.ec2_id}/applications/hadoop-yarn/{log.name}"
            s3_logs.put(yarn.cluster, key, log.read_bytes())
