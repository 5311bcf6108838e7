"""The `pulumi` executable and the AWS plugin: finding, installing, running and interrupting."""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
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

MIN_VERSION = "3.250.0"
# The next major version may have another protocol.
BELOW_VERSION = "4.0.0"
_ENVIRONMENT = {"PULUMI_SKIP_UPDATE_CHECK": "true", "PULUMI_AUTOMATION_API": "true"}


class EngineMissingError(ProvisioningError):
    """No supported version of Pulumi's engine or of its AWS plugin is installed."""


@dataclass(frozen=True, kw_only=True)
class EngineBinary:
    """An installed engine."""

    path: Path
    version: str

    @property
    def supported(self) -> bool:
        """Whether emrctl supports its version."""
        try:
            version = VersionInfo.parse(self.version)
        except ValueError:
            return False
        return bool(VersionInfo.parse(MIN_VERSION) <= version < VersionInfo.parse(BELOW_VERSION))


@dataclass(frozen=True, kw_only=True)
class EngineReport:
    """Installed engines, the one in use, and whether its AWS plugin is installed."""

    engines: tuple[EngineBinary, ...]
    used: EngineBinary | None
    wanted: str
    plugin_version: str
    plugin: bool


def own_root() -> Path:
    """Return the folder into which emrctl installs an engine."""
    return emrctl_paths.home() / "engine"


def candidates() -> tuple[EngineBinary, ...]:
    """Return all installed engines in order of preference: on PATH, installed by emrctl."""
    files = [shutil.which("pulumi"), shutil.which("pulumi", path=str(own_root() / "bin"))]
    paths = dict.fromkeys(Path(file) for file in files if file)
    return tuple(EngineBinary(path=path, version=_version(path)) for path in paths)


def find() -> EngineBinary:
    """Return the engine to use; raise `EngineMissingError` if none is supported."""
    engines = candidates()
    for engine in engines:
        if engine.supported:
            return engine
    versions = f"{MIN_VERSION} or newer, below {BELOW_VERSION}"
    hint = f"Run `emrctl engine install`, or put pulumi ({versions}) on PATH."
    if engines:
        listed = ", ".join(f"{engine.path} is {engine.version}" for engine in engines)
        raise EngineMissingError(f"no supported version of Pulumi's engine: {listed}", hint=hint)
    msg = f"Pulumi's engine is neither on PATH nor in {own_root() / 'bin'}"
    raise EngineMissingError(msg, hint=hint)


def describe() -> EngineReport:
    """Return the installed engines and plugin."""
    try:
        used = find()
    except EngineMissingError:
        used = None
    return EngineReport(
        engines=candidates(),
        used=used,
        wanted=f">={MIN_VERSION},<{BELOW_VERSION}",
        plugin_version=plugin_version(),
        plugin=used is not None and has_plugin(used),
    )


def missing(*, plugin: bool) -> list[str]:
    """Describe the downloads of `install`, with destination and size."""
    report = describe()
    engine = f"Pulumi {metadata.version('pulumi')} into {own_root()} (about 100 MB)"
    aws = f"its AWS plugin {report.plugin_version} (about 700 MB)"
    return [
        *([engine] if report.used is None else []),
        *([aws] if plugin and not report.plugin else []),
    ]


def install(*, plugin: bool, report: Callable[[str], None]) -> None:
    """Install the engine and, with `plugin`, the AWS plugin, unless installed already."""
    try:
        engine = find()
    except EngineMissingError:
        report("installing Pulumi's engine")
        engine = install_engine()
    if not plugin or has_plugin(engine):
        return
    report("installing the AWS plugin")
    try:
        _run(engine.path, "plugin", "install", "resource", "aws", plugin_version())
    except subprocess.CalledProcessError as error:
        msg = f"could not install the AWS plugin: {error.stderr.strip()}"
        raise ProvisioningError(msg, hint="Run `emrctl engine install` again.") from error


def install_engine() -> EngineBinary:
    """Install the engine in the version of the `pulumi` package into `own_root`."""
    version = VersionInfo.parse(metadata.version("pulumi"))
    try:
        command = auto.PulumiCommand.install(root=str(own_root()), version=version)
    except (OSError, subprocess.CalledProcessError, auto.InvalidVersionError) as error:
        output = getattr(error, "output", None)
        text = output.decode(errors="replace").strip() if isinstance(output, bytes) else str(error)
        hint = "Install Pulumi by its own instructions and put it on PATH."
        raise ProvisioningError(f"could not install Pulumi's engine: {text}", hint=hint) from error
    return EngineBinary(path=Path(command.command), version=str(command.version))


def plugin_version() -> str:
    """Return the version of the AWS plugin that the `pulumi-aws` package requires."""
    return metadata.version("pulumi-aws")


def has_plugin(engine: EngineBinary) -> bool:
    """Whether the engine has the AWS plugin in the required version."""
    plugins = json.loads(_run(engine.path, "plugin", "ls", "--json") or "[]")
    installed = [(item["name"], item.get("version")) for item in plugins]
    return ("aws", plugin_version()) in installed


@functools.cache
def _version(path: Path) -> str:
    try:
        return _run(path, "version").strip().removeprefix("v")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _run(path: Path, *arguments: str) -> str:
    process = subprocess.run(
        [str(path), "--non-interactive", *arguments],
        env={**os.environ, **_ENVIRONMENT},
        capture_output=True,
        text=True,
        check=True,
    )
    return process.stdout


class EngineCommand(auto.PulumiCommand):
    """The engine as run by the Automation API, in a process group of its own.

    Otherwise a terminal's Ctrl-C would reach it at the same time as this process, and a second one
    would kill it in the middle of a request.
    """

    def __init__(self, engine: EngineBinary) -> None:
        self.command = str(engine.path)
        self.version = VersionInfo.parse(engine.version)
        self._process: subprocess.Popen[str] | None = None

    def run(
        self,
        args: list[str],
        cwd: str,
        additional_env: Mapping[str, str],
        on_output: OnOutput | None = None,
        on_error: OnOutput | None = None,
    ) -> CommandResult:
        """Run the engine and return its output; raise `CommandError` if it fails."""
        with subprocess.Popen(
            [self.command, "--non-interactive", *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env={**os.environ, **_ENVIRONMENT, **additional_env},
            encoding="utf-8",
            errors="replace",
            process_group=0,
        ) as process:
            self._process = process
            out, err = process.communicate()
        self._process = None
        for text, callback in ((out, on_output), (err, on_error)):
            _forward(text, callback)
        if process.returncode < 0:
            err += f"\nerror: killed by signal {-process.returncode}"
        result = CommandResult(stdout=out.rstrip(), stderr=err.rstrip(), code=process.returncode)
        if process.returncode != 0:
            raise create_command_error(result)
        return result

    def interrupt(self) -> None:
        """Ask the engine to end after the current operations; a second call ends it at once."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)


def _forward(text: str, callback: Any) -> None:
    if callback is not None:
        for line in text.splitlines():
            callback(line)
