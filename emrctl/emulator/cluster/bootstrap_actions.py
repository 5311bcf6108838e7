"""Bootstrap actions: the user's scripts, really run, in order, on every node."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emrctl.emulator.cluster import node_folder, s3_logs
from emrctl.emulator.cluster.model import EmulatedCluster, EmulatedNode
from emrctl.emulator.cluster.node_folder import EmulatorContext
from emrctl.emulator.cluster.runtime import BootstrapFailedError
from emrctl.emulator.server import processes, s3

_TIMEOUT_S = 3600.0
_RUN_IF = re.compile(r"s3n?://([a-z0-9-]+\.)?elasticmapreduce/bootstrap-actions/run-if(\.rb)?")


@dataclass(frozen=True)
class BootstrapAction:
    """One bootstrap action on one node; numbers begin at 1."""

    number: int
    path: str
    args: tuple[str, ...]
    folder: Path


class UnfetchableError(Exception):
    """A script could not be had from where it was said to lie."""


def run_all(place: EmulatorContext, cluster: EmulatedCluster, node: EmulatedNode) -> None:
    """Every bootstrap action has ended well on the node; else `BootstrapFailedError`."""
    for number, asked in enumerate(cluster.request.get("BootstrapActions", []), start=1):
        if cluster.ending is not None:
            return
        script = asked["ScriptBootstrapAction"]
        folder = place.node(cluster, node) / "mnt/var/log/bootstrap-actions" / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        args = tuple(script.get("Args", []))
        action = BootstrapAction(number, script["Path"], args, folder)
        try:
            code = _run(place, cluster, node, action)
        except UnfetchableError as error:
            text = f"could not download {error}"
            (folder / "stderr").write_text(f"{text}\n", encoding="utf-8")
            raise BootstrapFailedError(node, number, 1, error=text) from error
        finally:
            _upload(cluster, node, action)
        if code != 0 and cluster.ending is None:
            raise BootstrapFailedError(node, number, code)


def _run(
    place: EmulatorContext, cluster: EmulatedCluster, node: EmulatedNode, action: BootstrapAction
) -> int:
    argv = _command(action, node)
    controller = action.folder / "controller"
    if argv is None:
        controller.write_text(
            f"{s3_logs.stamp()} INFO run-if: not on this node\n", encoding="utf-8"
        )
        return 0
    controller.write_text(
        f"{s3_logs.stamp()} INFO startExec '{shlex.join(argv)}'\n", encoding="utf-8"
    )
    scope = f"{node.ec2_id}-bootstrap-{action.number}"
    work = place.node(cluster, node) / "tmp" / f"bootstrap-{action.number}"
    work.mkdir(exist_ok=True)
    program = processes.ProcessSpec(
        argv=argv,
        cwd=work,
        env=node_folder.environment(place, cluster, node) | {processes.SCOPE_MARK: scope},
        stdout=action.folder / "stdout",
        stderr=action.folder / "stderr",
    )
    code = finish(program, scope, timeout_s=_TIMEOUT_S)
    with controller.open("a", encoding="utf-8") as file:
        file.write(f"{s3_logs.stamp()} INFO waitProcessCompletion ended with exit code {code}\n")
    return code


def finish(program: processes.ProcessSpec, scope: str, *, timeout_s: float | None) -> int:
    """The program's exit code, once it has ended; nothing that it started is left."""
    try:
        process = processes.start(program)
    except OSError as error:
        with program.stderr.open("a", encoding="utf-8") as file:
            file.write(f"{program.argv[0]}: {error.strerror}\n")
        return 126
    try:
        code = process.wait(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        processes.signal_group(process, signal.SIGKILL)
        code = process.wait()
    processes.signal_group(process, signal.SIGKILL)
    processes.kill_marked(processes.SCOPE_MARK, scope)
    # A shell would say 128 + n of a program that signal n ended; so does EMR.
    return code if code >= 0 else 128 - code


def _command(action: BootstrapAction, node: EmulatedNode) -> list[str] | None:
    """What to run; None where `run-if` says that this is not the node for it."""
    if not _RUN_IF.fullmatch(action.path):
        return [*_script(action.path, action.folder), *action.args]
    condition, *command = action.args or ("",)
    if not command or not _holds(condition, node):
        return None
    if "://" in command[0]:
        return [*_script(command[0], action.folder), *command[1:]]
    return ["bash", "-c", command[0]] if len(command) == 1 else command


def _holds(condition: str, node: EmulatedNode) -> bool:
    name, _, wanted = condition.partition("=")
    facts: dict[str, Any] = {
        "instance.isMaster": json.dumps(node.primary),
        "instance.instanceRole": node.group.role.lower(),
        "instance.instanceGroupId": node.group.id,
    }
    return str(facts.get(name)).lower() == wanted.lower()


def _script(path: str, folder: Path) -> list[str]:
    """The command that runs the script of that address: it lies on this machine now."""
    target = folder / "script"
    target.write_bytes(fetch(path))
    target.chmod(0o755)
    return ["bash", str(target)] if _is_shell(target) else [str(target)]


def _is_shell(script: Path) -> bool:
    first = script.read_bytes()[:200].split(b"\n", 1)[0]
    return not first.startswith(b"#!") or b"sh" in first.split(b"/")[-1]


def fetch(path: str) -> bytes:
    """What lies at an `s3://` or `file:` address; `UnfetchableError` where nothing does."""
    if re.match(r"s3[an]?://", path):
        try:
            return s3.get(path)
        except s3.NoSuchObjectError as error:
            raise UnfetchableError(path) from error
    try:
        return Path(re.sub(r"^file:(//)?", "", path)).read_bytes()
    except OSError as error:
        raise UnfetchableError(path) from error


def _upload(cluster: EmulatedCluster, node: EmulatedNode, action: BootstrapAction) -> None:
    for name in ("controller", "stdout", "stderr"):
        content = b""
        with contextlib.suppress(FileNotFoundError):
            content = (action.folder / name).read_bytes()
        s3_logs.put(
            cluster, f"node/{node.ec2_id}/bootstrap-actions/{action.number}/{name}", content
        )
