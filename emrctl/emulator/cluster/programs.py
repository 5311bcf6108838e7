"""Programs of users on a cluster's nodes: bootstrap actions and steps, with their logs.

Bootstrap actions run on every node, in order; steps run on the primary node, with the command that
EMR would run.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emrctl.aws import rules
from emrctl.aws.polling import poll_until
from emrctl.emulator.cluster import node_folder, s3_files
from emrctl.emulator.cluster.failures import BootstrapFailedError
from emrctl.emulator.cluster.model import (
    EmulatedCluster,
    EmulatedNode,
    EmulatedStep,
    StepResult,
)
from emrctl.emulator.cluster.node_folder import EmulatorContext
from emrctl.emulator.cluster.s3_files import StepOutput
from emrctl.emulator.hadoop.yarn import Yarn
from emrctl.emulator.server import processes
from emrctl.errors import SpecError

_BOOTSTRAP_TIMEOUT_S = 3600.0
_EMR_ROOT = Path("/")
_SIGTERM_GRACE_S = 10.0
_RUN_IF = re.compile(r"s3n?://([a-z0-9-]+\.)?elasticmapreduce/bootstrap-actions/run-if(\.rb)?")
#: The id of a YARN application.
APPLICATION = re.compile(rb"application_\d+_\d{4,}")
_SUBMITTED = re.compile(rb"Submitted application (application_\d+_\d{4,})")


@dataclass(frozen=True)
class BootstrapAction:
    """A bootstrap action on a node; numbers start at 1, `folder` holds its logs."""

    number: int
    path: str
    args: tuple[str, ...]
    folder: Path


def run_bootstrap_actions(
    context: EmulatorContext, cluster: EmulatedCluster, node: EmulatedNode
) -> None:
    """Run the bootstrap actions of the cluster on a node; raise `BootstrapFailedError`."""
    for number, request in enumerate(cluster.request.get("BootstrapActions", []), start=1):
        if cluster.termination is not None:
            return
        script = request["ScriptBootstrapAction"]
        logs = context.node_folder(cluster, node) / "mnt/var/log/bootstrap-actions" / str(number)
        logs.mkdir(parents=True, exist_ok=True)
        action = BootstrapAction(number, script["Path"], tuple(script.get("Args", [])), logs)
        try:
            code = _run_action(context, cluster, node, action)
        except (s3_files.DownloadError, SpecError) as error:
            (logs / "stderr").write_text(f"{error}\n", encoding="utf-8")
            raise BootstrapFailedError(node, number, 1, error=str(error)) from error
        finally:
            _upload_action_logs(cluster, node, action)
        if code != 0 and cluster.termination is None:
            raise BootstrapFailedError(node, number, code)


def _run_action(
    context: EmulatorContext, cluster: EmulatedCluster, node: EmulatedNode, action: BootstrapAction
) -> int:
    root = context.node_folder(cluster, node)
    argv = _action_command(action, node, root)
    with (action.folder / "controller").open("w", encoding="utf-8", buffering=1) as controller:
        if argv is None:
            controller.write(f"{s3_files.timestamp()} INFO run-if: not on this node\n")
            return 0
        controller.write(f"{s3_files.timestamp()} INFO startExec '{shlex.join(argv)}'\n")
        scope = f"{node.ec2_id}-bootstrap-{action.number}"
        work = root / "tmp" / f"bootstrap-{action.number}"
        work.mkdir(exist_ok=True)
        program = processes.ProcessSpec(
            argv=argv,
            cwd=work,
            env=node_folder.environment(context, cluster, node),
            stdout=action.folder / "stdout",
            stderr=action.folder / "stderr",
        )
        code = processes.run(program, scope, timeout_s=_BOOTSTRAP_TIMEOUT_S)
        end = f"waitProcessCompletion ended with exit code {code}"
        controller.write(f"{s3_files.timestamp()} INFO {end}\n")
    return code


def _action_command(action: BootstrapAction, node: EmulatedNode, root: Path) -> list[str] | None:
    """Return the command to run, or None if the condition of `run-if` excludes the node."""
    args = [_adapt_paths(one, root) for one in action.args]
    if not _RUN_IF.fullmatch(action.path):
        return [*_action_script(action.path, action.folder, root), *args]
    condition, *command = args or [""]
    if not command or not _matches(condition, node):
        return None
    if "://" in command[0]:
        return [*_action_script(command[0], action.folder, root), *command[1:]]
    return ["bash", "-c", command[0]] if len(command) == 1 else command


def _matches(condition: str, node: EmulatedNode) -> bool:
    name, _, value = condition.partition("=")
    properties: dict[str, Any] = {
        "instance.isMaster": json.dumps(node.primary),
        "instance.instanceRole": node.group.role.lower(),
        "instance.instanceGroupId": node.group.id,
    }
    return str(properties.get(name)).lower() == value.lower()


def _adapt_paths(argument: str, root: Path) -> str:
    return node_folder.adapt_paths(argument.encode(), root).decode()


def _action_script(path: str, folder: Path, root: Path) -> list[str]:
    """Download a script and return the command that runs it."""
    target = folder / "script"
    content = s3_files.download(path)
    target.write_bytes(node_folder.adapt_paths(content, root))
    target.chmod(0o755)
    fault = rules.script_fault(content)
    if fault:
        raise SpecError(f"{path}:{fault[0]}: {fault[1]}; EMR does not start it")
    is_shell = b"sh" in content[:200].split(b"\n", 1)[0].split(b"/")[-1]
    return ["bash", str(target)] if is_shell else [str(target)]


def _upload_action_logs(
    cluster: EmulatedCluster, node: EmulatedNode, action: BootstrapAction
) -> None:
    folder = f"node/{node.ec2_id}/bootstrap-actions/{action.number}"
    for name in ("controller", "stdout", "stderr"):
        s3_files.upload(cluster, f"{folder}/{name}", action.folder / name)


# -- steps


def _create_step_folders(yarn: Yarn, step: EmulatedStep) -> tuple[Path, Path]:
    """Create the folders of a step's logs and working directory on the primary node."""
    root = yarn.context.node_folder(yarn.cluster, yarn.cluster.primary) / "mnt/var"
    folders = root / "log/hadoop/steps" / step.id, root / "lib/hadoop/steps" / step.id
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    return folders


