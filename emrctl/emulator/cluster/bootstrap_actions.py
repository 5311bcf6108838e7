"""Bootstrap actions: run the user's scripts on every node, in order, and upload their logs."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emrctl.emulator.cluster import node_folder, s3_files
from emrctl.emulator.cluster.model import BootstrapFailedError, EmulatedCluster, EmulatedNode
from emrctl.emulator.cluster.node_folder import EmulatorContext
from emrctl.emulator.server import processes

_TIMEOUT_S = 3600.0
_RUN_IF = re.compile(r"s3n?://([a-z0-9-]+\.)?elasticmapreduce/bootstrap-actions/run-if(\.rb)?")


@dataclass(frozen=True)
class BootstrapAction:
    """A bootstrap action on a node; numbers start at 1, `folder` holds its logs."""

    number: int
    path: str
    args: tuple[str, ...]
    folder: Path


def run_all(context: EmulatorContext, cluster: EmulatedCluster, node: EmulatedNode) -> None:
    """Run the bootstrap actions of the cluster on a node; raise `BootstrapFailedError`."""
    for number, request in enumerate(cluster.request.get("BootstrapActions", []), start=1):
        if cluster.termination is not None:
            return
        script = request["ScriptBootstrapAction"]
        logs = context.node_folder(cluster, node) / "mnt/var/log/bootstrap-actions" / str(number)
        logs.mkdir(parents=True, exist_ok=True)
        action = BootstrapAction(number, script["Path"], tuple(script.get("Args", [])), logs)
        try:
            code = _run(context, cluster, node, action)
        except s3_files.DownloadError as error:
            message = f"could not download {error}"
            (logs / "stderr").write_text(f"{message}\n", encoding="utf-8")
            raise BootstrapFailedError(node, number, 1, error=message) from error
        finally:
            _upload_logs(cluster, node, action)
        if code != 0 and cluster.termination is None:
            raise BootstrapFailedError(node, number, code)


def _run(
    context: EmulatorContext, cluster: EmulatedCluster, node: EmulatedNode, action: BootstrapAction
) -> int:
    argv = _command(action, node)
    with (action.folder / "controller").open("w", encoding="utf-8", buffering=1) as controller:
        if argv is None:
            controller.write(f"{s3_files.timestamp()} INFO run-if: not on this node\n")
            return 0
        controller.write(f"{s3_files.timestamp()} INFO startExec '{shlex.join(argv)}'\n")
        scope = f"{node.ec2_id}-bootstrap-{action.number}"
        work = context.node_folder(cluster, node) / "tmp" / f"bootstrap-{action.number}"
        work.mkdir(exist_ok=True)
        program = processes.ProcessSpec(
            argv=argv,
            cwd=work,
            env=node_folder.environment(context, cluster, node),
            stdout=action.folder / "stdout",
            stderr=action.folder / "stderr",
        )
        code = processes.run(program, scope, timeout_s=_TIMEOUT_S)
        end = f"waitProcessCompletion ended with exit code {code}"
        controller.write(f"{s3_files.timestamp()} INFO {end}\n")
    return code


def _command(action: BootstrapAction, node: EmulatedNode) -> list[str] | None:
    """Return the command to run, or None if the condition of `run-if` excludes the node."""
    if not _RUN_IF.fullmatch(action.path):
        return [*_script(action.path, action.folder), *action.args]
    condition, *command = action.args or ("",)
    if not command or not _matches(condition, node):
        return None
    if "://" in command[0]:
        return [*_script(command[0], action.folder), *command[1:]]
    return ["bash", "-c", command[0]] if len(command) == 1 else command


def _matches(condition: str, node: EmulatedNode) -> bool:
    name, _, value = condition.partition("=")
    properties: dict[str, Any] = {
        "instance.isMaster": json.dumps(node.primary),
        "instance.instanceRole": node.group.role.lower(),
        "instance.instanceGroupId": node.group.id,
    }
    return str(properties.get(name)).lower() == value.lower()


def _script(path: str, folder: Path) -> list[str]:
    """Download a script and return the command that runs it."""
    target = folder / "script"
    content = s3_files.download(path)
    target.write_bytes(content)
    target.chmod(0o755)
    first = content[:200].split(b"\n", 1)[0]
    is_shell = not first.startswith(b"#!") or b"sh" in first.split(b"/")[-1]
    return ["bash", str(target)] if is_shell else [str(target)]


def _upload_logs(cluster: EmulatedCluster, node: EmulatedNode, action: BootstrapAction) -> None:
    folder = f"node/{node.ec2_id}/bootstrap-actions/{action.number}"
    for name in ("controller", "stdout", "stderr"):
        content = b""
        with contextlib.suppress(FileNotFoundError):
            content = (action.folder / name).read_bytes()
        s3_files.upload(cluster, f"{folder}/{name}", content)
