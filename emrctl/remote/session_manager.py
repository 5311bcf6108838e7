"""Session Manager sessions through AWS's plugin: no open port and no key pair.

The session's token is passed to the plugin in its environment, so process lists do not show it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from emrctl import ports
from emrctl.aws.errors import translated
from emrctl.aws.target import Target
from emrctl.clusters.program_inputs import SESSION_PLUGIN as PLUGIN
from emrctl.errors import MissingPrerequisiteError, UnreachableError

# Spark's pages listen on the node's private address, not on its loopback.
FORWARD = "AWS-StartPortForwardingSessionToRemoteHost"
COMMAND = "AWS-StartInteractiveCommand"
_VARIABLE = "AWS_SSM_START_SESSION_RESPONSE"
_MIN_VERSION = (1, 2, 497)
# However emrctl exits, its end of the pipe closes; the script then ends the plugin.
_RUN_UNTIL_PIPE_CLOSES = """
exec 3<&0 4>&2 2>/dev/null
"$@" </dev/null 2>&4 3<&- 4>&- & plugin=$!
(read -r _ <&3; kill $plugin) & watch=$!
exec 3<&-
wait $plugin; code=$?
kill $watch
exit $code
"""
_START_S, _EXIT_S = 30.0, 5.0
_CHECK_S, _RETRY_S = 0.2, 1.0


def check_available(target: Target, node: str) -> None:
    """Raise `UnreachableError` if a session cannot start: plugin missing or agent offline."""
    if shutil.which(PLUGIN) is None:
        hint = "Install AWS's Session Manager plugin (the AWS CLI itself is not needed)."
        raise MissingPrerequisiteError(f"{PLUGIN} is not on PATH", hint=hint)
    with translated(f"reading the agent status of {node}"):
        filters = [{"Key": "InstanceIds", "Values": [node]}]
        answer = target.client("ssm").describe_instance_information(Filters=filters)
    states = [item.get("PingStatus") for item in answer["InstanceInformationList"]]
    if states != ["Online"]:
        hint = "Set roles.ssm: true; private networks also need SSM's VPC endpoints."
        state = states[0] if states else "not registered with SSM"
        raise UnreachableError(f"the SSM agent of {node} is {state}", hint=hint)


def run(target: Target, node: str, command: str | None) -> int:
    """Run the command, or a shell, on the node; return the plugin's exit code."""
    document = {"DocumentName": COMMAND, "Parameters": {"command": [command]}} if command else {}
    process = _start_plugin(target, {"Target": node, **document})
    # Ctrl-C is for the remote command: the plugin forwards it.
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return process.wait()
    finally:
        signal.signal(signal.SIGINT, previous)
        _stop_plugin(process)


@dataclass(eq=False)
class SessionForward:
    """Forwards a loopback port to `remote` as seen from the node, while its plugin runs.

    With `check_agent` each start first checks the agent, since the node may be booting.
    """

    target: Target
    node: str
    remote: tuple[str, int]
    report: Callable[[str], None] = lambda _message: None
    port: int = 0
    check_agent: bool = False
    _process: subprocess.Popen[bytes] | None = None

    def open(self) -> int:
        """Start forwarding; return the port. Raises `UnreachableError` if the session fails."""
        if self.check_agent:
            check_available(self.target, self.node)
        host, port = self.remote
        self.port = self.port or ports.preferred(port)
        parameters = {
            "host": [host],
            "portNumber": [str(port)],
            "localPortNumber": [str(self.port)],
        }
        request = {"Target": self.node, "DocumentName": FORWARD, "Parameters": parameters}
        self._process = _start_plugin(self.target, request, background=True)
        deadline = time.monotonic() + _START_S
        while not _accepts(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.close()
                raise UnreachableError(f"the session to {self.node} did not start")
            time.sleep(_CHECK_S)
        return self.port

    def keep(self, until: threading.Event) -> None:
        """Restart the session whenever it ends, until the event; then close."""
        try:
            while not until.wait(_CHECK_S):
                if self._process is not None and self._process.poll() is not None:
                    self.report(f"the session to {self.node} ended: starting another")
                    self.close()
                    until.wait(_RETRY_S)
                    self.open()
        finally:
            self.close()

    def close(self) -> None:
        """End the plugin."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            _stop_plugin(self._process)

    release = close


def _start_plugin(
    target: Target, request: Mapping[str, Any], *, background: bool = False
) -> subprocess.Popen[bytes]:
    """Start the plugin; in the background it runs until the pipe to it closes."""
    with translated(f"starting a session with {request['Target']}"):
        answer = target.client("ssm").start_session(**request)
    answer.pop("ResponseMetadata", None)
    endpoint = target.client("ssm").meta.endpoint_url
    arguments = (_VARIABLE, target.region, "StartSession", target.profile or "")
    _check_version()
    command = [PLUGIN, *arguments, json.dumps(dict(request)), endpoint]
    environment = {**os.environ, _VARIABLE: json.dumps(answer)}
    if not background:
        return subprocess.Popen(command, env=environment)
    return subprocess.Popen(
        ["/bin/sh", "-c", _RUN_UNTIL_PIPE_CLOSES, "sh", *command],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def _check_version() -> None:
    """Older plugins take the token only as an argument, where every user could read it."""
    completed = subprocess.run([PLUGIN, "--version"], capture_output=True, text=True, check=False)
    version = completed.stdout.strip()
    numbers = tuple(int(part) for part in version.split(".")[:3] if part.isdigit())
    if numbers < _MIN_VERSION:
        minimum = ".".join(map(str, _MIN_VERSION))
        raise MissingPrerequisiteError(
            f"{PLUGIN} has version {version or 'unknown'}",
            hint=f"Install {minimum}.0 or newer: older versions show the token to all users.",
        )


def _stop_plugin(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    background = process.stdin is not None  # its pipe is closed, which should end it
    if not background:
        process.terminate()
    try:
        process.wait(timeout=_EXIT_S)
    except subprocess.TimeoutExpired:
        if background:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()


def _accepts(port: int) -> bool:
    try:
        socket.create_connection((ports.LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True