def run_step(yarn: Yarn, step: EmulatedStep) -> StepResult:
    """Run a step; upload its logs and those of its YARN containers."""
    logs, work = _create_step_folders(yarn, step)
    environment = yarn.environment(yarn.cluster.primary)
    try:
        root = yarn.context.node_folder(yarn.cluster, yarn.cluster.primary)
        argv = step_command(step, work, environment["PATH"], root)
    except s3_files.DownloadError as error:
        return _fail_step(yarn, step, 1, str(error))
    if argv is None:
        name = (step.args or [""])[0]
        return _fail_step(yarn, step, 127, f"'{name}' was not found on the primary node")
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
        stdout=program.stdout,
        stderr=program.stderr,
        controller=controller,
    )
    for application in applications(output):
        upload_container_logs(yarn, application)
    return s3_files.upload_step(yarn.cluster, step, output)


def _fail_step(yarn: Yarn, step: EmulatedStep, code: int, message: str) -> StepResult:
    output = StepOutput(exit_code=code, stderr=f"emrctl: {message}\n".encode())
    return s3_files.upload_step(yarn.cluster, step, output)


def step_command(
    step: EmulatedStep, work: Path, path: str, root: Path = _EMR_ROOT
) -> list[str] | None:
    """Return the command that EMR would run, or None if the node has no such program.

    Scripts and JARs are downloaded to `work`; `path` is the node's PATH and `root` its folder.
    """
    jar, args = str(step.jar["Jar"]), [_adapt_paths(one, root) for one in step.args]
    name = jar.rsplit("/", 1)[-1]
    if name == "command-runner.jar":
        # EMR drops empty arguments.
        args = [one for one in args if one]
        program = shutil.which(args[0], path=path) if args else None
        return [program, *args[1:]] if program else None
    if name == "script-runner.jar":
        if not args:
            return None
        return [*_step_script(args[0], work, root), *args[1:]]
    target = work / name
    target.write_bytes(s3_files.download(jar))
    hadoop = shutil.which("hadoop", path=path)
    main = [step.jar["MainClass"]] if step.jar.get("MainClass") else []
    properties = [f"-D{key}={value}" for key, value in step.properties.items()]
    return [hadoop, "jar", *properties, str(target), *main, *args] if hadoop else None


def _step_script(address: str, work: Path, root: Path) -> list[str]:
    target = work / address.rsplit("/", 1)[-1]
    content = s3_files.download(address)
    target.write_bytes(node_folder.adapt_paths(content, root))
    target.chmod(0o755)
    return [str(target)] if content.startswith(b"#!") else ["bash", str(target)]


def cancel_step(yarn: Yarn, step: EmulatedStep, *, kill: bool) -> None:
    """Terminate the processes of a running step, with SIGKILL if `kill`, and its applications."""
    logs, _ = _create_step_folders(yarn, step)
    grace_s = 0.0 if kill else _SIGTERM_GRACE_S
    processes.kill_marked(processes.SCOPE_MARK, step.id, grace_s=grace_s)
    submitted = _submitted_applications(logs)
    for application in submitted:
        yarn.kill(application)
    poll_until(lambda: submitted.isdisjoint(yarn.applications()), 0.1, 10)


def _submitted_applications(logs: Path) -> set[str]:
    names = ("stderr", "stdout")
    return set().union(*(s3_files.find_all(_SUBMITTED, logs / name) for name in names))


def applications(output: StepOutput) -> list[str]:
    """Return the ids of the YARN applications in a step's output."""
    logs = (output.stdout, output.stderr)
    return sorted(set().union(*(s3_files.find_all(APPLICATION, log) for log in logs)))


def upload_container_logs(yarn: Yarn, application: str) -> None:
    """Upload the logs of an application's containers under EMR's keys."""
    for node in yarn.cluster.nodes:
        folder = yarn.context.node_folder(yarn.cluster, node) / "containers" / application
        for log in sorted(folder.glob("*/*")):
            if log.is_file():
                key = f"containers/{application}/{log.parent.name}/{log.name}"
                s3_files.upload(yarn.cluster, key, log)


def upload_remaining_logs(yarn: Yarn) -> None:
    """Upload the logs of all containers and of the daemons of YARN and HDFS."""
    for node in yarn.cluster.nodes:
        root = yarn.context.node_folder(yarn.cluster, node)
        for folder in sorted(root.glob("containers/application_*")):
            upload_container_logs(yarn, folder.name)
        for log in sorted((root / "mnt/var/log").glob("hadoop-*/*.log")):
            key = f"node/{node.ec2_id}/applications/{log.parent.name}/{log.name}"
            s3_files.upload(yarn.cluster, key, log)
