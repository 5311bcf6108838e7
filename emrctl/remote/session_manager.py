"""Session Manager: no open port and no key; AWS's own plugin carries what is said.

EC2's agent on the node dials out to AWS, and AWS says who may speak to it. The session's token
reaches the plugin through its environment: a process list shows it to nobody.
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
from typing import TYPE_CHECKING, Any

from emrctl import ports
from emrctl.aws.errors import translated
from emrctl.clusters.ec2_inputs import SESSION_PLUGIN as PLUGIN
from emrctl.remote.errors import HopelessError, UnreachableError

if TYPE_CHECKING:
    from emrctl.aws.target import Target

# To the node's own private address: Spark's pages listen there, and not on its loopback.
FORWARD = "AWS-StartPortForwardingSessionToRemoteHost"
COMMAND = "AWS-StartInteractiveCommand"
_VARIABLE = "AWS_SSM_START_SESSION_RESPONSE"
_OLDEST = (1, 2, 497)
# However emrctl ends, its end of the pipe closes: then the plugin is ended, and its port with it.
_NO_LONGER_THAN_ITS_PIPE = """
exec 3<&0 4>&2 2>/dev/null
"$@" </dev/null 2>&4 3<&- 4>&- & plugin=$!
(read -r _ <&3; kill $plugin) & watch=$!
exec 3<&-
wait $plugin; code=$?
kill $watch
exit $code
"""
_ANSWERS_S, _ENDS_S = 30.0, 5.0
_LOOK_S, _AGAIN_S = 0.2, 1.0


def available(target: Target, node: str) -> None:
    """A session can be begun; `UnreachableError` says what is missing, here or on the node."""
    if shutil.which(PLUGIN) is None:
        hint = "Install AWS's Session Manager plugin for the AWS CLI; it needs no CLI."
        raise HopelessError(f"{PLUGIN} is not on PATH", hint=hint)
    with translated(f"asking whether {node} takes sessions"):
        filters = [{"Key": "InstanceIds", "Values": [node]}]
        found = target.client("ssm").describe_instance_information(Filters=filters)
    states = [item.get("PingStatus") for item in found["InstanceInformationList"]]
    if states != ["Online"]:
        hint = "Set roles.ssm: true; a private network needs the endpoints of SSM as well."
        said = states[0] if states else "unknown to SSM"
        raise UnreachableError(f"the agent of {node} is {said}", hint=hint)


def run(target: Target, node: str, command: str | None) -> int:
    """A shell on the node, or the command, has ended; the plugin's exit code."""
    document = {"DocumentName": COMMAND, "Parameters": {"command": [command]}} if command else {}
    process = _begun(target, {"Target": node, **document})
    # Ctrl-C is for whatever runs on the node: the plugin passes it on.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return process.wait()
    finally:
        signal.signal(signal.SIGINT, before)
        _ended(process)


@dataclass(eq=False)
class Forward:
    """A port on loopback that leads to `remote` as the node sees it, as long as its plugin runs."""

    target: Target
    node: str
    remote: tuple[str, int]
    report: Callable[[str], None] = lambda _line: None
    port: int = 0
    _process: subprocess.Popen[bytes] | None = None

    def open(self) -> int:
        """The port answers; `UnreachableError` where the plugin ended before."""
        host, port = self.remote
        self.port = self.port or ports.preferred(port)
        where = {
            "host": [host],
            "portNumber": [str(port)],
            "localPortNumber": [str(self.port)],
        }
        asked = {"Target": self.node, "DocumentName": FORWARD, "Parameters": where}
        self._process = _begun(self.target, asked, aside=True)
        until = time.monotonic() + _ANSWERS_S
        while not _answers(self.port):
            if self._process.poll() is not None or time.monotonic() > until:
                self.close()
                raise UnreachableError(f"the session to {self.node} did not come about")
            time.sleep(_LOOK_S)
        return self.port

    def keep(self, until: threading.Event) -> None:
        """The session stands, begun again whenever it ends, until the event."""
        try:
            while not until.wait(_LOOK_S):
                if self._process is not None and self._process.poll() is not None:
                    self.report(f"the session to {self.node} ended: beginning another")
                    self.close()
                    until.wait(_AGAIN_S)
                    self.open()
        finally:
            self.close()

    def close(self) -> None:
        """The plugin has ended."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            _ended(self._process)

    release = close


@dataclass(eq=False)
class Door(Forward):
    """Likewise; the node is asked first whether it takes sessions: one that boots does not yet."""

    def open(self) -> int:
        """The port answers; `UnreachableError` where the node takes no session now."""
        available(self.target, self.node)
        return super().open()


def _begun(
    target: Target, asked: Mapping[str, Any], *, aside: bool = False
) -> subprocess.Popen[bytes]:
    """The plugin runs; `aside` from the terminal, and no longer than the pipe to it is open."""
    with translated(f"beginning a session with {asked['Target']}"):
        answer = target.client("ssm").start_session(**asked)
    answer.pop("ResponseMetadata", None)
    endpoint = target.client("ssm").meta.endpoint_url
    arguments = (_VARIABLE, target.region, "StartSession", target.profile or "")
    _refuse_old()
    command = [PLUGIN, *arguments, json.dumps(dict(asked)), endpoint]
    environment = {**os.environ, _VARIABLE: json.dumps(answer)}
    if not aside:
        return subprocess.Popen(command, env=environment)
    return subprocess.Popen(
        ["/bin/sh", "-c", _NO_LONGER_THAN_ITS_PIPE, "sh", *command],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def _refuse_old() -> None:
    """Older plugins take the token as an argument only, where every user could read it."""
    done = subprocess.run([PLUGIN, "--version"], capture_output=True, text=True, check=False)
    said = done.stdout.strip()
    numbers = tuple(int(part) for part in said.split(".")[:3] if part.isdigit())
    if numbers < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        raise HopelessError(
            f"{PLUGIN} is {said or 'of no known version'}",
            hint=f"Take {oldest}.0 or newer: older ones show the session's token to all users.",
        )


def _ended(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    aside = process.stdin is not None  # its pipe is closed: that ends it, unless it does not listen
    if not aside:
        process.terminate()
    try:
        process.wait(timeout=_ENDS_S)
    except subprocess.TimeoutExpired:
        if aside:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()


def _answers(port: int) -> bool:
    try:
        socket.create_connection((ports.LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True
