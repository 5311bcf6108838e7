"""Runs steps on the primary node: the command EMR would run, its logs and its cancellation."""

from __future__ import annotations

import contextlib
import re
import shutil
from pathlib import Path

from emrctl.aws.polling import poll_until
from emrctl.emulator.cluster import s3_files
from emrctl.emulator.cluster.model import EmulatedStep, StepResult
from emrctl.emulator.cluster.s3_files import StepOutput
from emrctl.emulator.hadoop.yarn import Yarn
from emrctl.emulator.server import processes

_APPLICATION = re.compile(rb"application_\d+_\d{4,}")
_SUBMITTED = re.compile(rb"Submitted application (application_\d+_\d{4,})")
_SIGTERM_GRACE_S = 10.0


def _create_folders(yarn: Yarn, step: EmulatedStep) -> tuple[Path, Path]:
    """Create the folders of a step's logs and working directory on the primary node."""
    root = yarn.context.node_folder(yarn.cluster, yarn.cluster.primary) / "mnt/var"
    folders = root / "log/hadoop/steps" / step.id, root / "lib/hadoop/steps" / step.id
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    return folders


def run(yarn: Yarn, step: EmulatedStep) -> StepResult:
    """Run a step; upload its logs and those of its YARN containers."""
    logs, work = _create_folders(yarn, step)
    environment = yarn.environment(yarn.cluster.primary)
    try:
        argv = command(step, work, environment["PATH"])
    except s3_files.DownloadError as error:
        return _fail(yarn, step, 1, f"could not download {error}")
    if argv is None:
        name = (step.args or [""])[0]
        return _fail(yarn, step, 127, f"'{name}' was not found on the primary node")
    controller = s3_files.controller_start(step, argv, str(logs))
    (logs / "controller").write_bytes(controller)
    program = processes.ProcessSpec(
        argv=argv,
        cwd=work,
        env=environment | {"EMR_STEP_ID": step.id},
        stdout=logs / "stdout",
        stderr=logs / "stderr",
    )
    output = StepOutput(
        exit_code=processes.run(program, step.id, timeout_s=None),
        stdout=program.stdout.read_bytes(),
        stderr=program.stderr.read_bytes(),
        controller=controller,
    )
    for application in applications(output.stdout + output.stderr):
        upload_container_logs(yarn, application)
    return s3_files.upload_step(yarn.cluster, step, output)


def _fail(yarn: Yarn, step: EmulatedStep, code: int, message: str) -> StepResult:
    output = StepOutput(exit_code=code, stderr=f"emrctl: {message}\n".encode())
    return s3_files.upload_step(yarn.cluster, step, output)


def command(step: EmulatedStep, work: Path, path: str) -> list[str] | None:
    """Return the command that EMR would run, or None if the node has no such program.

    Scripts and JARs are downloaded to `work`; `path` is the node's PATH.
    """
    jar = str(step.jar["Jar"])
    name = jar.rsplit("/", 1)[-1]
    if name == "command-runner.jar":
        program = shutil.which(step.args[0], path=path) if step.args else None
        # EMR drops empty arguments.
        return [program, *filter(None, step.args[1:])] if program else None
    if name == "script-runner.jar":
        if not step.args:
            return None
        return [*_script(step.args[0], work), *step.args[1:]]
    target = work / name
    target.write_bytes(s3_files.download(jar))
    hadoop = shutil.which("hadoop", path=path)
    main = [step.jar["MainClass"]] if step.jar.get("MainClass") else []
    return [hadoop, "jar", str(target), *main, *step.args] if hadoop else None


def _script(address: str, work: Path) -> list[str]:
    target = work / address.rsplit("/", 1)[-1]
    content = s3_files.download(address)
    target.write_bytes(content)
    target.chmod(0o755)
    return [str(target)] if content.startswith(b"#!") else ["bash", str(target)]


def cancel(yarn: Yarn, step: EmulatedStep, *, kill: bool) -> None:
    """Terminate the processes of a running step, with SIGKILL if `kill`, and its applications."""
    logs, _ = _create_folders(yarn, step)
    grace_s = 0.0 if kill else _SIGTERM_GRACE_S
    processes.kill_marked(processes.SCOPE_MARK, step.id, grace_s=grace_s)
    submitted = _submitted_applications(logs)
    for application in submitted:
        yarn.kill(application)
    poll_until(lambda: submitted.isdisjoint(yarn.applications()), 0.1, 10)


def _submitted_applications(logs: Path) -> set[str]:
    ids = []
    for name in ("stderr", "stdout"):
        with contextlib.suppress(FileNotFoundError):
            ids += _SUBMITTED.findall((logs / name).read_bytes())
    return {one.decode() for one in ids}


def applications(text: bytes) -> list[str]:
    """Return the ids of the YARN applications in a step's output."""
    return sorted({one.decode() for one in _APPLICATION.findall(text)})


def upload_container_logs(yarn: Yarn, application: str) -> None:
    """Upload the logs of an application's containers under EMR's keys."""
    for node in yarn.cluster.nodes:
        folder = yarn.context.node_folder(yarn.cluster, node) / "containers" / application
        for log in sorted(folder.glob("*/*")):
            if log.is_file():
                key = f"containers/{application}/{log.parent.name}/{log.name}"
                s3_files.upload(yarn.cluster, key, log.read_bytes())


def upload_remaining_logs(yarn: Yarn) -> None:
    """Upload the logs of all containers and of YARN's daemons."""
    for node in yarn.cluster.nodes:
        root = yarn.context.node_folder(yarn.cluster, node)
        for folder in sorted(root.glob("containers/application_*")):
            upload_container_logs(yarn, folder.name)
        for log in sorted((root / "mnt/var/log/hadoop-yarn").glob("*.log")):
            key = f"node/{node.ec2_id}/applications/hadoop-yarn/{log.name}"
            s3_files.upload(yarn.cluster, key, log.read_bytes())
