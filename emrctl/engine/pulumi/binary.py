"""Pulumi's engine as a program: found, installed after asking, run, interrupted."""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pulumi.automation as auto
from pulumi.automation._cmd import CommandResult, OnOutput
from pulumi.automation.errors import create_command_error
from semver import VersionInfo

from emrctl import paths as emrctl_paths
from emrctl.errors import ProvisioningError

OLDEST = "3.250.0"
# The next major version may speak another protocol.
TOO_NEW = "4.0.0"
_QUIET = {"PULUMI_SKIP_UPDATE_CHECK": "true", "PULUMI_AUTOMATION_API": "true"}


class EngineMissingError(ProvisioningError):
    """There is no engine of a version that emrctl knows."""


@dataclass(frozen=True, kw_only=True)
class EngineBinary:
    """An engine on this machine."""

    path: Path
    version: str

    @property
    def fits(self) -> bool:
        """Whether its version is one that emrctl knows."""
        try:
            found = VersionInfo.parse(self.version)
        except ValueError:
            return False
        return bool(VersionInfo.parse(OLDEST) <= found < VersionInfo.parse(TOO_NEW))


def own_root() -> Path:
    """Where emrctl puts an engine of its own."""
    return emrctl_paths.home() / "engine"


def candidates() -> tuple[EngineBinary, ...]:
    """Every engine there is, in the order in which they are taken: PATH's, then emrctl's own."""
    places = [shutil.which("pulumi"), shutil.which("pulumi", path=str(own_root() / "bin"))]
    paths = dict.fromkeys(Path(place) for place in places if place)
    return tuple(EngineBinary(path=path, version=_version(path)) for path in paths)


def find() -> EngineBinary:
    """The engine that is used; `EngineMissingError` says where it was looked for."""
    found = candidates()
    for engine in found:
        if engine.fits:
            return engine
    span = f"{OLDEST} or newer, below {TOO_NEW}"
    hint = f"Type `emrctl engine install`, or put a pulumi on PATH ({span})."
    if found:
        those = ", ".join(f"{engine.path} is {engine.version}" for engine in found)
        raise EngineMissingError(f"no engine of a version that fits: {those}", hint=hint)
    msg = f"Pulumi's engine is neither on PATH nor in {own_root() / 'bin'}"
    raise EngineMissingError(msg, hint=hint)


def install() -> EngineBinary:
    """emrctl has an engine of its own, of the version of Pulumi's Python package."""
    wanted = VersionInfo.parse(metadata.version("pulumi"))
    try:
        made = auto.PulumiCommand.install(root=str(own_root()), version=wanted)
    except (OSError, subprocess.CalledProcessError, auto.InvalidVersionError) as error:
        said = getattr(error, "output", None)
        words = said.decode(errors="replace").strip() if isinstance(said, bytes) else str(error)
        hint = "Put a pulumi on PATH by another way: its own site says how."
        raise ProvisioningError(f"the engine was not installed: {words}", hint=hint) from error
    return EngineBinary(path=Path(made.command), version=str(made.version))


def plugin_version() -> str:
    """The version of the AWS plugin that belongs to the AWS package of this installation."""
    return metadata.version("pulumi-aws")


def has_plugin(engine: EngineBinary) -> bool:
    """Whether the engine has the AWS plugin of that version."""
    said = _asked(engine.path, "plugin", "ls", "--json")
    wanted = ("aws", plugin_version())
    return any((item["name"], item.get("version")) == wanted for item in json.loads(said or "[]"))


def install_plugin(engine: EngineBinary) -> None:
    """The engine has the AWS plugin of that version."""
    arguments = ["plugin", "install", "resource", "aws", plugin_version()]
    try:
        _asked(engine.path, *arguments)
    except subprocess.CalledProcessError as error:
        msg = f"the AWS plugin was not installed: {error.stderr.strip()}"
        hint = "Type `emrctl engine install` again; it is about 700 MB."
        raise ProvisioningError(msg, hint=hint) from error


@functools.cache
def _version(path: Path) -> str:
    try:
        return _asked(path, "version").strip().removeprefix("v")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _asked(path: Path, *arguments: str) -> str:
    done = subprocess.run(
        [str(path), "--non-interactive", *arguments],
        env={**os.environ, **_QUIET},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


class EngineCommand(auto.PulumiCommand):
    """The engine as the Automation API runs it, but interrupted by us alone.

    It stands in a process group of its own: a terminal's Ctrl-C would reach it at the same time
    as ourselves, and a second one would end it in the middle of a request.
    """

    def __init__(self, engine: EngineBinary) -> None:
        self.command = str(engine.path)
        self.version = VersionInfo.parse(engine.version)
        self._running: subprocess.Popen[str] | None = None

    def run(
        self,
        args: list[str],
        cwd: str,
        additional_env: Mapping[str, str],
        on_output: OnOutput | None = None,
        on_error: OnOutput | None = None,
    ) -> CommandResult:
        """What the engine said; `CommandError` where it failed."""
        env = {**os.environ, **_QUIET, **additional_env}
        with subprocess.Popen(
            [self.command, "--non-interactive", *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env=env,
            encoding="utf-8",
            errors="replace",
            process_group=0,
        ) as process:
            self._running = process
            out, err = process.communicate()
        self._running = None
        _pass_on(out, on_output)
        _pass_on(err, on_error)
        if process.returncode < 0:
            err += f"\nerror: it was ended by signal {-process.returncode}"
        result = CommandResult(stdout=out.rstrip(), stderr=err.rstrip(), code=process.returncode)
        if process.returncode != 0:
            raise create_command_error(result)
        return result

    def interrupt(self) -> None:
        """The engine ends in order; told twice, at once."""
        running = self._running
        if running is not None:
            running.send_signal(signal.SIGINT)


def _pass_on(text: str, tell: Any) -> None:
    if tell is not None:
        for line in text.splitlines():
            tell(line)
